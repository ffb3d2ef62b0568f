"""Pure: status as it should be written, from verdicts and from what the objects carry."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from keystead.model.conditions import Condition, ConditionDraft
from keystead.plan.steps import IdentityVerdict


@dataclass(frozen=True, slots=True)
class ClaimStatus:
    """``VaultClaim.status``."""

    conditions: tuple[Condition, ...]
    subject: str = ""
    client_id: str = ""
    tenant_id: str = ""
    vault_url: str = ""
    federation_name: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class FederationStatus:
    """``Federation.status``."""

    conditions: tuple[Condition, ...]
    verified_at: datetime.datetime | None = None
    last_exchange_code: str = ""
    last_exchange_at: datetime.datetime | None = None
    last_exchange_detail: str = ""
    retained: bool = False
    verified_vault: str = ""


@dataclass(frozen=True, slots=True)
class GrantStatus:
    """``VaultGrant.status``."""

    conditions: tuple[Condition, ...]
    identities: tuple[IdentityVerdict, ...] = ()
    total: int = 0
    ready: int = 0
    awaiting_review: int = 0
    blocked: int = 0


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An Event to emit; ``warning`` decides its type."""

    kind: str
    name: str
    namespace: str
    uid: str
    reason: str
    message: str
    action: str
    warning: bool = False


def merge(
    carried: Iterable[Condition], drafts: Iterable[ConditionDraft], *, generation: int, now: datetime.datetime
) -> tuple[Condition, ...]:
    """Pure: drafts as conditions; the transition time moves only when a status does."""
    before = {condition.type: condition for condition in carried}
    merged = []
    for wanted in drafts:
        old = before.get(wanted.type)
        since = old.last_transition_time if old is not None and old.status == wanted.status else now
        merged.append(Condition(wanted.type, wanted.status, wanted.reason, wanted.message, since, generation))
    return tuple(merged)
