"""The official client's SharedInformer, one for each kind: a thread each, and a cache of typed objects (claims: dicts)."""

import importlib
import sys
import threading
from types import SimpleNamespace
from typing import Any

from meter import Meter


def main(server: str, objects: int, burst: int) -> None:
    kubernetes: Any = importlib.import_module("kubernetes")
    informer: Any = importlib.import_module("kubernetes.informer")
    configuration = kubernetes.client.Configuration()
    configuration.host = server
    configuration.verify_ssl = False
    api = kubernetes.client.ApiClient(configuration)
    core, custom = kubernetes.client.CoreV1Api(api), kubernetes.client.CustomObjectsApi(api)
    meter, turn, done = Meter(server, objects, burst), threading.Lock(), threading.Event()

    def arrived(kind: str, item: Any) -> None:
        metadata = item["metadata"] if isinstance(item, dict) else item.metadata.to_dict()
        with turn:
            meter.arrived((kind, metadata.get("namespace") or "", metadata["name"]))
            if meter.is_done:
                done.set()

    def claims(**how: Any) -> Any:
        answer = custom.list_cluster_custom_object("keystead.dev", "v1alpha1", "vaultclaims", **how)
        if how.get("watch"):
            return answer
        version = SimpleNamespace(resource_version=answer["metadata"]["resourceVersion"])
        return SimpleNamespace(items=answer["items"], metadata=version)  # the informer takes no plain dict

    for kind, function in (
        ("Namespace", core.list_namespace),
        ("ServiceAccount", core.list_service_account_for_all_namespaces),
        ("VaultClaim", claims),
    ):
        each = informer.SharedInformer(list_func=function)
        for type_ in ("ADDED", "MODIFIED"):
            each.add_event_handler(type_, lambda item, kind=kind: arrived(kind, item))
        each.start()
    done.wait(300)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
