"""Key Vault: which right each operation needs, under roles and under access policies, and the firewall before both."""

import json

import pytest

from keystead_sandbox.resources import AccessPolicy
from sandbox import entra_keyvault_fixtures, keyvault_fixtures
from sandbox.entra_keyvault_fixtures import Cloud
from sandbox.keyvault_fixtures import ADMINISTRATOR, OPERATIONS, SECRET, ask, refusal, told

cloud, admin = entra_keyvault_fixtures.cloud, keyvault_fixtures.admin
pytestmark = pytest.mark.looptime
IDS = [f"{each[0]} {each[1]}" for each in OPERATIONS]
OPERATION = pytest.mark.parametrize(("method", "path"), [each[:2] for each in OPERATIONS], ids=IDS)
ACTION = pytest.mark.parametrize(("method", "path", "action"), [each[:3] for each in OPERATIONS], ids=IDS)
PERMISSION = pytest.mark.parametrize(
    ("method", "path", "permission"), [(*each[:2], each[3]) for each in OPERATIONS], ids=IDS
)


def policy(cloud: Cloud, permissions: str, **more: str) -> AccessPolicy:
    """``secrets get list`` for the identity."""
    kind, *given = permissions.split()
    lists = {kind: tuple(given)}
    told = {"object_id": cloud.identity.principal_id, "tenant_id": cloud.tenant, **more}
    return AccessPolicy(**told, **lists)  # type: ignore[arg-type]  # one keyword is a tuple, the others are text


def under_policies(cloud: Cloud, *policies: AccessPolicy) -> None:
    cloud.vault.rbac = False
    cloud.vault.access_policies = list(policies)


# Roles -----------------------------------------------------------------------------------------------------------


@ACTION
async def test_an_operation_names_the_data_action_that_it_needs(
    cloud: Cloud, method: str, path: str, action: str
) -> None:
    response = await ask(cloud, method, path)

    assert refusal(response) == (403, "Forbidden", "ForbiddenByRbac")
    assert f"Action: 'Microsoft.KeyVault/vaults/{action}'\r\n" in response.json()["error"]["message"]


@OPERATION
async def test_an_administrator_may_do_everything(admin: Cloud, method: str, path: str) -> None:
    assert (await ask(admin, method, path)).status_code != 403


@pytest.mark.parametrize("kind", ["secrets", "keys", "certificates"])
async def test_a_role_may_be_for_one_thing(cloud: Cloud, kind: str) -> None:
    scope = f"{cloud.vault.resource_id.upper()}/{kind}/ONE"
    cloud.world.assign_role(cloud.identity.principal_id, ADMINISTRATOR, scope)

    assert (await ask(cloud, "GET", f"/{kind}/one")).status_code == 404
    assert (await ask(cloud, "GET", f"/{kind}/two")).status_code == 403
    assert (await ask(cloud, "GET", f"/{kind}")).status_code == 403


@pytest.mark.parametrize("above", [2, 4, 8])
async def test_a_role_above_the_vault_is_for_all_in_it(cloud: Cloud, above: int) -> None:
    scope = "/".join(cloud.vault.resource_id.split("/")[: above + 1])
    cloud.world.assign_role(cloud.identity.principal_id, ADMINISTRATOR, scope)

    assert (await ask(cloud, "GET", SECRET)).status_code == 200


async def test_owner_of_the_subscription_reads_no_secret(cloud: Cloud) -> None:
    cloud.world.assign_role(cloud.identity.principal_id, "Owner", "/subscriptions/" + cloud.vault.resource_id[15:51])

    assert refusal(await ask(cloud, "GET", SECRET))[2] == "ForbiddenByRbac"


# Access policies -------------------------------------------------------------------------------------------------


@PERMISSION
async def test_an_access_policy_names_the_permission_that_an_operation_needs(
    cloud: Cloud, method: str, path: str, permission: str
) -> None:
    under_policies(cloud)

    refused = await ask(cloud, method, path)
    under_policies(cloud, policy(cloud, permission))
    allowed = await ask(cloud, method, path)

    assert refusal(refused) == (403, "Forbidden", "AccessDenied")
    assert f"does not have {permission} permission on key vault" in refused.json()["error"]["message"]
    assert allowed.status_code != 403


async def test_without_a_policy_the_refusal_names_everything(cloud: Cloud) -> None:
    under_policies(cloud)

    message = (await ask(cloud, "GET", SECRET)).json()["error"]["message"]

    assert message == (
        f"The user, group or application 'appid={cloud.identity.client_id};oid={cloud.identity.principal_id};"
        f"iss=https://sts.windows.net/{cloud.tenant}/' does not have secrets get permission on key vault"
        " 'Payments-KV;location=westeurope'. For help resolving this issue, please see"
        " https://go.microsoft.com/fwlink/?linkid=2125287"
    )


async def test_roles_mean_nothing_in_a_vault_of_access_policies(admin: Cloud) -> None:
    under_policies(admin)

    assert refusal(await ask(admin, "GET", SECRET))[2] == "AccessDenied"


async def test_access_policies_mean_nothing_in_a_vault_of_roles(cloud: Cloud) -> None:
    cloud.vault.access_policies = [policy(cloud, "secrets get")]

    assert refusal(await ask(cloud, "GET", SECRET))[2] == "ForbiddenByRbac"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"object_id": "00000000-0000-4000-8000-000000000000"}, 403),
        ({"tenant_id": "00000000-0000-4000-8000-000000000000"}, 403),
        ({"application_id": "00000000-0000-4000-8000-000000000000"}, 403),
    ],
    ids=["the caller's", "another principal's", "another tenant's", "another application's"],
)
async def test_a_policy_is_for_whom_it_names(cloud: Cloud, change: dict[str, str], status: int) -> None:
    under_policies(cloud, policy(cloud, "secrets get", **change))

    assert (await ask(cloud, "GET", SECRET)).status_code == status


async def test_all_is_everything_except_to_purge(cloud: Cloud) -> None:
    under_policies(cloud, policy(cloud, "secrets all"))
    await told(cloud, "DELETE", SECRET)

    assert refusal(await ask(cloud, "DELETE", "/deletedsecrets/db-password"))[2] == "AccessDenied"
    under_policies(cloud, policy(cloud, "secrets all purge"))
    assert (await ask(cloud, "DELETE", "/deletedsecrets/db-password")).status_code == 204


# Firewall --------------------------------------------------------------------------------------------------------


async def test_without_a_public_network_nobody_comes_in(admin: Cloud) -> None:
    admin.vault.public_network = "Disabled"

    response = await ask(admin, "GET", SECRET)

    assert refusal(response) == (403, "Forbidden", "ForbiddenByConnection")
    who = f"appid={admin.identity.client_id};oid={admin.identity.principal_id};iss=https://sts.windows.net/{admin.tenant}/"
    assert response.json()["error"]["message"] == (
        "Public network access is disabled and request is not from a trusted service nor via an approved private"
        f" link.\r\nCaller: {who};xms_mirid={admin.identity.resource_id}\r\nVault: Payments-KV;location=westeurope"
    )


DENY: dict[str, object] = {"defaultAction": "Deny", "bypass": "AzureServices"}
RULES: list[tuple[dict[str, object], int]] = [
    ({"defaultAction": "Allow"}, 200),
    ({"bypass": "None"}, 200),
    (DENY, 403),
    ({**DENY, "ipRules": []}, 403),
    ({**DENY, "ipRules": [{"value": "127.0.0.1"}]}, 200),
    ({**DENY, "ipRules": [{"value": "10.0.0.0/8"}, {"value": "127.0.0.0/8"}]}, 200),
    ({**DENY, "ipRules": [{"value": "10.0.0.0/8"}]}, 403),
    ({**DENY, "ipRules": [{"value": "nonsense"}, {}, 5]}, 403),
    ({**DENY, "ipRules": "127.0.0.1"}, 403),
]


@pytest.mark.parametrize(("rules", "status"), RULES, ids=[json.dumps(rules) for rules, _ in RULES])
async def test_the_firewall_lets_in_the_addresses_of_its_rules(
    admin: Cloud, rules: dict[str, object], status: int
) -> None:
    admin.vault.settings["networkAcls"] = rules

    response = await ask(admin, "GET", SECRET)

    assert response.status_code == status
    if status == 403:
        assert refusal(response)[2] == "ForbiddenByFirewall"
        assert response.json()["error"]["message"].startswith(
            "Client address is not authorized and caller is not a trusted service.\r\nClient address: 127.0.0.1\r\n"
        )


async def test_the_firewall_comes_after_the_challenge_and_before_the_role(cloud: Cloud) -> None:
    cloud.vault.public_network = "Disabled"

    assert (await ask(cloud, "GET", SECRET, headers={})).status_code == 401
    assert refusal(await ask(cloud, "GET", SECRET))[2] == "ForbiddenByConnection"
