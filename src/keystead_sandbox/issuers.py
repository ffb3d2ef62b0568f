"""Reads token issuers' documents for the emulated Entra, from hosts that may be asked and over TLS that is believed.

- This machine alone may be asked: loopback, and its own addresses, since an API server on it publishes its keys under the
  address that it advertises. Other hosts are named by who starts the sandbox, with or without a port.
- Issuers are believed when an authority of the machine, or of the file that was named, vouches for them.
- Like Entra, it shows no credential: an issuer has to let anybody read its discovery documents. Redirects are not
  followed, and a document is read for five seconds and to a mebibyte at most.
"""

import ipaddress
import json
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import aiohttp

from keystead_sandbox.entra.state import Fetch

_FETCH_LIMIT = 5.0  # wall seconds for one document of an issuer
_FETCH_BYTES = 1 << 20  # an issuer that sends more gets no further
_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


class Unusable(Exception):
    """An option that cannot be used as it was given; the text names the option and the cure."""


class Issuers:
    """Whom issuers' documents are believed from: the machine's authorities, and those of a file.

    The file may appear after the start, since an issuer on this machine may come up beside the sandbox: it is read at
    the first use. What is there at the start and holds no certificates is refused at once.
    """

    def __init__(self, path: Path | None, documents: Mapping[str, bytes] | None = None) -> None:
        self._path = path
        self.documents = documents or {}
        """What issuers publish that cannot be reached from here, by URL."""
        self._context: ssl.SSLContext | None = None
        if path is not None and path.exists():
            try:
                self.context()
            except OSError as error:  # ssl.SSLError among them
                raise Unusable(f"--issuer-ca: {path} holds no certificates in PEM. Name a file that does.") from error

    def context(self) -> ssl.SSLContext:
        """To verify issuers with. OSError when the file is still not there, or is none."""
        if self._context is None:
            context = ssl.create_default_context()
            if self._path is not None:
                context.load_verify_locations(cafile=self._path)
            self._context = context
        return self._context


def read_documents(path: Path | None) -> dict[str, bytes]:
    """Issuers' documents by URL, from a file. Unusable when it is none."""
    if path is None:
        return {}
    try:
        written = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise Unusable(f"--issuer-documents: {path} cannot be read as JSON. Name a file that can.") from error
    if not isinstance(written, dict) or not all(isinstance(each, dict) for each in written.values()):
        raise Unusable(f"--issuer-documents: {path} must be an object that gives a JSON object for each URL.")
    return {url: json.dumps(document).encode() for url, document in written.items()}


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts beyond this machine that may be asked; ``HOST:PORT`` for one port of a host."""

    named: frozenset[str]

    @classmethod
    def read(cls, given: Iterable[str]) -> "Hosts":
        """From the command line. Unusable for what is no host."""
        for each in given:
            if _HOST.fullmatch(each) is None:
                raise Unusable(
                    f"--allow-issuer: {each!r} is not a host. Name it as HOST or HOST:PORT, without https://."
                )
        return cls(frozenset(each.lower() for each in given))

    def may_ask(self, parts: SplitResult) -> bool:
        """Whether a document at this address may be read. ValueError for an address that is none."""
        host, port = (parts.hostname or "").lower(), parts.port or 443
        if parts.scheme != "https" or parts.username is not None:
            return False
        written = f"[{host}]" if ":" in host else host
        return bool(self.named & {written, f"{written}:{port}"}) or _is_here(host)


def _is_here(host: str) -> bool:
    """Whether what is sent to *host* stays on this machine."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    if address.is_unspecified or address.is_multicast:
        return False
    try:
        # Only an address of one's own can be bound.
        with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:  # noqa: PLR2004 - IP's version 6
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def fetcher(session: aiohttp.ClientSession, issuers: Issuers, hosts: Hosts) -> Fetch:
    """Reads issuers' documents; OSError when there is no answer, or nobody may be asked."""

    async def fetch(url: str) -> tuple[int, bytes]:
        if url in issuers.documents:
            return 200, issuers.documents[url]
        parts = urlsplit(url)
        if not hosts.may_ask(parts):
            raise OSError(f"{parts.hostname} is not an issuer that the sandbox may reach")
        trust, timeout = issuers.context(), aiohttp.ClientTimeout(total=_FETCH_LIMIT)
        try:
            async with session.get(url, ssl=trust, timeout=timeout, allow_redirects=False) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > _FETCH_BYTES:
                        break
                return response.status, bytes(body[:_FETCH_BYTES])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"{parts.hostname} did not answer: {type(error).__name__}") from error

    return fetch
