"""A handful of seeds hold all rules, a seed repeats itself exactly, and what should be noticed is noticed."""

import asyncio
from typing import Any

import pytest

from keystead_sandbox.resources import AUDIENCE, Credential
from simulation import growing
from simulation.judge import Judge
from simulation.loop import Process, VirtualLoop
from simulation.run import Outcome, play
from simulation.shrink import shrink, tell
from simulation.stage import Member, Setup, Stage
from simulation.story import Event, Story, write_story

SETUP = Setup(1, 1, 1, (Member("identity-0", 0),), 15.0, 60.0, 86400.0, (0.0,), 0.0)


@pytest.mark.parametrize("seed", range(9001, 9009))
def test_a_seed_holds_all_rules(seed: int) -> None:
    story = write_story(seed)

    outcome = play(story)

    assert outcome.breaks == (), tell(story, outcome)


@pytest.mark.parametrize("seed", [9101, 9102, 9103])
def test_a_seed_repeats_itself_exactly(seed: int) -> None:
    first, second = play(write_story(seed)), play(write_story(seed))

    assert first == second
    assert first.requests > 100


def test_seeds_differ() -> None:
    assert len({play(write_story(seed)).digest for seed in (9201, 9202, 9203)}) == 3


def test_the_least_story_that_breaks_is_found() -> None:
    story = write_story(9301)
    culprits = [story.events[3], story.events[-2]]

    def plays(shorter: Story) -> Outcome:
        broken = all(each in shorter.events for each in culprits)
        return Outcome(9301, ("rule: broken",) if broken else (), "", 0, 0, 0, 0, 0.0, {})

    shortest, outcome = shrink(story, plays(story), plays)

    assert list(shortest.events) == culprits
    assert "rule: broken" in tell(shortest, outcome)


def _run(work: Any) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()


def test_a_killed_process_runs_nothing_more_and_its_neighbour_goes_on() -> None:
    said: list[str] = []

    async def life(name: str) -> None:
        try:
            while True:
                await asyncio.sleep(1)
                said.append(name)
        finally:
            said.append(f"{name} ends")

    async def story() -> None:
        doomed, other = Process("doomed"), Process("other")
        tasks = [doomed.spawn(life("doomed"), name="doomed"), other.spawn(life("other"), name="other")]
        await asyncio.sleep(2.5)
        doomed.kill()
        tasks[0].cancel()
        await asyncio.sleep(2)
        assert said == ["doomed", "other", "doomed", "other", "other", "other"]
        doomed.bury()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    _run(story())


def test_a_frozen_process_finds_all_that_came_meanwhile_in_order() -> None:
    heard: list[tuple[float, int]] = []

    async def story() -> None:
        loop, box, process = asyncio.get_running_loop(), asyncio.Queue[int](), Process("listener")

        async def listen() -> None:
            while True:
                number = await box.get()
                heard.append((loop.time(), number))

        task = process.spawn(listen(), name="listener")
        for number in range(4):
            if number == 1:
                process.freeze()
            box.put_nowait(number)
            await asyncio.sleep(1)
        process.thaw()
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait({task})

    _run(story())
    assert heard == [(0.0, 0), (4.0, 1), (4.0, 2), (4.0, 3)]


def test_a_process_ends_at_the_resumption_that_was_chosen() -> None:
    async def story() -> None:
        process, said = Process("doomed"), list[int]()

        async def count() -> None:
            for number in range(10):
                said.append(number)
                await asyncio.sleep(0)

        process.after(4, process.kill)
        task = process.spawn(count(), name="count")
        await asyncio.sleep(1)
        assert said == [0, 1, 2, 3]
        process.bury()
        await task

    _run(story())


def test_a_ledger_entry_that_came_and_went_between_two_looks_is_not_remembered_for_ever() -> None:
    """The identity fills up behind the operator's back, and what it sees of its own cluster lags by seconds."""
    names = [f"n{number}" for number in range(6)]
    setup = Setup(1, 1, 1, (Member("identity-0", 18), Member("identity-1", 5)), 30.0, 120.0, 200.0, (0.0,), 3.0)
    grant = {
        "namespaces": {"names": names},
        "approval": "Automatic",
        "vault": {"url": "https://team-kv.vault.azure.net"},
        "identities": ["identity-0", "identity-1"],
    }
    late = [
        Event(at, "write_foreign", "identity-0", given={"name": f"late-{at:.0f}", "takes": ""}) for at in (20.0, 23.0)
    ]
    made = [Event(40.0 + 0.7 * number, "make_namespace", name) for number, name in enumerate(names)]
    story = Story(setup, (Event(0.0, "write_grant", "g0", given=grant), *late, *made))

    outcome = play(story)

    assert outcome.breaks == (), tell(story, outcome)


def test_a_credential_of_ours_that_nothing_allows_is_noticed_when_its_time_is_over() -> None:
    async def story() -> None:
        stage = Stage(SETUP)
        judge, place = Judge(stage), stage.places[0]
        name = f"ks-{place.id}-shop-keystead-abcdefghijklmnopqrstuvwxyz"
        identity = stage.identities["identity-0"]
        identity.credentials[name] = Credential(
            name, place.issuer, "system:serviceaccount:shop:keystead", AUDIENCE, 0.0
        )
        for _ in range(60):
            judge.look()
            await asyncio.sleep(3)
        assert judge.breaks == []
        assert judge.complaints() == [f"cluster a: leak: {name} stands on identity-0 although no ledger entry"]
        for _ in range(60):
            await asyncio.sleep(3)
            judge.look()
        assert judge.breaks[0] == f"bound: {name} stands on identity-0 although no ledger entry"

    _run(story())


def test_pools_grow_in_some_stories_and_in_others_not() -> None:
    grows = [write_story(seed).setup.grows for seed in range(1, 41)]

    assert 4 < sum(grows) < 20


def test_an_identity_is_made_in_a_story_in_which_pools_grow() -> None:
    seed = next(seed for seed in range(9401, 9500) if _makes_one(seed))

    outcome = play(write_story(seed))

    assert outcome.breaks == ()
    assert outcome.counts["identities made"] > 0


def _makes_one(seed: int) -> bool:
    """The first grant names no identity of its own, so that one has to be made."""
    story = write_story(seed)
    first = next(each for each in story.events if each.deed == "write_grant")
    return story.setup.grows and not first.given["identities"]


def test_an_identity_that_nobody_has_proven_is_told_from_one_that_was() -> None:
    async def story() -> None:
        stage = Stage(SETUP)
        tags = {"keystead-cluster": stage.places[0].id, "keystead-grant": "g0"}
        made = stage.azure.add_identity("grown-abcdefgh-001", tags=tags)
        theirs = stage.azure.add_identity("grown-abcdefgh-002", tags={"owner": "somebody"})

        assert growing.unproven(stage, made)
        assert not growing.unproven(stage, theirs), "not ours to prove"
        assert not growing.unproven(stage, stage.identities["identity-0"])

    _run(story())
