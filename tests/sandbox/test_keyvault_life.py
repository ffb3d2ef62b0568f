"""Key Vault: lists while others write, retention, purge protection, snapshots, and vaults from seed files."""

import asyncio
import datetime
import json
from collections.abc import Mapping
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead_sandbox.clock import ScaledClock, VirtualClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.keyvault import material, secrets
from keystead_sandbox.keyvault.routes import keyvault_app
from keystead_sandbox.keyvault.state import Shelf
from keystead_sandbox.resources import AccessPolicy, SecretVersion, Vault
from keystead_sandbox.seeds import BadSeed, plant, read_seed
from keystead_sandbox.traffic import Traffic
from keystead_sandbox.world import World
from sandbox import entra_keyvault_fixtures, keyvault_fixtures
from sandbox.entra_keyvault_fixtures import EPOCH, PLANTED, Cloud
from sandbox.keyvault_fixtures import BASE, CURVE_KEY, ask, certificate, pem_of, plant_certificate, refusal, told

cloud, admin = entra_keyvault_fixtures.cloud, keyvault_fixtures.admin


# Lists -----------------------------------------------------------------------------------------------------------

NAMES = st.text("abcABC-019", min_size=1, max_size=4)


def shelf() -> tuple[World, Vault, Shelf[SecretVersion]]:
    clock = ScaledClock()
    world = World(clock, Journal(clock))
    world.add_tenant()
    world.add_subscription()
    vault = world.add_vault("team-kv")
    return world, vault, secrets.shelf(world, vault)


@given(
    standing=st.sets(NAMES.map(str.lower), max_size=40),
    writes=st.lists(st.tuples(st.booleans(), NAMES), max_size=20),
    size=st.integers(1, 25),
)
def test_pages_show_all_that_stands_once_whatever_is_written_meanwhile(
    standing: set[str], writes: list[tuple[bool, str]], size: int
) -> None:
    world, vault, held = shelf()
    for name in standing:
        world.set_secret(vault, name, "x")
    touched = {name.lower() for _, name in writes}
    seen: list[str] = []
    after = ""

    while True:
        names, after = held.names(after, size)
        assert len(names) <= size
        seen += names
        if not after:
            break
        for made, name in writes[:3]:
            if made:
                world.set_secret(vault, name, "x")
            else:
                vault.secrets.pop(name.lower(), None)
        del writes[:3]

    assert len(seen) == len(set(seen))
    assert seen == sorted(seen)
    assert standing - touched <= set(seen) <= standing | touched


@given(count=st.integers(1, 60), size=st.integers(1, 25), data=st.data())
def test_the_newest_version_is_read_and_every_version_is_listed_once(
    count: int, size: int, data: st.DataObject
) -> None:
    world, vault, held = shelf()
    made = [world.set_secret(vault, data.draw(st.sampled_from(["one", "ONE", "One"])), str(n)) for n in range(count)]
    seen: list[str] = []
    after, first = "", True

    while after or first:
        names, after = held.version_names("oNe", after, size)
        seen, first = [*seen, *names], False

    assert held.find("one") is made[-1]
    assert sorted(seen) == sorted(version.version for version in made)
    assert [held.find("one", version.version.upper()) for version in made] == made


@pytest.mark.looptime
async def test_every_list_pages(admin: Cloud) -> None:
    for number in range(3):
        await told(admin, "POST", f"/keys/k{number}/create", body={"kty": "EC"})
        await told(admin, "PUT", f"/certificates/issuers/i{number}", body={"provider": "DigiCert"})
        plant_certificate(admin.world, admin.vault, f"c{number}")
    for name in ("c2", "k2"):
        await told(admin, "DELETE", f"/{'keys' if name == 'k2' else 'certificates'}/{name}")
        await told(admin, "PUT", "/secrets/s", body={"value": "x"})
    paths = ("/keys", "/certificates", "/secrets", "/secrets/s/versions", "/keys/c0/versions", "/certificates/issuers")
    counts = {}

    for path in (*paths, "/deletedkeys", "/deletedcertificates", "/deletedsecrets"):
        url, identities = path, []
        body = await told(admin, "GET", url, query={"maxresults": "1"})
        while True:
            identities += [item.get("kid") or item["id"] for item in body["value"]]
            if body["nextLink"] is None:
                break
            assert body["nextLink"].startswith(f"{BASE}:443{path}?api-version=7.4&$skiptoken=")
            body = (await admin.keyvault.get(body["nextLink"], headers=admin.bearer())).json()
        assert len(identities) == len(set(identities))
        counts[path] = len(identities)

    assert counts == {
        "/keys": 4, "/certificates": 2, "/secrets": 4, "/secrets/s/versions": 2, "/keys/c0/versions": 1,
        "/certificates/issuers": 3, "/deletedkeys": 2, "/deletedcertificates": 1, "/deletedsecrets": 1,
    }  # fmt: skip


# Retention -------------------------------------------------------------------------------------------------------

LEVELS = [
    (90, False, "Recoverable+Purgeable"),
    (7, False, "CustomizedRecoverable+Purgeable"),
    (90, True, "Recoverable"),
    (89, True, "CustomizedRecoverable"),
]


@pytest.mark.looptime
@pytest.mark.parametrize(("days", "protected", "level"), LEVELS)
async def test_attributes_say_how_what_is_deleted_comes_back(
    admin: Cloud, days: int, protected: bool, level: str
) -> None:
    admin.vault.retention_days, admin.vault.purge_protection = days, protected

    attributes = (await told(admin, "GET", "/secrets/db-password"))["attributes"]

    assert (attributes["recoveryLevel"], attributes["recoverableDays"]) == (level, days)


@pytest.mark.looptime
async def test_what_is_deleted_is_gone_when_its_retention_is_over(admin: Cloud) -> None:
    admin.vault.retention_days = 7
    deleted = await told(admin, "DELETE", "/secrets/db-password")
    await asyncio.sleep(7 * 86400 - 1)
    still = (await ask(admin, "GET", "/deletedsecrets/db-password")).status_code
    await asyncio.sleep(1)

    assert deleted["scheduledPurgeDate"] - deleted["deletedDate"] == 7 * 86400
    assert still == 200
    assert refusal(await ask(admin, "GET", "/deletedsecrets/db-password"))[0] == 404
    assert (await told(admin, "GET", "/deletedsecrets"))["value"] == []
    await told(admin, "PUT", "/secrets/db-password", body={"value": "new"})


@pytest.mark.looptime
@pytest.mark.parametrize("kind", ["secrets", "keys", "certificates"])
async def test_a_vault_under_purge_protection_purges_nothing(admin: Cloud, kind: str) -> None:
    admin.vault.purge_protection = True
    name = {"secrets": "db-password", "keys": "signer", "certificates": "shop"}[kind]
    await told(admin, "POST", "/keys/signer/create", body={"kty": "EC"})
    plant_certificate(admin.world, admin.vault, "shop")
    await told(admin, "DELETE", f"/{kind}/{name}")

    response = await ask(admin, "DELETE", f"/deleted{kind}/{name}")

    assert refusal(response) == (403, "Forbidden", "ForbiddenByPolicy")
    assert response.json()["error"]["message"] == (
        'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault service will'
        " automatically purge it after the retention period has passed. Vault: Payments-KV;location=westeurope"
    )
    await told(admin, "POST", f"/deleted{kind}/{name}/recover")


@pytest.mark.looptime
@pytest.mark.parametrize(("begin", "end"), [(-60, -30), (30, 60), (-60, 60)])
async def test_a_secret_is_read_outside_its_time_too(admin: Cloud, begin: int, end: int) -> None:
    now = int(EPOCH.timestamp())
    limits = {"nbf": now + begin, "exp": now + end}
    await told(admin, "PUT", "/secrets/limited", body={"value": PLANTED, "attributes": limits})

    read = await told(admin, "GET", "/secrets/limited/")

    assert read["value"] == PLANTED
    assert limits.items() <= read["attributes"].items()


@pytest.mark.looptime
async def test_a_snapshot_holds_keys_and_certificates_too(admin: Cloud) -> None:
    plant_certificate(admin.world, admin.vault, "shop")
    before = await told(admin, "GET", "/certificates/shop")
    number = admin.world.take_snapshot()
    await told(admin, "DELETE", "/certificates/shop")

    admin.world.restore(number)

    assert await told(admin, "GET", "/certificates/shop") == before
    assert (await told(admin, "GET", "/keys/shop"))["managed"] is True


# Seeds -----------------------------------------------------------------------------------------------------------

SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/keystead"
READER = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reader"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/team-kv"


def seeded(tmp_path: Path, **vault: object) -> tuple[World, Vault]:
    path = tmp_path / "seed.yaml"
    path.write_text(json.dumps(file_of(**vault)))
    clock = VirtualClock(EPOCH)
    world = plant(read_seed(path), clock, Journal(clock))
    made = world.vault("team-kv")
    assert made is not None
    return world, made


def file_of(**vault: object) -> Mapping[str, object]:
    return {
        "subscriptions": [{"id": SUBSCRIPTION}],
        "identities": [{"id": READER}],
        "vaults": [{"id": VAULT, **vault}],
    }


@pytest.mark.looptime(start=0)
async def test_a_seed_says_all_of_a_secret(tmp_path: Path) -> None:
    _, vault = seeded(
        tmp_path,
        secrets={
            "plain": PLANTED,
            "whole": {
                "value": PLANTED,
                "contentType": "text",
                "tags": {"a": "b"},
                "enabled": False,
                "notBefore": "2026-01-01T00:00:00Z",
                "expires": "2026-02-01T00:00:00+01:00",
            },
        },
    )

    plain, whole = vault.secrets["plain"][-1], vault.secrets["whole"][-1]
    assert (plain.value, plain.enabled, plain.expires) == (PLANTED, True, None)
    assert (whole.content_type, whole.tags, whole.enabled) == ("text", {"a": "b"}, False)
    assert whole.not_before == datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert whole.expires == datetime.datetime(2026, 1, 31, 23, tzinfo=datetime.UTC)


@pytest.mark.looptime(start=0)
async def test_a_seed_brings_keys_and_certificates_or_has_them_made(tmp_path: Path) -> None:
    private, built = certificate("imported", key=CURVE_KEY)
    pem = pem_of(private, built)
    _, vault = seeded(
        tmp_path,
        keys={"mine": {"pem": pem.split("-----BEGIN CERT")[0], "operations": ["sign"]}, "made": {"kty": "EC"}},
        certificates={
            "shop": {"pem": pem, "contentType": "application/x-pem-file", "tags": {"a": "b"}},
            "self": {"subject": "CN=self, O=Shop", "enabled": False, "exportable": False},
        },
    )

    mine = vault.keys["mine"][-1]
    assert (mine.private, mine.operations, mine.kty) == (material.stored(CURVE_KEY), ("sign",), "EC")
    assert vault.keys["made"][-1].kty == "EC"
    assert "BEGIN PRIVATE KEY" in vault.secrets["shop"][-1].value
    assert (vault.keys["shop"][-1].managed, vault.secrets["shop"][-1].tags) == (True, {"a": "b"})
    assert (vault.certificates["self"][-1].enabled, vault.policies["self"]["issuer"]) == (False, {"name": "Self"})
    assert vault.policies["self"]["key_props"]["exportable"] is False


@pytest.mark.looptime(start=0)
async def test_a_seed_says_who_may_come_in_and_what_for(tmp_path: Path) -> None:
    world, vault = seeded(
        tmp_path,
        accessPolicies=[{"principal": READER, "secrets": ["Get", "List"], "keys": ["all"]}],
        network={"ipRules": ["10.0.0.0/8"]},
        publicNetwork="Disabled",
        retentionDays=7,
        purgeProtection=True,
    )

    identity = world.identity(READER)
    assert identity is not None
    assert vault.access_policies == [
        AccessPolicy(identity.principal_id, vault.tenant_id, "", ("get", "list"), ("all",), ())
    ]
    assert (vault.rbac, vault.public_network) == (False, "Disabled")
    assert (vault.retention_days, vault.purge_protection) == (7, True)
    assert vault.settings["networkAcls"]["ipRules"] == [{"value": "10.0.0.0/8"}]


@pytest.mark.looptime(start=0)
async def test_a_vault_goes_by_roles_unless_a_seed_says_otherwise(tmp_path: Path) -> None:
    assert seeded(tmp_path)[1].rbac is True
    assert seeded(tmp_path, rbac=False)[1].rbac is False
    assert seeded(tmp_path, rbac=True, accessPolicies=[{"principal": READER}])[1].rbac is True


BAD: dict[str, tuple[dict[str, object], str]] = {
    "a name that is none": ({"secrets": {"a_b": "x"}}, "is no name: use 1 to 127 letters"),
    "a value that is too long": ({"secrets": {"a": "x" * 25601}}, "longer than 25600 bytes. Shorten it."),
    "a key that is none": ({"keys": {"a": {"pem": PLANTED}}}, "is no private key in PEM"),
    "a kind that is none": ({"keys": {"a": {"kty": "oct"}}}, "Invalid enum value"),
    "a certificate that is none": ({"certificates": {"a": {"pem": PLANTED}}}, "is no certificate with its private key"),
    "a subject that is none": ({"certificates": {"a": {"subject": "a"}}}, "has a subject that is none. Correct it."),
    "a name for two": ({"secrets": {"a": "x"}, "certificates": {"A": {}}}, "has the same name"),
    "an instant without a zone": ({"secrets": {"a": {"value": "x", "expires": "2026-01-01T00:00:00"}}}, "timezone"),
    "an address that is none": ({"network": {"ipRules": ["here"]}}, "here is no address or range."),
    "a principal that is not there": ({"accessPolicies": [{"principal": f"{READER}x"}]}, "is not in identities."),
    "too short a retention": ({"retentionDays": 6}, ">= 7"),
    "an unknown field": ({"secrets": {"a": {"valeu": "x"}}}, "unknown field `valeu`"),
}


@pytest.mark.looptime(start=0)
@pytest.mark.parametrize("case", BAD)
async def test_a_vault_that_makes_no_sense_is_refused_with_the_cure(tmp_path: Path, case: str) -> None:
    vault, cure = BAD[case]

    with pytest.raises(BadSeed) as refused:
        seeded(tmp_path, **vault)

    assert cure in str(refused.value)
    assert "seed.yaml:1: vaults[0]" in str(refused.value)
    assert PLANTED not in str(refused.value)


# Journal ---------------------------------------------------------------------------------------------------------


@pytest.mark.looptime
async def test_the_journal_learns_vault_kind_and_name_and_no_value(admin: Cloud) -> None:
    app = Traffic(admin.world, "keyvault", keyvault_app(admin.world, admin.authority))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=BASE) as client:
        admin.keyvault = client
        await told(admin, "PUT", "/secrets/new", body={"value": PLANTED})
        await told(admin, "POST", "/keys/new-key/create", body={"kty": "EC"})
        await ask(admin, "GET", "/certificates/absent/policy")
        await told(admin, "GET", "/deletedkeys")

    entries = admin.journal.entries(service="keyvault")
    assert [entry.detail for entry in entries] == [
        {"vault": "Payments-KV", "secret": "new"},
        {"vault": "Payments-KV", "key": "new-key"},
        {"vault": "Payments-KV", "certificate": "absent"},
        {"vault": "Payments-KV"},
    ]
    assert [entry.code for entry in entries] == ["", "", "CertificateNotFound", ""]
    assert {entry.caller for entry in entries} == {"writer"}
    assert PLANTED not in repr(entries)
