"""Pure: what people and other tools made for the namespaces of a grant, and how far it can be taken over.

For whoever reads a plan before saying the word: each thing is listed once, with its state and, where it cannot be taken
over, with why and what to change. Credentials of other issuers concern nobody here and are only counted.

Facts: Entra compares issuer and subject exactly (documentation of workload identity federation), so that one trailing
slash or one capital letter makes a credential useless; these are told with the two strings under each other.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from keystead.model.credentials import Credential, IdentityState
from keystead.model.ids import IdentityId, service_account_subject
from keystead.model.records import ClaimMode, Federation
from keystead.plan import policy
from keystead.plan.admission import Admission, Admissions
from keystead.plan.adoption import Adoptions, Finding, command
from keystead.plan.holdings import Holdings
from keystead.plan.snapshot import Snapshot
from keystead.plan.stores import Claimant, Difference, Wanted, account_differences, judge_account, judge_store
from keystead.plan.stores import differences as store_differences
from keystead.plan.validation import Validated

_SUBJECT_PARTS = 4


class State(StrEnum):
    """How far a thing is on its way into our hands."""

    ADOPTED = "Adopted"
    SAID = "Said"
    """An admin has said so; the operator does it with its next pass."""
    POSSIBLE = "Possible"
    AS_IT_IS = "AsItIs"
    """It says what we would say, and stays its owner's."""
    IMPOSSIBLE = "Impossible"


class Row(NamedTuple):
    """One thing."""

    kind: str
    """``Credential``, ``ServiceAccount`` or ``SecretStore``."""
    namespace: str
    account: str
    name: str
    state: State
    reason: str = ""
    """A clause, where there is something to tell."""
    identity: IdentityId | None = None
    """Of a credential."""
    differences: tuple[Difference, ...] = ()
    only_by_name: bool = False
    """A word that means everything does not reach it."""


class Report(NamedTuple):
    """All of one grant."""

    rows: tuple[Row, ...]
    foreign: int
    """Credentials of other issuers on the pool's identities."""
    problem: str
    """What of the word makes no sense."""

    def entries(self, namespaces: Iterable[str] = ()) -> tuple[str, ...]:
        """What a word has to name for all that is possible, or, by name, for what is possible in *namespaces*."""
        only = set(namespaces)
        wanted = {
            f"{row.namespace}/{row.account}"
            for row in self.rows
            if row.state is State.POSSIBLE and (row.namespace in only if only else not row.only_by_name)
        }
        return tuple(sorted(wanted))


def survey_takeover(snapshot: Snapshot, valid: Validated, holdings: Holdings) -> Report:
    """Everything that others made, as the snapshot shows it."""
    return _Survey(snapshot, valid, holdings).report()


class _Survey:
    def __init__(self, snapshot: Snapshot, valid: Validated, holdings: Holdings) -> None:
        self._snapshot = snapshot
        self._valid = valid
        self._holdings = holdings
        self._adoptions = Adoptions(snapshot, valid, holdings)
        self._members = {member.identity for member in valid.pool}
        admissions = Admissions(snapshot, valid.grant, valid)
        judged = [admissions.judge(claim) for claim in sorted(snapshot.claims, key=lambda each: each.key)]
        self._admitted = {each.subject: each for each in judged if each.allowed}
        self._refused = {each.subject: each for each in judged if not each.allowed}
        self._entries: dict[str, list[Federation]] = {}
        for entry in sorted((*snapshot.federations, *snapshot.other_federations), key=lambda each: each.name):
            if not entry.deleting:
                self._entries.setdefault(entry.credential.subject, []).append(entry)
        self._near = {each.casefold(): each for each in (*self._expected(), *self._admitted)}

    def report(self) -> Report:
        rows = [*self._adopted(), *self._credentials()]
        for admission in self._admitted.values():
            rows += self._objects(admission)
        foreign = sum(1 for _, held in self._strangers() if not self._is_issuer(held) and not self._is_near(held))
        rows.sort(key=lambda row: (row.namespace, row.account, row.kind, row.name, row.identity or _NOWHERE))
        return Report(tuple(rows), foreign, self._adoptions.word.problem)

    def _expected(self) -> Iterator[str]:
        """Subjects of claims that the operator would make by itself."""
        grant = self._valid.grant
        if grant.claims is not ClaimMode.AUTOMATIC:
            return
        served = {claim.namespace for claim in self._snapshot.claims}
        for name, namespace in sorted(self._snapshot.namespaces.items()):
            if name in served or namespace.terminating:
                continue
            if policy.judge(grant.namespaces, namespace).allowed:
                yield service_account_subject(name, grant.template.service_account_name)

    # Credentials -------------------------------------------------------------------------------------------------

    def _strangers(self) -> Iterator[tuple[IdentityId, Credential]]:
        for identity, state in sorted(self._snapshot.identities.items()):
            for held in sorted(state.credentials) if identity in self._members else ():
                if (identity.key, held.name.lower()) not in self._holdings.ledger:
                    yield identity, held

    def _adopted(self) -> Iterator[Row]:
        for each in self._snapshot.federations:
            if each.adopted and not each.deleting:
                place = (each.namespace, each.service_account_name)
                yield Row("Credential", *place, each.credential.name, State.ADOPTED, identity=each.identity)

    def _credentials(self) -> Iterator[Row]:
        for identity, held in self._strangers():
            if self._is_issuer(held):
                yield self._credential(identity, held)
            elif self._is_near(held):
                different = Difference("issuer", held.issuer, self._snapshot.cluster.issuer)
                yield self._impossible(identity, held, "the issuer is not the cluster's to the letter", different)

    def _is_issuer(self, held: Credential) -> bool:
        return held.issuer == self._snapshot.cluster.issuer

    def _is_near(self, held: Credential) -> bool:
        return _loosely(held.issuer) == _loosely(self._snapshot.cluster.issuer)

    def _credential(self, identity: IdentityId, held: Credential) -> Row:
        finding = self._adoptions.of(held.subject, identity)
        admission = self._admitted.get(held.subject)
        if admission is None and held.subject not in self._near.values():
            return self._unclaimed(identity, held)
        namespace, account = _place(held.subject)
        if finding is None or finding.obstacle:
            reason = finding.obstacle if finding is not None else ""
            return self._impossible(identity, held, reason)
        standing = [each for each in self._entries.get(held.subject, ()) if not self._holdings.is_void(each)]
        if standing:
            entry = standing[0]
            text = f"credential {entry.credential.name} on identity {entry.identity.name} serves the account already"
            return self._impossible(identity, held, text)
        state, reason = self._said(finding, namespace, account)
        if admission is not None and not admission.passed and admission.review is not None:
            reason = f"once the claim is approved: {admission.review.condition.message}"
        return Row(
            *("Credential", namespace, account, held.name, state, reason, identity), only_by_name=finding.needs_name
        )

    def _said(self, finding: Finding, namespace: str, account: str) -> tuple[State, str]:
        if finding.covered_by(self._adoptions.word, namespace, account):
            return State.SAID, ""
        if finding.needs_name:
            return State.POSSIBLE, "it bears another Keystead's name, and may serve a living cluster of this issuer"
        return State.POSSIBLE, ""

    def _unclaimed(self, identity: IdentityId, held: Credential) -> Row:
        """Our issuer, but for no account that a claim of this grant uses."""
        near = self._near.get(held.subject.casefold())
        if near is not None:
            different = Difference("subject", held.subject, near)
            row = self._impossible(identity, held, "the subject is not the account's to the letter", different)
            namespace, account = _place(near)
            return row._replace(namespace=namespace, account=account)
        namespace, account = _place(held.subject)
        found = self._snapshot.namespaces.get(namespace)
        refused = self._refused.get(held.subject)
        if not namespace:
            reason = "its subject is no ServiceAccount"
        elif found is None:
            reason = f"there is no namespace {namespace}"
        elif refused is not None:
            reason = refused.message
        elif not (allowed := policy.judge(self._valid.grant.namespaces, found)).allowed:
            reason = allowed.message
        else:
            used = sorted(
                _place(each)[1] for each in (*self._admitted, *self._near.values()) if _place(each)[0] == namespace
            )
            reason = (
                f"the namespace's claim uses ServiceAccount {used[0]}, not {account}; see spec.template of the grant"
                if used
                else f"no VaultClaim in the namespace asks for ServiceAccount {account}"
            )
        return self._impossible(identity, held, reason)

    def _impossible(self, identity: IdentityId, held: Credential, reason: str, *differences: Difference) -> Row:
        place = _place(held.subject)
        return Row("Credential", *place, held.name, State.IMPOSSIBLE, reason, identity, differences)

    # Accounts and stores -----------------------------------------------------------------------------------------

    def _objects(self, admission: Admission) -> Iterator[Row]:
        namespace, account = admission.claim.namespace, admission.service_account
        said = self._adoptions.word.covers(namespace, account)
        claimant = Claimant(command(self._valid.grant.name, namespace), adopting=True)
        possible = State.SAID if said else State.POSSIBLE
        found = self._snapshot.service_accounts.get((namespace, account))
        serving = self._serving(admission.subject)
        if found is not None and not found.ours and serving is not None and serving.client_id:
            standing = judge_account(found, serving.client_id, serving.tenant_id, claimant)
            state = possible if standing.force else State.AS_IT_IS
            told = account_differences(found, serving.client_id, serving.tenant_id)
            yield Row("ServiceAccount", namespace, account, account, state, _added(told, state), differences=told)
        store = self._snapshot.stores.get((namespace, admission.store))
        if store is not None and not store.ours:
            wanted = Wanted(str(self._valid.vault), account, self._valid.grant.template.store_controller)
            standing, told = judge_store(store, wanted, claimant), store_differences(store, wanted)
            state = possible if standing.force else State.AS_IT_IS
            reason = _added(told, state)
            if standing.conflict is not None:
                state, reason = (
                    State.IMPOSSIBLE,
                    "it reads elsewhere, or another engine serves it; correct or delete it",
                )
            yield Row("SecretStore", namespace, account, store.name, state, reason, differences=told)

    def _serving(self, subject: str) -> IdentityState | None:
        """The identity that serves the account now, or that of the credential which can be taken over."""
        entry = next((each for each in self._entries.get(subject, ()) if not self._holdings.is_void(each)), None)
        if entry is not None:
            return self._snapshot.identities.get(entry.identity)
        finding = self._adoptions.of(subject)
        if finding is None or finding.obstacle:
            return None
        return self._snapshot.identities.get(finding.identity)


_NOWHERE = IdentityId("", "")


def _added(told: tuple[Difference, ...], state: State) -> str:
    """Fields that are missing are added to anybody's object, with or without a word."""
    missing = [each.field for each in told if not each.given]
    return f"{', '.join(missing)}: added" if missing and state is State.AS_IT_IS else ""


def _loosely(text: str) -> str:
    return text.rstrip("/").casefold()


def _place(subject: str) -> tuple[str, str]:
    """Namespace and account of a subject, empty where it is none of Kubernetes'."""
    parts = subject.split(":")
    if len(parts) != _SUBJECT_PARTS or service_account_subject(parts[2], parts[3]) != subject:
        return "", ""
    return parts[2], parts[3]
