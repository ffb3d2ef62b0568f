"""Who is asking: bearer tokens of named users, and ServiceAccount tokens that this cluster signed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from keystead_sandbox.kube.errors import ApiError

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


def authenticate(
    headers: Headers,
    path: str,
    users: Mapping[str, User],
    claims_of: Callable[[str], dict[str, Any] | None],
) -> User:
    """The caller; ApiError 401 when there is none, and the path is not open."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    user: User | None = None
    if scheme.lower() == "bearer":
        user = users.get(token.strip())
        if user is None:
            claims = claims_of(token.strip())
            if claims is not None:
                namespace = claims["kubernetes.io"]["namespace"]
                user = User(claims["sub"], ("system:serviceaccounts", f"system:serviceaccounts:{namespace}"))
    if user is None:
        if path.rstrip("/") in OPEN:
            return User("system:anonymous", ("system:unauthenticated",))
        raise ApiError(401, "Unauthorized", "Unauthorized")
    wanted = headers.get("impersonate-user")
    if not wanted:
        return user
    if ADMINS not in user.groups:
        text = f'users "{wanted}" is forbidden: User "{user.name}" cannot impersonate resource "users" in API group ""'
        raise ApiError(403, "Forbidden", f"{text} at the cluster scope", details={"name": wanted, "kind": "users"})
    return User(wanted, tuple(headers.getlist("impersonate-group")))
