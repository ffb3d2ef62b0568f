"""Access tokens of the emulated directory: RS256, with the claims of a version 1 token."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from keystead_sandbox.world import Application, Identity, World


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a verified token speaks for."""

    object_id: str
    app_id: str
    tenant_id: str
    resource_id: str | None = None

    @property
    def name(self) -> str:
        """For the journal."""
        return self.resource_id.rsplit("/", 1)[1] if self.resource_id else self.app_id


class TokenAuthority:
    """Signs and verifies the directory's own tokens."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._key = RSAKey.generate_key(2048, {"kid": uuid.uuid4().hex, "use": "sig", "alg": "RS256"})

    def jwks(self) -> dict[str, Any]:
        """The published keys."""
        return dict(KeySet([self._key]).as_dict(private=False))

    def issue(self, principal: Identity | Application, audience: str) -> str:
        """An access token for *principal*, valid from now on for the world's token life."""
        now = int(self._world.clock.wall().timestamp())
        claims: dict[str, Any] = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{principal.tenant_id}/",
            "iat": now,
            "nbf": now,
            "exp": now + int(self._world.rules.token_lifetime),
            "appid": principal.client_id,
            "idp": f"https://sts.windows.net/{principal.tenant_id}/",
            "idtyp": "app",
            "tid": principal.tenant_id,
            "uti": uuid.uuid4().hex[:22],
            "ver": "1.0",
        }
        if isinstance(principal, Identity):
            claims |= {
                "appidacr": "2",
                "oid": principal.principal_id,
                "sub": principal.principal_id,
                "xms_mirid": principal.resource_id,
            }
        else:
            claims |= {"appidacr": "1", "oid": principal.object_id, "sub": principal.object_id}
        header = {"alg": "RS256", "typ": "JWT", "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, algorithms=["RS256"])

    def verify(self, token: str, audiences: Collection[str]) -> Caller | None:
        """Whom *token* speaks for, if this directory signed it for one of *audiences* and it is not expired."""
        try:
            claims = jwt.decode(token, self._key, algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return None
        now = self._world.clock.wall().timestamp()
        if claims["aud"].rstrip("/") not in {each.rstrip("/") for each in audiences}:
            return None
        if not claims["nbf"] - 300 <= now < claims["exp"]:
            return None
        return Caller(claims["oid"], claims["appid"], claims["tid"], claims.get("xms_mirid"))

    def audience_of(self, token: str) -> str | None:
        """The audience of a token of ours, whatever it is; for the error that names it."""
        try:
            return str(jwt.decode(token, self._key, algorithms=["RS256"]).claims["aud"])
        except (JoseError, ValueError):
            return None
