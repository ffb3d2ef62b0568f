"""All settings of the operator, and the only place that reads the environment.

A duration is written like ``4s``, ``500ms``, ``10m``, ``24h``, or as plain seconds. What makes no sense is refused with
the variable's name, what was given and what is allowed.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from keystead.azure.clouds import CLOUDS
from keystead.kube.eso import ACCOUNT
from keystead.model.errors import Refused
from keystead.model.reasons import Reason
from keystead.model.secret import Secret

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)?\Z")
_ACCOUNT = re.compile(r"^[a-z0-9][-a-z0-9]*/[a-z0-9][-.a-z0-9]*\Z")
_TOKEN_FILE = "AZURE_FEDERATED_TOKEN_FILE"  # noqa: S105 - the name of a variable
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
T = TypeVar("T")


def _setting(variable: str, default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"variable": variable, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations in seconds."""

    kubeconfig: str = _setting("KUBECONFIG", "", "Kubeconfig file; without it the pod's own account is used.")
    context: str = _setting("KEYSTEAD_CONTEXT", "", "Context of the kubeconfig; its current one when empty.")
    issuer: str = _setting("KEYSTEAD_ISSUER", "", "Token issuer; what the API server publishes when empty.")
    cloud: str = _setting("KEYSTEAD_CLOUD", "AzureCloud", "AzureCloud, AzureChinaCloud or AzureUSGovernment.")
    tenant_id: str = _setting("AZURE_TENANT_ID", "", "Tenant in which the operator signs in.")
    client_id: str = _setting("AZURE_CLIENT_ID", "", "Client id as which the operator signs in.")
    client_secret: Secret | None = _setting(  # noqa: RUF009 - _setting makes a dataclasses.field
        "AZURE_CLIENT_SECRET", None, "Client secret, where there is nothing better."
    )
    token_file: str = _setting(_TOKEN_FILE, "", "Token file of Azure workload identity.")
    lane_pace: float = _setting("KEYSTEAD_LANE_PACE", 4.0, "From one credential write to the next on an identity.")
    subscription_pace: float = _setting("KEYSTEAD_SUBSCRIPTION_PACE", 0.5, "The same within a subscription.")
    tenant_pace: float = _setting("KEYSTEAD_TENANT_PACE", 0.1, "The same within the tenant.")
    list_pace: float = _setting("KEYSTEAD_LIST_PACE", 4.0, "From one list of an identity to the next.")
    drift_interval: float = _setting("KEYSTEAD_DRIFT_INTERVAL", 600.0, "How often each identity is listed again.")
    propagation_wait: float = _setting("KEYSTEAD_PROPAGATION_WAIT", 20.0, "From a credential to its first exchange.")
    quorum: int = _setting("KEYSTEAD_QUORUM", 2, "Exchanges in a row that must succeed.")
    quorum_interval: float = _setting("KEYSTEAD_QUORUM_INTERVAL", 1.0, "Between two exchanges of a quorum.")
    heartbeat: float = _setting("KEYSTEAD_HEARTBEAT", 86400.0, "How often what is verified is verified again.")
    finalizer_wait: float = _setting(
        "KEYSTEAD_FINALIZER_WAIT", 30.0, "Longest wait for ESO's finalizers in a namespace that goes."
    )
    service_account_names: tuple[str, ...] = _setting(
        "KEYSTEAD_SERVICE_ACCOUNT_NAMES", ("keystead",), "Names that claims may use."
    )
    eso_account: str = _setting(
        "KEYSTEAD_ESO_ACCOUNT", ACCOUNT, "ServiceAccount of External Secrets Operator, NAMESPACE/NAME."
    )
    observe_only: bool = _setting("KEYSTEAD_OBSERVE_ONLY", False, "Plan and report, write nothing.")
    require_guards: bool = _setting(
        "KEYSTEAD_REQUIRE_GUARDS", False, "Grant nothing new while the admission guards are not in force."
    )
    lease_namespace: str = _setting("KEYSTEAD_LEASE_NAMESPACE", "default", "Namespace of the leader's Lease.")
    lease_name: str = _setting("KEYSTEAD_LEASE_NAME", "keystead-operator", "Name of the leader's Lease.")
    lease_duration: float = _setting("KEYSTEAD_LEASE_DURATION", 15.0, "How long the lease lasts; at least 12 seconds.")
    health_port: int = _setting("KEYSTEAD_HEALTH_PORT", 0, "Port of /healthz, /readyz and /metrics; 0 serves none.")
    health_address: str = _setting("KEYSTEAD_HEALTH_ADDRESS", "127.0.0.1", "Address of that port.")
    log_level: str = _setting("KEYSTEAD_LOG_LEVEL", "info", "debug, info, warning or error.")


_CHOICES = {
    "cloud": tuple(CLOUDS),
    "log_level": ("debug", "info", "warning", "error"),
}
_LEAST = {
    "lease_duration": 12.0,
    "lane_pace": 0.01,
    "quorum": 1,
    # Nothing is often, and not never: Azure would be asked without a pause.
    "list_pace": 0.01,
    "drift_interval": 0.1,
    "heartbeat": 1.0,
}
_MOST = {"health_port": 65535}


def read_settings(environment: Mapping[str, str] | None = None, **given: str | None) -> Settings:
    """From the environment, and from flags (*given*), which win. Refused at the first that makes no sense."""
    source = os.environ if environment is None else environment  # noqa: TID251 - this is the place that may
    values: dict[str, Any] = {}
    for each in dataclasses.fields(Settings):
        variable = each.metadata["variable"]
        text = given.get(each.name) or source.get(variable, "")
        if text:
            values[each.name] = _parse(each.name, variable, text, each.default)
    settings = Settings(**values)
    _check_sign_in(settings)
    return settings


def _check_sign_in(settings: Settings) -> None:
    """Half a sign-in would be passed over in silence, and another identity used than the one that was meant."""
    for offered, what in ((settings.client_secret, "AZURE_CLIENT_SECRET"), (settings.token_file, _TOKEN_FILE)):
        missing = [
            name
            for name, value in (("AZURE_TENANT_ID", settings.tenant_id), ("AZURE_CLIENT_ID", settings.client_id))
            if not value
        ]
        if offered and missing:
            raise Refused(
                Reason.AZURE_SIGN_IN_FAILED,
                f"{' and '.join(missing)}: not set, but {what} is: set all three, or none of them.",
            )


def _parse(name: str, variable: str, text: str, default: Any) -> Any:
    if name == "client_secret":
        return Secret(text)
    if name in _CHOICES and text not in _CHOICES[name]:
        raise _bad(variable, text, f"one of {', '.join(_CHOICES[name])}")
    if name == "eso_account":
        if not _ACCOUNT.match(text):
            raise _bad(variable, text, "a ServiceAccount as NAMESPACE/NAME")
        return text
    if isinstance(default, bool):
        if text.lower() not in ("true", "false", "1", "0"):
            raise _bad(variable, text, "true or false")
        return text.lower() in ("true", "1")
    if isinstance(default, int):
        return _whole(name, variable, text)
    if isinstance(default, float):
        return _duration(name, variable, text)
    if isinstance(default, tuple):
        names = tuple(part.strip() for part in text.split(",") if part.strip())
        if not names:
            raise _bad(variable, text, "at least one name")
        return names
    return text


def _whole(name: str, variable: str, text: str) -> int:
    least, most = int(_LEAST.get(name, 0)), _MOST.get(name, 10**9)
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise _bad(variable, text, f"a whole number from {least} to {most}")
    return int(text)


def _duration(name: str, variable: str, text: str) -> float:
    match = _DURATION.match(text)
    if match is None:
        raise _bad(variable, text, "a duration such as 4s, 500ms, 10m or 24h")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds < _LEAST.get(name, 0.0):
        raise _bad(variable, text, f"at least {_LEAST[name]:g} s")
    return seconds


def _bad(variable: str, text: str, allowed: str) -> Refused:
    return Refused(Reason.SETTING_INVALID, f"{variable}: {text!r} is not allowed: give {allowed}.")
