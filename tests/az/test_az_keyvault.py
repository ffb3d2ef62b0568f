"""azure-cli makes vaults and reads and writes what is in them."""

import pytest

from az.conftest import PLANTED, SUBSCRIPTION, VAULT, Az, Sandbox


@pytest.fixture(scope="module")
def officer(az: Az) -> Az:
    """The owner, with a role for the vault's data too."""
    (role,) = [
        each["principalId"]
        for each in az(
            f"role assignment list --scope /subscriptions/{SUBSCRIPTION} --fill-principal-name false --role Owner"
        )
    ]
    az(
        f"role assignment create --role 'Key Vault Administrator' --assignee-object-id {role}"
        f" --assignee-principal-type ServicePrincipal --scope {VAULT}"
    )
    return az


def test_a_vault_is_made_listed_and_shown(az: Az) -> None:
    made = az("keyvault create -g pool -n made-by-az -l westeurope --enable-rbac-authorization true")
    listed = {each["name"] for each in az("keyvault list -g pool")}
    shown = az("keyvault show -g pool -n made-by-az")

    assert made["properties"]["vaultUri"] == "https://made-by-az.vault.azure.net/"
    assert made["properties"]["enableRbacAuthorization"] is True
    assert listed >= {"made-by-az", "team-kv"}
    assert shown["id"] == made["id"]


def test_an_owner_without_a_data_role_reads_no_secret(sandbox: Sandbox, az: Az) -> None:
    principal = az("identity create -g pool -n unread -l westeurope")
    subject = "system:serviceaccount:shop:unread"
    az(
        f"identity federated-credential create -g pool --identity-name unread --name one --issuer"
        f" {sandbox.issuer.address} --subject {subject} --audiences api://AzureADTokenExchange"
    )
    az(
        f"role assignment create --role Owner --assignee-object-id {principal['principalId']} --assignee-principal-type"
        f" ServicePrincipal --scope {VAULT}"
    )
    somebody = sandbox.somebody("unread")
    somebody(
        f"login --service-principal -u {principal['clientId']} -t {principal['tenantId']} --federated-token",
        sandbox.issuer.token(subject),
    )

    said = somebody.refusal("keyvault secret show --vault-name team-kv -n db")

    assert "(Forbidden) Caller is not authorized to perform action on resource." in said
    assert "Inner error" in said
    assert "ForbiddenByRbac" in said


def test_a_secret_is_set_shown_listed_deleted_and_recovered(officer: Az) -> None:
    there = "--vault-name team-kv"
    made = officer(f"keyvault secret set {there} -n api-key --value first --description text/plain")
    officer(f"keyvault secret set {there} -n api-key --value second")
    shown = officer(f"keyvault secret show {there} -n api-key")
    old = officer(f"keyvault secret show --id {made['id']}")
    listed = {each["name"] for each in officer(f"keyvault secret list {there}")}
    versions = officer(f"keyvault secret list-versions {there} -n api-key")

    officer(f"keyvault secret delete {there} -n api-key")
    gone = officer.refusal(f"keyvault secret show {there} -n api-key")
    deleted = [each["name"] for each in officer(f"keyvault secret list-deleted {there}")]
    taken = officer.refusal(f"keyvault secret set {there} -n api-key --value third")
    officer(f"keyvault secret recover {there} -n api-key")

    assert (shown["value"], old["value"]) == ("second", "first")
    assert listed >= {"api-key", "db"}
    assert len(versions) == 2
    assert "(SecretNotFound) A secret with (name/id) api-key was not found in this key vault." in gone
    assert deleted == ["api-key"]
    assert "ObjectIsDeletedButRecoverable" in taken
    assert officer(f"keyvault secret show {there} -n api-key")["value"] == "second"


def test_a_seeded_secret_is_read(officer: Az) -> None:
    assert officer("keyvault secret show --vault-name team-kv -n db")["value"] == PLANTED


def test_keys_and_certificates_are_listed(officer: Az) -> None:
    assert officer("keyvault key list --vault-name team-kv") == []
    assert officer("keyvault certificate list --vault-name team-kv") == []


def test_a_vault_that_is_not_there_is_named(az: Az) -> None:
    assert "no-such-kv" in az.refusal("keyvault show -n no-such-kv")


def test_no_secret_is_in_the_journal(sandbox: Sandbox, officer: Az) -> None:
    officer("keyvault secret show --vault-name team-kv -n db")

    written = str(sandbox.journal())
    assert PLANTED not in written
    assert sandbox.exports["AZURE_CLIENT_SECRET"] not in written
    assert "eyJ" not in written
