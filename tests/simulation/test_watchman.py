"""Each rule of the watchman notices its break, and says what broke; the same without the break leaves it silent."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from simulation import wrongs_in_cluster, wrongs_on_azure
from simulation.scene import Scene, on_stage
from simulation.wrongs import Case

CASES = [*wrongs_on_azure.TABLE.cases, *wrongs_in_cluster.TABLE.cases]
_RULE = re.compile(r'(?:self\.fail\([\w.]+, |return )"([\w -]+)", f"')


@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.act.__name__)
def test_the_watchman_notices(case: Case, wrong: bool) -> None:
    async def play() -> None:
        scene = Scene(**case.setting)
        await scene.settle()
        await case.act(scene, wrong)
        told = [re.sub(r": at \d+\.\d s, cluster a: ", ": ", each) for each in scene.watchman.breaks]
        assert len(told) == wrong, told
        assert not wrong or re.fullmatch(f"{case.rule}: {case.says}", told[0]), told

    on_stage(play)


def test_every_rule_of_the_watchman_is_in_the_table() -> None:
    """As the sources name them: a new rule comes with a case of its own."""
    sources = [Path(__file__).with_name(f"{each}.py").read_text() for each in ("watchman", "others", "growing")]
    named = {rule for text in sources for rule in _RULE.findall(text)}

    assert named == {case.rule for case in CASES}
    assert len(named) > 20


@pytest.mark.parametrize(("seconds", "blind", "told"), [(5.0, False, 0), (20.0, False, 1), (20.0, True, 0)])
def test_what_an_operator_cannot_know_yet_excuses_a_write(seconds: float, blind: bool, told: int) -> None:
    async def play() -> None:
        scene = Scene()
        await scene.settle()
        await scene.rogue.lead()
        name = await scene.rogue.record(scene.rogue.entry("shop", scene.identity()))
        scene.stage.disturb(scene.place, 30.0, blinds=blind)
        await scene.settle(3.0)
        scene.happens("delete_claim", "shop", name="g0")
        await scene.settle(seconds)
        await scene.rogue.write(scene.identity(), name)
        assert len(scene.watchman.breaks) == told, scene.watchman.breaks

    on_stage(play)


@pytest.mark.parametrize(("seconds", "blind", "told"), [(5.0, False, 0), (20.0, False, 1), (20.0, True, 0)])
def test_what_an_operator_cannot_know_yet_excuses_a_delete(seconds: float, blind: bool, told: int) -> None:
    """The claim was gone for a moment."""

    async def play() -> None:
        scene = Scene()
        await scene.settle()
        await scene.rogue.lead()
        name = await scene.rogue.serve()
        scene.stage.disturb(scene.place, 30.0, blinds=blind)
        scene.happens("delete_claim", "shop", name="g0")
        await scene.settle(3.0)
        scene.happens("make_claim", "shop", grant="g0", name="g0")
        await scene.settle(seconds)
        await scene.rogue.erase(scene.identity(), name)
        assert len(scene.watchman.breaks) == told, scene.watchman.breaks

    on_stage(play)


@pytest.mark.parametrize(("seconds", "told"), [(1.0, 0), (20.0, 1)])
@pytest.mark.parametrize("says", [{"observeOnly": True}, {"revocation": "Retain"}], ids=["observes", "retained"])
def test_what_a_grant_says_that_is_made_again_under_its_name_is_not_known_at_once(
    says: dict[str, Any], seconds: float, told: int
) -> None:
    """Between the two nothing of it stood, and its trust had to go."""

    async def play() -> None:
        scene = Scene()
        await scene.settle()
        await scene.rogue.lead()
        name = await scene.rogue.serve()
        if "observeOnly" in says:
            scene.happens("write_grant", "g0", **says)
            await scene.settle(20.0)
        scene.happens("delete_grant", "g0")
        await scene.settle(20.0)
        scene.happens("write_grant", "g0", **says)
        scene.happens("delete_claim", "shop", name="g0")
        await asyncio.sleep(seconds)
        await scene.rogue.erase(scene.identity(), name)
        assert len(scene.watchman.breaks) == told, scene.watchman.breaks

    on_stage(play)


@pytest.mark.parametrize("deed", ["delete_namespace", "recreate_namespace"])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
def test_a_write_for_a_namespace_that_is_another_by_now_is_noticed(deed: str, late: bool) -> None:
    async def play() -> None:
        scene = Scene()
        await scene.settle()
        name = await scene.rogue.record(scene.rogue.entry("shop", scene.identity()))
        await scene.rogue.lead()
        scene.happens(deed, "shop")
        await scene.settle(7.0 if late else 3.0)
        await scene.rogue.write(scene.identity(), name)
        told = [each.partition("cluster a: ")[2] for each in scene.watchman.breaks]
        assert told == ([f"{name} is written, but its namespace is gone or another one"] if late else [])

    on_stage(play)
