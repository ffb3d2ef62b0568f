"""``keystead adopt``: what others made is shown as it is, and one annotation of the grant is all that is written."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from cli.test_plan import Somebody
from keystead.cli.adopt import MANAGER, Surveyed, as_json, say, survey_of
from keystead.cli.adopt_table import print_report
from keystead.kube.client import Api
from keystead.kube.permissions import ADMIN, VIEWER
from keystead.model.errors import Refused
from keystead.model.reasons import Reason
from keystead.operator.app import Seams
from keystead.operator.look import Look
from keystead.plan.takeover import State
from keystead_sandbox.faults import Fault
from keystead_sandbox.kube.auth import User
from keystead_sandbox.resources import Identity
from transports import StreamingASGITransport
from world import Trap, World, _config, subject

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]


def person(world: World, name: str, *roles: str) -> Seams:
    """Somebody with these roles in the cluster, and Reader on the identities in Azure."""
    world.users[name] = User(name)
    for role in roles:
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
        bound = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
        kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
        world.put({**kind, "metadata": {"name": f"{name}-{role}"}, "roleRef": reference, "subjects": [bound]})
    reader = world.azure.add_application(f"azure-{name}", secret="unused")
    world.azure.assign_role(reader.object_id, "Reader", next(iter(world.azure.groups.values())).id)
    return world.seams(Trap(), kubernetes=_config(name), credential=Somebody(world, reader))


async def survey(world: World, *namespaces: str, seams: Seams | None = None) -> Surveyed:
    async with Look(world.settings, seams or person(world, "viewer", VIEWER)) as look:
        return await survey_of(look, "team", namespaces)


async def speak(world: World, found: Surveyed, name: str) -> None:
    api = Api(_config(name), transport=StreamingASGITransport(world.cluster))
    try:
        await say(api, found)
    finally:
        await api.close()


def table(found: Surveyed, namespaces: Sequence[str] = (), width: int = 80) -> str:
    printed = io.StringIO()
    print_report(Console(file=printed, width=width, markup=False, highlight=False), "team", found.report, namespaces)
    return printed.getvalue()


def migrating(world: World) -> Identity:
    """Two namespaces that others serve, one that they meant to, and something that is nobody's business."""
    identity = world.identity("one")
    for name in ("shop", "mill", "bill"):
        world.namespace(name, labels={"team": "team"})
    for name in ("shop", "mill"):
        world.azure.add_credential(identity, f"tf-{name}", world.issuer, subject(name))
    world.azure.add_credential(identity, "tf-bill", f"{world.issuer}/", subject("bill"))
    world.azure.add_credential(identity, "pipeline", "https://ci.example.test", "repo:team/app")
    world.grant("team", identity)
    return identity


def word(world: World) -> str | None:
    notes = (world.object("vaultgrants", "team") or {})["metadata"].get("annotations") or {}
    return notes.get("keystead.dev/adopt")


async def test_what_is_there_is_shown_and_nothing_is_written() -> None:
    async with World() as world:
        migrating(world)
        seams = person(world, "viewer", VIEWER)
        before = len(world.journal.entries())

        found = await survey(world, seams=seams)

        asked = world.journal.entries()[before:]
        assert {each.method for each in asked if each.service in ("arm", "kube")} == {"GET"}
        assert found.entries == ("mill/keystead", "shop/keystead")
        assert [line.rstrip() for line in table(found).splitlines()] == (
            "VaultGrant team\n"
            "  Can be taken over\n"
            "    mill, ServiceAccount keystead\n"
            "      - Credential tf-mill on identity one\n"
            "    shop, ServiceAccount keystead\n"
            "      - Credential tf-shop on identity one\n"
            "  Cannot be taken over\n"
            "    bill, ServiceAccount keystead\n"
            "      - Credential tf-bill on identity one: the issuer is not the cluster's to\n"
            "        the letter\n"
            "        issuer\n"
            "          is         https://kubernetes.sandbox/\n"
            "          should be  https://kubernetes.sandbox\n"
            "                                               ^\n"
            "  1 credential is of other issuers, and nobody's business here\n"
        ).splitlines()


async def test_the_word_is_one_annotation_and_the_operator_does_the_rest() -> None:
    async with World() as world:
        identity = migrating(world)
        found = await survey(world, seams=person(world, "boss", VIEWER, ADMIN))
        before = world.object("vaultgrants", "team") or {}

        await speak(world, found, "boss")

        grant = world.object("vaultgrants", "team") or {}
        assert word(world) == "mill/keystead,shop/keystead"
        assert grant["spec"] == before["spec"]
        owned = [each["fieldsV1"] for each in grant["metadata"]["managedFields"] if each["manager"] == MANAGER]
        assert owned == [{"f:metadata": {"f:annotations": {"f:keystead.dev/adopt": {}}}}]
        world.start()
        await world.until(lambda: world.ready("shop", "mill", "bill"))
        assert {"tf-shop", "tf-mill", "tf-bill", "pipeline"} < {each.name for each in identity.credentials.values()}
        again = await survey(world)
        assert again.entries == ()
        assert "Taken over: 2 credentials" in table(again)


async def test_a_word_is_added_to_and_takes_nothing_back() -> None:
    async with World() as world:
        migrating(world)
        seams = person(world, "boss", VIEWER, ADMIN)
        for name in ("shop", "mill"):
            await speak(world, await survey(world, name, seams=seams), "boss")
            seams = person(world, "boss", VIEWER)

        assert word(world) == "shop/keystead,mill/keystead"


async def test_where_git_keeps_the_word_it_is_told_what_to_write_there() -> None:
    async with World() as world:
        migrating(world)
        world.adopt("elsewhere")
        found = await survey(world, seams=person(world, "boss", VIEWER, ADMIN))

        with pytest.raises(Refused) as refusal:
            await speak(world, found, "boss")

        assert 'Write it there: keystead.dev/adopt: "elsewhere,mill/keystead,shop/keystead"' in str(refusal.value)
        assert "admin keeps the annotation" in str(refusal.value)
        assert word(world) == "elsewhere"


async def test_whoever_may_only_read_cannot_say_it_and_hears_which_role_can() -> None:
    async with World() as world:
        migrating(world)
        found = await survey(world, seams=person(world, "viewer", VIEWER))

        with pytest.raises(Refused, match="keystead-admin"):
            await speak(world, found, "viewer")
        assert word(world) is None


async def test_a_grant_that_was_made_anew_since_is_another_one() -> None:
    async with World() as world:
        identity = migrating(world)
        found = await survey(world, seams=person(world, "boss", VIEWER, ADMIN))
        world.delete("vaultgrants", "team")
        world.grant("team", identity)

        with pytest.raises(Exception, match="team"):
            await speak(world, found, "boss")
        assert word(world) is None


async def test_only_the_namespaces_that_were_named_are_shown_and_meant() -> None:
    async with World() as world:
        migrating(world)

        found = await survey(world, "shop", "absent")

        assert found.entries == ("shop/keystead",)
        shown = table(found, ("shop", "absent"))
        assert "tf-mill" not in shown
        assert "absent: nothing there that others made" in shown


async def test_a_grant_that_makes_no_sense_or_is_not_there_takes_nothing_over() -> None:
    async with World() as world:
        migrating(world)
        world.grant("team", vault={"url": "https://nowhere.example.test"})

        with pytest.raises(Refused, match=r"spec\.vault\.url") as refusal:
            await survey(world)
        assert refusal.value.reason is Reason.GRANT_INVALID


async def test_an_identity_that_cannot_be_read_is_told() -> None:
    async with World() as world:
        one, two = migrating(world), world.identity("two")
        world.grant("team", one, two)
        world.azure.faults.add(Fault(service="arm", path="/userassignedidentities/two/", status=403, seconds=600))

        found = await survey(world)

        assert len(found.missing) == 1
        assert "/two: " in found.missing[0]
        assert found.entries == ("mill/keystead", "shop/keystead")


async def test_the_json_has_all_that_the_table_has() -> None:
    async with World() as world:
        migrating(world)
        told: dict[str, Any] = json.loads(json.dumps(as_json(await survey(world), said=False)))

        assert told["possible"] == ["mill/keystead", "shop/keystead"]
        assert told["otherIssuers"] == 1
        bill = next(each for each in told["others"] if each["namespace"] == "bill")
        assert bill["state"] == State.IMPOSSIBLE
        assert bill["differences"] == [
            {"field": "issuer", "given": f"{world.issuer}/", "wanted": world.issuer},
        ]


async def test_names_that_would_steer_a_terminal_are_printed_as_text() -> None:
    async with World() as world:
        identity = world.identity("one")
        world.azure.add_credential(identity, "odd", world.issuer, "\x1b[2Jrepo")
        world.grant("team", identity)

        assert "\x1b" not in table(await survey(world))
