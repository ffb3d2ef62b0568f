"""``keystead plan``: the operator's own plan of a live cluster and Azure, with nothing written and rights to read alone."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from rich.console import Console

from keystead.cli.plan import Planned, plan_of
from keystead.cli.plan_json import as_json
from keystead.cli.plan_table import print_plan
from keystead.kube.permissions import VIEWER
from keystead.model.errors import Refused, Retryable
from keystead.model.reasons import Reason
from keystead.operator.app import Seams
from keystead.operator.look import Look
from keystead.plan.preview import Preview
from keystead.plan.takeover import State
from keystead_sandbox.faults import Fault
from keystead_sandbox.kube.auth import User
from keystead_sandbox.resources import Application, Identity
from world import ISSUER, VAULT, StaticCredential, Trap, World, _config

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]
_SHOP = "system:serviceaccount:shop:keystead"


class Somebody(StaticCredential):
    """Signs in as another application than the operator's."""

    def __init__(self, world: World, application: Application) -> None:
        super().__init__(world)
        self._application = application

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        operator, self._world.application = self._world.application, self._application
        try:
            return await super().get_token(*scopes, **options)
        finally:
            self._world.application = operator


def viewer(world: World) -> Seams:
    """Somebody with the role for viewers in the cluster, and Reader on the identities in Azure."""
    world.users["viewer"] = User("viewer")
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": VIEWER}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "viewer"}
    metadata = {"name": "viewer"}
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": metadata}
    world.put({**binding, "roleRef": reference, "subjects": [subject]})
    reader = world.azure.add_application("reader", secret="unused")
    group = next(iter(world.azure.groups.values()))
    world.azure.assign_role(reader.object_id, "Reader", group.id)
    return world.seams(Trap(), kubernetes=_config("viewer"), credential=Somebody(world, reader))


async def look(world: World, *grants: str, seams: Seams | None = None) -> Planned:
    async with Look(world.settings, seams or viewer(world)) as looking:
        return await plan_of(looking, grants)


def only(planned: Planned) -> Preview:
    (found,) = planned.grants
    return found


def steps(found: Preview) -> dict[str, list[str]]:
    return {unit.name: [type(step).__name__ for step in unit.steps] for unit in found.units}


def table(planned: Planned, width: int) -> str:
    printed = io.StringIO()
    print_plan(Console(file=printed, width=width, markup=False, highlight=False), planned.grants)
    return printed.getvalue()


def fill(world: World, identity: Identity, subjects: Sequence[str], *, issuer: str = ISSUER) -> None:
    for number, subject in enumerate(subjects):
        world.azure.add_credential(identity, f"theirs-{number}", issuer, subject)


async def test_the_way_of_a_new_namespace_is_shown_and_nothing_is_written() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        seams = viewer(world)
        before = world.journal.entries()[-1:]

        planned = await look(world, seams=seams)

        assert steps(only(planned)) == {"shop/team": ["CreateClaim"]}
        assert planned.missing == ()
        asked = world.journal.entries()[len(before) :]
        assert {each.method for each in asked if each.service in ("arm", "kube")} == {"GET"}
        assert not any("watch" in each.path for each in asked)


async def test_the_plan_is_what_the_operator_then_does() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        claim(world, "shop")

        found = only(await look(world))
        (unit,) = found.units
        world.start()
        await world.until(lambda: world.ready("shop"))

        assert [type(step).__name__ for step in unit.steps] == [
            "RecordFederation",
            "WriteCredential",
            "EnsureServiceAccount",
            "Verify",
            "AnnotateServiceAccount",
            "ApplyStore",
            "NudgeExternalSecrets",
        ]
        planned_name = unit.steps[0].federation.name  # type: ignore[union-attr] # the step that was just named
        assert [each["metadata"]["name"] for each in world.objects("federations")] == [planned_name]


async def test_nothing_to_do_is_said_once_everything_stands() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready("shop"))
        await world.settled()

        planned = await look(world)

        assert steps(only(planned)) == {}
        assert only(planned).waiting == ()
        assert table(planned, 80).rstrip().endswith("Nothing to do.")


async def test_a_mass_revocation_is_shown_as_held_back_with_its_reason() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        for number in range(8):
            world.namespace(f"n{number}", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.ready(*(f"n{number}" for number in range(8))))
        await world.stop()
        for number in range(8):
            world.namespace(f"n{number}", labels={"team": "other"})

        planned = await look(world)

        assert only(planned).steps == 0
        assert {held.reason for unit in only(planned).units for held in unit.held} == {Reason.AWAITING_CONFIRMATION}
        assert "keystead.dev/confirm-revocations" in table(planned, 120)
        assert "0 steps to take, 32 held back. Nothing was written." in table(planned, 120)


async def test_who_waits_and_why_is_shown() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), approval="Required")
        world.namespace("shop", labels={"team": "team"})
        world.start()
        await world.until(lambda: world.claim("shop")[1] == "AwaitingReview")

        (waiting,) = only(await look(world)).waiting

        assert (waiting.claim, waiting.reason) == ("shop/team", Reason.AWAITING_REVIEW)


async def test_a_claim_on_no_grant_waits_for_one() -> None:
    async with World() as world:
        world.namespace("shop")
        claim(world, "shop")

        found = only(await look(world))

        assert (found.grant, found.exists) == ("team", False)
        assert [each.reason for each in found.waiting] == [Reason.GRANT_NOT_FOUND]


async def test_an_orphan_is_shown_although_it_was_seen_once() -> None:
    async with World() as world:
        one = world.identity("one")
        world.grant("team", one, claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        claim(world, "shop")
        world.start()
        await world.until(lambda: world.ready("shop"))
        await world.stop()
        (entry,) = world.objects("federations")
        world.delete("vaultclaims", "team", "shop")
        world.delete("namespaces", "shop")
        entry["metadata"]["finalizers"] = []
        world.delete("federations", entry["metadata"]["name"])

        found = only(await look(world))

        assert list(steps(found).values()) == [["SweepCredential"]]
        assert found.units[0].about == "orphan on one"


async def test_credentials_of_others_are_sorted_into_adoptable_and_foreign() -> None:
    async with World() as world:
        one = world.identity("one")
        world.grant("team", one, claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        world.namespace("store", labels={"team": "team"})
        world.namespace("elsewhere")
        claim(world, "shop")
        fill(
            world,
            one,
            [
                _SHOP,
                "system:serviceaccount:store:keystead",
                "system:serviceaccount:elsewhere:keystead",
                "system:serviceaccount:shop:default",
                "system:serviceaccount:gone:keystead",
                "repo:somebody/else:ref:refs/heads/main",
            ],
        )
        world.azure.add_credential(one, "other-cluster", "https://other.test", "system:serviceaccount:shop:keystead")

        planned = await look(world)
        found = only(planned)

        assert {(row.name, row.namespace) for row in found.others if row.state is State.POSSIBLE} == {
            ("theirs-0", "shop")
        }
        (count,) = found.counts
        assert (count.ours, count.adoptable, count.foreign) == (0, 1, 6)
        assert [each.reason for each in found.waiting] == [Reason.TUPLE_TAKEN]
        printed = " ".join(table(planned, 80).split())
        assert "Credential theirs-0 on identity one" in printed
        assert "can be taken over keystead adopt team shop" in printed
        assert "theirs-1 on identity one for ServiceAccount store/keystead, cannot be taken over" in printed


async def test_a_grant_that_is_not_there_is_named_with_those_that_are() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))

        with pytest.raises(Refused, match="no VaultGrant sales; there are: team"):
            await look(world, "sales")


async def test_only_the_grants_that_were_named_are_looked_at() -> None:
    async with World() as world:
        one, two = world.identity("one"), world.identity("two")
        world.grant("team", one)
        world.grant("sales", two)

        planned = await look(world, "sales")

        assert [each.grant for each in planned.grants] == ["sales"]
        assert [each.path for each in world.entries("arm", "GET", "/one")] == []


async def test_an_identity_that_does_not_exist_is_a_fact_of_the_plan() -> None:
    async with World() as world:
        one = world.identity("one")
        world.grant("team", one)
        world.azure.identities.clear()

        planned = await look(world)

        assert planned.missing == ()
        assert [each.reason for each in only(planned).troubles] == [Reason.IDENTITY_NOT_FOUND]


async def test_what_may_not_be_read_in_azure_is_never_taken_for_empty() -> None:
    async with World() as world:
        one, two = world.identity("one"), world.identity("two")
        world.grant("team", one, two)
        world.azure.faults.add(Fault(service="arm", path="/two/", status=403, code="AuthorizationFailed"))

        planned = await look(world)

        (missing,) = planned.missing
        assert "/two: " in missing
        assert "The role Reader on it is enough." in missing
        assert as_json(planned.cluster, planned.grants, planned.missing)["complete"] is False


async def test_roles_on_the_vault_that_may_not_be_read_are_told() -> None:
    async with World() as world:
        vault = {"url": VAULT, "resourceId": world.vault.resource_id}
        world.grant("team", world.identity("one"), vault=vault)
        world.azure.faults.add(Fault(service="arm", path="roleAssignments", status=403, code="AuthorizationFailed"))

        (missing,) = (await look(world)).missing

        assert missing.startswith("the roles on the vault of grant team: ")


async def test_an_object_that_cannot_be_understood_is_named_and_the_plan_is_not_the_whole() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"), claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        claim(world, "shop")
        world.start()
        await world.until(lambda: world.ready("shop"))
        await world.stop()
        (entry,) = world.objects("federations")
        entry["spec"]["identityResourceId"] = "nonsense"

        planned = await look(world)

        (missing,) = planned.missing
        assert entry["metadata"]["name"] in missing


async def test_azure_that_answers_nothing_at_all_is_an_error() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.azure.faults.add(Fault(service="arm", status=503))

        with pytest.raises(Retryable) as raised:
            await look(world)

        assert raised.value.reason is Reason.AZURE_UNAVAILABLE


async def test_azure_that_fails_once_is_asked_again() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.azure.faults.add(Fault(service="arm", status=503, times=1))

        planned = await look(world)

        assert planned.missing == ()
        assert [each.reason for each in only(planned).troubles] == []


async def test_a_sign_in_that_fails_is_told_with_what_to_do() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.azure.faults.add(Fault(service="arm", status=401, code="ExpiredAuthenticationToken"))

        with pytest.raises(Refused, match="az login") as raised:
            await look(world)

        assert raised.value.reason is Reason.AZURE_SIGN_IN_FAILED


async def test_somebody_without_rights_in_the_cluster_is_told_which_role_has_them() -> None:
    async with World() as world:
        world.users["nobody"] = User("nobody")
        seams = world.seams(Trap(), kubernetes=_config("nobody"))

        with pytest.raises(Refused, match=VIEWER):
            await look(world, seams=seams)


async def test_a_cluster_without_our_kinds_is_told_how_to_get_them() -> None:
    async with World() as world:
        seams = viewer(world)
        for kind in ("vaultgrants", "vaultclaims", "vaultapprovals", "federations"):
            world.delete("customresourcedefinitions", f"{kind}.keystead.dev")

        with pytest.raises(Refused, match="keystead crds"):
            await look(world, seams=seams)


async def test_a_cluster_without_external_secrets_operator_is_looked_at_all_the_same() -> None:
    async with World() as world:
        world.grant("team", world.identity("one"))
        world.namespace("shop", labels={"team": "team"})
        world.delete("customresourcedefinitions", "secretstores.external-secrets.io")

        assert steps(only(await look(world))) == {"shop/team": ["CreateClaim"]}


@pytest.mark.parametrize("width", [80, 120])
async def test_the_table_keeps_within_the_terminal_and_loses_nothing(width: int) -> None:
    async with World() as world:
        one = world.identity("payments-production-westeurope-identity-1")
        world.grant("team", one, claims="OnRequest")
        name = "a-namespace-with-a-name-of-the-most-letters-that-kubernetes-has"
        assert len(name) == 63
        world.namespace(name, labels={"team": "team"})
        claim(world, name)
        fill(world, one, ["somebody"])

        planned = await look(world)
        printed = table(planned, width)

        assert max(len(line) for line in printed.splitlines()) <= width
        texts = printed.partition("  Steps\n")[2].splitlines()
        assert [line for line in texts if line != line.rstrip()] == []
        squeezed = "".join(printed.split())
        assert f"{name}/team" in squeezed
        assert only(planned).units[0].steps[0].federation.name in squeezed  # type: ignore[union-attr] # a record


async def test_the_json_is_json_and_says_the_same() -> None:
    async with World() as world:
        one = world.identity("one")
        world.grant("team", one, claims="OnRequest")
        world.namespace("shop", labels={"team": "team"})
        claim(world, "shop")

        planned = await look(world)
        told = json.loads(json.dumps(as_json(planned.cluster, planned.grants, planned.missing)))

        (grant,) = told["grants"]
        (unit,) = grant["units"]
        record, write = unit["steps"][:2]
        assert (told["steps"], told["held"], told["complete"]) == (7, 0, True)
        assert record["credential"] == {
            "name": record["federation"],
            "issuer": ISSUER,
            "subject": _SHOP,
            "audience": "api://AzureADTokenExchange",
        }
        assert (write["step"], write["identity"]) == ("WriteCredential", one.resource_id)
        assert grant["identities"][0] == {
            "resourceId": one.resource_id,
            "ours": 0,
            "leftBehind": 0,
            "adoptable": 0,
            "foreign": 0,
            "reserved": 0,
            "room": 20,
            "error": "",
        }


def claim(world: World, namespace: str, *, grant: str = "team") -> None:
    """A claim that a tenant has made."""
    body = {"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultClaim", "spec": {"grantName": grant}}
    world.put({**body, "metadata": {"name": grant, "namespace": namespace}})
