"""Carries a plan out: each unit's leading Kubernetes steps now, its first step for Azure to lanes, verifier or grower.

An error stops only its own unit, is remembered on the board, and shows in the unit's conditions.
"""

import asyncio
import dataclasses
import datetime
from collections import defaultdict
from typing import assert_never

import structlog

from keystead.apply import audit
from keystead.apply.board import Board
from keystead.apply.grower import Grower
from keystead.apply.lanes import Lanes
from keystead.apply.ports import ClusterWriter
from keystead.apply.verifier import Verifier
from keystead.model.clock import Clock
from keystead.model.errors import Bug, KeysteadError, Refused
from keystead.model.reasons import Reason
from keystead.model.records import Annotation
from keystead.plan.snapshot import Failure
from keystead.plan.steps import (
    AnnotateServiceAccount,
    ApplyStore,
    AssignRole,
    BeginRevocation,
    CreateClaim,
    CreateIdentity,
    DeleteClaim,
    DeleteCredential,
    EnsureServiceAccount,
    ForgetFederation,
    LaneStep,
    NudgeExternalSecrets,
    NudgeStore,
    Plan,
    RecordFederation,
    Step,
    SweepCredential,
    Verify,
    WithdrawAnnotation,
    WriteCredential,
)

log = structlog.get_logger("keystead.executor")
_AT_ONCE = 8
_WAITING = (WriteCredential, DeleteCredential, SweepCredential, Verify, CreateIdentity, AssignRole)
"""Steps that wait for Azure."""


class Executor:
    """The hands."""

    def __init__(
        self, cluster: ClusterWriter, lanes: Lanes, verifier: Verifier, grower: Grower, board: Board, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._lanes = lanes
        self._verifier = verifier
        self._grower = grower
        self._board = board
        self._clock = clock

    async def carry_out(self, plan: Plan) -> datetime.datetime | None:
        """Return when all that does not wait for Azure is done: when to try again what failed of it, if anything did."""
        self._lanes.withdraw(plan.grant_name, (step for step in plan.steps if isinstance(step, LaneStep)))
        units: dict[str, list[Step]] = defaultdict(list)
        for step in plan.steps:
            units[step.unit].append(step)
        turn = asyncio.Semaphore(_AT_ONCE)

        async def run(steps: list[Step]) -> Step | Failure | None:
            async with turn:
                return await self._lead(steps)

        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(run(steps)) for steps in units.values()]
        ends = [task.result() for task in running]
        waiting = [end for end in ends if not isinstance(end, Failure)]
        lane_steps: list[LaneStep] = [step for step in waiting if isinstance(step, LaneStep)]
        self._lanes.submit(plan.grant_name, lane_steps)
        self._verifier.submit(plan.grant_name, [step for step in waiting if isinstance(step, Verify)])
        self._grower.submit(
            plan.grant_name, [step for step in waiting if isinstance(step, CreateIdentity | AssignRole)]
        )
        retries = (end.retry_at for end in ends if isinstance(end, Failure) and end.retry_at is not None)
        return min(retries, default=None)

    async def _lead(self, steps: list[Step]) -> Step | Failure | None:
        """The unit's steps up to the first that fails or waits for Azure, which is returned."""
        for step in steps:
            if isinstance(step, _WAITING):
                return step
            error = await self._attempt(step)
            if error is not None:
                failure = self._board.failed(step.unit, type(step).__name__, error, self._clock.now())
                log.info("step failed", unit=step.unit, step=failure.step, reason=error.reason, error=str(error))
                return failure
            failure_before = self._board.failures.get(step.unit)
            if failure_before is not None and failure_before.step == type(step).__name__:
                self._board.succeeded(step.unit)
        return None

    async def _attempt(self, step: Step) -> KeysteadError | None:
        """``None`` is success. What nobody foresaw stops one unit as well: the others' revocations do not wait for it."""
        try:
            await self._do(step)
        except KeysteadError as error:
            return error
        except Exception as error:
            log.exception("bug: a step failed unexpectedly", unit=step.unit, step=type(step).__name__)
            return Bug(f"{type(error).__name__} in {type(step).__name__}")
        return None

    async def _nudge(self, step: NudgeStore) -> None:
        await self._cluster.nudge_store(step.namespace, step.name)
        if step.suspect and not await self._cluster.may_mint(step.namespace, step.suspect):
            text = f"ServiceAccount {step.namespace}/{step.suspect}: create on serviceaccounts/token is missing"
            raise Refused(Reason.TOKENS_FORBIDDEN, text)

    async def _do(self, step: Step) -> None:
        cluster = self._cluster
        match step:
            case CreateClaim():
                await cluster.create_claim(step)
            case DeleteClaim():
                await cluster.delete_claim(step.namespace, step.name, step.uid)
            case RecordFederation():
                uid = await cluster.record_federation(step.federation)
                self._board.unproven(step.federation.name)  # an earlier entry of this name may have been proven
                self._board.recorded[step.federation.name] = dataclasses.replace(step.federation, uid=uid)
                audit.recorded(step)
            case EnsureServiceAccount():
                await cluster.ensure_service_account(step)
            case AnnotateServiceAccount():
                await cluster.annotate_service_account(step)
                written = Annotation(step.account_uid, step.client_id, step.tenant_id, self._clock.now())
                self._board.annotated[step.namespace, step.name] = written
            case ApplyStore():
                await cluster.apply_store(step)
            case NudgeStore():
                await self._nudge(step)
            case NudgeExternalSecrets():
                await cluster.nudge_external_secrets(step.namespace, step.store_name)
            case BeginRevocation():
                await cluster.begin_revocation(step.federation_name, step.federation_uid)
                audit.revoked(step)
            case WithdrawAnnotation():
                await cluster.withdraw_annotation(step.namespace, step.name)
                self._board.annotated.pop((step.namespace, step.name), None)
            case ForgetFederation():
                await cluster.forget_federation(step.federation_name, step.federation_uid)
                self._board.forgotten(step.federation_name, step.federation_uid)
                audit.forgotten(step)
            case (
                WriteCredential() | DeleteCredential() | SweepCredential() | Verify() | CreateIdentity() | AssignRole()
            ):
                raise AssertionError(f"{type(step).__name__} waits for Azure and is not carried out here")
            case _:
                assert_never(step)
