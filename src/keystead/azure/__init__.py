"""Adapter to Azure on the official SDK clients."""
