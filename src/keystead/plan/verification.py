"""Pure: when to prove an exchange, and what its codes mean.

The first try comes only after the propagation wait, since Entra remembers a refusal for minutes. After a refusal the
next tries come ever more slowly; a verified Federation is proven again once a heartbeat, spread by its name.
"""

import datetime
import hashlib

from keystead.model.conditions import ConditionType, Status, find
from keystead.model.reasons import Reason
from keystead.model.records import Exchange, Federation
from keystead.plan.snapshot import Limits, Snapshot

CODES: dict[str, Reason] = {
    "AADSTS50027": Reason.EXCHANGE_REFUSED,
    "AADSTS50166": Reason.ISSUER_UNREACHABLE,
    "AADSTS501661": Reason.ISSUER_UNREACHABLE,
    "AADSTS700016": Reason.CLIENT_UNKNOWN,
    "AADSTS70021": Reason.SUBJECT_MISMATCH,
    "AADSTS700211": Reason.ISSUER_MISMATCH,
    "AADSTS700212": Reason.AUDIENCE_MISMATCH,
    "AADSTS700213": Reason.SUBJECT_MISMATCH,
    "AADSTS7002138": Reason.CASE_MISMATCH,
    "AADSTS70025": Reason.SUBJECT_MISMATCH,
    "AADSTS700027": Reason.ISSUER_UNREACHABLE,
    "AADSTS90002": Reason.TENANT_UNKNOWN,
    "AADSTS90061": Reason.ISSUER_UNREACHABLE,
    "Forbidden": Reason.VAULT_FORBIDDEN,
    "ForbiddenByRbac": Reason.VAULT_FORBIDDEN,
    "Unreachable": Reason.VAULT_UNREACHABLE,
}
"""Entra's and Key Vault's codes; what is not listed is EXCHANGE_REFUSED."""

_FIRST_RETRY = datetime.timedelta(seconds=20)
_LAST_RETRY = datetime.timedelta(minutes=10)


def reason_of(exchange: Exchange) -> Reason:
    return Reason.VERIFIED if exchange.ok else CODES.get(exchange.code, Reason.EXCHANGE_REFUSED)


def newest(snapshot: Snapshot, federation: Federation) -> Exchange | None:
    """The last exchange, whether status shows it yet or not."""
    seen, told = snapshot.exchanges.get(federation.name), federation.last_exchange
    if seen is None or (told is not None and told.at > seen.at):
        return told
    return seen


def verified_at(snapshot: Snapshot, federation: Federation) -> datetime.datetime | None:
    """When the exchange was last proven; one later failure does not undo it."""
    seen = snapshot.exchanges.get(federation.name)
    if seen is not None and seen.ok and (federation.verified_at is None or seen.at > federation.verified_at):
        return seen.at
    return federation.verified_at


def federated_since(federation: Federation) -> datetime.datetime | None:
    """When the ledger first said that Azure holds the credential."""
    condition = find(federation.conditions, ConditionType.FEDERATED)
    return condition.last_transition_time if condition is not None and condition.status is Status.TRUE else None


def due(snapshot: Snapshot, federation: Federation) -> datetime.datetime:
    """When the next exchange may be tried."""
    limits = snapshot.limits
    proven, last = verified_at(snapshot, federation), newest(snapshot, federation)
    if proven is not None and (last is None or last.ok):
        return proven + limits.heartbeat * _spread(federation.name)
    ready = (federated_since(federation) or snapshot.now) + limits.propagation_wait
    if last is None or last.ok:
        return ready
    return max(ready, last.at + _retry(last.at - ready, limits))


def _retry(failing_for: datetime.timedelta, limits: Limits) -> datetime.timedelta:
    # The wait doubles with the time it has failed, without a count that a restart would lose.
    scale = limits.propagation_wait / datetime.timedelta(seconds=20)
    return min(_LAST_RETRY, max(_FIRST_RETRY * min(scale, 1.0), failing_for))


def _spread(name: str) -> float:
    """Between 0.9 and 1.1, the same for ever."""
    return 0.9 + int(hashlib.sha256(name.encode()).hexdigest()[:4], 16) / 0xFFFF * 0.2
