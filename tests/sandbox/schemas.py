"""The JSON Schema that the control API describes itself in: values made from it, and values held against it.

Only the words of JSON Schema that msgspec writes are known; any other is an error, so that nothing is checked in name only.
"""

from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]
_IGNORED = {"title", "description", "default", "discriminator", "examples"}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def values(schema: Schema, components: dict[str, Schema]) -> st.SearchStrategy[Any]:
    """Values that the schema admits."""
    schema = resolved(schema, components)
    if "anyOf" in schema:
        return st.one_of(*(values(each, components) for each in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "object":
        return _objects(schema, components)
    if kind == "array":
        return st.lists(values(schema.get("items", {}), components), max_size=3)
    if kind == "string":
        return st.from_regex(schema["pattern"]) if "pattern" in schema else st.text(max_size=8)
    if kind in ("integer", "number"):
        return _numbers(schema)
    return {"boolean": st.booleans(), "null": st.none(), None: _JSON}[kind]


def _objects(schema: Schema, components: dict[str, Schema]) -> st.SearchStrategy[Any]:
    named = {name: values(each, components) for name, each in schema.get("properties", {}).items()}
    required = {name: named[name] for name in schema.get("required", ())}
    if not named and isinstance(schema.get("additionalProperties"), dict):
        return st.dictionaries(st.text(max_size=8), values(schema["additionalProperties"], components), max_size=3)
    optional = {name: each for name, each in named.items() if name not in required}
    return st.fixed_dictionaries(required, optional=optional)


def _numbers(schema: Schema) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema["type"] == "integer":
        return st.integers(low if low is not None else -(2**40), high if high is not None else 2**40)
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


def anything() -> st.SearchStrategy[Any]:
    """Any JSON at all."""
    return _JSON


def complaints(value: Any, schema: Schema, components: dict[str, Schema], place: str = "$") -> list[str]:
    """What of *value* the schema does not admit."""
    schema = resolved(schema, components)
    unknown = set(schema) - _IGNORED - {
        "anyOf", "enum", "type", "properties", "required", "additionalProperties", "items", "pattern",
        "minimum", "maximum", "exclusiveMinimum",
    }  # fmt: skip
    assert not unknown, f"{place}: the schema says {unknown}, which nothing here checks"
    if "anyOf" in schema:
        tries = [complaints(value, each, components, place) for each in schema["anyOf"]]
        return [] if not all(tries) else min(tries, key=len)
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{place}: {value!r} is none of {schema['enum']}"]
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        return [f"{place}: {value!r} is no {kind}"]
    found = []
    if kind == "object":
        properties = schema.get("properties", {})
        found += [f"{place}: has no {name}" for name in schema.get("required", ()) if name not in value]
        more = schema.get("additionalProperties", True)
        for name, each in value.items():
            inner = properties.get(name, more if isinstance(more, dict) else None)
            if inner is not None:
                found += complaints(each, inner, components, f"{place}.{name}")
            elif more is False or (properties and name not in properties):
                found.append(f"{place}: has {name}, which is not described")
    if kind == "array" and "items" in schema:
        for number, each in enumerate(value):
            found += complaints(each, schema["items"], components, f"{place}[{number}]")
    return found


def resolved(schema: Schema, components: dict[str, Schema]) -> Schema:
    """The schema that a reference means."""
    if "$ref" in schema:
        return components[schema["$ref"].removeprefix("#/components/schemas/")]
    return schema


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    kinds: dict[str, Any] = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None),
        "boolean": bool,
    }  # fmt: skip
    return isinstance(value, kinds[kind])
