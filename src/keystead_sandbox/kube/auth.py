"""Who is asking: bearer tokens of named users, and ServiceAccount tokens that this cluster signed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keystead_sandbox.kube.errors import ApiError
from keystead_sandbox.kube.tokens import TokenIssuer

ADMINS = "system:masters"
OPEN = ("/healthz", "/livez", "/readyz", "/version", "/.well-known/openid-configuration", "/openid/v1/jwks")
"""What may be read without a token; the issuer's documents, since Entra has none."""


@dataclass(frozen=True, slots=True)
class User:
    """A name and its groups."""

    name: str
    groups: tuple[str, ...] = ()

    def info(self) -> dict[str, Any]:
        return {"username": self.name, "groups": [*self.groups, "system:authenticated"]}


def authenticate(headers: Mapping[str, str], path: str, users: Mapping[str, User], tokens: TokenIssuer) -> User:
    """The caller; ApiError 401 when there is none, and the path is not open."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    user: User | None = None
    if scheme.lower() == "bearer":
        user = users.get(token.strip())
        if user is None:
            claims = tokens.verify(token.strip())
            if claims is not None:
                namespace = claims["kubernetes.io"]["namespace"]
                user = User(claims["sub"], ("system:serviceaccounts", f"system:serviceaccounts:{namespace}"))
    if user is None:
        if path.rstrip("/") in OPEN:
            return User("system:anonymous", ("system:unauthenticated",))
        raise ApiError(401, "Unauthorized", "Unauthorized")
    wanted = headers.get("impersonate-user")
    if wanted and ADMINS in user.groups:
        return User(wanted, tuple(filter(None, headers.get("impersonate-group", "").split(","))))
    return user
