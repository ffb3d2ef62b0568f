"""One lane for each managed identity: serial, paced, side by side with the others.

Rules:
- A grant's submission replaces what that grant had queued; a step that stays keeps its place, one in flight goes on,
  and is not tried again where nobody wants it any more.
- Deletes overtake writes, on their own lane and for the next turn of their subscription; among writes the lane goes
  first that has most slots to fill. A step whose time has not come blocks nobody.
- An adopted credential is looked at just before it is deleted, as its maker may have changed it; both take a turn.
- What is so already is not written again: plans are made while writes are under way. What goes by the name and says
  otherwise is somebody else's by now, and neither written over nor deleted.
- Just before a write the namespace's UID is read live, and the lease must outlast the write's deadline.
- 409 of overlapping writes holds this lane for a jittered moment, Retry-After for exactly that long; where Azure speaks
  of the subscription or the tenant, or the sign-in fails, all lanes there wait. When the answer to
  a write never came, the identity is listed before anything is tried again. The name of a write that was not confirmed
  counts as in flight until a list has told (:mod:`keystead.apply.doubts`), whatever becomes of its step.
- A lane that has nothing to do ends; whoever submits starts it again.
"""

import asyncio
import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from keystead.apply import audit
from keystead.apply.board import Board
from keystead.apply.doubts import LANDING, Doubts
from keystead.apply.lines import Entry, Line, first_served
from keystead.apply.pacing import Pacer, Paces, back_off
from keystead.apply.ports import Credentials, LiveUid, Requeue, WriteGate
from keystead.model.clock import Clock
from keystead.model.credentials import CREDENTIALS_PER_IDENTITY, Credential, IdentityState
from keystead.model.errors import Bug, KeysteadError, Refused, Retryable, Uncertain, Waits
from keystead.model.ids import IdentityId
from keystead.model.reasons import Reason
from keystead.plan.snapshot import Lane
from keystead.plan.steps import LaneStep, SweepCredential, WriteCredential

log = structlog.get_logger("keystead.lanes")

WRITE_DEADLINE = 8.0  # seconds; the lease must outlast it, and Azure answers in one to two
_LEAD = 1.0  # seconds before the slot in which the namespace is looked at
_GATE_WAIT = 1.0  # seconds until the lease is asked again
_LONGEST_HOLD = 30.0  # trust goes soon after Azure is back, however long it was away
_LOOK_AGE = 2.0  # seconds that what was just looked at may wait for the write's turn
_SEVERAL = 2  # lanes that could write now
_GIVE_WAY = 0.02  # seconds until a write looks again whether the turn that it has left to another was taken
_GRAIN = 1e-5  # seconds: a wait below the clock's own grain need not move it

Corrected = Callable[[IdentityId, Credential, bool], None]
"""Azure has confirmed that the identity holds the credential (True) or does not (False)."""
Doubted = Callable[[IdentityId, Reason], None]
"""Azure refused something: what was last listed may not be so."""
Known = Callable[[IdentityId], IdentityState | None]
"""The identity as last listed and corrected since."""
Counted = Callable[[IdentityId, str, str], None]
"""For metrics: identity, verb, outcome."""


@dataclass(frozen=True, slots=True)
class LaneWiring:
    """What lanes need from the rest."""

    credentials: Credentials
    clock: Clock
    board: Board
    live_uid: LiveUid
    gate: WriteGate
    requeue: Requeue
    corrected: Corrected
    doubted: Doubted
    known: Known
    counted: Counted = lambda _identity, _verb, _outcome: None


class Lanes:
    """All lanes of one operator."""

    def __init__(self, wiring: LaneWiring, paces: Paces) -> None:
        self._wiring = wiring
        self._clock = wiring.clock
        self._pacer = Pacer(paces)
        self._lines: dict[IdentityId, Line] = {}
        self._doubts = Doubts()
        self._looking: set[asyncio.Task[None]] = set()

    def withdraw(self, grant: str, planned: Iterable[LaneStep]) -> None:
        """Take out of line what this grant plans no more, before anything else of the plan is done.

        A plan goes by what was under way when it was made; a write that started later would outlive its ledger entry.
        """
        keys: dict[IdentityId, set[tuple[str, str]]] = {}
        for step in planned:
            keys.setdefault(step.identity, set()).add((type(step).__name__, step.credential.name))
        for identity, line in self._lines.items():
            left = line.withdraw(grant, keys.get(identity, set()))
            if any((identity, each.step.credential.name) in self._doubts for each in left):
                self._wiring.doubted(identity, Reason.AZURE_UNAVAILABLE)  # no answer to another try will tell
                self._wiring.requeue(grant)

    def submit(self, grant: str, steps: Sequence[LaneStep]) -> None:
        """Make *steps* all that this grant has in line; returns at once."""
        self.withdraw(grant, steps)
        wanted: dict[IdentityId, dict[tuple[str, str], LaneStep]] = {}
        for step in steps:
            wanted.setdefault(step.identity, {})[type(step).__name__, step.credential.name] = step
        for identity in {*wanted, *self._lines}:
            line = self._lines.setdefault(identity, Line())
            self._renew(line, grant, wanted.get(identity, {}))
            if line.entries and (line.worker is None or line.worker.done()):
                line.worker = asyncio.create_task(self._work(identity, line), name=f"lane:{identity.name}")
            line.changed.set()

    def _renew(self, line: Line, grant: str, wanted: dict[tuple[str, str], LaneStep]) -> None:
        """What stands in line keeps its place, and becomes what is wanted now; the rest goes to the end."""
        for entry in line.entries:
            if entry.grant == grant:
                entry.step = wanted.pop(entry.key)
        busy = line.busy.step.credential.name if line.busy is not None else None
        now = self._clock.monotonic()
        line.entries += [
            Entry(grant, step, now, not_before=now + self._seconds_until(getattr(step, "not_before", None)))
            for step in wanted.values()
            if step.credential.name != busy
        ]

    def _seconds_until(self, moment: datetime.datetime | None) -> float:
        return 0.0 if moment is None else max(0.0, (moment - self._clock.now()).total_seconds())

    def view(self) -> Mapping[IdentityId, Lane]:
        """How soon each identity could take another write, and how much waits there; those left out at once."""
        now = self._clock.monotonic()
        waits = {identity: self._pacer.lane_wait(identity, now) for identity in self._lines}
        return {
            identity: Lane(datetime.timedelta(seconds=waits[identity]), len(line.entries))
            for identity, line in self._lines.items()
            if line.entries or waits[identity] > 0
        }

    def in_flight(self) -> frozenset[tuple[IdentityId, str]]:
        """Identity and name of credentials that are being written or deleted now, or may be without our knowing."""
        busy = {(identity, line.busy.step.credential.name) for identity, line in self._lines.items() if line.busy}
        return frozenset(busy | self._doubts.remaining(self._clock.now(), self._wiring.known))

    @property
    def idle(self) -> bool:
        return all(not line.entries and line.busy is None for line in self._lines.values())

    async def stop(self) -> None:
        """Take nothing more; let what is in flight come to its end."""
        for line in self._lines.values():
            line.entries.clear()
            if line.busy is not None:
                line.busy.wanted = False  # whatever becomes of it, it is not for us to try again
            line.changed.set()
        workers = [line.worker for line in self._lines.values() if line.worker is not None]
        await asyncio.gather(*workers, return_exceptions=True)
        for task in self._looking:
            task.cancel()

    async def _work(self, identity: IdentityId, line: Line) -> None:
        while line.entries:
            line.changed.clear()
            now = self._clock.monotonic()
            due = [entry for entry in line.entries if entry.not_before <= now + _GRAIN]
            wait = self._pacer.wait(identity, now) - _LEAD
            if not due:
                wait = min(entry.not_before for entry in line.entries) - now
            if wait > _GRAIN:
                await self._pause(line, wait)
                continue
            entry = min(due, key=lambda each: not each.deletes)  # stable: first in line among equals
            if await self._ready(identity, line, entry):
                await self._carry_out(identity, line, entry)

    async def _pause(self, line: Line, seconds: float) -> None:
        """Wait, but not longer than until something is submitted."""
        changed = asyncio.create_task(line.changed.wait())
        slept = asyncio.create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait({changed, slept}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            slept.cancel()

    async def _ready(self, identity: IdentityId, line: Line, entry: Entry) -> bool:
        """Look at the namespace, wait for the slot, ask the lease: all that must be true when the write starts."""
        if isinstance(entry.step, WriteCredential) and not await self._namespace_stands(entry, entry.step):
            return False
        await self._turn(identity, line, entry)
        if entry not in line.entries:
            return False
        if self._is_moot(identity, entry):
            line.entries.remove(entry)
            self._wiring.requeue(entry.grant)
            return False
        overtaken = not entry.deletes and any(
            each.deletes and each.not_before <= self._clock.monotonic() for each in line.entries
        )
        if overtaken:
            return False
        if not entry.deletes and await self._gave_way(identity):
            return False
        if not self._wiring.gate(WRITE_DEADLINE):
            await self._clock.sleep(_GATE_WAIT)
            return False
        return True

    async def _turn(self, identity: IdentityId, line: Line, entry: Entry) -> None:
        """Return when a write may start here, and none that may start elsewhere has more need of the turn."""
        line.at_turn = entry
        try:
            while True:
                now = self._clock.monotonic()
                wait = self._pacer.wait(identity, now)
                if wait <= 0 and self._is_due(identity, now):
                    return
                await self._clock.sleep(wait if wait > 0 else _GIVE_WAY)
        finally:
            line.at_turn = None

    def _is_due(self, identity: IdentityId, now: float) -> bool:
        rivals = {
            other: line
            for other, line in self._lines.items()
            if line.at_turn is not None and self._pacer.wait(other, now) <= 0
        }
        return len(rivals) < _SEVERAL or first_served(rivals, self._free) == identity

    def _free(self, identity: IdentityId) -> int:
        state = self._wiring.known(identity)
        return CREDENTIALS_PER_IDENTITY - len(state.credentials) if state is not None else 0

    async def _gave_way(self, identity: IdentityId) -> bool:
        """Revocations first in a subscription too: whether the turn is left to a delete that can start now elsewhere."""
        given_up = self._clock.monotonic() + self._pacer.paces.subscription
        gave = False
        while self._clock.monotonic() < given_up and self._pacer.wait(identity, self._clock.monotonic()) <= 0:
            now = self._clock.monotonic()
            if not any(
                other != identity and line.busy is None and self._pacer.lane_wait(other, now) <= _GRAIN
                for other, line in self._lines.items()
                if any(each.deletes and each.not_before <= now for each in line.entries)
            ):
                break
            gave = True
            await self._clock.sleep(_GIVE_WAY)
        return gave

    def _is_moot(self, identity: IdentityId, entry: Entry) -> bool:
        """Planned before the last look: what is wanted is so already and costs no turn, or the name is another's by now."""
        state = self._wiring.known(identity)
        if state is None or not state.known or entry.uncertain:
            return False
        held = state.named(entry.step.credential.name)
        if held is None:
            return entry.deletes
        return not entry.deletes or not held.agrees(entry.step.credential)

    async def _namespace_stands(self, entry: Entry, step: WriteCredential) -> bool:
        try:
            uid = await self._wiring.live_uid(step.namespace)
        except KeysteadError as error:
            self._delay(entry, str(error))
            return False
        if uid == step.namespace_uid:
            return True
        # Whoever planned it will plan it again until the cache shows what was read here; that may be a while.
        self._delay(entry, "it is gone, or another by now")
        self._wiring.requeue(entry.grant)
        return False

    async def _carry_out(self, identity: IdentityId, line: Line, entry: Entry) -> None:
        line.entries.remove(entry)
        line.busy = entry
        self._pacer.started(identity, self._clock.monotonic())
        error: KeysteadError | None = None
        try:
            error = await self._attempt(identity, entry)
        finally:
            line.busy = None
        self._note(identity, entry, error)
        if error is None:
            self._wiring.board.succeeded(entry.step.unit)
            if not isinstance(entry.step, SweepCredential):
                self._wiring.board.unproven(entry.step.federation_name)
            self._doubts.confirmed((identity, entry.step.credential.name))
            self._wiring.corrected(identity, entry.step.credential, not entry.deletes)
            self._wiring.requeue(entry.grant)
        else:
            self._settle(identity, line, entry, error)

    async def _attempt(self, identity: IdentityId, entry: Entry) -> KeysteadError | None:
        """One request; ``None`` is success."""
        credentials, step = self._wiring.credentials, entry.step
        try:
            async with asyncio.timeout(WRITE_DEADLINE):
                if entry.looks:
                    if await self._took_effect(identity, entry):
                        return None
                    await self._turn_after_look(identity)
                if entry.deletes:
                    await credentials.delete(identity, step.credential.name)
                else:
                    await credentials.write(identity, step.credential)
        except TimeoutError:
            entry.uncertain = True
            return Uncertain(Reason.AZURE_UNAVAILABLE, "no answer from Azure in time")
        except Uncertain as error:
            entry.uncertain = True
            return error
        except KeysteadError as error:
            return error
        except Exception as error:
            log.exception("bug: a write failed unexpectedly", identity=str(identity), credential=step.credential.name)
            return Bug(f"{type(error).__name__} while writing {step.credential.name}")
        return None

    async def _turn_after_look(self, identity: IdentityId) -> None:
        """The look took time, in which the turn that it began with went to others: the next is taken, and waited for."""
        now = self._clock.monotonic()
        wait = self._pacer.shared_wait(identity, now)
        if wait > _LOOK_AGE:
            raise Retryable(Reason.AZURE_THROTTLED, "Azure has asked all lanes to wait since the look", after=wait)
        self._pacer.started(identity, now + wait)
        await self._clock.sleep(wait)

    async def _took_effect(self, identity: IdentityId, entry: Entry) -> bool:
        """Whether what is wanted is so already. Refused when the name is somebody else's by now, or the slot is."""
        credential = entry.step.credential
        listed = await self._wiring.credentials.credentials(identity)
        held = next((each for each in listed if each.name.lower() == credential.name.lower()), None)
        entry.uncertain = False
        if held is not None and not held.agrees(credential):
            raise Refused(Reason.TUPLE_TAKEN, f"{credential.name} has another issuer, subject or audience by now")
        if held is None and not entry.deletes and len(listed) >= CREDENTIALS_PER_IDENTITY:
            raise Refused(Reason.IDENTITY_FULL, f"{identity.name} holds {len(listed)} credentials by now")
        return (held is None) is entry.deletes

    def _settle(self, identity: IdentityId, line: Line, entry: Entry, error: KeysteadError) -> None:
        entry.attempts += 1
        if isinstance(error, Refused | Bug):
            self._wiring.board.failed(entry.step.unit, type(entry.step).__name__, error, self._clock.now())
            self._wiring.doubted(identity, error.reason)
            self._wiring.requeue(entry.grant)
            return
        now = self._clock.monotonic()
        hold = self._hold_seconds(identity, entry, error)
        self._pacer.hold(identity, now + hold, error.waits if isinstance(error, Retryable) else Waits.IDENTITY)
        if not entry.deletes:
            self._doubt(identity, entry, error)
        told = error.reason not in (Reason.CONCURRENT_WRITE, Reason.AZURE_THROTTLED)
        if told:
            step = type(entry.step).__name__
            self._wiring.board.failed(entry.step.unit, step, error, self._clock.now(), longest=_LONGEST_HOLD)
        if entry.wanted:
            line.entries.insert(0, entry)
        if told or not entry.wanted:
            self._wiring.requeue(entry.grant)

    def _doubt(self, identity: IdentityId, entry: Entry, error: KeysteadError) -> None:
        """The write may be seen now, or only when it can land no more; one that is tried again tells by itself."""
        place, now = (identity, entry.step.credential.name), self._clock.now()
        if not isinstance(error, Uncertain):
            self._doubts.put_off(place, now)
            if not entry.wanted:
                self._wiring.doubted(identity, error.reason)
            return
        self._doubts.unanswered(place, now)
        self._wiring.doubted(identity, error.reason)

        async def look_again() -> None:
            await self._clock.sleep(LANDING.total_seconds())
            self._wiring.doubted(identity, error.reason)
            self._wiring.requeue(entry.grant)

        task = asyncio.create_task(look_again(), name=f"doubt:{entry.step.credential.name}")
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    def _hold_seconds(self, identity: IdentityId, entry: Entry, error: KeysteadError) -> float:
        if isinstance(error, Retryable) and error.after is not None:
            return error.after
        pace = self._pacer.paces.identity
        if error.reason is Reason.CONCURRENT_WRITE:
            return back_off(identity.key, min(entry.attempts, 4), first=pace / 4, longest=pace * 4)
        return back_off(identity.key, entry.attempts, first=pace / 2, longest=_LONGEST_HOLD)

    def _delay(self, entry: Entry, why: str) -> None:
        entry.attempts += 1
        wait = back_off(entry.step.unit, entry.attempts, first=0.5, longest=60.0)
        entry.not_before = self._clock.monotonic() + wait
        log.info("the namespace is not as planned before the write", unit=entry.step.unit, error=why, wait=wait)

    def _note(self, identity: IdentityId, entry: Entry, error: KeysteadError | None) -> None:
        verb = "delete" if entry.deletes else "write"
        outcome = "ok" if error is None else str(error.reason)
        self._wiring.counted(identity, verb, outcome)
        audit.wrote(verb, identity, entry.step.credential, entry.grant, error)
