"""A server that asks for certificates takes any in the handshake, and says what it was shown: the application decides."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from keystead_sandbox.kube.certificates import Certificates, Uncertified
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.server import Server

NOW = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC)


class Fixed:
    """A clock that stands still."""

    rate = 1.0

    def now(self) -> float:
        return 0.0

    def wall(self) -> datetime.datetime:
        return NOW

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0 * seconds)

    def to_wall_seconds(self, seconds: float) -> float:
        return seconds


async def _shown(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the common name of what was shown."""
    chain = scope["extensions"].get("tls", {}).get("client_cert_chain", ())
    names = [x509.load_pem_x509_certificate(each.encode()).subject.rfc4514_string() for each in chain]
    await PlainTextResponse(";".join(names) or "nobody")(scope, receive, send)


@contextlib.asynccontextmanager
async def _serving(authority: Authority) -> AsyncIterator[int]:
    server = Server(_shown, tls=server_context(*authority.issue(("127.0.0.1",)), asks_clients=True))
    try:
        yield await server.start()
    finally:
        await server.stop()


async def _ask(port: int, trust: Authority, folder: Path, certificate: tuple[bytes, bytes] | None, version: str) -> str:
    context = ssl.create_default_context(cadata=trust.ca_pem.decode())
    context.maximum_version = ssl.TLSVersion[version]
    if certificate is not None:
        (folder / "c.pem").write_bytes(certificate[0] + certificate[1])
        context.load_cert_chain(folder / "c.pem")
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_whatever_is_shown_reaches_the_application(tmp_path: Path, version: str) -> None:
    authority, stranger = Authority("server"), Authority("stranger")
    old = authority.issue_client("old", valid=datetime.timedelta(minutes=-1))
    async with _serving(authority) as port:
        told = [
            await _ask(port, authority, tmp_path, certificate, version)
            for certificate in (
                None,
                authority.issue_client("dev", ("devs",)),
                stranger.issue_client("mallory"),
                old,
                authority.issue_client("dev", ("devs",)),
            )
        ]

    assert told == ["nobody", "CN=dev,O=devs", "CN=mallory", "CN=old", "CN=dev,O=devs"]


@pytest.mark.parametrize(
    ("later", "counts"),
    [(-2, False), (0, True), (24 * 29, True), (24 * 31, False)],
    ids=["before its time", "in its time", "near its end", "after its time"],
)
def test_a_certificate_counts_in_its_time(later: int, counts: bool) -> None:
    authority = Authority("clients", Fixed())
    known = Certificates.of(authority.ca_pem.decode())
    assert known is not None
    shown = authority.issue_client("dev")[0].decode()
    then = NOW + datetime.timedelta(hours=later)

    if counts:
        user = known.user(shown, then)
        assert user is not None
        assert user.name == "dev"
    else:
        with pytest.raises(Uncertified):
            known.user(shown, then)


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "junk"])
def test_what_is_no_certificate_does_not_count(text: str) -> None:
    known = Certificates.of(Authority().ca_pem.decode())
    assert known is not None
    with pytest.raises(Uncertified):
        known.user(text, NOW)


def test_a_servers_certificate_is_not_for_clients() -> None:
    authority = Authority("clients", Fixed())
    known = Certificates.of(authority.ca_pem.decode())
    assert known is not None
    with pytest.raises(Uncertified):
        known.user(authority.issue(("dev",))[0].decode(), NOW)


def test_an_authority_that_makes_its_own_name_signs_nothing_for_another() -> None:
    known = Certificates.of(Authority("same", Fixed()).ca_pem.decode())
    assert known is not None
    with pytest.raises(Uncertified):
        known.user(Authority("same", Fixed()).issue_client("dev")[0].decode(), NOW)


def test_a_cluster_without_an_authority_knows_nobody_so() -> None:
    assert Certificates.of("") is None
