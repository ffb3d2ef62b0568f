"""The instance metadata service's token endpoint, for managed identities."""
