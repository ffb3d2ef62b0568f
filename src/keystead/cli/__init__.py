"""Desk: what people type."""
