"""What a whole run watches, beside its watchman and its judge: rest, quiet, processes that die, secrets, and its own replay."""

import asyncio
import datetime
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import structlog

from simulation.people import API
from simulation.run import Outcome, Run, play_again, staged
from simulation.scene import SETUP, Rogue, event
from simulation.secrecy import PLANTED
from simulation.stage import EPOCH
from simulation.story import Event, Story

_GRANT = {
    "namespaces": {"names": ["shop"]},
    "vault": {"url": "https://team-kv.vault.azure.net"},
    "identities": ["identity-0"],
    "approval": "Automatic",
}
_NAMESPACE, _GRANTED = Event(0.0, "make_namespace", "shop"), Event(0.0, "write_grant", "g0", given=_GRANT)
_EVENTS = "/apis/events.k8s.io/v1/namespaces/shop/events"
_LAST = (datetime.datetime.max.replace(tzinfo=datetime.UTC) - EPOCH).total_seconds()
_ONE = replace(SETUP, replicas=1)


async def _breaks(run: Run) -> list[str]:
    """All that the run would report if it ended now."""
    outcome = run.outcome([])
    await run.end()
    return list(outcome.breaks)


# Rest and quiet --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [False, True])
def test_what_never_settles_is_noticed(allowed: bool) -> None:
    """There is no operator, and one namespace; where a grant allows it, somebody would have to make its claim."""

    async def work(run: Run) -> list[str]:
        run.happen(_NAMESPACE)
        if allowed:
            run.happen(_GRANTED)
        found = await run.rest()
        await run.end()
        return found

    told = ["unsettled: cluster a: claim: shop is allowed by g0 and has none"]
    assert staged(Story(_ONE, ()), work) == (told if allowed else [])


async def _tell(rogue: Rogue, number: int) -> None:
    said = event("shop")
    await rogue.kube("POST", _EVENTS, {**said, "metadata": {"name": f"told-{number}", "namespace": "shop"}})


async def _read(rogue: Rogue, number: int) -> None:
    del number
    await rogue.look(rogue.stage.identities["identity-0"])


@pytest.mark.parametrize(
    ("act", "every", "times", "told"),
    [
        (_tell, 10.0, 1000, ""),
        (_tell, 6.0, 1000, r"hot loop: rogue/write makes \d+ requests in 240 s at rest, not 32"),
        (_tell, 2.0, 110, ""),
        (_read, 6.0, 1000, ""),
        (_read, 1.0, 1000, r"hot loop: rogue makes \d+ requests in 240 s at rest, not \d+"),
    ],
    ids=["few writes", "many writes", "many writes that end", "few reads", "many reads"],
)
def test_requests_without_end_are_noticed_at_rest(
    act: Callable[[Rogue, int], Awaitable[None]], every: float, times: int, told: str
) -> None:
    async def work(run: Run) -> list[str]:
        rogue = Rogue(run.watchman, run.stage.places[0], "rogue")
        run.happen(_NAMESPACE)

        async def go_on() -> None:
            for number in range(times):
                await act(rogue, number)
                await asyncio.sleep(every)

        run.stage.remember(go_on())
        found = await run.quiet()
        await run.end()
        return found

    found = staged(Story(_ONE, ()), work)
    assert len(found) == bool(told), found
    assert all(re.fullmatch(told, each) for each in found), found


# Processes and loops ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "events", "told"),
    [
        (1_000_000.0, (_NAMESPACE, _GRANTED), []),
        (20.0, (), ["died: a-0: OverflowError: date value out of range"]),
        (70.0, (_NAMESPACE, _GRANTED), ["bug: pass failed unexpectedly g0: "]),
    ],
    ids=["there is a tomorrow", "a process has no now", "a pass has no later"],
)
def test_an_error_that_nobody_has_foreseen_is_noticed(left: float, events: tuple[Event, ...], told: list[str]) -> None:
    """The replica's clock nears the end of time, where Python cannot say what comes after."""

    async def work(run: Run) -> list[str]:
        for each in events:
            run.happen(each)
        run.replicas[0].start()
        await asyncio.sleep(60.0)
        return await _breaks(run)

    found = staged(Story(replace(_ONE, skews=(_LAST - left,)), ()), work)
    assert len(found) == len(told), found
    assert all(each.startswith(begins) for each, begins in zip(found, told, strict=True)), found


@pytest.mark.parametrize("fails", [False, True])
def test_a_task_that_fails_unheard_is_noticed(fails: bool) -> None:
    async def work(run: Run) -> list[str]:
        async def end() -> None:
            if fails:
                raise ValueError("unheard")

        task = asyncio.get_running_loop().create_task(end())
        await asyncio.sleep(1)
        del task
        return await _breaks(run)

    told = ["loop: Task exception was never retrieved: ValueError('unheard')"]
    assert staged(Story(_ONE, ()), work) == (told if fails else [])


# Secrets ---------------------------------------------------------------------------------------------------------


def _log(run: Run, text: str) -> None:
    del run
    structlog.get_logger("keystead").warning("write failed", error=text)


def _journal(run: Run, text: str) -> None:
    run.stage.journal.record(service="arm", method="GET", host="azure", path=f"/{text}", status=200)


def _kube_journal(run: Run, text: str) -> None:
    run.stage.places[0].journal.record(service="kube", method="GET", host="kube", path=f"/{text}", status=200)


def _stored(api: str, kind: str, name: str, **fields: Callable[[str], Any]) -> Callable[[Run, str], None]:
    def store(run: Run, text: str) -> None:
        place = run.stage.places[0]
        namespace = {} if kind == "Federation" else {"namespace": "shop"}
        head = {"apiVersion": api, "kind": kind, "metadata": {"name": name, **namespace}}
        assert run.stage.put(place, {**head, **{key: make(text) for key, make in fields.items()}}) is not None

    return store


@pytest.mark.parametrize(
    ("tell", "where"),
    [
        (_log, "the log line 'write failed'"),
        (_journal, r"request \d+ of the arm journal"),
        (_kube_journal, r"request \d+ of the kube journal"),
        (_stored(API, "VaultClaim", "g0", spec=lambda text: {"grantName": "g0", "requestedBy": text}), "vaultclaims shop/g0"),
        (_stored("v1", "ConfigMap", "told", data=lambda text: {"a": text}), "configmaps shop/told"),
        (_stored("v1", "Secret", "held", stringData=lambda text: {"a": text}), ""),
        (_stored("events.k8s.io/v1", "Event", "told", **{
            key: (lambda text, value=value: text if value == "fine" else value) for key, value in event("shop").items()
            if key not in ("apiVersion", "kind", "metadata")
        }), "events shop/told"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "text", ["nothing", PLANTED, f"eyJ{'a' * 20}.{'b' * 20}"], ids=["nothing", "a value", "a token"]
)
def test_a_secret_that_is_told_or_stored_is_noticed(tell: Callable[[Run, str], None], where: str, text: str) -> None:
    async def work(run: Run) -> list[str]:
        run.happen(_NAMESPACE)
        tell(run, text)
        return await _breaks(run)

    found = staged(Story(_ONE, ()), work)
    struck = text.startswith("eyJ") and "journal" in where  # a journal writes down no token in the first place
    assert len(found) == bool(where and text != "nothing" and not struck), found
    assert all(re.fullmatch(f"secret: {where} shows a token or a secret's value", each) for each in found), found


def test_a_secret_in_the_metrics_is_noticed() -> None:
    async def work(run: Run) -> list[str]:
        run.replicas[0].start()
        operator = run.replicas[0].operator
        assert operator is not None
        operator.metrics.writes.labels(PLANTED, "put", "ok").inc()
        return await _breaks(run)

    told = "secret: the metrics of a-0-1 shows a token or a secret's value"
    assert staged(Story(_ONE, ()), work) == [told]


def test_a_secret_in_a_complaint_of_the_loop_is_noticed() -> None:
    async def work(run: Run) -> list[str]:
        asyncio.get_running_loop().call_exception_handler({"message": f"lost {PLANTED}"})
        return await _breaks(run)

    found = staged(Story(_ONE, ()), work)
    assert found[1:] == ["secret: a complaint of the loop shows a token or a secret's value"]


# Replay ----------------------------------------------------------------------------------------------------------


def test_a_broken_seed_that_does_not_replay_is_noticed() -> None:
    outcome, played = Outcome(9501, ("rule: broken",), "one", 10, 0, 0, 0, 0.0, {}), list[int]()

    def plays(story: Story) -> Outcome:
        played.append(story.setup.seed)
        return replace(outcome, digest="other", steps=11)

    again = play_again(outcome, plays)
    assert again.breaks == (
        "rule: broken",
        "replay: seed 9501 ends with other digest, steps when it is played again",
    )
    assert play_again(outcome, lambda _: outcome) == outcome
    assert played == [9501]

    assert play_again(replace(outcome, breaks=()), plays).breaks == ()
    assert played == [9501], "a seed that holds all rules is not played again"
