"""Builds the stage: emulated Azure, a Kubernetes, operator and engine, each a process of its own.

- Everything lies in one folder, readable by its owner alone.
- The operator and the engine are the unmodified executables; the clock's rate reaches them as ordinary settings.
- Everybody acts as a ServiceAccount of their own, with the roles and under the guards that Keystead ships.
"""

import asyncio
import json
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from lightkube import AsyncClient

from keystead_sandbox import kubeconfig as files
from keystead_sandbox.access import Access, KubernetesRefused, read_config
from keystead_sandbox.kube_api import KubeApi
from keystead_sandbox.processes import Part, Parts, executable
from keystead_sandbox.scenario import cast as roles
from keystead_sandbox.scenario import guest, people
from keystead_sandbox.scenario.cast import HOME, Cast
from keystead_sandbox.scenario.where import Where, write_kube_ca

_ESO_CRDS = Path(__file__).parents[1] / "kube" / "eso_crds.yaml"
_SIGNALS = ("kubeconfig", "kubernetes-ca.pem", "azure.env")  # files that say by being there that something is ready
_AT_ONCE = 8  # requests of the set-up in flight

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
    """The admin's."""
    admin: Access = field(repr=False)
    cast_kubeconfig: Path
    """A context for each of the cast."""
    azure_url: str
    environment: Mapping[str, str]
    """What an unmodified client on this machine needs to reach the sandbox."""

    def kubernetes(self, name: str | None = None) -> AsyncClient:
        """A client acting as one of the cast; as the admin of the cluster when none is named."""
        return self.admin.client() if name is None else read_config(self.cast_kubeconfig, name).client()


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


class Builder:
    """Builds a stage, and takes out of somebody else's cluster what it put there."""

    def __init__(self, cast: Cast, where: Where, parts: Parts, folder: Path, say: Callable[[str], None]) -> None:
        self._cast = cast
        self._where = where
        self._parts = parts
        self._folder = folder
        self._say = say
        self._made: list[dict[str, Any]] = []

    async def build(self, *, rate: float) -> Stage:
        """Start Kubernetes and Azure, and set up the cluster. PartFailed when something does not come up.

        Raises:
            NotWelcome: The cluster is somebody else's and is not fit for it; nothing was changed.
            KubernetesRefused: The cluster does not answer, or not as it must.

        """
        base = _base_environment()
        for name in _SIGNALS:  # of an earlier run in a folder that was kept
            (self._folder / name).unlink(missing_ok=True)
        wanted = asyncio.create_task(self._wanted(base))
        azure: asyncio.Task[dict[str, str]] | None = None
        try:
            told = await self._where.prepare(self._say)
            ca_file = self._folder / "kubernetes-ca.pem"
            if self._where.is_ours:  # both come up side by side: the file appears when Kubernetes is there
                azure = asyncio.create_task(self._start_azure(base, ("--issuer-ca", str(ca_file)), rate=rate))
            kubeconfig = await self._where.start(self._parts, self._folder, {**base, **told}, rate=rate)
            if self._where.is_ours:
                write_kube_ca(kubeconfig, ca_file)
            access = self._where.access(kubeconfig)
            admin = KubeApi(access)
            try:
                objects = await wanted
                if azure is None:
                    objects = await self._enter(admin, objects)
                    documents = self._folder / "issuer.json"
                    files.write_private(documents, json.dumps(await guest.issuer_documents(admin)).encode())
                    option = ("--issuer-documents", str(documents))
                    azure = asyncio.create_task(self._start_azure(base, option, rate=rate))
                await self._install(admin, objects)
                cluster, host = access.cluster_section(), urlsplit(access.config.cluster.server).hostname or ""
                cast_file = self._folder / "cast.kubeconfig"
                files.publish(cast_file, files.document(cluster, await people.sections(admin), current=roles.ADMIN))
            finally:
                await admin.close()
            exported = await azure
            exported["NO_PROXY"] = f"{exported['NO_PROXY']},{host}"
            return Stage(
                self._folder, kubeconfig, access, cast_file, exported["KEYSTEAD_SANDBOX_URL"], {**base, **exported}
            )
        finally:
            wanted.cancel()
            if azure is not None:
                azure.cancel()

    async def leave(self) -> None:
        """Take out of somebody else's cluster what was put there; the operator and the engine have ended."""
        if self._where.is_ours or not self._made:
            return
        self._say(f"keystead sandbox: taking everything out of {self._where.title} again")
        try:
            admin = KubeApi(self._where.access(Path(self._where.named)))
        except KubernetesRefused as error:
            self._say(f"keystead sandbox: nothing is taken away: {error}")
            return
        try:
            await guest.leave(admin, self._cast, self._made, self._say)
        except KubernetesRefused as error:
            self._say(f"keystead sandbox: whether all is gone cannot be told: {error}")
        finally:
            await admin.close()

    async def _enter(self, admin: KubeApi, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Ask whether we may come in, and say what we bring; returns what is still to be made."""
        definitions = [item for item in objects if item["kind"] == "CustomResourceDefinition"]
        others = [item for item in objects if item["kind"] != "CustomResourceDefinition"]
        await guest.check(admin, self._cast, others)
        still = [*await guest.without_what_is_there(admin, definitions), *others]
        self._say(f"keystead sandbox: {guest.announcement(self._cast, still)}")
        return still

    async def _install(self, admin: KubeApi, objects: Sequence[dict[str, Any]]) -> None:
        self._made = list(objects)
        turn = asyncio.Semaphore(_AT_ONCE)

        async def put(item: dict[str, Any]) -> None:
            async with turn:
                await admin.apply(item)

        # What lives in a namespace comes after it, and rights come last: what they name should be there.
        for namespaced in (False, True):
            async with asyncio.TaskGroup() as tasks:
                for item in objects:
                    if ("namespace" in item["metadata"]) is namespaced:
                        tasks.create_task(put(item))
        definitions = [item for item in objects if item["kind"] == "CustomResourceDefinition"]
        await asyncio.gather(*(admin.until_served(each) for each in definitions))

    async def _start_azure(self, base: Mapping[str, str], issuer: Sequence[str], *, rate: float) -> dict[str, str]:
        """Start the emulated Azure; returns what its clients must be told."""
        env_file, seed = self._folder / "azure.env", self._folder / "seed.yaml"
        write_seed(self._cast, seed)
        azure = await self._parts.start(
            "azure",
            *(executable("keystead-sandbox"), "azure", "--seed", str(seed), "--env-file", str(env_file), *issuer),
            *("--clock-rate", str(rate), "--journal", str(self._folder / "azure.journal.jsonl")),
            environment=base,
        )
        await self._parts.until_file(azure, env_file)
        seed.unlink()  # it holds the vaults' values
        exported = read_exports(env_file)
        # The emulated Azure takes its authority away when it ends; a kept folder goes on having it.
        shutil.copy(exported["SSL_CERT_FILE"], self._folder / "azure-ca.pem")
        return exported

    async def _wanted(self, environment: Mapping[str, str]) -> list[dict[str, Any]]:
        """Our kinds, roles and guards, as the executable prints them, stand-ins for ESO's kinds, the cast's accounts."""
        keystead = executable("keystead")
        printed = await asyncio.gather(
            self._parts.output_of("crds", keystead, "crds", environment=environment),
            self._parts.output_of("rbac", keystead, "rbac", "--namespace", HOME, environment=environment),
            self._parts.output_of("guards", keystead, "guards", "--namespace", HOME, environment=environment),
        )
        documents = [each for text in (*printed, _ESO_CRDS.read_bytes()) for each in yaml.safe_load_all(text) if each]
        return [*documents, *people.objects(self._cast)]


async def start_operator(stage: Stage, cast: Cast, parts: Parts, *, rate: float) -> Part:
    """Start the operator, unmodified."""
    waits = {name: f"{seconds / rate:g}s" for name, seconds in WAITS.items()}
    environment = {
        **stage.environment,
        **waits,
        "AZURE_CLIENT_ID": roles.OPERATOR_CLIENT_ID,
        "AZURE_CLIENT_SECRET": cast.operator_secret,
        "AZURE_TENANT_ID": roles.TENANT_ID,
        "KUBECONFIG": str(stage.cast_kubeconfig),
        "KEYSTEAD_LEASE_NAMESPACE": HOME,
        "KEYSTEAD_REQUIRE_GUARDS": "true",
    }
    keystead = executable("keystead")
    return await parts.start("operator", keystead, "run", "--context", roles.OPERATOR, environment=environment)


async def start_engine(stage: Stage, parts: Parts) -> Part:
    """Start the secrets engine, unmodified; it signs in as the stores' accounts, with nothing of its own."""
    environment = {
        **stage.environment,
        "KUBECONFIG": str(stage.cast_kubeconfig),
        "KEYSTEAD_SYNC_LEASE": f"{HOME}/keystead-sync",
    }
    keystead = executable("keystead")
    return await parts.start("engine", keystead, "sync", "--context", roles.ENGINE, environment=environment)


def _base_environment() -> dict[str, str]:
    """The caller's environment without anything that would lead the parts to a real cluster or a real Azure."""
    inherited = dict(os.environ)  # noqa: TID251 - handed on to the parts, less what is theirs to be told
    private = ("AZURE_", "KEYSTEAD_", "KUBE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_", "ARM_")
    return {name: value for name, value in inherited.items() if not name.upper().startswith(private)}


def read_exports(path: Path) -> dict[str, str]:
    """The ``export NAME=value`` lines of a file as a mapping."""
    words = [shlex.split(line) for line in path.read_text().splitlines()]
    return dict(word.split("=", 1) for line in words if line[:1] == ["export"] for word in line[1:])
