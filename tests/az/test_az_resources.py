"""azure-cli manages resource groups, identities, credentials, roles and providers."""

import pytest

from az.conftest import POOL, SUBSCRIPTION, VAULT, Az, Sandbox

ISSUER = "https://oidc.example.test/a/"
FIC = "identity federated-credential"
AUDIENCE = "--audiences api://AzureADTokenExchange"


def test_a_resource_group_is_made_shown_listed_and_deleted(az: Az) -> None:
    made = az("group create -n extra -l northeurope --tags team=shop")
    shown = az("group show -n extra")
    listed = {each["name"] for each in az("group list")}
    az("identity create -g extra -n inside -l northeurope")

    az("group delete -n extra --yes")

    assert made["properties"]["provisioningState"] == "Succeeded"
    assert (shown["location"], shown["tags"]) == ("northeurope", {"team": "shop"})
    assert {"extra", "pool"} <= listed
    assert "(ResourceGroupNotFound)" in az.refusal("group show -n extra")
    assert "inside" not in [each["name"] for each in az("identity list")]


def test_an_identity_is_made_shown_listed_and_deleted(az: Az) -> None:
    made = az("identity create -g pool -n writer -l westeurope --tags team=shop")
    shown = az("identity show -g pool -n writer")
    listed = [each["name"] for each in az("identity list -g pool")]

    az("identity delete -g pool -n writer")

    assert made == shown
    assert (made["location"], made["tags"]) == ("westeurope", {"team": "shop"})
    assert "writer" in listed
    said = az.refusal("identity show -g pool -n writer")
    assert "(ResourceNotFound) The Resource 'Microsoft.ManagedIdentity/userAssignedIdentities/writer'" in said


def test_a_credential_is_made_listed_shown_changed_and_deleted(az: Az) -> None:
    az("identity create -g pool -n trusted -l westeurope")
    there = "-g pool --identity-name trusted"
    made = az(f"{FIC} create {there} --name one --issuer {ISSUER} --subject a {AUDIENCE}")
    shown = az(f"{FIC} show {there} --name one")
    changed = az(f"{FIC} update {there} --name one --issuer {ISSUER} --subject b {AUDIENCE}")
    listed = az(f"{FIC} list {there}")

    az(f"{FIC} delete {there} --name one --yes")

    assert made == shown
    assert (made["issuer"], made["subject"], made["audiences"]) == (ISSUER, "a", ["api://AzureADTokenExchange"])
    assert changed["subject"] == "b"
    assert listed == [changed]
    assert az(f"{FIC} list {there}") == []
    assert "NotFound" in az.refusal(f"{FIC} show {there} --name one")


def test_the_same_trust_again_is_refused_under_another_name(az: Az) -> None:
    az("identity create -g pool -n twice -l westeurope")
    there = "-g pool --identity-name twice"
    az(f"{FIC} create {there} --name one --issuer {ISSUER} --subject a {AUDIENCE}")

    said = az.refusal(f"{FIC} create {there} --name two --issuer {ISSUER} --subject a {AUDIENCE}")

    assert "(Conflict) Issuer and subject combination already exists for this Managed Identity." in said


def test_the_21st_credential_is_refused(az: Az) -> None:
    az("identity create -g pool -n full -l westeurope")
    there = "-g pool --identity-name full"
    for number in range(20):
        az(f"{FIC} create {there} --name fic-{number} --issuer {ISSUER} --subject s{number} {AUDIENCE}")

    said = az.refusal(f"{FIC} create {there} --name fic-20 --issuer {ISSUER} --subject s20 {AUDIENCE}")

    assert "(BadRequest) Too many Federated Identity Credentials" in said
    assert len(az(f"{FIC} list {there}")) == 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (f"--name a --issuer {ISSUER} --subject a {AUDIENCE}", "(BadRequest)"),
        (f"--name good-name --issuer {ISSUER} --subject a --audiences one two", "must have exactly one audience"),
    ],
    ids=["a short name", "two audiences"],
)
def test_a_credential_that_makes_no_sense_is_refused(az: Az, options: str, said: str) -> None:
    az("identity create -g pool -n strict -l westeurope")

    assert said in az.refusal(f"{FIC} create -g pool --identity-name strict {options}")


def test_a_role_is_assigned_listed_and_taken_away(az: Az) -> None:
    principal = az("identity create -g pool -n holder -l westeurope")["principalId"]
    who = f"--assignee-object-id {principal} --assignee-principal-type ServicePrincipal"
    made = az(f"role assignment create --role 'Key Vault Secrets User' {who} --scope {VAULT}")
    listed = az(f"role assignment list --scope {VAULT} --fill-principal-name false --fill-role-definition-name false")

    az("role assignment delete --ids", made["id"])
    after = az(f"role assignment list --scope {VAULT} --fill-principal-name false --fill-role-definition-name false")

    assert made["principalId"] == principal
    assert [each["name"] for each in listed if each["principalId"] == principal] == [made["name"]]
    assert [each for each in after if each["principalId"] == principal] == []


def test_roles_are_looked_up_by_name(az: Az) -> None:
    (found,) = az("role definition list --name 'Key Vault Secrets User'")

    assert found["name"] == "4633458b-17de-408a-b874-0445c86b69e6"
    assert found["permissions"][0]["dataActions"] == [
        "Microsoft.KeyVault/vaults/secrets/getSecret/action",
        "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
    ]


def test_a_provider_is_registered(az: Az) -> None:
    az("provider register --namespace Microsoft.ManagedIdentity")

    assert az("provider show --namespace Microsoft.ManagedIdentity")["registrationState"] == "Registered"


def test_what_is_asked_is_what_was_seen_of_azure_cli(sandbox: Sandbox, az: Az) -> None:
    before = len(sandbox.journal())
    az("identity create -g pool -n seen -l westeurope")
    az(f"{FIC} create -g pool --identity-name seen --name one --issuer {ISSUER} --subject a {AUDIENCE}")
    az(f"{FIC} list -g pool --identity-name seen")

    asked = [
        (each["method"], each["path"].removeprefix(POOL), each["query"], each["status"])
        for each in sandbox.journal()[before:]
        if each["service"] == "arm"
    ]
    identity = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/seen"
    assert asked == [
        ("PUT", identity, "api-version=2025-05-31-preview", 201),
        ("PUT", f"{identity}/federatedIdentityCredentials/one", "api-version=2025-01-31-preview", 201),
        ("GET", f"{identity}/federatedIdentityCredentials", "api-version=2025-01-31-preview", 200),
    ]


def test_a_subscription_that_is_not_there_is_named(az: Az) -> None:
    said = az.refusal("identity list --subscription 99999999-9999-4999-8999-999999999999")

    assert "99999999-9999-4999-8999-999999999999" in said
    assert SUBSCRIPTION not in said
