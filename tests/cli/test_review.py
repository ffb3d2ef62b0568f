"""The reviewer's desk, as a person uses it, against a Kubernetes API in a process of its own."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from lightkube.config.kubeconfig import KubeConfig

from keystead.cli.main import app, main
from keystead.kube.client import Api
from keystead.kube.crd import crds

pytestmark = pytest.mark.process
BIN = Path(sys.executable).parent
KINDS = "/apis/keystead.dev/v1alpha1"


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Keystead: TypeAlias = Callable[..., Said]
VAULT = "https://team-kv.vault.azure.net"


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Kubernetes API in a process of its own, with our kinds, for a developer and a reviewer."""
    folder = tmp_path_factory.mktemp("kube")
    path = folder / "kubeconfig"
    command = [
        str(BIN / "keystead-sandbox"),
        "kube",
        "--kubeconfig",
        str(path),
        "--user",
        "dev:system:masters",
        "--user",
        "reviewer:system:masters",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:  # noqa: S603 - our own executable
        deadline = time.monotonic() + 30
        while not path.exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)  # another process's start: there is nothing to wait on but its file
        yield path
        process.terminate()


def _request(kubeconfig: Path, method: str, path: str, body: Any = None) -> Any:
    return asyncio.run(_ask(kubeconfig, method, path, body))


async def _ask(kubeconfig: Path, method: str, path: str, body: Any = None) -> Any:
    config = KubeConfig.from_file(kubeconfig).get("admin")
    assert config is not None
    api = Api(config)
    try:
        if method == "GET":
            return await api.get(path)
        if method == "POST":
            return await api.post(path, body)
        answer = await api._http.request(
            method, path, json=body, headers={"Content-Type": "application/merge-patch+json"}
        )
        assert answer.status_code < 300, answer.text
        return answer.json()
    finally:
        await api.close()


@pytest.fixture(scope="module")
def _kinds(kubeconfig: Path) -> None:
    for crd in crds():
        _request(kubeconfig, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    spec = {
        "namespaces": {"names": ["shop"]},
        "vault": {"url": VAULT},
        "identities": [],
        "approval": "Required",
        "claims": "OnRequest",
    }
    body = {"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultGrant", "metadata": {"name": "team"}, "spec": spec}
    _request(kubeconfig, "POST", f"{KINDS}/vaultgrants", body)


@pytest.fixture
def claim(kubeconfig: Path, _kinds: None, request: pytest.FixtureRequest) -> str:
    """A namespace with a claim of the developer's, which waits; returns the namespace."""
    name = "ns-" + str(request.node.name).replace("_", "-").replace("[", "-").strip("]")[-40:].strip("-").lower()
    _request(kubeconfig, "POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    _claim(kubeconfig, name, "team")
    return name


def _claim(kubeconfig: Path, namespace: str, name: str, reason: str = "AwaitingReview") -> None:
    folder = f"{KINDS}/namespaces/{namespace}/vaultclaims"
    spec = {"grantName": "team", "requestedBy": "dev"}
    body = {"apiVersion": "keystead.dev/v1alpha1", "kind": "VaultClaim", "metadata": {"name": name}, "spec": spec}
    _request(kubeconfig, "POST", folder, body)
    condition = {
        "type": "Approved",
        "status": "True" if reason == "ApprovalNotRequired" else "False",
        "reason": reason,
        "message": "waits",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"subject": f"system:serviceaccount:{namespace}:keystead", "conditions": [condition]}
    _request(kubeconfig, "PATCH", f"{folder}/{name}/status", {"status": status})


@pytest.fixture
def keystead(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Keystead:
    """The command, from its entry point on; the process that it would be is spared."""

    def call(*arguments: str) -> Said:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["keystead", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Said(int(ended.value.code or 0), printed.out, printed.err)

    return call


def _words(kubeconfig: Path, namespace: str) -> list[dict[str, Any]]:
    listed = _request(kubeconfig, "GET", f"{KINDS}/vaultapprovals")
    return [each["spec"] for each in listed["items"] if each["spec"]["namespace"] == namespace]


def test_a_request_is_shown_as_a_table_and_as_json(keystead: Keystead, claim: str) -> None:
    table = keystead("requests")
    listed = keystead("requests", "-o", "json")

    assert claim in table.out
    (row,) = [each for each in json.loads(listed.out) if each["namespace"] == claim]
    assert (row["claim"], row["grant"], row["requestedBy"]) == ("team", "team", "dev")


@pytest.mark.parametrize(("verb", "decision"), [("approve", "Approved"), ("deny", "Denied")])
def test_a_word_is_bound_to_all_that_is_true_now(
    kubeconfig: Path, keystead: Keystead, claim: str, verb: str, decision: str
) -> None:
    said = keystead(verb, claim, "--message", "looked at it", "--context", "reviewer")

    namespace = _request(kubeconfig, "GET", f"/api/v1/namespaces/{claim}")
    assert (said.code, said.err) == (0, "")
    assert f"{claim}/team" in said.out
    assert _words(kubeconfig, claim) == [
        {
            "grantName": "team",
            "namespace": claim,
            "namespaceUID": namespace["metadata"]["uid"],
            "subject": f"system:serviceaccount:{claim}:keystead",
            "vaultUrl": VAULT,
            "decision": decision,
            "by": "reviewer",
            "message": "looked at it",
        }
    ]


def test_the_requester_cannot_approve_and_is_told(kubeconfig: Path, keystead: Keystead, claim: str) -> None:
    said = keystead("approve", claim, "--context", "dev")

    assert said.code == 1
    assert "somebody else has to approve it" in said.err
    assert _words(kubeconfig, claim) == []


def test_the_requester_can_withdraw_by_a_no(kubeconfig: Path, keystead: Keystead, claim: str) -> None:
    assert keystead("deny", claim, "--context", "dev").code == 0
    assert [each["decision"] for each in _words(kubeconfig, claim)] == ["Denied"]


def test_a_word_that_stands_is_not_said_twice(keystead: Keystead, claim: str) -> None:
    first = keystead("approve", claim, "--context", "reviewer")
    second = keystead("approve", claim, "--context", "reviewer")

    assert (first.code, second.code) == (0, 1)
    assert "stands already" in second.err
    assert "kubectl delete va" in second.err


def test_a_word_is_shown_as_the_object_that_it_is(kubeconfig: Path, keystead: Keystead, claim: str) -> None:
    said = keystead("approve", claim, "-o", "json", "--context", "reviewer")
    unknown = keystead("deny", claim, "-o", "yaml", "--context", "reviewer")

    made = json.loads(said.out)
    assert (said.code, made["kind"], made["spec"]["by"]) == (0, "VaultApproval", "reviewer")
    assert _request(kubeconfig, "GET", f"{KINDS}/vaultapprovals/{made['metadata']['name']}") == made
    assert unknown.code == 2
    assert "give text or json" in unknown.err


@pytest.mark.parametrize(
    ("reason", "told"),
    [("ApprovalNotRequired", "asks for no review"), ("RequesterUnknown", "spec.requestedBy names nobody")],
    ids=["review", "requester"],
)
def test_an_approval_that_would_change_nothing_is_refused(
    kubeconfig: Path, keystead: Keystead, claim: str, reason: str, told: str
) -> None:
    _claim(kubeconfig, claim, "other", reason)

    said = keystead("approve", f"{claim}/other", "--context", "reviewer")

    assert said.code == 1
    assert told in said.err
    assert _words(kubeconfig, claim) == []


def test_a_denial_that_stands_is_named_with_how_to_take_it_back(
    kubeconfig: Path, keystead: Keystead, claim: str
) -> None:
    keystead("deny", claim, "--context", "reviewer")

    said = keystead("approve", claim, "--context", "admin")

    assert said.code == 1
    assert "reviewer said no" in said.err
    assert "kubectl delete va" in said.err
    assert [each["decision"] for each in _words(kubeconfig, claim)] == ["Denied"]


def test_of_several_claims_the_one_that_waits_is_meant(kubeconfig: Path, keystead: Keystead, claim: str) -> None:
    _claim(kubeconfig, claim, "second", "ApprovalNotRequired")

    assert keystead("approve", claim, "--context", "reviewer").code == 0
    assert len(_words(kubeconfig, claim)) == 1


@pytest.mark.parametrize("length", [200, 253])
def test_names_that_are_too_long_are_told_apart(kubeconfig: Path, keystead: Keystead, claim: str, length: int) -> None:
    for end in ("a", "b"):
        name = "x" * (length - 1) + end
        _claim(kubeconfig, claim, name)
        for verb in ("deny", "deny"):
            keystead(verb, f"{claim}/{name}", "--context", "reviewer")

    assert len(_words(kubeconfig, claim)) == 2


def test_of_several_claims_one_has_to_be_named(kubeconfig: Path, keystead: Keystead, claim: str) -> None:
    _claim(kubeconfig, claim, "second")

    vague = keystead("approve", claim, "--context", "reviewer")
    exact = keystead("approve", f"{claim}/second", "--context", "reviewer")

    assert (vague.code, exact.code) == (1, 0)
    assert f"{claim}/second" in vague.err
    assert f"{claim}/team" in vague.err


@pytest.mark.usefixtures("_kinds")
def test_a_claim_that_is_not_there_is_named(keystead: Keystead) -> None:
    said = keystead("approve", "nowhere", "--context", "reviewer")

    assert said.code == 1
    assert "nowhere: there is no such VaultClaim" in said.err


@pytest.mark.usefixtures("_kinds")
def test_an_unknown_output_is_refused_with_what_is_allowed(keystead: Keystead) -> None:
    said = keystead("requests", "-o", "yaml")

    assert said.code == 2
    assert "give table or json" in said.err


def _federation(kubeconfig: Path, name: str, *, going: bool) -> None:
    identity = (
        "/subscriptions/0c2f7a52-9c55-4b3b-8c5a-4a4b2b6f3d21/resourceGroups/pool"
        "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one"
    )
    spec = {
        "grantName": "team",
        "namespace": "shop",
        "namespaceUID": "u",
        "claimName": "team",
        "serviceAccountName": "keystead",
        "identityResourceId": identity,
        "credential": {"name": name, "issuer": "i", "subject": "system:serviceaccount:shop:keystead", "audience": "a"},
    }
    metadata = {"name": name, "finalizers": ["keystead.dev/revoke"]}
    body = {"apiVersion": "keystead.dev/v1alpha1", "kind": "Federation", "metadata": metadata, "spec": spec}
    _request(kubeconfig, "POST", f"{KINDS}/federations", body)
    if going:
        _request(kubeconfig, "DELETE", f"{KINDS}/federations/{name}")


@pytest.mark.usefixtures("_kinds")
def test_an_entry_that_goes_is_abandoned_in_ones_own_name_with_what_stays_behind(
    kubeconfig: Path, keystead: Keystead
) -> None:
    _federation(kubeconfig, "ks-going", going=True)

    said = keystead("abandon", "ks-going", "-m", "the subscription is closed", "--context", "reviewer")

    found = _request(kubeconfig, "GET", f"{KINDS}/federations/ks-going")
    assert (said.code, said.err) == (0, "")
    assert found["metadata"]["annotations"] == {
        "keystead.dev/abandon": "the subscription is closed",
        "keystead.dev/abandoned-by": "reviewer",
    }
    assert "system:serviceaccount:shop:keystead is trusted there until it is deleted" in said.out
    assert "--resource-group pool --identity-name one --name ks-going" in said.out


@pytest.mark.usefixtures("_kinds")
def test_what_stands_or_is_not_there_is_not_abandoned(kubeconfig: Path, keystead: Keystead) -> None:
    _federation(kubeconfig, "ks-stands", going=False)

    standing = keystead("abandon", "ks-stands", "-m", "why")
    absent = keystead("abandon", "ks-absent", "-m", "why")
    wordless = keystead("abandon", "ks-stands", "-m", " ")

    assert (standing.code, absent.code, wordless.code) == (1, 1, 2)
    assert "it is not being revoked" in standing.err
    assert "there is no such Federation" in absent.err
    assert "say why" in wordless.err
    assert "annotations" not in _request(kubeconfig, "GET", f"{KINDS}/federations/ks-stands")["metadata"]


def test_the_printed_crds_are_the_ones_of_the_code() -> None:
    printed = subprocess.run([str(BIN / "keystead"), "crds"], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own executable

    assert list(yaml.safe_load_all(printed.stdout)) == list(crds())


@pytest.mark.parametrize("name", ["keystead", "kubectl-keystead"])
def test_both_names_lead_to_the_same_commands(name: str) -> None:
    shown = subprocess.run([str(BIN / name), "--help"], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own executable

    named = {str(each.name or getattr(each.callback, "__name__", "")) for each in app.registered_commands}
    named |= {str(each.name) for each in app.registered_groups}
    ours = {"run", "sync", "sandbox", "plan", "export", "adopt", "requests", "approve", "deny", "abandon"}
    assert named == {*ours, "crds", "rbac", "guards"}
    assert [each for each in named if each not in shown.stdout] == []
