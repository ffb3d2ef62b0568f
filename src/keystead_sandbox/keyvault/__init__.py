"""Emulated Azure Key Vault: secrets, behind challenge, audience check and Azure RBAC."""
