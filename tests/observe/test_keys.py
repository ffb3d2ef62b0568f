"""A changed object leads to the grants it bears on, and to no others."""

from dataclasses import dataclass, field, replace

import pytest

from keystead.model.credentials import Credential
from keystead.model.growth import Provisioning
from keystead.model.ids import IdentityId, NamespaceUid
from keystead.model.records import (
    Approval,
    ApprovalMode,
    Claim,
    ClaimMode,
    Decision,
    Federation,
    Grant,
    GuardBinding,
    GuardPolicy,
    Guards,
    LabelSelector,
    Namespace,
    NamespaceRule,
    PoolMember,
    ServiceAccount,
    Store,
)
from keystead.observe.keys import grants_of, watcher

IDENTITY = (
    "/subscriptions/0c2f7a52-9c55-4b3b-8c5a-4a4b2b6f3d21/resourceGroups/g"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{}"
)


@dataclass
class Held:
    """Caches that hold just these."""

    all_grants: tuple[Grant, ...] = ()
    all_claims: tuple[Claim, ...] = ()
    all_federations: tuple[Federation, ...] = ()
    all_namespaces: dict[str, Namespace] = field(default_factory=dict)

    def grants(self) -> tuple[Grant, ...]:
        return self.all_grants

    def claims(self) -> tuple[Claim, ...]:
        return self.all_claims

    def approvals(self) -> tuple[Approval, ...]:
        return ()

    def federations(self) -> tuple[Federation, ...]:
        return self.all_federations

    def guards(self) -> Guards:
        return Guards()

    def claims_of(self, grant: str) -> tuple[Claim, ...]:
        return tuple(each for each in self.all_claims if each.grant_name == grant)

    def claims_in(self, namespace: str) -> tuple[Claim, ...]:
        return tuple(each for each in self.all_claims if each.namespace == namespace)

    def federations_in(self, namespace: str) -> tuple[Federation, ...]:
        return tuple(each for each in self.all_federations if each.namespace == namespace)

    def federations_of(self, grant: str) -> tuple[Federation, ...]:
        return tuple(each for each in self.all_federations if each.grant_name == grant)

    def federations_on(self, identity: IdentityId) -> tuple[Federation, ...]:
        return tuple(each for each in self.all_federations if each.identity == identity)

    def namespaces(self) -> dict[str, Namespace]:
        return self.all_namespaces

    def service_account(self, namespace: str, name: str) -> ServiceAccount | None:
        return None

    def store(self, namespace: str, name: str) -> Store | None:
        return None

    def stores_in(self, namespace: str) -> tuple[Store, ...]:
        return ()

    def stores_with_finalizers(self, namespace: str) -> int:
        return 0


def _grant(name: str, identity: str, **labels: str) -> Grant:
    rule = NamespaceRule(LabelSelector(labels)) if labels else NamespaceRule(names=("nowhere",))
    pool = (PoolMember(IDENTITY.format(identity)),)
    vault = "https://v-kv.vault.azure.net"
    return Grant(name, name, 1, rule, vault, pool, ClaimMode.AUTOMATIC, ApprovalMode.AUTOMATIC)


def _claim(namespace: str, grant: str) -> Claim:
    return Claim(namespace, "c", f"{namespace}-c", grant)


def _federation(namespace: str, grant: str) -> Federation:
    credential = Credential("ks-1", "https://issuer", f"system:serviceaccount:{namespace}:keystead", "a")
    identity = IdentityId.parse(IDENTITY.format("one"))
    return Federation("ks-1", "u", grant, namespace, NamespaceUid("n"), "c", "keystead", identity, credential)


def _approval(grant: str) -> Approval:
    return Approval("a", grant, "shop", NamespaceUid("n"), "s", "v", Decision.APPROVED, "me")


def _growing(grant: Grant, prefix: str) -> Grant:
    return replace(grant, provisioning=Provisioning(IDENTITY.partition("/providers/")[0], "westeurope", prefix, 3))


RED, BLUE = _grant("red", "one", team="red"), _growing(_grant("blue", "two-002", team="blue"), "pool")
HELD = Held((RED, BLUE), (_claim("shop", "red"),), (_federation("old", "gone"),))


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (_claim("new", "blue"), {"blue"}),
        (_claim("new", "nobody"), {"nobody"}),
        (_claim("shop", "blue"), {"blue", "red"}),
        (_approval("red"), {"red"}),
        (_federation("x", "red"), {"red"}),
        (_federation("shop", "blue"), {"blue", "red"}),
        (_federation("x", "blue"), {"blue"}),
        (replace(_federation("x", "blue"), deleting=True), {"blue", "red"}),
        (Namespace("new", NamespaceUid("n"), {"team": "blue"}), {"blue"}),
        (Namespace("new", NamespaceUid("n")), set()),
        (Namespace("shop", NamespaceUid("n")), {"red"}),
        (Namespace("old", NamespaceUid("n")), {"gone"}),
        (ServiceAccount("shop", "keystead", "u"), {"red"}),
        (ServiceAccount("elsewhere", "keystead", "u"), set()),
        (Store("old", "azure-store"), {"gone"}),
        (RED, {"red"}),
        (replace(RED, identities=BLUE.identities), {"red", "blue"}),
        (replace(RED, identities=(PoolMember(IDENTITY.format("TWO-002")),)), {"red", "blue"}),
        (replace(RED, identities=(PoolMember(IDENTITY.format("Pool-hash-001")),)), {"red", "blue"}),
        (_growing(RED, "Two"), {"red", "blue"}),
        (_growing(RED, "three"), {"red"}),
        (GuardPolicy("keystead-claims"), {"red", "blue"}),
        (GuardBinding("keystead-claims", "keystead-claims"), {"red", "blue"}),
        ("something else", set()),
    ],
    ids=[
        "claim: its grant",
        "claim: a grant that does not exist",
        "claim: and who has another in the namespace",
        "approval: its grant",
        "federation: its grant",
        "federation: and who has a claim in the namespace",
        "federation: and not who has the identity too",
        "federation: unless it leaves it",
        "namespace: grants that allow it",
        "namespace: nobody's",
        "namespace: grants with a claim there",
        "namespace: grants with a ledger entry there",
        "account: grants with a claim there",
        "account: nobody's",
        "store: grants with a ledger entry there",
        "grant: itself",
        "grant: and who shares an identity",
        "grant: in whatever case the id is written",
        "grant: and whose growing pool makes what it names",
        "grant: and who names what its growing pool makes",
        "grant: a pool that nobody else names anything of",
        "policy: every grant",
        "its binding: every grant",
        "unknown: nothing",
    ],
)
def test_a_change_leads_to(changed: object, found: set[str]) -> None:
    assert grants_of(changed, HELD) == found


@pytest.mark.parametrize(
    ("old", "new", "looked_at"),
    [
        (
            Namespace("n", NamespaceUid("1"), {"team": "red"}),
            Namespace("n", NamespaceUid("1"), {"team": "blue"}),
            ["blue", "red"],
        ),
        (None, _claim("n", "red"), ["red"]),
        (_claim("n", "red"), None, ["red"]),
        (_claim("n", "red"), _claim("n", "blue"), ["blue", "red"]),
    ],
    ids=["a label that moves it", "made", "deleted", "pointed elsewhere"],
)
def test_what_it_was_and_what_it_is_both_count(old: object, new: object, looked_at: list[str]) -> None:
    asked: list[str] = []

    watcher(lambda: HELD, asked.append)(old, new)

    assert sorted(asked) == looked_at
