"""Requests to Resource Manager that real tools were seen to send, byte for byte in path, query and body."""

from dataclasses import dataclass
from typing import Any

import pytest

from sandbox import arm_fixtures
from sandbox.arm_fixtures import Arm, body_of

arm = arm_fixtures.arm
pytestmark = pytest.mark.looptime
BASE = "/subscriptions/{s}/resourceGroups/identities/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
FIC = body_of("system:serviceaccount:shop:a")
READER = "/subscriptions/{s}/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
ASSIGNMENT = BASE + "/writer/providers/Microsoft.Authorization/roleAssignments/00000000-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class Sent:
    """One request, and the status that the tool goes on with."""

    method: str
    path: str
    status: int
    body: Any = None


# Terraform 1.11.4 with azurerm 5.2: a group is read, an identity and a credential are read, made and read again.
TERRAFORM = [
    Sent("GET", "/subscriptions/{s}/resourceGroups/identities?api-version=2023-07-01", 200),
    Sent("GET", BASE + "/pool?api-version=2024-11-30", 404),
    Sent(
        "PUT",
        BASE + "/pool?api-version=2024-11-30",
        201,
        {"location": "westeurope", "properties": {"isolationScope": "None"}, "tags": {}},
    ),
    Sent("GET", BASE + "/pool?api-version=2024-11-30", 200),
    Sent("GET", BASE + "/pool/federatedIdentityCredentials/a-b?api-version=2024-11-30", 404),
    Sent("PUT", BASE + "/pool/federatedIdentityCredentials/a-b?api-version=2024-11-30", 201, FIC),
    Sent("GET", BASE + "/pool/federatedIdentityCredentials/a-b?api-version=2024-11-30", 200),
    Sent("DELETE", BASE + "/pool/federatedIdentityCredentials/a-b?api-version=2024-11-30", 200),
    Sent("DELETE", BASE + "/pool?api-version=2024-11-30", 200),
]
# azure-cli 2.91.0: login, identity, federated-credential, role assignment, keyvault.
AZURE_CLI = [
    Sent("GET", "/subscriptions?api-version=2022-12-01", 200),
    Sent("PUT", BASE + "/cli?api-version=2025-05-31-preview", 201, {"location": "westeurope"}),
    Sent("GET", BASE + "/cli?api-version=2025-05-31-preview", 200),
    Sent("PUT", BASE + "/cli/federatedIdentityCredentials/fic1?api-version=2025-01-31-preview", 201, FIC),
    Sent("GET", BASE + "/cli/federatedIdentityCredentials?api-version=2025-01-31-preview", 200),
    Sent("GET", BASE + "/cli/federatedIdentityCredentials/fic1?api-version=2025-01-31-preview", 200),
    Sent("DELETE", BASE + "/cli/federatedIdentityCredentials/fic1?api-version=2025-01-31-preview", 200),
    Sent(
        "GET",
        BASE + "/writer/providers/Microsoft.Authorization/roleDefinitions?api-version=2022-05-01-preview"
        "&$filter=roleName%20eq%20'Key%20Vault%20Secrets%20User'",
        200,
    ),
    Sent(
        "PUT",
        ASSIGNMENT + "?api-version=2022-04-01",
        201,
        {
            "properties": {
                "roleDefinitionId": READER,
                "principalId": "aaaaaaaa-0000-4000-8000-000000000009",
                "principalType": "ServicePrincipal",
            }
        },
    ),
    Sent("GET", "/subscriptions/{s}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01", 200),
    Sent(
        "GET",
        "/subscriptions/{s}/resources?$filter=resourceType%20eq%20%27Microsoft.KeyVault%2Fvaults%27&api-version=2015-11-01",
        200,
    ),
    Sent("GET", "/subscriptions/{s}/resourcegroups?api-version=2024-11-01", 200),
    Sent("HEAD", "/subscriptions/{s}/resourcegroups/identities?api-version=2024-11-01", 204),
]
# azure-mgmt-msi 7.1.0, azure-mgmt-core's registration policy, and the trailing slashes and bare "?" of others.
LIBRARIES = [
    Sent("POST", "/subscriptions/{s}/providers/Microsoft.ManagedIdentity/register?api-version=2016-02-01", 200),
    Sent("GET", "/subscriptions/{s}/providers/Microsoft.ManagedIdentity?api-version=2016-02-01", 200),
    Sent("GET", BASE + "/writer/?api-version=2024-11-30", 200),
    Sent("GET", BASE + "/writer/federatedIdentityCredentials/?api-version=2024-11-30&$top=50", 200),
    Sent("GET", BASE + "/writer?&api-version=2024-11-30", 200),
    Sent("GET", BASE + "/writer?", 400),
    Sent("GET", BASE + "/writer?api-version=2024-11-30&api-version=2024-11-30", 200),
    Sent("GET", "/SUBSCRIPTIONS/{s}/RESOURCEGROUPS/IDENTITIES?api-version=2025-04-01", 200),
]


@pytest.mark.parametrize("tool", [TERRAFORM, AZURE_CLI, LIBRARIES], ids=["Terraform azurerm", "azure-cli", "libraries"])
async def test_what_real_tools_send_is_answered_as_they_expect(arm: Arm, tool: list[Sent]) -> None:
    for sent in tool:
        path = sent.path.replace("{s}", arm.subscription.id)
        answer = await arm.ask(sent.method, path, version=None, body=sent.body)
        assert answer.status_code == sent.status, (sent.method, path, answer.text)


@pytest.mark.parametrize(
    ("path", "several"),
    [
        ("/metadata/endpoints?api-version=2022-09-01", False),  # az cloud register, the Go SDKs
        ("/metadata/endpoints?api-version=2019-05-01", True),  # ARM_CLOUD_METADATA_URL
        ("/metadata/endpoints?api-version=2015-01-01", False),
        ("/Metadata/Endpoints/?api-version=2022-09-01", False),
    ],
)
async def test_the_clouds_metadata_has_what_tools_read(arm: Arm, path: str, several: bool) -> None:
    answer = (await arm.client.get(path)).json()
    cloud = answer[0] if several else answer

    assert cloud["name"] == "AzureCloud"
    assert set(cloud) >= {"authentication", "resourceManager", "graphAudience", "microsoftGraphResourceId", "portal"}
    assert set(cloud["authentication"]) >= {"loginEndpoint", "audiences", "tenant", "identityProvider"}
    assert cloud["authentication"]["audiences"][0] == "https://management.core.windows.net/"
    assert set(cloud["suffixes"]) >= {"keyVaultDns", "storage"}
