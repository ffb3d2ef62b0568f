"""What a token request says, read as Entra reads it, before anything of it is believed.

- Only a body that says it is a form is one: whatever else is sent has no parameters (public reports of AADSTS900144 when
  the Content-Type was forgotten or JSON).
- A parameter that is sent twice is refused (RFC 6749 §3.2; the code for it is inferred).
- Client id and secret may also come in an ``Authorization: Basic`` header (OpenID configuration:
  ``client_secret_basic``; RFC 6749 §2.3.1, both parts form-encoded).
- Above :data:`LONGEST_BODY` nothing more is read.
"""

import base64
import binascii
from urllib.parse import parse_qsl, unquote_plus

from starlette.requests import Request

from keystead_sandbox.entra.errors import RefusedError

LONGEST_BODY = 1 << 18  # bytes; an assertion has some 2,000
_FORM = "application/x-www-form-urlencoded"


class TooLargeError(Exception):
    """A body that no token request has."""


async def read_form(request: Request) -> dict[str, str]:
    """The parameters of a token request.

    Raises:
        RefusedError: 90013 for a parameter that is there twice.
        TooLargeError: the body is longer than :data:`LONGEST_BODY`.

    """
    body = await read_body(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    form: dict[str, str] = {}
    if kind == _FORM:
        for name, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
            if name in form:
                raise RefusedError(90013, parameter=name if name.isidentifier() else "")
            form[name] = value
    for name, value in _basic(request.headers.get("authorization", "")).items():
        form.setdefault(name, value)
    return form


async def read_body(request: Request) -> bytes:
    """All that was sent. TooLargeError above :data:`LONGEST_BODY`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise TooLargeError
    return bytes(body)


def required(form: dict[str, str], name: str) -> str:
    """A parameter that has to be there. RefusedError, 900144, when it is not, or is empty."""
    value = form.get(name, "")
    if not value:
        raise RefusedError(900144, parameter=name)
    return value


def _basic(header: str) -> dict[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        user, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return {}
    return {"client_id": unquote_plus(user), "client_secret": unquote_plus(secret)} if colon else {}
