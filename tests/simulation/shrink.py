"""The least of a story that still breaks the same rule: events are left out greedily, first by halves, then one by one."""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

from simulation.run import Outcome, play
from simulation.story import Story

_MOST_PLAYS = 150


Plays: TypeAlias = Callable[[Story], Outcome]


def shrink(story: Story, broken: Outcome, plays: Plays = play) -> tuple[Story, Outcome]:
    """A smaller story, and how it ends; the one given when nothing can be left out."""
    tries, size = 0, max(1, len(story.events) // 2)
    while size and tries < _MOST_PLAYS:
        start = 0
        while start < len(story.events) and tries < _MOST_PLAYS:
            fewer = (*story.events[:start], *story.events[start + size :])
            tries += 1
            outcome = plays(dataclasses.replace(story, events=fewer))
            if outcome.rules & broken.rules:
                story, broken = dataclasses.replace(story, events=fewer), outcome
            else:
                start += size
        size //= 2
    return story, broken


def tell(story: Story, outcome: Outcome) -> str:
    """The story, for a person."""
    setup = story.setup
    pool = ", ".join(
        f"{each.name} ({each.foreign} foreign, subscription {each.subscription})" for each in setup.members
    )
    lines = [
        f"seed {setup.seed}: {setup.clusters} cluster(s) of {setup.replicas} replica(s), lease {setup.lease:g} s",
        f"  drift {setup.drift:g} s, heartbeat {setup.heartbeat:g} s, watch lag {setup.lag:g} s",
        f"  clocks are off by {', '.join(f'{each:.0f} s' for each in setup.skews)}",
        f"  identities: {pool}",
        *(f"  {event.tell()}" for event in story.events),
        *(f"  broken: {each}" for each in outcome.breaks),
    ]
    return "\n".join(lines)
