"""The one seam to Azure: an azure-core transport. Proxies and authorities come from the environment, as usual there."""

from collections.abc import Callable
from typing import Any, TypeAlias

from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport

MakeTransport: TypeAlias = Callable[[], AsyncHttpTransport[Any, Any]]

CONNECT = 5.0  # seconds until a connection must stand
ANSWER = 30.0  # seconds until an answer must come; a credential write takes one to two


def aiohttp_transport() -> AsyncHttpTransport[Any, Any]:
    """A new transport with its own connections."""
    transport: AsyncHttpTransport[Any, Any] = AioHttpTransport(connection_timeout=CONNECT, read_timeout=ANSWER)
    return transport
