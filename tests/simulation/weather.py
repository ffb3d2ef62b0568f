"""What fails by itself: Azure, API servers, watches, processes. Each lasts for a time that its event names."""

from typing import TYPE_CHECKING

from keystead_sandbox.faults import Effect, Fault
from simulation.replica import Replica
from simulation.stage import Place, Stage
from simulation.wire import Trouble

if TYPE_CHECKING:
    from simulation.story import Event


def azure_fails(stage: Stage, place: Place, event: "Event") -> None:
    del place
    given = dict(event.given)
    stage.disturb(None, given["seconds"])
    stage.azure.faults.add(Fault(effect=Effect(given.pop("effect")), **given))


def cluster_fails(stage: Stage, place: Place, event: "Event") -> None:
    given = dict(event.given)
    seconds = given.pop("lasts")
    stage.disturb(place, seconds, blinds=True)
    place.troubles.append(Trouble(until=stage.now + seconds, **given))


def cluster_forgets(stage: Stage, place: Place, event: "Event") -> None:
    """Compaction: versions that clients hold have expired; all watches break."""
    del event
    stage.disturb(place, 5, blinds=True)
    for resource in place.cluster.store.resources():
        place.cluster.store.log(resource).compact()


def watches_break(stage: Stage, replica: Replica, event: "Event") -> None:
    del event
    stage.counts["watches cut"] += 1
    stage.disturb(replica.place, 5, blinds=True)
    if replica.line is not None:
        replica.line.cut()


def watches_fall_silent(stage: Stage, replica: Replica, event: "Event") -> None:
    del event
    stage.counts["watches muted"] += 1
    stage.disturb(replica.place, 90, blinds=True)
    if replica.line is not None:
        replica.line.mute()


def watches_lag(stage: Stage, replica: Replica, event: "Event") -> None:
    seconds, lag = event.given["seconds"], event.given["lag"]
    stage.counts["lags"] += 1
    stage.disturb(replica.place, seconds + lag, blinds=True)
    line = replica.line
    if line is None:
        return
    line.lag = lag

    async def end() -> None:
        await stage.clock.sleep(seconds)
        line.lag = stage.setup.lag

    stage.remember(end())


def kill(stage: Stage, replica: Replica, event: "Event") -> None:
    """After so many more resumptions of its tasks."""
    del stage
    replica.process.after(event.given["steps"], lambda: replica.kill(event.given["down"]))


def freeze(stage: Stage, replica: Replica, event: "Event") -> None:
    del stage
    replica.process.after(event.given["steps"], lambda: replica.freeze(event.given["seconds"]))


def stop(stage: Stage, replica: Replica, event: "Event") -> None:
    stage.counts["stops"] += 1
    stage.remember(replica.stop(event.given["down"]))
