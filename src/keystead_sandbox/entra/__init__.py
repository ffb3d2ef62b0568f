"""Entra: the token endpoint and what clients discover it by."""
