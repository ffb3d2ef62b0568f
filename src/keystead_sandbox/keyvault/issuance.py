"""How certificates come to be: creation, its pending operation, merging; policies, contacts and issuers.

- An issuer ``Self`` signs at once: the creation is answered as in progress, and is done by the next request, where Azure
  takes seconds. ``Unknown``, and every issuer that the vault has, waits until the signed certificate is merged.
- While a creation waits, another one, or an import, is a conflict ("Monitor and manage certificate creation").
- An issuer's password is taken and forgotten: nobody is called.
"""

import base64
import binascii
from typing import Any

import msgspec
from cryptography import x509
from starlette.responses import Response

from keystead_sandbox.keyvault import access, certificate_policies, certificates, errors, keys, material, rules
from keystead_sandbox.keyvault import x509_making as making
from keystead_sandbox.keyvault.call import Call, Cost, Row, answer, paged
from keystead_sandbox.resources import Pending

_CREATE = access.certificates("create", "create/action")
_GET = access.certificates("get", "read")
_UPDATE = access.certificates("update", "update/action")
_CONTACTS = access.certificates("managecontacts", "write", "certificatecontacts")
_LIST_ISSUERS = access.certificates("listissuers", "read", "certificatecas")
_GET_ISSUER = access.certificates("getissuers", "read", "certificatecas")
_SET_ISSUER = access.certificates("setissuers", "write", "certificatecas")
_DELETE_ISSUER = access.certificates("deleteissuers", "delete", "certificatecas")
_WAITING = {
    certificate_policies.UNKNOWN: "Pending certificate created. Please Perform Merge to complete the request.",
}
_SLOW = (
    "Pending certificate created. Certificate request is in progress. This may take some time based on the issuer"
    " provider. Please check again later."
)
_POLL = 10  # seconds


class _Merged(rules.Change, frozen=True):
    x5c: list[str] = msgspec.field(default_factory=list)


class _Cancellation(msgspec.Struct, frozen=True):
    cancellation_requested: bool


class _Contact(msgspec.Struct, frozen=True, omit_defaults=True):
    email: str
    name: str | None = None
    phone: str | None = None


class _Contacts(msgspec.Struct, frozen=True):
    contacts: list[_Contact]


class _Credentials(msgspec.Struct, frozen=True, omit_defaults=True):
    account_id: str | None = None


class _Issuer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The password in the credentials is not even read."""

    provider: str | None = None
    credentials: _Credentials | None = None
    org_details: dict[str, Any] | None = None
    attributes: rules.Attributes | None = None


def rows() -> list[Row]:
    """The table's rows about what certificates are made with."""
    return [
        Row("POST", "certificates/{name}/create", _CREATE, _create, Cost.CREATE),
        Row("GET", "certificates/{name}/pending", _GET, _get_pending),
        Row("PATCH", "certificates/{name}/pending", _UPDATE, _cancel),
        Row("DELETE", "certificates/{name}/pending", _UPDATE, _delete_pending),
        Row("POST", "certificates/{name}/pending/merge", _CREATE, _merge, Cost.CREATE),
        Row("GET", "certificates/{name}/policy", _GET, _get_policy),
        Row("PATCH", "certificates/{name}/policy", _UPDATE, _update_policy),
        Row("GET", "certificates/contacts", _CONTACTS, _get_contacts),
        Row("PUT", "certificates/contacts", _CONTACTS, _set_contacts),
        Row("DELETE", "certificates/contacts", _CONTACTS, _delete_contacts),
        Row("GET", "certificates/issuers", _LIST_ISSUERS, _list_issuers),
        Row("GET", "certificates/issuers/{issuer}", _GET_ISSUER, _get_issuer),
        Row("PUT", "certificates/issuers/{issuer}", _SET_ISSUER, _set_issuer),
        Row("PATCH", "certificates/issuers/{issuer}", _SET_ISSUER, _update_issuer),
        Row("DELETE", "certificates/issuers/{issuer}", _DELETE_ISSUER, _delete_issuer),
    ]


# Creation ----------------------------------------------------------------------------------------------------------


async def _create(call: Call) -> Response:
    given, name = await call.body(certificate_policies.NewCertificate), call.name.lower()
    rules.check(given)
    before, now = call.vault.policies.get(name, {}), call.world.clock.wall()
    if given.policy is None and not before:
        raise rules.invalid("policy")
    policy = certificate_policies.completed(given.policy, before, int(now.timestamp()))
    issuer = str(policy["issuer"]["name"])
    if issuer.lower() in ("self", "unknown"):
        issuer = policy["issuer"]["name"] = issuer.capitalize()
    elif issuer.lower() not in call.vault.issuers:
        raise errors.bad("The issuer of the policy is neither Self nor Unknown, nor one of the vault's.")
    certificates.check_name_free(call.world, call.vault, call.name)
    waiting = call.vault.pending.get(name)
    if waiting is not None and name in call.vault.certificates and not _is_done(call, waiting):
        raise errors.creation_under_way(call.name)
    private = _key_for(call, policy)
    try:
        request = making.request(private, policy)
        chain = [making.self_signed(private, policy, now)] if issuer == certificate_policies.SELF else []
    except ValueError:
        raise rules.invalid("policy.x509_props") from None
    call.vault.policies[name] = policy
    held = certificates.begin(call.world, call.vault, call.name, private, given)
    pending = Pending(held.version, issuer, request, call.world.new_id("request").replace("-", ""))
    call.vault.pending[name] = pending
    response = answer(_operation(call, pending, done=False), 202)
    if chain:
        certificates.finish(call.world, call.vault, call.name, held, chain)
    response.headers["Location"] = (
        f"{_here(call)}/pending?api-version={call.api_version}&request_id={pending.request_id}"
    )
    response.headers["Retry-After"] = str(_POLL)
    return response


def _key_for(call: Call, policy: dict[str, Any]) -> bytes:
    """A new key, or the last one where the policy says so."""
    wanted = policy["key_props"]
    versions = call.vault.keys.get(call.name.lower())
    if wanted["reuse_key"] and versions:
        return versions[-1].private
    return material.make(wanted["kty"], size=wanted.get("key_size", 2048), curve=wanted.get("crv", "P-256"))


async def _get_pending(call: Call) -> Response:
    pending = _pending(call)
    done = _is_done(call, pending)
    response = answer(_operation(call, pending, done=done))
    if not done:
        response.headers["Retry-After"] = str(_POLL)
    return response


async def _cancel(call: Call) -> Response:
    wanted = (await call.body(_Cancellation)).cancellation_requested
    pending = _pending(call)
    done = _is_done(call, pending)
    if not done:
        pending.cancelled = wanted
    return answer(_operation(call, pending, done=done))


async def _delete_pending(call: Call) -> Response:
    pending = _pending(call)
    shown = _operation(call, pending, done=_is_done(call, pending))
    del call.vault.pending[call.name.lower()]
    return answer(shown)


async def _merge(call: Call) -> Response:
    given = await call.body(_Merged)
    rules.check(given)
    pending = _pending(call)
    held = certificates.shelf(call.world, call.vault).find(call.name, pending.version)
    if held.chain:
        raise errors.pending_not_found(call.name)
    chain = _chain(given.x5c)
    private = keys.shelf(call.world, call.vault).find(call.name, pending.version).private
    own = next((each for each in chain if making.belongs(private, [each])), None)
    if own is None:
        raise errors.bad("The public key of the end-entity certificate is not that of the pending request.")
    given.applied(held)
    certificates.finish(call.world, call.vault, call.name, held, [own, *(each for each in chain if each != own)])
    return answer(certificates.bundle(call, call.name, held), 201)


def _chain(given: list[str]) -> list[bytes]:
    try:
        chain = [base64.b64decode(each, validate=True) for each in given]
        for each in chain:
            x509.load_der_x509_certificate(each)
    except (binascii.Error, ValueError):
        raise rules.invalid("x5c") from None
    if not chain:
        raise rules.invalid("x5c")
    return chain


def _pending(call: Call) -> Pending:
    pending = call.vault.pending.get(call.name.lower())
    if pending is None or call.name.lower() not in call.vault.certificates:
        raise errors.pending_not_found(call.name)
    return pending


def _is_done(call: Call, pending: Pending) -> bool:
    return bool(certificates.shelf(call.world, call.vault).find(call.name, pending.version).chain)


def _operation(call: Call, pending: Pending, *, done: bool) -> dict[str, object]:
    shown: dict[str, object] = {
        "id": f"{_here(call)}/pending",
        "issuer": {"name": pending.issuer},
        "csr": base64.b64encode(pending.request).decode(),
        "cancellation_requested": pending.cancelled,
        "status": "completed" if done else "cancelled" if pending.cancelled else "inProgress",
    }
    if done:
        shown["target"] = _here(call)
    elif not pending.cancelled:
        shown["status_details"] = _WAITING.get(pending.issuer, _SLOW)
    shown["request_id"] = pending.request_id
    return shown


def _here(call: Call) -> str:
    spelled = certificates.shelf(call.world, call.vault).spelled(call.name)
    return f"{call.base}/certificates/{spelled}"


# Policies ----------------------------------------------------------------------------------------------------------


async def _get_policy(call: Call) -> Response:
    certificates.shelf(call.world, call.vault).versions(call.name)
    return answer(certificates.policy_bundle(call, call.name))


async def _update_policy(call: Call) -> Response:
    given, name = await call.body(certificate_policies.Policy), call.name.lower()
    certificates.shelf(call.world, call.vault).versions(call.name)
    now = int(call.world.clock.wall().timestamp())
    call.vault.policies[name] = certificate_policies.completed(given, call.vault.policies[name], now)
    return answer(certificates.policy_bundle(call, call.name))


# Contacts and issuers ----------------------------------------------------------------------------------------------


async def _get_contacts(call: Call) -> Response:
    return answer(_contacts(call))


async def _set_contacts(call: Call) -> Response:
    given = await call.body(_Contacts)
    call.vault.contacts = [msgspec.to_builtins(contact) for contact in given.contacts]
    return answer(_contacts(call))


async def _delete_contacts(call: Call) -> Response:
    shown = _contacts(call)
    call.vault.contacts = []
    return answer(shown)


def _contacts(call: Call) -> dict[str, object]:
    if not call.vault.contacts:
        raise errors.contacts_not_found()
    return {"id": f"{call.base}/certificates/contacts", "contacts": call.vault.contacts}


async def _list_issuers(call: Call) -> Response:
    def page(after: str, size: int) -> tuple[list[dict[str, object]], str]:
        rest = [name for name in sorted(call.vault.issuers) if name > after]
        items: list[dict[str, object]] = [
            {"id": _issuer(call, name)["id"], "provider": call.vault.issuers[name].get("provider", "")}
            for name in rest[:size]
        ]
        return items, rest[size - 1] if len(rest) > size else ""

    return paged(call, page)


async def _get_issuer(call: Call) -> Response:
    return answer(_issuer(call, call.name))


async def _set_issuer(call: Call) -> Response:
    given = await call.body(_Issuer)
    if not given.provider:
        raise rules.invalid("provider")
    return _written(call, given, {})


async def _update_issuer(call: Call) -> Response:
    given = await call.body(_Issuer)
    _issuer(call, call.name)
    return _written(call, given, call.vault.issuers[call.name.lower()])


async def _delete_issuer(call: Call) -> Response:
    shown = _issuer(call, call.name)
    del call.vault.issuers[call.name.lower()]
    return answer(shown)


def _written(call: Call, given: _Issuer, before: dict[str, Any]) -> Response:
    now = int(call.world.clock.wall().timestamp())
    told = {name: value for name, value in msgspec.to_builtins(given).items() if value is not None}
    enabled = given.attributes.enabled if given.attributes is not None else None
    earlier = before.get("attributes", {"enabled": True, "created": now})
    told["attributes"] = {**earlier, **({"enabled": enabled} if enabled is not None else {}), "updated": now}
    call.vault.issuers[call.name.lower()] = {"name": call.name, **before, **told}
    return answer(_issuer(call, call.name))


def _issuer(call: Call, name: str) -> dict[str, object]:
    held = call.vault.issuers.get(name.lower())
    if held is None:
        raise errors.issuer_not_found(name)
    shown = {key: value for key, value in held.items() if key != "name"}
    return {"id": f"{call.base}/certificates/issuers/{held['name']}", **shown}
