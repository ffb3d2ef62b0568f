"""How close rollouts come to the best schedule that Azure's rates allow: whole operators on virtual time.

``--only TEXT`` plays the points whose title contains TEXT, ``--most N`` those of no more than N namespaces; both leave
docs/benchmarks as it is. ``--long`` adds the longest; ``--processes N`` (default: one for each core), ``--output DIR``. Each
point starts from the same seed each time and gives the same figures.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.colors import LinearSegmentedColormap

ROOT = Path(__file__).parents[1]
sys.path[1:1] = [str(ROOT / "tests"), str(ROOT / "bench" / "virtual")]  # the simulation's loop and wire; the rollout
from rollout import Found, Point, roll_out  # noqa: E402 - from where the line above says

CONDITIONS: dict[str, dict[str, Any]] = {
    "calm": {},
    "2 % 409": {"conflicts": 0.02},
    "2 % 409, slow": {"conflicts": 0.02, "latency": 1.5},
    "half foreign": {"foreign": 0.5},
    "half foreign, 2 % 409": {"foreign": 0.5, "conflicts": 0.02},
    "half foreign, 2 % 409, slow": {"foreign": 0.5, "conflicts": 0.02, "latency": 1.5},
}
_ALL = tuple(CONDITIONS)
_FEW = ("calm", "half foreign, 2 % 409")
POOLS: tuple[tuple[int, int, int, tuple[str, ...]], ...] = (
    (40, 4, 1, _ALL),
    (80, 8, 1, _ALL),
    (160, 16, 1, _ALL),
    (160, 16, 4, _ALL),
    (300, 30, 1, _ALL),
    (300, 40, 2, _ALL),
    (600, 60, 4, _ALL),
    (1000, 100, 1, _FEW[1:]),
    (1000, 100, 5, _FEW),
    (2000, 200, 5, _FEW),
)
"""Namespaces, identities, subscriptions, and the conditions in which they are measured."""
_LONG = (2000, 200, 1, _FEW)
"""Two thousand writes at two a second: six minutes each by themselves."""
_PROVEN = 100  # namespaces; in larger rollouts proofs are put off, since they take no turn of a credential write
_PUT_OFF = 86400.0
Row = dict[str, Any]


def _points(*, long: bool) -> dict[tuple[str, str], Point]:
    points = {}
    for namespaces, identities, subscriptions, conditions in (*POOLS, _LONG) if long else POOLS:
        for name in conditions:
            points[_title(namespaces, identities, subscriptions), name] = Point(
                namespaces,
                identities,
                subscriptions,
                seed=1,
                proof_wait=20.0 if namespaces <= _PROVEN else _PUT_OFF,
                **CONDITIONS[name],
            )
    return points


def _title(namespaces: int, identities: int, subscriptions: int) -> str:
    pools = "1 subscription" if subscriptions == 1 else f"{subscriptions} subscriptions"
    return f"{namespaces} namespaces, {identities} identities, {pools}"


def _measure(work: tuple[tuple[str, str], Point]) -> tuple[tuple[str, str], Point, Found, float]:
    began = time.process_time()
    found = roll_out(work[1])
    return *work, found, time.process_time() - began


def main() -> int:
    """Always 0: figures are shown, not asserted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--most", type=int, default=0)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--output", type=Path, default=ROOT / "docs/benchmarks")
    options = parser.parse_args()
    wanted = {
        key: point
        for key, point in _points(long=options.long).items()
        if options.only in ": ".join(key) and point.namespaces <= (options.most or point.namespaces)
    }
    began, rows = time.monotonic(), list[Row]()
    # The longest first, so that no core is left alone with them; a fresh process each, since nothing is collected in it.
    work = sorted(wanted.items(), key=lambda each: -each[1].namespaces)
    with multiprocessing.get_context("spawn").Pool(options.processes, maxtasksperchild=1) as pool:
        for (title, condition), point, found, seconds in pool.imap_unordered(_measure, work, chunksize=1):
            row: Row = {"pool": title, "conditions": condition, "point": dataclasses.asdict(point)}
            row |= {**dataclasses.asdict(found), "bar": found.bar, "cpuSeconds": seconds}
            rows.append(row)
            print(f"{title}: {condition}: {found.seconds:.1f} s, at best {found.optimum:.1f} s", flush=True)
    order = list(wanted)
    rows.sort(key=lambda row: order.index((row["pool"], row["conditions"])))
    table = _table(rows)
    print(f"{table}\n\n{len(rows)} points in {time.monotonic() - began:.0f} s")
    if options.only or options.most:
        return 0
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "schedule.json").write_text(json.dumps(rows, indent=2) + "\n")
    (options.output / "schedule.md").write_text(_page(table, rows))
    _plot(rows, options.output / "schedule.svg")
    return 0


def _table(rows: list[Row]) -> str:
    head = (
        "| pool | conditions | best possible, s | measured, s | ratio | bar, s | writes | of them refused |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    lines = [
        f"| {row['pool']} | {row['conditions']} | {row['optimum']:.1f} | {row['seconds']:.1f} "
        f"| {row['seconds'] / max(row['optimum'], 0.1):.3f} | {row['bar']:.1f}{'' if _within(row) else ' missed'} "
        f"| {row['writes']} | {row['refused']} |"
        for row in rows
    ]
    return "\n".join([head, *lines])


def _within(row: Row) -> bool:
    return bool(row["seconds"] <= row["bar"])


def _page(table: str, rows: list[Row]) -> str:
    missed = sum(not _within(row) for row in rows)
    verdict = "Every point is within the bar." if not missed else f"{missed} of {len(rows)} points miss the bar."
    return (
        "<!-- written by `make bench`; do not edit by hand -->\n\n"
        "# How close rollouts come to the best schedule\n\n"
        "`make bench ONLY=schedule`: all namespaces of a grant appear at once. The whole operator, its real code above the\n"
        "two HTTP connections, runs on virtual time against the emulated Azure and Kubernetes, and what counts is Azure's\n"
        "journal: from the start of the first credential write to the start of the last.\n\n"
        "The best possible time is computed from the world alone, not from the placement that was chosen: a write on an\n"
        "identity every 4 s, two a second in a subscription, ten a second in a tenant, twenty slots on an identity less\n"
        "those that others hold, and a turn of its identity for each write that Azure refused. The bar is 1.05 times that\n"
        f"and a second. {verdict}\n\n"
        "Half foreign: half of all slots are other people's, unevenly. 2 % 409: so many writes are refused because somebody\n"
        "else is writing to the identity. Slow: Azure answers in 1.5 s (median) in place of 0.05 s, and takes 1.3 s for\n"
        f"each write on top in both. Above {_PROVEN} namespaces the proofs of the exchange are put off, as they take no\n"
        "turn of a credential write. All is drawn from the seed 1, and the same seed gives the same figures.\n\n"
        "Each field: seconds measured, and below how many times the best possible they are; its colour says how much of the\n"
        "allowed delay was used.\n\n"
        "![Seconds of each rollout, coloured by the share of the allowed delay that it used](schedule.svg)\n\n"
        f"{table}\n"
    )


def _plot(rows: list[Row], picture: Path) -> None:
    """Each point by the share of the allowance between the best possible time and the bar that it has used up."""
    pools = list(dict.fromkeys(row["pool"] for row in rows))
    conditions = list(CONDITIONS)
    used = [[float("nan")] * len(conditions) for _ in pools]
    figure, axes = plt.subplots(figsize=(10.5, 0.52 * len(pools) + 1.6), layout="constrained")
    for row in rows:
        line, column = pools.index(row["pool"]), conditions.index(row["conditions"])
        share = (row["seconds"] - row["optimum"]) / (row["bar"] - row["optimum"])
        used[line][column] = max(0.0, share)
        axes.text(
            column, line - 0.13, f"{row['seconds']:.1f} s", ha="center", va="center", fontsize=10, color="#1a202c"
        )
        ratio = f"{row['seconds'] / max(row['optimum'], 0.1):.3f}"
        axes.text(column, line + 0.23, ratio, ha="center", va="center", fontsize=8, color="#4a5568")
    colours = LinearSegmentedColormap.from_list("allowance", ["#c6f6d5", "#fefcbf", "#fbd38d", "#fc8181"])
    colours.set_bad("#f7fafc")
    drawn = axes.imshow(used, aspect="auto", cmap=colours, vmin=0.0, vmax=1.25)
    axes.set_xticks(range(len(conditions)), [each.replace(", ", ",\n") for each in conditions])
    labels = [" · ".join(f"{int(part.split()[0]):,}" for part in each.split(", ")) for each in pools]
    axes.set_yticks(range(len(pools)), labels)
    axes.set_ylabel("namespaces · identities · subscriptions")
    axes.set_xticks([each - 0.5 for each in range(1, len(conditions))], minor=True)
    axes.set_yticks([each - 0.5 for each in range(1, len(pools))], minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.02, ticks=[0.0, 0.5, 1.0])
    bar.ax.set_yticklabels(["best possible", "half of what is allowed", "the bar"])
    bar.outline.set_visible(False)
    figure.savefig(picture)
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
