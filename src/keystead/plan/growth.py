"""Pure: the pool grows ahead of need: how many identities to make, and each one's way until its slots are offered.

- Free slots are those of proven identities and those that identities under way will bring: nothing is made twice.
- An identity is made, given its role, proven by an exchange and a look at the vault, and only then offered.
- Proof needs a credential of its own, for an account that serves nobody. It is a ledger entry as any other, so that a
  crash leaves nothing behind, and it is taken away once the grant's status carries the proof.
- Nothing is ever deleted because fewer identities are wanted.
"""

import datetime
import math
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from keystead.model.credentials import (
    CREDENTIALS_PER_IDENTITY,
    EXCHANGE_AUDIENCE,
    Credential,
    IdentityState,
)
from keystead.model.growth import PROBE_ACCOUNT, FoundIdentity
from keystead.model.ids import IdentityId, service_account_subject
from keystead.model.reasons import Reason
from keystead.model.records import Federation, Namespace, pool_unit
from keystead.plan.failures import resume
from keystead.plan.holdings import Holding, Holdings
from keystead.plan.made import MadeProofs, made_for, strangers
from keystead.plan.naming import credential_name
from keystead.plan.parity import Parity
from keystead.plan.pool import Pool
from keystead.plan.provisioning import Growing
from keystead.plan.removal import Cause
from keystead.plan.snapshot import Failure, Snapshot
from keystead.plan.steps import AssignRole, CreateIdentity, RecordFederation, Step, Verify, WriteCredential
from keystead.plan.underway import UnderWay, judge, unreadable
from keystead.plan.validation import Member, Validated
from keystead.plan.verification import Proofs


@dataclass(frozen=True, slots=True)
class GrowthPlan:
    """What to do for the pool itself, and what stands in the way."""

    steps: tuple[Step, ...] = ()
    under_way: tuple[UnderWay, ...] = ()
    lacking: int = 0
    """Slots that are wanted and that nothing will bring."""
    wake: datetime.datetime | None = None
    """When the next exchange may be tried."""


class Growth:
    """The growing part of one grant's pool."""

    def __init__(
        self, snapshot: Snapshot, valid: Validated, growing: Growing, holdings: Holdings, proofs: Proofs
    ) -> None:
        self._snapshot = snapshot
        self._valid = valid
        self._growing = growing
        self._holdings = holdings
        self._proofs = proofs
        self._grant = valid.grant.name
        self.found = made_for(growing, valid.grant, snapshot)
        self.strangers = strangers(growing, snapshot)
        self.members = tuple(Member(each.id, 0) for each in self.found)
        states = {each.id: IdentityState(each.id, principal_id=each.principal_id) for each in self.found}
        self._parity = Parity(self.members, states, snapshot.roles, growing.role)
        self._made = MadeProofs(snapshot, valid, holdings, proofs)
        lost = {each.identity for each in self.members if self._parity.assigned(each) is False}
        self.proven = {
            each.id: at for each in self.found if each.id not in lost and (at := self._made.of(each)) is not None
        }
        self.unproven = frozenset(each.id for each in self.found if each.id not in self.proven)
        self._onward = [self._advance(each) for each in self.found if each.id in self.unproven]

    @property
    def most(self) -> int:
        """How many identities the operator may make."""
        return self._growing.most

    @property
    def role(self) -> str:
        """GUID of the role that they are given."""
        return self._growing.role

    @property
    def crowded(self) -> frozenset[IdentityId]:
        """Identities on which a probe takes the slot that a claim's entry counts on: the probe goes first."""
        probed = {each.identity for each in self._snapshot.federations if each.probe}
        return frozenset(each for each in probed if self._load(each) >= CREDENTIALS_PER_IDENTITY)

    def _load(self, identity: IdentityId) -> int:
        """What stands on an identity and what the ledger promises there, probes left out."""
        state = self._snapshot.identities.get(identity)
        mine = [each for each in self._snapshot.federations if each.identity == identity]
        probes = sum(1 for each in mine if each.probe and self._holdings.of(each) is Holding.PRESENT)
        promised = sum(1 for each in mine if not each.probe and self._holdings.of(each) is Holding.ABSENT)
        return (len(state.credentials) if state is not None else 0) - probes + promised

    @property
    def stuck(self) -> UnderWay | None:
        """What keeps the pool from growing until somebody changes something."""
        return next((each for each in (*(way for _, way in self._onward), *self._failed()) if each.stuck), None)

    def possible(self, pool: Pool) -> bool:
        """More slots will come by themselves."""
        if self._snapshot.made.at is None or self.stuck is not None:
            return False
        return pool.expected > 0 or len(self.found) < self._growing.most

    def needs_probe(self, federation: Federation) -> bool:
        """The probe is of use still: its identity is not proven, or the proof is not told yet."""
        if federation.deleting or federation.identity not in {each.id for each in self.found}:
            return False
        home = self._home()
        if home is None or (federation.namespace, federation.namespace_uid) != (home.name, home.uid):
            return False
        found = next(each for each in self.found if each.id == federation.identity)
        return federation.identity in self.unproven or self._made.told(found) is None

    def plan(self, pool: Pool) -> GrowthPlan:
        """The steps, given what the claims have taken of the pool and what they found no room for."""
        ways = [way for _, way in self._onward]
        steps = [step for each, _ in self._onward for step in each]
        wake = min((step.not_before for step in steps if isinstance(step, Verify)), default=None)
        # A probe holds a slot that it will give back.
        probes = sum(1 for each in self._snapshot.federations if each.probe and each.identity in pool.states)
        free = pool.free - pool.placed + pool.expected + probes
        lacking = self._growing.headroom + pool.unplaced - free
        if pool.unread or self._snapshot.made.at is None or lacking <= 0:
            return GrowthPlan(tuple(steps), tuple(ways), max(0, lacking), wake)
        allowed = max(0, self._growing.most - len(self.found))
        more = min(math.ceil(lacking / CREDENTIALS_PER_IDENTITY), allowed)
        for identity in self._next_identities(more):
            unit = pool_unit(self._grant, identity)
            create = CreateIdentity(unit, identity, self._growing.location, self._growing.tags)
            failure = self._failure(unit, [create])
            steps += resume([create], failure, self._snapshot.now)
            ways.append(judge(identity.name, [create], failure, None))
        return GrowthPlan(tuple(steps), tuple(ways), max(0, lacking - more * CREDENTIALS_PER_IDENTITY), wake)

    def _next_identities(self, count: int) -> Iterator[IdentityId]:
        """Of the lowest numbers that nobody has."""
        taken = {self._growing.number(each.id) for each in (*self.found, *self.strangers)}
        number = 0
        while count > 0:
            number += 1
            if number not in taken:
                count -= 1
                yield self._growing.identity(number)

    def _failed(self) -> list[UnderWay]:
        """Identities that could not be made."""
        known = {pool_unit(self._grant, each.id) for each in (*self.found, *self.strangers)}
        failed = []
        for unit, failure in sorted(self._snapshot.failures.items()):
            if failure.step == CreateIdentity.__name__ and unit not in known:
                failed.append(judge(unit.rpartition("/")[2], [], failure, None))
        return failed

    def _failure(self, unit: str, steps: list[Step]) -> Failure | None:
        failure = self._snapshot.failures.get(unit)
        return failure if failure is not None and any(type(step).__name__ == failure.step for step in steps) else None

    def _advance(self, found: FoundIdentity) -> tuple[tuple[Step, ...], UnderWay]:
        """The rest of an identity's way until it is proven."""
        snapshot, unit = self._snapshot, pool_unit(self._grant, found.id)
        void = self._made.told(found) is not None  # status must say so before it is given its role again
        if snapshot.roles.pending or not found.principal_id or void:
            return (), judge(found.id.name, [], None, None)
        steps: list[Step] = []
        if self._parity.assigned(Member(found.id, 0)) is not True:
            steps.append(self._assign(unit, found))
        home = self._home()
        probe = self._probe(found.id, home) if home is not None else None
        if probe is not None:
            steps += self._prove(unit, found, probe)
        failure, state = self._failure(unit, steps), snapshot.identities.get(found.id)
        if failure is None and state is not None and state.problem is not None:
            return tuple(steps), unreadable(state)
        way = judge(found.id.name, steps, failure, self._proofs.of(probe) if probe is not None else None)
        return resume(steps, failure, snapshot.now), way

    def _assign(self, unit: str, found: FoundIdentity) -> AssignRole:
        growing, principal = self._growing, found.principal_id
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"{growing.vault.key}|{growing.role}|{principal.lower()}")
        return AssignRole(unit, found.id, principal, growing.vault, growing.role, str(name))

    def _prove(self, unit: str, found: FoundIdentity, probe: Federation) -> list[Step]:
        state = self._snapshot.identities.get(found.id)
        if probe.deleting or state is None or not state.known or not state.client_id:
            return []
        holding = self._holdings.of(probe)
        if holding is Holding.DIFFERENT or (
            holding is Holding.ABSENT and len(state.credentials) >= CREDENTIALS_PER_IDENTITY
        ):
            return []  # full: it has nothing to offer that would have to be proven
        steps: list[Step] = [] if probe.uid else [RecordFederation(unit, probe)]
        place = (probe.namespace, probe.namespace_uid)
        if holding is Holding.ABSENT:
            steps.append(WriteCredential(unit, probe.name, found.id, probe.credential, *place))
        due, vault = self._proofs.of(probe).due, str(self._valid.vault)
        account = (probe.namespace, probe.service_account_name)
        steps.append(Verify(unit, probe.name, state.tenant_id, state.client_id, *account, vault, due, probe.credential))
        return steps

    def _home(self) -> Namespace | None:
        home = self._snapshot.namespaces.get(self._snapshot.limits.own_namespace)
        return home if home is not None and not home.terminating else None

    def _probe(self, identity: IdentityId, home: Namespace) -> Federation:
        """The ledger entry that there is, or that there will be."""
        cluster = self._snapshot.cluster
        name = credential_name(cluster, home.uid, home.name, PROBE_ACCOUNT, identity)
        for each in self._snapshot.federations:
            if each.probe and each.name == name:
                return each
        subject = service_account_subject(home.name, PROBE_ACCOUNT)
        return Federation(
            name=name,
            uid="",
            grant_name=self._grant,
            namespace=home.name,
            namespace_uid=home.uid,
            claim_name="",
            service_account_name=PROBE_ACCOUNT,
            identity=identity,
            credential=Credential(name, cluster.issuer, subject, EXCHANGE_AUDIENCE),
        )


def probe_cause(growth: Growth | None, federation: Federation, *, deleted: bool) -> Cause | None:
    """Why a probe has to go; ``None`` while it is of use. What nobody plans on with needs no probe."""
    if deleted:
        return Cause(Reason.GRANT_DELETED)
    if growth is not None and growth.needs_probe(federation):
        return None
    return Cause(Reason.PROBE_ENDED)
