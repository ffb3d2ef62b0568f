"""Pure: names of credentials. Deterministic, readable, at most 120 characters, unique per (cluster, namespace UID, identity).

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


def credential_name(
    cluster: Cluster, namespace_uid: NamespaceUid, namespace: str, service_account: str, identity: IdentityId
) -> str:
    """The one name of this trust on this identity."""
    parts = "\n".join((cluster.id, namespace_uid, namespace, service_account, identity.key))
    digest = base64.b32encode(hashlib.sha256(parts.encode()).digest()).decode().lower()[:_HASH_LENGTH]
    head = f"{PREFIX}{cluster.id}-"
    readable = re.sub(r"[^a-z0-9]+", "-", f"{namespace}-{service_account}".lower())
    space = _LENGTH - len(head) - _HASH_LENGTH - 1
    return f"{head}{readable[:space].strip('-')}-{digest}"


def is_ours(name: str, cluster: Cluster) -> bool:
    """The name carries our prefix and this cluster's id; a second cluster on the same pool has another id."""
    return name.lower().startswith(f"{PREFIX}{cluster.id}-")
