"""Key Vault's keys: what is made and taken, what leaves, and what keys may be used for."""

import asyncio
import json
from typing import Any

import pytest

from keystead_sandbox.keyvault import keys, material, rules
from sandbox import entra_keyvault_fixtures, keyvault_fixtures
from sandbox.entra_keyvault_fixtures import KEYS, Cloud
from sandbox.keyvault_fixtures import BASE, CURVE_KEY, NOW, ask, plant_certificate, refusal, told

cloud, admin = entra_keyvault_fixtures.cloud, keyvault_fixtures.admin
pytestmark = pytest.mark.looptime
DIGEST = rules.encoded(bytes(32))
SIGN = {"alg": "ES256", "value": DIGEST}


def planted(cloud: Cloud, name: str = "signer", key: Any = CURVE_KEY) -> Any:
    return keys.add(cloud.world, cloud.vault, name, material.stored(key))


def jwk_of_rsa() -> dict[str, str]:
    private: Any = KEYS["k1"].private_key
    numbers = private.private_numbers()
    parts = {"n": numbers.public_numbers.n, "e": numbers.public_numbers.e, "d": numbers.d}
    return {"kty": "RSA", **{name: rules.encoded(value.to_bytes(256, "big")) for name, value in parts.items()}}


def jwk_of_curve() -> dict[str, str]:
    secret = CURVE_KEY.private_numbers().private_value.to_bytes(32, "big")
    return {"kty": "EC", **material.public_jwk(material.stored(CURVE_KEY)), "d": rules.encoded(secret)}


# Making and taking -----------------------------------------------------------------------------------------------

MADE = [
    ({"kty": "RSA", "key_size": 2048}, {"kty": "RSA", "e": "AQAB"}, 6),
    ({"kty": "RSA", "key_size": 3072}, {"kty": "RSA", "e": "AQAB"}, 6),
    ({"kty": "RSA-HSM"}, {"kty": "RSA-HSM", "e": "AQAB"}, 6),
    ({"kty": "EC"}, {"kty": "EC", "crv": "P-256"}, 2),
    ({"kty": "EC", "crv": "P-384"}, {"kty": "EC", "crv": "P-384"}, 2),
    ({"kty": "EC", "crv": "P-521"}, {"kty": "EC", "crv": "P-521"}, 2),
    ({"kty": "EC-HSM", "crv": "P-256K"}, {"kty": "EC-HSM", "crv": "P-256K"}, 2),
    ({"kty": "EC", "key_ops": ["sign"]}, {"kty": "EC", "crv": "P-256"}, 1),
]


@pytest.mark.parametrize(("body", "expected", "operations"), MADE, ids=[json.dumps(each[0]) for each in MADE])
async def test_a_key_is_made_as_it_is_asked_for(
    admin: Cloud, body: dict[str, object], expected: dict[str, str], operations: int
) -> None:
    made = await told(admin, "POST", "/keys/New-Key/create", body={**body, "tags": {"a": "b"}})

    assert expected.items() <= made["key"].items()
    assert len(made["key"]["key_ops"]) == operations
    assert made["key"]["kid"].startswith(f"{BASE}/keys/New-Key/")
    assert made["tags"] == {"a": "b"}
    assert await told(admin, "GET", "/keys/new-key") == made


REFUSED_KEYS: dict[str, dict[str, object]] = {
    "no kind": {},
    "an unknown kind": {"kty": "DSA"},
    "a symmetric one": {"kty": "oct"},
    "a symmetric one in an HSM": {"kty": "oct-HSM", "key_size": 256},
    "a small one": {"kty": "RSA", "key_size": 1024},
    "one of an odd size": {"kty": "RSA", "key_size": 2049},
    "an unknown curve": {"kty": "EC", "crv": "P-192"},
    "an unknown operation": {"kty": "RSA", "key_ops": ["brew"]},
    "a curve that encrypts": {"kty": "EC", "key_ops": ["encrypt"]},
    "an even exponent": {"kty": "RSA", "public_exponent": 4},
    "an end before its beginning": {"kty": "EC", "attributes": {"nbf": 2, "exp": 1}},
    "exportable without a policy": {"kty": "EC", "attributes": {"exportable": True}},
    "a policy without exportable": {"kty": "EC", "release_policy": {"data": "e30"}},
    "too many tags": {"kty": "EC", "tags": {str(number): "" for number in range(16)}},
}


@pytest.mark.parametrize("case", REFUSED_KEYS)
async def test_a_key_that_no_vault_makes_is_a_bad_parameter(admin: Cloud, case: str) -> None:
    response = await ask(admin, "POST", "/keys/new/create", body=REFUSED_KEYS[case])

    assert refusal(response) == (400, "BadParameter", "")
    assert "new" not in admin.vault.keys


@pytest.mark.parametrize("jwk", [jwk_of_rsa(), jwk_of_curve()], ids=["RSA without its primes", "EC"])
async def test_a_key_is_imported_and_its_private_half_stays(admin: Cloud, jwk: dict[str, str]) -> None:
    imported = await told(admin, "PUT", "/keys/mine", body={"key": jwk})

    public = {name: value for name, value in jwk.items() if name not in ("d", "e")}
    assert public.items() <= imported["key"].items()
    assert set(imported["key"]) <= {"kid", "kty", "key_ops", "n", "e", "crv", "x", "y"}
    assert jwk["d"] not in json.dumps(imported)


@pytest.mark.parametrize(
    "change",
    [{"d": ""}, {"n": "AQAB"}, {"d": "!"}, {"e": "AA"}, {"kty": "oct", "k": "AAAA"}, {"kty": "EC"}, {"n": "A" * 9000}],
    ids=str,
)
async def test_a_key_that_is_none_is_not_imported(admin: Cloud, change: dict[str, str]) -> None:
    jwk = {**jwk_of_rsa(), **change}

    response = await ask(admin, "PUT", "/keys/mine", body={"key": jwk})

    assert refusal(response) == (400, "BadParameter", "")
    assert "mine" not in admin.vault.keys


async def test_a_point_that_is_not_on_its_curve_is_not_imported(admin: Cloud) -> None:
    jwk = {**jwk_of_curve(), "x": rules.encoded(bytes(31) + b"\1")}

    assert refusal(await ask(admin, "PUT", "/keys/mine", body={"key": jwk}))[0] == 400


@pytest.mark.parametrize("version", ["7.2", "7.3"])
async def test_attributes_say_since_7_3_whether_a_key_may_leave(admin: Cloud, version: str) -> None:
    planted(admin)

    attributes = (await told(admin, "GET", "/keys/signer", version=version))["attributes"]

    assert attributes == {
        "enabled": True,
        "created": NOW,
        "updated": NOW,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
        **({"exportable": False} if version == "7.3" else {}),
    }


async def test_lists_of_keys_hold_no_key(admin: Cloud) -> None:
    planted(admin)
    second = planted(admin)

    names = (await told(admin, "GET", "/keys"))["value"]
    versions = (await told(admin, "GET", "/keys/signer/versions"))["value"]

    assert [set(item) for item in names] == [{"kid", "attributes"}]
    assert names[0]["kid"] == f"{BASE}/keys/signer"
    assert f"{BASE}/keys/signer/{second.version}" in [item["kid"] for item in versions]
    assert len(versions) == 2


# Life ------------------------------------------------------------------------------------------------------------


async def test_a_deleted_key_keeps_its_name_until_it_is_purged(admin: Cloud) -> None:
    planted(admin)

    deleted = await told(admin, "DELETE", "/keys/signer")

    assert deleted["recoveryId"] == f"{BASE}/deletedkeys/signer"
    assert await told(admin, "GET", "/deletedkeys/signer") == deleted
    message = (await ask(admin, "GET", "/keys/signer")).json()["error"]["message"]
    assert message.startswith("A key with (name/id) signer was not found in this key vault. If you recently deleted")
    again = await ask(admin, "POST", "/keys/signer/create", body={"kty": "EC"})
    assert refusal(again) == (409, "Conflict", "ObjectIsDeletedButRecoverable")
    assert again.json()["error"]["message"].startswith("Key signer is currently in a deleted but recoverable state")
    assert (await ask(admin, "DELETE", "/deletedkeys/signer")).status_code == 204
    assert refusal(await ask(admin, "GET", "/deletedkeys/signer")) == (404, "KeyNotFound", "")
    await told(admin, "POST", "/keys/signer/create", body={"kty": "EC"})


async def test_a_recovered_key_is_what_it_was(admin: Cloud) -> None:
    planted(admin)
    before = await told(admin, "GET", "/keys/signer")
    await told(admin, "DELETE", "/keys/signer")

    await told(admin, "POST", "/deletedkeys/signer/recover")

    assert await told(admin, "GET", "/keys/signer") == before


async def test_a_rotated_key_is_of_the_same_kind_and_ends_when_its_policy_says(admin: Cloud) -> None:
    first = planted(admin)
    policy = {"lifetimeActions": [], "attributes": {"expiryTime": "P1M"}}
    kept = await told(admin, "PUT", "/keys/signer/rotationpolicy", body=policy)

    rotated = await told(admin, "POST", "/keys/signer/rotate")

    assert kept["id"] == f"{BASE}/keys/signer/rotationpolicy"
    assert kept["attributes"] == {"expiryTime": "P1M", "created": NOW, "updated": NOW}
    assert rotated["key"]["crv"] == "P-256"
    assert first.version not in rotated["key"]["kid"]
    assert rotated["attributes"]["exp"] - rotated["attributes"]["created"] == 31 * 86400


BAD_POLICIES: dict[str, object] = {
    "an expiry too soon": {"attributes": {"expiryTime": "P27D"}},
    "an expiry that is none": {"attributes": {"expiryTime": "soon"}},
    "an unknown action": {"lifetimeActions": [{"action": {"type": "Burn"}, "trigger": {"timeAfterCreate": "P30D"}}]},
    "no trigger": {"lifetimeActions": [{"action": {"type": "Rotate"}}]},
    "two triggers": {
        "lifetimeActions": [
            {"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P30D", "timeBeforeExpiry": "P30D"}}
        ]
    },
    "a rotation too soon": {"lifetimeActions": [{"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P6D"}}]},
}


@pytest.mark.parametrize("case", BAD_POLICIES)
async def test_a_rotation_policy_that_no_vault_keeps_is_refused(admin: Cloud, case: str) -> None:
    planted(admin)

    response = await ask(admin, "PUT", "/keys/signer/rotationpolicy", body=BAD_POLICIES[case])

    assert refusal(response)[:2] == (400, "BadParameter")
    assert not admin.vault.rotation


# Use -------------------------------------------------------------------------------------------------------------


async def test_a_disabled_key_is_listed_and_neither_read_nor_used(admin: Cloud) -> None:
    planted(admin).enabled = False

    read, used = await ask(admin, "GET", "/keys/signer"), await ask(admin, "POST", "/keys/signer/sign", body=SIGN)

    assert refusal(read) == refusal(used) == (403, "Forbidden", "KeyDisabled")
    assert used.json()["error"]["message"] == "Operation sign is not allowed on a disabled key."
    assert len((await told(admin, "GET", "/keys"))["value"]) == 1


@pytest.mark.parametrize(("begin", "end"), [(60, None), (None, 60)], ids=["before its time", "after its time"])
async def test_outside_its_time_a_key_finishes_old_work_and_begins_none(
    admin: Cloud, begin: int | None, end: int | None
) -> None:
    planted(admin)
    planted(admin, "sealer", KEYS["k1"].private_key)
    sealed = await told(admin, "POST", "/keys/sealer/encrypt", body={"alg": "RSA-OAEP", "value": "YQ"})
    signed = await told(admin, "POST", "/keys/signer/sign", body=SIGN)
    limits = {"nbf": NOW + begin} if begin else {"exp": NOW + (end or 0)}
    for name in ("signer", "sealer"):
        await told(admin, "PATCH", f"/keys/{name}", body={"attributes": limits})
    await asyncio.sleep(end or 0)

    refused = [
        await ask(admin, "POST", "/keys/signer/sign", body=SIGN),
        await ask(admin, "POST", "/keys/sealer/encrypt", body={"alg": "RSA-OAEP", "value": "YQ"}),
        await ask(admin, "POST", "/keys/sealer/wrapkey", body={"alg": "RSA-OAEP", "value": "YQ"}),
    ]

    assert [refusal(response)[:2] for response in refused] == [(403, "Forbidden")] * 3
    opened = {"alg": "RSA-OAEP", "value": sealed["value"]}
    assert (await told(admin, "POST", "/keys/sealer/decrypt", body=opened))["value"] == "YQ"
    assert (await told(admin, "POST", "/keys/sealer/unwrapkey", body=opened))["value"] == "YQ"
    checked = {"alg": "ES256", "digest": DIGEST, "value": signed["value"]}
    assert await told(admin, "POST", "/keys/signer/verify", body=checked) == {"value": True}
    assert (await ask(admin, "GET", "/keys/signer")).status_code == 200


async def test_a_key_does_only_what_it_is_for(admin: Cloud) -> None:
    planted(admin)
    await told(admin, "PATCH", "/keys/signer", body={"key_ops": ["verify"]})

    response = await ask(admin, "POST", "/keys/signer/sign", body=SIGN)

    assert refusal(response) == (403, "Forbidden", "KeyOperationForbidden")
    assert response.json()["error"]["message"] == "Operation sign is not permitted on this key."


MISFITS: dict[str, tuple[str, dict[str, str]]] = {
    "an algorithm of another kind": ("signer/sign", {"alg": "RS256", "value": DIGEST}),
    "an algorithm of another curve": ("signer/sign", {"alg": "ES384", "value": rules.encoded(bytes(48))}),
    "a digest of another length": ("signer/sign", {"alg": "ES256", "value": "YQ"}),
    "an unknown algorithm": ("signer/sign", {"alg": "XS256", "value": DIGEST}),
    "a symmetric algorithm": ("sealer/wrapkey", {"alg": "A256KW", "value": DIGEST}),
    "what nobody encrypted": ("sealer/decrypt", {"alg": "RSA-OAEP", "value": "YQ"}),
    "more than fits": ("sealer/encrypt", {"alg": "RSA-OAEP", "value": rules.encoded(bytes(500))}),
    "no base64url": ("sealer/encrypt", {"alg": "RSA-OAEP", "value": "a b"}),
}


@pytest.mark.parametrize("case", MISFITS)
async def test_what_does_not_fit_together_is_a_bad_parameter(admin: Cloud, case: str) -> None:
    planted(admin)
    planted(admin, "sealer", KEYS["k1"].private_key)
    path, body = MISFITS[case]

    assert refusal(await ask(admin, "POST", f"/keys/{path}", body=body))[:2] == (400, "BadParameter")


@pytest.mark.parametrize("signature", ["", "YQ", rules.encoded(bytes(64)), rules.encoded(bytes(63))])
async def test_what_is_no_signature_is_false(admin: Cloud, signature: str) -> None:
    planted(admin)

    body = {"alg": "ES256", "digest": DIGEST, "value": signature}

    assert await told(admin, "POST", "/keys/signer/verify", body=body) == {"value": False}


async def test_a_key_is_used_with_and_without_its_version(admin: Cloud) -> None:
    first = planted(admin)
    second = planted(admin, key=CURVE_KEY)

    latest = await told(admin, "POST", f"{BASE}/keys/signer//sign", body=SIGN)
    named = await told(admin, "POST", f"/keys/signer/{first.version}/sign", body=SIGN)

    assert (latest["kid"][-32:], named["kid"][-32:]) == (second.version, first.version)


async def test_an_exportable_key_keeps_its_policy_and_is_released_to_nobody(admin: Cloud) -> None:
    policy = {"contentType": "application/json; charset=utf-8", "data": "e30", "immutable": True}
    body = {"kty": "EC-HSM", "attributes": {"exportable": True}, "release_policy": policy}
    made = await told(admin, "POST", "/keys/mobile/create", body=body)

    changed = await ask(admin, "PATCH", "/keys/mobile", body={"release_policy": {"data": "e30"}})
    released = await ask(admin, "POST", "/keys/mobile/release", body={"target": "x"})

    assert (made["release_policy"], made["attributes"]["exportable"]) == (policy, True)
    assert "AKV.SKR.1020" in changed.json()["error"]["message"]
    assert refusal(released)[0] == 403


async def test_a_key_that_may_not_leave_is_not_released(admin: Cloud) -> None:
    planted(admin)

    assert refusal(await ask(admin, "POST", "/keys/signer/release"))[2] == "KeyOperationForbidden"
    assert refusal(await ask(admin, "GET", "/keys/signer/attestation"))[:2] == (400, "BadParameter")


# Keys of certificates ----------------------------------------------------------------------------------------------


async def test_the_key_of_a_certificate_says_so_and_is_used_like_another(admin: Cloud) -> None:
    plant_certificate(admin.world, admin.vault, "shop")

    read = await told(admin, "GET", "/keys/shop")

    assert read["managed"] is True
    assert (await told(admin, "GET", "/keys"))["value"][0]["managed"] is True
    assert (await told(admin, "POST", "/keys/shop/sign", body=SIGN))["kid"] == read["key"]["kid"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/keys/shop/create", {"kty": "EC"}),
        ("PUT", "/keys/shop", {"key": jwk_of_curve()}),
        ("PATCH", "/keys/shop", {"tags": {}}),
        ("POST", "/keys/shop/rotate", None),
        ("POST", "/keys/shop/backup", None),
        ("PUT", "/keys/shop/rotationpolicy", {}),
        ("DELETE", "/keys/shop", None),
        ("PUT", "/secrets/shop", {"value": "x"}),
        ("PATCH", "/secrets/shop", {"tags": {}}),
        ("POST", "/secrets/shop/backup", None),
        ("DELETE", "/secrets/shop", None),
    ],
)
async def test_the_key_and_the_secret_of_a_certificate_change_with_it_alone(
    admin: Cloud, method: str, path: str, body: object
) -> None:
    plant_certificate(admin.world, admin.vault, "shop")

    response = await ask(admin, method, path, body=body)

    assert refusal(response)[:2] == (403, "Forbidden")
    assert "managed by a certificate" in response.json()["error"]["message"]


# Backups -----------------------------------------------------------------------------------------------------------


async def test_a_backup_is_good_in_another_vault_of_the_subscription(admin: Cloud) -> None:
    planted(admin)
    other = admin.world.add_vault("other-kv")
    admin.world.assign_role(admin.identity.principal_id, "Key Vault Administrator", other.resource_id)
    blob = await told(admin, "POST", "/keys/signer/backup")

    restored = await told(admin, "POST", "https://other-kv.vault.azure.net/keys/restore", body=blob)

    assert restored["key"]["x"] == (await told(admin, "GET", "/keys/signer"))["key"]["x"]


async def test_a_backup_is_read_by_nobody_and_restored_where_nothing_is(admin: Cloud) -> None:
    blob = (await told(admin, "POST", "/secrets/db-password/backup"))["value"]
    stranger = admin.world.add_subscription("99999999-9999-4999-8999-999999999999")
    far = admin.world.add_vault("far-kv", subscription_id=stranger.id)
    admin.world.assign_role(admin.identity.principal_id, "Key Vault Administrator", far.resource_id)

    async def restore(value: object, url: str = "/secrets/restore") -> tuple[int, str, str]:
        return refusal(await ask(admin, "POST", url, body={"value": value}))

    assert await restore(blob) == (409, "Conflict", "ObjectAlreadyExists")
    assert (await restore(blob, "/keys/restore"))[0] == 400
    assert (await restore(blob, "https://far-kv.vault.azure.net/secrets/restore"))[0] == 400
    assert [(await restore(value))[0] for value in ("", "YQ", blob[:-4] + "AAAA", 5)] == [400] * 4
    await told(admin, "DELETE", "/secrets/db-password")
    assert await restore(blob) == (409, "Conflict", "ObjectIsDeletedButRecoverable")
