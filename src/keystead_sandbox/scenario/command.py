"""``keystead sandbox``: builds the stage, plays the scenario, shows it, and leaves no process and no file behind."""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import psutil
import typer
from rich.console import Console
from rich.live import Live

from keystead_sandbox.access import KubernetesRefused
from keystead_sandbox.processes import Part, PartFailed, Parts, executable
from keystead_sandbox.scenario import cast as roles
from keystead_sandbox.scenario import live, stage, summary
from keystead_sandbox.scenario.cast import Cast, Fate, make_cast
from keystead_sandbox.scenario.guest import NotWelcome
from keystead_sandbox.scenario.judge import report as make_report
from keystead_sandbox.scenario.judge import schedule, settled, unmet
from keystead_sandbox.scenario.story import Story
from keystead_sandbox.scenario.where import EMBEDDED, Where
from keystead_sandbox.scenario.witness import Witness

_FRAMES = 8  # pictures a second, at most
_PLAIN_EVERY = 2.0  # wall seconds between progress lines without a terminal
_SAMPLE_EVERY = 0.5  # wall seconds between looks at the operator's memory


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    began: float
    """``time.monotonic()`` when the command started."""
    once: bool
    keep: Path | None
    report: Path | None
    where: Where
    rate: float
    plain: bool
    limit: float


def scenario(  # noqa: PLR0913 - one parameter for each option of the command line
    *,
    once: Annotated[
        bool, typer.Option("--once", help="End by itself, with exit code 0 only if all came true.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", help="Leave kubeconfig, CA, journals and logs in this folder.", file_okay=False),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Write what was measured to this file, as JSON.", dir_okay=False)
    ] = None,
    kube: Annotated[
        str,
        typer.Option(
            "--kube",
            metavar="embedded|real|PATH",
            help="Which Kubernetes: our own, a real control plane (found, or built once), or a cluster's kubeconfig.",
        ),
    ] = EMBEDDED,
    context: Annotated[str, typer.Option("--context", help="Of that kubeconfig; its current one when not given.")] = "",
    clock_rate: Annotated[
        float, typer.Option("--clock-rate", help="How fast Azure's waits pass.", min=0.1, max=100)
    ] = 10.0,
    plain: Annotated[bool, typer.Option("--plain", help="Progress lines instead of the live view.")] = False,
    limit: Annotated[
        float, typer.Option("--limit", help="Give up when it has not settled after this many seconds.", min=1)
    ] = 300.0,
    started: Annotated[float | None, typer.Option("--started", hidden=True, envvar="KEYSTEAD_SANDBOX_STARTED")] = None,
) -> None:
    """Play the main job on this machine: an emulated Azure, a Kubernetes API, the operator and the engine.

    Fifty-eight namespaces of two projects ask for two vaults. Needs no cluster, no Azure and no rights.
    """
    # The clock of the command starts with the command, not when Python had imported us.
    began = time.monotonic() - max(0.0, time.time() - (started or psutil.Process().create_time()))
    where = Where(kube, context)
    if where.is_ours and context:
        raise typer.BadParameter(f"--kube {kube} has no contexts to choose from", param_hint="--context")
    if not where.is_ours and not Path(kube).is_file():
        raise typer.BadParameter(f"{kube!r} is neither embedded, nor real, nor a file", param_hint="--kube")
    options = Options(began, once, keep, report, where, clock_rate, plain, limit)
    raise typer.Exit(asyncio.run(_Run(options).run()))


class _Run:
    """One run of the command."""

    def __init__(self, options: Options) -> None:
        self._began = options.began
        self._once = options.once
        self._report = options.report
        self._where = options.where
        self._rate = options.rate
        self._limit = options.limit
        self._cast = make_cast()
        self._console = Console(highlight=False)
        self._plain = options.plain or not self._console.is_terminal
        self._kept = options.keep is not None
        self._folder = (options.keep or Path(tempfile.mkdtemp(prefix="keystead-sandbox-"))).absolute()
        self._interrupted = asyncio.Event()
        self._peak = 0
        self._cpu = 0.0

    async def run(self) -> int:
        """The exit code: 0 when all came true, 1 when not, 130 when interrupted before."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._interrupted.set)
        parts = Parts(self._folder)
        builder = stage.Builder(self._cast, self._where, parts, self._folder, self._say)
        playing = asyncio.create_task(self._play(parts, builder))
        interrupted = asyncio.create_task(self._interrupted.wait())
        try:
            await asyncio.wait({playing, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            if playing.done():
                return await playing
            playing.cancel()
            await asyncio.wait({playing})
            return playing.result() if not playing.cancelled() and playing.exception() is None else 130
        except (PartFailed, KubernetesRefused) as failure:
            self._complain(f"keystead sandbox: {failure}")
            return 1
        except NotWelcome as reason:
            self._complain(
                f"keystead sandbox: {self._where.title} cannot be used: {reason}. Nothing was changed there."
            )
            return 1
        finally:
            interrupted.cancel()
            await parts.stop()
            await builder.leave()
            if not self._kept:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _say(self, text: str, **style: Any) -> None:
        self._console.print(text, markup=False, soft_wrap=True, **style)

    def _complain(self, text: str) -> None:
        Console(stderr=True, highlight=False).print(text, style="red", markup=False, soft_wrap=True)

    async def _play(self, parts: Parts, builder: stage.Builder) -> int:
        self._say(
            f"keystead sandbox: {self._where.title}, and an emulated Azure on loopback "
            f"(clock x{self._rate:g}: {self._rate:g} s of Azure's waiting pass in 1 s)"
        )
        built = await builder.build(rate=self._rate)
        admin, reviewer = built.kubernetes(roles.ADMIN), built.kubernetes(roles.REVIEWER)
        team, watcher = built.kubernetes(roles.TEAM), built.kubernetes()
        async with aiohttp.ClientSession() as azure:
            witness = Witness(self._cast, watcher, azure, built.azure_url, self._began)
            operator = await stage.start_operator(built, self._cast, parts, rate=self._rate)
            await stage.start_engine(built, parts)
            self._say(f"keystead sandbox: operator and engine started; {len(self._cast.fates)} namespaces move in")
            background = [
                asyncio.create_task(witness.run()),
                asyncio.create_task(self._sample(operator)),
                asyncio.create_task(self._guard(parts)),
            ]
            story = Story(self._cast, witness, admin=admin, reviewer=reviewer, team=team)
            try:
                success = await self._watch_story(story, witness, background)
                total = witness.elapsed()
                self._conclude(witness, total, success=success)
                if success and not self._once:
                    self._invite(built)
                    await self._until_interrupted(background)
                return 0 if success else 1
            finally:
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)
                for client in (admin, reviewer, team, watcher):
                    await client.close()

    async def _watch_story(self, story: Story, witness: Witness, background: list[asyncio.Task[None]]) -> bool:
        """Show the story until it ends; False when it did not settle in time."""
        playing = asyncio.create_task(story.play())
        showing = asyncio.create_task(self._show(witness))
        try:
            done, _ = await asyncio.wait(
                {playing, *background}, timeout=self._limit, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                await task  # raises what went wrong
            return playing in done and settled(self._cast, witness.sighting)
        finally:
            playing.cancel()
            showing.cancel()
            await asyncio.gather(playing, showing, return_exceptions=True)

    async def _show(self, witness: Witness) -> None:
        if self._plain:
            while True:
                await asyncio.sleep(_PLAIN_EVERY)
                self._say(_progress(self._cast, witness))
        with Live(console=self._console, auto_refresh=False, transient=False) as screen:
            try:
                while True:
                    screen.update(
                        live.render(self._cast, witness, rate=self._rate, headline=_headline(self._cast, witness)),
                        refresh=True,
                    )
                    await asyncio.sleep(1 / _FRAMES)
            finally:
                screen.update(
                    live.render(self._cast, witness, rate=self._rate, headline=_headline(self._cast, witness)),
                    refresh=True,
                )

    async def _sample(self, operator: Part) -> None:
        """Ask the operating system, again and again, what the operator uses."""
        process = psutil.Process(operator.process.pid)
        while True:
            self._measure(process)
            await asyncio.sleep(_SAMPLE_EVERY)

    def _measure(self, process: psutil.Process) -> None:
        times = process.cpu_times()
        self._cpu = times.user + times.system
        self._peak = max(self._peak, process.memory_info().rss, _high_water_mark(process.pid))

    async def _guard(self, parts: Parts) -> None:
        part = await parts.first_to_end()
        raise PartFailed(f"{part.name} ended with code {part.process.returncode}:\n{part.last_words()}")

    def _conclude(self, witness: Witness, total: float, *, success: bool) -> None:
        measured = make_report(
            self._cast,
            witness.sighting,
            subscription=roles.SUBSCRIPTION_ID,
            total_seconds=total,
            peak_rss_bytes=self._peak,
            cpu_seconds=self._cpu,
            clock_rate=self._rate,
        )
        if self._report is not None:
            self._report.write_text(json.dumps(measured, indent=2) + "\n")
        self._say("")
        self._say(
            "All that the scenario expects came true." if success else "Not all that the scenario expects came true.",
            style="bold green" if success else "bold red",
        )
        for line in summary.lines(measured, pool=schedule(self._cast, witness.sighting, roles.SUBSCRIPTION_ID).pool):
            self._say(f"  {line}")
        for line in unmet(self._cast, witness.sighting) if not success else ():
            self._say(f"  {line}", style="red")
        if self._kept:
            self._say(f"  kubeconfig, CA, journals and logs: {self._folder}")

    def _invite(self, built: stage.Stage) -> None:
        waiting = next(name for name, fate in self._cast.fates.items() if fate is Fate.AWAITING_REVIEW)
        blocked = next(name for name, fate in self._cast.fates.items() if fate is Fate.BLOCKED)
        commands = summary.next_commands(
            kubectl=_shortest("kubectl"),
            keystead=_shortest("keystead"),
            kubeconfig=str(built.kubeconfig),
            waiting=waiting,
            blocked=blocked,
            context=self._where.context,
        )
        self._say("\nEverything keeps running. In another terminal:")
        for command, meaning in commands:
            self._say(f"\n  # {meaning}", style="bright_black")
            self._say(f"  {command}", style="bold")
        self._say("\nCtrl-C ends it all and leaves nothing behind.")

    async def _until_interrupted(self, background: list[asyncio.Task[None]]) -> None:
        interrupted = asyncio.create_task(self._interrupted.wait())
        done, _ = await asyncio.wait({interrupted, *background}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task


def _headline(cast: Cast, witness: Witness) -> str:
    stages = [live.stage(witness, namespace) for namespace in cast.fates]
    return f"{stages.count('ready')} of {len(stages)} namespaces have their Secret"


def _progress(cast: Cast, witness: Witness) -> str:
    stages = [live.stage(witness, namespace) for namespace in cast.fates]
    counts = ", ".join(f"{stages.count(name)} {word}" for name, word in live.WORDS.items() if stages.count(name))
    return f"{witness.elapsed():6.1f} s  {counts or 'nothing yet'}"


def _high_water_mark(pid: int) -> int:
    """Linux's own record of the most memory that was ever resident, in bytes; 0 where there is none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((each for each in status.splitlines() if each.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024


def _shortest(name: str) -> str:
    """The command as a person would type it: bare when it is on the PATH of a new shell, else with its folder."""
    path = executable(name)
    return name if shutil.which(name) == path and not path.startswith(sys.prefix) else path
