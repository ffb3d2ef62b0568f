"""Pure: which identity a request means, and whether it is a request at all.

Sources: "How to use managed identities on a VM to acquire an access token", the metadata service's reference (header,
api-version, ``X-Forwarded-For``), and its limit of 20 requests per second (that of five at a
time cannot be met here: answers take no time).
"""

from collections.abc import Mapping, Sequence

from keystead_sandbox.buckets import Limit
from keystead_sandbox.clouds import Cloud
from keystead_sandbox.entra import rules as entra
from keystead_sandbox.entra.errors import RefusedError as EntraRefusedError
from keystead_sandbox.imds import errors
from keystead_sandbox.resources import Identity

VERSIONS = (
    "2018-02-01",
    "2018-04-02",
    "2018-10-01",
    "2019-02-01",
    "2019-03-11",
    "2019-04-30",
    "2019-06-01",
    "2019-06-04",
    "2019-08-01",
    "2019-08-15",
    "2019-11-01",
    "2020-06-01",
    "2020-07-15",
    "2020-09-01",
    "2020-10-01",
    "2020-12-01",
    "2021-01-01",
    "2021-02-01",
    "2021-03-01",
    "2021-05-01",
    "2021-10-01",
    "2021-11-01",
    "2021-12-13",
    "2023-07-01",
    "2023-11-15",
    "2024-03-15",
    "2025-04-07",
)
LIMIT = Limit(capacity=20, refill=20)
_NEWEST = VERSIONS[-1:-4:-1]
_NAMES = {
    "client_id": "client_id",
    "object_id": "object_id",
    "principal_id": "object_id",
    "msi_res_id": "msi_res_id",
    "mi_res_id": "msi_res_id",
}


def check_request(headers: Mapping[str, str], query: Mapping[str, str]) -> None:
    """Only requests of this machine, in a version that there is."""
    if headers.get("metadata", "").lower() != "true":
        raise errors.no_header()
    if "x-forwarded-for" in headers:
        raise errors.forwarded()
    version = query.get("api-version", "")
    if not version:
        raise errors.no_version(_NEWEST)
    if version not in VERSIONS:
        raise errors.bad_version(version, _NEWEST)
    if not query.get("resource"):
        raise errors.no_resource()


def resource_of(query: Mapping[str, str], tenant: str, cloud: Cloud) -> str:
    """The resource that a token is asked for, as the client spelled it."""
    resource = query["resource"]
    try:
        return entra.known_resource(resource, tenant=tenant, cloud=cloud)
    except EntraRefusedError:
        raise errors.unknown_resource(resource[:600], tenant) from None


def chosen(query: Mapping[str, str], attached: Sequence[Identity]) -> Identity:
    """The identity that the request names, or the only one there is."""
    wanted = {_NAMES[name]: value.lower() for name, value in query.items() if name in _NAMES and value}
    if len(wanted) > 1:
        raise errors.two_names()
    if not wanted:
        if len(attached) > 1:
            raise errors.ambiguous()
        if not attached:
            raise errors.not_found()
        return attached[0]
    ((name, value),) = wanted.items()
    for identity in attached:
        known = {
            "client_id": identity.client_id,
            "object_id": identity.principal_id,
            "msi_res_id": identity.resource_id.lower(),
        }
        if known[name] == value:
            return identity
    raise errors.not_found()
