"""Discovery, OpenAPI, tables, protobuf, Events of both groups."""

from typing import Any

import pytest

from keystead_sandbox.kube import protobuf, tables
from keystead_sandbox.kube.errors import ApiError
from sandbox_kube.kube_api import CRDS, WIDGETS, Api, Object, crd, widget

looptime = pytest.mark.looptime
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
NS = "/api/v1/namespaces"
EVENTS, NEW_EVENTS = f"{NS}/default/events", "/apis/events.k8s.io/v1/namespaces/default/events"
EVENT: Object = {
    "metadata": {"name": "e"},
    "regarding": {"kind": "Namespace", "name": "shop", "uid": "7"},
    "reason": "Granted",
    "note": "it works",
    "type": "Normal",
    "action": "Grant",
    "eventTime": "2026-11-24T11:59:00.000000Z",
    "reportingController": "keystead.dev/operator",
    "reportingInstance": "one",
}


@looptime
async def test_both_discoveries_tell_the_same(api: Api) -> None:
    await api.ask("POST", CRDS, crd(plural="gadgets", kind="Gadget", scope="Cluster"))
    old: set[tuple[str, str, str]] = set()
    for group in (await api.ask("GET", "/apis"))["groups"]:
        for version in group["versions"]:
            listed = await api.ask("GET", f"/apis/{version['groupVersion']}")
            old |= {(group["name"], each["name"], each["kind"]) for each in listed["resources"]}
    old |= {("", each["name"], each["kind"]) for each in (await api.ask("GET", "/api/v1"))["resources"]}
    new: set[tuple[str, str, str]] = set()
    for path in ("/api", "/apis"):
        response = await api.send("GET", path, headers={"Accept": AGGREGATED})
        assert response.headers["content-type"] == AGGREGATED
        for group in response.json()["items"]:
            name = group["metadata"].get("name", "")
            for each in group["versions"][0]["resources"]:
                new.add((name, each["resource"], each["responseKind"]["kind"]))
                new |= {
                    (name, f"{each['resource']}/{sub['subresource']}", sub["responseKind"]["kind"])
                    for sub in each.get("subresources", ())
                }

    assert old == new
    assert {("example.org", "gadgets", "Gadget"), ("example.org", "gadgets/status", "Gadget")} <= new
    assert ("", "serviceaccounts/token", "TokenRequest") in new


@looptime
async def test_stable_versions_are_preferred(api: Api) -> None:
    item = crd()
    first = {**item["spec"]["versions"][0], "storage": False}
    names = ("v1alpha1", "v2beta1", "v1", "v2", "weird")
    item["spec"]["versions"] = [{**first, "name": name, "storage": name == "v1"} for name in names]
    await api.ask("POST", CRDS, item)
    group = await api.ask("GET", "/apis/example.org")

    assert [each["version"] for each in group["versions"]] == ["v2", "v1", "v2beta1", "v1alpha1", "weird"]
    assert group["preferredVersion"]["version"] == "v2"


@looptime
async def test_openapi_changes_its_address_with_its_content(api: Api) -> None:
    await api.ask("POST", CRDS, crd({"type": "object", "properties": {"a": {"type": "string", "description": "Why."}}}))
    before = (await api.ask("GET", "/openapi/v3"))["paths"]
    address = before["apis/example.org/v1"]["serverRelativeURL"]
    document = await api.ask("GET", address)
    schema = document["components"]["schemas"]["org.example.v1.Widget"]

    assert schema["properties"]["spec"]["properties"]["a"]["description"] == "Why."
    assert schema["properties"]["metadata"]["properties"]["labels"]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "example.org", "version": "v1", "kind": "Widget"}]
    patch = document["paths"]["/apis/example.org/v1/namespaces/{namespace}/widgets/{name}"]["patch"]
    assert "fieldValidation" in {each["name"] for each in patch["parameters"]}
    await api.ask("POST", CRDS, crd(plural="gadgets", kind="Gadget"))
    after = (await api.ask("GET", "/openapi/v3"))["paths"]
    assert after["apis/example.org/v1"] != before["apis/example.org/v1"]
    assert after["api/v1"] == before["api/v1"]


@looptime
async def test_a_table_has_the_columns_of_the_definition(api: Api) -> None:
    columns = [
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Count", "type": "integer", "jsonPath": ".spec.count", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    await api.ask("POST", CRDS, crd(additionalPrinterColumns=columns))
    await api.ask("POST", WIDGETS, widget({"count": 3}))
    status = {"status": {"conditions": [{"type": "Old", "status": "No"}, {"type": "Ready", "status": "True"}]}}
    await api.ask("PATCH", f"{WIDGETS}/w/status", status, type_="application/merge-patch+json")
    await api.clock.sleep(200)
    for path in (WIDGETS, f"{WIDGETS}/w"):
        table = await api.ask("GET", path, headers=TABLE)
        shown = [(each["name"], each["priority"]) for each in table["columnDefinitions"]]
        assert shown == [("Name", 0), ("Ready", 0), ("Count", 1), ("Age", 0)]
        assert table["rows"][0]["cells"] == ["w", "True", 3, "3m20s"]
        assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
        assert "spec" not in table["rows"][0]["object"]


@looptime
@pytest.mark.parametrize(
    ("path", "columns"),
    [
        (NS, ["Name", "Status", "Age"]),
        (f"{NS}/default/secrets", ["Name", "Type", "Data", "Age"]),
        (
            EVENTS,
            [
                *("Last Seen", "Type", "Reason", "Object", "Subobject", "Source"),
                *("Message", "First Seen", "Count", "Name"),
            ],
        ),
        (CRDS, ["Name", "Created At"]),
        (
            "/apis/rbac.authorization.k8s.io/v1/rolebindings",
            ["Name", "Role", "Age", "Users", "Groups", "ServiceAccounts"],
        ),
    ],
)
async def test_built_in_kinds_have_the_columns_people_know(api: Api, path: str, columns: list[str]) -> None:
    table = await api.ask("GET", path, headers=TABLE)

    assert [each["name"] for each in table["columnDefinitions"]] == columns


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".a.b", 1),
        (".a.missing", None),
        (".list[1].x", "second"),
        (".list[9].x", None),
        ('.list[?(@.x=="first")].y', True),
        (r".labels.app\.kubernetes\.io/name", "n"),
        ("", {"whole": 1}),
    ],
)
def test_json_paths(path: str, value: Any) -> None:
    item = {
        "a": {"b": 1},
        "list": [{"x": "first", "y": True}, {"x": "second"}],
        "labels": {"app.kubernetes.io/name": "n"},
    }

    assert tables.lookup(item if path else {"whole": 1}, path) == value


@looptime
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"eventTime": None}, "eventTime"),
        ({"action": ""}, "action"),
        ({"reason": "r" * 129}, "reason"),
        ({"reportingController": ""}, "reportingController"),
        ({"reportingController": "a b"}, "reportingController"),
        ({"reportingInstance": None}, "reportingInstance"),
        ({"note": "n" * 1025}, "note"),
        ({"type": "Bad"}, "type"),
        ({"regarding": {"kind": "X", "name": "x", "namespace": "other"}}, "regarding.namespace"),
    ],
)
async def test_the_new_group_of_events_is_strict(api: Api, change: Object, field: str) -> None:
    answer = await api.ask("POST", NEW_EVENTS, {**EVENT, **change}, expect=422)

    assert [each["field"] for each in answer["details"]["causes"]] == [field]


# Protobuf: written here by hand from the wire format's description, so that reader and writer do not share a mistake.


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _envelope(api_version: str, kind: str, content: bytes) -> bytes:
    return b"k8s\x00" + _field(1, _field(1, api_version) + _field(2, kind)) + _field(2, content)


def _entry(key: str, value: bytes | str) -> bytes:
    return _field(1, key) + _field(2, value)


@looptime
async def test_kubectl_protobuf_becomes_an_object(api: Api) -> None:
    meta = _field(1, "s") + _field(11, _entry("l", "v")) + _field(12, _entry("long", "x" * 300))
    content = _field(1, meta) + _field(2, _entry("k", b"\x00\xff")) + _field(3, "kind/of") + _field(5, 1)
    raw = _envelope("v1", "Secret", content)
    made = await api.ask("POST", f"{NS}/default/secrets", raw, type_=protobuf.CONTENT_TYPE)

    assert (made["data"], made["type"], made["immutable"]) == ({"k": "AP8="}, "kind/of", True)
    assert made["metadata"]["labels"] == {"l": "v"}
    assert made["metadata"]["annotations"] == {"long": "x" * 300}


def test_protobuf_roles_keep_their_rules() -> None:
    rule = _field(1, "get") + _field(1, "list") + _field(2, "") + _field(3, "secrets")
    role = protobuf.decode(
        _envelope("rbac.authorization.k8s.io/v1", "Role", _field(1, _field(1, "r")) + _field(2, rule))
    )

    assert role["rules"] == [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"]}]


def test_protobuf_token_requests_keep_audiences_and_life() -> None:
    spec = _field(1, "aud") + _field(4, 1200)
    token = protobuf.decode(_envelope("authentication.k8s.io/v1", "TokenRequest", _field(2, spec)))

    assert token["spec"] == {"audiences": ["aud"], "expirationSeconds": 1200}


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"json?", 415),
        (_envelope("v1", "Pod", b""), 415),
        (b"k8s\x00" + b"\x0a\xff", 400),
        (b"k8s\x00" + b"\x0f\x00", 400),
        (_envelope("v1", "Secret", b"\x0b"), 400),
    ],
)
def test_protobuf_that_cannot_be_read(raw: bytes, code: int) -> None:
    with pytest.raises(ApiError) as refused:
        protobuf.decode(raw)

    assert refused.value.code == code
