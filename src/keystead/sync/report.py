"""Pure: status as it should be written, from a verdict and from what the object carries.

``lastTransitionTime`` moves only when the status does; on failure the time and version of the last success stay, as in
ESO.
"""

import datetime
from typing import Any

from keystead.sync.objects import Condition, ExternalSecret, SecretStore
from keystead.sync.plan import Verdict
from keystead.sync.refresh import current_version


def external_secret_status(es: ExternalSecret, verdict: Verdict, started: datetime.datetime) -> dict[str, Any] | None:
    """Pure: a merge patch of the status; ``None`` when nothing would change."""
    conditions = _conditions(
        es.status.conditions, ready=verdict.ready, reason=verdict.reason, message=verdict.message, now=started
    )
    if not verdict.ready:
        same = conditions == _wire(es.status.conditions)
        return None if same else {"conditions": conditions}
    return {
        "conditions": conditions,
        "refreshTime": instant(started),
        "syncedResourceVersion": current_version(es),
        "binding": {"name": es.target_name if verdict.bound else ""},
    }


def store_status(
    store: SecretStore, *, ready: bool, reason: str, message: str, now: datetime.datetime
) -> dict[str, Any] | None:
    """Pure: a merge patch of the status; ``None`` when nothing would change."""
    conditions = _conditions(store.status.conditions, ready=ready, reason=reason, message=message, now=now)
    if conditions == _wire(store.status.conditions):
        return None
    return {"capabilities": "ReadWrite", "conditions": conditions} if ready else {"conditions": conditions}


def instant(moment: datetime.datetime) -> str:
    """Pure: as Kubernetes writes ``metav1.Time``."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _conditions(
    carried: list[Condition], *, ready: bool, reason: str, message: str, now: datetime.datetime
) -> list[dict[str, str]]:
    status = "True" if ready else "False"
    old = next((each for each in carried if each.type == "Ready"), None)
    since = old.last_transition_time if old is not None and old.status == status else instant(now)
    return [
        {"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": since},
    ]


def _wire(conditions: list[Condition]) -> list[dict[str, str]]:
    return [
        {
            "type": each.type,
            "status": each.status,
            "reason": each.reason,
            "message": each.message,
            "lastTransitionTime": each.last_transition_time,
        }
        for each in conditions
    ]
