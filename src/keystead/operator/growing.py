"""The part of the composition root that growing pools and role parity need."""

import dataclasses
from dataclasses import dataclass

from keystead.apply.board import Board
from keystead.apply.grower import Grower, GrowerWiring
from keystead.apply.ports import Requeue, WriteGate
from keystead.azure.pool import PoolClient
from keystead.model.clock import Clock
from keystead.model.growth import FoundIdentity, RoleHolders
from keystead.model.ids import GroupId, IdentityId
from keystead.observe.looks import LookPaces, PoolLooks
from keystead.operator.settings import Settings
from keystead.plan.steps import AssignRole, CreateIdentity, PoolStep
from keystead.report.metrics import Metrics


@dataclass(frozen=True, slots=True)
class GrowingParts:
    """Eyes and hands of growth."""

    looks: PoolLooks
    grower: Grower

    async def stop(self) -> None:
        """Let writes end, and read nothing more."""
        await self.grower.stop()
        await self.looks.stop()


def grow(
    client: PoolClient,
    clock: Clock,
    board: Board,
    gate: WriteGate,
    requeue: Requeue,
    settings: Settings,
    metrics: Metrics,
) -> GrowingParts:
    """All parts, joined: what is written corrects what was read."""
    looks = PoolLooks(client, clock, requeue, LookPaces(drift=settings.drift_interval))
    groups, roles = looks.groups, looks.roles

    def moot(step: PoolStep) -> bool:
        match step:
            case CreateIdentity():
                return any(each.id == step.identity for each in groups.known(_group(step.identity)))
            case AssignRole():
                return step.role in roles.known(step.vault).held.get(step.principal_id.lower(), ())

    def created(step: CreateIdentity, found: FoundIdentity) -> None:
        groups.corrected(_group(step.identity), lambda known: _with_identity(known, found))

    def assigned(step: AssignRole) -> None:
        roles.corrected(step.vault, lambda known: _with_role(known, step))

    def doubted(step: PoolStep) -> None:
        match step:
            case CreateIdentity():
                groups.doubted(_group(step.identity))
            case AssignRole():
                roles.doubted(step.vault)

    wiring = GrowerWiring(
        pool=client,
        clock=clock,
        board=board,
        gate=gate,
        requeue=requeue,
        moot=moot,
        created=created,
        assigned=assigned,
        doubted=doubted,
        counted=metrics.count_write,
    )
    return GrowingParts(looks, Grower(wiring))


def _group(identity: IdentityId) -> GroupId:
    return GroupId.parse("/".join(identity.text.split("/")[:5]))


def _with_identity(known: tuple[FoundIdentity, ...], found: FoundIdentity) -> tuple[FoundIdentity, ...]:
    others = (each for each in known if each.id != found.id)
    return tuple(sorted((*others, found), key=lambda each: each.id.key))


def _with_role(known: RoleHolders, step: AssignRole) -> RoleHolders:
    principal = step.principal_id.lower()
    roles = known.held.get(principal, frozenset()) | {step.role}
    return dataclasses.replace(known, held={**known.held, principal: roles})
