"""What watching a large cluster costs: our runtime beside lightkube alone, the official client's informer and kopf.

10,000 namespaces, claims and service accounts each on a local API server of this folder; then 10,000 changes at once.
``--runs N`` of each contender (default 3, the median counts), ``--objects N`` of each kind, ``--output DIR``. Each
contender and each server is a process of its own. What is not installed (requirements/bench.txt) is left out, and said.
"""

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
BENCH = Path(__file__).parent
PORT = 18943
BURST = 10_000
BAR = {"cpu": 2.0, "rss": 160.0}
CONTENDERS = {
    "keystead.kube: caches, indexes, queue": ("keystead_runtime", "keystead"),
    "lightkube alone, objects kept": ("lightkube_alone", "lightkube"),
    "official client, SharedInformer": ("official_informer", "kubernetes"),
    "kopf, on.event": ("kopf_events", "kopf"),
}
Laps = dict[str, dict[str, float]]


def _once(script: str, objects: int) -> Laps:
    """One run against a fresh server."""
    server = subprocess.Popen(  # noqa: S603 - our own interpreter and files
        [sys.executable, BENCH / "contenders" / "apiserver.py", str(PORT), str(objects)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if server.stdout is None or server.stdout.readline() != "ready\n":
            raise RuntimeError("the API server did not start")
        address = f"http://127.0.0.1:{PORT}"
        run = subprocess.run(  # noqa: S603 - as above
            [sys.executable, BENCH / "contenders" / f"{script}.py", address, str(3 * objects), str(BURST)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=600,
        )
        laps = {lap.pop("what"): lap for lap in map(json.loads, run.stdout.splitlines())}
        with urllib.request.urlopen(f"{address}/burst", b"") as answer:  # noqa: S310 - our own server
            laps["burst"]["writes"] = json.load(answer)["writes"]
        return laps
    finally:
        server.terminate()
        server.wait()


def _middle(runs: list[Laps]) -> Laps:
    """Of every figure its median over the runs."""
    return {lap: {name: statistics.median(run[lap][name] for run in runs) for name in runs[0][lap]} for lap in runs[0]}


def measure(runs: int, objects: int) -> dict[str, Laps]:
    """The runs of all contenders are interleaved, so that what disturbs the machine disturbs all."""
    gathered: dict[str, list[Laps]] = {}
    for number in range(runs):
        for title, (script, package) in CONTENDERS.items():
            if importlib.util.find_spec(package) is None:
                print(f"{title}: left out, {package} is not installed (requirements/bench.txt)", flush=True)
                continue
            print(f"run {number + 1}: {title}", flush=True)
            gathered.setdefault(title, []).append(_once(script, objects))
    return {title: _middle(each) for title, each in gathered.items()}


def main() -> int:
    """Always 0: figures are shown, not asserted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/benchmarks")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    found = measure(options.runs, options.objects)
    table = _table(found)
    print(table)
    if len(found) < len(CONTENDERS):
        print("Not all contenders ran: docs/benchmarks is left as it is.")
        return 0
    (options.output / "runtime.json").write_text(json.dumps(found, indent=2) + "\n")
    (options.output / "runtime.md").write_text(_page(table, options.objects))
    _plot(found, options.output / "runtime.svg")
    return 0


def _table(found: dict[str, Laps]) -> str:
    rows = [
        f"| {title} | {each['synced']['cpu']:.2f} | {each['synced']['wall']:.2f} | {each['synced']['rss']:.0f} "
        f"| {each['burst']['peak']:.0f} | {each['burst']['cpu']:.2f} | {each['burst']['wall']:.2f} "
        f"| {each['burst']['writes']:.0f} |"
        for title, each in found.items()
    ]
    bar = f"| bar | ≤ {BAR['cpu']:g} | | ≤ {BAR['rss']:g} | | | | |"
    head = (
        "| | to synced, CPU s | wall s | memory, MB | its peak, MB | 10,000 changes, CPU s | wall s | writes |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *rows, bar])


def _page(table: str, objects: int) -> str:
    return (
        "<!-- written by `make bench`; do not edit by hand -->\n\n"
        "# The runtime, measured\n\n"
        f"`make bench` on two cores: {objects:,} namespaces, {objects:,} claims and {objects:,} service accounts on an API\n"
        "server that has every answer ready, in a process of its own; then 10,000 changes at once, a third of each kind.\n"
        "CPU is the client's alone, from its first request; memory includes the interpreter and all imports. Ours holds\n"
        "the operator's own caches with their indexes and hands every changed object through the queue to a worker;\n"
        "kopf keeps no objects. Medians of interleaved runs.\n\n"
        f"{table}\n\n"
        "![CPU and memory of each client](runtime.svg)\n"
    )


def _plot(found: dict[str, Laps], picture: Path) -> None:
    titles = list(found)[::-1]
    shown: tuple[tuple[str, str, str, float | None], ...] = (
        ("to synced, CPU s", "synced", "cpu", BAR["cpu"]),
        ("memory when synced, MB", "synced", "rss", BAR["rss"]),
        ("10,000 changes, CPU s", "burst", "cpu", None),
    )
    figure, panels = plt.subplots(1, 3, figsize=(11, 2.6), layout="constrained", sharey=True)
    for axes, (label, lap, name, bar) in zip(panels, shown, strict=True):
        values: list[Any] = [found[title][lap][name] for title in titles]
        drawn = axes.barh(titles, values, color="#2b6cb0", height=0.55)
        axes.bar_label(drawn, fmt="%.3g", padding=4, bbox={"color": "white", "pad": 1})
        axes.margins(x=0.18)
        if bar is not None:
            axes.axvline(bar, color="#c53030", linewidth=1.5, zorder=0.5)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)


if __name__ == "__main__":
    raise SystemExit(main())
