"""The operations on keys and on deleted ones; :mod:`keystead_sandbox.keyvault.key_use` has what keys compute.

- A private key never leaves: answers hold the public half, backups are sealed.
- A disabled key is listed but not read, and does nothing.
- The key of a certificate says so (``managed``) and is changed by the certificate alone.
- Keys said to be in an HSM are software keys here; symmetric keys are refused, since only managed HSMs hold them.
- A rotation policy is kept and followed by a rotation that is asked for; nothing rotates by itself here.
"""

from functools import partial

import msgspec
from starlette.responses import Response

from keystead_sandbox.keyvault import access, backups, errors, key_bodies, material, rules
from keystead_sandbox.keyvault.call import Call, Cost, Row, answer, listed
from keystead_sandbox.keyvault.state import Shelf, new_version
from keystead_sandbox.resources import KeyVersion, Vault
from keystead_sandbox.world import World

_GET = access.keys("get", "read")
_LIST = access.keys("list", "read")
_CREATE = access.keys("create", "create/action")
_IMPORT = access.keys("import", "import/action")
_UPDATE = access.keys("update", "update/action")
_DELETE = access.keys("delete", "delete")
_RECOVER = access.keys("recover", "recover/action")
_PURGE = access.keys("purge", "purge/action")
_BACKUP = access.keys("backup", "backup/action")
_RESTORE = access.keys("restore", "restore/action")
_ROTATE = access.keys("rotate", "rotate/action")
_READ_ROTATION = access.keys("getrotationpolicy", "read", "keyrotationpolicies")
_WRITE_ROTATION = access.keys("setrotationpolicy", "write", "keyrotationpolicies")


def shelf(world: World, vault: Vault) -> Shelf[KeyVersion]:
    """A vault's keys."""
    return Shelf(world, vault, "keys", vault.keys, vault.deleted_keys)


def rows() -> list[Row]:
    """The table's rows about keys as things."""
    return [
        Row("GET", "keys", _LIST, _list),
        Row("POST", "keys/restore", _RESTORE, _restore, Cost.CREATE),
        Row("GET", "keys/{name}", _GET, _get),
        Row("PUT", "keys/{name}", _IMPORT, _import, Cost.CREATE),
        Row("PATCH", "keys/{name}", _UPDATE, _update),
        Row("DELETE", "keys/{name}", _DELETE, _delete),
        Row("POST", "keys/{name}/create", _CREATE, _create, Cost.CREATE),
        Row("POST", "keys/{name}/rotate", _ROTATE, _rotate, Cost.CREATE),
        Row("POST", "keys/{name}/backup", _BACKUP, _backup),
        Row("GET", "keys/{name}/versions", _LIST, _versions),
        Row("GET", "keys/{name}/rotationpolicy", _READ_ROTATION, _get_rotation),
        Row("PUT", "keys/{name}/rotationpolicy", _WRITE_ROTATION, _set_rotation),
        Row("GET", "keys/{name}/{version}", _GET, _get),
        Row("PATCH", "keys/{name}/{version}", _UPDATE, _update),
        Row("GET", "deletedkeys", _LIST, _list_deleted),
        Row("GET", "deletedkeys/{name}", _GET, _get_deleted),
        Row("DELETE", "deletedkeys/{name}", _PURGE, _purge),
        Row("POST", "deletedkeys/{name}/recover", _RECOVER, _recover),
    ]


def add(
    world: World,
    vault: Vault,
    name: str,
    private: bytes,
    *,
    kty: str = "",
    operations: tuple[str, ...] | None = None,
    version: str = "",
    managed: bool = False,
) -> KeyVersion:
    """A new version of a key, enabled and without limits of time."""
    now, kind = world.clock.wall(), kty or material.kty_of(material.loaded(private))
    made = KeyVersion(
        version=version or new_version(world, "key"),
        created=now,
        updated=now,
        private=private,
        kty=kind,
        operations=key_bodies.operations(kind, operations),
        managed=managed,
    )
    return shelf(world, vault).add(name, made)


async def _get(call: Call) -> Response:
    held = _shelf(call).find(call.name, call.version)
    if not held.enabled:
        raise errors.disabled("keys", "get")
    return answer(_bundle(call, call.name, held))


async def _create(call: Call) -> Response:
    new = await call.body(key_bodies.NewKey)
    size, curve, exponent = key_bodies.check_new(new)
    _check_writable(call, "create", new)
    private = material.make(new.kty, size=size, curve=curve, exponent=exponent)
    return answer(_bundle(call, call.name, _made(call, new, new.kty, private, new.key_ops)))


async def _import(call: Call) -> Response:
    given = await call.body(key_bodies.ImportedKey)
    kty, private = key_bodies.read_private(given)
    _check_writable(call, "import", given)
    wanted = given.key.key_ops if given.key is not None else None
    return answer(_bundle(call, call.name, _made(call, given, kty, private, wanted)))


async def _rotate(call: Call) -> Response:
    keys = _shelf(call)
    last = keys.find(call.name)
    _check_own(keys, call.name, "rotate")
    old = material.loaded(last.private)
    private = material.make(last.kty, size=old.key_size, curve=material.curve_of(old))
    made = add(call.world, call.vault, call.name, private, kty=last.kty, operations=last.operations)
    made.tags, made.exportable, made.release_policy = dict(last.tags), last.exportable, dict(last.release_policy)
    expiry = call.vault.rotation.get(call.name.lower(), {}).get("attributes", {}).get("expiryTime")
    if expiry:
        made.expires = key_bodies.later(made.created, expiry)
    return answer(_bundle(call, call.name, made))


async def _update(call: Call) -> Response:
    change = await call.body(key_bodies.KeyChange)
    rules.check(change)
    held = _shelf(call).find(call.name, call.version)
    if held.managed:
        raise errors.certificates_own("keys", "update")
    key_bodies.check_operations(held.kty, change.key_ops)
    if change.release_policy is not None:
        key_bodies.check_exportable(exportable=held.exportable, policy=change.release_policy)
        if held.release_policy.get("immutable"):
            raise errors.bad("AKV.SKR.1020: Immutable Key Release Policy cannot be modified.")
        held.release_policy = msgspec.to_builtins(change.release_policy)
    if change.key_ops is not None:
        held.operations = key_bodies.operations(held.kty, change.key_ops)
    change.applied(held)
    held.updated = call.world.clock.wall()
    return answer(_bundle(call, call.name, held))


async def _delete(call: Call) -> Response:
    keys = _shelf(call)
    _check_own(keys, call.name, "delete")
    keys.delete(call.name)
    return answer(_deleted_bundle(call, call.name))


async def _list(call: Call) -> Response:
    keys = _shelf(call)
    return listed(call, keys.names, lambda name: _item(call, name, keys.live[name][-1]))


async def _versions(call: Call) -> Response:
    keys = _shelf(call)
    return listed(
        call,
        partial(keys.version_names, call.name),
        lambda version: _item(call, call.name, keys.find(call.name, version), f"/{version}"),
    )


async def _get_deleted(call: Call) -> Response:
    return answer(_deleted_bundle(call, call.name))


async def _list_deleted(call: Call) -> Response:
    keys = _shelf(call)
    return listed(
        call,
        keys.gone_names,
        lambda name: {**keys.deletion(name, call.base), **_item(call, name, keys.gone(name).versions[-1])},
    )


async def _recover(call: Call) -> Response:
    keys = _shelf(call)
    if keys.gone(call.name).versions[-1].managed:
        raise errors.certificates_own("keys", "recover")
    return answer(_bundle(call, call.name, keys.recover(call.name)))


async def _purge(call: Call) -> Response:
    keys = _shelf(call)
    if keys.gone(call.name).versions[-1].managed:
        raise errors.certificates_own("keys", "purge")
    keys.purge(call.name)
    call.vault.rotation.pop(call.name.lower(), None)
    return Response(status_code=204)


async def _backup(call: Call) -> Response:
    keys = _shelf(call)
    _check_own(keys, call.name, "backup")
    contents = backups.Contents(
        kind="keys",
        name=keys.spelled(call.name),
        subscription=backups.subscription_of(call),
        keys=keys.versions(call.name),
        policy=call.vault.rotation.get(call.name.lower(), {}),
    )
    return answer(backups.seal(contents))


async def _restore(call: Call) -> Response:
    contents = await backups.unseal(call, "keys")
    keys = _shelf(call)
    backups.check_restorable(keys, contents.name)
    keys.put_back(contents.name, contents.keys)
    if contents.policy:
        call.vault.rotation[contents.name.lower()] = contents.policy
    return answer(_bundle(call, contents.name, contents.keys[-1]))


async def _get_rotation(call: Call) -> Response:
    _shelf(call).versions(call.name)
    return answer(_rotation(call, call.vault.rotation.get(call.name.lower()) or key_bodies.default_rotation()))


async def _set_rotation(call: Call) -> Response:
    policy = (await call.body(key_bodies.RotationPolicy)).wire()
    keys = _shelf(call)
    keys.versions(call.name)
    _check_own(keys, call.name, "setrotationpolicy")
    now = int(call.world.clock.wall().timestamp())
    before = call.vault.rotation.get(call.name.lower(), {}).get("attributes", {})
    policy["attributes"].update(created=before.get("created", now), updated=now)
    call.vault.rotation[call.name.lower()] = policy
    return answer(_rotation(call, policy))


def _shelf(call: Call) -> Shelf[KeyVersion]:
    return shelf(call.world, call.vault)


def _check_own(keys: Shelf[KeyVersion], name: str, operation: str) -> None:
    versions = keys.live.get(name.lower())
    if versions and versions[-1].managed:
        raise errors.certificates_own("keys", operation)


def _check_writable(call: Call, operation: str, given: key_bodies.KeyChange) -> None:
    exportable = bool(given.attributes and given.attributes.exportable)
    key_bodies.check_exportable(exportable=exportable, policy=given.release_policy)
    keys = _shelf(call)
    keys.check_free(call.name)
    _check_own(keys, call.name, operation)


def _made(call: Call, given: key_bodies.KeyChange, kty: str, private: bytes, wanted: list[str] | None) -> KeyVersion:
    operations = tuple(wanted) if wanted is not None else None
    made = add(call.world, call.vault, call.name, private, kty=kty, operations=operations)
    made.exportable = bool(given.attributes and given.attributes.exportable)
    made.release_policy = msgspec.to_builtins(given.release_policy) if given.release_policy is not None else {}
    given.applied(made)
    return made


def _rotation(call: Call, policy: dict[str, object]) -> dict[str, object]:
    return {"id": f"{call.base}/keys/{_shelf(call).spelled(call.name)}/rotationpolicy", **policy}


def _bundle(call: Call, name: str, held: KeyVersion) -> dict[str, object]:
    jwk: dict[str, object] = {
        "kid": f"{call.base}/keys/{_shelf(call).spelled(name)}/{held.version}",
        "kty": held.kty,
        "key_ops": held.operations,
        **material.public_jwk(held.private),
    }
    shown: dict[str, object] = {"key": jwk, **_described(call, held)}
    if held.release_policy:
        shown["release_policy"] = held.release_policy
    return shown


def _item(call: Call, name: str, held: KeyVersion, below: str = "") -> dict[str, object]:
    """A key in a list: its attributes alone."""
    return {"kid": f"{call.base}/keys/{_shelf(call).spelled(name)}{below}", **_described(call, held)}


def _deleted_bundle(call: Call, name: str) -> dict[str, object]:
    keys = _shelf(call)
    return {**keys.deletion(name, call.base), **_bundle(call, name, keys.gone(name).versions[-1])}


def _described(call: Call, held: KeyVersion) -> dict[str, object]:
    attributes = _shelf(call).attributes(held)
    if rules.is_since(call.api_version, "7.3"):
        attributes["exportable"] = held.exportable
    described: dict[str, object] = {"attributes": attributes}
    if held.tags:
        described["tags"] = dict(held.tags)
    if held.managed:
        described["managed"] = True
    return described
