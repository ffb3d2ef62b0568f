"""The engine's loop: caches of what matters, an agenda of what to look at, workers that look.

Rules:
- Level-triggered: the agenda holds keys; created, changed, restarted and repaired all run the same pass.
- An ExternalSecret is ours when a store that it names exists with our class, and none that it names has another.
- A store that turns Ready wakes the ExternalSecrets that name it at once, their back-off forgotten. Before its first
  condition they wait without complaint.
- Our own status writes wake nobody.
- A pass that fails in a way nobody foresaw is logged by its type alone, and backs off.
"""

import asyncio
import datetime
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import structlog

from keystead.kube.client import Api
from keystead.kube.informer import Informer, Patience
from keystead.model.clock import Clock
from keystead.model.errors import KeysteadError
from keystead.sync.agenda import Agenda, Key, Turn
from keystead.sync.cluster import SECRETS, ClusterSecrets, mark_of
from keystead.sync.objects import (
    CLUSTER_SECRET_STORE,
    CLUSTER_SECRET_STORES,
    EXTERNAL_SECRETS,
    SECRET_STORE,
    SECRET_STORES,
    ExternalSecret,
    SecretStore,
    StoreRef,
    read_external_secret,
    read_secret_store,
)
from keystead.sync.passes import Passes, World
from keystead.sync.ports import Voice
from keystead.sync.refresh import MANAGED_LABEL, should_refresh
from keystead.sync.shelf import Shelf
from keystead.sync.snapshot import SecretMark
from keystead.sync.stores import StoreKeeper
from keystead.sync.tokens import Tokens

log = structlog.get_logger("keystead.sync")
EXTERNAL_SECRET = "ExternalSecret"  # noqa: S105 - the name of a kind
_SWEEP = 60.0
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Manners:
    """How the engine works."""

    controller_class: str = "keystead"
    store_interval: datetime.timedelta = datetime.timedelta(minutes=5)
    workers: int = 32
    patience: Patience = field(default_factory=Patience)


class Engine:
    """Everything between the two adapters."""

    def __init__(
        self, api: Api, secrets: ClusterSecrets, voice: Voice, tokens: Tokens, shelf: Shelf, clock: Clock, how: Manners
    ) -> None:
        self._clock = clock
        self._how = how
        self._tokens = tokens
        self._shelf = shelf
        self.agenda = Agenda(clock)
        self._external = Informer(
            api, clock, EXTERNAL_SECRETS, read_external_secret, self._external_changed, how.patience
        )
        self._stores = Informer(api, clock, SECRET_STORES, read_secret_store, self._store_changed, how.patience)
        self._cluster_stores = Informer(
            api,
            clock,
            CLUSTER_SECRET_STORES,
            read_secret_store,
            self._store_changed,
            how.patience,
            optional=True,  # External Secrets Operator can be installed without it
        )
        self._marks = Informer(
            api, clock, SECRETS, mark_of, self._mark_changed, how.patience, label_selector=f"{MANAGED_LABEL}=true"
        )
        self._by_store: dict[Place, set[Place]] = {}
        self._by_target: dict[Place, set[Place]] = {}
        self._marks_by_namespace: dict[str, dict[str, SecretMark]] = {}
        self._latest: dict[Place, ExternalSecret] = {}
        """As our own last status write left it, until the watch has caught up."""
        self._changed_stores: set[Place] = set()
        self._served: set[Place] = set()
        world = World(
            store=lambda namespace, name: self._stores.objects.get((namespace, name)),
            mark=lambda namespace, name: self._marks.objects.get((namespace, name)),
            marks=lambda namespace: self._marks_by_namespace.get(namespace, {}).values(),
        )
        self._passes = Passes(world, secrets, voice, tokens, shelf, clock)
        self._keeper = StoreKeeper(tokens, voice, clock, how.store_interval)

    async def run(self) -> None:
        """Serve until cancelled."""
        informers = (self._stores, self._cluster_stores, self._marks, self._external)
        try:
            async with asyncio.TaskGroup() as tasks:
                for informer in informers:
                    tasks.create_task(informer.run(), name=f"informer:{informer.path}")
                for informer in informers:
                    await informer.synced.wait()
                log.info("serving", external_secrets=len(self._external.objects), stores=len(self._stores.objects))
                tasks.create_task(self._sweep(), name="sweep")
                for number in range(self._how.workers):
                    tasks.create_task(self._work(), name=f"worker:{number}")
        finally:
            await self._tokens.close()
            await self._shelf.close()

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(_SWEEP)
            self._shelf.sweep()

    async def _work(self) -> None:
        while True:
            turn = await self.agenda.take()
            try:
                if turn.key.kind == EXTERNAL_SECRET:
                    await self._look_at_external(turn)
                else:
                    await self._look_at_store(turn)
            except KeysteadError as error:
                # Only status, Events and account reads get here, whose errors quote no Secret.
                log.warning("pass failed", key="/".join(turn.key), reason=error.reason, error=str(error))
                self.agenda.back_off(turn.key)
            except Exception as error:  # noqa: BLE001 - one object's surprise must not end the others' service
                # No text and no traceback: either may quote a value.
                log.error("pass failed unexpectedly", key="/".join(turn.key), error=type(error).__name__)  # noqa: TRY400 - see above
                self.agenda.back_off(turn.key)
            finally:
                self.agenda.done(turn.key)

    async def _look_at_external(self, turn: Turn) -> None:
        place = (turn.key.namespace, turn.key.name)
        es = self._current(place)
        if es is None:
            self.agenda.drop(turn.key)
            return
        if not self._is_ours(es):
            self.agenda.forget(turn.key)
            return
        self._served.add(place)
        again, es = await self._passes.run(es, turn)
        if place in self._external.objects:
            self._latest[place] = es
        if again.back_off:
            self.agenda.back_off(turn.key, at_least=again.at_least)
            return
        self.agenda.forget(turn.key)
        if again.seconds is not None:
            self.agenda.add_after(turn.key, again.seconds)

    async def _look_at_store(self, turn: Turn) -> None:
        place = (turn.key.namespace, turn.key.name)
        cache = self._stores if turn.key.kind == SECRET_STORE else self._cluster_stores
        store = cache.objects.get(place)
        if store is None or store.metadata.deletion_timestamp is not None:
            self.agenda.drop(turn.key)
            return
        if store.spec.controller != self._how.controller_class:
            return
        changed = place in self._changed_stores
        self._changed_stores.discard(place)
        again = await self._keeper.look(store, changed=changed)
        if again is None:
            self.agenda.back_off(turn.key)
            return
        self.agenda.forget(turn.key)
        self.agenda.add_after(turn.key, again)

    def _current(self, place: Place) -> ExternalSecret | None:
        """The newest spec that is known, with the newest status that is known."""
        cached, written = self._external.objects.get(place), self._latest.get(place)
        if cached is None or written is None or cached.metadata.uid != written.metadata.uid:
            return cached
        seen, ours = cached.status.refresh_time, written.status.refresh_time
        if ours is not None and (seen is None or seen < ours):
            return msgspec.structs.replace(cached, status=written.status)
        return cached

    def _is_ours(self, es: ExternalSecret) -> bool:
        classes = {store.spec.controller for ref in es.stores() if (store := self._store(es, ref)) is not None}
        if not classes:
            return (es.namespace, es.name) in self._served  # its store went away: it is for us to say so
        return classes == {self._how.controller_class}

    def _store(self, es: ExternalSecret, ref: StoreRef) -> SecretStore | None:
        if ref.kind == CLUSTER_SECRET_STORE:
            return self._cluster_stores.objects.get(("", ref.name))
        return self._stores.objects.get((es.namespace, ref.name))

    def _external_changed(self, old: ExternalSecret | None, new: ExternalSecret | None) -> None:
        self._reindex(old, new)
        if new is None:
            if old is not None:
                self._latest.pop((old.namespace, old.name), None)
                self._served.discard((old.namespace, old.name))
                self.agenda.add(Key(EXTERNAL_SECRET, old.namespace, old.name))
            return
        if old is not None and old.metadata == new.metadata:
            return  # a status write, most likely ours
        key = Key(EXTERNAL_SECRET, new.namespace, new.name)
        self.agenda.forget(key)
        self.agenda.add(key, urgent=old is not None or self._is_new(new))

    def _is_new(self, es: ExternalSecret) -> bool:
        try:
            return es.status.refresh_time is None or should_refresh(es, es.status.refresh_time)
        except ValueError:
            return True

    def _store_changed(self, old: SecretStore | None, new: SecretStore | None) -> None:
        store = new or old
        if store is None:
            return
        namespace, name = store.metadata.namespace, store.metadata.name
        if old is None or new is None or old.metadata != new.metadata or old.spec != new.spec:
            key = Key(SECRET_STORE if namespace else CLUSTER_SECRET_STORE, namespace, name)
            self._changed_stores.add((namespace, name))
            self.agenda.forget(key)
            self.agenda.add(key, urgent=True)
        became_ready = new is not None and new.ready and not (old is not None and old.ready)
        first_judged = new is not None and new.judged and not (old is not None and old.judged)
        known_differently = old is None or new is None or old.spec != new.spec
        if became_ready or first_judged or known_differently:
            self._wake(namespace, name)

    def _wake(self, namespace: str, store: str) -> None:
        """Look at once at all that name this store."""
        for place in sorted(self._by_store.get((namespace, store), ())):
            key = Key(EXTERNAL_SECRET, *place)
            self.agenda.forget(key)
            self.agenda.add(key, urgent=True)

    def _mark_changed(self, old: SecretMark | None, new: SecretMark | None) -> None:
        mark = new or old
        if mark is None:
            return
        marks = self._marks_by_namespace.setdefault(mark.namespace, {})
        if new is not None:
            marks[mark.name] = new
        else:
            marks.pop(mark.name, None)
            if not marks:
                del self._marks_by_namespace[mark.namespace]
        if new is not None and new.intact:
            return
        for place in self._by_target.get((mark.namespace, mark.name), ()):
            self.agenda.add(Key(EXTERNAL_SECRET, *place), urgent=True)

    def _reindex(self, old: ExternalSecret | None, new: ExternalSecret | None) -> None:
        for es in (old,) if old is not None else ():
            for index, places in ((self._by_store, _store_places(es)), (self._by_target, [_target_place(es)])):
                for place in places:
                    index.get(place, set()).discard((es.namespace, es.name))
        for es in (new,) if new is not None else ():
            for index, places in ((self._by_store, _store_places(es)), (self._by_target, [_target_place(es)])):
                for place in places:
                    index.setdefault(place, set()).add((es.namespace, es.name))


def _store_places(es: ExternalSecret) -> Iterable[Place]:
    return [("" if ref.kind == CLUSTER_SECRET_STORE else es.namespace, ref.name) for ref in es.stores()]


def _target_place(es: ExternalSecret) -> Place:
    return es.namespace, es.target_name
