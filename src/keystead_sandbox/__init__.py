"""Emulated Azure and Kubernetes that enforce the real rules, on loopback."""
