"""The guards on a real API server: the same writes as on the embedded one, and no complaint about their types."""

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from guards.cases import CASES, CLAIM_STATUS, FIRST, LAST, OURS, SET_UP, SHOP, Case
from keystead.kube.guards import manifests
from real_world import Session, checked

pytestmark = pytest.mark.real
_MERGE, _APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
_PATIENCE = 120.0  # wall seconds
_POLICIES = "/apis/admissionregistration.k8s.io/v1"


def _path(item: dict[str, Any]) -> str:
    group, kind, metadata = item["apiVersion"], item["kind"], item["metadata"]
    plural = f"{kind.lower().removesuffix('y')}ies" if kind.endswith("cy") else f"{kind.lower()}s"
    inside = f"namespaces/{metadata['namespace']}/" if "namespace" in metadata else ""
    return f"/{'api' if '/' not in group else 'apis'}/{group}/{inside}{plural}/{metadata['name']}"


@pytest.fixture(scope="module")
def guarded(real_session: Session) -> Iterator[httpx2.Client]:
    """The run's API server with the guards in force, and an admin who speaks for everybody."""
    http = real_session.http
    items = (*SET_UP, *manifests())
    for item in items:
        headers = {"Content-Type": _APPLY}
        checked(http.patch(_path(item), params={"fieldManager": "m", "force": "true"}, json=item, headers=headers))
    claim = f"{OURS}/namespaces/{SHOP}/vaultclaims/team/status"
    checked(http.patch(claim, json=CLAIM_STATUS, headers={"Content-Type": _MERGE}))
    for case in (FIRST, LAST):  # policies and their parameters come into force by and by
        deadline = time.monotonic() + _PATIENCE
        while _write(http, case).status_code != httpx2.codes.FORBIDDEN:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield http
    deadline = time.monotonic() + _PATIENCE
    while left := [path for path in map(_path, reversed(items)) if not _is_gone(http, path)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def _is_gone(http: httpx2.Client, path: str) -> bool:
    """Take an object away; a guard refuses that until its own end has come through by and by."""
    if "/federations/" in path:
        http.patch(path, json={"metadata": {"finalizers": None}}, headers={"Content-Type": _MERGE})
    return http.delete(path).status_code == httpx2.codes.NOT_FOUND


def _write(http: httpx2.Client, case: Case) -> httpx2.Response:
    type_ = _MERGE if case.method == "PATCH" else "application/json"
    headers = {"Impersonate-User": case.who, "Content-Type": type_}
    return http.request(case.method, f"{case.path}?dryRun=All", json=case.body or None, headers=headers)


@pytest.mark.parametrize("case", CASES, ids=[f"{each.meaning} ({each.who})" for each in CASES])
def test_a_guard_lets_through_or_refuses(guarded: httpx2.Client, case: Case) -> None:
    answer = _write(guarded, case)

    if case.denied:
        assert answer.status_code == httpx2.codes.FORBIDDEN, answer.text
        assert case.denied in answer.json()["message"]
    else:
        assert answer.is_success, answer.text


def test_the_api_server_finds_no_fault_with_the_expressions(guarded: httpx2.Client) -> None:
    listed = checked(guarded.get(f"{_POLICIES}/validatingadmissionpolicies"))["items"]
    deadline = time.monotonic() + _PATIENCE
    while any("typeChecking" not in (each.get("status") or {}) for each in listed):
        assert time.monotonic() < deadline
        time.sleep(0.2)
        listed = checked(guarded.get(f"{_POLICIES}/validatingadmissionpolicies"))["items"]

    warnings = {
        each["metadata"]["name"]: each["status"]["typeChecking"]["expressionWarnings"]
        for each in listed
        if each["status"]["typeChecking"].get("expressionWarnings")
    }
    assert warnings == {}
