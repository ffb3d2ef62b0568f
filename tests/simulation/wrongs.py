"""What an operator can do wrong: acts of a rogue, each done rightly or wrongly, and what the watchman says of the latter."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from simulation.scene import Scene

KS = r"ks-\w{8}-shop-keystead-\w{26}"
"""The shop's credential and ledger entry."""
Act: TypeAlias = Callable[[Scene, bool], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """An act, wrong when it is told so; a pattern of what is said then; and how the scene is set."""

    act: Act
    rule: str
    says: str
    setting: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """Of cases, in the order of the source."""

    cases: list[Case] = field(default_factory=list)

    def breaks(self, rule: str, says: str, **setting: Any) -> Callable[[Act], Act]:
        def enter(act: Act) -> Act:
            self.cases.append(Case(act, rule, says, setting))
            return act

        return enter
