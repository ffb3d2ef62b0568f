"""What nothing may ever show: tokens, and the values that were planted for the purpose."""

import re
from typing import Any

from simulation.wire import Asked

PLANTED = "planted-value-of-a-secret"
_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}")


def shows(text: str) -> bool:
    """Whether a token or a planted value is in it."""
    return PLANTED in text or _TOKEN.search(text) is not None


def told_by(asked: Asked) -> bool:
    """Whether a request carries a secret to where none belongs: anywhere but to Entra's token endpoint.

    Seen when it leaves, since what it writes may be gone with its namespace long before the end. The header that
    authorises it is left out.
    """
    body: Any = b"" if "/oauth2/" in asked.path else asked.body
    return shows(f"{asked.path} {asked.query} {body!r}")
