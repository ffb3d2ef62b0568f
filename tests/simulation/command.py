"""``make simulate SEEDS=N [FIRST=K]``: plays N stories on all cores and prints one closing line.

A seed that breaks a rule is told with the command that replays it, and shrunk. Exit status 1 then, and 2 on bad use.
"""

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterator

from simulation.run import Outcome, play, play_again
from simulation.shrink import shrink, tell
from simulation.story import write_story

_SAYS = 15.0  # seconds between two lines of progress
_SHRINKS = 3  # at the most; one story explains more than ten


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--shrink", type=int, default=_SHRINKS, help="how many broken seeds to shrink")
    options = parser.parse_args()
    if options.seeds < 1 or options.first < 0:
        parser.error("SEEDS must be 1 or more, FIRST 0 or more")
    began = said = time.monotonic()
    totals, broken, count = [0, 0, 0], list[Outcome](), 0
    for outcome in _outcomes(range(options.first, options.first + options.seeds)):
        count += 1
        totals = [one + more for one, more in zip(totals, (outcome.steps, outcome.faults, outcome.kills), strict=True)]
        if outcome.breaks:
            broken.append(outcome)
            _say(f"seed {outcome.seed} broke: {outcome.breaks[0]}")
            _say(f"  replay: make simulate SEEDS=1 FIRST={outcome.seed}")
        if time.monotonic() - said > _SAYS:
            said = time.monotonic()
            _say(f"{count} of {options.seeds} seeds, {len(broken)} broken, {said - began:.0f} s")
    for outcome in sorted(broken, key=lambda each: each.seed)[: options.shrink]:
        _explain(outcome)
    steps, faults, kills = totals
    breaks = sum(len(each.breaks) for each in broken)
    print(  # noqa: T201 - a command
        f"seeds {count}, steps {steps}, faults injected {faults}, kills {kills}, invariant breaks {breaks} "
        f"(in {len(broken)} seeds; {time.monotonic() - began:.0f} s)"
    )
    return 1 if broken else 0


def _outcomes(seeds: range) -> Iterator[Outcome]:
    workers = min(len(seeds), len(os.sched_getaffinity(0)))
    if workers == 1:
        yield from map(_play, seeds)
        return
    # Fresh processes now and then: what a story leaves for the collector is given back.
    with multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=60) as pool:
        yield from pool.imap_unordered(_play, seeds, chunksize=2)


def _play(seed: int) -> Outcome:
    try:
        return play_again(play(write_story(seed)))
    except Exception:  # noqa: BLE001 - a seed that cannot be played is broken, and the others go on
        text = "simulation: " + " | ".join(traceback.format_exc().strip().splitlines()[-6:])
        return Outcome(seed, (text,), "", 0, 0, 0, 0, 0.0, {})


def _explain(outcome: Outcome) -> None:
    if not outcome.digest:
        return
    _say(f"shrinking seed {outcome.seed} ...")
    print(tell(*shrink(write_story(outcome.seed), outcome)))  # noqa: T201 - a command


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - a command
