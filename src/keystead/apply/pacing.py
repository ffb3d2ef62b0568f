"""Pure arithmetic: when the next write may start. All instants are seconds of one monotonic clock.

Azure takes a credential write on an identity every four seconds, two a second in a subscription, ten in a tenant. We
pace ourselves from start to start, so that nothing drifts, and never begin before the previous answer is there.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from keystead.model.errors import Waits
from keystead.model.ids import IdentityId

_LONG_AGO = float("-inf")
_GRAIN = 1e-5  # seconds


@dataclass(frozen=True, slots=True)
class Paces:
    """Seconds from start to start."""

    identity: float = 4.0
    subscription: float = 0.5
    tenant: float = 0.1


@dataclass
class Pacer:
    """The next allowed start for every identity, subscription and the tenant."""

    paces: Paces
    _identities: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: _LONG_AGO))
    _subscriptions: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: _LONG_AGO))
    _tenant: float = _LONG_AGO

    def wait(self, identity: IdentityId, now: float) -> float:
        """Seconds until a write on *identity* may start; zero when it may."""
        allowed = max(self._identities[identity.key], self._subscriptions[identity.subscription], self._tenant)
        wait = allowed - now
        # A wait below the clock's own grain is none: sleeping for it need not move the clock.
        return wait if wait > _GRAIN else 0.0

    def lane_wait(self, identity: IdentityId, now: float) -> float:
        """Seconds until the identity itself allows a write, whatever the others do."""
        return max(0.0, self._identities[identity.key] - now)

    def shared_wait(self, identity: IdentityId, now: float) -> float:
        """Seconds until subscription and tenant allow a write, whatever the identity itself does."""
        return max(0.0, self._subscriptions[identity.subscription] - now, self._tenant - now)

    def started(self, identity: IdentityId, now: float) -> None:
        """A write starts at *now*, which may be to come: others wait for it all the same."""
        self._identities[identity.key] = now + self.paces.identity
        place = identity.subscription
        # What Azure asked of all of them lasts, whatever started meanwhile.
        self._subscriptions[place] = max(self._subscriptions[place], now + self.paces.subscription)
        self._tenant = max(self._tenant, now + self.paces.tenant)

    def hold(self, identity: IdentityId, until: float, waits: Waits = Waits.IDENTITY) -> None:
        """Nothing starts on *identity*, or in its subscription or tenant, before *until*: Azure said so."""
        if waits is Waits.TENANT:
            self._tenant = max(self._tenant, until)
        elif waits is Waits.SUBSCRIPTION:
            self._subscriptions[identity.subscription] = max(self._subscriptions[identity.subscription], until)
        else:
            self._identities[identity.key] = max(self._identities[identity.key], until)


def back_off(key: str, attempt: int, *, first: float, longest: float) -> float:
    """Seconds before the next try: doubling, and spread by half with the key, the same for the same key and attempt."""
    spread = 0.75 + (hash_of(f"{key}/{attempt}") % 1000) / 2000
    return min(longest, first * float(2 ** min(attempt, 20))) * spread


def hash_of(text: str) -> int:
    """A small number from a text, the same in every process."""
    number = 0
    for character in text:
        number = (number * 131 + ord(character)) % 2_147_483_647
    return number
