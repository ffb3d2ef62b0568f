"""A story from one number: what stands, and then what happens when. Pure: nothing here looks at a world.

The events of one seed do not depend on each other's outcome, so leaving some out leaves the others as they were.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from simulation import growing, people, weather, wills
from simulation.stage import VAULTS, Member, Setup

_ADOPTING = 0.35  # of the stories
LENGTH = 260.0  # seconds in which things happen; then the world has time to settle
_LABELS: tuple[dict[str, str], ...] = ({"team": "g0"}, {"team": "g1"}, {"team": "none"}, {"env": "prod", "team": "g0"})
_PROJECT = "c-m1:p-web"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens."""

    at: float
    deed: str
    on: str = ""
    """What it happens to."""
    place: int = 0
    replica: int = 0
    given: dict[str, Any] = field(default_factory=dict)

    def tell(self) -> str:
        about = ", ".join(f"{key}={value!r}" for key, value in self.given.items())
        whom = f"replica {self.replica}" if self.deed in REPLICA_DEEDS else self.on
        return f"{self.at:7.1f} s  cluster {'ab'[self.place]}  {self.deed.replace('_', ' ')} {whom}  {about}".rstrip()


@dataclass(frozen=True, slots=True)
class Story:
    """Where it begins, and all that happens."""

    setup: Setup
    events: tuple[Event, ...]


DEEDS: dict[str, people.Deed] = {
    each.__name__: each
    for each in (
        people.make_namespace,
        people.delete_namespace,
        people.recreate_namespace,
        people.make_claim,
        people.delete_claim,
        people.make_store,
        people.make_account,
        people.hold_store,
        people.release_store,
        people.write_grant,
        people.delete_grant,
        people.confirm,
        people.say_adopt,
        people.decide,
        people.withdraw,
        people.delete_entry,
        people.delete_lease,
        people.write_foreign,
        people.delete_foreign,
        people.change_foreign,
        people.rename_foreign,
        people.delete_ours,
        people.change_ours,
        people.delete_identity,
        people.restore_identity,
        people.take_roles,
        growing.untag_made,
        growing.delete_made,
        growing.take_made_roles,
        growing.make_stranger,
        weather.azure_fails,
        weather.cluster_fails,
        weather.cluster_forgets,
    )
}
REPLICA_DEEDS = {
    each.__name__: each
    for each in (
        weather.watches_break,
        weather.watches_fall_silent,
        weather.watches_lag,
        weather.kill,
        weather.freeze,
        weather.stop,
    )
}

_PEOPLE = {
    "make_namespace": 14,
    "delete_namespace": 8,
    "recreate_namespace": 7,
    "make_claim": 5,
    "delete_claim": 3,
    "make_store": 2,
    "make_account": 2,
    "hold_store": 2,
    "release_store": 2,
    "edit_grant": 8,
    "spoil_grant": 3,
    "delete_grant": 1,
    "confirm": 2,
    "decide": 9,
    "withdraw": 3,
    "delete_entry": 2,
    "write_foreign": 6,
    "delete_foreign": 3,
    "delete_ours": 3,
    "change_ours": 1,
    "delete_identity": 2,
    "restore_identity": 4,
    "take_roles": 1,
}
_WEATHER = {
    "azure_fails": 12,
    "cluster_fails": 6,
    "cluster_forgets": 2,
    "watches_break": 3,
    "watches_fall_silent": 1,
    "watches_lag": 2,
    "kill": 8,
    "freeze": 4,
    "stop": 2,
    "delete_lease": 1,
}


def write_story(seed: int) -> Story:
    """The story of this seed."""
    return _Author(seed).story()


class _Author:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(f"story/{seed}")  # noqa: S311 - a seed makes it repeat
        chance = self.chance
        self.growth = growing.Draw(seed)
        self.clusters = 2 if chance.random() < 0.25 else 1
        self.replicas = 2 if chance.random() < 0.45 else 1
        count = chance.choice((1, 2, 2, 3, 4))
        tight = chance.random() < 0.45
        self.members = tuple(
            Member(
                f"identity-{number}",
                chance.choice((14, 16, 17, 18, 19, 20)) if tight else chance.choice((0, 0, 3)),
                chance.randrange(2) if chance.random() < 0.3 else 0,
            )
            for number in range(count)
        )
        self.grants = ["g0", "g1"] if count > 1 and chance.random() < 0.4 else ["g0"]
        self.names = [f"n{number}" for number in range(chance.choice((2, 3, 4, 6, 9)))]

    def story(self) -> Story:
        chance = self.chance
        setup = Setup(
            seed=self.seed,
            clusters=self.clusters,
            replicas=self.replicas,
            members=self.members,
            lease=chance.choice((15.0, 15.0, 30.0)),
            drift=chance.choice((60.0, 120.0, 300.0)),
            heartbeat=chance.choice((86400.0, 86400.0, 200.0)),
            skews=tuple(
                chance.choice((0.0, 0.0, chance.uniform(-5, 5), chance.uniform(-90, 90)))
                for _ in range(self.clusters * self.replicas)
            ),
            lag=chance.choice((0.0, 0.0, 0.05, 1.0)),
            grows=self.growth.grows,
        )
        events = [*self._beginning(), *self._middle(), *self._adoption(), *self._apart()]
        return Story(setup, tuple(sorted(events, key=lambda each: each.at)))

    def _apart(self) -> list[Event]:
        """What happens to what the pools have grown, and to what grants observe or retain."""
        drawn = self.growth.events(LENGTH, self.grants, self.clusters)
        deeds = {"edit_growth": "write_grant"}
        drawn += wills.events(self.seed, LENGTH, self.grants, self.names, self.clusters)
        return [Event(at, deeds.get(deed, deed), on, place, given=given) for at, deed, on, place, given in drawn]

    def _beginning(self) -> list[Event]:
        """A grant or two and some namespaces, of which a normal life could be made."""
        chance, events = self.chance, list[Event]()
        for place in range(self.clusters):
            pool = [member.name for member in self.members]
            half = max(1, len(pool) // len(self.grants))
            for number, name in enumerate(self.grants):
                mine = pool[number * half :] if name == self.grants[-1] else pool[:half]
                events.append(
                    Event(0.0, "write_grant", name, place, given=self.growth.of_grant(self._grant(name, mine)))
                )
            for name in self.names:
                if chance.random() < 0.6:
                    events.append(self._namespace(chance.uniform(0.0, 20.0), name, place))
        return events

    def _grant(self, name: str, pool: list[str]) -> dict[str, Any]:
        chance = self.chance
        rule: dict[str, Any] = chance.choice(
            (
                {"selector": {"matchLabels": {"team": name}}},
                {"selector": {"matchLabels": {"team": name}}},
                {"selector": {"matchExpressions": [{"key": "team", "operator": "In", "values": [name]}]}},
                {"names": self.names[: 1 + len(self.names) // 2]},
                {"rancherProjects": ["p-web"], "selector": {"matchLabels": {"team": name}}},
            )
        )
        return {
            "namespaces": rule,
            "vault": {"url": f"https://{VAULTS[0]}.vault.azure.net"},
            "identities": pool,
            "approval": chance.choice(("Automatic", "Automatic", "Required")),
            "claims": chance.choice(("Automatic", "Automatic", "Automatic", "OnRequest")),
        }

    def _namespace(self, at: float, name: str, place: int, deed: str = "make_namespace") -> Event:
        chance = self.chance
        given: dict[str, Any] = {"labels": chance.choices(_LABELS, weights=(6, 3, 1, 1))[0]}
        if chance.random() < 0.15:
            given["project"] = _PROJECT
            given["label_project"] = chance.choice(("p-web", "p-web", "p-other"))
        return Event(at, deed, name, place, given=given)

    def _middle(self) -> list[Event]:
        chance = self.chance
        mood = chance.choice((0.0, 0.3, 0.5, 0.8))
        events = []
        for _ in range(chance.choice((8, 16, 30, 50))):
            at = round(chance.uniform(1.0, LENGTH), 2)
            place = chance.randrange(self.clusters)
            table = _WEATHER if chance.random() < mood else _PEOPLE
            deed = chance.choices(list(table), weights=list(table.values()))[0]
            events.append(self._draw(deed, at, place))
        return events

    def _adoption(self) -> list[Event]:
        """Some come where others have been before: credentials by hand, and admins who say what may be taken over."""
        # By a chance of its own: whoever leaves adoption out leaves the rest as it was.
        chance, events = random.Random(f"adoption/{self.seed}"), list[Event]()  # noqa: S311 - a seed makes it repeat
        if chance.random() > _ADOPTING:
            return []
        for name in self.names:
            if chance.random() < 0.7:
                identity, place = chance.choice(self.members).name, chance.randrange(self.clusters)
                given = {"name": f"by-hand-{name}", "takes": name}
                at = chance.choice((0.0, 0.0, 0.0, round(chance.uniform(1.0, LENGTH), 2)))
                events.append(Event(at, "write_foreign", identity, place, given=given))
        if chance.random() < 0.7:
            events += self._migration(chance)
        for number in range(chance.choice((2, 3, 5))):
            some = f"{chance.choice(self.names)}/keystead"
            word = chance.choice(("*", "*", "*", some, ",".join(self.names[:3]), "NO-SUCH-, *", ""))
            at = round(chance.uniform(1.0, LENGTH if number > 1 else 60.0), 2)
            place, grant = chance.randrange(self.clusters), chance.choice(self.grants)
            events.append(Event(at, "say_adopt", grant, place, given={"word": word}))
        for _ in range(chance.choice((0, 1, 3))):
            identity, at = chance.choice(self.members).name, round(chance.uniform(30.0, LENGTH), 2)
            deed = chance.choice(("delete_foreign", "change_foreign", "rename_foreign"))
            events.append(Event(at, deed, identity, 0, given={"nth": chance.randrange(10)}))
        return events

    def _migration(self, chance: random.Random) -> list[Event]:
        """A calm beginning: all that others serve is allowed, and an admin says so at once."""
        events = []
        for place in range(self.clusters):
            for grant in self.grants:
                given = {"approval": "Automatic", "claims": "Automatic"}
                events.append(Event(0.1, "write_grant", grant, place, given=given))
                events.append(Event(0.2, "say_adopt", grant, place, given={"word": "*"}))
            for name in self.names:
                labels = {"team": chance.choice(self.grants)}
                events.append(
                    Event(round(chance.uniform(0.3, 40.0), 2), "make_namespace", name, place, given={"labels": labels})
                )
        return events

    def _draw(self, deed: str, at: float, place: int) -> Event:
        chance = self.chance
        name, identity = chance.choice(self.names), chance.choice(self.members).name
        grant = chance.choice(self.grants)
        if deed in ("make_namespace", "recreate_namespace"):
            return self._namespace(at, name, place, deed)
        if deed in REPLICA_DEEDS:
            return Event(at, deed, "", place, chance.randrange(self.replicas), self._replica(deed))
        if deed == "edit_grant":
            return Event(at, "write_grant", grant, place, given=self._edit(grant))
        if deed == "spoil_grant":
            return Event(at, "write_grant", grant, place, given=self._spoil())
        given: dict[str, Any] = {}
        match deed:
            case "make_claim":
                account = chance.choice(("", "", "", "default"))
                given = {"grant": chance.choice((*self.grants, "absent")), "account": account}
                given["name"] = chance.choice((given["grant"], "mine"))
            case "delete_claim":
                given = {"name": chance.choice((grant, "mine"))}
            case "make_store":
                given = {"agrees": chance.random() < 0.5}
            case "make_account":
                given = {"annotated": chance.random() < 0.4}
            case "decide":
                by, word = chance.choice(("ann", "bob", "tenant")), chance.choice(("Approved",) * 5 + ("Denied",))
                given = {"grant": grant, "decision": word, "by": by}
            case "write_foreign":
                takes = name if chance.random() < 0.2 else ""
                given = {"name": f"made-{chance.randrange(6)}", "takes": takes}
            case "delete_foreign" | "delete_ours" | "change_ours":
                given = {"nth": chance.randrange(10)}
            case "take_roles":
                given = {"seconds": chance.uniform(20, 90)}
            case "azure_fails":
                given = self._azure()
            case "cluster_fails":
                given = self._cluster()
        if deed.endswith(("foreign", "ours", "identity", "roles")):
            return Event(at, deed, identity, place, given=given)
        return Event(at, deed, grant if deed in ("delete_grant", "confirm") else name, place, given=given)

    def _edit(self, grant: str) -> dict[str, Any]:
        chance = self.chance
        pool = [member.name for member in self.members]
        reserved = chance.choice(("", "", "/2", "/18"))
        some = sorted(chance.sample(pool, chance.randint(1, len(pool))))
        return chance.choice(
            (
                {"identities": [f"{each}{reserved}" for each in some]},
                {"identities": pool},
                {"namespaces": {"selector": {"matchLabels": {"team": grant}}}},
                {"namespaces": {"selector": {}}},
                {"namespaces": {"names": chance.sample(self.names, 1)}},
                {"approval": chance.choice(("Automatic", "Required"))},
                {"claims": chance.choice(("Automatic", "OnRequest"))},
                {"vault": {"url": f"https://{chance.choice(VAULTS)}.vault.azure.net"}},
                {"observeOnly": chance.random() < 0.5},
                {"revocation": chance.choices(("Revoke", "Retain"), weights=(4, 1))[0]},
            )
        )

    def _spoil(self) -> dict[str, Any]:
        return self.chance.choice(
            (
                {"namespaces": {}},
                {"vault": {"url": "https://team-kv.vault.azure.net.evil"}},
                {"identities": []},
                {"identities": [self.members[0].name, self.members[0].name]},
                {"identities": ["not-an-id"]},
            )
        )

    def _replica(self, deed: str) -> dict[str, Any]:
        chance = self.chance
        match deed:
            case "kill":
                return {"steps": chance.randrange(400), "down": round(chance.uniform(0.5, 30.0), 1)}
            case "freeze":
                return {"steps": chance.randrange(400), "seconds": round(chance.uniform(1.0, 60.0), 1)}
            case "stop":
                return {"down": round(chance.uniform(0.5, 10.0), 1)}
            case "watches_lag":
                return {"seconds": round(chance.uniform(5, 60), 1), "lag": round(chance.uniform(1, 15), 1)}
        return {}

    def _azure(self) -> dict[str, Any]:
        """A fault of one of the services, as :class:`keystead_sandbox.faults.Fault` takes it."""
        chance = self.chance
        service = chance.choices(("arm", "entra", "keyvault"), weights=(7, 2, 1))[0]
        given: dict[str, Any] = {"service": service, "seconds": round(chance.uniform(3.0, 60.0), 1)}
        given["every"] = chance.choice((1, 1, 2, 3))
        given["effect"] = chance.choices(
            ("answer", "reset", "hang", "delay", "half-write", "lost-answer"), weights=(8, 2, 2, 3, 3, 3)
        )[0]
        if service == "arm":
            given["method"] = chance.choice(("PUT", "DELETE", "", "GET"))
        if given["effect"] == "delay":
            given |= {"delay": round(chance.uniform(1.0, 25.0), 1), "jitter": 5.0}
        if given["effect"] in ("answer", "half-write"):
            given |= chance.choice(self._answers(service))
        return given

    @staticmethod
    def _answers(service: str) -> tuple[dict[str, Any], ...]:
        failed = {"status": 500, "code": "InternalServerError"}
        if service != "arm":
            return (failed, {"status": 503, "code": "AADSTS90033" if service == "entra" else "ServiceUnavailable"})
        return (
            failed,
            {"status": 503, "code": "ServiceUnavailable"},
            {"status": 409, "code": "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"},
            {"status": 429, "code": "TooManyRequests", "retry_after": 17.0},
            {"status": 403, "code": "AuthorizationFailed"},
            {"status": 409, "code": "ScopeLocked"},
            {"status": 400, "code": "BadRequest"},
        )

    def _cluster(self) -> dict[str, Any]:
        chance = self.chance
        kind = chance.choice(("error", "error", "reset", "lost", "slow"))
        given: dict[str, Any] = {"kind": kind, "lasts": round(chance.uniform(2.0, 45.0), 1)}
        given["share"] = chance.choice((0.2, 0.5, 1.0))
        given["method"] = chance.choice(("", "", "GET", "POST|PATCH", "PUT"))
        given["path"] = chance.choice(("", "", "federations", "vaultclaims", "leases", "serviceaccounts", "status"))
        if kind == "error":
            given["status"] = chance.choice((500, 503, 409, 429))
        if kind == "slow":
            given["seconds"] = round(chance.uniform(1, 20), 1)
        return given
