"""What the server says it serves: discovery, old and aggregated."""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from keystead_sandbox.kube.kinds import Kind
from keystead_sandbox.kube.reviews import REVIEWS

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_STABILITY = re.compile(r"^v(\d+)(?:(alpha|beta)(\d+))?$")


def groups(kinds: Iterable[Kind]) -> dict[str, list[str]]:
    """Versions by group, the core group left out."""
    found: dict[str, list[str]] = defaultdict(list)
    for kind in kinds:
        if kind.group and kind.version not in found[kind.group]:
            found[kind.group].append(kind.version)
    for group, _, _ in REVIEWS:
        if "v1" not in found[group]:
            found[group].append("v1")
    return {name: sorted(versions, key=_rank) for name, versions in found.items()}


def _rank(version: str) -> tuple[int, int, int, str]:
    """Stable versions first, then beta, then alpha, newest first (docs: "Version priority")."""
    found = _STABILITY.match(version)
    if found is None:
        return 3, 0, 0, version
    stage = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return stage, -int(found[1]), -int(found[3] or 0), version


def group_list(kinds: Iterable[Kind]) -> dict[str, Any]:
    """``/apis``."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*each) for each in groups(kinds).items()]}


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    rows = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": rows, "preferredVersion": rows[0]}


def group(kinds: Iterable[Kind], name: str) -> dict[str, Any] | None:
    """``/apis/GROUP``."""
    versions = groups(kinds).get(name)
    return None if versions is None else {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def resources(kinds: Iterable[Kind], name: str, version: str) -> dict[str, Any] | None:
    """``/api/v1`` and ``/apis/GROUP/VERSION``."""
    rows: list[dict[str, Any]] = []
    for kind in sorted(kinds, key=lambda each: each.plural):
        if (kind.group, kind.version) != (name, version):
            continue
        rows.append(
            {
                "name": kind.plural,
                "singularName": kind.singular,
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": list(kind.verbs),
                **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
                **({"categories": list(kind.categories)} if kind.categories else {}),
            }
        )
        rows += [
            {
                "name": f"{kind.plural}/{sub}",
                "singularName": "",
                "namespaced": kind.namespaced,
                **({"group": "autoscaling", "version": "v1"} if sub == "scale" else {}),
                "kind": what,
                "verbs": verbs,
            }
            for sub, what, verbs in _subresources(kind)
        ]
    for review_group, review, plural in REVIEWS:
        if (review_group, "v1") == (name, version):
            local = review.startswith("Local")
            head = {"name": plural, "singularName": review.lower(), "namespaced": local}
            rows.append({**head, "kind": review, "verbs": ["create"]})
    if not rows:
        return None
    group_version = f"{name}/{version}" if name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows}


def _subresources(kind: Kind) -> list[tuple[str, str, list[str]]]:
    found = [("status", kind.kind, ["get", "patch", "update"])] if kind.status else []
    if kind.scale:
        found.append(("scale", "Scale", ["get", "patch", "update"]))
    if kind.key == ("", "serviceaccounts"):
        found.append(("token", "TokenRequest", ["create"]))
    if kind.key == ("", "namespaces"):
        found.append(("finalize", "Namespace", ["update"]))
    return found


def aggregated(kinds: list[Kind], *, core: bool) -> dict[str, Any]:
    """``/api`` and ``/apis`` in one answer each."""
    found = {"": ["v1"]} if core else groups(kinds)
    items = []
    for name, versions in found.items():
        rows = [
            {"version": version, "freshness": "Current", "resources": _aggregated_rows(kinds, name, version)}
            for version in versions
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": rows})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated_rows(kinds: list[Kind], name: str, version: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    listed = resources(kinds, name, version) or {"resources": []}
    for each in listed["resources"]:
        parent, _, sub = each["name"].partition("/")
        kind = {"group": name, "version": version, "kind": each["kind"]}
        kind |= {key: each[key] for key in ("group", "version") if key in each}
        if sub:
            rows[-1].setdefault("subresources", []).append(
                {"subresource": sub, "responseKind": kind, "verbs": each["verbs"]}
            )
            continue
        rows.append(
            {
                "resource": parent,
                "responseKind": kind,
                "scope": "Namespaced" if each["namespaced"] else "Cluster",
                "singularResource": each["singularName"],
                "verbs": each["verbs"],
                **{key: each[key] for key in ("shortNames", "categories") if key in each},
            }
        )
    return rows
