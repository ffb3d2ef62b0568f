"""Access tokens: what Entra issues and every other service verifies.

- Tokens are real RS256 JWTs in the v1 shape that managed identities receive; the key lives as long as the sandbox.
- A token stays good until its ``exp``, whatever happens to its credential, identity or roles meanwhile, as in Azure.
- An audience is compared with or without one trailing slash, since Azure's services accept both forms.
- No leeway: the sandbox and its clients share one wall clock.
- Nothing here prints a token.
"""

import enum
import hashlib
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from keystead_sandbox.entra.errors import digest_guid
from keystead_sandbox.resources import Application, Identity
from keystead_sandbox.world import World


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a verified token speaks for; ``resource_id`` only when that is a managed identity."""

    object_id: str
    app_id: str
    tenant_id: str
    resource_id: str
    issuer: str

    @property
    def name(self) -> str:
        """What a journal calls it: the managed identity's name, or the client id."""
        return self.resource_id.rpartition("/")[2] or self.app_id


class Fault(enum.StrEnum):
    """Why a token is not accepted."""

    MALFORMED = "malformed"
    ISSUER = "issuer"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    AUDIENCE = "audience"


class TokenRefusedError(Exception):
    """A token that is not accepted; ``found`` is the offending claim, never the token."""

    def __init__(self, fault: Fault, found: str = "") -> None:
        super().__init__(f"{fault}: {found}")
        self.fault = fault
        self.found = found


class _Claims(msgspec.Struct, frozen=True):
    """The claims that a service decides by."""

    aud: str
    iss: str
    nbf: int
    exp: int
    oid: str
    appid: str
    tid: str
    xms_mirid: str = ""


class TokenAuthority:
    """Signs and verifies the access tokens of one world."""

    def __init__(self, world: World, key: RSAKey | None = None) -> None:
        self._world = world
        self._key = key or RSAKey.generate_key(2048)
        self._kid = self._key.thumbprint()
        self._numbers = itertools.count(1)

    def issue(
        self,
        principal: Identity | Application,
        audience: str,
        *,
        capabilities: Sequence[str] = (),
        machine: str = "",
        certificate: bool = False,
    ) -> str:
        """A token for *audience*, written as the client asked for it; *machine* is where a managed identity runs."""
        now = int(self._world.clock.wall().timestamp())
        issuer = self.issuer_of(principal.tenant_id)
        object_id = principal.principal_id if isinstance(principal, Identity) else principal.object_id
        number = hashlib.sha256(f"{self._kid}/{next(self._numbers)}".encode()).hexdigest()
        claims: dict[str, Any] = {
            "aud": audience,
            "iss": issuer,
            "iat": now,
            "nbf": now,
            "exp": now + int(self._world.rules.token_lifetime),
            "aio": number[:44],
            "appid": principal.client_id,
            # How the client proved itself: 1 a secret, 2 an assertion (Entra docs: access token claims reference).
            "appidacr": "2" if certificate or isinstance(principal, Identity) else "1",
            "idp": issuer,
            "idtyp": "app",
            "oid": object_id,
            "rh": f"1.{number[44:]}",
            "sub": object_id,
            "tid": principal.tenant_id,
            "uti": number[:22],
            "ver": "1.0",
        }
        if capabilities:
            claims["xms_cc"] = list(capabilities)
        if isinstance(principal, Identity):
            claims["xms_mirid"] = principal.resource_id
        if machine:
            claims["xms_az_rid"] = machine
        return jwt.encode({"alg": "RS256", "x5t": self._kid, "kid": self._kid}, claims, self._key)

    def verify(self, token: str, audiences: Collection[str]) -> Caller | None:
        """Who *token* speaks for, when it is ours, in time and meant for one of *audiences*."""
        try:
            return self.check(token, audiences)
        except TokenRefusedError:
            return None

    def check(self, token: str, audiences: Collection[str], tenant_id: str = "") -> Caller:
        """Like :meth:`verify`, but says why not; *tenant_id* narrows the issuer to one tenant.

        Raises:
            TokenRefusedError: the token is not accepted.

        """
        claims = _claims(token)
        tenants = [tenant_id] if tenant_id else list(self._world.tenants)
        # The issuer first: a token of another authority can have no valid signature of ours.
        if claims.iss not in {self.issuer_of(tenant) for tenant in tenants}:
            raise TokenRefusedError(Fault.ISSUER, claims.iss)
        try:
            jws.deserialize_compact(token, self._key, algorithms=["RS256"])
        except (JoseError, ValueError):
            raise TokenRefusedError(Fault.SIGNATURE) from None
        if not claims.nbf <= self._world.clock.wall().timestamp() < claims.exp:
            raise TokenRefusedError(Fault.EXPIRED)
        if claims.aud.removesuffix("/") not in {audience.removesuffix("/") for audience in audiences}:
            raise TokenRefusedError(Fault.AUDIENCE, claims.aud)
        return Caller(claims.oid, claims.appid, claims.tid, claims.xms_mirid, claims.iss)

    def issuer_of(self, tenant_id: str) -> str:
        """What tokens of this tenant name as their issuer."""
        return f"{self._world.cloud_of(tenant_id).sts}{tenant_id}/"

    def jwks(self) -> dict[str, list[Mapping[str, object]]]:
        """The public key, as published."""
        public = self._key.as_dict(private=False)
        return {"keys": [{**public, "use": "sig", "kid": self._kid, "x5t": self._kid, "alg": "RS256"}]}

    def trace(self) -> str:
        """A GUID for one answer."""
        return digest_guid(f"trace/{self._kid}/{next(self._numbers)}")


def _claims(token: str) -> _Claims:
    try:
        return msgspec.json.decode(jws.extract_compact(token.encode("ascii")).payload, type=_Claims)
    except (JoseError, ValueError):  # msgspec's and unicode's errors are ValueErrors
        raise TokenRefusedError(Fault.MALFORMED) from None
