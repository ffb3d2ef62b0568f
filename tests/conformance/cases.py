"""Cases as data: requests to a cluster, one after the other.

A step has one verb (``GET``, ``POST``, ``PUT``, ``PATCH``, ``DELETE``, ``WATCH``) with a path, and may have

- ``body``, ``text`` (a raw body), ``type`` (``merge``, ``json``, ``strategic``, ``apply`` or a content type),
- ``as`` (a context of the kubeconfig), ``token``, ``headers``,
- ``keep``: names for places in the answer, used as ``${name}`` in later steps,
- ``events``: how many a watch waits for,
- ``until`` (a status, or a mapping of places to values): ask again until it is so; such an answer is not compared,
- ``varies``: places that differ from run to run, on a real cluster too,
- ``quiet``: the answer is not compared, since another case does.
- ``unlike``: the row of docs/fidelity/kube.yaml that says why the embedded server answers otherwise, with ``but``, the
  places that differ (the whole answer when there are none).

``$ns`` is the case's own namespace, ``$n`` a word of its own, and the rest of ``$`` words are in :data:`WORDS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
WORDS = {
    "$core": "/api/v1/namespaces/$ns",
    "$widgets": "/apis/conformance.example.org/v1/namespaces/$ns/widgets",
    "$gadgets": "/apis/conformance.example.org/v1/gadgets",
    "$crds": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "$rbac": "/apis/rbac.authorization.k8s.io/v1",
    "$roles": "/apis/rbac.authorization.k8s.io/v1/namespaces/$ns",
    "$leases": "/apis/coordination.k8s.io/v1/namespaces/$ns/leases",
    "$events": "/apis/events.k8s.io/v1/namespaces/$ns/events",
    "$authz": "/apis/authorization.k8s.io/v1",
    "$authn": "/apis/authentication.k8s.io/v1",
    "$policies": "/apis/admissionregistration.k8s.io/v1",
    "$large": "x" * 1_100_000,
    "$larger": "x" * 1_700_000,
    "$largest": "x" * 3_200_000,
}
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "WATCH")


@dataclass(frozen=True, slots=True)
class Case:
    """A sentence, and the requests that show it."""

    area: str
    name: str
    steps: tuple[Mapping[str, Any], ...]

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def areas() -> list[str]:
    return sorted(path.stem for path in (HERE / "cases").glob("*.yaml"))


def load(area: str) -> list[Case]:
    """The cases of one area, in order."""
    found = yaml.safe_load((HERE / "cases" / f"{area}.yaml").read_text())
    return [Case(area, each["case"], tuple(each["steps"])) for each in found]


def filled(value: Any, words: Mapping[str, str]) -> Any:
    """*value* with its ``$`` words replaced; a string that is one kept word becomes what was kept."""
    if isinstance(value, dict):
        return {filled(key, words): filled(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(each, words) for each in value]
    if not isinstance(value, str) or "$" not in value:
        return value
    if value.startswith("${") and value in words:
        return words[value]
    for _ in range(2):  # a word may stand for a path with words in it
        for word in sorted(words, key=len, reverse=True):
            value = value.replace(word, str(words[word]))
    return value
