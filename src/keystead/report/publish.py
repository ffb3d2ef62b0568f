"""Tells people: at most one status write per object and pass, none when nothing changed, then the Events.

An object that cannot be written never stops the others; where another try may help, the caller is told.
"""

import asyncio
import datetime
from collections.abc import Iterable

import structlog

from keystead.model.conditions import Condition, ConditionDraft
from keystead.model.errors import KeysteadError, Retryable
from keystead.model.records import Claim, Federation, Grant
from keystead.plan.snapshot import Snapshot
from keystead.plan.steps import ClaimVerdict, FederationVerdict, GrantVerdict, Plan
from keystead.report.events import transitions
from keystead.report.ports import StatusWriter
from keystead.report.status import ClaimStatus, EventDraft, FederationStatus, GrantStatus, merge

log = structlog.get_logger("keystead.report")
_AT_ONCE = 8


class Publisher:
    """The voice."""

    def __init__(self, writer: StatusWriter) -> None:
        self._writer = writer
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._known: dict[str, set[str]] = {}
        self._told: dict[str, object] = {}
        """By uid: the status last written, since caches show it a moment later."""

    async def publish(self, seen: Snapshot, plan: Plan) -> bool:
        """Write what changed; whether nothing is left that another try could write."""
        claims = {claim.key: claim for claim in seen.claims}
        federations = {federation.name: federation for federation in seen.federations if federation.uid}
        running: list[asyncio.Task[bool]] = []
        async with asyncio.TaskGroup() as tasks:
            for verdict in plan.claims:
                if verdict.claim_key in claims:
                    running.append(tasks.create_task(self._claim(claims[verdict.claim_key], verdict, seen.now)))
            for entry in plan.federations:
                if entry.name in federations:
                    running.append(tasks.create_task(self._federation(federations[entry.name], entry, seen.now)))
            if plan.grant is not None and seen.grant is not None:
                running.append(tasks.create_task(self._grant(seen.grant, plan.grant, seen.now)))
        known = {claim.uid for claim in seen.claims} | {federation.uid for federation in seen.federations}
        self._forget(known, seen)
        return all(task.result() for task in running)

    async def claim_without_grant(self, claim: Claim, verdict: ClaimVerdict, now: datetime.datetime) -> bool:
        """Whether it could be told."""
        return await self._claim(claim, verdict, now)

    async def _claim(self, claim: Claim, verdict: ClaimVerdict, now: datetime.datetime) -> bool:
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
        if claim.deleting or not self._news(claim.uid, status, unchanged=unchanged):
            return True
        events = transitions(
            claim.conditions, conditions, kind="VaultClaim", namespace=claim.namespace, name=claim.name, uid=claim.uid
        )
        async with self._turn:
            try:
                await self._writer.claim_status(claim, status)
                self._told[claim.uid] = status
            except KeysteadError as error:
                log.info("status not written", object=claim.key, error=str(error))
                return not isinstance(error, Retryable)  # what is gone cannot be told, and need not be
            await self._tell(events)
        return True

    async def _federation(self, federation: Federation, verdict: FederationVerdict, now: datetime.datetime) -> bool:
        conditions = self._merged(federation.uid, federation.conditions, verdict.conditions, 1, now)
        status = FederationStatus(conditions, verdict.verified_at, verdict.last_exchange_code, verdict.last_exchange_at)
        last = federation.last_exchange
        unchanged = (
            _same(federation.conditions, conditions)
            and federation.verified_at == verdict.verified_at
            and (last.code if last is not None else "") == verdict.last_exchange_code
        )
        if not self._news(federation.uid, status, unchanged=unchanged):
            return True
        async with self._turn:
            try:
                await self._writer.federation_status(federation, status)
                self._told[federation.uid] = status
            except KeysteadError as error:
                log.info("status not written", object=federation.name, error=str(error))
                return not isinstance(error, Retryable)  # what is gone cannot be told, and need not be
        return True

    async def _grant(self, grant: Grant, verdict: GrantVerdict, now: datetime.datetime) -> bool:
        conditions = self._merged(grant.uid, grant.conditions, verdict.conditions, grant.generation, now)
        status = GrantStatus(
            conditions, verdict.identities, verdict.total, verdict.ready, verdict.awaiting_review, verdict.blocked
        )
        if not self._news(grant.uid, status, unchanged=False):
            return True
        events = transitions(
            grant.conditions, conditions, kind="VaultGrant", namespace="", name=grant.name, uid=grant.uid
        )
        async with self._turn:
            try:
                await self._writer.grant_status(grant, status)
                self._told[grant.uid] = status
            except KeysteadError as error:
                log.info("status not written", object=grant.name, error=str(error))
                return not isinstance(error, Retryable)  # what is gone cannot be told, and need not be
            await self._tell(events)
        return True

    def _merged(
        self,
        uid: str,
        carried: tuple[Condition, ...],
        drafts: Iterable[ConditionDraft],
        generation: int,
        now: datetime.datetime,
    ) -> tuple[Condition, ...]:
        """Against what we last wrote, when the cache is older than that."""
        told = self._told.get(uid)
        newest = told.conditions if isinstance(told, ClaimStatus | FederationStatus | GrantStatus) else carried
        return merge(newest, drafts, generation=generation, now=now)

    def _news(self, uid: str, status: object, *, unchanged: bool) -> bool:
        told = self._told.get(uid)
        return status != told if told is not None else not unchanged

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
        self._known[seen.grant_name] = known


def _same(one: tuple[Condition, ...], other: tuple[Condition, ...]) -> bool:
    return {each.type: each for each in one} == {each.type: each for each in other}
