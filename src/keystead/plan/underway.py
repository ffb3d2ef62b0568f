"""Pure: what an identity under way waits for, in a sentence, and whether somebody has to change something.

Azure promises that a role assignment works within ten minutes. What has not worked after a quarter of an hour is not
on its way any more.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from keystead.model.credentials import IdentityState
from keystead.model.reasons import CATALOGUE, Reason, Severity
from keystead.plan import codes
from keystead.plan.snapshot import Failure
from keystead.plan.steps import AssignRole, CreateIdentity, Step, WriteCredential
from keystead.plan.verification import Proof

PATIENCE = datetime.timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """One identity that is being made."""

    name: str
    reason: Reason
    message: str
    stuck: bool


def judge(name: str, steps: Sequence[Step], failure: Failure | None, proof: Proof | None) -> UnderWay:
    """By what failed last, else by what comes next."""
    if failure is not None:
        stuck = CATALOGUE[failure.reason].severity is Severity.BLOCKED
        return UnderWay(name, failure.reason, f"{CATALOGUE[failure.reason].admin} ({failure.message})", stuck)
    first = steps[0] if steps else None
    match first:
        case CreateIdentity():
            return UnderWay(name, Reason.POOL_GROWING, "is being made", stuck=False)
        case AssignRole():
            return UnderWay(name, Reason.POOL_GROWING, "is being given its role on the vault", stuck=False)
        case None:
            return UnderWay(name, Reason.AWAITING_LIST, "is being read", stuck=False)
        case _ if any(isinstance(step, WriteCredential) for step in steps) or proof is None:
            return UnderWay(name, Reason.AWAITING_WRITE, "is being given a credential to prove it with", stuck=False)
    return _proving(name, proof)


def unreadable(state: IdentityState) -> UnderWay:
    """Its own list cannot be read. That it is not found is no news of an identity that was made a moment ago."""
    reason = state.problem or Reason.AZURE_UNAVAILABLE
    stuck = CATALOGUE[reason].severity is Severity.BLOCKED and reason is not Reason.IDENTITY_NOT_FOUND
    return UnderWay(state.id.name, reason, f"{CATALOGUE[reason].admin} ({state.problem_detail})", stuck)


def _proving(name: str, proof: Proof) -> UnderWay:
    last, since = proof.newest, proof.federated_since
    if last is None or last.ok:
        return UnderWay(name, Reason.AWAITING_PROPAGATION, "is about to be proven by a token exchange", stuck=False)
    meaning = codes.meaning(last)
    too_long = since is not None and last.at - since > PATIENCE
    stuck = too_long or not meaning.heals
    if meaning.reason is Reason.VAULT_FORBIDDEN and not stuck:
        text = f"waits for its role on the vault to work, which may take ten minutes ({last.code})"
        return UnderWay(name, Reason.POOL_GROWING, text, stuck=False)
    return UnderWay(name, meaning.reason, f"{CATALOGUE[meaning.reason].admin} ({last.code})", stuck)
