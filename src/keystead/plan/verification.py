"""Pure: when to prove an exchange, and what counts as proven.

- The first try comes only after the propagation wait, since Entra remembers a refusal for minutes.
- After a refusal the next tries come ever more slowly, the sooner the likelier the code heals by itself.
- A verified Federation is proven again once a heartbeat, spread by its name.
- A proof older than the credential it was made with (deleted in Azure, written again) is none, nor is one with another
  vault than the grant's: until it is proven with that, what works goes on with the one before.
- Instants that are still to come were told by a clock that has been set back since: nothing waits for them, and they
  outdate nothing. What this process has seen itself is of the credential that stands (``Board.unproven``).
"""

import datetime
import functools
import hashlib
from typing import NamedTuple

from keystead.model.conditions import Condition, ConditionType, Status, find
from keystead.model.ids import VaultUrl
from keystead.model.reasons import CATALOGUE, Severity
from keystead.model.records import Exchange, Federation
from keystead.plan.codes import ENTRA, VAULT, meaning
from keystead.plan.snapshot import Limits, Snapshot

_SPOKEN = ENTRA.keys() | VAULT.keys()
"""Codes of an answer, as against words of ours for what never answered."""
_FIRST_RETRY = {True: datetime.timedelta(seconds=30), False: datetime.timedelta(minutes=2)}
"""By whether the code heals by itself."""
_LAST_RETRY = datetime.timedelta(minutes=10)
_USUAL_WAIT = datetime.timedelta(seconds=20)


def proves_nothing(exchange: Exchange) -> bool:
    """The exchange failed for want of an answer: nothing is known against what was proven before."""
    if exchange.ok:
        return False
    found = meaning(exchange)
    return found.heals and CATALOGUE[found.reason].severity is Severity.TROUBLE and exchange.code not in _SPOKEN


def newest(snapshot: Snapshot, federation: Federation) -> Exchange | None:
    """The last exchange, whether status shows it yet or not."""
    seen, told = snapshot.exchanges.get(federation.name), federation.last_exchange
    if seen is None or (told is not None and seen.at < told.at <= snapshot.now):
        return told
    return seen


class Proof(NamedTuple):
    """What is known of one ledger entry's exchanges."""

    newest: Exchange | None
    verified_at: datetime.datetime | None
    federated_since: datetime.datetime | None
    due: datetime.datetime
    vault: str = ""
    """With which vault it was proven; empty: it is not, or nobody remembers."""


class Proofs:
    """The proof of each ledger entry, found once for a whole plan."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._vault = _vault(snapshot)
        self._found: dict[str, Proof] = {}

    def of(self, federation: Federation) -> Proof:
        """By name: an entry that is only planned and one that is recorded under its name prove the same."""
        proof = self._found.get(federation.name)
        if proof is None:
            proof = self._found[federation.name] = _prove(self._snapshot, federation, self._vault)
        return proof


def _vault(snapshot: Snapshot) -> str:
    """Where a proof has to have looked; empty where the grant does not say, which takes nothing from what works."""
    try:
        return str(VaultUrl.parse(snapshot.grant.vault_url)) if snapshot.grant is not None else ""
    except ValueError:
        return ""


def _prove(snapshot: Snapshot, federation: Federation, vault: str) -> Proof:
    federated, last = find(federation.conditions, ConditionType.FEDERATED), newest(snapshot, federation)
    proven, where = _verified_at(snapshot, federation, federated, vault)
    since = federated.last_transition_time if federated is not None and federated.status is Status.TRUE else None
    began = since if since is not None and since <= snapshot.now else None
    return Proof(last, proven, since, _due(federation.name, last, proven, began, snapshot), where)


def _verified_at(
    snapshot: Snapshot, federation: Federation, federated: Condition | None, vault: str
) -> tuple[datetime.datetime | None, str]:
    """When, and where, the exchange was last proven with the credential that stands; a later failure does not undo it."""
    never, fits = (None, ""), ("", vault)
    proven = (federation.verified_at, federation.verified_vault)
    if vault and proven[1] not in fits:
        proven = never
    seen = snapshot.exchanges.get(federation.name)
    if seen is not None and (not seen.ok or (vault and seen.vault not in fits)):
        seen = None
    if seen is not None and (proven[0] is None or seen.at > proven[0]):
        proven = (seen.at, seen.vault)
    if proven[0] is None or federated is None or proven[0] >= federated.last_transition_time:
        return proven
    to_come = federated.last_transition_time > snapshot.now
    return proven if to_come and seen is not None else never


def _due(
    name: str,
    last: Exchange | None,
    proven: datetime.datetime | None,
    since: datetime.datetime | None,
    snapshot: Snapshot,
) -> datetime.datetime:
    """When the next exchange may be tried."""
    limits = snapshot.limits
    if proven is not None:
        ready = proven + limits.heartbeat * _spread(name)
    else:
        ready = (since or snapshot.now) + limits.propagation_wait
    if last is None or last.ok or last.at > snapshot.now or (proven is not None and last.at < proven):
        return ready
    if proven is None and since is not None and last.at < since:
        return ready  # a refusal from before the credential was written again
    start = min(ready, last.at)
    return max(last.at + _retry(last, last.at - start, limits), ready if proven is None else last.at)


def _retry(last: Exchange, failing_for: datetime.timedelta, limits: Limits) -> datetime.timedelta:
    # The wait doubles with the time it has failed, without a count that a restart would lose. Where the operator's
    # waits are shortened as a whole (the sandbox's clock), so are these.
    scale = min(1.0, limits.propagation_wait / _USUAL_WAIT)
    return min(_LAST_RETRY * scale, max(_FIRST_RETRY[meaning(last).heals] * scale, failing_for))


@functools.lru_cache(maxsize=1 << 16)
def _spread(name: str) -> float:
    """Between 0.9 and 1.1, the same for ever."""
    return 0.9 + int(hashlib.sha256(name.encode()).hexdigest()[:4], 16) / 0xFFFF * 0.2
