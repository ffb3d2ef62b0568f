"""Builds the stage: emulated Azure, embedded Kubernetes, operator and engine, each a process of its own.

Everything lies in one folder, readable by its owner alone. The operator and the engine are the unmodified executables;
the clock's rate reaches them as ordinary settings.
"""

import asyncio
import base64
import os
import shlex
import shutil
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightkube import AsyncClient, KubeConfig
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition

from keystead_sandbox.scenario import cast as roles
from keystead_sandbox.scenario.cast import Cast
from keystead_sandbox.scenario.processes import Part, Parts, executable

_ESO_CRDS = Path(__file__).parents[1] / "kube" / "eso_crds.yaml"
_USERS = (roles.OPERATOR, roles.ENGINE, roles.REVIEWER, roles.TEAM)

WAITS: Mapping[str, float] = {
    "KEYSTEAD_LANE_PACE": 4.0,
    "KEYSTEAD_SUBSCRIPTION_PACE": 0.5,
    "KEYSTEAD_TENANT_PACE": 0.1,
    "KEYSTEAD_LIST_PACE": 4.0,
    "KEYSTEAD_PROPAGATION_WAIT": 20.0,
    "KEYSTEAD_QUORUM_INTERVAL": 1.0,
    "KEYSTEAD_FINALIZER_WAIT": 30.0,
}
"""The operator's waits for Azure, in seconds of Azure's time."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What has been built."""

    folder: Path
    kubeconfig: Path
    azure_url: str
    azure_ca: Path
    environment: Mapping[str, str]
    """What an unmodified client on this machine needs to reach the sandbox."""

    def kubernetes(self, context: str | None = None) -> AsyncClient:
        """A client acting as one of the cast."""
        config = KubeConfig.from_file(self.kubeconfig).get(context)
        return AsyncClient(config=config, trust_env=False)


def write_seed(cast: Cast, path: Path) -> None:
    """What stands in Azure before anybody asks Keystead for anything."""
    group = f"/subscriptions/{roles.SUBSCRIPTION_ID}/resourceGroups/{roles.RESOURCE_GROUP}"
    seed: dict[str, Any] = {
        "tenants": [{"id": roles.TENANT_ID, "name": "sandbox"}],
        "subscriptions": [{"id": roles.SUBSCRIPTION_ID, "tenant": roles.TENANT_ID}],
        "resourceGroups": [{"id": group, "location": roles.LOCATION}],
        "applications": [
            {"clientId": roles.OPERATOR_CLIENT_ID, "secret": cast.operator_secret, "tenant": roles.TENANT_ID}
        ],
        "identities": [
            {"id": roles.identity_id(name), "location": roles.LOCATION}
            for project in cast.projects
            for name in project.identities
        ],
        "vaults": [
            {
                "id": f"{group}/providers/Microsoft.KeyVault/vaults/{project.vault}",
                "location": roles.LOCATION,
                "secrets": dict(project.values),
            }
            for project in cast.projects
        ],
        "roleAssignments": [
            {"principal": roles.OPERATOR_CLIENT_ID, "role": "Managed Identity Contributor", "scope": group},
            *(
                {
                    "principal": roles.identity_id(name),
                    "role": "Key Vault Secrets User",
                    "scope": f"{group}/providers/Microsoft.KeyVault/vaults/{project.vault}",
                }
                for project in cast.projects
                for name in project.identities
            ),
        ],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(seed, sort_keys=False))


async def build(cast: Cast, parts: Parts, folder: Path, *, rate: float) -> Stage:
    """Start Kubernetes and Azure, and install the custom resources. PartFailed when something does not come up."""
    sandbox = executable("keystead-sandbox")
    base = _base_environment()
    kubeconfig, env_file, seed = folder / "kubeconfig", folder / "azure.env", folder / "seed.yaml"
    write_seed(cast, seed)
    users = [argument for user in _USERS for argument in ("--user", f"{user}:system:masters")]
    definitions = asyncio.create_task(_crds(parts, base))
    try:
        journal = "kubernetes.journal.jsonl"
        kube = await parts.start(
            "kubernetes",
            *(sandbox, "kube", "--kubeconfig", str(kubeconfig), "--journal", str(folder / journal)),
            *("--clock-rate", str(rate), *users),
            environment=base,
        )
        ca_file = folder / "kubernetes-ca.pem"
        azure = await parts.start(
            "azure",
            *(sandbox, "azure", "--seed", str(seed), "--env-file", str(env_file), "--issuer-ca", str(ca_file)),
            *("--clock-rate", str(rate), "--journal", str(folder / "azure.journal.jsonl")),
            environment=base,
        )
        await parts.until_file(kube, kubeconfig)
        write_kube_ca(kubeconfig, ca_file)
        await parts.until_file(azure, env_file)
        seed.unlink()  # it holds the vaults' values
        exported = read_exports(env_file)
        # The emulated Azure takes its authority away when it ends; a kept folder goes on having it.
        shutil.copy(exported["SSL_CERT_FILE"], folder / "azure-ca.pem")
        stage = Stage(
            folder, kubeconfig, exported["KEYSTEAD_SANDBOX_URL"], Path(exported["SSL_CERT_FILE"]), {**base, **exported}
        )
        await _install(stage, await definitions)
        return stage
    finally:
        definitions.cancel()


async def start_keystead(stage: Stage, cast: Cast, parts: Parts, *, rate: float) -> Part:
    """Start the operator and the engine, unmodified; returns the operator."""
    keystead = executable("keystead")
    waits = {name: f"{seconds / rate:g}s" for name, seconds in WAITS.items()}
    environment = {
        **stage.environment,
        **waits,
        "AZURE_CLIENT_ID": roles.OPERATOR_CLIENT_ID,
        "AZURE_CLIENT_SECRET": cast.operator_secret,
        "AZURE_TENANT_ID": roles.TENANT_ID,
        "KUBECONFIG": str(stage.kubeconfig),
    }
    operator = await parts.start("operator", keystead, "run", "--context", roles.OPERATOR, environment=environment)
    await parts.start("engine", keystead, "sync", "--context", roles.ENGINE, environment=environment)
    return operator


def _base_environment() -> dict[str, str]:
    """The caller's environment without anything that would lead the parts to a real cluster or a real Azure."""
    inherited = dict(os.environ)  # noqa: TID251 - handed on to the parts, less what is theirs to be told
    private = ("AZURE_", "KEYSTEAD_", "KUBE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_", "ARM_")
    return {name: value for name, value in inherited.items() if not name.upper().startswith(private)}


def write_kube_ca(kubeconfig: Path, path: Path) -> None:
    """The API server's CA as a file, taken from the kubeconfig, so that any cluster can be the issuer."""
    clusters = yaml.safe_load(kubeconfig.read_text())["clusters"]
    path.write_bytes(base64.b64decode(clusters[0]["cluster"]["certificate-authority-data"]))


def read_exports(path: Path) -> dict[str, str]:
    """The ``export NAME=value`` lines of a file as a mapping."""
    words = [shlex.split(line) for line in path.read_text().splitlines()]
    return dict(word.split("=", 1) for line in words if line[:1] == ["export"] for word in line[1:])


async def _crds(parts: Parts, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """Our kinds, as the operator's own executable prints them, and stand-ins for ESO's."""
    printed = await parts.output_of("crds", executable("keystead"), "crds", environment=environment)
    documents = [*yaml.safe_load_all(printed), *yaml.safe_load_all(_ESO_CRDS.read_text())]
    return [document for document in documents if document]


async def _install(stage: Stage, definitions: list[dict[str, Any]]) -> None:
    admin = stage.kubernetes()
    try:
        for definition in definitions:
            resource = typing.cast("CustomResourceDefinition", CustomResourceDefinition.from_dict(definition))
            await admin.apply(resource, field_manager=roles.ADMIN)
    finally:
        await admin.close()
