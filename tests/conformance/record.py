"""Records what a real cluster answers: ``python tests/conformance/record.py KUBECONFIG [AREA ...]``.

The recordings are data of the suite. They are made anew when cases change, and for a newer Kubernetes.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance import cases, clusters, kubectl_player


def record_kubectl(kubeconfig: Path, server: str) -> None:
    """Run every command and write down what the kubectl that is on the PATH printed."""
    version = kubectl_player.client()
    lines = [json.dumps({"server": server, "client": f"kubectl {version}"})]
    for line, found in kubectl_player.play(kubeconfig, f"k{os.getpid():x}"):
        lines.append(json.dumps({"run": line, "printed": found}))
        sys.stdout.write(f"kubectl {line}\n")
    kubectl_player.recording(version).write_text("\n".join(lines) + "\n")


def main(kubeconfig: str, *wanted: str) -> None:
    """Play every case and write down the answers."""
    playing = clusters.player(Path(kubeconfig), is_real=True)
    version = playing.send({"GET": "/version"})["body"]["gitVersion"]
    if not wanted or "kubectl" in wanted:
        record_kubectl(Path(kubeconfig), f"kube-apiserver {version}")
    for area in wanted or cases.areas():
        if area == "kubectl":
            continue
        lines = [json.dumps({"server": f"kube-apiserver {version}"})]
        for case in cases.load(area):
            answers = playing.play(case)
            lines.append(json.dumps({"case": case.name, "answers": answers}, ensure_ascii=False))
            sys.stdout.write(f"{area}: {case.name}\n")
        (cases.HERE / "recorded" / f"{area}.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
