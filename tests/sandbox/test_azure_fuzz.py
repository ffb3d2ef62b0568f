"""Whatever is sent to whichever route: an answer in the service's own shape, in bounded time, and nothing secret kept.

``KEYSTEAD_FUZZ_EXAMPLES=20000 pytest tests/sandbox/test_azure_fuzz.py`` looks longer.
"""

import json
import os
import re
import tempfile
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.journal import Journal
from keystead_sandbox.seeds import BadSeed, plant, read_seed
from sandbox.azure_fuzz import BODIES, CLIENT_SECRET, JSON, PLANTED, TEMPLATES, Answer, Request, Target, forms, requests
from sandbox.test_seeds import PLANTED as IN_SEED
from sandbox.test_seeds import WHOLE

EXAMPLES = int(os.environ.get("KEYSTEAD_FUZZ_EXAMPLES", "150"))  # noqa: TID251 - a test's own setting
_settings = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
BODIED = [
    (service, method, template)
    for service, routes in TEMPLATES.items()
    for method, template in routes
    if method in ("PUT", "POST", "PATCH") and service != "entra"
]
TOKEN_LIKE = re.compile(r"eyJ[\w-]{10,}")


def check(request: Request, answer: Answer) -> None:
    """What holds for every answer."""
    assert 200 <= answer.status < 500, (request, answer)
    for name, value in answer.headers:
        assert not set(value) & set(b"\r\n\0"), (request, name, value)
    if request.method == "HEAD" or (request.service == "entra" and answer.status in (404, 405)):
        return  # Entra's login host has no error shape for what is no endpoint
    if not answer.body:
        assert answer.status in (200, 202, 204, 307), (request, answer)
        return
    body = json.loads(answer.body)
    if answer.status < 300:
        return
    if request.service in ("arm", "keyvault"):
        error = body["error"]
        assert all(error[name] for name in ("code", "message")), (request, answer)
    elif request.service == "entra":
        assert isinstance(body["error"], str), (request, answer)
        assert [f"AADSTS{each}" for each in body["error_codes"]] == [body["error_description"].partition(":")[0]]
    else:
        assert isinstance(body["error"], str), (request, answer)


def written_down(target: Target) -> str:
    return msgspec.json.encode(target.azure.journal.entries()).decode()


@_settings
@given(data=st.data())
def test_every_route_answers_in_its_own_shape(data: st.DataObject) -> None:
    target = Target()
    for request in data.draw(st.lists(requests(target), min_size=1, max_size=4)):
        check(request, target.ask(request))
    target.azure.close()


@pytest.mark.parametrize("service", sorted({service for service, _, _ in BODIED}))
@_settings
@given(data=st.data())
def test_routes_that_exist_survive_hostile_bodies(service: str, data: st.DataObject) -> None:
    target = Target()
    routes = st.sampled_from([(method, template) for kind, method, template in BODIED if kind == service])
    for (method, template), body in data.draw(st.lists(st.tuples(routes, BODIES), min_size=1, max_size=3)):
        request = target.good(service, method, template, body)
        check(request, target.ask(request))
    target.azure.close()


@_settings
@given(data=st.data())
def test_nothing_secret_is_written_down(data: st.DataObject) -> None:
    target = Target()
    sent = [
        target.good("entra", "POST", "/{tenant}/oauth2/v2.0/token", data.draw(forms(target))),
        target.good(
            "keyvault", "PUT", "/secrets/{name}", json.dumps({"value": PLANTED, "x": data.draw(JSON)}).encode()
        ),
        target.good("keyvault", "GET", "/secrets/{name}", b""),
        data.draw(requests(target)),
    ]
    for request in data.draw(st.permutations(sent)):
        target.ask(request)

    kept = written_down(target)
    target.azure.close()
    assert TOKEN_LIKE.search(kept) is None
    assert CLIENT_SECRET not in kept


_ONE = (
    "/subscriptions/{subscription}/resourcegroups/{group}/providers/microsoft.managedidentity/userassignedidentities"
    "/{identity}/federatedidentitycredentials/{name}"
)
_ALL = _ONE.removesuffix("/{name}")
_INSTANCE = "/common/discovery/instance"
_DEEP, _TORN = b"[" * 100_000, b'{"a": "\xc3"}'


@pytest.mark.parametrize(
    ("service", "method", "template", "query", "body", "status"),
    [
        pytest.param("arm", "PUT", _ONE, "", _DEEP, 400, id="nested beyond the decoder"),
        pytest.param("arm", "PUT", _ONE, "", _TORN, 400, id="half a character"),
        pytest.param("arm", "GET", _ALL, f"$top={'9' * 5000}", b"", 400, id="a huge page"),
        pytest.param("arm", "GET", _ALL, "$top=\u0663", b"", 400, id="a digit of another script"),
        pytest.param("keyvault", "PUT", "/secrets/{name}", "", _DEEP, 400, id="a nested secret"),
        pytest.param("keyvault", "PUT", "/secrets/{name}", "", _TORN, 400, id="a torn secret"),
        pytest.param("keyvault", "BREW", "/secrets/{name}", "", b"", 405, id="an unknown method"),
        pytest.param("keyvault", "GET", "/", "", b"", 404, id="no path"),
        pytest.param("entra", "GET", _INSTANCE, "authorization_endpoint=https://[", b"", 400, id="a torn address"),
        pytest.param("control", "POST", "/clock", "", b'{"advance": 1e308}', 400, id="the end of time"),
        pytest.param("control", "POST", "/faults", "", b'{"status": 99999}', 400, id="no status of HTTP's"),
        pytest.param("control", "POST", "/faults", "", b'{"delay": 1e308}', 400, id="an endless delay"),
        pytest.param("control", "POST", "/faults", "", _TORN, 400, id="a torn fault"),
    ],
)
def test_what_fuzzing_found_is_refused(
    service: str, method: str, template: str, query: str, body: bytes, status: int
) -> None:
    target = Target()
    request = target.good(service, method, template, body)
    request.query += f"&{query}"
    answer = target.ask(request)
    target.azure.close()

    check(request, answer)
    assert answer.status == status


# Seed files ------------------------------------------------------------------------------------------------------

SCALARS = st.sampled_from(
    ["2024-99-99", "0x", "1e400", ".inf", "-.nan", "-1", "0", "~", "true", "&a [*a]", "*a", "!!python/object:os.system x",
     "!!binary x", "? [a]", "{", "[" * 3000, "'", "99999999999999999999", "2024-01-01", "<<: 1", "%", "\t", "|", "\u0085", "0o9", "1_0", "12:99"]
)  # fmt: skip


@st.composite
def seeds(draw: st.DrawFn) -> str:
    """Text that is no YAML, YAML that is no seed, and a good seed with something else somewhere."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(st.text())
    if kind == 1:
        return str(yaml.safe_dump(draw(JSON)))
    lines = WHOLE.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        name, colon, _ = lines[at].partition(":")
        other = draw(st.one_of(SCALARS, JSON.map(lambda value: yaml.safe_dump(value, default_flow_style=True))))
        lines[at] = draw(
            st.sampled_from([f"{name}{colon} {other}", "", f"{lines[at]}\n{lines[at]}", f" {lines[at]}", other])
        )
    return "\n".join(lines)


def complaint_about(path: Path) -> str | None:
    clock = ScaledClock()
    try:
        world = plant(read_seed(path), clock, Journal(clock))
    except BadSeed as refused:
        return str(refused)
    assert world.tenants
    return None


@_settings
@given(text=seeds())
def test_a_seed_is_a_world_or_a_complaint(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        complaint = complaint_about(path)
        assert complaint is None or str(path) in complaint
        assert IN_SEED not in (complaint or "")


@pytest.mark.parametrize(
    "line",
    [
        "rules: {propagation: 2024-99-99}",
        "rules: {writeHold: .inf}",
        "rules: {propagation: .nan}",
        "rules: {propagation: -1}",
        "rules: {writeRefill: 0}",
        "rules: {tenantDeletes: 0}",
    ],
)
def test_rules_that_no_service_could_keep_are_refused(line: str, tmp_path: Path) -> None:
    path = tmp_path / "seed.yaml"
    path.write_text(line)

    complaint = complaint_about(path)

    assert complaint is not None
    assert complaint.startswith(str(path))


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00", b"\x00", b"[" * 100_000, b"a: " * 50_000, b""],
    ids=["UTF-16", "NUL", "deep", "nested", "empty"],
)
def test_a_file_of_anything_is_a_world_or_a_complaint(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "seed.yaml"
    path.write_bytes(content)

    complaint = complaint_about(path)

    assert complaint is None if content == b"" else str(path) in (complaint or "")
