"""Federated identity credentials of an identity.

Checks in this order: authorisation (and what else Resource Manager asks first: locks, registration, policies), the
parent, the body, 409 while another write holds the identity (which costs no token), the buckets, then place: issuer and
subject once, twenty at most. Creates and deletes hold the identity alike, whoever the callers are.
A write that has begun is carried out even when its client goes away, as a service at the other end of a network does.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.responses import JSONResponse, Response

from keystead_sandbox.arm import errors, rules, state, throttling
from keystead_sandbox.arm.call import Call, Row
from keystead_sandbox.arm.identities import IDENTITY
from keystead_sandbox.resources import Credential, Identity, Trust
from keystead_sandbox.world import World

_ALL = IDENTITY + r"/federatedidentitycredentials"
_ONE = _ALL + r"/(?P<name>[^/]+)"


class Credentials:
    """Their handlers."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._held: set[str] = set()
        self._writes: set[asyncio.Task[Response]] = set()

    def rows(self) -> list[Row]:
        return [
            Row("GET", _ALL, self._list),
            Row("GET", _ONE, self._get),
            Row("PUT", _ONE, self._put),
            Row("DELETE", _ONE, self._delete),
        ]

    def _parent(self, call: Call, verb: str) -> Identity:
        rules.check_version(call.version, rules.CREDENTIALS)
        path = call.path.lower().partition("/federatedidentitycredentials")[0]
        scope = call.path if "name" in call.names else call.collection
        rules.admit(self._world, call.caller, f"{rules.CREDENTIALS}/{verb}", scope)
        if verb == "write":
            rules.check_policies(self._world, rules.CREDENTIALS, call.path, call.body())
        identity = self._world.identity(path)
        if identity is None:
            rules.group(self._world, call.names["subscription"], call.names["group"])
            raise errors.parent_missing()
        rules.check_region(identity)
        call.tell(identity=identity.name)
        return identity

    async def _list(self, call: Call) -> Response:
        identity = self._parent(call, "read")
        call.place(self._world.rules.page_size)  # a page that makes no sense costs no token
        throttling.take_turn(self._world, identity, "list")
        held = [state.credential_body(identity, each, call.version) for each in identity.credentials.values()]
        return call.page(held, self._world.rules.page_size)

    async def _get(self, call: Call) -> Response:
        identity = self._parent(call, "read")
        throttling.take_turn(self._world, identity, "get")
        held = identity.credentials.get(call.names["name"].lower())
        if held is None:
            raise errors.no_credential(call.names["name"], identity)
        return JSONResponse(state.credential_body(identity, held, call.version))

    async def _put(self, call: Call) -> Response:
        identity = self._parent(call, "write")
        trust = rules.trust_of(call.names["name"], call.body(), call.version)
        call.tell(credential=call.names["name"], issuer=trust.issuer, subject=trust.subject)
        writing = self._write(identity, call.names["name"], trust, call.version)
        return await self._alone(call, identity, "write", writing)

    async def _delete(self, call: Call) -> Response:
        identity = self._parent(call, "delete")
        call.tell(credential=call.names["name"])
        held = identity.credentials.get(call.names["name"].lower())
        if held is not None:
            call.tell(issuer=held.issuer, subject=held.subject)
        return await self._alone(call, identity, "delete", self._remove(identity, call.names["name"]))

    async def _alone(self, call: Call, identity: Identity, verb: str, write: Coroutine[Any, Any, Response]) -> Response:
        """Carry out *write*, once no other holds the identity and the buckets allow it."""
        key = identity.resource_id.lower()
        try:
            if key in self._held:
                raise errors.concurrent(identity.resource_id)
            throttling.take_turn(self._world, identity, verb)
        except errors.Refusal:
            write.close()
            raise
        self._held.add(key)
        task = asyncio.create_task(write)
        self._writes.add(task)  # the loop itself keeps no task alive

        def done(ended: asyncio.Task[Response]) -> None:
            self._held.discard(key)
            self._writes.discard(ended)

        task.add_done_callback(done)
        response = await asyncio.shield(task)
        response.headers.update(state.operation_header(call.caller, identity))
        return response

    async def _write(self, identity: Identity, name: str, trust: Trust, version: str) -> Response:
        rules.check_place(self._world, identity, name, trust)
        await self._world.clock.sleep(self._world.rules.write_hold)
        old = identity.credentials.get(name.lower())
        # The same again is no change: exchanges that found it go on finding it.
        if old is not None and old.trust == trust:
            return JSONResponse(state.credential_body(identity, old, version))
        now = self._world.clock.now()
        new = Credential(
            name if old is None else old.name, trust.issuer, trust.subject, trust.audience, now, trust.expression
        )
        identity.credentials[name.lower()] = new
        body = state.credential_body(identity, new, version)
        if old is not None:
            identity.deleted.append((old, now))  # what it trusted before lingers, like a deleted credential
            return JSONResponse(body)
        return JSONResponse(body, status_code=201, headers={"Location": body["id"]})

    async def _remove(self, identity: Identity, name: str) -> Response:
        if name.lower() not in identity.credentials:
            return Response(status_code=204)
        await self._world.clock.sleep(self._world.rules.write_hold)
        held = identity.credentials.pop(name.lower(), None)
        if held is not None:
            identity.deleted.append((held, self._world.clock.now()))
        return Response(status_code=200)
