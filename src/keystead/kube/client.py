"""The one seam to the Kubernetes API: an httpx2 connection, and requests as plain calls.

Rules:
- Every request has a deadline that covers all of it, waits for the server's mercy included.
- 429 with Retry-After was not carried out: it is sent again within the deadline, and what the server holds back stays
  held for all requests of that priority level.
- An answer that cannot be read is a failure that passes, never a surprise.
- Loopback is never reached through a proxy that the environment names.
"""

import asyncio
import contextlib
import copy
import importlib.metadata
import ipaddress
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

import httpx2
import msgspec
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.exceptions import ConfigError

from keystead.kube.config import load_config
from keystead.kube.errors import from_exception, from_response, unreadable
from keystead.kube.pressure import Pressure, route_of, seconds_asked
from keystead.kube.signin import certificates, signing
from keystead.model.errors import Retryable
from keystead.model.reasons import Reason

__all__ = ["APPLY", "DEADLINE", "LIST_DEADLINE", "MERGE", "Api", "load_config"]

T = TypeVar("T")
DEADLINE = 15.0  # seconds for an ordinary request
LIST_DEADLINE = 60.0  # seconds for a page of a list
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
_ERROR = 400
_LIMITS = httpx2.Limits(max_connections=128, max_keepalive_connections=64, keepalive_expiry=60.0)
"""Watches hold one connection each for as long as they live; the rest is for some fifty requests at a time."""


class Api:
    """Requests to one API server."""

    def __init__(self, config: SingleConfig, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._allowed: Callable[[], bool] = lambda: True
        server = config.cluster.server
        tls = certificates(config) if transport is None and server.startswith("https:") else None
        self._http = httpx2.AsyncClient(
            base_url=server,
            auth=signing(config, tls),
            verify=tls if tls is not None else False,
            trust_env=not _is_loopback(httpx2.URL(server).host),
            proxy=getattr(config.cluster, "proxy_url", "") or None,
            limits=_LIMITS,
            timeout=httpx2.Timeout(DEADLINE),
            transport=transport,
            # Compressed lists cost both sides more than a cluster's own network does.
            headers={"User-Agent": f"keystead/{importlib.metadata.version('keystead')}", "Accept-Encoding": "identity"},
        )
        name = getattr(config.cluster, "tls_server_name", "")
        self._extensions = {"sni_hostname": name} if name else None
        self._pressure = Pressure()

    def only_while(self, allowed: Callable[[], bool]) -> "Api":
        """The same connection; what would change anything is refused (LEASE_LOST) while *allowed* says no.

        A process that was stopped past its lease wakes in the middle of what it did, and must not go on with it.
        """
        guarded = copy.copy(self)
        guarded._allowed = allowed  # noqa: SLF001 - a copy of our own
        return guarded

    async def close(self) -> None:
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        absent_ok: bool = False,
        seconds: float = DEADLINE,
    ) -> bytes | None:
        """The answer's body. ``None`` for 404 when *absent_ok*; errors of :mod:`keystead.model.errors` otherwise."""
        content = msgspec.json.encode(body) if body is not None else None
        headers = {"Accept": accept} if content is None else {"Accept": accept, "Content-Type": content_type}
        what = f"{method} {path}"
        if method != "GET" and not self._allowed():
            raise Retryable(Reason.LEASE_LOST, f"{what}: another replica leads by now")
        try:
            async with asyncio.timeout(seconds) as deadline:
                sent = self._http.build_request(
                    method, path, params=params, content=content, headers=headers, extensions=self._extensions
                )
                response = await self._send(sent, path, deadline.when())
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ConfigError) as error:
            raise from_exception(error, what) from error
        if response.status_code == httpx2.codes.NOT_FOUND and absent_ok:
            return None
        if response.status_code >= _ERROR:
            raise from_response(response, what)
        return response.content

    async def _send(self, request: httpx2.Request, path: str, deadline: float | None) -> httpx2.Response:
        """Send as soon as the server lets us, and again when it says so; the last answer, if time runs out."""
        loop, route = asyncio.get_running_loop(), route_of(request.method, path)
        end = deadline if deadline is not None else loop.time() + DEADLINE
        response: httpx2.Response | None = None
        while True:
            wait = self._pressure.wait(route, loop.time())
            if loop.time() + wait >= end:
                if response is not None:
                    return response
                text = f"{request.method} {path}: held back, as the API server asked"
                raise Retryable(Reason.KUBERNETES_UNAVAILABLE, text, code="TooManyRequests", after=wait)
            if wait:
                await asyncio.sleep(wait)
                continue  # it may have asked for more meanwhile
            response = await self._http.send(request)
            if not self._is_held(route, response):
                return response

    def _is_held(self, route: tuple[str, str], response: httpx2.Response) -> bool:
        """Whether the server refused the request unseen and named a time to come back."""
        self._pressure.learn(route, response.headers)
        asked = seconds_asked(response.headers)
        if response.status_code != httpx2.codes.TOO_MANY_REQUESTS or asked is None:
            return False
        self._pressure.hold(route, max(asked, 1.0), asyncio.get_running_loop().time())
        return True

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> Any:
        """Decoded JSON, or ``None`` when absent."""
        content = await self.request("GET", path, params=params, absent_ok=True)
        return None if content is None else decoded(content, f"GET {path}")

    async def post(self, path: str, body: Any) -> Any:
        return decoded(await self.request("POST", path, body=body), f"POST {path}")

    async def apply(self, path: str, body: Any, *, manager: str, force: bool = False) -> Any:
        """Server-side apply; FieldConflict names the other managers. By force only where an admin said so."""
        params = {"fieldManager": manager, "force": str(force).lower()}
        content = await self.request("PATCH", path, params=params, body=body, content_type=APPLY)
        return decoded(content, f"PATCH {path}")

    async def merge(self, path: str, body: Any, *, manager: str) -> bytes | None:
        """Merge patch; ``None`` when the object is absent."""
        return await self.request(
            "PATCH", path, params={"fieldManager": manager}, body=body, content_type=MERGE, absent_ok=True
        )

    async def delete(self, path: str, *, uid: str) -> None:
        """Delete the object of this uid; absent, or another object by now, is success."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            await self.request("DELETE", path, body=body, absent_ok=True)
        except Retryable as error:
            if error.code != "Conflict":
                raise
            # The precondition failed: it is not that object any more.

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, params: Mapping[str, str], *, silence: float, accept: str = "application/json"
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """A watch's bytes as they come; its answer must begin within *silence* seconds."""
        what, route = f"WATCH {path}", route_of("GET", path)
        request = self._http.build_request(
            "GET",
            path,
            params=params,
            headers={"Accept": accept},
            timeout=httpx2.Timeout(DEADLINE, read=silence),
            extensions=self._extensions,
        )
        try:
            async with asyncio.timeout(silence):
                response = await self._http.send(request, stream=True)
            try:
                if response.status_code >= _ERROR:
                    async with asyncio.timeout(DEADLINE):
                        await response.aread()
                    self._is_held(route, response)
                    raise from_response(response, what)
                yield response.aiter_bytes()
            finally:
                await response.aclose()
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError, ConfigError) as error:
            raise from_exception(error, what) from error


def decoded(content: bytes | None, what: str) -> Any:
    """Pure: JSON, or Retryable when it is none."""
    try:
        return msgspec.json.decode(content or b"null")
    except msgspec.DecodeError as error:
        raise unreadable(what, error) from error


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
