"""An azure-core transport that runs an ASGI app in this process: the SDK's own code above it, the sandbox below."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self
from urllib.parse import urlencode

from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AsyncHttpResponse, AsyncHttpTransport
from requests.structures import CaseInsensitiveDict
from starlette.types import ASGIApp, Message
from yarl import URL


class InProcessTransport(AsyncHttpTransport[Any, Any]):
    """A transport that has nothing to open or close; who inherits says how a request is answered."""

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return


class ASGIAzureTransport(InProcessTransport):
    """Answers every request from *app*; a scripted reset is an answer that never came."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def send(self, request: Any, **kwargs: Any) -> Any:
        url = URL(request.url, encoded=True)
        body = content_of(request)
        status, headers, parts = 0, [], []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message.get("headers", ()))
            elif message.get("body"):
                parts.append(message["body"])

        try:
            async with asyncio.timeout(kwargs.get("read_timeout") or 30):
                await self._app(_scope(request, url, body), receive, send)
        except TimeoutError as error:
            raise ServiceResponseError("no answer in time") from error
        except ConnectionRefusedError as error:
            raise ServiceRequestError(str(error), error=error) from error
        except OSError as error:
            raise ServiceResponseError(str(error), error=error) from error
        return AzureResponse(request, status, headers, b"".join(parts))


def content_of(request: Any) -> bytes:
    """The body that the pipeline would send."""
    data = getattr(request, "content", None)
    if data is None:
        data = getattr(request, "data", None)
    if isinstance(data, dict):
        return urlencode(data).encode()
    return data.encode() if isinstance(data, str) else bytes(data or b"")


def _scope(request: Any, url: URL, body: bytes) -> dict[str, Any]:
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    headers.setdefault("host", url.host or "")
    headers["content-length"] = str(len(body))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.encode(),
        "query_string": url.raw_query_string.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": (url.host, 443),
        "state": {},
    }


class AzureResponse(AsyncHttpResponse):
    """As much of azure-core's response as its pipelines read."""

    def __init__(self, request: Any, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
        super().__init__(request, None)
        self.status_code = status
        self.headers = CaseInsensitiveDict({name.decode(): value.decode() for name, value in headers})
        self.reason = ""
        self.content_type = self.headers.get("content-type", "")
        self._content = content

    def body(self) -> bytes:
        return self._content

    async def read(self) -> bytes:
        return self._content

    async def load_body(self) -> None:
        return

    def stream_download(self, pipeline: Any = None, **kwargs: Any) -> Any:
        async def parts() -> AsyncIterator[bytes]:
            yield self._content

        return parts()

    def iter_bytes(self, **kwargs: Any) -> Any:
        return self.stream_download()

    iter_raw = iter_bytes
