"""Grants that for a while only observe, or retain what they have given, while namespaces and claims come and go.

Their chance is drawn apart, so that stories without them stay what they were.
"""

import random
from typing import Any

_WILFUL = 0.2  # of the stories
_WILLS: tuple[dict[str, Any], ...] = ({"observeOnly": True}, {"revocation": "Retain"})
_KNOWN = 20.0  # seconds after which every operator must have heard of it


def events(
    seed: int, length: float, grants: list[str], names: list[str], clusters: int
) -> list[tuple[float, str, str, int, Any]]:
    """When, what, on what, in which cluster, and how."""
    chance = random.Random(f"will/{seed}")  # noqa: S311 - a seed makes it repeat
    if chance.random() > _WILFUL:
        return []
    grant, place, at = chance.choice(grants), chance.randrange(clusters), chance.uniform(20.0, length / 2)
    found: list[tuple[float, str, str, int, Any]] = [(at, "write_grant", grant, place, chance.choice(_WILLS))]
    for name in names:
        deed, moment = chance.choice(("delete_claim", "delete_namespace", "make_namespace")), chance.uniform(at, length)
        given = {"make_namespace": {"labels": {"team": grant}}, "delete_claim": {"name": grant}}.get(deed, {})
        found.append((moment + _KNOWN, deed, name, place, given))
    if chance.random() < 0.4:
        found.append((length, "write_grant", grant, place, {"observeOnly": False}))
    return [(round(moment, 2), *rest) for moment, *rest in found if moment <= length]
