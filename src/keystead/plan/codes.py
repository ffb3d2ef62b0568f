"""Pure: what the codes of a token exchange and of a look at the vault mean; the one table of them.

- Entra's codes are numbers behind ``AADSTS``; Key Vault's are words; for what never answered there are words of ours.
- A credential that is not known yet looks like one that is wrong: such codes heal while it propagates.
- Entra compares issuer, subject and audience exactly. Where token and credential differ, the difference is shown.

Sources: Microsoft Learn, "Microsoft Entra authentication and authorization error codes", "Important considerations and
restrictions for federated identity credentials", and "Azure Key Vault REST API error codes".
"""

from typing import NamedTuple

from keystead.model.credentials import Credential
from keystead.model.reasons import CATALOGUE, REASONS, Reason
from keystead.model.records import Exchange


class Meaning(NamedTuple):
    """What a code says, whether waiting helps, and what to do if not."""

    reason: Reason
    heals: bool
    says: str = ""
    cure: str = ""
    """Where the reason's own advice is not precise enough."""


_YES, _NO = True, False
_COMPARE = "If it lasts over ten minutes, compare the token with the credential: case and trailing slash count."
_BUG = "This is a bug in Keystead, or a proxy changes what it sends."

ENTRA: dict[str, Meaning] = {
    "AADSTS70021": Meaning(
        Reason.SUBJECT_MISMATCH, _YES, "no credential matches issuer, subject and audience", _COMPARE
    ),
    "AADSTS70025": Meaning(Reason.SUBJECT_MISMATCH, _YES, "the identity has no federated credential yet", _COMPARE),
    "AADSTS700211": Meaning(Reason.ISSUER_MISMATCH, _YES, "no credential has the token's issuer"),
    "AADSTS700212": Meaning(Reason.AUDIENCE_MISMATCH, _YES, "no credential has the token's audience"),
    "AADSTS7002121": Meaning(Reason.AUDIENCE_MISMATCH, _YES, "no credential, nor expression, has the token's audience"),
    "AADSTS700213": Meaning(Reason.SUBJECT_MISMATCH, _YES, "no credential has the token's subject", _COMPARE),
    "AADSTS7002131": Meaning(
        Reason.SUBJECT_MISMATCH, _YES, "no credential, nor expression, has the token's subject", _COMPARE
    ),
    "AADSTS7002138": Meaning(Reason.CASE_MISMATCH, _NO, "the subject matches but for upper and lower case"),
    "AADSTS700016": Meaning(Reason.CLIENT_UNKNOWN, _YES, "the directory does not know the client id"),
    "AADSTS7000112": Meaning(
        Reason.CLIENT_UNKNOWN, _NO, "the identity is disabled in the directory", "Enable its service principal again."
    ),
    "AADSTS90002": Meaning(Reason.TENANT_UNKNOWN, _NO, "there is no such tenant in this cloud"),
    "AADSTS53003": Meaning(
        Reason.EXCHANGE_REFUSED,
        _NO,
        "a Conditional Access policy blocks it",
        "Exempt the identity, or the cluster's egress addresses, from the policy for workload identities.",
    ),
    "AADSTS50166": Meaning(Reason.ISSUER_UNREACHABLE, _YES, "the issuer's documents could not be fetched"),
    "AADSTS501661": Meaning(Reason.ISSUER_UNREACHABLE, _YES, "the issuer's documents could not be fetched or read"),
    "AADSTS90061": Meaning(Reason.ISSUER_UNREACHABLE, _YES, "the issuer's documents could not be fetched"),
    "AADSTS700027": Meaning(
        Reason.ISSUER_UNREACHABLE,
        _NO,
        "the key that signed the token is not among the issuer's published keys",
        "Publish the cluster's current keys; Entra may remember old ones for an hour.",
    ),
    "AADSTS50027": Meaning(Reason.EXCHANGE_REFUSED, _NO, "the token is malformed", _BUG),
    "AADSTS5002727": Meaning(Reason.EXCHANGE_REFUSED, _NO, "the token's header type is not JWT", _BUG),
    "AADSTS700024": Meaning(
        Reason.EXCHANGE_REFUSED, _NO, "the token is not valid yet, or no more", "Set the API servers' clocks right."
    ),
    "AADSTS70023": Meaning(
        Reason.EXCHANGE_REFUSED, _NO, "the token lives longer than 25 hours", "Look for a webhook that extends tokens."
    ),
    "AADSTS700222": Meaning(
        Reason.EXCHANGE_REFUSED,
        _NO,
        "tokens that Entra itself has issued are not exchanged",
        "The cluster's issuer must not be Entra's own.",
    ),
    "AADSTS700223": Meaning(
        Reason.EXCHANGE_REFUSED, _NO, "the tenant restricts federation", "Allow the issuer in the tenant's policy."
    ),
    "AADSTS700238": Meaning(
        Reason.EXCHANGE_REFUSED, _NO, "the tenant restricts federation", "Allow the issuer in the tenant's policy."
    ),
    "AADSTS70011": Meaning(Reason.EXCHANGE_REFUSED, _NO, "the scope is not one of this cloud", "Check KEYSTEAD_CLOUD."),
    "AADSTS500011": Meaning(
        Reason.EXCHANGE_REFUSED,
        _NO,
        "the tenant does not know Key Vault",
        "Check KEYSTEAD_CLOUD and the vault's suffix.",
    ),
}
"""Entra's codes."""

VAULT: dict[str, Meaning] = {
    # A role assignment may take ten minutes to work.
    "Forbidden": Meaning(Reason.VAULT_FORBIDDEN, _YES, "the vault refuses the identity"),
    "ForbiddenByRbac": Meaning(
        Reason.VAULT_FORBIDDEN, _YES, "the identity has no role on the vault that lists secrets"
    ),
    "ForbiddenByPolicy": Meaning(
        Reason.VAULT_FORBIDDEN,
        _NO,
        "the vault's access policies do not let the identity list secrets",
        "Give it get and list, or let the vault go by Azure RBAC.",
    ),
    "ForbiddenByFirewall": Meaning(
        Reason.VAULT_CLOSED, _NO, "the vault's firewall does not let the operator's address in"
    ),
    "ForbiddenByConnection": Meaning(
        Reason.VAULT_CLOSED, _NO, "the vault is reached through its private endpoint only"
    ),
    "Unauthorized": Meaning(
        Reason.VAULT_FORBIDDEN,
        _NO,
        "the vault does not accept the token",
        "The vault is of another tenant than the identity, or of another cloud.",
    ),
}
"""Key Vault's codes."""

NETWORK: dict[str, Meaning] = {
    "NameNotResolved": Meaning(
        Reason.VAULT_UNREACHABLE,
        _YES,
        "the vault's name does not resolve",
        "Check spec.vault.url; a private endpoint needs its private DNS zone linked to the cluster's network.",
    ),
    "ConnectionRefused": Meaning(Reason.VAULT_UNREACHABLE, _YES, "nothing accepts connections at the vault's address"),
    "ConnectTimeout": Meaning(
        Reason.VAULT_UNREACHABLE,
        _YES,
        "no connection to the vault comes about in time",
        "Look for a network policy, firewall or missing route between the operator and the vault.",
    ),
    "CertificateNotTrusted": Meaning(
        Reason.VAULT_UNREACHABLE,
        _NO,
        "the vault's certificate is not trusted",
        "A proxy that opens TLS needs its authority in SSL_CERT_FILE.",
    ),
    "Unreachable": Meaning(Reason.VAULT_UNREACHABLE, _YES, "no usable answer came from the vault"),
}
"""Words of ours for what never answered."""

CODES: dict[str, Meaning] = {**ENTRA, **VAULT, **NETWORK}
MISMATCHES = frozenset(
    code
    for code, each in ENTRA.items()
    if each.reason in (Reason.ISSUER_MISMATCH, Reason.SUBJECT_MISMATCH, Reason.AUDIENCE_MISMATCH, Reason.CASE_MISMATCH)
)
"""Codes that say that token and credential differ, or seem to while a credential propagates."""
_UNLISTED = Meaning(Reason.EXCHANGE_REFUSED, _YES)


def meaning(exchange: Exchange) -> Meaning:
    """Of a failed exchange's code; a reason of ours stands for itself."""
    known = CODES.get(exchange.code)
    if known is not None:
        return known
    ours = REASONS.get(exchange.code)
    return Meaning(ours, CATALOGUE[ours].heals) if ours is not None else _UNLISTED


def said(exchange: Exchange) -> str:
    """The code, what it says, and where token and credential differ."""
    says = meaning(exchange).says
    parts = [f"{exchange.code}: {says}" if says else exchange.code, exchange.detail]
    return "; ".join(each for each in parts if each)


class Presented(NamedTuple):
    """What a token says of itself."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]


def difference(token: Presented, credential: Credential) -> str:
    """Where the two differ, both sides in full; empty when they agree."""
    told = []
    if token.issuer != credential.issuer:
        told.append(_differs("issuer", token.issuer, credential.issuer))
    if token.subject != credential.subject:
        told.append(_differs("subject", token.subject, credential.subject))
    if credential.audience not in token.audiences:
        told.append(_differs("audience", ", ".join(token.audiences), credential.audience))
    return "; ".join(told)


def _differs(what: str, token: str, held: str) -> str:
    return f"{what}: the token says {token!r}, Azure has {held!r}{_how(token, held)}"


def _how(one: str, other: str) -> str:
    if one.rstrip("/") == other.rstrip("/"):
        return " (the trailing slash)"
    if one.lower() == other.lower():
        return " (upper and lower case)"
    if one.strip() == other.strip():
        return " (blanks)"
    return ""
