"""Pure: how Entra matches an assertion with federated credentials, and understands a scope.

- Issuer, subject and audience are compared byte for byte; where only the subject's case differs, the code says so
  (Entra docs: "workload identity federation: important considerations and restrictions").
- The stages are separate functions, so that the caller can do the next lookup only when the one before succeeded:
  issuer, (signature), time, subject and audience, resource.
- ``aud`` may be an array: TokenRequest with several audiences makes such tokens, and one of them has to match.
- Only RS256 is accepted, whatever the issuer publishes.
"""

import datetime
import functools
import json
from collections.abc import Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from keystead_sandbox import expressions
from keystead_sandbox.clouds import CLOUDS, Cloud
from keystead_sandbox.entra.assertions import Assertion
from keystead_sandbox.entra.errors import RefusedError
from keystead_sandbox.resources import Credential, Tenant

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST_LIFE = datetime.timedelta(hours=25)
#: Resources by their application's id, which is the same in every cloud.
_APPLICATIONS = frozenset(
    {
        "797f4846-ba00-4fd7-ba43-dac1f8f63013",  # Azure Resource Manager
        "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",  # Key Vault
        "00000003-0000-0000-c000-000000000000",  # Microsoft Graph
    }
)
_OPENID = frozenset({"openid", "offline_access", "profile", "email"})
ENTRA_HOSTS = tuple({f"https://{host}/" for cloud in CLOUDS for host in cloud.login_aliases} | {c.sts for c in CLOUDS})
#: Refusals that say "the directory has no such record", and are remembered.
NO_MATCH = frozenset({70025, 700211, 700213, 7002131, 7002138})
#: Refusals that were one until 2023.
TOLD_APART = frozenset({700211, 700212, 700213, 7002138})
_FEWEST_BITS = 2048  # Entra takes no weaker RSA key (Entra docs: certificate credentials)
_SUFFIX = "/.default"


def check_tenant(assertion: Assertion, tenant: Tenant) -> None:
    """Whether the tenant lets this issuer's tokens be exchanged at all."""
    if assertion.issuer.startswith(ENTRA_HOSTS):
        raise RefusedError(700222, issuer=assertion.issuer)
    if not tenant.federation:
        raise RefusedError(700223, tenant=tenant.id)
    if tenant.allowed_issuers is not None and assertion.issuer not in tenant.allowed_issuers:
        raise RefusedError(700238, tenant=tenant.id, issuer=assertion.issuer)


def match_issuer(assertion: Assertion, view: Sequence[Credential], *, client_id: str, name: str) -> list[Credential]:
    """The credentials of *view* that trust the assertion's issuer; there is at least one."""
    if not view:
        raise RefusedError(70025, client_id=client_id, name=name)
    trusting = [credential for credential in view if credential.issuer == assertion.issuer]
    if not trusting:
        raise RefusedError(700211, issuer=assertion.issuer)
    return trusting


def match_subject(assertion: Assertion, trusting: Sequence[Credential]) -> Credential:
    """The credential of *trusting* with the assertion's subject, or a matching expression, and one of its audiences."""
    flexible = any(credential.expression for credential in trusting)
    named = [credential for credential in trusting if _names(credential, assertion)]
    if not named:
        folded = assertion.subject.casefold()
        differs = any(credential.subject.casefold() == folded for credential in trusting)
        raise RefusedError(7002138 if differs else 7002131 if flexible else 700213, subject=assertion.subject)
    for credential in named:
        if credential.audience in assertion.audiences:
            return credential
    raise RefusedError(7002121 if flexible else 700212, audience=",".join(assertion.audiences))


def combined(assertion: Assertion) -> RefusedError:
    """One refusal for whatever did not match."""
    audience = ",".join(assertion.audiences)
    return RefusedError(70021, issuer=assertion.issuer, subject=assertion.subject, audience=audience)


def _names(credential: Credential, assertion: Assertion) -> bool:
    if credential.expression:
        return expressions.holds(credential.expression, assertion.claims)
    return credential.subject == assertion.subject


def check_certificate(
    assertion: Assertion, certificates: Sequence[str], *, endpoints: Sequence[str], now: datetime.datetime
) -> None:
    """Verify an assertion that an application signed with the key of one of its certificates.

    Its issuer and subject are the application, its audience the tenant's token endpoint or issuer, its header names
    the certificate by thumbprint (Entra docs: "certificate credentials").
    """
    if assertion.subject.lower() != assertion.issuer.lower():
        raise RefusedError(700021)
    if not {each.removesuffix("/") for each in assertion.audiences} & set(endpoints):
        raise RefusedError(700023)
    for pem in certificates:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        if assertion.thumbprint not in {
            certificate.fingerprint(hashes.SHA1()).hex().upper(),  # noqa: S303 - the header "x5t" is SHA-1
            certificate.fingerprint(hashes.SHA256()).hex().upper(),
        }:
            continue
        if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
            raise RefusedError(1000502)
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey) or not assertion.is_signed_by(key):
            raise RefusedError(700027, reason="The signature does not match the key.")
        if not assertion.not_before <= now.timestamp() < assertion.expires:
            raise _untimely(assertion, now)
        return
    raise RefusedError(
        700027, reason=f"The key was not found., Thumbprint of key used by client: '{assertion.thumbprint}'"
    )


def check_signature(assertion: Assertion, key: RSAKey | None) -> None:
    """Verify the assertion with the key that its issuer publishes under its ``kid``."""
    if key is None:
        raise RefusedError(700027, reason="The key was not found.")
    if assertion.algorithm != "RS256":
        raise RefusedError(700027, reason="The signature algorithm is not supported.")
    if not assertion.is_signed_by(key.public_key):
        raise RefusedError(700027, reason="The signature does not match the key.")


def check_time(assertion: Assertion, now: datetime.datetime) -> None:
    """Check that *now* is within the assertion's life and that this is no longer than 25 hours."""
    if not assertion.not_before <= now.timestamp() < assertion.expires:
        raise _untimely(assertion, now)
    if assertion.issued is None or assertion.expires - assertion.issued > LONGEST_LIFE.total_seconds():
        issued = "(missing)" if assertion.issued is None else _instant(assertion.issued)
        raise RefusedError(70023, issued=issued, expires=_instant(assertion.expires))


def _untimely(assertion: Assertion, now: datetime.datetime) -> RefusedError:
    begins, ends = _instant(assertion.not_before), _instant(assertion.expires)
    return RefusedError(700024, now=_instant(now.timestamp()), begins=begins, ends=ends)


def resource_of(scope: str, *, tenant: str, cloud: Cloud) -> str:
    """The resource that *scope* asks a token for, spelled as asked.

    MSAL for Go adds OpenID scopes to the list, and azure-cli asks for ``https://management.core.windows.net//.default``,
    whose audience keeps one slash.
    """
    items = [item for item in scope.split() if item.lower() not in _OPENID]
    unsuffixed = [item for item in items if not item.endswith(_SUFFIX)]
    if unsuffixed or not items:
        raise RefusedError(1002012, scope=scope)
    wanted = {item.removesuffix(_SUFFIX) for item in items}
    if len(wanted) != 1 or "" in wanted:
        raise RefusedError(70011, scope=scope)
    return known_resource(wanted.pop(), tenant=tenant, cloud=cloud)


def known_resource(resource: str, *, tenant: str, cloud: Cloud) -> str:
    """*resource* itself, when *cloud* has it."""
    wanted = resource.removesuffix("/").lower()
    if wanted not in _APPLICATIONS and wanted not in _resources(cloud):
        raise RefusedError(500011, resource=resource, tenant=tenant)
    return resource


def capabilities_of(claims: str) -> tuple[str, ...]:
    """The client capabilities in a ``claims`` parameter; whatever else it asks for is accepted and ignored."""
    try:
        asked = json.loads(claims)["access_token"]["xms_cc"]["values"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(value for value in asked if isinstance(value, str)) if isinstance(asked, list) else ()


def signing_keys(document: Any) -> dict[str, RSAKey]:
    """The RSA signing keys of a published key set, by ``kid``; keys of other kinds are passed over.

    Raises:
        ValueError: the document is no key set.

    """
    published = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(published, list):
        raise ValueError("the document has no list of keys")  # noqa: TRY004 - what came over the wire is a value
    keys: dict[str, RSAKey] = {}
    for item in published:
        if not isinstance(item, dict) or item.get("kty") != "RSA" or item.get("use", "sig") != "sig":
            continue
        try:
            key = RSAKey.import_key({"kty": "RSA", "n": item["n"], "e": item["e"]})
            bits = key.public_key.key_size
        except (JoseError, ValueError, KeyError, TypeError):
            continue
        if bits >= _FEWEST_BITS and isinstance(item.get("kid"), str):
            keys[item["kid"]] = key
    return keys


@functools.cache
def _resources(cloud: Cloud) -> frozenset[str]:
    """What tokens of *cloud* may be for, without a slash at the end."""
    named = {cloud.arm_resource, cloud.classic, cloud.vault_resource, cloud.graph}
    # Storage has one name in all clouds; it has no service here, but clients ask for its tokens beside others.
    return frozenset(resource.lower() for resource in named | {"https://storage.azure.com"})


def _instant(timestamp: float) -> str:
    moment = datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"  # Entra prints seven digits
