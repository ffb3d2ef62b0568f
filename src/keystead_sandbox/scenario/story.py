"""The plot: an admin grants, teams make namespaces, a reviewer decides, one namespace goes.

All the rest is the operator's and the engine's doing.
"""

import asyncio
import typing

from lightkube import AsyncClient
from lightkube.resources.core_v1 import Namespace
from lightkube.types import CascadeType

from keystead_sandbox.scenario import cast as roles
from keystead_sandbox.scenario.cast import Cast, Fate
from keystead_sandbox.scenario.judge import settled
from keystead_sandbox.scenario.witness import Approvals, ExternalSecrets, Grants, SecretStores, Witness

_AT_ONCE = 8  # requests of the cast's in flight; people and pipelines are no stampede


class Story:
    """Plays the scenario's people, each with a kubeconfig of its own."""

    def __init__(
        self, cast: Cast, witness: Witness, *, admin: AsyncClient, reviewer: AsyncClient, team: AsyncClient
    ) -> None:
        self._cast = cast
        self._witness = witness
        self._admin = admin
        self._reviewer = reviewer
        self._team = team
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def play(self) -> None:
        """Return when all that the scenario expects has come true."""
        for project in self._cast.projects:
            await self._admin.apply(Grants.from_dict(roles.grant(project)), field_manager=roles.ADMIN)
        reviewing = asyncio.create_task(self._review())
        try:
            async with asyncio.TaskGroup() as tasks:
                for namespace in self._cast.fates:
                    tasks.create_task(self._move_in(namespace))
            before = {name: Fate.READY if fate is Fate.DELETED else fate for name, fate in self._cast.fates.items()}
            await self._witness.until(
                lambda: all(self._witness.sighting.fate(name) is fate for name, fate in before.items())
            )
            for namespace, fate in self._cast.fates.items():
                if fate is Fate.DELETED:
                    await self._team.delete(Namespace, namespace, cascade=CascadeType.BACKGROUND)
            await self._witness.until(lambda: settled(self._cast, self._witness.sighting))
        finally:
            reviewing.cancel()

    async def _move_in(self, name: str) -> None:
        """A team's pipeline: the namespace, what it wants to know, and in one case a store from before."""
        project = self._cast.project_of(name)
        async with self._turn:
            await self._team.create(
                typing.cast("Namespace", Namespace.from_dict(roles.namespace_object(name, project)))
            )
            if self._cast.fates[name] is Fate.BLOCKED:
                store = SecretStores.from_dict(roles.hand_made_store(name))
                await self._team.apply(store, field_manager=roles.TEAM)
            await self._team.create(ExternalSecrets.from_dict(roles.external_secret(name)))

    async def _review(self) -> None:
        """Approve whatever waits, except the one that is left to the reader."""
        approved: set[str] = set()

        def waiting() -> list[str]:
            return [
                namespace
                for namespace in self._witness.claims
                if namespace not in approved
                and self._cast.fates.get(namespace) not in (None, Fate.AWAITING_REVIEW)
                and self._witness.sighting.condition(namespace, "Approved") == ("False", "AwaitingReview")
            ]

        while True:
            await self._witness.until(lambda: bool(waiting()))
            async with asyncio.TaskGroup() as tasks:
                for namespace in waiting():
                    approved.add(namespace)
                    tasks.create_task(self._approve(namespace))

    async def _approve(self, name: str) -> None:
        async with self._turn:
            namespace = await self._reviewer.get(Namespace, name)
            claim = self._witness.claims[name]
            uid = str(namespace.metadata.uid if namespace.metadata else "")
            word = roles.approval(
                {"metadata": {"namespace": name}, "spec": claim["spec"]}, uid, self._cast.project_of(name).vault_url
            )
            await self._reviewer.create(Approvals.from_dict(word))
