"""Key Vault's certificates: what is taken and made, and the key and the secret that come with each version."""

import base64
import datetime
import hashlib
import json
import textwrap
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs12

from keystead_sandbox.keyvault import rules
from keystead_sandbox.keyvault.x509_making import distinguished_name
from sandbox import entra_keyvault_fixtures, keyvault_fixtures
from sandbox.entra_keyvault_fixtures import EPOCH, KEYS, Cloud
from sandbox.keyvault_fixtures import (
    BASE,
    CURVE_KEY,
    NOW,
    PEM_PASSWORD,
    ask,
    certificate,
    pem_of,
    pkcs12_of,
    plant_certificate,
    refusal,
    told,
)

cloud, admin = entra_keyvault_fixtures.cloud, keyvault_fixtures.admin
pytestmark = pytest.mark.looptime
PEM_FORM = {"secret_props": {"contentType": "application/x-pem-file"}}
SELF = {"issuer": {"name": "Self"}, "x509_props": {"subject": "CN=shop"}}


# Import ----------------------------------------------------------------------------------------------------------


async def test_an_imported_certificate_is_answered_with_everything(admin: Cloud) -> None:
    private, built = certificate("imported")

    body = {"value": pkcs12_of(private, built), "tags": {"a": "b"}}
    imported = await told(admin, "POST", "/certificates/Shop/import", body=body)

    der, version = built.public_bytes(Encoding.DER), imported["id"][-32:]
    assert imported == {
        "id": f"{BASE}/certificates/Shop/{version}",
        "kid": f"{BASE}/keys/Shop/{version}",
        "sid": f"{BASE}/secrets/Shop/{version}",
        "x5t": rules.encoded(hashlib.sha1(der).digest()),  # noqa: S324 - "x5t" is SHA-1
        "cer": base64.b64encode(der).decode(),
        "attributes": {
            "enabled": True,
            "nbf": NOW,
            "exp": NOW + 365 * 86400,
            "created": NOW,
            "updated": NOW,
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        },
        "tags": {"a": "b"},
        "policy": {
            "id": f"{BASE}/certificates/Shop/policy",
            "key_props": {"key_size": 2048, "exportable": True, "kty": "RSA", "reuse_key": False},
            "secret_props": {"contentType": "application/x-pkcs12"},
            "x509_props": {
                "subject": "CN=imported",
                "sans": {"dns_names": ["imported.example.test"]},
                "ekus": [],
                "key_usage": [],
                "validity_months": 12,
                "basic_constraints": {"ca": False},
            },
            "lifetime_actions": [{"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "EmailContacts"}}],
            "issuer": {"name": "Unknown"},
            "attributes": {"enabled": True, "created": NOW, "updated": NOW},
        },
    }
    assert await told(admin, "GET", "/certificates/shop/") == imported


def forms() -> dict[str, dict[str, object]]:
    private, built = certificate("imported")
    curve = certificate("curve", key=CURVE_KEY)
    pem = pem_of(private, built)
    return {
        "PKCS #12 without a password": {"value": pkcs12_of(private, built)},
        "PKCS #12 with an empty password": {"value": pkcs12_of(private, built), "pwd": ""},
        "PKCS #12 with a password": {"value": pkcs12_of(private, built, PEM_PASSWORD), "pwd": PEM_PASSWORD},
        "PKCS #12 in lines": {"value": "\n".join(textwrap.wrap(pkcs12_of(private, built), 64))},
        "PEM": {"value": pem, "policy": PEM_FORM},
        "PEM that nobody calls so": {"value": pem},
        "PEM in base64": {"value": base64.b64encode(pem.encode()).decode(), "policy": PEM_FORM},
        "a curve's": {"value": pkcs12_of(*curve)},
    }


@pytest.mark.parametrize("form", forms())
async def test_every_form_of_a_certificate_is_taken(admin: Cloud, form: str) -> None:
    imported = await told(admin, "POST", "/certificates/mine/import", body=forms()[form])

    secret = await told(admin, "GET", "/secrets/mine")
    wanted = "application/x-pem-file" if form.startswith("PEM") else "application/x-pkcs12"
    assert secret["contentType"] == imported["policy"]["secret_props"]["contentType"] == wanted
    assert (secret["id"], secret["kid"], secret["managed"]) == (imported["sid"], imported["kid"], True)
    assert read_secret(secret) == base64.b64decode(imported["cer"])


def read_secret(secret: dict[str, Any]) -> bytes:
    """The certificate in a secret, once its key is there and is the certificate's."""
    if secret["contentType"].endswith("pem-file"):
        own: x509.Certificate | None = x509.load_pem_x509_certificate(secret["value"].encode())
        key: Any = load_pem_private_key(secret["value"].encode(), None)
    else:
        opened = pkcs12.load_pkcs12(base64.b64decode(secret["value"]), None)
        own, key = (opened.cert.certificate if opened.cert is not None else None), opened.key
    assert own is not None
    assert key.public_key() == own.public_key()
    return own.public_bytes(Encoding.DER)


def unreadable() -> dict[str, tuple[dict[str, object], str]]:
    private, built = certificate("imported")
    _, other = certificate("other", key=CURVE_KEY)
    no_key = built.public_bytes(Encoding.PEM).decode()
    twelve, pem = "The specified PKCS#12 X.509", "The specified PEM X.509"
    keyless = "No certificate with private key found"
    sealed = pkcs12_of(private, built, PEM_PASSWORD)
    return {
        "nothing": ({}, twelve),
        "no base64": ({"value": "%"}, twelve),
        "other octets": ({"value": "YWJj"}, twelve),
        "no password": ({"value": sealed}, twelve),
        "another password": ({"value": sealed, "pwd": "x"}, twelve),
        "PEM called PKCS #12": (
            {"value": pem_of(private, built), "policy": {"secret_props": {"contentType": "application/x-pkcs12"}}},
            twelve,
        ),
        "PKCS #12 called PEM": ({"value": pkcs12_of(private, built), "policy": PEM_FORM}, pem),
        "no key": ({"value": no_key, "policy": PEM_FORM}, keyless),
        "the key of another": ({"value": pem_of(private, other), "policy": PEM_FORM}, keyless),
        "another kind of content": ({"value": no_key, "policy": {"secret_props": {"contentType": "text/plain"}}}, ""),
    }


@pytest.mark.parametrize("case", unreadable())
async def test_what_is_no_certificate_is_refused_without_a_trace(admin: Cloud, case: str) -> None:
    body, beginning = unreadable()[case]

    response = await ask(admin, "POST", "/certificates/mine/import", body=body)

    assert refusal(response)[:2] == (400, "BadParameter")
    assert response.json()["error"]["message"].startswith(beginning)
    assert PEM_PASSWORD not in response.text
    assert not admin.vault.certificates


async def test_a_certificate_takes_no_name_of_a_secret_or_a_key(admin: Cloud) -> None:
    private, built = certificate("imported")

    response = await ask(admin, "POST", "/certificates/db-password/import", body={"value": pkcs12_of(private, built)})

    assert refusal(response)[:2] == (409, "Conflict")


# The secret and the key ---------------------------------------------------------------------------------------------


async def test_a_certificate_that_may_not_be_exported_leaves_its_key_out_of_its_secret(admin: Cloud) -> None:
    private, built = certificate("imported")
    body = {"value": pem_of(private, built), "policy": {**PEM_FORM, "key_props": {"exportable": False}}}
    await told(admin, "POST", "/certificates/mine/import", body=body)

    value = (await told(admin, "GET", "/secrets/mine"))["value"]

    assert "PRIVATE KEY" not in value
    assert x509.load_pem_x509_certificate(value.encode()) == built


async def test_a_chain_comes_with_the_secret(admin: Cloud) -> None:
    private, built = certificate("leaf")
    _, above = certificate("above", key=CURVE_KEY)
    pem = above.public_bytes(Encoding.PEM).decode() + pem_of(private, built)
    imported = await told(admin, "POST", "/certificates/mine/import", body={"value": pem})

    value = (await told(admin, "GET", "/secrets/mine"))["value"]

    assert x509.load_pem_x509_certificates(value.encode()) == [built, above]
    assert base64.b64decode(imported["cer"]) == built.public_bytes(Encoding.DER)


async def test_attributes_and_tags_are_those_of_the_key_and_the_secret_too(admin: Cloud) -> None:
    plant_certificate(admin.world, admin.vault, "shop")

    changed = await told(
        admin, "PATCH", "/certificates/shop", body={"attributes": {"enabled": False, "exp": 5}, "tags": {"a": "b"}}
    )

    assert (changed["attributes"]["enabled"], changed["attributes"]["exp"]) == (False, NOW + 365 * 86400)
    assert refusal(await ask(admin, "GET", "/secrets/shop"))[2] == "SecretDisabled"
    assert refusal(await ask(admin, "GET", "/keys/shop"))[2] == "KeyDisabled"
    listed = {item["id"]: item for item in (await told(admin, "GET", "/secrets"))["value"]}
    assert listed[f"{BASE}/secrets/shop"]["tags"] == {"a": "b"}
    assert listed[f"{BASE}/secrets/shop"]["managed"] is True
    assert (await told(admin, "GET", "/certificates/shop"))["attributes"]["enabled"] is False


async def test_a_second_version_leaves_the_first_as_it_was(admin: Cloud) -> None:
    first = await told(admin, "POST", "/certificates/mine/import", body=forms()["a curve's"])
    second = await told(admin, "POST", "/certificates/mine/import", body=forms()["PEM"])

    versions = (await told(admin, "GET", "/certificates/mine/versions"))["value"]

    assert {item["id"] for item in versions} == {first["id"], second["id"]}
    assert {item["x5t"] for item in versions} == {first["x5t"], second["x5t"]}
    assert (await told(admin, "GET", f"/certificates/mine/{first['id'][-32:]}"))["cer"] == first["cer"]
    assert (await told(admin, "GET", f"/secrets/mine/{first['id'][-32:]}"))["contentType"] == "application/x-pkcs12"
    assert (await told(admin, "GET", "/certificates/mine"))["id"] == second["id"]


async def test_a_certificate_goes_and_comes_back_with_its_key_and_secret(admin: Cloud) -> None:
    plant_certificate(admin.world, admin.vault, "shop")
    before = [await told(admin, "GET", f"/{kind}/shop") for kind in ("certificates", "keys", "secrets")]

    deleted = await told(admin, "DELETE", "/certificates/shop")
    gone = [await ask(admin, "GET", f"/{kind}/shop") for kind in ("certificates", "keys", "secrets")]
    aside = [await told(admin, "GET", f"/deleted{kind}/shop") for kind in ("certificates", "keys", "secrets")]
    alone = [await ask(admin, "POST", f"/deleted{kind}/shop/recover") for kind in ("keys", "secrets")]
    await told(admin, "POST", "/deletedcertificates/shop/recover")

    assert deleted["recoveryId"] == f"{BASE}/deletedcertificates/shop"
    assert [refusal(response)[:2] for response in gone] == [
        (404, "CertificateNotFound"),
        (404, "KeyNotFound"),
        (404, "SecretNotFound"),
    ]
    assert [body["recoveryId"].rpartition("/")[2] for body in aside] == ["shop"] * 3
    assert [response.status_code for response in alone] == [403, 403]
    assert [await told(admin, "GET", f"/{kind}/shop") for kind in ("certificates", "keys", "secrets")] == before


async def test_a_purged_certificate_frees_all_its_names(admin: Cloud) -> None:
    plant_certificate(admin.world, admin.vault, "shop")
    await told(admin, "DELETE", "/certificates/shop")
    refused = await ask(admin, "PUT", "/secrets/shop", body={"value": "x"})

    await ask(admin, "DELETE", "/deletedcertificates/shop")

    assert refusal(refused) == (409, "Conflict", "ObjectIsDeletedButRecoverable")
    await told(admin, "PUT", "/secrets/shop", body={"value": "x"})
    assert [admin.vault.policies, admin.vault.deleted_keys, admin.vault.deleted_certificates] == [{}, {}, {}]


# Creation ----------------------------------------------------------------------------------------------------------


async def test_a_creation_is_in_progress_and_then_completed(admin: Cloud) -> None:
    response = await ask(admin, "POST", "/certificates/shop/create", body={"policy": SELF}, version="7.2")

    begun = response.json()
    assert response.status_code == 202
    assert (begun["status"], begun["cancellation_requested"], begun["issuer"]) == (
        "inProgress",
        False,
        {"name": "Self"},
    )
    assert begun["status_details"].startswith("Pending certificate created. Certificate request is in progress.")
    here = f"{BASE}/certificates/shop"
    assert response.headers["Location"] == f"{here}/pending?api-version=7.2&request_id={begun['request_id']}"
    assert response.headers["Retry-After"] == "10"
    assert x509.load_der_x509_csr(base64.b64decode(begun["csr"])).is_signature_valid
    done = await told(admin, "GET", "/certificates/shop/pending")
    assert done == {
        **{name: begun[name] for name in ("id", "issuer", "csr", "cancellation_requested", "request_id")},
        "status": "completed",
        "target": here,
    }
    made = await told(admin, "GET", "/certificates/shop")
    assert made["pending"] == {"id": f"{here}/pending"}
    assert made["attributes"]["nbf"] == NOW - 600
    assert datetime.datetime.fromtimestamp(made["attributes"]["exp"], datetime.UTC) == EPOCH.replace(year=2027)


async def test_what_a_policy_leaves_out_has_its_default(admin: Cloud) -> None:
    await told(admin, "POST", "/certificates/shop/create", body={"policy": SELF})

    policy = await told(admin, "GET", "/certificates/shop/policy")

    assert policy == {
        "id": f"{BASE}/certificates/shop/policy",
        "key_props": {"key_size": 2048, "exportable": True, "kty": "RSA", "reuse_key": False},
        "secret_props": {"contentType": "application/x-pkcs12"},
        "x509_props": {
            "subject": "CN=shop",
            "sans": {},
            "ekus": ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"],
            "key_usage": ["digitalSignature", "keyEncipherment"],
            "validity_months": 12,
            "basic_constraints": {"ca": False},
        },
        "lifetime_actions": [{"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "AutoRenew"}}],
        "issuer": {"name": "Self"},
        "attributes": {"enabled": True, "created": NOW, "updated": NOW},
    }


@pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521", "P-256K"])
async def test_a_certificate_may_be_of_a_curve(admin: Cloud, curve: str) -> None:
    policy = {**SELF, "key_props": {"kty": "EC", "crv": curve}, "x509_props": {"subject": "CN=a", "key_usage": []}}
    await told(admin, "POST", "/certificates/shop/create", body={"policy": policy})

    assert (await told(admin, "GET", "/keys/shop"))["key"]["crv"] == curve
    made = x509.load_der_x509_certificate(base64.b64decode((await told(admin, "GET", "/certificates/shop"))["cer"]))
    made.verify_directly_issued_by(made)


async def test_everything_that_a_policy_says_stands_in_the_certificate(admin: Cloud) -> None:
    properties = {
        "subject": 'CN=shop, O="Shop, Limited", C=DE',
        "sans": {
            "dns_names": ["a.test", "*.b.test"],
            "emails": ["a@b.test"],
            "upns": ["u@b.test"],
            "uris": ["spiffe://b.test/a"],
            "ipAddresses": ["10.0.0.1"],
        },
        "ekus": ["1.3.6.1.5.5.7.3.4"],
        "key_usage": ["keyCertSign", "cRLSign"],
        "basic_constraints": {"ca": True},
    }
    await told(admin, "POST", "/certificates/shop/create", body={"policy": {**SELF, "x509_props": properties}})

    made = x509.load_der_x509_certificate(base64.b64decode((await told(admin, "GET", "/certificates/shop"))["cer"]))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert made.subject.rfc4514_string() == "CN=shop,O=Shop\\, Limited,C=DE"
    assert names.get_values_for_type(x509.DNSName) == ["a.test", "*.b.test"]
    assert len(list(names)) == 6
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


BAD_POLICIES: dict[str, object] = {
    "none": None,
    "no subject": {"issuer": {"name": "Self"}},
    "a subject that is none": {**SELF, "x509_props": {"subject": "shop"}},
    "an unknown attribute": {**SELF, "x509_props": {"subject": "XY=shop"}},
    "a country of three letters": {**SELF, "x509_props": {"subject": "C=DEU"}},
    "an unknown usage": {**SELF, "x509_props": {"subject": "CN=a", "key_usage": ["brewing"]}},
    "a usage that is no identifier": {**SELF, "x509_props": {"subject": "CN=a", "ekus": ["serverAuth"]}},
    "an address that is none": {**SELF, "x509_props": {"subject": "CN=a", "sans": {"ipAddresses": ["here"]}}},
    "a name that is no ASCII": {**SELF, "x509_props": {"subject": "CN=a", "sans": {"dns_names": ["ü.test"]}}},
    "no months": {**SELF, "x509_props": {"subject": "CN=a", "validity_months": 0}},
    "a small key": {**SELF, "key_props": {"key_size": 1024}},
    "an unknown kind": {**SELF, "key_props": {"kty": "oct"}},
    "an unknown issuer": {**SELF, "issuer": {"name": "Nobody"}},
    "an unknown content": {**SELF, "secret_props": {"contentType": "text/plain"}},
    "an unknown action": {
        **SELF,
        "lifetime_actions": [{"trigger": {"lifetime_percentage": 5}, "action": {"action_type": "Burn"}}],
    },
    "a trigger of two": {
        **SELF,
        "lifetime_actions": [
            {"trigger": {"lifetime_percentage": 5, "days_before_expiry": 5}, "action": {"action_type": "AutoRenew"}}
        ],
    },
}


@pytest.mark.parametrize("case", BAD_POLICIES)
async def test_a_policy_that_makes_no_certificate_is_refused_without_a_trace(admin: Cloud, case: str) -> None:
    response = await ask(admin, "POST", "/certificates/shop/create", body={"policy": BAD_POLICIES[case]})

    assert refusal(response)[:2] == (400, "BadParameter")
    vault = admin.vault
    assert [vault.certificates, vault.keys, vault.policies, vault.pending] == [{}, {}, {}, {}]


@pytest.mark.parametrize("reuse", [True, False])
async def test_a_second_version_has_its_own_key_unless_the_policy_says_otherwise(admin: Cloud, reuse: bool) -> None:
    policy = {**SELF, "key_props": {"reuse_key": reuse}}
    await told(admin, "POST", "/certificates/shop/create", body={"policy": policy})
    await told(admin, "POST", "/certificates/shop/create", body={})

    first, second = admin.vault.keys["shop"]
    assert (first.private == second.private) is reuse
    assert len(admin.vault.secrets["shop"]) == 2


# Merging -----------------------------------------------------------------------------------------------------------

MANUAL = {"issuer": {"name": "Unknown"}, "x509_props": {"subject": "CN=shop"}}


def signed(begun: dict[str, Any], key: Any = None) -> str:
    """The certificate that some authority makes of a request."""
    request = x509.load_der_x509_csr(base64.b64decode(begun["csr"]))
    authority: Any = KEYS["k2"].private_key
    name, public = request.subject, key.public_key() if key is not None else request.public_key()
    built = (
        x509.CertificateBuilder(name, name, public, 9)
        .not_valid_before(EPOCH)
        .not_valid_after(EPOCH + datetime.timedelta(days=9))
        .sign(authority, hashes.SHA256())
    )
    return base64.b64encode(built.public_bytes(Encoding.DER)).decode()


async def test_a_creation_by_hand_waits_for_its_certificate(admin: Cloud) -> None:
    begun = await told(admin, "POST", "/certificates/shop/create", body={"policy": MANUAL})

    waiting = await told(admin, "GET", "/certificates/shop")
    again = await ask(admin, "POST", "/certificates/shop/create", body={"policy": SELF})
    imported = await ask(admin, "POST", "/certificates/shop/import", body=forms()["PEM"])
    listed = [
        (await told(admin, "GET", "/certificates", query=query))["value"] for query in ({}, {"includePending": "true"})
    ]
    merged = await ask(
        admin, "POST", "/certificates/shop/pending/merge", body={"x5c": [signed(begun)], "tags": {"a": "b"}}
    )

    assert begun["status_details"] == "Pending certificate created. Please Perform Merge to complete the request."
    assert (waiting["attributes"]["enabled"], "cer" in waiting) == (False, False)
    assert [refusal(response)[:2] for response in (again, imported)] == [(409, "Conflict")] * 2
    assert [len(items) for items in listed] == [0, 1]
    assert (merged.status_code, merged.json()["cer"], merged.json()["tags"]) == (201, signed(begun), {"a": "b"})
    assert (await told(admin, "GET", "/certificates/shop/pending"))["status"] == "completed"
    assert read_secret(await told(admin, "GET", "/secrets/shop")) == base64.b64decode(signed(begun))


async def test_only_the_certificate_of_the_request_is_merged(admin: Cloud) -> None:
    begun = await told(admin, "POST", "/certificates/shop/create", body={"policy": MANUAL})
    bodies: list[object] = [{"x5c": [signed(begun, CURVE_KEY)]}, {"x5c": ["YQ=="]}, {"x5c": []}, {}]

    refused = [await ask(admin, "POST", "/certificates/shop/pending/merge", body=body) for body in bodies]

    assert [refusal(response)[:2] for response in refused] == [(400, "BadParameter")] * 4
    assert "shop" not in admin.vault.secrets


async def test_a_creation_is_cancelled_and_forgotten(admin: Cloud) -> None:
    await told(admin, "POST", "/certificates/shop/create", body={"policy": MANUAL})

    cancelled = await told(admin, "PATCH", "/certificates/shop/pending", body={"cancellation_requested": True})
    deleted = await told(admin, "DELETE", "/certificates/shop/pending")
    absent = await ask(admin, "GET", "/certificates/shop/pending")

    assert (cancelled["cancellation_requested"], deleted["status"]) == (True, "cancelled")
    assert refusal(absent) == (404, "PendingCertificateNotFound", "")
    assert absent.json()["error"]["message"] == "Pending certificate not found: shop"
    await told(admin, "POST", "/certificates/shop/create", body={"policy": SELF})


async def test_an_issuer_of_the_vault_makes_a_creation_wait(admin: Cloud) -> None:
    await told(admin, "PUT", "/certificates/issuers/Mine", body={"provider": "DigiCert"})

    begun = await told(
        admin, "POST", "/certificates/shop/create", body={"policy": {**SELF, "issuer": {"name": "mine"}}}
    )

    assert (begun["status"], begun["issuer"]) == ("inProgress", {"name": "mine"})


# Policies, contacts, issuers ----------------------------------------------------------------------------------------


async def test_a_policy_changes_where_it_is_told_to(admin: Cloud) -> None:
    plant_certificate(admin.world, admin.vault, "shop")
    before = await told(admin, "GET", "/certificates/shop/policy")

    after = await told(admin, "PATCH", "/certificates/shop/policy", body={"x509_props": {"validity_months": 3}})

    assert after["x509_props"] == {**before["x509_props"], "validity_months": 3}
    assert after["key_props"] == before["key_props"]
    assert refusal(await ask(admin, "PATCH", "/certificates/shop/policy", body={"key_props": {"kty": "x"}}))[0] == 400
    assert await told(admin, "GET", "/certificates/shop/policy") == after


async def test_contacts_are_the_vaults(admin: Cloud) -> None:
    contacts = [{"email": "a@b.test", "name": "a", "phone": "1"}, {"email": "c@d.test"}]
    nobody = await ask(admin, "GET", "/certificates/contacts")

    kept = await told(admin, "PUT", "/certificates/contacts", body={"contacts": contacts})

    assert refusal(nobody)[0] == 404
    assert kept == {"id": f"{BASE}/certificates/contacts", "contacts": contacts}
    assert await told(admin, "DELETE", "/certificates/contacts") == kept
    assert not admin.vault.contacts


async def test_an_issuer_keeps_everything_but_its_password(admin: Cloud) -> None:
    body = {
        "provider": "DigiCert",
        "credentials": {"account_id": "a", "pwd": PEM_PASSWORD},
        "org_details": {"id": "o", "admin_details": [{"email": "a@b.test"}]},
    }

    made = await told(admin, "PUT", "/certificates/issuers/Mine", body=body)
    changed = await told(admin, "PATCH", "/certificates/issuers/mine", body={"attributes": {"enabled": False}})

    assert made["id"] == f"{BASE}/certificates/issuers/Mine"
    assert made["credentials"] == {"account_id": "a"}
    assert (changed["attributes"]["enabled"], changed["provider"]) == (False, "DigiCert")
    assert PEM_PASSWORD not in json.dumps([made, changed]) + repr(admin.vault)
    assert [item["provider"] for item in (await told(admin, "GET", "/certificates/issuers"))["value"]] == ["DigiCert"]
    await told(admin, "DELETE", "/certificates/issuers/mine")
    assert refusal(await ask(admin, "GET", "/certificates/issuers/mine"))[0] == 404


SUBJECTS = {
    "cn=MyCert": "CN=MyCert",
    "CN=a, O=b": "CN=a,O=b",
    "CN=a,O=b;C=DE": "CN=a,O=b,C=DE",
    'CN="a, b"': "CN=a\\, b",
    'CN="a ""b"""': 'CN=a \\"b\\"',
    "CN=a\\, b": "CN=a\\, b",
    "1.2.3.4=x": "1.2.3.4=x",
    "": "",
}


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_a_subject_is_read_as_windows_and_openssl_write_it(subject: str) -> None:
    assert distinguished_name(subject).rfc4514_string() == SUBJECTS[subject]
