"""CustomResourceDefinitions: names, versions, pruning, defaults, validation, CEL, status, the way they end."""

import copy
from importlib import resources
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keystead_sandbox.kube import schema
from sandbox_kube.kube_api import CRDS, WIDGETS, Api, Object, crd, widget

looptime = pytest.mark.looptime
MERGE = "application/merge-patch+json"
FIELDS: Object = {
    "type": "object",
    "required": ["need"],
    "properties": {
        "need": {"type": "string"},
        "size": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "even": {"type": "integer", "multipleOf": 2},
        "over": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        "mode": {"type": "string", "enum": ["On", "Off"], "default": "On"},
        "code": {"type": "string", "pattern": "^[a-z]+$", "minLength": 2, "maxLength": 4},
        "when": {"type": "string", "format": "date-time"},
        "maybe": {"type": "string", "nullable": True},
        "flag": {"type": "boolean"},
        "port": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "tags": {
            "type": "array",
            "maxItems": 2,
            "minItems": 1,
            "x-kubernetes-list-type": "set",
            "items": {"type": "string"},
        },
        "by": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "integer"}},
        "one": {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        "inner": {"type": "object", "default": {}, "properties": {"deep": {"type": "string", "default": "d"}}},
        "rows": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["k"],
            "items": {
                "type": "object",
                "required": ["k"],
                "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
            },
        },
    },
}


@looptime
@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({}, "spec.need", "Required value"),
        ({"need": 1}, "spec.need", 'must be of type string: "integer"'),
        ({"need": "x", "size": 0}, "spec.size", "greater than or equal to 1"),
        ({"need": "x", "size": 10}, "spec.size", "less than or equal to 9"),
        ({"need": "x", "size": True}, "spec.size", "must be of type integer"),
        ({"need": "x", "even": 3}, "spec.even", "multiple of 2"),
        ({"need": "x", "over": 0}, "spec.over", "greater than 0"),
        ({"need": "x", "mode": "Half"}, "spec.mode", 'Unsupported value: "Half": supported values: "On", "Off"'),
        ({"need": "x", "code": "AB"}, "spec.code", "should match"),
        ({"need": "x", "code": "a"}, "spec.code", "at least 2 chars"),
        ({"need": "x", "code": "abcde"}, "spec.code", "may not be more than 4"),
        ({"need": "x", "when": "yesterday"}, "spec.when", "date-time"),
        ({"need": None}, "spec.need", "Required value"),
        ({"need": "x", "port": 1.5}, "spec.port", "integer,string"),
        ({"need": "x", "tags": ["a", "b", "c"]}, "spec.tags", "at most 2 items"),
        ({"need": "x", "tags": []}, "spec.tags", "at least 1 items"),
        ({"need": "x", "tags": ["a", "a"]}, "spec.tags[1]", "Duplicate value"),
        ({"need": "x", "by": {"a": 1, "b": 2}}, "spec.by", "at most 1 items"),
        ({"need": "x", "by": {"a": "1"}}, "spec.by.a", "must be of type integer"),
        ({"need": "x", "one": {"a": "1", "b": "2"}}, "<nil>", "one and only one schema"),
        ({"need": "x", "rows": [{"v": 1}]}, "spec.rows[0].k", "Required value"),
        ({"need": "x", "rows": [{"k": "a"}, {"k": "a"}]}, "spec.rows[1]", "Duplicate value"),
        ([], "spec", "must be of type object"),
    ],
)
async def test_validation_names_the_field(api: Api, spec: Any, field: str, words: str) -> None:
    await api.ask("POST", CRDS, crd(FIELDS))
    answer = await api.ask("POST", WIDGETS, widget(spec), expect=422)

    assert [each["field"] for each in answer["details"]["causes"]] == [field]
    assert answer["message"].startswith(f'Widget.example.org "w" is invalid: {field}')
    assert words in answer["message"]


@looptime
async def test_all_that_is_wrong_is_told_at_once(api: Api) -> None:
    await api.ask("POST", CRDS, crd(FIELDS))
    answer = await api.ask("POST", WIDGETS, widget({"size": 0, "mode": "x"}), expect=422)

    assert {each["field"] for each in answer["details"]["causes"]} == {"spec.need", "spec.size", "spec.mode"}


@looptime
async def test_good_values_are_defaulted_pruned_and_kept(api: Api) -> None:
    await api.ask("POST", CRDS, crd(FIELDS))
    good = {
        "need": "x",
        "maybe": None,
        "port": "http",
        "free": {"any": [1]},
        "by": {"a": 1},
        "one": {"a": "1"},
        "when": "2026-01-01T00:00:00Z",
        "over": 0.5,
        "size": None,
        "unknown": 1,
    }
    made = await api.ask("POST", WIDGETS, widget(good))

    expected = {**good, "size": 3, "mode": "On", "inner": {"deep": "d"}}
    del expected["unknown"]
    assert made["spec"] == expected


@looptime
async def test_generation_counts_changes_of_the_spec_alone(api: Api) -> None:
    await api.ask("POST", CRDS, crd())
    await api.ask("POST", WIDGETS, {**widget({"a": 1}), "status": {"x": 1}})
    steps: list[tuple[str, Object]] = [
        ("", {"metadata": {"labels": {"a": "b"}}}),
        ("/status", {"status": {"x": 1}, "spec": {"a": 9}}),
        ("", {"status": {"x": 2}}),
        ("", {"spec": {"a": 2}}),
    ]
    seen = []
    for sub, change in steps:
        item = await api.ask("PATCH", f"{WIDGETS}/w{sub}", change, type_=MERGE)
        seen.append((item["metadata"]["generation"], item["spec"]["a"], item.get("status")))

    assert seen == [(1, 1, None), (1, 1, {"x": 1}), (1, 1, {"x": 1}), (2, 2, {"x": 1})]


@looptime
async def test_a_definition_is_established_and_completed(api: Api) -> None:
    made = await api.ask("POST", CRDS, crd())

    assert {each["type"]: each["status"] for each in made["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    assert made["status"]["storedVersions"] == ["v1"]
    assert (made["spec"]["names"]["singular"], made["spec"]["names"]["listKind"]) == ("widget", "WidgetList")
    assert made["spec"]["conversion"] == {"strategy": "None"}
    assert (await api.ask("GET", WIDGETS))["kind"] == "WidgetList"


def _broken(change: str) -> Object:
    item = copy.deepcopy(crd(FIELDS))
    spec = item["spec"]
    version = spec["versions"][0]
    root = version["schema"]["openAPIV3Schema"]
    match change:
        case "name":
            item["metadata"]["name"] = "other.example.org"
        case "scope":
            spec["scope"] = "Everywhere"
        case "schema":
            del version["schema"]
        case "type":
            root["properties"]["spec"]["properties"]["need"] = {"minLength": 1}
        case "items":
            root["properties"]["spec"]["properties"]["tags"] = {"type": "array"}
        case "keys":
            root["properties"]["spec"]["properties"]["rows"]["items"]["required"] = []
        case "both":
            root["properties"]["spec"]["additionalProperties"] = {"type": "string"}
        case "webhook":
            spec["conversion"] = {"strategy": "Webhook"}
    return item


@looptime
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("name", "metadata.name"),
        ("scope", "spec.scope"),
        ("schema", "spec.versions[0].schema.openAPIV3Schema"),
        ("type", "spec.validation.openAPIV3Schema.properties[spec].properties[need].type"),
        ("items", "spec.validation.openAPIV3Schema.properties[spec].properties[tags].items"),
        (
            "keys",
            "spec.validation.openAPIV3Schema.properties[spec].properties[rows].items.properties[k].default",
        ),
        ("both", "spec.validation.openAPIV3Schema.properties[spec].additionalProperties"),
        ("webhook", "spec.conversion.strategy"),
    ],
)
async def test_definitions_that_are_refused(api: Api, change: str, field: str) -> None:
    answer = await api.ask("POST", CRDS, _broken(change), expect=422)

    assert [each["field"] for each in answer["details"]["causes"]] == [field]


@looptime
async def test_one_object_is_served_at_every_version_and_no_longer_at_one_that_went(api: Api) -> None:
    item = crd()
    versions = item["spec"]["versions"]
    versions.append({**versions[0], "name": "v1beta1", "storage": False})
    made = await api.ask("POST", CRDS, item)
    await api.ask("POST", WIDGETS, widget({"a": 1}))
    beta = WIDGETS.replace("/v1/", "/v1beta1/")

    assert (await api.ask("GET", f"{beta}/w"))["apiVersion"] == "example.org/v1beta1"
    made["spec"]["versions"][1]["served"] = False
    await api.ask("PUT", f"{CRDS}/widgets.example.org", made)
    assert (await api.send("GET", f"{beta}/w")).status_code == 404
    assert (await api.ask("GET", f"{WIDGETS}/w"))["spec"] == {"a": 1}


def _ruled(*rules: Object, **properties: Object) -> Object:
    return {"type": "object", "properties": properties, "x-kubernetes-validations": list(rules)}


NUMBER = {"type": "integer"}


@looptime
@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("self.text.matches('^a')", "ab", "b"),
        ("self.text.lowerAscii() == self.text", "ab", "aB"),
        ("self.text.split('-').size() == 2", "a-b", "ab"),
        ("self.text.trim() == self.text", "a", " a"),
        ("self.text.find('[0-9]+') == ''", "a", "a1"),
        ("size(self.text) < 3 ? true : self.text.startsWith('long')", "longer", "other"),
        ("has(self.text)", "a", None),
    ],
)
async def test_rules_may_use_these_functions(api: Api, rule: str, good: str, bad: str | None) -> None:
    response = await api.send("POST", CRDS, crd(_ruled({"rule": rule}, text={"type": "string"})))
    assert (response.status_code, response.headers.get("warning")) == (201, None)

    await api.ask("POST", WIDGETS, widget({"text": good}))
    answer = await api.ask("POST", WIDGETS, widget({} if bad is None else {"text": bad}, "x"), expect=422)
    assert f"failed rule: {rule}" in answer["message"]


@looptime
async def test_a_rule_that_cannot_be_enforced_is_warned_of_and_refuses_nothing(api: Api) -> None:
    rules = [{"rule": "isURL(self.text)"}, {"rule": "self.text =="}]
    response = await api.send("POST", CRDS, crd(_ruled(*rules, text={"type": "string"})))

    assert response.status_code == 201
    assert response.headers["warning"].count("is not enforced here") == 2
    assert "isURL" in response.headers["warning"]
    await api.ask("POST", WIDGETS, widget({"text": "no url"}))


@looptime
async def test_a_rule_that_fails_to_evaluate_refuses(api: Api) -> None:
    await api.ask("POST", CRDS, crd(_ruled({"rule": "self.n / 0 == 1"}, n=NUMBER)))

    assert "rule evaluation error" in (await api.ask("POST", WIDGETS, widget({"n": 1}), expect=422))["message"]


@looptime
async def test_the_stand_ins_for_external_secrets_default_and_keep(api: Api) -> None:
    text = resources.files("keystead_sandbox.kube").joinpath("eso_crds.yaml").read_text()
    for each in yaml.safe_load_all(text):
        response = await api.send("POST", CRDS, each)
        assert (response.status_code, response.headers.get("warning")) == (201, None)
        assert each["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "keystead-sandbox"}
    base = "/apis/external-secrets.io/v1/namespaces/default"
    item: Object = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "a"},
        "spec": {"secretStoreRef": {"name": "s"}, "data": [{"secretKey": "k", "remoteRef": {"key": "r"}}], "kept": 1},
    }
    made = await api.ask("POST", f"{base}/externalsecrets", item)

    assert made["spec"]["refreshInterval"] == "1h0m0s"
    assert made["spec"]["target"] == {"creationPolicy": "Owner", "deletionPolicy": "Retain"}
    assert made["spec"]["kept"] == 1
    bad = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": "b"},
        "spec": {"provider": {"azurekv": {"vaultUrl": "u", "authType": "Magic"}}},
    }
    assert "authType" in (await api.ask("POST", f"{base}/secretstores", bad, expect=422))["message"]


_SPECS = st.fixed_dictionaries(
    {},
    optional={
        name: st.one_of(
            st.none(), st.booleans(), st.integers(0, 10), st.text("aB-", max_size=5), st.just({}), st.just([])
        )
        for name in (*FIELDS["properties"], "unknown")
    },
)


@given(_SPECS)
def test_pruning_and_defaulting_settle_at_once(spec: Any) -> None:
    once = schema.default(schema.prune(spec, FIELDS), FIELDS)

    assert schema.default(schema.prune(once, FIELDS), FIELDS) == once
    assert "unknown" not in once
    assert all(len(problem) == 3 for problem in schema.validate(once, FIELDS, "spec"))
