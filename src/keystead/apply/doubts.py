"""Pure: writes of which nobody knows whether they took effect. The ledger keeps their entries until a list has told.

- Where the answer never came the write may still land for a while: a list counts that began after that, or shows it.
- Where Azure answered that the write has to be tried again, it says that nothing was written; but a word that may come
  from anything on the way is no look. A list that began after the answer counts, or a later write that is confirmed.
"""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field

from keystead.model.credentials import IdentityState
from keystead.model.ids import IdentityId

LANDING = datetime.timedelta(seconds=60)
"""In which a write that nobody waits for any more may still take effect."""
Place = tuple[IdentityId, str]
"""Identity, and name of a credential."""


@dataclass
class Doubts:
    """Of one operator; lost on restart, when all is listed before anything is done."""

    _since: dict[Place, datetime.datetime] = field(default_factory=dict)
    _lands: dict[Place, datetime.datetime] = field(default_factory=dict)
    """Until when a write whose answer never came may land."""

    def unanswered(self, place: Place, now: datetime.datetime) -> None:
        """The write was given up without an answer."""
        self._since[place] = now
        self._lands[place] = now + LANDING

    def put_off(self, place: Place, now: datetime.datetime) -> None:
        """Azure answered that the write has to be tried again."""
        self._since[place] = now

    def confirmed(self, place: Place) -> None:
        """A later write was confirmed: nothing that was answered before it can tell otherwise."""
        if place not in self._lands:
            self._since.pop(place, None)

    def remaining(
        self, now: datetime.datetime, known: Callable[[IdentityId], IdentityState | None]
    ) -> frozenset[Place]:
        """Those that no list has settled; *known* is each identity as last listed."""
        for place, doubted in list(self._since.items()):
            since = self._since[place] = min(doubted, now)  # the clock may have been set back
            lands = min(self._lands.get(place, since), now + LANDING)
            state = known(place[0])
            if state is None or state.listed_at is None:
                continue
            # A list from before the write may have landed says nothing about it, but one that shows it does.
            if state.listed_at > (since if state.named(place[1]) is not None else max(since, lands)):
                del self._since[place]
                self._lands.pop(place, None)
        return frozenset(self._since)

    def __contains__(self, place: Place) -> bool:
        return place in self._since
