"""Pure: who holds the slots of a grant's identities.

- Ours is what a ledger entry of any grant records; *left behind* is what has our name and no ledger entry.
- Adoptable is what others made and the grant could take over, as ``takeover`` has found it.
- Everything else is foreign: counted, and left alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from keystead.model.ids import IdentityId
from keystead.model.records import Grant
from keystead.plan import naming
from keystead.plan.holdings import Holdings
from keystead.plan.snapshot import Snapshot
from keystead.plan.takeover import Row, State


@dataclass(frozen=True, slots=True)
class Count:
    """The slots of one identity."""

    identity: IdentityId
    ours: int
    left_behind: int
    adoptable: int
    foreign: int


def take_census(snapshot: Snapshot, others: Iterable[Row] = ()) -> tuple[Count, ...]:
    """Of the identities that were read; *others* is what people and other tools made. Of none when the grant is gone."""
    grant = snapshot.grant
    if grant is None:
        return ()
    ledger = Holdings(snapshot).ledger
    possible = {(row.identity, row.name) for row in others if row.state in (State.POSSIBLE, State.SAID)}
    counts: list[Count] = []
    for identity in sorted(_pool(grant) | {each.id for each in snapshot.made.value} & set(snapshot.identities)):
        state = snapshot.identities.get(identity)
        if state is None or not state.known:
            continue
        names = [each.name for each in state.credentials if (identity.key, each.name.lower()) not in ledger]
        left = sum(1 for name in names if naming.is_ours(name, snapshot.cluster))
        adoptable = sum(1 for name in names if (identity, name) in possible)
        ours = len(state.credentials) - len(names)
        counts.append(Count(identity, ours, left, adoptable, len(names) - left - adoptable))
    return tuple(counts)


def _pool(grant: Grant) -> set[IdentityId]:
    found = set()
    for member in grant.identities:
        try:
            found.add(IdentityId.parse(member.resource_id))
        except ValueError:
            continue  # the grant's Valid condition names the field
    return found
