"""``python -m simulation``; see :mod:`simulation.command`."""

import os
import sys

_PLAIN_HASHES = "0"

if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != _PLAIN_HASHES:  # noqa: TID251 - sets of texts must iterate alike everywhere
        os.execve(  # noqa: S606 - this very program again
            sys.executable,
            [sys.executable, "-m", "simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": _PLAIN_HASHES},  # noqa: TID251 - as above
        )
    from simulation.command import main

    sys.exit(main())
