"""Emulated Microsoft Entra: discovery and the token endpoint."""
