"""Living with External Secrets Operator: its versions, its rights, and what people have written for it."""

import copy
from typing import Any

import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from keystead.kube.rbac import manifests
from world import VAULT, Trap, World, custom_resources

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]
ESO_USER = "system:serviceaccount:external-secrets:external-secrets"


def _store(api_version: str = "external-secrets.io/v1", name: str = "azure-store", **azure: Any) -> dict[str, Any]:
    provider = {"authType": "WorkloadIdentity", "vaultUrl": VAULT, "serviceAccountRef": {"name": "keystead"}, **azure}
    return {
        "apiVersion": api_version,
        "kind": "SecretStore",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"provider": {"azurekv": provider}},
    }


def _says(world: World, *, ready: bool) -> None:
    """What External Secrets Operator says of the store."""
    condition = {"type": "Ready", "status": str(ready), "reason": "Valid" if ready else "InvalidProviderConfig"}
    found = world.object("secretstores", "azure-store", "shop")
    assert found is not None
    kind = world._kind(found["apiVersion"], "SecretStore")
    given = {
        "apiVersion": found["apiVersion"],
        "kind": "SecretStore",
        "metadata": {"name": "azure-store"},
        "status": {"conditions": [condition]},
    }
    world.cluster.rest.apply(
        kind,
        "shop",
        "azure-store",
        given,
        manager="external-secrets",
        force=True,
        sub="status",
        dry=False,
        warnings=[],
    )


async def _served(world: World, **template: Any) -> None:
    world.grant("team", world.identity("one"), template=template)
    world.namespace("shop", labels={"team": "team"})
    world.start()
    await world.until(lambda: world.ready("shop"))


def _serve(world: World, *versions: str) -> None:
    """External Secrets Operator's kinds in these versions alone."""
    for item in custom_resources():
        if item["spec"]["group"] != "external-secrets.io":
            continue
        changed = copy.deepcopy(item)
        (newest,) = [each for each in changed["spec"]["versions"] if each["name"] == "v1"]
        changed["spec"]["versions"] = [
            {**copy.deepcopy(newest), "name": name, "storage": number == 0} for number, name in enumerate(versions)
        ]
        world.put(changed)


@pytest.mark.parametrize(
    ("served", "used"), [(["v1"], "v1"), (["v1", "v1beta1"], "v1"), (["v1beta1"], "v1beta1")], ids=str
)
async def test_stores_are_written_in_the_version_that_is_served(served: list[str], used: str) -> None:
    async with World() as world:
        _serve(world, *served)
        await _served(world)

        applied = world.entries("kube", "PATCH", "/secretstores/azure-store")
        assert {each.path.split("/")[3] for each in applied} == {used}
        stores = world.objects("secretstores", "shop")
        assert [each["spec"]["provider"]["azurekv"]["vaultUrl"] for each in stores] == [VAULT]


async def test_an_eso_that_is_upgraded_is_followed() -> None:
    async with World() as world:
        _serve(world, "v1beta1")
        await _served(world)

        _serve(world, "v1")
        await world.pass_time(600)  # until the watch of the old version has ended: the server ends it in its time
        world.delete("secretstores", "azure-store", "shop")

        await world.until(lambda: world.object("secretstores", "azure-store", "shop") is not None)
        assert world.entries("kube", "PATCH", "/secretstores/azure-store")[-1].path.split("/")[3] == "v1"


async def test_an_eso_that_may_not_mint_tokens_is_named_and_heals() -> None:
    async with World() as world:
        await _served(world)

        _says(world, ready=False)
        await world.until(lambda: world.claim("shop", "StoreReady")[1] == "TokensForbidden")
        assert "serviceaccounts/token" in world.claim("shop", "StoreReady")[2]

        _bind(world)
        await world.until(lambda: world.claim("shop", "StoreReady")[1] == "StoreNotReady", seconds=3600)
        _says(world, ready=True)
        await world.until(lambda: world.ready("shop"))
        await world.pass_time(30)
        before = len(world.writes())
        await world.pass_time(700)
        assert len(world.writes()) == before


def _bind(world: World) -> None:
    group = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}
    world.put(
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": "eso"}, "rules": [rule]},
    )
    world.put(
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "eso"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "eso"},
            "subjects": [{"kind": "ServiceAccount", "name": "external-secrets", "namespace": "external-secrets"}],
        }
    )


async def test_a_token_role_lets_eso_mint_for_this_account_and_goes_with_the_claim() -> None:
    async with World() as world:
        for item in manifests(token_roles=True):
            world.put(item)
        await _served(world, tokenRole=True)

        (role,) = world.objects("roles", "shop")
        (binding,) = world.objects("rolebindings", "shop")
        assert role["rules"] == [
            {
                "apiGroups": [""],
                "resources": ["serviceaccounts/token"],
                "resourceNames": ["keystead"],
                "verbs": ["create"],
            }
        ]
        assert [(each["namespace"], each["name"]) for each in binding["subjects"]] == [
            ("external-secrets", "external-secrets")
        ]
        _says(world, ready=False)
        await world.until(lambda: world.claim("shop", "StoreReady")[1] == "StoreNotReady")

        world.delete("vaultclaims", "team", "shop")
        await world.until(lambda: world.objects("roles", "shop") == world.objects("rolebindings", "shop") == [])


class Lagging(Trap):
    """Knows no role at the first binding, as an API server whose cache of roles is behind."""

    answered = False

    async def __call__(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        if "/rolebindings/" not in scope["path"] or self.answered:
            return await super().__call__(app, scope, receive, send)
        self.answered = True
        body = {"kind": "Status", "reason": "NotFound", "message": 'roles "keystead-token-keystead" not found'}
        return await JSONResponse(body, 404)(scope, receive, send)


async def test_a_role_that_the_api_server_does_not_see_yet_is_bound_in_a_moment() -> None:
    async with World() as world:
        for item in manifests(token_roles=True):
            world.put(item)
        world.grant("team", world.identity("one"), template={"tokenRole": True})
        world.namespace("shop", labels={"team": "team"})
        trap = Lagging()
        world.start(trap=trap)

        await world.until(lambda: trap.answered)
        await world.until(lambda: world.ready("shop"), seconds=5)


async def _without_the_right_to_make_roles(seen: list[str]) -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), template={"tokenRole": True})
        world.namespace("shop", labels={"team": "team"})
        world.start()

        await world.until(lambda: world.claim("shop", "StoreReady")[1] == "KubernetesForbidden")
        seen.append("told")
        for item in manifests(token_roles=True):
            world.put(item)
        await world.until(lambda: world.ready("shop"), seconds=3600)
        seen.append("healed")


async def test_without_the_right_to_make_roles_the_claim_says_so_and_heals_with_it() -> None:
    seen: list[str] = []

    # Every world looks whether a role lacked a rule; in this one, that is the point.
    with pytest.raises(AssertionError, match="roles lack a rule"):
        await _without_the_right_to_make_roles(seen)

    assert seen == ["told", "healed"]


async def test_traps_in_what_people_have_written_are_named() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.put(_store(tenantId="5f1c1b7e-0d5b-4c67-9a35-6f3a3f0c0a11"), manager="helm")
        world.start()
        await world.until(lambda: world.claim("shop")[1] == "TenantTwice")

        world.put(_store(useAzureSDK=True), manager="helm")
        await world.until(lambda: world.ready("shop"))
        _says(world, ready=True)
        await world.until(lambda: world.claim("shop", "StoreReady")[1] == "StoreUntested")

        world.put(_store(), manager="helm")
        world.put(_store(name="second"), manager="helm")
        await world.until(lambda: world.claim("shop", "StoreReady")[1] == "StoresShareAccount")
        await world.pass_time(60)
        before = len(world.writes())
        await world.pass_time(300)
        assert len(world.writes()) == before


async def test_a_manifest_of_an_older_version_is_named_with_who_wrote_it() -> None:
    async with World() as world:
        _serve(world, "v1", "v1beta1")
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.put(_store("external-secrets.io/v1beta1"), manager="argocd")
        world.start()
        await world.until(lambda: world.ready("shop"))

        _says(world, ready=True)

        await world.until(lambda: world.claim("shop", "StoreReady")[1] == "StoreManifestOutdated")
        assert "argocd" in world.claim("shop", "StoreReady")[2]


async def test_an_edit_of_the_template_reaches_stores_that_stand_and_leaves_what_people_changed() -> None:
    async with World() as world:
        await _served(world, labels={"tier": "gold", "old": "yes"})

        identity = next(iter(world.azure.identities.values()))
        world.grant(
            "team",
            identity,
            template={"labels": {"tier": "tin"}, "annotations": {"note": "x"}, "storeRefreshInterval": 3600},
        )
        await world.until(lambda: _dress(world) == ({"tier": "tin"}, "x", 3600))

        world.put({**_store(), "metadata": {"name": "azure-store", "namespace": "shop", "labels": {"tier": "lead"}}})
        await world.pass_time(300)
        assert _dress(world) == ({"tier": "lead"}, "x", 3600)
        assert world.ready("shop")


def _dress(world: World) -> tuple[dict[str, str], str, Any]:
    store = world.object("secretstores", "azure-store", "shop") or {}
    metadata = store["metadata"]
    labels = {key: value for key, value in metadata["labels"].items() if key in ("tier", "old")}
    return labels, metadata.get("annotations", {}).get("note", ""), store["spec"].get("refreshInterval")
