"""The one seam to the Kubernetes API: lightkube's configured connection, and requests as plain calls.

lightkube reads the kubeconfig or the pod's own account, signs in (tokens that are re-read, exec plugins, client
certificates) and checks TLS; what is sent and how answers are read is here, since informers need bookmarks and pages
that its own watch does not offer. Every request has a deadline.
"""

import contextlib
import copy
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from keystead.kube.errors import from_exception, from_response
from keystead.model.errors import Refused, Retryable
from keystead.model.reasons import Reason

T = TypeVar("T")
DEADLINE = 15.0  # seconds for an ordinary request
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
_ERROR = 400


def load_config(kubeconfig: str | None, context: str | None) -> SingleConfig:
    """From a kubeconfig file, else from the pod's own account. Refused, with the cure, when neither is there."""
    try:
        if kubeconfig:
            config = KubeConfig.from_file(Path(kubeconfig).expanduser()).get(context)
        else:
            config = KubeConfig.from_service_account().get()
    except (ConfigError, OSError, msgspec.MsgspecError, ValueError) as error:
        tried = (
            f"kubeconfig {kubeconfig}" if kubeconfig else "no kubeconfig given, and no service account is mounted here"
        )
        raise Refused(
            Reason.KUBERNETES_UNAVAILABLE,
            f"KUBECONFIG: {tried}: {error}. Set KUBECONFIG to a readable kubeconfig file, or run in a pod.",
        ) from error
    if config is None:
        raise Refused(
            Reason.KUBERNETES_UNAVAILABLE, f"KUBECONFIG: {kubeconfig} has no context {context!r}. Name one that it has."
        )
    return config


class Api:
    """Requests to one API server."""

    def __init__(self, config: SingleConfig, *, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        params = ConnectionParams(timeout=httpx2.Timeout(DEADLINE), transport=transport)  # type: ignore[arg-type] # typed for the sync twin
        self._allowed: Callable[[], bool] = lambda: True
        self._http: httpx2.AsyncClient = AsyncClient(config, params)

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
        absent_ok: bool = False,
    ) -> bytes | None:
        """The answer's body. ``None`` for 404 when *absent_ok*; errors of :mod:`keystead.model.errors` otherwise."""
        content = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": content_type} if content is not None else None
        what = f"{method} {path}"
        if method != "GET" and not self._allowed():
            raise Retryable(Reason.LEASE_LOST, f"{what}: another replica leads by now")
        try:
            response = await self._http.request(method, path, params=params, content=content, headers=headers)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ConfigError) as error:
            raise from_exception(error, what) from error
        if response.status_code == httpx2.codes.NOT_FOUND and absent_ok:
            return None
        if response.status_code >= _ERROR:
            raise from_response(response, what)
        return response.content

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> Any:
        """Decoded JSON, or ``None`` when absent."""
        content = await self.request("GET", path, params=params, absent_ok=True)
        return None if content is None else msgspec.json.decode(content)

    async def post(self, path: str, body: Any) -> Any:
        return msgspec.json.decode(await self.request("POST", path, body=body) or b"null")

    async def apply(self, path: str, body: Any, *, manager: str) -> Any:
        """Server-side apply, never by force; FieldConflict names the other managers."""
        params = {"fieldManager": manager, "force": "false"}
        content = await self.request("PATCH", path, params=params, body=body, content_type=APPLY)
        return msgspec.json.decode(content or b"null")

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
        self, path: str, params: Mapping[str, str], *, silence: float
    ) -> AsyncIterator[AsyncIterator[str]]:
        """Lines of a watch; a connection that says nothing for *silence* seconds is given up."""
        timeout = httpx2.Timeout(DEADLINE, read=silence)
        what = f"WATCH {path}"
        try:
            async with self._http.stream("GET", path, params=params, timeout=timeout) as response:
                if response.status_code >= _ERROR:
                    await response.aread()
                    raise from_response(response, what)
                yield response.aiter_lines()
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise from_exception(error, what) from error
