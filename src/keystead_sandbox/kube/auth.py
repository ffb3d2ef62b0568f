"""Who is asking: by certificate, by a named user's token or a ServiceAccount's, and whom they stand for.

- A certificate that counts comes before any token. One that does not count is passed over for a token that means somebody.
- With neither the caller is ``system:anonymous``; a certificate or a token that means nobody is refused, whatever the path.
- Impersonation is asked of the authoriser, one question for each header (Kubernetes docs: "User impersonation").
"""

import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from keystead_sandbox.kube.errors import forbidden_to, unauthorized, without_a_user
from keystead_sandbox.kube.rbac import Attributes, Verdict

ADMINS = "system:masters"
ANONYMOUS = "system:anonymous"
EVERYONE, NOBODY = "system:authenticated", "system:unauthenticated"
_ACCOUNT, _ACCOUNTS = "system:serviceaccount:", "system:serviceaccounts"
_AUTHENTICATION = "authentication.k8s.io"
_EXTRA = "impersonate-extra-"
_ACCOUNT_PARTS = 4


@dataclass(frozen=True, slots=True)
class User:
    """A name and what goes with it."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def all_groups(self) -> tuple[str, ...]:
        """With the one that the server adds to whoever it knows."""
        if EVERYONE in self.groups or NOBODY in self.groups:
            return self.groups
        return (*self.groups, EVERYONE)

    def info(self) -> dict[str, Any]:
        """As ``userInfo`` of reviews."""
        shown: dict[str, Any] = {"username": self.name}
        if self.uid:
            shown["uid"] = self.uid
        shown["groups"] = list(self.all_groups)
        if self.extra:
            shown["extra"] = {name: list(values) for name, values in self.extra}
        return shown


def account(claims: Mapping[str, Any]) -> User:
    """The user that the claims of a ServiceAccount's token stand for."""
    about = claims["kubernetes.io"]
    namespace = about["namespace"]
    extra = {f"{_AUTHENTICATION.replace('k8s', 'kubernetes')}/credential-id": (f"JTI={claims['jti']}",)}
    groups = (_ACCOUNTS, f"{_ACCOUNTS}:{namespace}")
    return User(claims["sub"], groups, about["serviceaccount"]["uid"], tuple(extra.items()))


def authenticate(
    headers: Headers,
    users: Mapping[str, User],
    account_of: Callable[[str], User | None],
    peer: User | None = None,
    *,
    uncertified: bool = False,
) -> User:
    """The caller: *peer*, whom the connection's certificate stands for, or whom the token does.

    ApiError 401 for a token of nobody; and where there is no token, for a certificate that does not count (*uncertified*).
    """
    if peer is not None:
        return peer
    scheme, _, token = headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        if uncertified:
            raise unauthorized()
        return User(ANONYMOUS, (NOBODY,))
    user = users.get(token) or account_of(token)
    if user is None:
        raise unauthorized()
    return user


def impersonate(headers: Headers, user: User, decide: Callable[[User, Attributes], Verdict]) -> User:
    """Whom the caller stands for, the caller itself when for nobody; ApiError 403 when it may not."""
    name, uid = headers.get("impersonate-user", ""), headers.get("impersonate-uid", "")
    groups = tuple(headers.getlist("impersonate-group"))
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in headers.items():
        if header.startswith(_EXTRA):
            key = urllib.parse.unquote(header.removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), value)
    if not name:
        if groups or extra or uid:
            raise without_a_user()
        return user
    for asked in _questions(name, groups, uid, extra):
        verdict = decide(user, asked)
        if not verdict.allowed:
            raise forbidden_to(user.name, asked, verdict.reason)
    if not groups and name.startswith(_ACCOUNT) and len(name.split(":")) == _ACCOUNT_PARTS:
        groups = (_ACCOUNTS, f"{_ACCOUNTS}:{name.split(':')[2]}")
    if name == ANONYMOUS and NOBODY not in groups and EVERYONE not in groups:
        groups = (*groups, NOBODY)
    return User(name, groups, uid, tuple(extra.items()))


def _questions(name: str, groups: tuple[str, ...], uid: str, extra: Mapping[str, tuple[str, ...]]) -> list[Attributes]:
    parts = name.split(":")
    if name.startswith(_ACCOUNT) and len(parts) == _ACCOUNT_PARTS:
        asked = [Attributes("impersonate", resource="serviceaccounts", namespace=parts[2], name=parts[3])]
    else:
        asked = [Attributes("impersonate", resource="users", name=name)]
    asked += [Attributes("impersonate", resource="groups", name=each) for each in groups]
    asked += [
        Attributes("impersonate", group=_AUTHENTICATION, version="v1", resource="userextras", sub=key, name=value)
        for key, values in extra.items()
        for value in values
    ]
    if uid:
        asked.append(Attributes("impersonate", group=_AUTHENTICATION, version="v1", resource="uids", name=uid))
    return asked
