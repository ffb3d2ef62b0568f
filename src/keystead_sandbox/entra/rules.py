"""When Entra gives a token for an assertion: the order of its checks, and exact matching.

Order (inferred from which code is seen when several things are wrong): tenant, client, the assertion's form, no
credentials at all, issuer, the issuer's documents and keys, signature, times, subject, audience, resource.
"""

import datetime
import json
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError

from keystead_sandbox.entra.errors import Refusal
from keystead_sandbox.entra.state import Memory
from keystead_sandbox.world import Credential, Identity, World

RESOURCES = {
    "https://vault.azure.net": "https://vault.azure.net",
    "https://management.azure.com": "https://management.azure.com/",
    "https://management.core.windows.net": "https://management.core.windows.net/",
    "https://graph.microsoft.com": "https://graph.microsoft.com",
}
"""What may be asked for, without a trailing slash, and the audience of the token."""

_LONGEST_LIFE = 25 * 3600  # seconds from iat to exp
_SKEW = 300  # seconds of grace for clocks that differ


async def exchange(world: World, memory: Memory, identity: Identity, assertion: str) -> dict[str, str]:
    """Allow or refuse (Refusal) an assertion for a managed identity; returns what the journal may know of it."""
    header, claims = _unverified(assertion)
    issuer, subject = _text(claims, "iss"), _text(claims, "sub")
    detail = {"issuer": issuer, "subject": subject}
    trust = (identity.client_id, issuer, subject)
    remembered = memory.remembered_refusal(trust)
    if remembered is not None:
        raise _refusal(remembered, identity, issuer, subject, "")
    credentials = _effective(world, memory, identity)
    try:
        if not credentials:
            raise Refusal(70025, client=identity.client_id, name=identity.name)
        if issuer not in {each.issuer for each in credentials}:
            raise Refusal(700211, issuer=issuer)
        keys = await memory.keys(issuer, _text(header, "kid"))
        _check_signature(assertion, keys)
        _check_times(claims, world.clock.wall())
        _match(credentials, issuer, subject, _audiences(claims))
    except Refusal as refusal:
        if refusal.code in (70025, 700211, 700213, 7002138):
            memory.refuse(trust, refusal.code)
        raise
    memory.used[trust] = world.clock.now()
    return detail


def _effective(world: World, memory: Memory, identity: Identity) -> list[Credential]:
    """Credentials that exchanges find now: propagated ones, and deleted ones that were in use and linger."""
    now, rules = world.clock.now(), world.rules
    found = [each for each in identity.credentials.values() if each.written_at + rules.propagation <= now]
    for credential, deleted_at in identity.deleted:
        used = memory.used.get((identity.client_id, credential.issuer, credential.subject))
        if used is not None and used <= deleted_at + rules.positive_cache and now < deleted_at + rules.positive_cache:
            found.append(credential)
    return found


def _match(credentials: list[Credential], issuer: str, subject: str, audiences: list[str]) -> None:
    of_issuer = [each for each in credentials if each.issuer == issuer]
    of_subject = [each for each in of_issuer if each.subject == subject]
    if not of_subject:
        near = any(each.subject.lower() == subject.lower() for each in of_issuer)
        raise Refusal(7002138 if near else 700213, subject=subject)
    if not any(each.audience in audiences for each in of_subject):
        raise Refusal(700212, audience=", ".join(audiences))


def _refusal(code: int, identity: Identity, issuer: str, subject: str, audience: str) -> Refusal:
    return Refusal(
        code, client=identity.client_id, name=identity.name, issuer=issuer, subject=subject, audience=audience
    )


def _unverified(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims before anything is believed; 50027 when it is no JWT of ours to judge."""
    try:
        token = jws.extract_compact(assertion.encode())
        header = dict(token.headers())
        claims = json.loads(token.payload)
    except (JoseError, ValueError, UnicodeError):
        raise Refusal(50027) from None
    if not isinstance(claims, dict) or header.get("alg") != "RS256":
        raise Refusal(50027)
    return header, claims


def _check_signature(assertion: str, keys: Any) -> None:
    try:
        jwt.decode(assertion, keys, algorithms=["RS256"])
    except JoseError:
        raise Refusal(700027, reason="The key was not found.") from None
    except ValueError:
        raise Refusal(700027, reason="The key was not found.") from None


def _check_times(claims: dict[str, Any], now: datetime.datetime) -> None:
    try:
        issued, expires = float(claims["iat"]), float(claims["exp"])
        start = float(claims.get("nbf", issued))
    except (KeyError, TypeError, ValueError):
        raise Refusal(50027) from None
    if expires - issued > _LONGEST_LIFE:
        raise Refusal(70023, issued=_instant(issued), expires=_instant(expires))
    if not start - _SKEW <= now.timestamp() < expires + _SKEW:
        raise Refusal(700024, now=_instant(now.timestamp()), start=_instant(start), end=_instant(expires))


def resource_of(scope: str, tenant: str) -> str:
    """The audience for a list of scopes: the one that ends in ``/.default``."""
    wanted = [each for each in scope.split() if each.endswith("/.default")]
    if len(wanted) != 1:
        raise Refusal(70011, scope=scope)
    # azure-cli asks with a double slash; Entra takes both for the same resource.
    resource = wanted[0].removesuffix("/.default").rstrip("/")
    if resource not in RESOURCES:
        raise Refusal(500011, resource=resource, tenant=tenant)
    return RESOURCES[resource]


def _audiences(claims: dict[str, Any]) -> list[str]:
    given = claims.get("aud")
    return [str(each) for each in given] if isinstance(given, list) else [str(given)]


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _instant(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")
