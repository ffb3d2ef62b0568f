"""The operations on certificates and on deleted ones; :mod:`keystead_sandbox.keyvault.issuance` makes new versions.

- Each version has a key and a secret of the same name and version, which come, change and go with it.
- A certificate's secret holds the key too, unless the policy says that it is not exportable.
- Attributes and tags of a version are those of its key and its secret; ``nbf`` and ``exp`` are the certificate's own.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import partial
from typing import Any

from cryptography import x509
from starlette.responses import Response

from keystead_sandbox.keyvault import access, backups, certificate_policies, errors, keys, material, rules, secrets
from keystead_sandbox.keyvault import x509_making as making
from keystead_sandbox.keyvault.call import Call, Cost, Row, answer, listed
from keystead_sandbox.keyvault.state import Shelf, new_version
from keystead_sandbox.resources import CertificateVersion, SecretVersion, Vault
from keystead_sandbox.world import World

_GET = access.certificates("get", "read")
_LIST = access.certificates("list", "read")
_IMPORT = access.certificates("import", "import/action")
_UPDATE = access.certificates("update", "update/action")
_DELETE = access.certificates("delete", "delete")
_RECOVER = access.certificates("recover", "recover/action")
_PURGE = access.certificates("purge", "purge/action")
_BACKUP = access.certificates("backup", "backup/action")
_RESTORE = access.certificates("restore", "restore/action")
_PEM_BEGINS = "-----BEGIN"


def shelf(world: World, vault: Vault) -> Shelf[CertificateVersion]:
    """A vault's certificates."""
    return Shelf(world, vault, "certificates", vault.certificates, vault.deleted_certificates)


def rows() -> list[Row]:
    """The table's rows about certificates as things."""
    return [
        Row("GET", "certificates", _LIST, _list),
        Row("POST", "certificates/restore", _RESTORE, _restore, Cost.CREATE),
        Row("GET", "certificates/{name}", _GET, _get),
        Row("PATCH", "certificates/{name}", _UPDATE, _update),
        Row("DELETE", "certificates/{name}", _DELETE, _delete),
        Row("POST", "certificates/{name}/import", _IMPORT, _import, Cost.CREATE),
        Row("POST", "certificates/{name}/backup", _BACKUP, _backup),
        Row("GET", "certificates/{name}/versions", _LIST, _versions),
        Row("GET", "certificates/{name}/{version}", _GET, _get),
        Row("PATCH", "certificates/{name}/{version}", _UPDATE, _update),
        Row("GET", "deletedcertificates", _LIST, _list_deleted),
        Row("GET", "deletedcertificates/{name}", _GET, _get_deleted),
        Row("DELETE", "deletedcertificates/{name}", _PURGE, _purge),
        Row("POST", "deletedcertificates/{name}/recover", _RECOVER, _recover),
    ]


def check_name_free(world: World, vault: Vault, name: str) -> None:
    """Whether a certificate, and with it a key and a secret, can have this name."""
    shelf(world, vault).check_free(name)
    if name.lower() in vault.certificates:
        return
    for other in (keys.shelf(world, vault), secrets.shelf(world, vault)):
        other.check_free(name)
        if name.lower() in other.live:
            raise errors.taken(other.kind, other.spelled(name))


def begin(world: World, vault: Vault, name: str, private: bytes, change: rules.Change) -> CertificateVersion:
    """A version that has its key and waits for its certificate."""
    now, version = world.clock.wall(), new_version(world, "certificate")
    made = CertificateVersion(version=version, created=now, updated=now)
    change.applied(made)
    key = keys.add(world, vault, name, private, version=version, managed=True)
    key.enabled, key.tags = made.enabled, dict(made.tags)
    return shelf(world, vault).add(name, made)


def finish(world: World, vault: Vault, name: str, held: CertificateVersion, chain: Sequence[bytes]) -> None:
    """Give a version its certificate, and so its secret; the vault's policy for it is there already."""
    policy, own = vault.policies[name.lower()], x509.load_der_x509_certificate(chain[0])
    key = keys.shelf(world, vault).find(name, held.version)
    held.chain = tuple(chain)
    held.not_before, held.expires = own.not_valid_before_utc, own.not_valid_after_utc
    held.updated = world.clock.wall()
    key.not_before, key.expires = held.not_before, held.expires
    secret = SecretVersion(
        version=held.version,
        created=held.created,
        updated=held.updated,
        value=making.secret_text(key.private, chain, policy),
        content_type=policy["secret_props"]["contentType"],
        enabled=held.enabled,
        tags=dict(held.tags),
        not_before=held.not_before,
        expires=held.expires,
        managed=True,
    )
    secrets.shelf(world, vault).add(name, secret)


def find(call: Call) -> CertificateVersion:
    """The version that is asked for; when none is named the newest that is done, or the only one that is not."""
    held = shelf(call.world, call.vault)
    if call.version:
        return held.find(call.name, call.version)
    return _newest(held.versions(call.name))


def bundle(call: Call, name: str, held: CertificateVersion) -> dict[str, object]:
    """A version with its policy."""
    spelled = shelf(call.world, call.vault).spelled(name)
    here = f"{call.base}/certificates/{spelled}"
    shown: dict[str, object] = {"id": f"{here}/{held.version}"}
    if held.chain:
        shown["kid"] = f"{call.base}/keys/{spelled}/{held.version}"
        shown["sid"] = f"{call.base}/secrets/{spelled}/{held.version}"
        shown["x5t"] = _thumbprint(held)
        shown["cer"] = base64.b64encode(held.chain[0]).decode()
    shown.update(_described(call, held))
    shown["policy"] = policy_bundle(call, name)
    if name.lower() in call.vault.pending:
        shown["pending"] = {"id": f"{here}/pending"}
    return shown


def policy_bundle(call: Call, name: str) -> dict[str, object]:
    """A certificate's policy with its id."""
    spelled = shelf(call.world, call.vault).spelled(name)
    return {"id": f"{call.base}/certificates/{spelled}/policy", **call.vault.policies[name.lower()]}


async def _get(call: Call) -> Response:
    return answer(bundle(call, call.name, find(call)))


async def _import(call: Call) -> Response:
    given = await call.body(certificate_policies.ImportedCertificate)
    rules.check(given)
    private, chain, content_type = _read(given)
    certificate = x509.load_der_x509_certificate(chain[0])
    try:
        described = certificate_policies.of_imported(certificate, material.loaded(private), content_type)
    except ValueError:
        raise errors.bad("The certificate's subject or extensions cannot be read.") from None
    now = int(call.world.clock.wall().timestamp())
    base = certificate_policies.completed(described, {}, now)
    policy = certificate_policies.completed(given.policy, base, now)
    check_name_free(call.world, call.vault, call.name)
    pending = call.vault.pending.get(call.name.lower())
    if pending is not None and not shelf(call.world, call.vault).find(call.name, pending.version).chain:
        raise errors.creation_under_way(call.name)
    call.vault.policies[call.name.lower()] = policy
    held = begin(call.world, call.vault, call.name, private, given)
    finish(call.world, call.vault, call.name, held, chain)
    return answer(bundle(call, call.name, held))


async def _update(call: Call) -> Response:
    change = await call.body(certificate_policies.NewCertificate)
    rules.check(change)
    held = find(call)
    now = call.world.clock.wall()
    if change.policy is not None:
        before = call.vault.policies[call.name.lower()]
        call.vault.policies[call.name.lower()] = certificate_policies.completed(
            change.policy, before, int(now.timestamp())
        )
    # The times are the certificate's own, whatever the request says.
    limits = held.not_before, held.expires
    change.applied(held)
    held.not_before, held.expires = limits
    held.updated = now
    for others in (call.vault.keys, call.vault.secrets):
        for other in others.get(call.name.lower(), []):
            if other.version == held.version:
                other.enabled, other.tags, other.updated = held.enabled, dict(held.tags), now
    return answer(bundle(call, call.name, held))


async def _delete(call: Call) -> Response:
    certificates = shelf(call.world, call.vault)
    certificates.delete(call.name)
    for other in _companions(call):
        if call.name.lower() in other.live:
            other.delete(call.name)
    return answer(_deleted_bundle(call, call.name))


async def _list(call: Call) -> Response:
    certificates = shelf(call.world, call.vault)
    pending = call.request.query_params.get("includePending", "").lower() == "true"

    def item(name: str) -> dict[str, object] | None:
        held = _newest(certificates.live[name])
        return _item(call, name, held) if held.chain or pending else None

    return listed(call, certificates.names, item)


async def _versions(call: Call) -> Response:
    certificates = shelf(call.world, call.vault)

    def item(version: str) -> dict[str, object] | None:
        held = certificates.find(call.name, version)
        return _item(call, call.name, held, f"/{held.version}") if held.chain else None

    return listed(call, partial(certificates.version_names, call.name), item)


async def _get_deleted(call: Call) -> Response:
    return answer(_deleted_bundle(call, call.name))


async def _list_deleted(call: Call) -> Response:
    certificates = shelf(call.world, call.vault)
    return listed(
        call,
        certificates.gone_names,
        lambda name: {
            **certificates.deletion(name, call.base),
            **_item(call, name, _newest(certificates.gone(name).versions)),
        },
    )


async def _recover(call: Call) -> Response:
    certificates = shelf(call.world, call.vault)
    certificates.recover(call.name)
    for other in _companions(call):
        if call.name.lower() in other.deleted:
            other.recover(call.name)
    return answer(bundle(call, call.name, find(call)))


async def _purge(call: Call) -> Response:
    shelf(call.world, call.vault).purge(call.name)
    for other in _companions(call):
        if call.name.lower() in other.deleted:
            other.purge(call.name)
    call.vault.policies.pop(call.name.lower(), None)
    call.vault.pending.pop(call.name.lower(), None)
    return Response(status_code=204)


async def _backup(call: Call) -> Response:
    certificates, name = shelf(call.world, call.vault), call.name.lower()
    contents = backups.Contents(
        kind="certificates",
        name=certificates.spelled(name),
        subscription=backups.subscription_of(call),
        certificates=certificates.versions(name),
        keys=call.vault.keys.get(name, []),
        secrets=call.vault.secrets.get(name, []),
        policy=call.vault.policies[name],
    )
    return answer(backups.seal(contents))


async def _restore(call: Call) -> Response:
    contents = await backups.unseal(call, "certificates")
    certificates, name = shelf(call.world, call.vault), contents.name
    for each in (certificates, *_companions(call)):
        backups.check_restorable(each, name)
    certificates.put_back(name, contents.certificates)
    if contents.keys:
        keys.shelf(call.world, call.vault).put_back(name, contents.keys)
    if contents.secrets:
        secrets.shelf(call.world, call.vault).put_back(name, contents.secrets)
    call.vault.policies[name.lower()] = contents.policy
    return answer(bundle(call, name, _newest(contents.certificates)))


def _read(given: certificate_policies.ImportedCertificate) -> tuple[bytes, tuple[bytes, ...], str]:
    """Key, chain and content type: what the policy names, else what the value looks like.

    PEM comes as it is, from azure-cli, and in base64, from the SDKs.
    """
    named = given.policy.secret_props.content_type if given.policy is not None and given.policy.secret_props else None
    octets = given.value.encode() if _PEM_BEGINS in given.value else _from_base64(given.value)
    content_type = named or (
        certificate_policies.PEM if _PEM_BEGINS.encode() in octets else certificate_policies.PKCS12
    )
    form = "PEM" if content_type == certificate_policies.PEM else "PKCS#12"
    try:
        if form == "PEM":
            return *making.read_pem(octets.decode("latin-1"), given.pwd), content_type
        return *making.read_pkcs12(octets, given.pwd), content_type
    except LookupError:
        raise errors.bad(
            "No certificate with private key found in the specified X.509 certificate content. Please specify X.509"
            " certificate content with only one certificate containing private key."
        ) from None
    except ValueError:
        raise errors.bad(
            f"The specified {form} X.509 certificate content can not be read. Please check if certificate is in valid"
            f" {form} format."
        ) from None


def _from_base64(value: str) -> bytes:
    """What *value* says, and nothing when it is no base64: no certificate can be read from that either."""
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        return b""


def _companions(call: Call) -> tuple[Shelf[Any], Shelf[Any]]:
    return keys.shelf(call.world, call.vault), secrets.shelf(call.world, call.vault)


def _newest(versions: Sequence[CertificateVersion]) -> CertificateVersion:
    return next((held for held in reversed(versions) if held.chain), versions[-1])


def _thumbprint(held: CertificateVersion) -> str:
    digest = hashlib.sha1(held.chain[0], usedforsecurity=False).digest()  # "x5t" is SHA-1
    return rules.encoded(digest)


def _item(call: Call, name: str, held: CertificateVersion, below: str = "") -> dict[str, object]:
    """A certificate in a list: its attributes and its thumbprint."""
    shown: dict[str, object] = {"id": f"{call.base}/certificates/{shelf(call.world, call.vault).spelled(name)}{below}"}
    if held.chain:
        shown["x5t"] = _thumbprint(held)
    shown.update(_described(call, held))
    return shown


def _deleted_bundle(call: Call, name: str) -> dict[str, object]:
    certificates = shelf(call.world, call.vault)
    newest = _newest(certificates.gone(name).versions)
    return {**certificates.deletion(name, call.base), **bundle(call, name, newest)}


def _described(call: Call, held: CertificateVersion) -> dict[str, object]:
    attributes = shelf(call.world, call.vault).attributes(held)
    if not held.chain:
        attributes["enabled"] = False
    described: dict[str, object] = {"attributes": attributes}
    if held.tags:
        described["tags"] = dict(held.tags)
    return described
