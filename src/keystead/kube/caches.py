"""The informers of the operator, and the reads that observing needs."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from keystead.kube import decode, guards
from keystead.kube.client import Api
from keystead.kube.eso import Eso
from keystead.kube.informer import Informer, Patience, run_all
from keystead.kube.kinds import FEDERATION, VAULT_APPROVAL, VAULT_CLAIM, VAULT_GRANT
from keystead.model.clock import Clock
from keystead.model.ids import IdentityId
from keystead.model.records import Approval, Claim, Federation, Grant, Guards, Namespace, ServiceAccount, Store

Changed = Callable[[Any, Any], None]
R = TypeVar("R")
_OPTIONAL_WAIT = 3.0  # seconds


class ClusterCaches:
    """Implements :class:`keystead.observe.ports.Caches`."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        changed: Changed,
        *,
        account_names: Iterable[str],
        eso: Eso | None = None,
        patience: Patience | None = None,
    ) -> None:
        names = sorted(account_names)
        self._by_name: dict[str, Namespace] | None = None
        """All namespaces in order, made anew when one has changed: whoever was given them before keeps what it has."""

        def namespace_changed(old: Namespace | None, new: Namespace | None) -> None:
            self._by_name = None
            changed(old, new)

        def informer(
            path: str, decoder: Callable[[msgspec.Raw], R], changed: Changed = changed, **how: Any
        ) -> Informer[R]:
            return Informer(api, clock, path, decoder, changed, patience or Patience(), **how)

        self._namespaces = informer("/api/v1/namespaces", decode.namespace, namespace_changed, metadata_only=True)
        self._grants = informer(VAULT_GRANT.path, decode.grant)
        self._claims = informer(VAULT_CLAIM.path, decode.claim)
        self._approvals = informer(VAULT_APPROVAL.path, decode.approval)
        self._federations = informer(FEDERATION.path, decode.federation)
        # The API server filters when only one name can matter; two names cannot be said in a field selector.
        only = f"metadata.name={names[0]}" if len(names) == 1 else ""
        self._service_accounts = informer(
            "/api/v1/serviceaccounts", decode.service_account, field_selector=only, metadata_only=True
        )
        # External Secrets Operator need not be there.
        eso = eso or Eso(api)
        self._stores = informer(eso.stores_path, decode.store, optional=True, locate=eso.locate)
        # Who may not read them, or has none, is not kept from work: nothing is then known of guards.
        ours: dict[str, Any] = {"label_selector": guards.SELECTOR, "optional": True}
        self._policies = informer(guards.POLICIES_PATH, decode.guard_policy, **ours)
        self._bindings = informer(guards.BINDINGS_PATH, decode.guard_binding, **ours)
        self._claims_of = self._claims.index(lambda claim: (claim.grant_name,))
        self._claims_in = self._claims.index(lambda claim: (claim.namespace,))
        self._stores_in = self._stores.index(lambda store: (store.namespace,))
        self._federations_in = self._federations.index(lambda federation: (federation.namespace,))
        self._federations_of = self._federations.index(lambda federation: (federation.grant_name,))
        self._federations_on = self._federations.index(lambda federation: (federation.identity.key,))

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        return (
            self._namespaces,
            self._grants,
            self._claims,
            self._approvals,
            self._federations,
            self._service_accounts,
            self._stores,
            *self._optional,
        )

    @property
    def _optional(self) -> tuple[Informer[Any], ...]:
        return (self._policies, self._bindings)

    @property
    def _needed(self) -> tuple[Informer[Any], ...]:
        return tuple(each for each in self.informers if each not in self._optional)

    @property
    def synced(self) -> bool:
        return all(informer.synced.is_set() for informer in self._needed)

    @property
    def watching(self) -> bool:
        """The API server has been heard of about every kind lately: what is cached is not old."""
        return all(informer.is_fresh for informer in self._needed)

    async def until_synced(self) -> None:
        for informer in self._needed:
            await informer.synced.wait()
        with contextlib.suppress(TimeoutError):  # so that a restart says at once what was said before
            async with asyncio.timeout(_OPTIONAL_WAIT):
                for informer in self._optional:
                    await informer.synced.wait()

    async def read(self) -> None:
        """Read everything once, without watching; raises the first error. A kind that must be there, and is not, is one."""
        answers = await asyncio.gather(*(informer.read() for informer in self.informers), return_exceptions=True)
        for answer in answers:
            if answer is not None:
                raise answer

    async def run(self) -> None:
        """Watch until cancelled."""
        await run_all(self.informers)

    def grants(self) -> tuple[Grant, ...]:
        return tuple(self._grants.objects.values())

    def claims(self) -> tuple[Claim, ...]:
        return tuple(self._claims.objects.values())

    def approvals(self) -> tuple[Approval, ...]:
        return tuple(self._approvals.objects.values())

    def federations(self) -> tuple[Federation, ...]:
        return tuple(self._federations.objects.values())

    def guards(self) -> Guards:
        if not all(each.synced.is_set() for each in self._optional):
            return Guards()
        return guards.judge(self._policies.objects.values(), self._bindings.objects.values())

    def claims_of(self, grant: str) -> Collection[Claim]:
        return self._claims_of.of(grant)

    def claims_in(self, namespace: str) -> Collection[Claim]:
        return self._claims_in.of(namespace)

    def federations_in(self, namespace: str) -> Collection[Federation]:
        return self._federations_in.of(namespace)

    def federations_of(self, grant: str) -> Collection[Federation]:
        return self._federations_of.of(grant)

    def federations_on(self, identity: IdentityId) -> Collection[Federation]:
        return self._federations_on.of(identity.key)

    def namespaces(self) -> Mapping[str, Namespace]:
        if self._by_name is None:
            self._by_name = {name: record for (_, name), record in sorted(self._namespaces.objects.items())}
        return self._by_name

    def service_account(self, namespace: str, name: str) -> ServiceAccount | None:
        return self._service_accounts.objects.get((namespace, name))

    def store(self, namespace: str, name: str) -> Store | None:
        return self._stores.objects.get((namespace, name))

    def stores_in(self, namespace: str) -> Collection[Store]:
        return self._stores_in.of(namespace)

    def stores_with_finalizers(self, namespace: str) -> int:
        return sum(1 for store in self._stores_in.of(namespace) if store.eso_finalizers)
