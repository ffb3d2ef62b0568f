"""Conditions of our kinds: their types, and drafts of what they should say."""

import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from keystead.model.reasons import CATALOGUE, Reason


class ConditionType(StrEnum):
    """Condition types of our kinds."""

    # VaultClaim
    ACCEPTED = "Accepted"
    APPROVED = "Approved"
    FEDERATED = "Federated"
    VERIFIED = "Verified"
    STORE_READY = "StoreReady"
    READY = "Ready"
    # VaultGrant
    VALID = "Valid"
    POOL_READY = "PoolReady"
    CAPACITY_AVAILABLE = "CapacityAvailable"
    ISSUER_TRUSTED = "IssuerTrusted"
    FOUR_EYES_ENFORCED = "FourEyesEnforced"
    ADOPTION_VALID = "AdoptionValid"
    """Only where the grant carries a word on adoption."""
    # Federation
    REVOKING = "Revoking"


class Status(StrEnum):
    """Condition status, as Kubernetes spells it."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition as an object carries it."""

    type: str
    status: Status
    reason: str
    message: str
    last_transition_time: datetime.datetime
    observed_generation: int | None = None


class ConditionDraft(NamedTuple):
    """A condition as it should be; the transition time follows from what the object carries.

    A tuple, since six are made for each of ten thousand claims.
    """

    type: ConditionType
    status: Status
    reason: Reason
    message: str


def draft(type_: ConditionType, status: Status, reason: Reason, message: str = "") -> ConditionDraft:
    """Pure: a draft whose message is the tenant's sentence of the reason unless another is given."""
    return ConditionDraft(type_, status, reason, message or CATALOGUE[reason].tenant)


def find(conditions: tuple[Condition, ...], type_: ConditionType) -> Condition | None:
    """Pure: the condition of this type, if the object carries it."""
    for condition in conditions:  # a loop, since every claim of ten thousand asks several times
        if condition.type == type_:
            return condition
    return None
