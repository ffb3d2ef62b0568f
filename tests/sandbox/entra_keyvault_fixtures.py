"""A world with one cluster, one identity and one vault, served in-process on virtual time."""

import asyncio
import base64
import contextlib
import datetime
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from keystead_sandbox.clock import Clock, VirtualClock
from keystead_sandbox.entra.routes import entra_app
from keystead_sandbox.entra.rules import ASSERTION_TYPE
from keystead_sandbox.entra.tokens import TokenAuthority
from keystead_sandbox.journal import Journal
from keystead_sandbox.keyvault.routes import keyvault_app
from keystead_sandbox.resources import AUDIENCE, Credential, Identity
from keystead_sandbox.world import World

EPOCH = datetime.datetime(2026, 3, 1, 12, 0, 0, tzinfo=datetime.UTC)
ISSUER = "https://oidc.example.test/cluster-a/"
SUBJECT = "system:serviceaccount:shop:Payments"
VAULT_SCOPE = "https://vault.azure.net/.default"
LOGIN = "login.microsoftonline.com"
PLANTED = "hunter2-planted-value"
CLIENT_SECRET = "planted-client-secret"
# One key of each kind for the whole run: generating them is the slow part, and nothing depends on their freshness.
KEYS = {"k1": RSAKey.generate_key(2048), "k2": RSAKey.generate_key(2048)}
SANDBOX_KEY = RSAKey.generate_key(2048)
CURVE_KEY = ECKey.generate_key("P-256")


class Cluster:
    """An issuer of ServiceAccount tokens, and what it publishes."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.published = ["k1"]
        self.fetched: list[str] = []
        self.document: dict[str, Any] = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}openid/v1/jwks"}
        self.status = 200
        self.down = False
        self.raw: bytes | None = None
        self.hold: asyncio.Event | None = None

    async def fetch(self, url: str) -> tuple[int, bytes]:
        self.fetched.append(url)
        if self.hold is not None:
            await self.hold.wait()
        if self.down or not urlsplit(url).netloc:
            raise ConnectionRefusedError(url)
        if self.raw is not None:
            return self.status, self.raw
        if url.endswith("/.well-known/openid-configuration"):
            return self.status, json.dumps(self.document).encode()
        keys = [{**KEYS[kid].as_dict(private=False), "kid": kid, "use": "sig"} for kid in self.published]
        return self.status, json.dumps({"keys": keys}).encode()

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(self.clock.wall().timestamp())
        claims = {"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 3600}
        return {name: value for name, value in {**claims, **changed}.items() if value is not None}

    def token(
        self, *, kid: str = "k1", signed_by: str = "", header: dict[str, Any] | None = None, **changed: Any
    ) -> str:
        # Like the API server's: no "typ".
        head = {"alg": "RS256", "kid": kid, **(header or {})}
        return jwt.encode(head, self.claims(**changed), KEYS[signed_by or kid], default_type=None)


class Cloud:
    """The services, and shorthands to call them."""

    def __init__(self) -> None:
        self.clock = VirtualClock(EPOCH)
        self.journal = Journal(self.clock)
        self.world = World(self.clock, self.journal)
        self.tenant = self.world.add_tenant().id
        self.world.add_subscription()
        self.identity = self.world.add_identity("writer")
        self.cluster = Cluster(self.clock)
        self.authority = TokenAuthority(self.world, SANDBOX_KEY)
        self.entra = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(entra_app(self.world, self.authority, self.cluster.fetch)),
            base_url=f"https://{LOGIN}",
        )
        self.application = self.world.add_application("owner", secret=CLIENT_SECRET)
        self.vault = self.world.add_vault("Payments-KV")
        self.world.set_secret(self.vault, "db-password", PLANTED)
        self.keyvault = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(keyvault_app(self.world, self.authority)),
            base_url="https://payments-kv.vault.azure.net",
        )

    def trust(
        self, name: str = "fic1", *, issuer: str = ISSUER, subject: str = SUBJECT, now: bool = False
    ) -> Credential:
        """A credential of the identity: long there, or written *now*."""
        credential = self.world.add_credential(self.identity, name, issuer, subject)
        if now:
            credential = Credential(name, issuer, subject, AUDIENCE, self.clock.now())
            self.identity.credentials[name] = credential
        return credential

    def withdraw(self, name: str = "fic1") -> None:
        """Delete a credential, as ARM does."""
        self.identity.deleted.append((self.identity.credentials.pop(name), self.clock.now()))

    async def post(self, *, tenant: str = "", **fields: str | None) -> httpx2.Response:
        """A token request; a field of None is left out."""
        form: dict[str, str | None] = {
            "grant_type": "client_credentials",
            "client_id": self.identity.client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "scope": VAULT_SCOPE,
            **fields,
        }
        data = {name: value for name, value in form.items() if value is not None}
        return await self.entra.post(f"/{tenant or self.tenant}/oauth2/v2.0/token", data=data)

    async def exchange(self, **changed: Any) -> int:
        """Exchange a good token: 0, or the AADSTS code of the refusal."""
        return code_of(await self.post(client_assertion=self.cluster.token(**changed)))

    def bearer(self, audience: str = "https://vault.azure.net", *, identity: Identity | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.authority.issue(identity or self.identity, audience)}"}


def code_of(response: httpx2.Response) -> int:
    if response.status_code == 200:
        return 0
    codes = response.json()["error_codes"]
    assert len(codes) == 1
    return int(codes[0])


def certificate_of(key: str, now: datetime.datetime, *, days: int = 30) -> x509.Certificate:
    """A certificate that signs itself, for one of the keys."""
    private = KEYS[key].private_key
    assert private is not None
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "owner")])
    builder = x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=private.public_key())
    begin = now - datetime.timedelta(days=60)
    return (
        builder.serial_number(7)
        .not_valid_before(begin)
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(private, hashes.SHA256())
    )


def pem_of(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def certified(
    cloud: Cloud, certificate: x509.Certificate, *, signed_by: str = "k1", algorithm: str = "RS256", **changed: Any
) -> str:
    """An assertion that the application signs itself."""
    client = cloud.application.client_id
    digest = certificate.fingerprint(hashes.SHA1())  # noqa: S303 - the header "x5t" is SHA-1
    header = {"alg": algorithm, "x5t": base64.urlsafe_b64encode(digest).decode().rstrip("=")}
    if algorithm == "PS256":
        digest = certificate.fingerprint(hashes.SHA256())
        header = {"alg": algorithm, "x5t#S256": base64.urlsafe_b64encode(digest).decode().rstrip("=")}
    own: dict[str, Any] = {
        "iss": client,
        "sub": client,
        "aud": f"https://{LOGIN}/{cloud.tenant}/oauth2/v2.0/token",
        "jti": "1",
    }
    claims = cloud.cluster.claims(**{**own, **changed})
    return jwt.encode(header, claims, KEYS[signed_by], algorithms=["RS256", "PS256"])


@contextlib.contextmanager
def at_the_start() -> Iterator[None]:
    """The test's own time zero; looptime leaves fixtures on real time, and what they make would lie in its future."""
    loop: Any = asyncio.get_running_loop()
    loop.setup_looptime(start=0)
    with loop.looptime_enabled():
        yield


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    with at_the_start():
        made = Cloud()
    async with made.entra, made.keyvault:
        yield made
