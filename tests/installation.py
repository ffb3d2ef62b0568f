"""An installation on this machine, each part a process of its own: an API server, the emulated Azure, the operator.

Nobody waits for a moment: a process says by a file that it is up, and what it does is asked of the API server or of the
emulated Azure's journal, until it is so.
"""

import base64
import contextlib
import json
import os
import shlex
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

import httpx2
import yaml

from keystead.kube.rbac import manifests
from world import custom_resources

BIN = Path(sys.executable).parent
TENANT = "11111111-1111-4111-8111-111111111111"
SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
OPERATOR = "33333333-3333-4333-8333-333333333333"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Team.(Payments)_1"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/team-kv"
PATIENCE = 120.0  # wall seconds for whatever a process of a busy machine has to do
_LOOK = 0.05
_RULES = {
    **{f"{verb}Capacity": 1000 for verb in ("write", "get", "list", "delete")},
    "burst": 1000,
    "propagation": 0,
    "roleDelay": 0,
    "identityVisible": 0,
    "writeHold": 0,
}
_WAITS = {
    "KEYSTEAD_LANE_PACE": "10ms",
    "KEYSTEAD_SUBSCRIPTION_PACE": "0",
    "KEYSTEAD_TENANT_PACE": "0",
    "KEYSTEAD_LIST_PACE": "10ms",
    "KEYSTEAD_PROPAGATION_WAIT": "10ms",
    "KEYSTEAD_QUORUM_INTERVAL": "10ms",
}
_FOLDERS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "VaultGrant": "/apis/keystead.dev/v1alpha1/vaultgrants",
    "VaultClaim": "/apis/keystead.dev/v1alpha1/namespaces/{namespace}/vaultclaims",
    "Federation": "/apis/keystead.dev/v1alpha1/federations",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    **{
        kind: f"/apis/rbac.authorization.k8s.io/v1/{place}{kind.lower()}s"
        for kind, place in {
            "ClusterRole": "",
            "ClusterRoleBinding": "",
            "Role": "namespaces/{namespace}/",
            "RoleBinding": "namespaces/{namespace}/",
        }.items()
    },
}
T = TypeVar("T")


def identity_id(name: str) -> str:
    return f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"


class Installation:
    """Started by ``with``; everything ends with it."""

    def __init__(
        self,
        folder: Path,
        identities: Iterable[str],
        *,
        accounts: str = "keystead",
        credentials: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        """*credentials* stand before anybody comes: by identity, name to subject, under the cluster's issuer."""
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.exports: dict[str, str] = {}
        self._identities = tuple(identities)
        self._accounts = accounts
        self._credentials = credentials
        self._stack = contextlib.ExitStack()
        self._operator: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._stack:
            self._start("kube", "--kubeconfig", self.kubeconfig, until=self.kubeconfig)
            config = yaml.safe_load(self.kubeconfig.read_text())
            cluster = config["clusters"][0]["cluster"]
            authority = base64.b64decode(cluster["certificate-authority-data"])
            (self.folder / "issuer.pem").write_bytes(authority)
            self.issuer = cluster["server"]
            trust = ssl.create_default_context(cadata=authority.decode())
            headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
            self._http = httpx2.Client(base_url=self.issuer, headers=headers, verify=trust, trust_env=False, timeout=30)
            self._stack.callback(self._http.close)
            self._start_azure()
            for item in (*custom_resources(), *manifests()):
                self.put(item)
            self.until(lambda: self._http.get(_FOLDERS["VaultGrant"]).status_code == httpx2.codes.OK)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_operator()
        self._stack.close()

    def _start(self, *command: str | Path, until: Path) -> None:
        log = self._stack.enter_context((self.folder / f"{command[0]}.log").open("wb"))
        process = subprocess.Popen([BIN / "keystead-sandbox", *command], stdout=log, stderr=log, env=_bare())  # noqa: S603 - our own executable
        self._stack.callback(_end, process)
        self.until(until.exists, process)

    def _start_azure(self) -> None:
        seed = {
            "rules": _RULES,
            "tenants": [{"id": TENANT}],
            "subscriptions": [{"id": SUBSCRIPTION, "tenant": TENANT}],
            "resourceGroups": [{"id": GROUP}],
            "applications": [{"clientId": OPERATOR, "secret": "of-the-operator", "tenant": TENANT}],
            "identities": [
                {
                    "id": identity_id(each),
                    "credentials": [
                        {"name": name, "issuer": self.issuer, "subject": subject}
                        for name, subject in self._credentials.get(each, {}).items()
                    ],
                }
                for each in self._identities
            ],
            "vaults": [{"id": VAULT}],
            "roleAssignments": [
                {"principal": OPERATOR, "role": "Managed Identity Contributor", "scope": GROUP},
                *(
                    {"principal": identity_id(each), "role": "Key Vault Secrets User", "scope": VAULT}
                    for each in self._identities
                ),
            ],
        }
        path, env_file = self.folder / "seed.yaml", self.folder / "azure.env"
        path.write_text(json.dumps(seed))  # JSON is YAML
        options = ("--seed", path, "--issuer-ca", self.folder / "issuer.pem", "--env-file", env_file)
        self._start("azure", *options, until=env_file)
        words = [shlex.split(line) for line in env_file.read_text().splitlines()]
        self.exports = dict(word.split("=", 1) for line in words if line[:1] == ["export"] for word in line[1:])

    # What people do ----------------------------------------------------------------------------------------------

    def put(self, item: dict[str, Any]) -> None:
        """Apply an object as the cluster's admin."""
        metadata = item["metadata"]
        path = _FOLDERS[item["kind"]].format(namespace=metadata.get("namespace", ""))
        answer = self._http.patch(
            f"{path}/{metadata['name']}",
            params={"fieldManager": "people", "force": "true"},
            content=json.dumps(item),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        assert answer.status_code < httpx2.codes.BAD_REQUEST, answer.text

    def namespace(self, name: str, **labels: str) -> None:
        self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})

    def grant(self, name: str, identities: Iterable[str], **spec: Any) -> None:
        """For namespaces with the label ``team: NAME``."""
        body = {
            "namespaces": {"selector": {"matchLabels": {"team": name}}},
            "vault": {"url": "https://team-kv.vault.azure.net"},
            "identities": [{"resourceId": each} for each in identities],
            "approval": "Automatic",
            **spec,
        }
        item = {"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultGrant", "metadata": {"name": name}, "spec": body}
        self.put(item)

    def claim(self, namespace: str, name: str, *, grant: str, account: str) -> None:
        spec = {"grantName": grant, "serviceAccountName": account, "secretStoreName": f"store-{name}"}
        metadata = {"name": name, "namespace": namespace}
        self.put({"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultClaim", "metadata": metadata, "spec": spec})

    def record(self, namespace: str, identity: str, credential: dict[str, str]) -> None:
        """A ledger entry for somebody else's credential, as adoption writes it."""
        uid = next(
            each["metadata"]["uid"] for each in self.objects("Namespace") if each["metadata"]["name"] == namespace
        )
        spec = {
            "grantName": "team",
            "namespace": namespace,
            "namespaceUID": uid,
            "claimName": "team",
            "serviceAccountName": "keystead",
            "identityResourceId": identity_id(identity),
            "credential": credential,
            "adopted": True,
        }
        metadata = {"name": f"adopted-{namespace}"}
        self.put({"apiVersion": "keystead.dev/v1alpha1", "kind": "Federation", "metadata": metadata, "spec": spec})

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        self._http.delete(f"{_FOLDERS[kind].format(namespace=namespace)}/{name}").raise_for_status()

    # The operator and the command --------------------------------------------------------------------------------

    def start_operator(self) -> None:
        log = self._stack.enter_context((self.folder / "operator.log").open("ab"))
        self._operator = subprocess.Popen(  # noqa: S603 - our own executable
            [BIN / "keystead", "run"], stdout=log, stderr=log, env=self.environment(AZURE_CLIENT_ID=OPERATOR)
        )

    def stop_operator(self) -> None:
        if self._operator is not None:
            _end(self._operator)
            self._operator = None

    def environment(self, **more: str) -> dict[str, str]:
        """For a client on this machine; as the operator in Azure when its id is given, else as the owner."""
        operator = {"AZURE_CLIENT_SECRET": "of-the-operator"} if more.get("AZURE_CLIENT_ID") == OPERATOR else {}
        return {
            **_bare(),
            **self.exports,
            **_WAITS,
            **operator,
            "KUBECONFIG": str(self.kubeconfig),
            "KEYSTEAD_SERVICE_ACCOUNT_NAMES": self._accounts,
            **more,
        }

    def keystead(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """The command, as somebody who reads in both worlds."""
        return subprocess.run(  # noqa: S603 - our own executable
            [BIN / "keystead", *arguments],
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    # Looking -----------------------------------------------------------------------------------------------------

    def objects(self, kind: str) -> list[dict[str, Any]]:
        """Of all namespaces."""
        path = _FOLDERS[kind].replace("/namespaces/{namespace}", "")
        items: list[dict[str, Any]] = self._http.get(path).raise_for_status().json()["items"]
        return items

    def ready(self) -> int:
        """How many claims work."""
        conditions = [
            each
            for claim in self.objects("VaultClaim")
            for each in claim.get("status", {}).get("conditions", ())
            if each["type"] == "Ready" and each["status"] == "True"
        ]
        return len(conditions)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """The emulated Azure's control API."""
        answer = httpx2.request(
            method, self.exports["KEYSTEAD_SANDBOX_URL"] + path, json=body, timeout=PATIENCE, trust_env=False
        )
        return answer.raise_for_status().json()

    def until(self, condition: Callable[[], T], process: "subprocess.Popen[bytes] | None" = None) -> T:
        """What another process makes true: there is nothing to be woken by."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert process is None or process.poll() is None, "the process ended"
            assert time.monotonic() < deadline, "it never came"
            time.sleep(_LOOK)
        return found


def _bare() -> Mapping[str, str]:
    """This environment without anything that leads elsewhere."""
    private = ("AZURE_", "KEYSTEAD_", "KUBE", "HTTP", "ALL_PROXY", "NO_PROXY", "SSL_CERT_", "ARM_", "TF_", "COLUMNS")
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(private)}  # noqa: TID251 - for a child


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(PATIENCE)
