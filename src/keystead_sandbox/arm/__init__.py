"""Emulated Azure Resource Manager: managed identities, their credentials, and what stands around them."""
