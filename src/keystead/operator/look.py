"""One look at a cluster and its identities by the operator's own eyes, for commands that plan and report.

- Kubernetes is listed once and nothing is watched; each identity is read once, at the operator's pace.
- Nothing is written anywhere: rights to read are enough.
- What only a running operator remembers (which step failed, what a lane is writing at this moment) is not seen.
- An identity that cannot be read is told, never taken for an empty one; one that does not exist is a fact.
"""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from keystead.azure.arm import IdentityClient
from keystead.azure.clouds import CLOUDS
from keystead.azure.credential import SignIn, make_credential
from keystead.azure.pool import PoolClient
from keystead.kube.caches import ClusterCaches
from keystead.kube.client import Api, load_config
from keystead.kube.issuer import read_cluster
from keystead.kube.permissions import VIEWER
from keystead.kube.resources import GROUP
from keystead.model.credentials import IdentityState
from keystead.model.errors import KeysteadError, Refused, Retryable
from keystead.model.ids import IdentityId
from keystead.model.reasons import CATALOGUE, Reason
from keystead.model.records import Claim, Cluster
from keystead.observe.inventory import Inventory, ListPaces
from keystead.observe.looks import LookPaces, PoolLooks
from keystead.observe.snapshots import Azure, Memory, Observer
from keystead.operator.app import Seams, limits_of
from keystead.operator.clock import LoopClock
from keystead.operator.settings import Settings
from keystead.plan.snapshot import Snapshot

_TRIES = 3
_RETRY = 2.0  # seconds between two tries, where Azure names no time
_ABSENT = ("404", "NotFound")
_CURES = {
    Reason.AZURE_SIGN_IN_FAILED: "Sign in with `az login`, or set AZURE_TENANT_ID and AZURE_CLIENT_ID with"
    " AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, as for the operator.",
    Reason.AZURE_FORBIDDEN: "The role Reader on it is enough.",
}


class Look:
    """Opens both worlds, looks, and closes them again: ``async with Look(settings) as look: ...``."""

    def __init__(self, settings: Settings, seams: Seams | None = None) -> None:
        seams = seams or Seams(LoopClock())
        self._settings = settings
        self._clock = seams.clock
        config = seams.kubernetes or load_config(settings.kubeconfig or None, settings.context or None)
        self._api = Api(config, transport=seams.kubernetes_transport)
        cloud = CLOUDS[settings.cloud]
        sign_in = SignIn(settings.tenant_id, settings.client_id, settings.client_secret, settings.token_file)
        self._credential = seams.credential or make_credential(sign_in, cloud, seams.azure_transport)
        self._identities = IdentityClient(self._credential, cloud, seams.azure_transport, self._clock)
        self._caches = ClusterCaches(
            self._api, self._clock, lambda _, __: None, account_names=settings.service_account_names
        )
        paces = ListPaces(identity=settings.list_pace, drift=settings.drift_interval, retry=_RETRY)
        self._inventory = Inventory(self._identities, self._clock, lambda _grant, _seconds: None, paces)
        self._pools = PoolClient(self._credential, cloud, seams.azure_transport, self._clock)
        rarely = LookPaces(drift=settings.drift_interval)
        self._looks = PoolLooks(self._pools, self._clock, lambda _: None, rarely)
        self._observer: Observer | None = None
        self.cluster = Cluster("", "")

    async def __aenter__(self) -> Self:
        try:
            await self._read_kubernetes()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for reading in (self._inventory, self._looks):
            await reading.stop()
        await self._identities.close()
        await self._pools.close()
        await self._credential.close()
        await self._api.close()

    def left_out(self) -> tuple[str, ...]:
        """Objects that cannot be understood, as the operator leaves them out too."""
        return tuple(
            f"{informer.path}: {'/'.join(filter(None, key))}: {why}"
            for informer in self._caches.informers
            for key, why in sorted(informer.cache.misunderstood.items())
        )

    def grants(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Names of grants, those that are gone and have left something included; Refused when a *wanted* one is none."""
        caches = self._caches
        known = {each.name for each in caches.grants()} | {each.grant_name for each in caches.federations()}
        known |= {each.grant_name for each in caches.claims()}
        names = tuple(dict.fromkeys(wanted)) or tuple(sorted(known))
        unknown = [name for name in names if name not in known]
        if unknown:
            there = ", ".join(sorted(known)) or "none at all"
            text = f"there is no VaultGrant {', '.join(unknown)}; there are: {there}"
            raise Refused(Reason.GRANT_NOT_FOUND, text)
        return names

    def claims_on(self, grant: str) -> tuple[Claim, ...]:
        return tuple(self._caches.claims_of(grant))

    async def snapshots(
        self, names: Iterable[str], progress: Callable[[int, int], None] = lambda _, __: None
    ) -> dict[str, Snapshot | None]:
        """Of each grant: ``None`` where there is none and it has left nothing. *progress* hears: read, of how many.

        Raises:
            Refused: Nobody has signed in to Azure, or none of the identities may be read.
            Retryable: Azure does not answer for any of the identities.

        """
        names = tuple(names)
        self._snapshots(names)
        await self._looks.until_read()  # what a pool has grown by is read like the rest of it
        seen = self._snapshots(names)
        for left in reversed(range(_TRIES)):
            await self._inventory.until_read(lambda: progress(*self._count(seen)))
            if not left or not any(_may_pass(each) for each in self._states(seen)):
                break
            await self._clock.sleep(self._inventory.next_due(_identities(seen)) or 0.0)
            self._snapshots(names)
        seen = self._snapshots(names)
        self._check(self._states(seen))
        return seen

    def unread(self, seen: Iterable[Snapshot | None]) -> tuple[str, ...]:
        """What stands in Azure and could not be read, and why: what is planned for it is not the whole."""
        there = [snapshot for snapshot in seen if snapshot is not None]
        states = {each.id: each for snapshot in there for each in snapshot.identities.values()}
        found = [(str(identity), state.problem, state.problem_detail) for identity, state in sorted(states.items())]
        for each in there:
            found.append((f"the resource group of grant {each.grant_name}", each.made.problem, each.made.detail))
            found.append((f"the roles on the vault of grant {each.grant_name}", each.roles.problem, each.roles.detail))
        return tuple(
            _with_cure(f"{what}: {detail}", _CURES.get(problem, CATALOGUE[problem].admin))
            for what, problem, detail in found
            if problem is not None and problem is not Reason.IDENTITY_NOT_FOUND
        )

    async def _read_kubernetes(self) -> None:
        settings = self._settings
        try:
            self.cluster = await read_cluster(self._api, issuer=settings.issuer)
            await self._caches.read()
        except Refused as error:
            raise _explained(error) from error
        memory = Memory({}, {}, {}, {}, dict, frozenset)
        azure = Azure(self._inventory, self._looks)
        self._observer = Observer(self._caches, azure, memory, self._clock, self.cluster, limits_of(settings))

    def _snapshots(self, names: Iterable[str]) -> dict[str, Snapshot | None]:
        if self._observer is None:
            raise RuntimeError("use it in `async with`")
        return {name: self._observer.snapshot(name) for name in names}

    def _states(self, seen: dict[str, Snapshot | None]) -> list[IdentityState]:
        """What is known of them by now."""
        return [state for each in _identities(seen) if (state := self._inventory.known(each)) is not None]

    def _count(self, seen: dict[str, Snapshot | None]) -> tuple[int, int]:
        states = self._states(seen)
        return sum(1 for each in states if each.known or each.problem is not None), len(states)

    def _check(self, states: list[IdentityState]) -> None:
        problems = [state for state in states if state.problem not in (None, Reason.IDENTITY_NOT_FOUND)]
        signed_out = [state for state in problems if state.problem is Reason.AZURE_SIGN_IN_FAILED]
        worst = next(iter(signed_out or problems), None)
        if worst is None or worst.problem is None or (not signed_out and len(problems) < len(states)):
            return
        cure = _CURES.get(worst.problem, "")
        where = "" if signed_out else f"identity {worst.id.name}: "
        text = _with_cure(f"{where}{worst.problem_detail}", cure)
        kind: type[KeysteadError] = Refused if cure or not CATALOGUE[worst.problem].heals else Retryable
        raise kind(worst.problem, text)


def _with_cure(text: str, cure: str) -> str:
    return f"{text.rstrip('. ')}. {cure}".strip()


def _identities(seen: dict[str, Snapshot | None]) -> list[IdentityId]:
    return sorted({each for snapshot in seen.values() if snapshot is not None for each in snapshot.identities})


def _may_pass(state: IdentityState) -> bool:
    """Asking again soon may help; whoever is not signed in now will not be in two seconds."""
    if state.problem is None or state.problem is Reason.AZURE_SIGN_IN_FAILED:
        return False
    return CATALOGUE[state.problem].heals


def _explained(error: Refused) -> Refused:
    """What to do about a refusal of the API server, where it is about what has to be read."""
    if error.reason is Reason.KUBERNETES_FORBIDDEN:
        cure = f"Ask for the ClusterRole {VIEWER}, which has all that has to be read (`keystead rbac`)."
        return Refused(error.reason, f"{error}. {cure}", code=error.code)
    if error.code in _ABSENT and f"/{GROUP}/" in str(error):
        text = "this cluster has no VaultGrants: apply the output of `keystead crds`"
        return Refused(error.reason, text, code=error.code)
    return error
