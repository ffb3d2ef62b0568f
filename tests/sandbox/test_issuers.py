"""Issuers' documents are read from this machine and from hosts that were named; from nowhere else."""

import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.entra.state import Issuers as EntraIssuers
from keystead_sandbox.issuers import Hosts, Issuers, Unusable, fetcher
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.server import Server
from sandbox.entra_keyvault_fixtures import KEYS

NOBODY = Hosts.read(())


async def document(scope: Any, receive: Any, send: Any) -> None:
    del receive
    size = 1 << 21 if scope["path"] == "/large" else 2
    status = 302 if scope["path"] == "/elsewhere" else 200
    headers = [(b"location", b"https://example.com/"), (b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"{" * size})


async def test_issuers_are_read_from_loopback_with_their_own_authority(tmp_path: Path) -> None:
    authority = Authority()
    server = Server(document, tls=server_context(*authority.issue(["127.0.0.1", "localhost"])))
    port = await server.start()
    path = tmp_path / "ca.pem"
    issuers = Issuers(path)
    async with aiohttp.ClientSession() as session:
        fetch = fetcher(session, issuers, NOBODY)
        with pytest.raises(OSError, match="No such file"):
            await fetch(f"https://127.0.0.1:{port}/")
        path.write_bytes(authority.ca_pem)  # an issuer may come up later than we

        read = await fetch(f"https://127.0.0.1:{port}/")
        elsewhere = await fetch(f"https://localhost:{port}/elsewhere")
        large = await fetch(f"https://localhost:{port}/large")
        with pytest.raises(OSError, match="did not answer"):
            await fetcher(session, Issuers(None), NOBODY)(f"https://127.0.0.1:{port}/")
    await server.stop()

    assert read == (200, b"{{")
    assert elsewhere[0] == 302  # not followed
    assert len(large[1]) <= 1 << 20


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "http://127.0.0.1/",
        "https://127.0.0.1.example.com/",
        "https://169.254.169.254/",
        "file:///etc/passwd",
    ],
)
async def test_nobody_else_is_asked(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(OSError, match="is not an issuer that the sandbox may reach"):
            await fetcher(session, Issuers(None), Hosts.read(["allowed.example.com"]))(url)


@pytest.mark.parametrize(
    ("named", "url", "may"),
    [
        ([], "https://127.0.0.1:6443/", True),
        ([], "https://127.8.8.8/", True),
        ([], "https://[::1]:6443/", True),
        ([], "https://LOCALHOST/", True),
        ([], "https://0.0.0.0/", False),
        ([], "https://192.0.2.1/", False),
        ([], "https://224.0.0.1/", False),
        ([], "https://user:secret@127.0.0.1/", False),
        ([], "https://localhost.example.com/", False),
        (["Issuer.example.com"], "https://issuer.example.com/", True),
        (["issuer.example.com"], "https://issuer.example.com:8443/", True),
        (["issuer.example.com:8443"], "https://issuer.example.com:8443/", True),
        (["issuer.example.com:8443"], "https://issuer.example.com/", False),
        (["issuer.example.com:443"], "https://issuer.example.com/", True),
        (["issuer.example.com"], "https://evil-issuer.example.com/", False),
        (["issuer.example.com"], "http://issuer.example.com/", False),
        (["[2001:db8::1]:6443"], "https://[2001:DB8::1]:6443/", True),
    ],
)
def test_who_may_be_asked(named: list[str], url: str, may: bool) -> None:
    assert Hosts.read(named).may_ask(urlsplit(url)) is may


def test_an_api_servers_own_address_may_be_asked() -> None:
    """An API server publishes its keys under the address that it advertises, which is no loopback address."""
    mine = [
        each.address
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family is socket.AF_INET
    ]

    assert mine
    assert all(NOBODY.may_ask(urlsplit(f"https://{address}:6443/openid/v1/jwks")) for address in mine)


@pytest.mark.parametrize(
    "given", ["", "https://issuer.example.com", "issuer.example.com/path", "a b", "h:port", "*:443"]
)
def test_what_is_no_host_is_refused_with_the_cure(given: str) -> None:
    with pytest.raises(Unusable, match=r"--allow-issuer: .* Name it as HOST or HOST:PORT"):
        Hosts.read([given])


async def test_a_document_in_many_pieces_is_read_whole(tmp_path: Path) -> None:
    async def pieces(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(50):
            await send({"type": "http.response.body", "body": b"%03d" % number * 1000, "more_body": number < 49})

    authority = Authority()
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.ca_pem)
    server = Server(pieces, tls=server_context(*authority.issue(["127.0.0.1"])))
    port = await server.start()
    async with aiohttp.ClientSession() as session:
        status, body = await fetcher(session, Issuers(path), NOBODY)(f"https://127.0.0.1:{port}/")
    await server.stop()

    assert (status, len(body), body[-3:]) == (200, 150_000, b"049")


async def test_an_issuer_that_publishes_its_keys_on_another_port_is_trusted(tmp_path: Path) -> None:
    authority = Authority()
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.ca_pem)
    tls = server_context(*authority.issue(["127.0.0.1", "localhost"]))
    addresses: dict[str, str] = {}

    async def configuration(request: Request) -> Response:
        del request
        return JSONResponse({"issuer": addresses["issuer"], "jwks_uri": f"{addresses['keys']}/openid/v1/jwks"})

    async def keys(request: Request) -> Response:
        del request
        return JSONResponse({"keys": [{**KEYS["k1"].as_dict(private=False), "kid": "k1", "use": "sig"}]})

    issuer = Server(Starlette(routes=[Route("/.well-known/openid-configuration", configuration)]), tls=tls)
    other = Server(Starlette(routes=[Route("/openid/v1/jwks", keys)]), tls=tls)
    addresses = {
        "issuer": f"https://127.0.0.1:{await issuer.start()}",
        "keys": f"https://localhost:{await other.start()}",
    }
    async with aiohttp.ClientSession() as session:
        known = await EntraIssuers(ScaledClock(), fetcher(session, Issuers(path), NOBODY)).key(
            addresses["issuer"], "k1"
        )
    await issuer.stop()
    await other.stop()

    assert known is not None
    assert known.thumbprint() == KEYS["k1"].thumbprint()


def test_a_file_without_certificates_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("nothing")

    with pytest.raises(Unusable, match="holds no certificates"):
        Issuers(path)


def test_the_machines_own_authorities_stay_trusted(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(Authority().ca_pem)

    both, machine = Issuers(path).context(), ssl.create_default_context()

    assert both.cert_store_stats()["x509_ca"] == machine.cert_store_stats()["x509_ca"] + 1
