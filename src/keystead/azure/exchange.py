"""The token exchange and the look at the vault: requests of our own on azure-core's transport, on fresh connections.

The SDK's credentials would cache, and hide Entra's code behind a text. Codes are ``AADSTSnnn`` from the answer's
``error_codes``; Microsoft asks not to depend on the description. Implements :class:`keystead.apply.ports.Exchanger`.
"""

import socket
import ssl
from typing import Any

import aiohttp
import msgspec
from azure.core.exceptions import AzureError, ServiceRequestTimeoutError
from azure.core.rest import HttpRequest

from keystead.azure.clouds import cloud_of
from keystead.azure.errors import retry_after
from keystead.azure.transport import MakeTransport
from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError, Refused, Retryable
from keystead.model.ids import VaultUrl
from keystead.model.reasons import Reason
from keystead.model.secret import Secret

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_VAULT_API = "7.4"
_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "NameNotResolved"),
    (socket.gaierror, "NameNotResolved"),
    (aiohttp.ClientConnectorCertificateError, "CertificateNotTrusted"),
    (ssl.SSLCertVerificationError, "CertificateNotTrusted"),
    (ServiceRequestTimeoutError, "ConnectTimeout"),
    (aiohttp.ConnectionTimeoutError, "ConnectTimeout"),
    (ConnectionRefusedError, "ConnectionRefused"),
)
_OK, _FORBIDDEN, _UNAUTHORIZED, _THROTTLED, _SERVER_ERROR = 200, 403, 401, 429, 500


class FreshExchanger:
    """Opens a transport for each call and closes it after."""

    def __init__(self, make_transport: MakeTransport, clock: Clock, *, authority: str = "") -> None:
        self._make_transport = make_transport
        self._clock = clock
        self._authority = authority

    async def exchange(self, *, tenant_id: str, client_id: str, assertion: Secret, scope: str) -> Secret:
        suffix = scope.removeprefix("https://").removesuffix("/.default")
        authority = self._authority or cloud_of(VaultUrl("any", suffix)).authority
        form = {
            "client_id": client_id,
            "client_assertion": assertion.reveal(),
            "client_assertion_type": _ASSERTION,
            "grant_type": "client_credentials",
            "scope": scope,
        }
        request = HttpRequest("POST", f"{authority}/{tenant_id}/oauth2/v2.0/token", data=form)
        status, body, response = await self._send(request, "Entra")
        if status == _OK and isinstance(body.get("access_token"), str):
            return Secret(body["access_token"])
        raise self._refused(status, body, response)

    async def look(self, vault: VaultUrl, token: Secret) -> None:
        request = HttpRequest(
            "GET",
            f"{vault}/secrets",
            params={"maxresults": "1", "api-version": _VAULT_API},
            headers={"Authorization": f"Bearer {token.reveal()}"},
        )
        status, body, response = await self._send(request, "Key Vault")
        if status == _OK:
            return
        error = _table(body.get("error"))
        code = str(_table(error.get("innererror")).get("code") or error.get("code") or status)
        if status == _FORBIDDEN:
            raise Refused(Reason.VAULT_FORBIDDEN, f"{vault}: {code}", code=code)
        if status == _UNAUTHORIZED:
            raise Refused(Reason.VAULT_FORBIDDEN, f"{vault}: the vault does not accept the token", code="Unauthorized")
        after = retry_after(response, self._clock.now())
        raise Retryable(Reason.VAULT_UNREACHABLE, f"{vault}: {status} {code}", code="Unreachable", after=after)

    def _refused(self, status: int, body: dict[str, Any], response: Any) -> KeysteadError:
        codes = body.get("error_codes")
        code = f"AADSTS{codes[0]}" if isinstance(codes, list) and codes else str(body.get("error") or status)
        if status == _THROTTLED or status >= _SERVER_ERROR:
            after = retry_after(response, self._clock.now())
            # No code of its own: nothing was said about the exchange, and what was proven stays proven.
            return Retryable(Reason.AZURE_UNAVAILABLE, f"Entra: {status} {code}", after=after)
        return Refused(Reason.EXCHANGE_REFUSED, f"Entra: {status} {code}", code=code)

    async def _send(self, request: HttpRequest, whom: str) -> tuple[int, dict[str, Any], Any]:
        transport = self._make_transport()
        try:
            async with transport:
                response = await transport.send(request)
                content = await _content(response)
        except (AzureError, OSError, TimeoutError) as error:
            what = unanswered(error)
            text = f"{whom}: no answer: {what}"
            if whom == "Key Vault":
                raise Retryable(Reason.VAULT_UNREACHABLE, text, code=what) from error
            raise Retryable(Reason.AZURE_UNAVAILABLE, text) from error
        try:
            body = msgspec.json.decode(content)
        except msgspec.DecodeError:
            body = {}
        return int(response.status_code), _table(body), response


def unanswered(error: Exception) -> str:
    """Pure: a word for why no answer came, by the type of what was raised and never by its text."""
    found: BaseException | None = error
    while found is not None:
        for type_, word in _WORDS:
            if isinstance(found, type_):
                return word
        found = getattr(found, "inner_exception", None) or found.__cause__ or getattr(found, "os_error", None)
    return "Unreachable"


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


async def _content(response: Any) -> bytes:
    """The body, from either of azure-core's two kinds of response."""
    if hasattr(response, "read"):
        return bytes(await response.read())
    await response.load_body()
    return bytes(response.body())
