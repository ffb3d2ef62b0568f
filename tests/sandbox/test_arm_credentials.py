"""Federated credentials at Resource Manager: what is refused, in which order, and what each write costs."""

import asyncio
from typing import Any

import pytest

from sandbox import arm_fixtures
from sandbox.arm_fixtures import AUDIENCE, ISSUER, Arm, body_of, code_of, rested

arm = arm_fixtures.arm
pytestmark = pytest.mark.looptime
CONCURRENT = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"


async def test_a_created_credential_is_answered_as_azure_does(arm: Arm) -> None:
    answer = await arm.put("fic1")

    expected = f"{arm.identity.resource_id}/federatedIdentityCredentials/fic1"
    assert answer.status_code == 201
    assert answer.headers["location"] == expected
    assert "/resourcegroups/" in expected
    assert answer.json() == {
        "id": expected,
        "name": "fic1",
        "type": "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials",
        "properties": {"issuer": ISSUER, "subject": "system:serviceaccount:shop:fic1", "audiences": [AUDIENCE]},
    }


@pytest.mark.parametrize("subject", ["system:serviceaccount:shop:fic1", "changed"], ids=["identical", "changed"])
async def test_writing_the_same_name_again_is_200_without_a_location(arm: Arm, subject: str) -> None:
    await arm.put("fic1")
    await rested()

    answer = await arm.put("FIC1", body_of(subject))

    assert answer.status_code == 200
    assert "location" not in answer.headers
    assert answer.json()["name"] == "fic1"
    assert len(arm.identity.credentials) == 1
    assert arm.identity.credentials["fic1"].subject == subject


async def test_only_a_changed_credential_propagates_anew(arm: Arm) -> None:
    await arm.put("fic1")
    written = arm.identity.credentials["fic1"].written_at
    await rested()

    await arm.put("fic1")
    same = arm.identity.credentials["fic1"].written_at
    await rested()
    await arm.put("fic1", body_of("changed"))

    assert same == written
    assert arm.identity.credentials["fic1"].written_at > written
    assert [old.subject for old, _ in arm.identity.deleted] == ["system:serviceaccount:shop:fic1"]


BODIES: dict[str, tuple[Any, str]] = {
    "no object": ([], "InvalidRequestContent"),
    "no properties": ({}, "BadRequest"),
    "empty properties": ({"properties": {}}, "BadRequest"),
    "no issuer": (body_of(issuer=None), "BadRequest"),
    "an empty subject": (body_of(subject=""), "BadRequest"),
    "no audiences": (body_of(audiences=None), "BadRequest"),
    "no audience in the list": (body_of(audiences=[]), "BadRequest"),
    "two audiences": (body_of(audiences=[AUDIENCE, "other"]), "BadRequest"),
    "an audience that is no list": (body_of(audiences=AUDIENCE), "BadRequest"),
    "a subject that is no text": (body_of(subject=7), "BadRequest"),
    "an issuer of 601 characters": (body_of(issuer="i" * 601), "BadRequest"),
    "a subject of 601 characters": (body_of(subject="s" * 601), "BadRequest"),
    "an audience of 601 characters": (body_of(audiences=["a" * 601]), "BadRequest"),
}


@pytest.mark.parametrize("case", BODIES)
async def test_a_body_that_makes_no_sense_is_refused(arm: Arm, case: str) -> None:
    body, code = BODIES[case]

    assert code_of(await arm.put("fic1", body)) == (400, code)
    assert not arm.identity.credentials


async def test_a_body_that_is_no_json_is_refused(arm: Arm) -> None:
    answer = await arm.client.put(f"{arm.url('fic1')}?api-version=2024-11-30", content=b"{", headers=arm.bearer())

    assert code_of(answer) == (400, "InvalidRequestContent")


@pytest.mark.parametrize("length", [599, 600])
async def test_600_characters_are_allowed(arm: Arm, length: int) -> None:
    assert (await arm.put("fic1", body_of("s" * length))).status_code == 201


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("abc", 201),
        ("9-_", 201),
        ("a" * 120, 201),
        ("ab", 400),
        ("a" * 121, 400),
        ("-abc", 400),
        ("_abc", 400),
        ("a.bc", 400),
        ("a%20bc", 400),
        ("abc%0A", 400),
    ],
)
async def test_names_follow_the_documented_pattern(arm: Arm, name: str, status: int) -> None:
    assert (await arm.put(name, body_of())).status_code == status


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("2022-01-31-preview", 201),
        ("2023-01-31", 201),
        ("2024-11-30", 201),
        ("2025-01-31-preview", 201),
        ("2026-05-31", 201),
        ("2018-11-30", 400),
        ("2023-02-30", 400),
        ("", 400),
    ],
)
async def test_only_versions_that_have_credentials_are_served(arm: Arm, version: str, status: int) -> None:
    answer = await arm.ask("PUT", arm.url("fic1"), version=version, body=body_of())

    assert answer.status_code == status


async def test_a_missing_version_is_named(arm: Arm) -> None:
    assert code_of(await arm.ask("GET", arm.url(), version=None)) == (400, "MissingApiVersionParameter")


async def test_paths_match_in_any_case_and_ids_are_answered_in_one(arm: Arm) -> None:
    arm.stand("Fic1")

    answer = await arm.ask("GET", arm.url("FIC1").upper().replace(arm.subscription.id.upper(), arm.subscription.id))

    assert answer.json()["id"] == arm.url("Fic1")


async def test_the_21st_credential_is_refused(arm: Arm) -> None:
    arm.stand(*(f"fic{number}" for number in range(20)))

    refused = await arm.put("one-more")
    await rested()
    rewritten = await arm.put("fic7")

    assert code_of(refused) == (400, "BadRequest")
    assert refused.json()["error"]["message"].startswith("Too many Federated Identity Credentials")
    assert rewritten.status_code == 200
    assert len(arm.identity.credentials) == 20


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (409, "Conflict")),
        ({"audiences": ["api://other"]}, (409, "Conflict")),
        ({"issuer": ISSUER.rstrip("/")}, (201, "")),
        ({"subject": "SYSTEM:serviceaccount:shop:fic1"}, (201, "")),
    ],
    ids=["the same", "another audience", "an issuer without its slash", "a subject in another case"],
)
async def test_issuer_and_subject_stand_once_on_an_identity(
    arm: Arm, changed: dict[str, Any], expected: tuple[int, str]
) -> None:
    arm.stand("fic1")

    answer = await arm.put("fic2", body_of(**{"subject": "system:serviceaccount:shop:fic1", **changed}))

    assert code_of(answer) == expected


async def test_the_same_trust_may_stand_on_another_identity(arm: Arm) -> None:
    arm.stand("fic1")
    other = arm.world.add_identity("other")

    assert (await arm.put("fic1", identity=other)).status_code == 201


async def test_a_write_holds_its_identity_and_an_overlapping_one_is_refused(arm: Arm) -> None:
    first = asyncio.create_task(arm.put("fic1"))
    await asyncio.sleep(1.2)

    overlapping = await arm.put("fic2")
    began = arm.clock.now()
    await first

    assert code_of(overlapping) == (409, CONCURRENT)
    assert f"'{arm.identity.resource_id.lower()}'" in overlapping.json()["error"]["message"]
    assert arm.clock.now() - began == pytest.approx(0.1)
    assert first.result().status_code == 201


@pytest.mark.parametrize("held_by", ["PUT", "DELETE"])
@pytest.mark.parametrize("other", ["PUT", "DELETE"])
async def test_creates_and_deletes_hold_alike(arm: Arm, held_by: str, other: str) -> None:
    arm.stand("fic1", "fic2")
    bodies = {"PUT": body_of("new"), "DELETE": None}

    first = asyncio.create_task(arm.ask(held_by, arm.url("fic1"), body=bodies[held_by]))
    await asyncio.sleep(0.1)
    second = await arm.ask(other, arm.url("fic2"), body=bodies[other])

    assert code_of(second) == (409, CONCURRENT)
    assert (await first).status_code == 200


async def test_an_overlapping_write_costs_no_token(arm: Arm) -> None:
    first = asyncio.create_task(arm.put("fic1"))
    await asyncio.sleep(0.1)
    for _ in range(5):
        assert code_of(await arm.put("fic2")) == (409, CONCURRENT)
    await first

    assert (await arm.put("fic2")).status_code == 201


async def test_identities_do_not_hold_one_another(arm: Arm) -> None:
    other = arm.world.add_identity("other")

    answers = await asyncio.gather(arm.put("fic1"), arm.put("fic1", identity=other))

    assert [answer.status_code for answer in answers] == [201, 201]


async def test_the_third_write_in_a_row_is_throttled_and_told_for_how_long(arm: Arm) -> None:
    await arm.put("fic1")
    await arm.put("fic2")

    refused = await arm.put("fic3")
    await asyncio.sleep(int(refused.headers["retry-after"]))
    again = await arm.put("fic3")

    assert code_of(refused) == (429, "TooManyRequests")
    assert refused.headers["retry-after"] == "2"  # 2.6 s of refill gave 0.65 of a token; 0.35 / 0.25 is 1.4 s
    assert again.status_code == 201


async def test_one_write_in_four_seconds_is_never_throttled(arm: Arm) -> None:
    statuses = []
    for number in range(20):
        began = arm.clock.now()
        statuses.append((await arm.put(f"fic{number}")).status_code)
        await asyncio.sleep(4 - (arm.clock.now() - began))

    assert statuses == [201] * 20


async def test_a_refused_body_costs_no_token_but_a_refused_place_does(arm: Arm) -> None:
    arm.stand("fic0")
    for _ in range(5):
        assert code_of(await arm.put("fic1", {})) == (400, "BadRequest")
    taken = body_of("system:serviceaccount:shop:fic0")

    codes = [code_of(await arm.put("fic1", taken)) for _ in range(3)]

    assert codes == [(409, "Conflict"), (409, "Conflict"), (429, "TooManyRequests")]


async def test_deletes_draw_from_buckets_of_their_own(arm: Arm) -> None:
    arm.stand("fic1", "fic2", "fic3")

    written = [(await arm.put(f"new{number}")).status_code for number in range(2)]
    deleted = [(await arm.ask("DELETE", arm.url(f"fic{number}"))).status_code for number in (1, 2, 3)]

    assert (written, deleted) == ([201, 201], [200, 200, 429])


async def test_with_the_defaults_a_hasty_writer_meets_both_the_conflict_and_the_throttle(arm: Arm) -> None:
    seen = []
    for number in range(4):  # 0.9 seconds apart, as somebody who does not wait long enough
        seen.append(asyncio.create_task(arm.put(f"fic{number}")))
        await asyncio.sleep(0.9)

    assert [code_of(answer) for answer in await asyncio.gather(*seen)] == [
        (201, ""),
        (409, CONCURRENT),
        (201, ""),
        (409, CONCURRENT),
    ]
    assert code_of(await arm.put("fic4")) == (429, "TooManyRequests")


async def test_a_subscription_takes_two_writes_a_second_after_its_burst(arm: Arm) -> None:
    identities = [arm.world.add_identity(f"pool{number}") for number in range(6)]

    answers = await asyncio.gather(*(arm.put("fic1", identity=each) for each in identities))

    assert [answer.status_code for answer in answers] == [201] * 4 + [429] * 2
    assert {answer.headers.get("retry-after") for answer in answers[4:]} == {"1"}


async def test_a_tenant_takes_ten_writes_a_second_after_its_burst(arm: Arm) -> None:
    identities = []
    for _ in range(6):
        subscription = arm.world.add_subscription()
        arm.world.assign_role(arm.owner.object_id, "Owner", f"/subscriptions/{subscription.id}")
        identities += [arm.world.add_identity(f"pool{number}", subscription_id=subscription.id) for number in range(4)]

    answers = await asyncio.gather(*(arm.put("fic1", identity=each) for each in identities))

    assert [answer.status_code for answer in answers].count(201) == 20


@pytest.mark.parametrize(("path", "allowed"), [("", 2), ("fic1", 4)], ids=["list", "get"])
async def test_reads_have_buckets_of_their_own(arm: Arm, path: str, allowed: int) -> None:
    arm.stand("fic1")

    statuses = [(await arm.ask("GET", arm.url(path))).status_code for _ in range(allowed + 1)]

    assert statuses == [200] * allowed + [429]
    assert (await arm.put("fic2")).status_code == 201


async def test_delete_is_200_and_then_204(arm: Arm) -> None:
    arm.stand("fic1")

    first = await arm.ask("DELETE", arm.url("FIC1"))
    second = await arm.ask("DELETE", arm.url("fic1"))

    assert (first.status_code, first.content, second.status_code) == (200, b"", 204)
    assert [old.name for old, _ in arm.identity.deleted] == ["fic1"]


async def test_a_list_has_pages_and_both_spellings_of_the_token(arm: Arm) -> None:
    arm.stand(*(f"fic{number}" for number in range(5)))

    first = (await arm.ask("GET", f"{arm.url()}?$top=2")).json()
    second = (await arm.ask("GET", first["nextLink"], version=None)).json()
    await rested()
    other = second["nextLink"].replace("$skiptoken=X%274%27", "$skipToken=X'4'")  # as the asynchronous client sends it
    last = (await arm.ask("GET", other, version=None)).json()

    assert [each["name"] for page in (first, second, last) for each in page["value"]] == [f"fic{n}" for n in range(5)]
    assert "nextLink" not in last
    assert other != second["nextLink"]


@pytest.mark.parametrize("query", ["$top=0", "$top=x", "$top=1001", "$skiptoken=-1", "$skiptoken=x"])
async def test_a_page_that_makes_no_sense_is_refused(arm: Arm, query: str) -> None:
    assert code_of(await arm.ask("GET", f"{arm.url()}?{query}")) == (400, "BadRequest")


async def test_an_empty_list_is_an_empty_value(arm: Arm) -> None:
    assert (await arm.ask("GET", arm.url())).json() == {"value": []}


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "{writer}/federatedIdentityCredentials/gone", (404, "NotFound")),
        ("GET", "{group}/gone/federatedIdentityCredentials", (404, "ParentResourceNotFound")),
        ("PUT", "{group}/gone/federatedIdentityCredentials/fic1", (404, "ParentResourceNotFound")),
        ("DELETE", "{group}/gone/federatedIdentityCredentials/fic1", (404, "ParentResourceNotFound")),
        ("PUT", "{nowhere}/gone/federatedIdentityCredentials/fic1", (404, "ResourceGroupNotFound")),
        ("POST", "{writer}/federatedIdentityCredentials/fic1", (405, "MethodNotAllowed")),
    ],
)
async def test_what_is_not_there_is_named(arm: Arm, method: str, path: str, expected: tuple[int, str]) -> None:
    writer = arm.identity.resource_id
    group = writer.rpartition("/")[0]
    wanted = path.format(writer=writer, group=group, nowhere=group.replace("/identities/", "/nowhere/"))

    assert code_of(await arm.ask(method, wanted, body=body_of())) == expected


async def test_some_regions_have_no_credentials(arm: Arm) -> None:
    far = arm.world.add_identity("far", location="malaysiasouth")

    assert code_of(await arm.put("fic1", identity=far)) == (405, "MethodNotAllowed")


async def test_a_write_that_began_is_carried_out_when_its_client_goes_away(arm: Arm) -> None:
    writing = asyncio.create_task(arm.put("fic1"))
    await asyncio.sleep(0.5)
    writing.cancel()
    await asyncio.sleep(0.1)
    overlapping = await arm.put("fic2")
    await asyncio.sleep(1)

    assert code_of(overlapping) == (409, CONCURRENT)
    assert list(arm.identity.credentials) == ["fic1"]
    assert [entry.status for entry in arm.entries()] == [0, 409]


async def test_authorisation_comes_before_everything(arm: Arm) -> None:
    stranger = arm.world.add_application("stranger", secret="unused")
    writing = asyncio.create_task(arm.put("fic1"))
    await asyncio.sleep(0.1)

    answer = await arm.ask("PUT", arm.url("fic2"), who=stranger, body={})

    assert code_of(answer) == (403, "AuthorizationFailed")
    assert "federatedIdentityCredentials/write" in answer.json()["error"]["message"]
    await writing


async def test_the_body_is_judged_before_the_hold(arm: Arm) -> None:
    writing = asyncio.create_task(arm.put("fic1"))
    await asyncio.sleep(0.1)

    assert code_of(await arm.put("fic2", {})) == (400, "BadRequest")
    await writing


async def test_the_journal_tells_who_wrote_what_and_how_long_it_took(arm: Arm) -> None:
    await arm.put("fic1")

    (entry,) = arm.entries()
    assert (entry.method, entry.status, entry.caller) == ("PUT", 201, arm.owner.client_id)
    assert entry.seconds == pytest.approx(1.3)
    assert entry.detail == {
        "identity": "writer",
        "credential": "fic1",
        "issuer": ISSUER,
        "subject": "system:serviceaccount:shop:fic1",
    }
