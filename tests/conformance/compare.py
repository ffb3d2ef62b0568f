"""Where two answers differ, for people."""

from typing import Any


def differences(got: Any, wanted: Any, path: str = "") -> list[str]:
    """One line for each place."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        return [
            line
            for name in [*wanted, *(each for each in got if each not in wanted)]
            for line in differences(got.get(name, _NOTHING), wanted.get(name, _NOTHING), f"{path}.{name}")
        ]
    if isinstance(got, list) and isinstance(wanted, list) and len(got) == len(wanted):
        return [
            line for n, pair in enumerate(zip(got, wanted, strict=True)) for line in differences(*pair, f"{path}[{n}]")
        ]
    return [] if got == wanted and type(got) is type(wanted) else [f"{path}: got {got!r}, the real one has {wanted!r}"]


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


_NOTHING = _Nothing()
