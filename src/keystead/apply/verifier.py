"""Proves exchanges: never before their time, a few at once, each on fresh connections, with a quorum.

Entra answers from many replicas; one success may be followed by a refusal. Only successes in a row count, and a look at
the vault must follow. The result goes to the board, whatever it is, and the grant is looked at again.
"""

import asyncio
import base64
import dataclasses
import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import structlog

from keystead.apply.board import Board
from keystead.apply.ports import ClusterWriter, Exchanger, Requeue
from keystead.model.clock import Clock
from keystead.model.credentials import EXCHANGE_AUDIENCE
from keystead.model.errors import KeysteadError, Retryable
from keystead.model.ids import VaultUrl
from keystead.model.reasons import Reason
from keystead.model.records import Exchange
from keystead.model.secret import Secret
from keystead.plan import codes
from keystead.plan.codes import Presented
from keystead.plan.steps import Verify

log = structlog.get_logger("keystead.verifier")
_AT_ONCE = 8
_DEADLINE = 30.0  # seconds for one whole quorum, waits between its exchanges not counted


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many successes in a row, and how far apart (seconds)."""

    successes: int = 2
    interval: float = 1.0


class Verifier:
    """All verifications of one operator."""

    def __init__(
        self, cluster: ClusterWriter, exchanger: Exchanger, clock: Clock, board: Board, requeue: Requeue, quorum: Quorum
    ) -> None:
        self._cluster = cluster
        self._exchanger = exchanger
        self._clock = clock
        self._board = board
        self._requeue = requeue
        self._quorum = quorum
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._tasks: dict[str, tuple[str, Verify, asyncio.Task[None]]] = {}

    def submit(self, grant: str, steps: Sequence[Verify]) -> None:
        """Make *steps* all that this grant wants verified; what already waits or runs for the same proof goes on."""
        wanted = {step.federation_name: step for step in steps}
        for name, (owner, begun, task) in list(self._tasks.items()):
            if task.done():
                del self._tasks[name]
            elif owner == grant and (name not in wanted or not _serves(begun, wanted[name])):
                task.cancel()
                del self._tasks[name]
        for name, step in wanted.items():
            done = self._board.exchanges.get(name)
            if done is not None and done.vault == step.vault_url and step.not_before <= done.at <= self._now():
                continue  # planned before this result was there; the next pass sees it
            if name not in self._tasks:
                task = asyncio.create_task(self._verify(grant, step), name=f"verify:{name}")
                self._tasks[name] = (grant, step, task)

    async def stop(self) -> None:
        tasks = [task for _, _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _verify(self, grant: str, step: Verify) -> None:
        await self._clock.sleep((step.not_before - self._clock.now()).total_seconds())
        async with self._turn:
            code, detail = await self._outcome(step)
        result = Exchange(code, self._now(), detail, step.vault_url)
        log.info("exchange", federation=step.federation_name, code=code)
        self._board.exchanged(step.federation_name, result)
        self._tasks.pop(step.federation_name, None)
        self._requeue(grant)

    async def _outcome(self, step: Verify) -> tuple[str, str]:
        vault, assertion = VaultUrl.parse(step.vault_url), None
        try:
            async with asyncio.timeout(_DEADLINE + self._quorum.interval * self._quorum.successes):
                assertion = await self._cluster.mint_token(step.namespace, step.service_account_name, EXCHANGE_AUDIENCE)
                for number in range(self._quorum.successes):
                    if number:
                        await self._clock.sleep(self._quorum.interval)
                    token = await self._exchanger.exchange(
                        tenant_id=step.tenant_id, client_id=step.client_id, assertion=assertion, scope=vault.scope
                    )
                await self._exchanger.look(vault, token)
        except KeysteadError as error:
            log.info("exchange failed", federation=step.federation_name, error=str(error))
            shown = presented(assertion) if assertion is not None and error.code in codes.MISMATCHES else None
            # What does not answer has numbers of HTTP and of its own, which mean no more than that.
            code = "" if isinstance(error, Retryable) and error.code not in codes.CODES else error.code
            return code or str(error.reason), codes.difference(shown, step.credential) if shown is not None else ""
        except TimeoutError:
            return str(Reason.AZURE_UNAVAILABLE), ""
        return "OK", ""

    def _now(self) -> datetime.datetime:
        return self._clock.now()


def _serves(begun: Verify, wanted: Verify) -> bool:
    """What was begun proves what is wanted now: the client or the vault may be others by now."""
    return dataclasses.replace(begun, not_before=wanted.not_before) == wanted


class _Claims(msgspec.Struct):
    """As much of a token's payload as Entra compares."""

    iss: str = ""
    sub: str = ""
    aud: str | list[str] = ""


def presented(token: Secret) -> Presented | None:
    """What a token says of itself; ``None`` when it is no JSON Web Token (RFC 7519)."""
    parts = token.reveal().split(".")
    try:
        payload = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload), type=_Claims)
    except (IndexError, ValueError, msgspec.MsgspecError):
        return None
    return Presented(claims.iss, claims.sub, (claims.aud,) if isinstance(claims.aud, str) else tuple(claims.aud))
