"""Records what a real cluster answers: ``python tests/conformance/record.py KUBECONFIG [AREA ...]``.

The recordings are data of the suite. They are made anew when cases change, and for a newer Kubernetes.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance import cases, clusters  # noqa: E402 - this is a script in a folder of tests


def main(kubeconfig: str, *wanted: str) -> None:
    """Play every case and write down the answers."""
    playing = clusters.player(Path(kubeconfig))
    version = playing.send({"GET": "/version"})["body"]["gitVersion"]
    for area in wanted or cases.areas():
        lines = [json.dumps({"server": f"kube-apiserver {version}"})]
        for case in cases.load(area):
            answers = playing.play(case)
            lines.append(json.dumps({"case": case.name, "answers": answers}, ensure_ascii=False))
            sys.stdout.write(f"{area}: {case.name}\n")
        (cases.HERE / "recorded" / f"{area}.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
