"""``keystead sync``: the built-in secrets engine; the command is the engine's own."""

from keystead.sync.command import sync

__all__ = ["sync"]
