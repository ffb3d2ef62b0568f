"""Secrets as the vault shows them."""

import datetime
from typing import Any

from keystead_sandbox.keyvault.errors import Refusal, not_found
from keystead_sandbox.world import SecretVersion, Vault

_RECOVERY = {"recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90}


def find(vault: Vault, name: str, version: str) -> SecretVersion:
    """One version, the newest when none is named."""
    versions = vault.secrets.get(name.lower())
    if not versions:
        raise not_found(name)
    if not version:
        return versions[-1]
    found = next((each for each in versions if each.version == version.lower()), None)
    if found is None:
        raise not_found(f"{name}/{version}")
    return found


def readable(version: SecretVersion) -> SecretVersion:
    """403 for a disabled one."""
    if not version.enabled:
        raise Refusal(403, "Forbidden", "Operation get is not allowed on a disabled secret.", inner="SecretDisabled")
    return version


def bundle(vault: Vault, name: str, version: SecretVersion, *, value: bool, versioned: bool = True) -> dict[str, Any]:
    """A secret, with its value or as a list shows it."""
    base = f"https://{vault.name}.vault.azure.net/secrets/{vault.spelling.get(name.lower(), name)}"
    shown: dict[str, Any] = {"value": version.value} if value else {}
    shown["id"] = f"{base}/{version.version}" if versioned else base
    shown["attributes"] = _attributes(version)
    if version.content_type:
        shown["contentType"] = version.content_type
    if version.tags:
        shown["tags"] = dict(version.tags)
    return shown


def _attributes(version: SecretVersion) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "enabled": version.enabled,
        "created": _seconds(version.created),
        "updated": _seconds(version.updated),
        **_RECOVERY,
    }
    if version.not_before is not None:
        attributes["nbf"] = _seconds(version.not_before)
    if version.expires is not None:
        attributes["exp"] = _seconds(version.expires)
    return attributes


def _seconds(moment: datetime.datetime) -> int:
    return int(moment.timestamp())


def moment(seconds: Any) -> datetime.datetime | None:
    """An instant given as seconds since 1970."""
    return None if seconds is None else datetime.datetime.fromtimestamp(float(seconds), datetime.UTC)
