"""Two clusters, each with its operator, share one pool: names carry the cluster's id, and neither touches the other's."""

import contextlib
from collections.abc import AsyncIterator
from typing import Self

import msgspec
import pytest
from joserfc.jwk import RSAKey

import acting
from keystead.kube.rbac import manifests
from keystead_sandbox.azure import AzureApp
from keystead_sandbox.kube.app import Cluster
from keystead_sandbox.resources import Identity
from world import ISSUER, World, custom_resources, subject

pytestmark = [pytest.mark.looptime, pytest.mark.virtual]
OTHER = "https://kubernetes-b.sandbox"
_KEY = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)


class First(World):
    """The cluster that everything of Azure is made with."""

    def __init__(self, **settings: float) -> None:
        super().__init__(**settings)
        self.tokens = {self.issuer: self.cluster.tokens}
        self.azure_app = AzureApp(self.azure, self._serve)

    def _make_cluster(self) -> None:
        self.users = {"operator": acting.operator()}
        self.cluster = _cluster(self, "a")
        for item in (*custom_resources(), *manifests(), *acting.bindings()):
            self.put(item)

    async def _serve(self, url: str) -> tuple[int, bytes]:
        tokens = next(each for issuer, each in self.tokens.items() if url.startswith(f"{issuer}/"))
        return 200, msgspec.json.encode(tokens.jwks() if url.endswith("/jwks") else tokens.configuration())


class Second(World):
    """Another cluster before the same Azure."""

    def __new__(cls, first: First, issuer: str, **settings: float) -> Self:
        del first, issuer
        return super().__new__(cls, **settings)

    def __init__(self, first: First, issuer: str, **settings: float) -> None:
        self.issuer = issuer
        super().__init__(**settings)
        self.azure, self.azure_app, self.vault = first.azure, first.azure_app, first.vault
        self.journal, self.application = first.journal, first.application
        first.tokens.setdefault(issuer, self.cluster.tokens)

    def _make_cluster(self) -> None:
        self.users = {"operator": acting.operator()}
        self.cluster = _cluster(self, "b")
        for item in (*custom_resources(), *manifests(), *acting.bindings()):
            self.put(item)


def _cluster(world: World, seed: str) -> Cluster:
    """With one key for all: under one issuer, Entra accepts the tokens of both."""
    return Cluster(world.clock, world.journal, issuer=world.issuer, users=world.users, seed=seed, key=_KEY)


@contextlib.asynccontextmanager
async def clusters(issuer: str = OTHER) -> AsyncIterator[tuple[First, Second, Identity]]:
    async with First(drift_interval=60.0) as first, Second(first, issuer, drift_interval=60.0) as second:
        pool = first.identity("one")
        for world in (first, second):
            world.grant("team", pool)
        yield first, second, pool


def _names(pool: Identity, world: World) -> list[str]:
    """Of the credentials that the cluster's ledger records."""
    recorded = {each["spec"]["credential"]["name"] for each in world.objects("federations")}
    return sorted(each.name for each in pool.credentials.values() if each.name in recorded)


async def test_equal_namespaces_of_two_clusters_have_a_credential_each_and_lose_it_alone() -> None:
    async with clusters() as (first, second, pool):
        for world in (first, second):
            world.namespace("shop", labels={"team": "team"})
            world.start()
        await first.until(lambda: first.ready("shop") and second.ready("shop"))
        assert len(pool.credentials) == 2
        theirs = _names(pool, second)

        first.delete("namespaces", "shop")
        await first.until(lambda: first.objects("federations") == [])
        await first.pass_time(600)

        assert sorted(each.name for each in pool.credentials.values()) == theirs
        assert second.ready("shop")


async def test_two_operators_fill_one_identity_together_and_never_above_twenty() -> None:
    async with clusters() as (first, second, pool):
        spaces = [f"n{number:02}" for number in range(13)]
        for world in (first, second):
            for name in spaces:
                world.namespace(name, labels={"team": "team"})
            world.start()
        await first.until(lambda: len(pool.credentials) == 20)
        await first.pass_time(300)

        assert len(pool.credentials) == 20
        served = [name for world in (first, second) for name in spaces if world.ready(name)]
        assert len(served) == 20
        waiting = [world.claim(name)[1] for world in (first, second) for name in spaces if not world.ready(name)]
        assert set(waiting) == {"PoolExhausted"}


async def test_neither_sweeps_what_the_other_left_behind() -> None:
    async with clusters() as (first, second, pool):
        for world in (first, second):
            world.namespace("shop", labels={"team": "team"})
            world.start()
        await first.until(lambda: first.ready("shop") and second.ready("shop"))
        left = _names(pool, second)
        await second.stop()
        second.namespace("shop", labels={})

        await first.pass_time(1200)

        assert left[0] in {each.name for each in pool.credentials.values()}


async def test_a_word_of_one_cluster_takes_over_nothing_of_the_other() -> None:
    async with clusters() as (first, second, pool):
        second.namespace("shop", labels={"team": "team"})
        second.start()
        await second.until(lambda: second.ready("shop"))
        first.azure.add_credential(pool, "tf-mill-b", OTHER, subject("mill"))
        for name in ("shop", "mill"):
            first.namespace(name, labels={"team": "team"})
        first.adopt("*")
        first.start()
        await first.until(lambda: first.ready("shop", "mill"))

        assert not any(each["spec"].get("adopted") for each in first.objects("federations"))
        assert len(pool.credentials) == 4


# A backup of the first cluster, restored as the second under the same issuer ------------------------------------------


def _restore(first: First, second: Second) -> None:
    """As backup tools do: everything under its name, with UIDs of its own."""
    for plural in ("namespaces", "vaultgrants", "vaultclaims", "federations", "serviceaccounts", "secretstores"):
        for item in first.objects(plural):
            metadata = {
                key: value
                for key, value in item["metadata"].items()
                if key in ("name", "namespace", "labels", "annotations", "finalizers")
            }
            if plural == "namespaces" and metadata["name"].startswith(("kube-", "keystead-", "default")):
                continue
            metadata.pop("finalizers" if plural == "namespaces" else "", None)
            second.put({**{key: value for key, value in item.items() if key != "status"}, "metadata": metadata})


@pytest.mark.parametrize("word", [None, "*"])
async def test_a_restored_cluster_leaves_the_living_ones_credentials_alone(word: str | None) -> None:
    async with clusters(ISSUER) as (first, second, pool):
        first.azure.add_credential(pool, "tf-mill", ISSUER, subject("mill"))
        for name in ("shop", "mill"):
            first.namespace(name, labels={"team": "team"})
        first.adopt("*")
        first.start()
        await first.until(lambda: first.ready("shop", "mill"))
        first.adopt(None)
        standing = sorted(each.name for each in pool.credentials.values())
        writes = len(first.azure_writes())

        _restore(first, second)
        second.adopt(word)
        second.start()
        await second.pass_time(900)

        assert sorted(each.name for each in pool.credentials.values()) == standing
        assert len(first.azure_writes()) == writes
        assert first.ready("shop", "mill")
        assert second.claim("shop")[1] == "TupleTaken"
        assert "`keystead adopt team shop`" in second.claim("shop")[2]


async def test_after_the_first_cluster_is_gone_the_restored_one_takes_its_credentials_over_when_told() -> None:
    async with clusters(ISSUER) as (first, second, pool):
        first.namespace("shop", labels={"team": "team"})
        first.start()
        await first.until(lambda: first.ready("shop"))
        await first.stop()
        writes = len(first.azure_writes())

        _restore(first, second)
        second.adopt("shop")
        second.start()
        await second.until(lambda: second.ready("shop"))
        assert len(first.azure_writes()) == writes
        (entry,) = second.objects("federations")
        assert entry["spec"]["adopted"] is True

        second.delete("namespaces", "shop")
        await second.until(lambda: not pool.credentials)
