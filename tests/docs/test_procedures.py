"""The how-tos for admins: their commands run as printed, against a Kubernetes API of their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FEDERATION = """
apiVersion: keystead.dev/v1alpha1
kind: Federation
metadata: {name: ks-stuck, finalizers: [keystead.dev/revoke]}
spec:
  grantName: team
  namespace: shop
  namespaceUID: u
  claimName: team
  serviceAccountName: keystead
  identityResourceId: /subscriptions/0c2f7a52-9c55-4b3b-8c5a-4a4b2b6f3d21/resourceGroups/pool/providers/Microsoft.ManagedIdentity/userAssignedIdentities/one
  credential: {name: ks-stuck, issuer: i, subject: "system:serviceaccount:shop:keystead", audience: a}
"""


def _blocks(page: str) -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL))


def _run(script: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    start = """
keystead-sandbox kube --kubeconfig "$PWD/kubeconfig" > kube.log 2>&1 &
for _ in $(seq 600); do test -e kubeconfig && break; sleep 0.05; done
export KUBECONFIG="$PWD/kubeconfig"
"""
    return subprocess.run(  # noqa: S603 - the pages' own commands
        ["/bin/bash", "-euo", "pipefail", "-c", f"trap 'jobs -p | xargs -r kill; wait' EXIT\n{start}\n{script}"],
        cwd=folder,
        env={"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(folder)},  # noqa: TID251 - handed to a child process
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture(autouse=True)
def _kubectl() -> None:
    if shutil.which("kubectl", path=f"{BIN}:{os.environ['PATH']}") is None:  # noqa: TID251 - where tools are looked for
        pytest.skip("the pages' commands need kubectl, which this machine has not")


@pytest.mark.process
def test_the_guards_are_installed_as_printed(tmp_path: Path) -> None:
    ran = _run(_blocks("docs/four-eyes.md"), tmp_path)

    assert (ran.returncode, ran.stderr) == (0, "")
    for name in ("approvals", "claims", "namespaces", "ledger"):
        assert f"validatingadmissionpolicybinding.admissionregistration.k8s.io/keystead-{name}" in ran.stdout


@pytest.mark.process
def test_a_ledger_entry_is_abandoned_as_printed(tmp_path: Path) -> None:
    (tmp_path / "federation.yaml").write_text(FEDERATION)
    before = """
keystead crds | kubectl apply --server-side -f - > /dev/null
kubectl apply -f federation.yaml
kubectl delete federation ks-stuck --wait=false
FEDERATION=ks-stuck
"""
    after = "kubectl get federation ks-stuck -o jsonpath='{.metadata.annotations}'"

    ran = _run(f"{before}\n{_blocks('docs/removal.md')}\n{after}", tmp_path)

    assert ran.returncode == 0, ran.stderr
    assert "ks-stuck abandoned by" in ran.stdout
    assert "az identity federated-credential delete" in ran.stdout
    assert '"keystead.dev/abandon":"the subscription belongs to another company since May"' in ran.stdout.replace(
        " :", ":"
    )
