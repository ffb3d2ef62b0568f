"""Pure: credentials that stand in Azure as Terraform configuration with import blocks.

Rules:
- An address depends on nothing but the credential itself, so that nobody's address changes when another comes or goes.
- Only what the provider reads back is written, so that the first plan imports everything and changes nothing.
- Every string is a literal: ``${`` and ``%{``, which begin templates, are written doubled.
- The order is that of namespaces, accounts and identities.

Facts: import blocks need Terraform 1.5. The provider's major 5 has ``user_assigned_identity_id``; all of major 4 takes
``parent_id`` with ``resource_group_name`` (deprecated, and read back all the same, in its last releases: azurerm changelog
of 4.60.0 and 4.65.0).
The id to import has fixed segments in this very spelling, and name and identity are read back from it (azurerm source,
``federated_identity_credential_resource.go``). Strings and identifiers: HCL native syntax specification.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from keystead.model.credentials import Credential
from keystead.model.ids import IdentityId
from keystead.model.records import Federation

TYPE = "azurerm_federated_identity_credential"
MAJORS = (4, 5)
_DIGITS = 12
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NOT_IN_A_LABEL = re.compile(r"[^a-z0-9-]+")


@dataclass(frozen=True, slots=True)
class Standing:
    """A ledger entry, and its credential as Azure shows it."""

    federation: Federation
    credential: Credential

    @property
    def identity_id(self) -> str:
        """With the fixed segments spelt as the provider wants them, and the names as the grant writes them."""
        identity = self.federation.identity
        return (
            f"/subscriptions/{identity.subscription}/resourceGroups/{identity.resource_group}"
            f"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{identity.name}"
        )

    @property
    def import_id(self) -> str:
        return f"{self.identity_id}/federatedIdentityCredentials/{self.credential.name}"

    @property
    def label(self) -> str:
        """Readable, unique, and a Terraform identifier: it begins with a letter."""
        place = f"{self.federation.namespace}-{self.federation.service_account_name}".lower()
        digest = hashlib.sha256(self.import_id.lower().encode()).hexdigest()[:_DIGITS]
        return f"ks-{_NOT_IN_A_LABEL.sub('-', place)}-{digest}"

    @property
    def address(self) -> str:
        return f"{TYPE}.{self.label}"

    def attributes(self, major: int) -> dict[str, str | list[str]]:
        """What the resource says, for this major version of the provider."""
        credential = self.credential
        attributes: dict[str, str | list[str]] = {"name": credential.name}
        if major == MAJORS[0]:
            attributes["resource_group_name"] = self.federation.identity.resource_group
            attributes["parent_id"] = self.identity_id
        else:
            attributes["user_assigned_identity_id"] = self.identity_id
        attributes["audience"] = [credential.audience]
        return attributes | {"issuer": credential.issuer, "subject": credential.subject}


def in_order(standing: Iterable[Standing]) -> tuple[Standing, ...]:
    """The same for the same entries, in whatever order they came."""

    def key(each: Standing) -> tuple[str, str, IdentityId, str]:
        entry = each.federation
        return entry.namespace, entry.service_account_name, entry.identity, each.credential.name

    return tuple(sorted(standing, key=key))


def hcl(standing: Sequence[Standing], *, major: int) -> str:
    """Native syntax, formatted as ``terraform fmt`` would."""
    return "\n".join([_head(major), *(_block(each, major) for each in standing)])


def _head(major: int) -> str:
    return (
        f"# Made by `keystead export terraform --azurerm {major}`; for azurerm {major}.x and Terraform 1.5 or newer.\n"
    )


def _block(standing: Standing, major: int) -> str:
    attributes = standing.attributes(major)
    width = max(len(name) for name in attributes)
    lines = [f"  {name:<{width}} = {_value(value)}" for name, value in attributes.items()]
    return "\n".join(
        [
            "import {",
            f"  to = {standing.address}",
            f"  id = {literal(standing.import_id)}",
            "}",
            "",
            f'resource "{TYPE}" "{standing.label}" {{',
            *lines,
            "}",
            "",
        ]
    )


def _value(value: str | list[str]) -> str:
    return literal(value) if isinstance(value, str) else f"[{', '.join(map(literal, value))}]"


def literal(text: str) -> str:
    """A quoted string that means exactly *text*."""
    written = "".join(_ESCAPED.get(each) or (each if each.isprintable() else _escape(each)) for each in text)
    return f'"{_without_templates(written)}"'


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - what four digits hold


def _without_templates(text: str) -> str:
    """Templates begin in both syntaxes alike."""
    return text.replace("${", "$${").replace("%{", "%%{")


def tf_json(standing: Sequence[Standing], *, major: int) -> str:
    """Terraform's JSON syntax, for a file that ends in ``.tf.json``."""
    resources = {each.label: _templated(each.attributes(major)) for each in standing}
    body = {
        "//": _head(major).removeprefix("# ").rstrip(),
        "import": [{"to": each.address, "id": _templated(each.import_id)} for each in standing],
        "resource": {TYPE: resources},
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _templated(value: Any) -> Any:
    match value:
        case str():
            return _without_templates(value)
        case list():
            return [_templated(each) for each in value]
        case dict():
            return {name: _templated(each) for name, each in value.items()}
    return value


def rows(standing: Sequence[Standing]) -> list[dict[str, Any]]:
    """The same facts for programs."""
    return [
        {
            "address": each.address,
            "importId": each.import_id,
            "grant": each.federation.grant_name,
            "namespace": each.federation.namespace,
            "serviceAccount": each.federation.service_account_name,
            "federation": each.federation.name,
            "adopted": each.federation.adopted,
            "identity": each.identity_id,
            "name": each.credential.name,
            "issuer": each.credential.issuer,
            "subject": each.credential.subject,
            "audience": each.credential.audience,
        }
        for each in standing
    ]
