"""What identifies this cluster: the issuer that its API server signs into tokens, and an id of eight characters."""

import hashlib

from keystead.kube.client import Api
from keystead.model.errors import Refused
from keystead.model.reasons import Reason
from keystead.model.records import Cluster

_ID_LENGTH = 8


async def read_cluster(api: Api, *, issuer: str = "") -> Cluster:
    """The cluster; *issuer* overrides what the API server publishes. Refused when it publishes none."""
    system = await api.get("/api/v1/namespaces/kube-system")
    if system is None:
        raise Refused(Reason.KUBERNETES_REFUSED, "namespace kube-system is missing: its UID is the cluster's identity")
    if not issuer:
        published = await api.get("/.well-known/openid-configuration")
        issuer = str((published or {}).get("issuer") or "")
    if not issuer:
        raise Refused(
            Reason.KUBERNETES_REFUSED,
            "the API server publishes no token issuer at /.well-known/openid-configuration; set KEYSTEAD_ISSUER to the "
            "value of its --service-account-issuer",
        )
    # Not from the issuer: two clusters that share one must never sweep each other's credentials.
    digest = hashlib.sha256(system["metadata"]["uid"].encode()).hexdigest()
    return Cluster(digest[:_ID_LENGTH], issuer)
