"""Pure: the policy that says how a certificate's versions are made, as it is given and as it is answered.

Defaults are those that recorded answers show: RSA 2048, exportable, a new key for each version, PKCS #12, twelve months,
TLS server and client, renewal at 80 % of the lifetime.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography import x509

from keystead_sandbox.keyvault import errors, material, rules

PKCS12, PEM = "application/x-pkcs12", "application/x-pem-file"
SELF, UNKNOWN = "Self", "Unknown"
_LONGEST_LIFE = 1200  # months
_PERCENTAGES = (1, 99)
_USAGES = (
    *("digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement", "keyCertSign"),
    *("cRLSign", "encipherOnly", "decipherOnly"),
)
_SERVER, _CLIENT = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"


class _KeyProperties(msgspec.Struct, frozen=True):
    exportable: bool | None = None
    kty: str | None = None
    key_size: int | None = None
    crv: str | None = None
    reuse_key: bool | None = None


class _SecretProperties(msgspec.Struct, frozen=True, rename="camel"):
    content_type: str | None = None


class _Names(msgspec.Struct, frozen=True):
    emails: list[str] | None = None
    dns_names: list[str] | None = None
    upns: list[str] | None = None
    uris: list[str] | None = None
    ip_addresses: list[str] | None = msgspec.field(default=None, name="ipAddresses")


class _Constraints(msgspec.Struct, frozen=True):
    ca: bool = False


class _Properties(msgspec.Struct, frozen=True):
    subject: str | None = None
    sans: _Names | None = None
    ekus: list[str] | None = None
    key_usage: list[str] | None = None
    validity_months: int | None = None
    basic_constraints: _Constraints | None = None


class _Trigger(msgspec.Struct, frozen=True):
    lifetime_percentage: int | None = None
    days_before_expiry: int | None = None


class _Action(msgspec.Struct, frozen=True):
    action_type: str


class _LifetimeAction(msgspec.Struct, frozen=True):
    trigger: _Trigger
    action: _Action


class _Issuer(msgspec.Struct, frozen=True):
    name: str | None = None
    cty: str | None = None
    cert_transparency: bool | None = None


class Policy(msgspec.Struct, frozen=True):
    """A policy as a client gives it; what is left out stays, or takes its default."""

    key_props: _KeyProperties | None = None
    secret_props: _SecretProperties | None = None
    x509_props: _Properties | None = None
    lifetime_actions: list[_LifetimeAction] | None = None
    issuer: _Issuer | None = None
    attributes: rules.Attributes | None = None


class NewCertificate(rules.Change, frozen=True):
    """The body of a creation, or of an update."""

    policy: Policy | None = None


class ImportedCertificate(NewCertificate, frozen=True):
    """The body of an import."""

    value: str = ""
    pwd: str | None = None

    def __repr__(self) -> str:
        return "ImportedCertificate(***)"


def completed(given: Policy | None, before: Mapping[str, Any], now: int) -> dict[str, Any]:
    """A policy as it is answered, without its id: *given* over what was there *before*, over the defaults."""
    parts = _given(given)
    key = {"exportable": True, "kty": "RSA", "reuse_key": False, **before.get("key_props", {}), **parts["key_props"]}
    if key["kty"].startswith("EC"):
        key = {"crv": "P-256", **key}
        key.pop("key_size", None)
    else:
        key = {"key_size": 2048, **key}
        key.pop("crv", None)
    names = {"sans": {}, "ekus": [_SERVER, _CLIENT], "key_usage": ["digitalSignature", "keyEncipherment"]}
    made = {
        "key_props": key,
        "secret_props": {"contentType": PKCS12, **before.get("secret_props", {}), **parts["secret_props"]},
        "x509_props": {
            "subject": "",
            **names,
            "validity_months": 12,
            "basic_constraints": {"ca": False},
            **before.get("x509_props", {}),
            **parts["x509_props"],
        },
        "lifetime_actions": parts["lifetime_actions"] or before.get("lifetime_actions") or [_RENEWAL],
        "issuer": {"name": UNKNOWN, **before.get("issuer", {}), **parts["issuer"]},
        "attributes": {
            "enabled": True,
            **before.get("attributes", {"created": now}),
            **parts["attributes"],
            "updated": now,
        },
    }
    _check(made)
    return made


_RENEWAL = {"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "AutoRenew"}}
_NOTICE = {"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "EmailContacts"}}


def of_imported(certificate: x509.Certificate, key: material.PrivateKey, content_type: str) -> Policy:
    """The policy of a certificate that was made elsewhere: as the certificate is, and renewed by nobody."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    months = max(1, min(_LONGEST_LIFE, (end.year - begin.year) * 12 + end.month - begin.month))
    curve = material.curve_of(key)
    described: dict[str, Any] = {
        "key_props": {"kty": material.kty_of(key), **({"crv": curve} if curve else {"key_size": key.key_size})},
        "secret_props": {"contentType": content_type},
        "x509_props": {
            "subject": certificate.subject.rfc4514_string().replace(",", ", "),
            "validity_months": months,
            **_extensions(certificate),
        },
        "lifetime_actions": [_NOTICE],
        "issuer": {"name": UNKNOWN},
    }
    return msgspec.convert(described, Policy)


def _extensions(certificate: x509.Certificate) -> dict[str, Any]:
    found: dict[str, Any] = {"ekus": [], "key_usage": [], "sans": {}}
    try:
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension):
        return found
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.ExtendedKeyUsage):
            found["ekus"] = [usage.dotted_string for usage in value]
        elif isinstance(value, x509.SubjectAlternativeName):
            names = {
                "dns_names": list(value.get_values_for_type(x509.DNSName)),
                "emails": list(value.get_values_for_type(x509.RFC822Name)),
            }
            found["sans"] = {key: texts for key, texts in names.items() if texts}
        elif isinstance(value, x509.BasicConstraints):
            found["basic_constraints"] = {"ca": value.ca}
        elif isinstance(value, x509.KeyUsage):
            agreed = ("encipherOnly", "decipherOnly") if not value.key_agreement else ()
            found["key_usage"] = [
                usage for usage in _USAGES if usage not in agreed and getattr(value, ATTRIBUTE_OF[usage])
            ]
    return found


ATTRIBUTE_OF = dict(
    zip(
        _USAGES,
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ),
        strict=True,
    )
)
"""What x509 calls the usages that a policy names."""


def _given(policy: Policy | None) -> dict[str, Any]:
    """What a client said, section by section, without what it left out."""
    told: dict[str, Any] = msgspec.to_builtins(policy or Policy())
    shown = {
        part: {name: value for name, value in (told[part] or {}).items() if value is not None}
        for part in ("key_props", "secret_props", "x509_props", "issuer", "attributes")
    }
    names = shown["x509_props"].get("sans")
    if names is not None:
        shown["x509_props"]["sans"] = {name: value for name, value in names.items() if value is not None}
    actions = [
        {
            "trigger": {name: value for name, value in action["trigger"].items() if value is not None},
            "action": action["action"],
        }
        for action in told["lifetime_actions"] or []
    ]
    return {**shown, "lifetime_actions": actions}


def _check(policy: dict[str, Any]) -> None:
    key, properties = policy["key_props"], policy["x509_props"]
    rules.one_of(key["kty"], material.KINDS, "policy.key_props.kty")
    if key["kty"].startswith("EC"):
        rules.one_of(key["crv"], tuple(material.CURVES), "policy.key_props.crv")
    elif key["key_size"] not in material.SIZES:
        raise rules.invalid("policy.key_props.key_size")
    rules.one_of(policy["secret_props"]["contentType"], (PKCS12, PEM), "policy.secret_props.contentType")
    if not 1 <= properties["validity_months"] <= _LONGEST_LIFE:
        raise rules.invalid("policy.x509_props.validity_months")
    for usage in properties["key_usage"]:
        rules.one_of(usage, _USAGES, "policy.x509_props.key_usage")
    for action in policy["lifetime_actions"]:
        rules.one_of(action["action"]["action_type"], ("AutoRenew", "EmailContacts"), "policy.lifetime_actions.action")
        percentage = action["trigger"].get("lifetime_percentage")
        if len(action["trigger"]) != 1 or not (percentage is None or percentage in range(*_PERCENTAGES)):
            raise rules.invalid("policy.lifetime_actions.trigger")
    if not properties["subject"] and not any(properties["sans"].values()):
        raise errors.bad("A certificate needs a subject, or alternative names.")
