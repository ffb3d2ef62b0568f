"""Tells people: at most one status write per object and pass, none when nothing changed, then the Events.

- An object that cannot be written never stops the others; where another try may help, the caller is told.
- What we wrote is believed for a minute, since caches show it late. After that the cache is: whoever led before may have
  written over it.
"""

import asyncio
import datetime
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeAlias

import structlog

from keystead.model.conditions import Condition, ConditionDraft, ConditionType
from keystead.model.errors import KeysteadError, Retryable
from keystead.model.records import Claim, Federation, Grant
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import ClaimVerdict, FederationVerdict, GrantVerdict, Plan
from keystead.report.events import transitions
from keystead.report.ports import StatusWriter
from keystead.report.status import ClaimStatus, EventDraft, FederationStatus, GrantStatus, merge

log = structlog.get_logger("keystead.report")
_AT_ONCE = 8
BELIEVED = datetime.timedelta(seconds=60)
Status: TypeAlias = ClaimStatus | FederationStatus | GrantStatus


class Told(IntEnum):
    """How far people were told, the best first."""

    ALL = 0
    UNSEEN = 1
    """All is written, but the caches show something else: look again once they must have caught up."""
    NOT_ALL = 2
    """Something could not be written, and another try may help."""


@dataclass(frozen=True, slots=True)
class _News:
    """A status that has to be written, and what people are told beside."""

    uid: str
    name: str
    status: Status
    write: Callable[[], Coroutine[Any, Any, None]]
    events: list[EventDraft]


class Publisher:
    """The voice."""

    def __init__(self, writer: StatusWriter) -> None:
        self._writer = writer
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._known: dict[str, set[str]] = {}
        self._told: dict[str, tuple[Status, datetime.datetime]] = {}
        """By uid: the status last written, and when."""
        self._settled: dict[str, tuple[Claim | Federation, ClaimVerdict | FederationVerdict]] = {}
        """By uid: an object that said already what was to be said of it, and what that was."""

    async def publish(self, seen: Snapshot, plan: Plan) -> Told:
        """Write what changed."""
        claims = {claim.key: claim for claim in seen.claims}
        federations = {federation.name: federation for federation in seen.federations if federation.uid}
        found: list[_News | Told] = [
            self._claim(claims[verdict.claim_key], verdict, seen.now)
            for verdict in plan.claims
            if verdict.claim_key in claims
        ]
        found += [
            self._federation(federations[entry.name], entry, seen.now)
            for entry in plan.federations
            if entry.name in federations
        ]
        if plan.grant is not None and seen.grant is not None:
            found.append(self._grant(seen.grant, plan.grant, seen.now))
        told = await self._write_all(found, seen.now)
        known = {claim.uid for claim in seen.claims} | {federation.uid for federation in seen.federations}
        self._forget(known, seen)
        return told

    async def claim_without_grant(self, claim: Claim, verdict: ClaimVerdict, now: datetime.datetime) -> Told:
        """Say that its grant does not exist."""
        return await self._write_all([self._claim(claim, verdict, now)], now)

    async def _write_all(self, found: Collection[_News | Told], now: datetime.datetime) -> Told:
        news = [each for each in found if isinstance(each, _News)]
        told = [each for each in found if isinstance(each, Told)]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._write(each, now)) for each in news]
        return max((*told, *(task.result() for task in running)), default=Told.ALL)

    async def _write(self, news: "_News", now: datetime.datetime) -> Told:
        async with self._turn:
            try:
                await news.write()
                self._told[news.uid] = (news.status, now)
            except KeysteadError as error:
                log.info("status not written", object=news.name, error=str(error))
                return _failed(error)
            await self._tell(news.events)
        return Told.ALL

    def _claim(self, claim: Claim, verdict: ClaimVerdict, now: datetime.datetime) -> _News | Told:
        if claim.deleting or self._is_settled(claim.uid, claim, verdict):
            return Told.ALL
        conditions = self._merged(claim.uid, claim.conditions, verdict.conditions, claim.generation, now)
        status = ClaimStatus(
            conditions,
            verdict.subject,
            verdict.client_id,
            verdict.tenant_id,
            verdict.vault_url,
            verdict.federation_name,
            verdict.identity,
        )
        unchanged = _same(claim.conditions, conditions) and claim.federation_name == verdict.federation_name
        if not self._news(claim.uid, status, unchanged=unchanged, now=now):
            return self._settle(claim.uid, claim, verdict, unchanged=unchanged)
        events = transitions(
            claim.conditions, conditions, kind="VaultClaim", namespace=claim.namespace, name=claim.name, uid=claim.uid
        )
        return _News(claim.uid, claim.key, status, lambda: self._writer.claim_status(claim, status), events)

    def _federation(self, federation: Federation, verdict: FederationVerdict, now: datetime.datetime) -> _News | Told:
        if self._is_settled(federation.uid, federation, verdict):
            return Told.ALL
        conditions = self._merged(federation.uid, federation.conditions, verdict.conditions, 1, now)
        status = FederationStatus(
            conditions,
            verdict.verified_at,
            verdict.last_exchange_code,
            verdict.last_exchange_at,
            verdict.last_exchange_detail,
            verdict.retained,
            verdict.verified_vault,
        )
        last = federation.last_exchange
        unchanged = (
            _same(federation.conditions, conditions)
            and (federation.verified_at, federation.verified_vault) == (verdict.verified_at, verdict.verified_vault)
            and (last.code if last is not None else "") == verdict.last_exchange_code
            and federation.retained == verdict.retained
        )
        if not self._news(federation.uid, status, unchanged=unchanged, now=now):
            return self._settle(federation.uid, federation, verdict, unchanged=unchanged)
        events = _of_the_end(federation, conditions)
        return _News(
            federation.uid, federation.name, status, lambda: self._writer.federation_status(federation, status), events
        )

    def _grant(self, grant: Grant, verdict: GrantVerdict, now: datetime.datetime) -> _News | Told:
        conditions = self._merged(grant.uid, grant.conditions, verdict.conditions, grant.generation, now)
        status = GrantStatus(
            conditions, verdict.identities, verdict.total, verdict.ready, verdict.awaiting_review, verdict.blocked
        )
        unchanged = _same(grant.conditions, conditions)
        # What it says of identities is not read back: whoever begins to lead writes it once.
        if not self._news(grant.uid, status, unchanged=unchanged and grant.uid in self._told, now=now):
            return Told.ALL if unchanged else Told.UNSEEN
        events = transitions(
            grant.conditions, conditions, kind="VaultGrant", namespace="", name=grant.name, uid=grant.uid
        )
        return _News(grant.uid, grant.name, status, lambda: self._writer.grant_status(grant, status), events)

    def _is_settled(self, uid: str, seen: Claim | Federation, verdict: ClaimVerdict | FederationVerdict) -> bool:
        """The same was to be said of the same object before, and it said so already."""
        before = self._settled.get(uid)
        return before is not None and before[0] is seen and before[1] == verdict

    def _settle(
        self, uid: str, seen: Claim | Federation, verdict: ClaimVerdict | FederationVerdict, *, unchanged: bool
    ) -> Told:
        if not unchanged:
            return Told.UNSEEN
        self._settled[uid] = (seen, verdict)
        return Told.ALL

    def _merged(
        self,
        uid: str,
        carried: tuple[Condition, ...],
        drafts: Iterable[ConditionDraft],
        generation: int,
        now: datetime.datetime,
    ) -> tuple[Condition, ...]:
        """Against what we last wrote, when the cache may be older than that."""
        told = self._believed(uid, now)
        return merge(told.conditions if told is not None else carried, drafts, generation=generation, now=now)

    def _believed(self, uid: str, now: datetime.datetime) -> Status | None:
        status, at = self._told.get(uid, (None, now))
        return status if now - at < BELIEVED else None

    def _news(self, uid: str, status: Status, *, unchanged: bool, now: datetime.datetime) -> bool:
        told = self._believed(uid, now)
        if told is not None or uid not in self._told:
            return status != told if told is not None else not unchanged
        return not unchanged or status != self._told[uid][0]

    async def _tell(self, events: list[EventDraft]) -> None:
        for event in events:
            try:
                await self._writer.event(event)
            except KeysteadError as error:
                log.info("event not written", object=event.name, reason=event.reason, error=str(error))

    def _forget(self, known: set[str], seen: Snapshot) -> None:
        if seen.grant is None:
            return
        # Uids of other grants' objects are kept: each grant forgets only what it once had.
        for uid in self._known.get(seen.grant_name, set()) - known:
            self._told.pop(uid, None)
            self._settled.pop(uid, None)
        self._known[seen.grant_name] = known


def _of_the_end(federation: Federation, conditions: tuple[Condition, ...]) -> list[EventDraft]:
    """That trust is taken away, and what stands in the way; all else about an entry is told at its claim."""
    ending = [each for each in conditions if each.type == ConditionType.REVOKING]
    before = [each for each in federation.conditions if each.type == ConditionType.REVOKING]
    return transitions(before, ending, kind="Federation", namespace="", name=federation.name, uid=federation.uid)


def _failed(error: KeysteadError) -> Told:
    """What is gone or refused cannot be told; somebody's next change brings us back."""
    return Told.NOT_ALL if isinstance(error, Retryable) else Told.ALL


def _same(one: tuple[Condition, ...], other: tuple[Condition, ...]) -> bool:
    return {each.type: each for each in one} == {each.type: each for each in other}
