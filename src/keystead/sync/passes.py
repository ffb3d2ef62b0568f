"""One pass over one ExternalSecret: see, read, plan, write, report. The rules are in the pure modules.

A pass says when to look again: after so many seconds, after backing off, or when something changes.
"""

import asyncio
import datetime
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import assert_never

import structlog

from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError
from keystead.sync.agenda import Turn
from keystead.sync.cluster import code_of
from keystead.sync.hashing import created_by, field_manager
from keystead.sync.objects import ESO_FINALIZER, ExternalSecret, SecretStore
from keystead.sync.plan import (
    PROVIDER_FAILED,
    UNSUPPORTED,
    UPDATE_FAILED,
    CreateSecret,
    DeleteSecret,
    ReplaceSecret,
    SecretPlan,
    Step,
    Verdict,
    failed,
    make_plan,
)
from keystead.sync.ports import Secrets, Ticket, Voice
from keystead.sync.reading import Assembled, NotAssembled, assemble, reads
from keystead.sync.refresh import beyond_us, due_at, is_intact, is_periodic, sharing_window, should_refresh
from keystead.sync.report import external_secret_status
from keystead.sync.shelf import Shelf
from keystead.sync.snapshot import LiveSecret, Read, ReadResult, SecretMark, Unread
from keystead.sync.stores import Gate, StoreUnusable, gate_of
from keystead.sync.tokens import SignInFailed, Tokens

log = structlog.get_logger("keystead.sync")
_PATIENCE = 3
"""Throttled so often in a row, an ExternalSecret says so in its condition."""


@dataclass(frozen=True, slots=True)
class Next:
    """When to look again. All empty: when something changes."""

    seconds: float | None = None
    back_off: bool = False
    at_least: float = 0.0


@dataclass(frozen=True, slots=True)
class World:
    """What a pass sees of the caches."""

    store: Callable[[str, str], SecretStore | None]
    mark: Callable[[str, str], SecretMark | None]
    marks: Callable[[str], Iterable[SecretMark]]
    """Of one namespace."""


@dataclass(frozen=True, slots=True)
class Way:
    """An open gate."""

    gate: Gate
    ticket: Ticket


class Passes:
    """Carries out passes; keeps nothing between them."""

    def __init__(
        self, world: World, secrets: Secrets, voice: Voice, tokens: Tokens, shelf: Shelf, clock: Clock
    ) -> None:
        self._world = world
        self._secrets = secrets
        self._voice = voice
        self._tokens = tokens
        self._shelf = shelf
        self._clock = clock

    async def run(self, es: ExternalSecret, turn: Turn) -> tuple[Next, ExternalSecret]:
        """When to look again, and the ExternalSecret with the status it has by now."""
        if es.metadata.deletion_timestamp is not None:
            await self._clean_up(es)
            return Next(), es
        started = self._clock.now()
        beyond = beyond_us(es)
        if beyond:
            verdict = Verdict(ready=False, reason=UNSUPPORTED, message=beyond, failure=beyond)
            return Next(), await self._report(es, verdict, started)
        try:
            due = should_refresh(es, started)
        except ValueError as error:
            verdict = failed(PROVIDER_FAILED, f"spec.refreshInterval: {error}", retry=False)
            return Next(), await self._report(es, verdict, started)
        if not due and await self._stands(es):
            return Next(_seconds_until(due_at(es), started)), es
        if self._too_early(es):
            return Next(), es
        try:
            data = await self._assembled(es, self._since(es, turn, due=due))
        except NotAssembled as error:
            return await self._not_assembled(es, error, turn, started)
        for text in data.missing:
            await self._voice.event(es, "MissingProviderSecret", text, warning=False)
        plan = make_plan(es, await self._live(es), data, self._ours(es))
        return await self._carry_out(es, plan, started)

    def _too_early(self, es: ExternalSecret) -> bool:
        """A store of ours has not been looked at yet: its first condition, whatever it says, will wake us."""
        stores = [self._world.store(es.namespace, ref.name) for ref in es.stores()]
        return any(store is not None and not store.judged for store in stores)

    async def _stands(self, es: ExternalSecret) -> bool:
        """Whether the Secret is as it was written; a doubt of the cache is settled by reading."""
        if es.spec.target.creation_policy in ("Orphan", "None"):
            return True
        mark = self._world.mark(es.namespace, es.target_name)
        if mark is not None and mark.intact:
            return True
        live = await self._live(es)
        return live is not None and is_intact(live.shape)

    async def _live(self, es: ExternalSecret) -> LiveSecret | None:
        return await self._secrets.read(es.namespace, es.target_name, manager=field_manager(es.name))

    def _ours(self, es: ExternalSecret) -> list[SecretMark]:
        label = created_by(es.namespace, es.name)
        return [mark for mark in self._world.marks(es.namespace) if mark.created_by == label]

    def _since(self, es: ExternalSecret, turn: Turn, *, due: bool) -> float:
        """Values asked for at this time (monotonic) or later will do."""
        if due and is_periodic(es):
            return turn.asked_at - sharing_window(es).total_seconds()
        return turn.asked_at

    async def _assembled(self, es: ExternalSecret, since: float) -> Assembled:
        """The data, from the vaults. Raises NotAssembled."""
        wanted = reads(es)
        ways = {name: await self._way(es.namespace, name) for name in sorted({read.store for read in wanted})}
        results = await asyncio.gather(*(self._read(read, ways[read.store], since) for read in wanted))
        attributes = frozenset(name for name, way in ways.items() if isinstance(way, Way) and way.gate.attributes)
        return assemble(es, dict(zip(wanted, results, strict=True)), with_attributes=attributes)

    async def _way(self, namespace: str, name: str) -> Way | Unread:
        """The way through a store, or why there is none; the texts are ESO's."""
        store = self._world.store(namespace, name)
        if store is None:
            return Unread(f'could not get SecretStore "{name}", SecretStore "{name}" not found')
        if not store.ready:
            return Unread(f'SecretStore "{name}" is not ready')
        try:
            gate = gate_of(store)
            return Way(gate, await self._tokens.ticket(gate.account))
        except (StoreUnusable, SignInFailed) as error:
            return Unread(f'SecretStore "{name}": {error}')

    async def _read(self, read: Read, way: Way | Unread, since: float) -> ReadResult:
        if isinstance(way, Unread):
            return way
        result = await self._shelf.read(way.gate.vault, read.name, read.version, way.ticket, since=since)
        if isinstance(result, Unread) and result.ticket_refused:
            self._tokens.forget(way.gate.account)
        return result

    async def _not_assembled(
        self, es: ExternalSecret, error: NotAssembled, turn: Turn, started: datetime.datetime
    ) -> tuple[Next, ExternalSecret]:
        wait = error.throttled_for or 0.0
        if error.throttled_for is not None and turn.failures < _PATIENCE:
            return Next(back_off=True, at_least=wait), es
        if error.needs_operator:
            verdict = Verdict(ready=False, reason=UNSUPPORTED, message=str(error), failure=str(error))
            return Next(), await self._report(es, verdict, started)
        verdict = failed(PROVIDER_FAILED, str(error), retry=True)
        return Next(back_off=True, at_least=wait), await self._report(es, verdict, started)

    async def _carry_out(
        self, es: ExternalSecret, plan: SecretPlan, started: datetime.datetime
    ) -> tuple[Next, ExternalSecret]:
        verdict = plan.verdict
        try:
            for step in plan.steps:
                await self._write(es, step)
        except KeysteadError as error:
            if error.code in ("Conflict", "AlreadyExists"):
                return Next(back_off=True), es  # somebody wrote at the same time: look again, nothing to report
            failure = f"unable to update secret {es.target_name}: the API server answered {code_of(error)}"
            verdict = failed(UPDATE_FAILED, failure, retry=True)
        es = await self._report(es, verdict, started)
        if verdict.retry:
            return Next(back_off=True), es
        # A failure that only a change heals is looked at again when the next refresh would be due.
        again = due_at(es) if verdict.ready else started + es.interval if es.interval > datetime.timedelta() else None
        return Next(_seconds_until(again, started)), es

    async def _write(self, es: ExternalSecret, step: Step) -> None:
        manager = field_manager(es.name)
        match step:
            case CreateSecret(shape):
                await self._secrets.create(shape, manager=manager)
                await self._voice.event(es, "Created", "secret created", warning=False)
            case ReplaceSecret():
                await self._secrets.replace(step, manager=manager)
                await self._voice.event(es, "Updated", "secret updated", warning=False)
            case DeleteSecret():
                await self._secrets.delete(step)
                await self._voice.event(es, "Deleted", step.why, warning=False)
            case _:
                assert_never(step)

    async def _report(self, es: ExternalSecret, verdict: Verdict, started: datetime.datetime) -> ExternalSecret:
        """One status write at the most, none when nothing changed; the ExternalSecret as it is now."""
        status = external_secret_status(es, verdict, started)
        if verdict.failure and (status is not None or verdict.retry):
            await self._voice.event(es, "UpdateFailed", verdict.failure, warning=True)
            log.info("not synced", namespace=es.namespace, external_secret=es.name, why=verdict.failure)
        if status is None:
            return es
        return await self._voice.external_secret_status(es, status) or es

    async def _clean_up(self, es: ExternalSecret) -> None:
        """What ESO's finalizer promised, when ESO put it there and the ExternalSecret is ours by now.

        The engine adds no finalizer: the owner reference deletes the Secret, and a namespace never waits for us.
        """
        if ESO_FINALIZER not in es.metadata.finalizers:
            return
        if es.spec.target.deletion_policy == "Delete":
            live = await self._live(es)
            owners = live.shape.owners if live is not None else ()
            if live is not None and any(owner.controller and owner.uid == es.metadata.uid for owner in owners):
                await self._secrets.delete(DeleteSecret(es.namespace, es.target_name, live.uid, ""))
        await self._voice.release(es, ESO_FINALIZER)


def _seconds_until(moment: datetime.datetime | None, now: datetime.datetime) -> float | None:
    return None if moment is None else max(0.0, (moment - now).total_seconds())
