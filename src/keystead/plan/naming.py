"""Pure: names of credentials: deterministic, readable, at most 120 characters, unique per namespace UID and identity.

A Federation that records an adopted credential has a name of the same kind, with the credential's own name in its
digest: it stands beside the one for a credential of ours, and beside that for the same credential under another name.

Azure allows 3 to 120 characters of letters, digits, hyphen and underscore; the same name is the Federation's, so it is
a Kubernetes name too: lower case, no underscore.
"""

import base64
import hashlib
import re

from keystead.model.ids import IdentityId, NamespaceUid
from keystead.model.records import Cluster

PREFIX = "ks-"
_HASH_LENGTH = 26
_LENGTH = 120
_DIGEST = re.compile(rf"^[a-z2-7]{{{_HASH_LENGTH}}}\Z")  # lower-case base32
_KEYSTEADS = re.compile(rf"^{PREFIX}[0-9a-f]{{8}}-.+-[a-z2-7]{{{_HASH_LENGTH}}}\Z")


def credential_name(
    cluster: Cluster,
    namespace_uid: NamespaceUid,
    namespace: str,
    service_account: str,
    identity: IdentityId,
    held_as: str = "",
) -> str:
    """The one name of this trust on this identity; *held_as* is the name that an adopted credential has in Azure."""
    parts = "\n".join((cluster.id, namespace_uid, namespace, service_account, identity.key))
    if held_as:
        parts += f"\n{held_as.lower()}"
    digest = base64.b32encode(hashlib.sha256(parts.encode()).digest()).decode().lower()[:_HASH_LENGTH]
    return _stem(cluster, namespace, service_account) + digest


def is_ours(name: str, cluster: Cluster) -> bool:
    """The name carries our prefix and this cluster's id; a second cluster on the same pool has another id."""
    return name.lower().startswith(f"{PREFIX}{cluster.id}-")


def is_keysteads(name: str) -> bool:
    """The name is one that some cluster's Keystead would give: this one's or another's."""
    return _KEYSTEADS.match(name.lower()) is not None


def fits(name: str, cluster: Cluster, namespace: str, service_account: str) -> bool:
    """The name is one that we would give to this account, under some UID of its namespace and on some identity."""
    stem = _stem(cluster, namespace, service_account)
    return name.lower().startswith(stem) and _DIGEST.match(name.lower()[len(stem) :]) is not None


def _stem(cluster: Cluster, namespace: str, service_account: str) -> str:
    head = f"{PREFIX}{cluster.id}-"
    readable = re.sub(r"[^a-z0-9]+", "-", f"{namespace}-{service_account}".lower())
    space = _LENGTH - len(head) - _HASH_LENGTH - 1
    return f"{head}{readable[:space].strip('-')}-"
