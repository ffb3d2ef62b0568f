"""What the emulated Azure must do about credentials and exchanges, said again in few words and without its code.

Times are seconds of one clock. A write is judged when it arrives, holds its identity's name for :data:`HOLD`, and
takes effect at the end of that; the rest follows from the records that are left behind.
"""

from dataclasses import dataclass, field

HOLD, PROPAGATION, NEGATIVE, POSITIVE, LIMIT = 1.3, 15.0, 90.0, 60.0, 20
TOKEN_LIFE = 86400.0
#: Capacity and refill per second of an identity's buckets, of the subscription's, of the tenant's.
RATES = {
    "write": ((2.0, 0.25), (4.0, 2.0), (20.0, 10.0)),
    "delete": ((2.0, 0.25), (4.0, 2.0), (20.0, 10.0)),
    "list": ((2.0, 0.25), (10.0, 5.0), (30.0, 15.0)),
}


@dataclass(frozen=True)
class Held:
    """One credential."""

    name: str
    issuer: str
    subject: str
    written: float


@dataclass
class Known:
    """One identity, from its creation to its end."""

    client_id: str
    held: dict[str, Held] = field(default_factory=dict)
    deleted: list[tuple[Held, float]] = field(default_factory=list)
    used: set[Held] = field(default_factory=set)
    refused: dict[tuple[str, str], tuple[list[Held], float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Landing:
    """A write under way: what the identity will hold under *name*, and when."""

    at: float
    identity: Known
    name: str
    new: Held | None


class Model:
    """Azure, as far as it is about credentials."""

    def __init__(self) -> None:
        self.identities: dict[str, Known] = {}
        self.landings: list[Landing] = []
        self.holds: dict[str, float] = {}
        self.levels: dict[tuple[str, str], tuple[float, float]] = {}

    def pass_time(self, now: float) -> None:
        """Let what is due by *now* take effect."""
        for landing in sorted((each for each in self.landings if each.at <= now), key=lambda each: each.at):
            self.landings.remove(landing)
            held = landing.identity.held
            old = held.get(landing.name)
            if landing.new is not None and old is not None and _trust(old) == _trust(landing.new):
                continue  # the same again is no change
            if old is not None:
                landing.identity.deleted.append((held.pop(landing.name), landing.at))
            if landing.new is not None:
                held[landing.name] = landing.new

    def write(self, where: str, name: str, trust: tuple[str, str] | None, now: float) -> tuple[int, float]:
        """Status of a create or update (or of a delete, for no trust) that arrives now, and the wait it is told."""
        identity = self.identities.get(where)
        if identity is None:
            return 404, 0.0
        if self.holds.get(where, 0.0) > now:
            return 409, 0.0
        wait = self.take("delete" if trust is None else "write", where, now)
        if wait:
            return 429, wait
        old = identity.held.get(name)
        if trust is None and old is None:
            return 204, 0.0
        if trust is not None:
            if any(_trust(each) == trust for key, each in identity.held.items() if key != name):
                return 409, 0.0
            if old is None and len(identity.held) >= LIMIT:
                return 400, 0.0
        self.holds[where] = now + HOLD
        new = Held(name, *trust, now + HOLD) if trust is not None else None
        self.landings.append(Landing(now + HOLD, identity, name, new))
        return (200 if old is not None else 201), 0.0

    def take(self, verb: str, where: str, now: float) -> float:
        """A token of each bucket, or how long to wait for the first that is empty."""
        keys = [(verb, where), (verb, "subscription"), (verb, "tenant")]
        levels = [self._level(key, rate, now) for key, rate in zip(keys, RATES[verb], strict=True)]
        for level, (_, refill) in zip(levels, RATES[verb], strict=True):
            if level < 1:
                return (1 - level) / refill
        for key, level in zip(keys, levels, strict=True):
            self.levels[key] = (level - 1, now)
        return 0.0

    def exchange(self, client_id: str, issuer: str, subject: str, now: float) -> int:
        """The AADSTS code of an exchange, 0 for a token."""
        identity = next((each for each in self.identities.values() if each.client_id == client_id), None)
        if identity is None:
            return 700016
        view, until = identity.refused.get((issuer, subject), ([], 0.0))
        if until <= now:
            view = self._visible(identity, now)
        trusting = [each for each in view if each.issuer == issuer]
        for each in trusting:
            if each.subject == subject:
                identity.used.add(each)
                return 0
        if until <= now:
            identity.refused[issuer, subject] = (view, now + NEGATIVE)
        if not view:
            return 70025
        if not trusting:
            return 700211
        return 7002138 if any(each.subject.lower() == subject.lower() for each in trusting) else 700213

    def moments(self, now: float) -> list[float]:
        """When something changes by itself, or did."""
        found = [each.at for each in self.landings] + list(self.holds.values())
        for identity in self.identities.values():
            found += [each.written + PROPAGATION for each in identity.held.values()]
            found += [at + POSITIVE for _, at in identity.deleted]
            found += [until for _, until in identity.refused.values()]
        for verb, where in self.levels:
            rate = RATES[verb][{"subscription": 1, "tenant": 2}.get(where, 0)]
            found.append(now + (1 - self._level((verb, where), rate, now)) / rate[1])
        return found

    def trusts(self) -> list[tuple[str, tuple[str, str]]]:
        """By client id, what is trusted, is about to be, or was; the latest last."""
        return [
            (identity.client_id, (held.issuer, held.subject))
            for identity in self.identities.values()
            for held in (
                *[each for each in identity.held.values() if not each.name.startswith("standing")],
                *[each.new for each in self.landings if each.identity is identity and each.new is not None],
                *[each for each, _ in identity.deleted],
            )
        ]

    def _visible(self, identity: Known, now: float) -> list[Held]:
        standing = [each for each in identity.held.values() if each.written + PROPAGATION <= now]
        lingering = [each for each, at in identity.deleted if now < at + POSITIVE and each in identity.used]
        return standing + lingering

    def _level(self, key: tuple[str, str], rate: tuple[float, float], now: float) -> float:
        level, at = self.levels.get(key, (rate[0], now))
        return min(rate[0], level + (now - at) * rate[1])


def _trust(held: Held) -> tuple[str, str]:
    return held.issuer, held.subject
