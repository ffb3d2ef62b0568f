"""What Entra remembers between requests: who may exchange now, old refusals, and the keys of issuers.

- A credential is found from ``propagation`` after its write; the directory's replicas take that long.
- A refused match freezes what the directory showed to that client, issuer and subject for ``negative_cache``, counted
  from the refusal that made the entry. Answers from it do not extend it. This is what breaks "create, then use at
  once" (Azure workload identity docs: troubleshooting).
- A deleted credential that had been used still matches for ``positive_cache``; one that never was is gone at once.
- An issuer's documents are fetched only for issuers that some credential of the client trusts, once for all waiting
  requests, and again for an unknown ``kid``, though not more often than :data:`REFETCH_INTERVAL`.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from joserfc.jwk import RSAKey
from starlette.requests import Request

from keystead_sandbox.clock import Clock
from keystead_sandbox.clouds import PUBLIC, cloud_at
from keystead_sandbox.entra.assertions import Assertion
from keystead_sandbox.entra.errors import RefusedError
from keystead_sandbox.entra.rules import signing_keys
from keystead_sandbox.resources import Application, Credential, Identity
from keystead_sandbox.world import World

#: Fetches an issuer's document: status and body. It raises ``OSError`` when there is no answer.
Fetch: TypeAlias = Callable[[str], Awaitable[tuple[int, bytes]]]

KEYS_LIFETIME = 3600.0  # sandbox seconds; reports say that Entra keeps an issuer's keys up to an hour
REFETCH_INTERVAL = 30.0  # sandbox seconds; not documented, inferred
_FOUND = 200
ANY_TENANT = ("common", "organizations", "consumers")
_GUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
_DOMAIN = re.compile(r"([a-z0-9-]{1,63}\.)+[a-z0-9-]{2,63}")
_WORD = re.compile(r"[A-Za-z0-9._-]{1,200}")  # only such a name is quoted back


def host_asked(request: Request) -> str:
    """The host and port that the client asked, as discovery documents repeat it."""
    return request.headers.get("host", PUBLIC.login_host).lower().removesuffix(":443")


class Directory:
    """Tenants by their names, and the federated credentials that an exchange finds, which are not those that ARM lists."""

    def __init__(self, world: World) -> None:
        self._world = world

    def tenant(self, request: Request, *, any_tenant: bool = False) -> str:
        """The id of the tenant in the request's path, which may name it by a domain of its own.

        Raises:
            RefusedError: 90002 for an unknown tenant, 900023 for what can be no tenant's name, 50059 for ``common`` and
                its like where one tenant has to be named.

        """
        given = str(request.path_params["tenant"])
        tenant, cloud = given.lower(), cloud_at(host_asked(request))
        if tenant in ANY_TENANT:
            if any_tenant:
                return tenant
            raise RefusedError(50059)
        for each in self._world.tenants.values():
            if each.is_in(cloud) and tenant in (each.id, *each.domains):
                return each.id
        if _GUID.fullmatch(tenant) or _DOMAIN.fullmatch(tenant):
            refused = RefusedError(90002, tenant=given)
        else:
            refused = RefusedError(900023, tenant=given if _WORD.fullmatch(given) else "")
        if request.method != "POST":
            refused.error = "invalid_tenant"  # discovery's word for it
        raise refused

    def view(self, principal: Identity | Application, assertion: Assertion) -> tuple[Credential, ...]:
        """What the directory shows to this exchange: now, or when it was last refused."""
        entry = self._world.directory.refused.get(_key(principal, assertion))
        if entry is not None and self._world.clock.now() < entry[1]:
            return entry[0]
        return self._visible(principal)

    def refuse(self, principal: Identity | Application, assertion: Assertion, view: tuple[Credential, ...]) -> None:
        """Remember that *view* led to a refusal, unless an entry still stands."""
        now, key = self._world.clock.now(), _key(principal, assertion)
        entry = self._world.directory.refused.get(key)
        if entry is None or now >= entry[1]:
            self._forget(now)
            self._world.directory.refused[key] = (view, now + self._world.rules.negative_cache)

    def use(self, principal: Identity | Application, credential: Credential) -> None:
        """Remember that *credential* was exchanged."""
        self._world.directory.used.add((principal.client_id, credential))

    def _visible(self, principal: Identity | Application) -> tuple[Credential, ...]:
        if isinstance(principal, Application):
            return ()  # the sandbox's applications sign in with a secret
        now, rules = self._world.clock.now(), self._world.rules
        written = [
            credential
            for credential in principal.credentials.values()
            if credential.written_at + rules.propagation <= now
        ]
        lingering = [
            credential
            for credential, deleted_at in principal.deleted
            if now < deleted_at + rules.positive_cache
            and (principal.client_id, credential) in self._world.directory.used
        ]
        return (*written, *lingering)

    def _forget(self, now: float) -> None:
        self._world.directory.refused = {
            key: entry for key, entry in self._world.directory.refused.items() if now < entry[1]
        }


@dataclass(slots=True)
class _Issuer:
    keys: dict[str, RSAKey] = field(default_factory=dict)
    fetched_at: float | None = None
    tried_at: float | None = None
    look: "asyncio.Task[None] | None" = None


class Issuers:
    """The published keys of the issuers that credentials trust."""

    def __init__(self, clock: Clock, fetch: Fetch) -> None:
        self._clock = clock
        self._fetch = fetch
        self._issuers: dict[str, _Issuer] = {}

    async def key(self, issuer: str, key_id: str) -> RSAKey | None:
        """The key that *issuer* publishes as *key_id*.

        Raises:
            RefusedError: 50166 when the issuer does not answer, 90061 when it answers an error, 501661 when its documents
                are not what they must be.

        """
        known = self._issuers.setdefault(issuer, _Issuer())
        if not self._recent(known.fetched_at, KEYS_LIFETIME):
            await self._look(issuer, known)
        elif key_id not in known.keys and (
            known.look is not None or not self._recent(known.tried_at, REFETCH_INTERVAL)
        ):
            try:
                await self._look(issuer, known)
            except RefusedError:
                return None  # what is cached still stands, and it has no such key
        return known.keys.get(key_id)

    def _recent(self, then: float | None, seconds: float) -> bool:
        # A clock that a snapshot set back leaves moments that lie ahead: they say nothing.
        return then is not None and then <= self._clock.now() < then + seconds

    async def _look(self, issuer: str, known: _Issuer) -> None:
        """One fetch for all who wait, and one failure; who gives up waiting ends it for nobody else."""
        if known.look is None:
            known.look = asyncio.create_task(self._refresh(issuer, known))

            def done(look: "asyncio.Task[None]") -> None:
                known.look = None
                if not look.cancelled():
                    look.exception()  # nobody may be left to hear it

            known.look.add_done_callback(done)
        await asyncio.shield(known.look)

    async def _refresh(self, issuer: str, known: _Issuer) -> None:
        known.tried_at = self._clock.now()
        document = await self._get(issuer.removesuffix("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != issuer:
            raise RefusedError(501661, detail="The issuer in the discovery document is not the assertion's.")
        where = document.get("jwks_uri")
        if not isinstance(where, str) or not where:
            raise RefusedError(501661, detail="The discovery document has no 'jwks_uri'.")
        for name in ("authorization_endpoint", "subject_types_supported"):
            # Absent is well, empty is not: seen in public reports of self-managed issuers.
            if name in document and not document[name]:
                raise RefusedError(501661, detail=f"The discovery document has an empty '{name}'.")
        try:
            known.keys = signing_keys(await self._get(where))
        except ValueError:
            raise RefusedError(501661, detail="The key set is malformed.") from None
        known.fetched_at = self._clock.now()

    async def _get(self, url: str) -> dict[str, Any]:
        try:
            status, body = await self._fetch(url)
        except (OSError, ValueError):  # ValueError: an address that is none
            raise RefusedError(50166) from None
        if status != _FOUND:
            raise RefusedError(90061)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise RefusedError(501661, detail="The document is not JSON.") from None
        if not isinstance(document, dict):
            raise RefusedError(501661, detail="The document is not a JSON object.")
        return document


def _key(principal: Identity | Application, assertion: Assertion) -> tuple[str, str, str]:
    return principal.client_id, assertion.issuer, assertion.subject
