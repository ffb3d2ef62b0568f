"""Each rule of the judge notices its break, and says what broke; a world at rest leaves it silent."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pytest

from keystead_sandbox.resources import AUDIENCE, Credential
from simulation import growing
from simulation.people import CLIENT
from simulation.scene import Scene, on_stage
from simulation.stage import Object

_KS = r"ks-\w{8}-shop-keystead-\w{26}"
Deed: TypeAlias = Callable[[Scene], None]


@dataclass(frozen=True, slots=True)
class Case:
    """What is done to a world at rest, and all that the judge says of it."""

    deed: Deed
    says: tuple[str, ...]
    setting: dict[str, Any] = field(default_factory=dict)


AT_REST: list[Case] = []
ANY_TIME: list[Case] = []


def wrong(where: list[Case], *says: str, **setting: Any) -> Callable[[Deed], Deed]:
    def enter(deed: Deed) -> Deed:
        where.append(Case(deed, says, setting))
        return deed

    return enter


def _same(told: list[str], wanted: tuple[str, ...]) -> bool:
    pairs = zip(sorted(told), sorted(wanted), strict=False)
    return len(told) == len(wanted) and all(re.fullmatch(says, text) for text, says in pairs)


@pytest.mark.parametrize("case", AT_REST, ids=lambda case: case.deed.__name__)
def test_the_judge_notices_at_rest(case: Case) -> None:
    async def play() -> None:
        scene = Scene(**case.setting)
        await _rest(scene)
        assert scene.judge.complaints() == []

        case.deed(scene)

        told = scene.judge.complaints()
        assert _same(told, tuple(f"cluster a: {each}" for each in case.says)), told

    on_stage(play)


async def _rest(scene: Scene) -> None:
    """Served by a real operator; where pools grow, with one identity of its making."""
    if scene.stage.setup.grows:
        scene.happens("write_grant", "g0", identities=["identity-0"], provisioning={"maxIdentities": 2, "headroom": 5})
        await scene.serve(600)
        assert len(growing.made(scene.stage, scene.place, _grant(scene))) == 1
        return
    await scene.serve()


@pytest.mark.parametrize("case", ANY_TIME, ids=lambda case: case.deed.__name__)
def test_the_judge_notices_at_any_moment(case: Case) -> None:
    async def play() -> None:
        scene = Scene(**case.setting)
        await scene.serve()
        scene.judge.look()
        assert scene.judge.breaks == []

        case.deed(scene)

        await scene.watch(3)
        assert _same(scene.judge.breaks, case.says), scene.judge.breaks

    on_stage(play)


def _ours(scene: Scene) -> tuple[dict[str, Credential], str]:
    """Where the shop's credential stands, and its name there."""
    return next(
        (identity.credentials, name)
        for identity in scene.stage.azure.identities.values()
        for name in identity.credentials
        if "-shop-" in name
    )


def _edit(scene: Scene, plural: str, name: str, namespace: str, **metadata: Any) -> None:
    found = scene.place.object(plural, name, namespace)
    assert found is not None
    changed = copy.deepcopy(found)
    changed["metadata"] |= metadata
    scene.stage.edit(scene.place, plural, changed)


# At any moment ---------------------------------------------------------------------------------------------------


@wrong(ANY_TIME, "never 21: identity-2 holds 21 credentials")
def a_twenty_first_credential(scene: Scene) -> None:
    while len(scene.identity(2).credentials) < 21:
        name = f"s{len(scene.identity(2).credentials)}"
        scene.stage.azure.add_credential(scene.identity(2), name, "https://other", name)


@wrong(ANY_TIME)
def a_twentieth_credential(scene: Scene) -> None:
    while len(scene.identity(2).credentials) < 20:
        name = f"s{len(scene.identity(2).credentials)}"
        scene.stage.azure.add_credential(scene.identity(2), name, "https://other", name)


@wrong(ANY_TIME, "foreign: theirs-00 on identity-0 is gone, which others have written")
def others_lose_a_credential(scene: Scene) -> None:
    del scene.identity().credentials["theirs-00"]


@wrong(ANY_TIME, "foreign: theirs-00 on identity-0 says something else, which others have written")
def others_find_another_trust(scene: Scene) -> None:
    held = scene.identity().credentials
    held["theirs-00"] = replace(held["theirs-00"], subject="another")


@wrong(ANY_TIME)
def others_lose_an_identity(scene: Scene) -> None:
    scene.happens("delete_identity", "identity-0")
    scene.happens("restore_identity", "identity-0")


@pytest.mark.parametrize("deed", ["write_foreign", "delete_foreign"])
def test_what_others_do_themselves_is_no_break(deed: str) -> None:
    async def play() -> None:
        scene = Scene()
        scene.happens(deed, "identity-0", name="theirs-01", nth=0)
        await scene.watch(10)
        left = {"write_foreign": {"theirs-00", "theirs-01"}, "delete_foreign": set[str]()}[deed]
        assert scene.identity().credentials.keys() == left
        assert {name for _, name in scene.stage.theirs} == left
        assert scene.judge.breaks == []

    on_stage(play)


def test_what_others_do_one_over_the_other_is_no_break() -> None:
    """Nobody knows which of two requests comes last."""

    async def play() -> None:
        scene = Scene()
        await scene.serve()
        identity = next(each for each in scene.stage.azure.identities.values() if _ours(scene)[0] is each.credentials)
        for deed in ("change_ours", "delete_ours"):
            scene.happens(deed, identity.name, nth=0)
        await scene.watch(60)
        assert scene.judge.breaks == []

    on_stage(play)


@pytest.mark.parametrize("calm", [True, False], ids=["calm", "disturbed"])
@pytest.mark.parametrize(
    ("deed", "on", "given", "reason"),
    [
        ("delete_claim", "shop", {"name": "g0"}, "its claim is gone"),
        ("delete_grant", "g0", {}, "its grant is gone"),
        ("delete_namespace", "shop", {}, "its namespace is gone or going"),
        ("recreate_namespace", "shop", {}, "its namespace is another one by now"),
        ("delete_entry", "shop", {}, "its ledger entry is being deleted"),
        ("decide", "shop", {"grant": "g0", "decision": "Denied", "by": "ann"}, "it was denied"),
        ("write_grant", "g0", {"namespaces": {"names": ["till"]}}, "its namespace is not allowed"),
        ("write_grant", "g0", {"approval": "Required"}, "nobody has approved it"),
    ],
)
def test_a_credential_that_nothing_allows_any_more_is_noticed_beyond_the_bound(
    deed: str, on: str, given: dict[str, Any], reason: str, calm: bool
) -> None:
    """In calm seconds: while something fails, none count."""

    async def play() -> None:
        scene = Scene()
        await scene.serve()
        scene.stage.disturb(None, 0.0 if calm else 1000.0)
        await scene.watch(60)
        scene.happens(deed, on, **given)
        await scene.watch(75)
        assert scene.judge.breaks == []
        await scene.watch(75)
        pattern = rf"bound: {_KS} stands on identity-\d although {reason}"
        said = [each for each in scene.judge.breaks if re.fullmatch(pattern, each)]
        assert bool(said) == calm

    on_stage(play)


def test_a_grant_that_retains_excuses_its_own_credentials_and_no_others() -> None:
    async def play() -> None:
        scene = Scene()
        await scene.serve()
        vault, names = {"url": "https://other-kv.vault.azure.net"}, {"names": ["none"]}
        scene.happens("write_grant", "g1", vault=vault, namespaces=names, identities=[], revocation="Retain")
        scene.happens("delete_claim", "shop", name="g0")
        assert [each.partition(":")[0] for each in _told(scene)] == ["leak"]
        scene.happens("write_grant", "g0", revocation="Retain")
        assert _told(scene) == []

    on_stage(play)


def _told(scene: Scene) -> list[str]:
    return [each.removeprefix("cluster a: ") for each in scene.judge.complaints()]


def test_a_pool_is_exhausted_only_where_no_slot_is_free_whoever_else_has_some() -> None:
    async def play() -> None:
        scene = Scene(clusters=2)
        other = scene.stage.places[1]
        for number, identity in enumerate(scene.stage.identities.values()):
            while len(identity.credentials) < 20:
                name = f"ks-{other.id}-{number}-{len(identity.credentials)}"
                scene.stage.azure.add_credential(identity, name, other.issuer, name)
        await scene.serve()
        assert _of_shop(scene) == []

        del scene.identity(2).credentials[f"ks-{other.id}-2-19"]
        assert _of_shop(scene) == ["claim shop/g0: Ready is False PoolExhausted, should be Ready"]

    on_stage(play)


def test_what_somebody_made_of_a_credential_of_ours_takes_no_slot_that_is_kept_for_others() -> None:
    """The ledger promises it still, and once theirs is gone it is written again: it has the only slot that is left."""

    async def play() -> None:
        scene = Scene()
        scene.happens("write_grant", "g0", identities=["identity-1/19"])
        scene.happens("delete_claim", "till", name="g0")
        await scene.serve()
        ((name, held),) = scene.identity(1).credentials.items()
        scene.identity(1).credentials[name] = replace(held, issuer="https://changed", subject="by-hand")
        scene.happens("make_claim", "till", grant="g0", name="g0")
        await scene.serve(180.0)
        assert scene.judge.complaints() == []

        del scene.identity(1).credentials[name]
        assert all("PoolExhausted, should be Ready" not in each for each in _told(scene))
        scene.happens("write_grant", "g0", identities=["identity-1/18"])
        assert "claim till/g0: Ready is False PoolExhausted, should be Ready" in _told(scene)

    on_stage(play)


def test_our_name_taken_by_something_else_is_an_excuse_only_where_no_other_identity_has_room() -> None:
    async def play() -> None:
        scene = Scene()
        scene.happens("write_grant", "g0", identities=["identity-0"], revocation="Retain")
        await scene.serve()
        scene.happens("change_ours", "identity-0", nth=0)
        await scene.settle()
        scene.happens("delete_claim", "shop", name="g0")
        await scene.serve()
        scene.happens("make_claim", "shop", grant="g0", name="g0")
        await scene.serve()

        assert _of_shop(scene) == []
        scene.happens("write_grant", "g0", identities=["identity-0", "identity-1"])
        assert _of_shop(scene) == ["claim shop/g0: Ready is False TupleTaken, should be Ready"]

    on_stage(play)


def _of_shop(scene: Scene) -> list[str]:
    return [each for each in _told(scene) if each.startswith("claim shop/")]


# At rest ---------------------------------------------------------------------------------------------------------


@wrong(AT_REST, rf"leak: {_KS} stands on identity-\d although its claim is gone")
def a_credential_outlives_its_claim(scene: Scene) -> None:
    scene.happens("delete_claim", "shop", name="g0")


@wrong(AT_REST, r"leak: ks-\w{8}-lost stands on identity-2 although no ledger entry")
def a_credential_that_the_ledger_does_not_know(scene: Scene) -> None:
    name, trust = f"ks-{scene.place.id}-lost", scene.rogue.trust("lost")
    scene.identity(2).credentials[name] = Credential(name, trust["issuer"], trust["subject"], AUDIENCE, 0.0)


@wrong(AT_REST)
def a_credential_of_another_cluster(scene: Scene) -> None:
    name = "ks-00000000-lost"
    scene.identity(2).credentials[name] = Credential(name, "https://other", "s", AUDIENCE, 0.0)


@wrong(AT_REST, f"ledger: {_KS} is still being deleted")
def a_ledger_entry_that_never_goes(scene: Scene) -> None:
    scene.happens("delete_claim", "shop", name="g0")
    scene.happens("delete_entry", "shop")
    credentials, name = _ours(scene)
    del credentials[name]


@wrong(AT_REST, "claim: late is allowed by g0 and has none")
def an_allowed_namespace_without_a_claim(scene: Scene) -> None:
    scene.happens("write_grant", "g0", namespaces={"names": ["shop", "till", "late"]})
    scene.happens("make_namespace", "late")


@wrong(AT_REST, "claim late/mine: Ready is absent , should be Ready")
def a_claim_that_never_settles(scene: Scene) -> None:
    an_allowed_namespace_without_a_claim(scene)
    scene.happens("make_claim", "late", grant="g0", name="mine")


@wrong(AT_REST, "claim none/mine: Ready is absent , should be NotAllowed or RancherProjectDisagrees")
def a_claim_that_nobody_refuses(scene: Scene) -> None:
    scene.happens("make_namespace", "none")
    scene.happens("make_claim", "none", grant="g0", name="mine")


@wrong(AT_REST, "claim none/mine: Ready is absent , should be GrantDeleted or GrantNotFound")
def a_claim_on_a_grant_that_is_not_there(scene: Scene) -> None:
    scene.happens("make_namespace", "none")
    scene.happens("make_claim", "none", grant="absent", name="mine")


@wrong(
    AT_REST,
    "claim shop/g0: Ready is True .+, should be Denied",
    rf"leak: {_KS} stands on identity-\d although it was denied",
)
def a_claim_that_ignores_its_denial(scene: Scene) -> None:
    scene.happens("decide", "shop", grant="g0", decision="Denied", by="ann")


@wrong(AT_REST, "claim shop/g0: says Ready, and is not")
def a_claim_that_is_ready_without_a_credential(scene: Scene) -> None:
    credentials, name = _ours(scene)
    del credentials[name]


@wrong(AT_REST, "claim shop/g0: says Ready, and is not")
def a_claim_that_is_ready_with_the_account_at_another_identity(scene: Scene) -> None:
    account = scene.place.object("serviceaccounts", "keystead", "shop")
    assert account is not None
    another = next(each for each in scene.stage.identities.values() if each.credentials is not _ours(scene)[0])
    _edit(scene, "serviceaccounts", "keystead", "shop", annotations={CLIENT: another.client_id})


@wrong(AT_REST, "annotation: bare/keystead names what does not trust it")
def an_account_that_nothing_trusts(scene: Scene) -> None:
    _bare(scene, {CLIENT: scene.identity().client_id})


@wrong(AT_REST)
def an_account_that_somebody_has_annotated(scene: Scene) -> None:
    _bare(scene, {CLIENT: scene.identity().client_id, "by-hand": "yes"})


def _bare(scene: Scene, notes: dict[str, str]) -> None:
    scene.happens("make_namespace", "bare")
    metadata = {"name": "keystead", "namespace": "bare", "annotations": notes}
    scene.stage.put(scene.place, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})


def _finalizer(kind: str, plural: str, name: str, namespace: str) -> None:
    def deed(scene: Scene) -> None:
        _edit(scene, plural, name, namespace, finalizers=["keystead.dev/revoke"])

    deed.__name__ = f"a_finalizer_of_ours_on_a_{kind}"
    AT_REST.append(Case(deed, (f"finalizers: {kind} {name} carries one of ours",)))


_finalizer("Namespace", "namespaces", "shop", "")
_finalizer("ServiceAccount", "serviceaccounts", "keystead", "shop")
_finalizer("SecretStore", "secretstores", "azure-store", "shop")
_finalizer("VaultClaim", "vaultclaims", "g0", "shop")
_finalizer("VaultGrant", "vaultgrants", "g0", "")


# Growth, at rest -------------------------------------------------------------------------------------------------


def _grant(scene: Scene) -> Object:
    grant = scene.place.object("vaultgrants", "g0")
    assert grant is not None
    return grant


@wrong(AT_REST, "growth: the status of g0 shows other identities", grows=True, foreign=15)
def the_status_shows_what_the_pool_has_lost(scene: Scene) -> None:
    """With as much room as is asked for, so that nothing has to be made in its place."""
    scene.happens("write_grant", "g0", provisioning={"maxIdentities": 2, "headroom": 1})
    growing.made(scene.stage, scene.place, _grant(scene))[0].tags = {}


@wrong(AT_REST, "growth: g0 has 3 free slots, and may have more", grows=True, foreign=15)
def a_pool_that_has_less_room_than_is_asked_for(scene: Scene) -> None:
    made = growing.made(scene.stage, scene.place, _grant(scene))[0]
    while len(made.credentials) < 20:
        name = f"s{len(made.credentials)}"
        scene.stage.azure.add_credential(made, name, "https://other", name)


@wrong(AT_REST, "growth: grown-.+ has no role", grows=True, foreign=15)
def an_identity_that_has_lost_its_role(scene: Scene) -> None:
    made = growing.made(scene.stage, scene.place, _grant(scene))[0]
    for each in list(scene.stage.azure.assignments.values()):
        if each.principal_id == made.principal_id:
            scene.stage.azure.remove_assignment(each)


@wrong(
    AT_REST,
    "growth: grown-.+-009 of g0 is not proven",
    "growth: the status of g0 shows other identities",
    grows=True,
    foreign=15,
)
def an_identity_that_is_never_proven(scene: Scene) -> None:
    tags = {"keystead-cluster": scene.place.id, "keystead-grant": "g0"}
    made = scene.stage.azure.add_identity(f"{growing.stem(scene.place, _grant(scene))}009", tags=tags)
    scene.stage.azure.assign_role(made.principal_id, "Key Vault Secrets User", scene.stage.vaults[0].resource_id)


def test_a_probe_that_never_goes_is_noticed() -> None:
    async def play() -> None:
        scene = Scene(grows=True, foreign=15)
        await _rest(scene)
        entry = scene.rogue.entry("shop", growing.made(scene.stage, scene.place, _grant(scene))[0])
        entry["spec"]["claimName"] = ""
        await scene.rogue.record(entry)
        assert _told(scene) == [f"growth: the probe {entry['metadata']['name']} is still there"]

    on_stage(play)


def test_a_claim_that_stays_on_an_identity_outside_the_pool_is_noticed() -> None:
    async def play() -> None:
        scene = Scene(grows=True)
        scene.happens("write_grant", "g0", identities=[], provisioning={"maxIdentities": 1, "headroom": 5})
        await scene.serve(600)
        scene.happens("write_grant", "g0", identities=["identity-0"])
        assert scene.judge.complaints() == []
        served = next(each for each in scene.place.objects("federations") if each["spec"]["namespace"] == "shop")
        identity = scene.stage.azure.identity(served["spec"]["identityResourceId"])
        assert identity is not None
        identity.tags = {}
        outside = [f"growth: {served['metadata']['name']} is still outside the pool"]
        assert [each for each in _told(scene) if served["metadata"]["name"] in each] == outside

    on_stage(play)
