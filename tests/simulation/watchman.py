"""What must hold at every request of an operator: order, ownership, leadership, pace. Looks at the world, not at code.

A race that no client can win is no break: somebody changed something between the operator's last look and its request.
How long that may take is said where it is allowed for.
"""

import base64
import itertools
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from keystead_sandbox.resources import AUDIENCE, Credential, Identity
from simulation import growing, memory, oracle, others, secrecy
from simulation.replica import Replica
from simulation.stage import Place, Stage
from simulation.wire import Asked, Headers

_CREDENTIAL = re.compile(r"(.+/userAssignedIdentities/[^/]+)/federatedIdentityCredentials/([^/]+)$", re.IGNORECASE)
_LIST = re.compile(r"(.+/userAssignedIdentities/[^/]+)/federatedIdentityCredentials/?$", re.IGNORECASE)
_GRAIN = 1e-3
_LOOK = 6.0  # seconds: from a live read of the namespace to the arrival of the write, latencies included
_LOOK_FIRST = 8.0  # seconds from the look at an adopted credential to the arrival of its delete, latencies included
_DEADLINE = 8.0  # seconds that a lease must outlast a write's start
_PACES = {"identity": 4.0, "subscription": 0.5, "tenant": 0.1}
_NO_RIGHT = b'User \\"system:serviceaccount:'  # as RBAC's refusals begin to say, in JSON
CLIENT = "azure.workload.identity/client-id"


@dataclass
class Watchman:
    """Of one story."""

    stage: Stage
    breaks: list[str] = field(default_factory=list)
    replicas: dict[str, Replica] = field(default_factory=dict)
    """By the name of the process that now runs."""
    requests: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By process, leases and watches left out; with ``/write`` those that write to Kubernetes."""
    _leases: dict[int, tuple[str, float]] = field(default_factory=dict)
    _open: dict[str, list[Asked]] = field(default_factory=lambda: defaultdict(list))
    _starts: dict[tuple[str, str], float] = field(default_factory=dict)
    _held_until: dict[tuple[str, str], float] = field(default_factory=dict)
    _listed: dict[tuple[int, str], float] = field(default_factory=dict)
    _proofs: dict[tuple[int, str, str], list[tuple[float, bool]]] = field(default_factory=lambda: defaultdict(list))
    _written: dict[str, float] = field(default_factory=dict)
    """By a credential's name, when an operator last wrote it where it did not stand: older proofs prove nothing."""
    _put: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    """By identity and cluster, when the cluster's operator last wrote there."""
    _recorded: set[tuple[int, str, str, str]] = field(default_factory=set)
    """By cluster: name, issuer and subject of all that its ledger has ever recorded."""

    def __post_init__(self) -> None:
        self._memory = memory.Memory(self.stage)

    def look(self) -> None:
        """At the world as it is now."""
        self._memory.look()

    def fail(self, place: Place, rule: str, text: str) -> None:
        self.breaks.append(f"{rule}: at {self.stage.now:.1f} s, cluster {place.letter}: {text}")

    # The guard of the wire ---------------------------------------------------------------------------------------

    def sent(self, asked: Asked) -> None:
        """Leadership, pace and secrecy, as the operator sees them."""
        if secrecy.told_by(asked):
            place = self.replicas[asked.process.name].place
            self.fail(place, "secret", f"{asked.method} {asked.path[:120]} carries a token or a secret's value")
        if asked.service == "kube":
            self._count_kube(asked)
            return
        self.requests[asked.process.name] += 1
        found, replica = _CREDENTIAL.search(asked.path), self.replicas[asked.process.name]
        if growing.writes(asked):
            self._check_lease(replica, asked)
        if found is None or asked.method not in ("PUT", "DELETE"):
            return
        self._check_lease(replica, asked)
        self._check_lane(replica, asked, found[1].lower())
        self._open[found[1].lower()].append(asked)

    def arrived(self, asked: Asked) -> None:
        """Order and ownership, as the service sees them."""
        place = self.replicas[asked.process.name].place
        if asked.service == "kube":
            self._check_kube_write(place, asked)
            return
        broken = growing.broken_by(self.stage, place, asked) if growing.writes(asked) else None
        if broken is not None:
            self.fail(place, *broken)
        found = _CREDENTIAL.search(asked.path)
        identity = self.stage.azure.identity(found[1]) if found is not None else None
        if found is None or identity is None:
            return
        if asked.method == "PUT":
            if found[2].lower() not in identity.credentials:
                self._written[found[2]] = self.stage.now
            self._check_put(place, asked, identity, found[2])
        elif asked.method == "DELETE":
            self._check_delete(place, identity, found[2])

    def answered(self, asked: Asked, status: int, headers: Headers, content: bytes) -> None:
        """What the world now knows."""
        replica, now = self.replicas[asked.process.name], self.stage.now
        place = replica.place
        if asked.service == "kube":
            if status == 403 and _NO_RIGHT in content:
                self.fail(place, "rights", f"the operator's roles lack a rule: {asked.method} {asked.path}")
            if "/leases" in asked.path and asked.method in ("PUT", "POST") and status < 300:
                self._learn_lease(place, asked)
            if asked.path.endswith("/federations") and asked.method == "POST" and status < 300:
                self._learn_entry(place, json.loads(asked.body)["spec"]["credential"])
            return
        if growing.writes(asked) and status == 201 and growing.MADE.search(asked.path):
            self.stage.counts["identities made"] += 1
        listed, found = _LIST.search(asked.path), _CREDENTIAL.search(asked.path)
        if listed is not None and status == 200:
            self._listed[place.number, listed[1].lower()] = asked.at
        if found is not None and asked.method in ("PUT", "DELETE"):
            wait = dict(headers).get(b"retry-after")
            if wait is not None:
                self._held_until[asked.process.name, found[1].lower()] = now + float(wait)
            if asked.method == "PUT" and status in (200, 201):
                self._put[found[1].lower()][place.number] = now
            elif asked.method == "DELETE" and status == 200:
                key = found[1].lower(), found[2].lower()
                if place.adopted.pop(key, None):
                    self.stage.theirs.pop(key, None)
                    self.stage.counts["adopted and revoked"] += 1
        if "/oauth2/" in asked.path:
            self._learn_exchange(place, asked, status)

    def ended(self, asked: Asked) -> None:
        found = _CREDENTIAL.search(asked.path)
        if found is not None and asked in self._open[found[1].lower()]:
            self._open[found[1].lower()].remove(asked)

    # Leadership and pace -----------------------------------------------------------------------------------------

    def _learn_lease(self, place: Place, asked: Asked) -> None:
        spec = json.loads(asked.body)["spec"]
        holder = spec.get("holderIdentity") or ""
        self._leases[place.number] = (holder, asked.at + float(spec["leaseDurationSeconds"]))

    def _learn_entry(self, place: Place, given: dict[str, Any]) -> None:
        self._recorded.add((place.number, given["name"], given["issuer"], given["subject"]))

    def _check_lease(self, replica: Replica, asked: Asked) -> None:
        holder, until = self._leases.get(replica.place.number, ("", 0.0))
        if self.stage.now - replica.thawed < 1.0:
            self.stage.counts["writes just after a thaw"] += 1
            return  # it was stopped between its look at the lease and its request: no client can help that
        if holder != asked.process.name:
            self.fail(replica.place, "leader", f"{asked.process.name} writes to Azure while {holder or 'nobody'} leads")
        elif self.stage.now + _DEADLINE > until + _GRAIN:
            left = until - self.stage.now
            self.fail(replica.place, "lease", f"{asked.process.name} begins a write {left:.1f} s before its lease ends")

    def _check_lane(self, replica: Replica, asked: Asked, lane: str) -> None:
        place, now, name = replica.place, self.stage.now, asked.process.name
        frozen = now - replica.thawed < 1.0
        for other in self._open[lane]:
            rival = self.replicas.get(other.process.name)
            alive = rival is not None and rival.process is other.process and not other.process.dead
            stopped = other.process.frozen or (rival is not None and now - rival.thawed < 1.0)
            if alive and rival is not None and rival.place is place and not stopped and not frozen:
                self.fail(place, "overlap", f"{name} and {other.process.name} write on {_short(lane)} at once")
        if now < self._held_until.get((name, lane), 0.0) - _GRAIN and not frozen:
            self.fail(place, "retry-after", f"{name} writes on {_short(lane)} before the time that Azure named")
        keys = {"identity": lane, "subscription": lane.split("/")[2], "tenant": ""}
        for scope, key in keys.items():
            last = self._starts.get((name, scope + key), float("-inf"))
            if now - last < _PACES[scope] - _GRAIN and not frozen and last > replica.thawed:
                self.fail(place, "pace", f"{name} writes {now - last:.2f} s after its last write ({scope})")
            self._starts[name, scope + key] = now

    # Writes to Azure ---------------------------------------------------------------------------------------------

    def _check_put(self, place: Place, asked: Asked, identity: Identity, name: str) -> None:
        stage, given = self.stage, json.loads(asked.body)["properties"]
        if not name.startswith(f"ks-{place.id}-"):
            self.fail(place, "names", f"{name} is written, which is no name of ours")
        entry = place.object("federations", name)
        if (place.number, name, given["issuer"], given["subject"]) not in self._recorded:
            self.fail(place, "ledger first", f"{name} is written, but the ledger has never recorded it")
            return
        if entry is None:
            if self.stage.is_known(place, _namespace_of(given["subject"])):
                self.fail(place, "ledger first", f"{name} is written, but the ledger does not record it any more")
            return
        held = identity.credentials.get(name.lower())
        self._check_foreign(place, identity, name, (given["issuer"], given["subject"]), "written over")
        if held is None:
            self._check_room(place, identity, name)
        self._check_will(place, entry, "written")
        spec = entry["spec"]
        if spec["claimName"] and growing.unproven(self.stage, identity):
            self.fail(place, "unproven", f"{name} is written to {identity.name}, which nobody has proven")
        namespace = place.object("namespaces", spec["namespace"])
        uid = namespace["metadata"]["uid"] if namespace is not None else ""
        changed = place.changed[spec["namespace"]]
        replica = self.replicas[asked.process.name]
        if uid != spec["namespaceUID"] and stage.now - changed > _LOOK and stage.now - replica.thawed > _LOOK:
            self.fail(place, "live uid", f"{name} is written, but its namespace is gone or another one")
        no = oracle.forbids(stage, place, identity, _as_held(name, given))
        braked = oracle.braked(stage, place, spec["grantName"])
        if no is not None and not self._memory.may_write(place, entry) and not braked:
            self.fail(place, "permission", f"{name} is written although {no.reason}")

    def _check_will(self, place: Place, entry: dict[str, Any], what: str) -> None:
        """A grant that only observes has nothing written and nothing deleted, one that retains has nothing deleted."""
        name, spec = entry["spec"]["credential"]["name"], entry["spec"]
        grant = place.object("vaultgrants", spec["grantName"])
        if grant is None or growing.is_probe(entry):
            return
        if grant["spec"].get("observeOnly") and not self._memory.may_touch(place, spec["grantName"]):
            self.fail(place, "observes", f"{name} is {what} although its grant only observes")
        retains = grant["spec"].get("revocation") == "Retain"
        if what == "deleted" and retains and not self._memory.may_revoke(place, spec["grantName"]):
            self.fail(place, "retained", f"{name} is deleted although its grant retains it")

    def _check_room(self, place: Place, identity: Identity, name: str) -> None:
        """A 21st is tried only when somebody else has written since the last look."""
        lane = identity.resource_id.lower()
        other = max((at for number, at in self._put[lane].items() if number != place.number), default=float("-inf"))
        seen = self._listed.get((place.number, lane), 0.0) - 35
        if max(other, self.stage.foreign_since[identity.name]) > seen:
            return
        if len(identity.credentials) >= self.stage.azure.rules.credential_limit:
            self.fail(place, "room", f"{name} is written to {identity.name}, which is full")

    def _check_delete(self, place: Place, identity: Identity, name: str) -> None:
        held = identity.credentials.get(name.lower())
        if held is None:
            return
        entry = oracle.entry_of(place, identity, name)
        wanted = entry["spec"]["credential"] if entry is not None else None
        mine = oracle.kept(place, identity, held)
        if wanted is not None:
            mine = (wanted["issuer"], wanted["subject"]) == (held.issuer, held.subject)
        if not mine:
            self._check_foreign(place, identity, name, None, "deleted")
        if oracle.key_of(identity, name) in place.adopted:
            looked = self._listed.get((place.number, identity.resource_id.lower()), float("-inf"))
            if self.stage.now - looked > _LOOK_FIRST:
                self.fail(place, "look first", f"{name} is others' too, and is deleted without a look at it")
        no = oracle.forbids(self.stage, place, identity, held)
        probe = entry is not None and growing.is_probe(entry)
        needed = no is None and entry is not None and not probe and not memory.drains(place, entry)
        if needed and entry is not None and not self._memory.may_delete(place, entry):
            self.fail(place, "needless", f"{name} is deleted although nothing forbids it")
        if entry is not None:
            self._check_will(place, entry, "deleted")
        self._check_order(place, identity, name, held.subject)

    def _check_order(self, place: Place, identity: Identity, name: str, subject: str) -> None:
        """With the namespace alive the annotation goes before the credential."""
        parts, entry = subject.split(":"), oracle.entry_of(place, identity, name)
        if len(parts) != 4 or entry is None:
            return
        namespace, account = parts[2:]
        found = place.object("namespaces", namespace)
        if found is None or found["metadata"].get("deletionTimestamp"):
            return
        if found["metadata"]["uid"] != entry["spec"]["namespaceUID"] or self.stage.now < place.clear_from:
            return
        holder = place.object("serviceaccounts", account, namespace)
        notes = (holder or {"metadata": {}})["metadata"].get("annotations") or {}
        if notes.get(CLIENT) == identity.client_id and "by-hand" not in notes:
            self.fail(place, "order", f"{name} is deleted while the account still names its identity")

    def _check_foreign(
        self, place: Place, identity: Identity, name: str, wanted: tuple[str, str] | None, what: str
    ) -> None:
        held = identity.credentials.get(name.lower())
        if held is None or (held.issuer, held.subject) == wanted:
            return
        lane = identity.resource_id.lower()
        if self.stage.foreign_since[identity.name] <= self._listed.get((place.number, lane), 0.0):
            self.fail(place, "foreign", f"{name} on {identity.name} is not ours and is {what}")
        self.stage.theirs.pop(oracle.key_of(identity, name), None)  # told, or a race that is nobody's fault

    # Writes to Kubernetes ----------------------------------------------------------------------------------------

    def _count_kube(self, asked: Asked) -> None:
        if "/leases" in asked.path or asked.query.get("watch"):
            return
        self.requests[asked.process.name] += 1
        if asked.method != "GET":
            self.requests[f"{asked.process.name}/write"] += 1

    def _check_kube_write(self, place: Place, asked: Asked) -> None:
        broken = others.broken_by(self.stage, place, asked)
        if broken is not None:
            self.fail(place, *broken)
        if asked.method not in ("POST", "PUT", "PATCH") or not asked.body:
            return
        body = json.loads(asked.body)
        metadata = body.get("metadata") or {}
        if "finalizers" in metadata and "/federations" not in asked.path:
            self.fail(place, "finalizers", f"{asked.method} {asked.path} sets finalizers")
        parts = asked.path.strip("/").split("/")
        if asked.method == "PATCH" and "serviceaccounts" in parts:
            client = (metadata.get("annotations") or {}).get(CLIENT)
            if client:
                self._check_proof(place, parts[3], parts[5], client)
        if asked.method == "POST" and parts[-1] == "federations" and body["spec"].get("adopted"):
            self._check_adoption(place, body["spec"])
        lets_go = "finalizers" in metadata and not _holds(metadata["finalizers"])
        if asked.method == "PATCH" and "federations" in parts and lets_go:
            self._check_forgotten(place, parts[-1])

    def _check_adoption(self, place: Place, spec: dict[str, Any]) -> None:
        """Never without the word, and exactly what stands."""
        given, identity = spec["credential"], self.stage.azure.identity(spec["identityResourceId"])
        wanted = (place.issuer, f"system:serviceaccount:{spec['namespace']}:{spec['serviceAccountName']}")
        if (given["issuer"], given["subject"], given["audience"]) != (*wanted, AUDIENCE):
            self.fail(place, "adoption", f"{given['name']} is taken over, which trusts something else")
        grant = place.object("vaultgrants", spec["grantName"])
        whom = spec["namespace"], spec["serviceAccountName"]
        known, once = self.stage.is_known(place, whom[0]), oracle.once_said(place, *whom)
        if not once or (known and not oracle.says_adopt(grant, *whom)):
            self.fail(place, "adoption", f"{given['name']} is taken over, and nobody has said so")
        if identity is None:
            return
        held = identity.credentials.get(given["name"].lower())
        key = oracle.key_of(identity, given["name"])
        if held is not None and (held.issuer, held.subject) == wanted:
            place.adopted[key] = wanted
            self.stage.counts["adopted"] += 1
        elif self.stage.foreign_since[identity.name] <= self._listed.get((place.number, key[0]), 0.0):
            self.fail(place, "adoption", f"{given['name']} is taken over, and does not stand")

    def _check_proof(self, place: Place, namespace: str, account: str, client: str) -> None:
        subject = f"system:serviceaccount:{namespace}:{account}"
        identity = self.stage.azure.identities_by_client.get(client)
        if identity is None:
            return
        entry = next(
            (
                each
                for each in place.objects("federations")
                if each["spec"]["credential"]["subject"] == subject
                and each["spec"]["identityResourceId"].lower() == identity.resource_id.lower()
            ),
            None,
        )
        since = self._written.get(entry["metadata"]["name"], 0.0) if entry is not None else 0.0
        proofs = [ok for at, ok in self._proofs[place.number, subject, client] if at >= since]
        if not any(one and two for one, two in itertools.pairwise(proofs)):
            self.fail(place, "annotation", f"{namespace}/{account} is annotated without a proven exchange")

    def _check_forgotten(self, place: Place, name: str) -> None:
        entry = place.object("federations", name)
        if entry is None:
            return
        spec = entry["spec"]
        identity = self.stage.azure.identity(spec["identityResourceId"])
        held = identity.credentials.get(spec["credential"]["name"].lower()) if identity is not None else None
        retained = spec["grantName"] in place.retained
        if held is None or identity is None or retained or held.subject != spec["credential"]["subject"]:
            return
        lane = identity.resource_id.lower()
        if self.stage.foreign_since[identity.name] <= self._listed.get((place.number, lane), 0.0):
            self.fail(place, "forgotten", f"the ledger entry {name} goes while its credential stands")

    # Exchanges ---------------------------------------------------------------------------------------------------

    def _learn_exchange(self, place: Place, asked: Asked, status: int) -> None:
        form = parse_qs(asked.body.decode())
        assertion = next(iter(form.get("client_assertion", [])), "")
        client = next(iter(form.get("client_id", [])), "")
        if assertion.count(".") == 2:
            payload = assertion.split(".")[1]
            subject = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
            self._proofs[place.number, subject, client].append((self.stage.now, status == 200))


def _as_held(name: str, given: dict[str, Any]) -> Credential:
    return Credential(name, given["issuer"], given["subject"], given["audiences"][0], 0.0)


def _holds(finalizers: list[str] | None) -> bool:
    return any("keystead" in each for each in finalizers or ())


def _namespace_of(subject: str) -> str:
    parts = subject.split(":")
    return parts[2] if len(parts) == 4 else ""


def _short(lane: str) -> str:
    return lane.rpartition("/")[2]
