"""``make mutants``: plants every bug of the table in a copy of the sources, one at a time, and shows what catches it.

Prints a table (bug, file, what caught it, seconds) and one closing line. Exit status 1 when a bug survives or is none, 2
when the tests fail without any bug or the table does not fit the sources.
"""

import argparse
import json
import os
import queue
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from mutants import report
from mutants.bugs import ROOT, TABLE, Bug, complaints, read_table
from mutants.trials import STAGES, Outcome, Tree, Verdict

_STOPPED = 130  # as shells say it


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make mutants", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--only", metavar="WORD", action="append", help="bugs or areas whose name holds WORD; repeatable"
    )
    parser.add_argument("--list", action="store_true", help="print the table of bugs and plant none")
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="what goes to standard output"
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as well")
    parser.add_argument("--stages", default=",".join(STAGES), help="whom to ask, in this order (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=min(2, len(os.sched_getaffinity(0))), help="bugs at a time")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, default=TABLE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.stages = tuple(options.stages.split(","))
    if options.workers < 1 or not set(options.stages) <= set(STAGES):
        parser.error(f"--workers must be 1 or more, --stages some of {','.join(STAGES)}")
    return options


def main() -> int:
    """Return the exit status."""
    options = _options()
    table = read_table(options.table)
    wrong = complaints(table, options.root)
    if wrong:
        _say("the table does not fit the sources:", *wrong)
        return 2
    words = options.only or [""]
    bugs = [bug for bug in table if any(word in bug.name or word == bug.area.name for word in words)]
    if not bugs:
        _say(f"no bug is called {' or '.join(words)}; see --list")
        return 2
    if options.list:
        print(report.listed(bugs))  # noqa: T201 - a command
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="keystead-mutants-") as folder:
            return _plant(bugs, options, Path(folder))
    except KeyboardInterrupt:
        _say("stopped; all planting was in a copy, which is gone")
        return _STOPPED


def _plant(bugs: list[Bug], options: argparse.Namespace, folder: Path) -> int:
    began = time.monotonic()
    trees = [Tree.copied(options.root, folder / "0")]
    if "hints" in options.stages and (failing := _checked(trees[0], bugs, options.workers)):
        _say(f"without any bug, the tests fail: {failing}")
        return 2
    trees += [trees[0].twin(folder / str(number)) for number in range(1, options.workers)]
    verdicts: dict[str, Verdict] = {}
    for verdict in _tried(trees, bugs, options.stages):
        verdicts[verdict.bug.name] = verdict
        _say(report.line(verdict, f"{len(verdicts)}/{len(bugs)}"))
    ordered = [verdicts[bug.name] for bug in bugs]
    figures = report.figures(ordered, seconds=time.monotonic() - began, workers=options.workers)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2) if options.output == "json" else report.table(ordered))  # noqa: T201 - a command
    (_say if options.output == "json" else print)(report.closing(figures))
    return 0 if all(each.outcome is Outcome.CAUGHT for each in ordered) else 1


def _checked(tree: Tree, bugs: Sequence[Bug], workers: int) -> str:
    """Why the named tests do not pass without any bug; empty when they do, and only then "caught" means anything."""
    tests = sorted({test for bug in bugs for test in bug.tests})
    _say(f"{len(tests)} tests without any bug")
    shares = [share for number in range(workers) if (share := tests[number::workers])]
    with ThreadPoolExecutor(len(shares)) as pool:
        return next(filter(None, pool.map(tree.check, shares)), "")


def _tried(trees: Sequence[Tree], bugs: Sequence[Bug], stages: Sequence[str]) -> Iterator[Verdict]:
    """The verdicts as they come."""
    free: queue.SimpleQueue[Tree] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def one(bug: Bug) -> Verdict:
        tree = free.get()
        try:
            return tree.try_out(bug, stages)
        finally:
            free.put(tree)

    with ThreadPoolExecutor(len(trees)) as pool:
        try:
            for done in as_completed([pool.submit(one, bug) for bug in bugs]):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for tree in trees:
                tree.stop()
            raise


def _say(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)  # noqa: T201 - a command


if __name__ == "__main__":
    sys.exit(main())
