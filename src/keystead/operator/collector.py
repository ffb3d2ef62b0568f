"""When Python looks for garbage in cycles: not where there is none.

What the caches hold lives as long as it is true, and what a pass makes is let go of by reference when it ends; neither
has cycles. The collector would look through all of it again and again: a quarter of the time of a large plan.
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Look for none meanwhile."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def keep_what_stands() -> None:
    """What is alive now is not looked through any more; for a process that has just read its world, once."""
    gc.collect()
    gc.freeze()
