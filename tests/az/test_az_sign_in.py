"""azure-cli signs in, with a secret and with a cluster's token."""

from az.conftest import SUBSCRIPTION, Az, Sandbox

SUBJECT = "system:serviceaccount:shop:payments"


def test_a_service_principal_signs_in_with_its_secret(sandbox: Sandbox) -> None:
    az = sandbox.somebody("secretive")

    (account,) = az.sign_in()

    assert account["id"] == SUBSCRIPTION
    assert account["tenantId"] == sandbox.exports["AZURE_TENANT_ID"]
    assert account["user"] == {"name": sandbox.exports["AZURE_CLIENT_ID"], "type": "servicePrincipal"}
    assert az("account show")["id"] == SUBSCRIPTION
    assert [each["id"] for each in az("account list")] == [SUBSCRIPTION]


def test_a_wrong_secret_is_refused_by_its_code(sandbox: Sandbox) -> None:
    exports = sandbox.exports
    line = f"login --service-principal -u {exports['AZURE_CLIENT_ID']} -t {exports['AZURE_TENANT_ID']} -p wrong"

    said = sandbox.somebody("mistaken").refusal(line)

    assert "AADSTS7000215" in said
    assert "Invalid client secret provided" in said


def test_an_identity_signs_in_with_a_clusters_token(sandbox: Sandbox, az: Az) -> None:
    made = az("identity create -g pool -n reader -l westeurope")
    az(
        f"identity federated-credential create -g pool --identity-name reader --name cluster --issuer"
        f" {sandbox.issuer.address} --subject {SUBJECT} --audiences api://AzureADTokenExchange"
    )
    az(
        f"role assignment create --role Reader --assignee-object-id {made['principalId']} --assignee-principal-type"
        f" ServicePrincipal --scope /subscriptions/{SUBSCRIPTION}"
    )
    reader = sandbox.somebody("reader")
    line = f"login --service-principal -u {made['clientId']} -t {made['tenantId']} --federated-token"

    (account,) = reader(line, sandbox.issuer.token(SUBJECT))

    assert account["id"] == SUBSCRIPTION
    assert "writer" not in [each["name"] for each in reader("identity list -g pool")]
    said = reader.refusal("identity create -g pool -n mine -l westeurope")
    assert "(AuthorizationFailed)" in said
    assert "does not have authorization to perform action" in said


def test_a_token_of_another_subject_is_refused(sandbox: Sandbox, az: Az) -> None:
    made = az("identity create -g pool -n stranger -l westeurope")
    az(
        f"identity federated-credential create -g pool --identity-name stranger --name cluster --issuer"
        f" {sandbox.issuer.address} --subject {SUBJECT} --audiences api://AzureADTokenExchange"
    )
    line = f"login --service-principal -u {made['clientId']} -t {made['tenantId']} --federated-token"

    said = sandbox.somebody("stranger").refusal(line, sandbox.issuer.token(f"{SUBJECT}-2"))

    assert "AADSTS700213" in said
    assert f"'{SUBJECT}-2'" in said


def test_a_missing_tenant_is_named(sandbox: Sandbox) -> None:
    absent = "99999999-9999-4999-8999-999999999999"

    said = sandbox.somebody("lost").refusal(f"login --service-principal -u x -p y -t {absent}")

    assert absent in said
