"""Key Vault: the data plane of vaults under Azure RBAC."""
