"""Makes identities and gives them their role: beside the passes, a few at once, each step as often as it takes.

- Both writes are safe to repeat: names follow from what is wanted, and nothing is written over.
- As for credentials, the lease must outlast a write's deadline, and what is so already is not written again.
- An answer that never came is no failure to tell: the next plan finds out what is there.
- Every write is in the audit log.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from keystead.apply import audit
from keystead.apply.board import Board
from keystead.apply.lanes import WRITE_DEADLINE, Counted
from keystead.apply.ports import PoolWriter, Requeue, WriteGate
from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError, Retryable, Uncertain
from keystead.model.growth import FoundIdentity
from keystead.model.reasons import Reason
from keystead.plan.steps import AssignRole, CreateIdentity, PoolStep

log = structlog.get_logger("keystead.grower")
_AT_ONCE = 4
_LONGEST_RETRY, _LONGEST_SLOW_RETRY = 120.0, 1800.0  # seconds
_GATE_WAIT = 1.0  # seconds until the lease is asked again


@dataclass(frozen=True, slots=True)
class GrowerWiring:
    """What the grower needs from the rest."""

    pool: PoolWriter
    clock: Clock
    board: Board
    gate: WriteGate
    requeue: Requeue
    moot: Callable[[PoolStep], bool]
    """What the step wants is known to be so already."""
    created: Callable[[CreateIdentity, FoundIdentity], None]
    assigned: Callable[[AssignRole], None]
    doubted: Callable[[PoolStep], None]
    """Azure refused, or did not answer: what was last read may not be so."""
    counted: Counted = lambda _identity, _verb, _outcome: None


class Grower:
    """All of it for one operator."""

    def __init__(self, wiring: GrowerWiring) -> None:
        self._wiring = wiring
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._wanted: dict[str, dict[str, PoolStep]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def submit(self, grant: str, steps: Sequence[PoolStep]) -> None:
        """Make *steps* all that this grant wants done; what is being written goes on. Returns at once."""
        self._tasks = {unit: task for unit, task in self._tasks.items() if not task.done()}
        wanted = self._wanted[grant] = {step.unit: step for step in steps}
        for unit in wanted:
            if unit not in self._tasks:
                self._tasks[unit] = asyncio.create_task(self._work(grant, unit), name=f"grow:{unit}")
        if not wanted:
            del self._wanted[grant]

    async def stop(self) -> None:
        """Begin nothing more; let what is being written come to its end."""
        self._stopping = True
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _work(self, grant: str, unit: str) -> None:
        async with self._turn:
            step = self._next(grant, unit)
            while step is not None and not self._wiring.gate(WRITE_DEADLINE):
                await self._wiring.clock.sleep(_GATE_WAIT)
                step = self._next(grant, unit)
            if step is not None:
                await self._carry_out(grant, step)

    def _next(self, grant: str, unit: str) -> PoolStep | None:
        """The step as it is wanted now, if it still is."""
        step = self._wanted.get(grant, {}).get(unit)
        return None if step is None or self._stopping or self._wiring.moot(step) else step

    async def _carry_out(self, grant: str, step: PoolStep) -> None:
        wiring = self._wiring
        error = await self._attempt(step)
        self._note(grant, step, error)
        self._wanted.get(grant, {}).pop(step.unit, None)
        if error is None:
            wiring.board.succeeded(step.unit)
        else:
            told = _as_told(error)
            longest = _LONGEST_RETRY if isinstance(told, Retryable) else _LONGEST_SLOW_RETRY
            wiring.board.failed(step.unit, type(step).__name__, told, wiring.clock.now(), longest=longest)
            wiring.doubted(step)
        wiring.requeue(grant)

    async def _attempt(self, step: PoolStep) -> KeysteadError | None:
        """One write; ``None`` is success."""
        wiring = self._wiring
        try:
            async with asyncio.timeout(WRITE_DEADLINE):
                match step:
                    case CreateIdentity():
                        wiring.created(step, await wiring.pool.create_identity(step))
                    case AssignRole():
                        await wiring.pool.assign_role(step)
                        wiring.assigned(step)
        except TimeoutError:
            return Uncertain(Reason.AZURE_UNAVAILABLE, "no answer from Azure in time")
        except KeysteadError as error:
            return error
        return None

    def _note(self, grant: str, step: PoolStep, error: KeysteadError | None) -> None:
        verb = "create identity" if isinstance(step, CreateIdentity) else "assign role"
        outcome = "ok" if error is None else str(error.reason)
        self._wiring.counted(step.identity, verb, outcome)
        more = {"role": step.role, "scope": step.vault.text} if isinstance(step, AssignRole) else {}
        audit.wrote_pool(verb, step.identity, grant, error, **more)


def _as_told(error: KeysteadError) -> KeysteadError:
    """Tried again soon, since to repeat it does no harm."""
    return Retryable(error.reason, str(error), code=error.code) if isinstance(error, Uncertain) else error
