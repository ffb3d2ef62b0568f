"""The operations on secrets and on deleted ones.

- Only the body of a get or a set carries a value.
- A disabled version is listed but not read; ``nbf`` and ``exp`` only inform: a get works outside them ("About Azure
  Key Vault secrets": date-time controlled operations).
- The secret of a certificate says so (``managed``, ``kid``) and is changed by the certificate alone.
"""

from functools import partial

from starlette.responses import Response

from keystead_sandbox.keyvault import access, backups, errors, rules
from keystead_sandbox.keyvault.call import Call, Cost, Row, answer, listed
from keystead_sandbox.keyvault.state import Shelf
from keystead_sandbox.resources import SecretVersion, Vault
from keystead_sandbox.world import World

_GET = access.secrets("get", "getSecret/action")
_LIST = access.secrets("list", "readMetadata/action")
_READ_DELETED = access.secrets("get", "readMetadata/action")
_SET = access.secrets("set", "setSecret/action")
_UPDATE = access.secrets("set", "update/action")
_DELETE = access.secrets("delete", "delete")
_RECOVER = access.secrets("recover", "recover/action")
_PURGE = access.secrets("purge", "purge/action")
_BACKUP = access.secrets("backup", "backup/action")
_RESTORE = access.secrets("restore", "restore/action")


def shelf(world: World, vault: Vault) -> Shelf[SecretVersion]:
    """A vault's secrets."""
    return Shelf(world, vault, "secrets", vault.secrets, vault.deleted)


def rows() -> list[Row]:
    """The table's rows about secrets."""
    return [
        Row("GET", "secrets", _LIST, _list),
        Row("POST", "secrets/restore", _RESTORE, _restore, Cost.SET),
        Row("GET", "secrets/{name}", _GET, _get),
        Row("PUT", "secrets/{name}", _SET, _set, Cost.SET),
        Row("PATCH", "secrets/{name}", _UPDATE, _update),
        Row("DELETE", "secrets/{name}", _DELETE, _delete),
        Row("GET", "secrets/{name}/versions", _LIST, _versions),
        Row("POST", "secrets/{name}/backup", _BACKUP, _backup),
        Row("GET", "secrets/{name}/{version}", _GET, _get),
        Row("PATCH", "secrets/{name}/{version}", _UPDATE, _update),
        Row("GET", "deletedsecrets", _LIST, _list_deleted),
        Row("GET", "deletedsecrets/{name}", _READ_DELETED, _get_deleted),
        Row("DELETE", "deletedsecrets/{name}", _PURGE, _purge),
        Row("POST", "deletedsecrets/{name}/recover", _RECOVER, _recover),
    ]


async def _get(call: Call) -> Response:
    held = _shelf(call).find(call.name, call.version)
    if not held.enabled:
        raise errors.disabled("secrets", "get")
    return answer(_bundle(call, call.name, held, value=True))


async def _set(call: Call) -> Response:
    new = rules.read_new(await call.octets())
    secrets = _shelf(call)
    secrets.check_free(call.name)
    _check_own(secrets, call.name, "set")
    made = call.world.set_secret(call.vault, call.name, new.value or "")
    made.content_type = new.content_type or ""
    new.applied(made)
    return answer(_bundle(call, call.name, made, value=True))


async def _update(call: Call) -> Response:
    change = await call.body(rules.SecretChange)
    rules.check_secret(change)
    held = _shelf(call).find(call.name, call.version)
    if held.managed:
        raise errors.certificates_own("secrets", "update")
    if change.content_type is not None:
        held.content_type = change.content_type
    change.applied(held)
    held.updated = call.world.clock.wall()
    return answer(_bundle(call, call.name, held, value=False))


async def _delete(call: Call) -> Response:
    secrets = _shelf(call)
    _check_own(secrets, call.name, "delete")
    secrets.delete(call.name)
    return answer(_deleted_bundle(call, call.name))


async def _list(call: Call) -> Response:
    secrets = _shelf(call)
    return listed(call, secrets.names, lambda name: _item(call, name, secrets.live[name][-1]))


async def _versions(call: Call) -> Response:
    secrets = _shelf(call)
    return listed(
        call,
        partial(secrets.version_names, call.name),
        lambda version: _bundle(call, call.name, secrets.find(call.name, version), value=False),
    )


async def _get_deleted(call: Call) -> Response:
    return answer(_deleted_bundle(call, call.name))


async def _list_deleted(call: Call) -> Response:
    secrets = _shelf(call)
    return listed(
        call,
        secrets.gone_names,
        lambda name: {**secrets.deletion(name, call.base), **_item(call, name, secrets.gone(name).versions[-1])},
    )


async def _recover(call: Call) -> Response:
    secrets = _shelf(call)
    if secrets.gone(call.name).versions[-1].managed:
        raise errors.certificates_own("secrets", "recover")
    return answer(_bundle(call, call.name, secrets.recover(call.name), value=False))


async def _purge(call: Call) -> Response:
    secrets = _shelf(call)
    if secrets.gone(call.name).versions[-1].managed:
        raise errors.certificates_own("secrets", "purge")
    secrets.purge(call.name)
    return Response(status_code=204)


async def _backup(call: Call) -> Response:
    secrets = _shelf(call)
    _check_own(secrets, call.name, "backup")
    versions = secrets.versions(call.name)
    contents = backups.Contents(
        kind="secrets", name=secrets.spelled(call.name), subscription=backups.subscription_of(call), secrets=versions
    )
    return answer(backups.seal(contents))


async def _restore(call: Call) -> Response:
    contents = await backups.unseal(call, "secrets")
    secrets = _shelf(call)
    backups.check_restorable(secrets, contents.name)
    secrets.put_back(contents.name, contents.secrets)
    return answer(_bundle(call, contents.name, contents.secrets[-1], value=False))


def _shelf(call: Call) -> Shelf[SecretVersion]:
    return shelf(call.world, call.vault)


def _check_own(secrets: Shelf[SecretVersion], name: str, operation: str) -> None:
    versions = secrets.live.get(name.lower())
    if versions and versions[-1].managed:
        raise errors.certificates_own("secrets", operation)


def _bundle(call: Call, name: str, held: SecretVersion, *, value: bool) -> dict[str, object]:
    """A version; the value only where *value* says so."""
    shown: dict[str, object] = {"value": held.value} if value else {}
    spelled = _shelf(call).spelled(name)
    shown["id"] = f"{call.base}/secrets/{spelled}/{held.version}"
    shown.update(_described(call, held))
    if held.managed:
        shown["kid"] = f"{call.base}/keys/{spelled}/{held.version}"
    return shown


def _item(call: Call, name: str, newest: SecretVersion) -> dict[str, object]:
    """A secret in a list: its newest version's attributes, and an id without a version."""
    return {"id": f"{call.base}/secrets/{_shelf(call).spelled(name)}", **_described(call, newest)}


def _deleted_bundle(call: Call, name: str) -> dict[str, object]:
    """A deleted secret, with its newest version's id."""
    secrets = _shelf(call)
    return {
        **secrets.deletion(name, call.base),
        **_bundle(call, name, secrets.gone(name).versions[-1], value=False),
    }


def _described(call: Call, held: SecretVersion) -> dict[str, object]:
    described: dict[str, object] = {"contentType": held.content_type} if held.content_type else {}
    if held.managed:
        described["managed"] = True
    described["attributes"] = _shelf(call).attributes(held)
    if held.tags:
        described["tags"] = dict(held.tags)
    return described
