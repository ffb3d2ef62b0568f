"""Runs the sandbox's scenario several times and writes what it measured: a table, JSON and a plot of the write lanes.

``--runs N`` (default 3), ``--output DIR`` (default docs/benchmarks).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
KEYSTEAD = Path(sys.executable).with_name("keystead")
MEBI = 1024 * 1024
BARS = {
    "command to first Secret, s": (("seconds", "firstSecret"), 15.0, 1.0),
    "whole scenario, s": (("seconds", "total"), 60.0, 1.0),
    "schedule, ratio to the best possible": (("schedule", "ratio"), 1.10, 1.0),
    "operator memory at its peak, MiB": (("operator", "peakRssBytes"), 120.0, MEBI),
    "operator CPU, s": (("operator", "cpuSeconds"), None, 1.0),
}
"""Title: where it stands in the report, the bar, the divisor."""


def main() -> int:
    """Exit code 1 when a run did not come true."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/benchmarks")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    reports = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.runs):
            kept = Path(folder) / f"run-{number}"
            report = Path(folder) / f"report-{number}.json"
            command = [str(KEYSTEAD), "sandbox", "--once", "--plain", "--keep", str(kept), "--report", str(report)]
            print(f"run {number + 1} of {options.runs}", flush=True)
            if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode != 0:  # noqa: S603 - our own executable
                print(f"run {number + 1} did not come true; see `keystead sandbox --once`", file=sys.stderr)
                return 1
            reports.append(json.loads(report.read_text()))
        _plot(kept / "azure.journal.jsonl", options.output / "scenario.svg", reports[-1])
    table = _table(reports)
    print(table)
    (options.output / "scenario.json").write_text(json.dumps(reports, indent=2) + "\n")
    (options.output / "scenario.md").write_text(_page(table, len(reports)))
    return 0


def _table(reports: list[dict[str, Any]]) -> str:
    lines = ["| | bar | median | min | max |", "|---|---|---|---|---|"]
    for title, ((part, key), bar, divisor) in BARS.items():
        figures = [report[part][key] / divisor for report in reports]
        lines.append(
            f"| {title} | {'' if bar is None else f'≤ {bar:g}'} | {statistics.median(figures):.2f} "
            f"| {min(figures):.2f} | {max(figures):.2f} |"
        )
    return "\n".join(lines)


def _page(table: str, runs: int) -> str:
    return (
        "<!-- written by `make bench`; do not edit by hand -->\n\n# The scenario, measured\n\n"
        f"`make bench` on two cores, {runs} runs of `keystead sandbox --once` at clock rate 10. Every figure is taken from\n"
        "outside the operator: the sandbox's journal, the Kubernetes API, the operating system.\n\n"
        f"{table}\n\n"
        "The schedule runs from the start of the first to the start of the last credential write of the slowest pool,\n"
        "in Azure's time; the bar is 1.10 times the best possible plus one second.\n\n"
        "![credential writes per identity over Azure's time](scenario.svg)\n"
    )


def _plot(journal: Path, picture: Path, report: dict[str, Any]) -> None:
    """One row per identity, a tick where each credential write began."""
    writes: dict[str, list[float]] = defaultdict(list)
    deletes: dict[str, list[float]] = defaultdict(list)
    for line in journal.read_text().splitlines():
        entry = json.loads(line)
        path = entry["path"].lower()
        if entry["service"] != "arm" or "/federatedidentitycredentials/" not in path:
            continue
        identity = path.split("/userassignedidentities/", 1)[1].split("/", 1)[0]
        if entry["status"] in (200, 201) and entry["method"] in ("PUT", "DELETE"):
            (writes if entry["method"] == "PUT" else deletes)[identity].append(entry["at"])
    first = min(at for starts in writes.values() for at in starts)
    figure, axes = plt.subplots(figsize=(9, 2.6), layout="constrained")
    names = sorted(writes, reverse=True)
    for row, name in enumerate(names):
        axes.plot([at - first for at in writes[name]], [row] * len(writes[name]), "|", markersize=16, color="#1f6feb")
        axes.plot([at - first for at in deletes[name]], [row] * len(deletes[name]), "x", markersize=8, color="#d1242f")
    axes.axvline(report["schedule"]["optimum"], color="#57606a", linestyle="--", linewidth=1)
    axes.text(report["schedule"]["optimum"], len(names) - 0.45, " best possible end", color="#57606a", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.1)
    axes.set_xlabel("seconds of Azure's time since the first credential write  (| write, x delete)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
