"""A small world that plans are made for and carried out in: success at once, no Azure, no Kubernetes, no clock.

Carrying out enforces what Azure and the order rules demand, so that a plan that breaks one fails where it does.
"""

import datetime
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from keystead.model.conditions import Condition, ConditionDraft, ConditionType, Status, find
from keystead.model.credentials import CREDENTIALS_PER_IDENTITY, EXCHANGE_AUDIENCE, Credential, IdentityState
from keystead.model.ids import IdentityId, NamespaceUid, service_account_subject
from keystead.model.reasons import Reason
from keystead.model.records import (
    Approval,
    ApprovalMode,
    Claim,
    ClaimMode,
    Cluster,
    Decision,
    Exchange,
    Federation,
    Grant,
    Guards,
    LabelSelector,
    Namespace,
    NamespaceRule,
    PoolMember,
    ServiceAccount,
    Store,
)
from keystead.plan.naming import is_ours
from keystead.plan.planner import make_plan
from keystead.plan.snapshot import Failure, Lane, Limits, Snapshot
from keystead.plan.steps import (
    AnnotateServiceAccount,
    ApplyStore,
    AssignRole,
    BeginRevocation,
    ClaimVerdict,
    CreateClaim,
    CreateIdentity,
    DeleteClaim,
    DeleteCredential,
    EnsureServiceAccount,
    ForgetFederation,
    Plan,
    RecordFederation,
    Step,
    SweepCredential,
    Verify,
    WithdrawAnnotation,
    WriteCredential,
)

_WAITING = (WriteCredential, DeleteCredential, SweepCredential, Verify, CreateIdentity, AssignRole)
NOW = datetime.datetime(2026, 3, 1, 12, 0, 0, tzinfo=datetime.UTC)
CLUSTER = Cluster("0a1b2c3d", "https://oidc.example.test/cluster-a/")
SECOND = datetime.timedelta(seconds=1)
TEAM = {"team": "shop"}
VAULT = "https://kv-shop.vault.azure.net"
TENANT = "tenant-1"


def identity_id(name: str) -> IdentityId:
    group = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg-pool"
    return IdentityId.parse(f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-{name}")


def a_grant(
    name: str = "shop", *, identities: Iterable[str | PoolMember] = ("one",), reserved: int = 0, **fields: object
) -> Grant:
    pool = tuple(
        each if isinstance(each, PoolMember) else PoolMember(identity_id(each).text, reserved) for each in identities
    )
    grant = Grant(
        name=name,
        uid=f"grant-{name}",
        generation=1,
        namespaces=NamespaceRule(selector=LabelSelector(TEAM)),
        vault_url=VAULT,
        identities=pool,
        claims=ClaimMode.AUTOMATIC,
        approval=ApprovalMode.AUTOMATIC,
    )
    return replace(grant, **fields)  # type: ignore[arg-type]  # names and values are the caller's, checked at run time


def foreign(name: str, subject: str = "repo:acme/app:ref", issuer: str = "https://ci.example.test") -> Credential:
    return Credential(name, issuer, subject, EXCHANGE_AUDIENCE)


def subject(namespace: str, account: str = "keystead") -> str:
    return service_account_subject(namespace, account)


@dataclass
class World:
    """Everything a snapshot shows, in pieces that a test can change."""

    grant: Grant | None = field(default_factory=a_grant)
    now: datetime.datetime = NOW
    other_grants: tuple[Grant, ...] = ()
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    other_claims: dict[str, tuple[Claim, ...]] = field(default_factory=dict)
    approvals: list[Approval] = field(default_factory=list)
    guards: Guards = field(default_factory=Guards)
    federations: dict[str, Federation] = field(default_factory=dict)
    other_federations: tuple[Federation, ...] = ()
    accounts: dict[tuple[str, str], ServiceAccount] = field(default_factory=dict)
    stores: dict[tuple[str, str], Store] = field(default_factory=dict)
    sharing: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    finalizers: dict[str, int] = field(default_factory=dict)
    identities: dict[IdentityId, IdentityState] = field(default_factory=dict)
    lanes: dict[IdentityId, Lane] = field(default_factory=dict)
    in_flight: frozenset[tuple[IdentityId, str]] = frozenset()
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    deletions: dict[str, tuple[int, datetime.datetime]] = field(default_factory=dict)
    sightings: dict[tuple[IdentityId, Credential], int] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    log: list[Step] = field(default_factory=list)
    uids: int = 0

    def __post_init__(self) -> None:
        for member in self.grant.identities if self.grant is not None else ():
            self.list_identity(IdentityId.parse(member.resource_id))

    # what a test does to the world

    def list_identity(self, identity: IdentityId, *credentials: Credential, tenant: str = TENANT) -> IdentityState:
        state = IdentityState(identity, f"client-{identity.name}", "p", tenant, credentials, self.now)
        self.identities[identity] = state
        return state

    def namespace(self, *names: str, **fields: object) -> None:
        for name in names:
            made = Namespace(name, NamespaceUid(self.uid()), dict(TEAM))
            self.namespaces[name] = replace(made, **fields)  # type: ignore[arg-type]  # the caller's fields

    def claim(self, namespace: str, name: str = "mine", grant: str = "shop", **fields: object) -> Claim:
        claim = Claim(namespace, name, self.uid(), grant, requested_by="dev", created_at=self.now)
        claim = replace(claim, **fields)  # type: ignore[arg-type]  # the caller's fields
        if self.grant is not None and grant == self.grant.name:
            self.claims[claim.key] = claim
        else:
            self.other_claims[namespace] = (*self.other_claims.get(namespace, ()), claim)
        return claim

    def approve(self, namespace: str, by: str = "rita", decision: Decision = Decision.APPROVED) -> Approval:
        uid = self.namespaces[namespace].uid
        word = Approval(
            f"{namespace}-{by}-{decision.value.lower()}",
            "shop",
            namespace,
            uid,
            subject(namespace),
            VAULT,
            decision,
            by,
        )
        self.approvals.append(word)
        return word

    def edit(self, **fields: object) -> None:
        if self.grant is None:
            raise AssertionError("there is no grant to edit")
        fields.setdefault("generation", self.grant.generation + 1)
        self.grant = replace(self.grant, **fields)  # type: ignore[arg-type]  # the caller's fields

    def terminate(self, namespace: str) -> None:
        self.namespaces[namespace] = replace(self.namespaces[namespace], terminating=True, terminating_since=self.now)

    def remove_namespace(self, namespace: str) -> None:
        del self.namespaces[namespace]
        self.claims = {key: each for key, each in self.claims.items() if each.namespace != namespace}
        self.accounts = {place: each for place, each in self.accounts.items() if place[0] != namespace}
        self.stores = {place: each for place, each in self.stores.items() if place[0] != namespace}
        self.finalizers.pop(namespace, None)

    def fail(self, unit: str, step: type[Step], reason: Reason, retry: datetime.timedelta | None = 30 * SECOND) -> None:
        retry_at = self.now + retry if retry is not None else None
        self.failures[unit] = Failure(unit, step.__name__, reason, "it went wrong", self.now, retry_at)

    def uid(self) -> str:
        self.uids += 1
        return f"uid-{self.uids:04}"

    # what a test sees

    def snapshot(self) -> Snapshot:
        return Snapshot(
            now=self.now,
            cluster=CLUSTER,
            grant_name="shop",
            grant=self.grant,
            other_grants=self.other_grants,
            namespaces=dict(self.namespaces),
            claims=tuple(self.claims.values()),
            other_claims=dict(self.other_claims),
            guards=self.guards,
            approvals=tuple(self.approvals),
            federations=tuple(self.federations.values()),
            other_federations=self.other_federations,
            service_accounts=dict(self.accounts),
            stores=dict(self.stores),
            sharing=dict(self.sharing),
            waiting_finalizers=dict(self.finalizers),
            identities=dict(self.identities),
            lanes=dict(self.lanes),
            in_flight=self.in_flight,
            exchanges=dict(self.exchanges),
            failures=dict(self.failures),
            claim_deletions=dict(self.deletions),
            orphan_sightings=dict(self.sightings),
            limits=self.limits,
        )

    def plan(self) -> Plan:
        return make_plan(self.snapshot())

    def steps(self, *kinds: type[Step]) -> list[Step]:
        return [step for step in self.plan().steps if not kinds or isinstance(step, kinds)]

    def ready(self, key: str) -> ConditionDraft:
        return self.condition(key, ConditionType.READY)

    def condition(self, key: str, kind: ConditionType) -> ConditionDraft:
        return condition(next(each for each in self.plan().claims if each.claim_key == key), kind)

    def of_grant(self, kind: ConditionType) -> ConditionDraft:
        verdict = self.plan().grant
        assert verdict is not None
        return next(each for each in verdict.conditions if each.type == kind)

    def credentials(self) -> list[Credential]:
        return [each for state in self.identities.values() for each in state.credentials]

    def federation(self, namespace: str) -> Federation:
        return next(each for each in self.federations.values() if each.namespace == namespace)

    # what Keystead does in the world

    def settle(self, passes: int = 60) -> Plan:
        """Plan and carry out until nothing is left to do; time passes when everything waits for it."""
        for _ in range(passes):
            plan = self.plan()
            if not plan.steps and not any(each.deleting for each in self.federations.values()):
                self.report(plan)
                if make_plan(self.snapshot()).steps == ():
                    return plan
            self.carry_out(plan)
        raise AssertionError(f"still busy: {self.plan().steps}")

    def carry_out(self, plan: Plan) -> None:
        """One pass: each unit as far as its first step that waits for Azure, which succeeds when its time has come."""
        before = len(self.log)
        units: dict[str, list[Step]] = defaultdict(list)
        for step in plan.steps:
            units[step.unit].append(step)
        for steps in units.values():
            for step in steps:
                waits = isinstance(step, _WAITING)
                not_before = getattr(step, "not_before", None)
                if not_before is not None and not_before > self.now:
                    break
                self.do(step)
                if waits:
                    break
        self.report(plan)
        moved = len(self.log) > before
        self.now = self.now + SECOND if moved or plan.look_again is None else max(plan.look_again, self.now + SECOND)

    def report(self, plan: Plan) -> None:
        for verdict in plan.claims:
            claim = self.claims.get(verdict.claim_key)
            if claim is not None:
                self.claims[claim.key] = replace(
                    claim,
                    conditions=self.merged(claim.conditions, verdict.conditions),
                    federation_name=verdict.federation_name,
                )
        for entry in plan.federations:
            held = self.federations.get(entry.name)
            if held is not None:
                self.federations[entry.name] = replace(
                    held,
                    conditions=self.merged(held.conditions, entry.conditions),
                    verified_at=entry.verified_at,
                    verified_vault=entry.verified_vault,
                    last_exchange=Exchange(entry.last_exchange_code, entry.last_exchange_at)
                    if entry.last_exchange_at is not None
                    else held.last_exchange,
                )

    def merged(self, carried: tuple[Condition, ...], drafts: Iterable[ConditionDraft]) -> tuple[Condition, ...]:
        merged = []
        for each in drafts:
            old = find(carried, each.type)
            since = old.last_transition_time if old is not None and old.status == each.status else self.now
            merged.append(Condition(each.type, each.status, each.reason, each.message, since))
        return tuple(merged)

    def do(self, step: Step) -> None:
        self.log.append(step)
        name = f"_{type(step).__name__}"
        getattr(self, name, self._nothing)(step)

    def _nothing(self, step: Step) -> None:
        """Nudges and the like leave no trace in this world."""

    def _CreateClaim(self, step: CreateClaim) -> None:  # noqa: N802 - named for its step
        claim = Claim(step.namespace, step.name, self.uid(), step.grant_name, automatic=True, created_at=self.now)
        self.claims.setdefault(claim.key, claim)

    def _DeleteClaim(self, step: DeleteClaim) -> None:  # noqa: N802 - named for its step
        del self.claims[f"{step.namespace}/{step.name}"]

    def _RecordFederation(self, step: RecordFederation) -> None:  # noqa: N802 - named for its step
        assert step.federation.name not in self.federations
        made = replace(step.federation, uid=self.uid(), created_at=self.now)
        self.federations[made.name] = made

    def _WriteCredential(self, step: WriteCredential) -> None:  # noqa: N802 - named for its step
        state = self.identities[step.identity]
        assert step.federation_name in self.federations, "the ledger comes first"
        assert len(state.credentials) < CREDENTIALS_PER_IDENTITY, "Azure refuses a 21st"
        assert state.holder_of(step.credential.trust) is None, "Azure refuses a second of the same issuer and subject"
        assert state.named(step.credential.name) is None, "never over a name that exists"
        assert is_ours(step.credential.name, CLUSTER), "names of others are not ours to write"
        assert self.namespaces[step.namespace].uid == step.namespace_uid
        self.identities[step.identity] = replace(state, credentials=(*state.credentials, step.credential))

    def _EnsureServiceAccount(self, step: EnsureServiceAccount) -> None:  # noqa: N802 - named for its step
        place = (step.namespace, step.name)
        self.accounts.setdefault(place, ServiceAccount(*place, self.uid(), ours=True))

    def _Verify(self, step: Verify) -> None:  # noqa: N802 - named for its step
        self.exchanges[step.federation_name] = Exchange("OK", self.now, vault=step.vault_url)

    def _AnnotateServiceAccount(self, step: AnnotateServiceAccount) -> None:  # noqa: N802 - named for its step
        place = (step.namespace, step.name)
        serving = [
            each
            for each in self.federations.values()
            if each.namespace == step.namespace and f"client-{each.identity.name}" == step.client_id
        ]
        assert any(self.exchanges.get(each.name) or each.verified_at for each in serving), (
            "proof comes before annotation"
        )
        account = self.accounts.get(place) or ServiceAccount(*place, self.uid(), ours=True)
        self.accounts[place] = replace(account, client_id=step.client_id, tenant_id=step.tenant_id)

    def _ApplyStore(self, step: ApplyStore) -> None:  # noqa: N802 - named for its step
        place = (step.namespace, step.name)
        self.stores[place] = Store(
            *place,
            vault_url=step.vault_url,
            auth_type="WorkloadIdentity",
            service_account_name=step.service_account_name,
            controller=step.controller,
            provider="azurekv",
            ready=True,
            ours=step.own,
            refresh_interval=step.refresh_interval,
            labels=dict(step.labels),
            annotations=dict(step.annotations),
            dressed=frozenset(
                (
                    *(f"label:{key}" for key, _ in step.labels),
                    *(f"annotation:{key}" for key, _ in step.annotations),
                    *(("refreshInterval",) if step.refresh_interval is not None else ()),
                )
            ),
        )

    def _BeginRevocation(self, step: BeginRevocation) -> None:  # noqa: N802 - named for its step
        self.federations[step.federation_name] = replace(self.federations[step.federation_name], deleting=True)

    def _WithdrawAnnotation(self, step: WithdrawAnnotation) -> None:  # noqa: N802 - named for its step
        place = (step.namespace, step.name)
        self.accounts[place] = replace(self.accounts[place], client_id=None, tenant_id=None)

    def _DeleteCredential(self, step: DeleteCredential) -> None:  # noqa: N802 - named for its step
        assert self.federations[step.federation_name].deleting, "the intent is recorded first"
        self._drop(step.identity, step.credential)

    def _SweepCredential(self, step: SweepCredential) -> None:  # noqa: N802 - named for its step
        self._drop(step.identity, step.credential)

    def _drop(self, identity: IdentityId, credential: Credential) -> None:
        state = self.identities[identity]
        assert credential in state.credentials, "only what is exactly there"
        left = tuple(each for each in state.credentials if each != credential)
        self.identities[identity] = replace(state, credentials=left)

    def _ForgetFederation(self, step: ForgetFederation) -> None:  # noqa: N802 - named for its step
        del self.federations[step.federation_name]


def condition(verdict: ClaimVerdict, kind: ConditionType) -> ConditionDraft:
    return next(each for each in verdict.conditions if each.type == kind)


def kinds(steps: Iterable[Step], unit: str | None = None) -> list[str]:
    return [type(step).__name__ for step in steps if unit is None or step.unit == unit]


def is_true(draft: ConditionDraft) -> bool:
    return draft.status is Status.TRUE
