"""An event loop on virtual time whose processes can be killed and frozen at any await.

- Time stands still while anything can run, and then jumps to the next timer: nothing waits, and a seed repeats itself.
- Whatever a process starts carries its name in the context; each resumption of one of its tasks asks the process first.
- A killed process runs nothing more, no ``finally`` either, as after SIGKILL. A frozen one runs nothing until it thaws,
  and then all that came meanwhile in the order in which it came, as after SIGSTOP or a paused virtual machine.
"""

import asyncio
import contextvars
import heapq
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class Process:
    """What owns tasks. Counts its resumptions, so that it can be ended or stopped at a chosen one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps = 0
        self.dead = False
        self.frozen = False
        self._deferred: list[asyncio.Handle] = []
        self._at: tuple[int, Callable[[], None]] | None = None

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> "asyncio.Task[T]":
        """A task of this process; whatever it starts is of this process too."""
        context = contextvars.copy_context()
        context.run(_OWNER.set, self)
        return asyncio.get_running_loop().create_task(work, name=name, context=context)

    def after(self, steps: int, then: Callable[[], None]) -> None:
        """Call *then* in place of the resumption that follows *steps* others."""
        self._at = (self.steps + steps, then)

    def kill(self) -> None:
        self.dead = True

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        """Run what came meanwhile."""
        self.frozen = False
        loop, waiting, self._deferred = asyncio.get_running_loop(), self._deferred, []
        if isinstance(loop, VirtualLoop):
            loop.resume(waiting)

    def bury(self) -> None:
        """Let a dead process's tasks run again, for their end: nobody listens to it any more."""
        self.dead, self._at = False, None
        self.thaw()

    def admits(self, handle: asyncio.Handle) -> bool:
        """Whether this resumption happens now."""
        if self.dead:
            self._deferred.append(handle)  # for the burial
            return False
        self.steps += 1
        if self._at is not None and self.steps > self._at[0]:
            then, self._at = self._at[1], None
            then()
        if self.dead or self.frozen:  # type: ignore[redundant-expr] # then() may have killed us
            self._deferred.append(handle)
            return False
        return True

    def carry_out(self, resumption: Callable[[], None]) -> None:
        """One of our tasks goes on until its next await."""
        resumption()


_OWNER: contextvars.ContextVar[Process | None] = contextvars.ContextVar("owner", default=None)


def outside() -> contextvars.Context:
    """A context of no process: what runs in it outlives whoever asked for it."""
    context = contextvars.copy_context()
    context.run(_OWNER.set, None)
    return context


class _Handle(asyncio.Handle):
    __slots__ = ()

    def _run(self) -> None:
        owner = self._context.get(_OWNER)  # type: ignore[attr-defined] # a handle's own, which asyncio keeps to itself
        if owner is None:
            super()._run()
        elif owner.admits(self):
            owner.carry_out(super()._run)


class _Timer(asyncio.TimerHandle):
    __slots__ = ()

    def _run(self) -> None:
        owner = self._context.get(_OWNER)  # type: ignore[attr-defined] # a handle's own, which asyncio keeps to itself
        if owner is None:
            super()._run()
        elif owner.admits(self):
            owner.carry_out(super()._run)


class _Jump(selectors.BaseSelector):
    """In place of waiting for input: time jumps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._keys: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        self._keys[number] = selectors.SelectorKey(fileobj, number, events, data)
        return self._keys[number]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is left that could ever happen")
        self.now += max(0.0, timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def close(self) -> None:
        self._keys.clear()


class VirtualLoop(asyncio.SelectorEventLoop):
    """Of one seed."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now

    # What asyncio's own loop does, but with handles that ask their process.

    def call_soon(  # type: ignore[override] # asyncio's is generic in the arguments
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined] # asyncio's own queue
        return handle

    def call_at(  # type: ignore[override] # as above
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined] # asyncio's own heap
        timer._scheduled = True  # type: ignore[attr-defined] # as asyncio marks what is in its heap
        return timer

    def call_later(  # type: ignore[override] # as above
        self, delay: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def resume(self, handles: list[asyncio.Handle]) -> None:
        """Put deferred resumptions in line, those that were cancelled meanwhile left out."""
        self._ready.extend(each for each in handles if not each.cancelled())  # type: ignore[attr-defined] # as above
