"""Requests to every route of the emulated Azure that no client would send, and some that clients do.

The routes are those of the services' own tables, so that a new one is tried at once.
"""

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlencode

from hypothesis import strategies as st
from joserfc import jwt

from sandbox.azure_virtual import ARM, IMDS, ISSUER_KEY, KEYVAULT, LOGIN, Azure

HOSTS = {"arm": ARM, "entra": LOGIN, "keyvault": KEYVAULT, "imds": IMDS, "control": "127.0.0.1"}
PLANTED = "planted-secret-value"
CLIENT_SECRET = "planted-client-secret"
_PATIENCE = 600.0  # virtual seconds, more than any delay of the sandbox's own
ISSUER = "https://oidc.example.test/a/"


@dataclass
class Request:
    """One request as the server hands it over."""

    service: str
    method: str
    path: str
    query: str = ""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


@dataclass
class Answer:
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""


class Target:
    """A furnished Azure, made anew for each example: what one request does must not explain another's answer."""

    def __init__(self) -> None:
        self.azure = Azure()
        self.azure.run(self._furnish())

    async def _furnish(self) -> None:
        world = self.azure.world
        world.assign_role(self.azure.owner.object_id, "Key Vault Administrator", self.azure.group.id)
        self.identity = world.add_identity("writer", "pool")
        world.add_credential(self.identity, "fic-one", ISSUER, "system:serviceaccount:a:b")
        vault = world.add_vault("team-kv", "pool")
        world.set_secret(vault, "db", PLANTED)
        issue = self.azure.app.authority.issue
        self.tokens = {
            "arm": issue(self.azure.owner, "https://management.azure.com/"),
            "keyvault": issue(self.azure.owner, "https://vault.azure.net"),
        }

    def good(self, service: str, method: str, template: str, body: bytes) -> Request:
        """A request to a route with names that are known, a version that there is and a good token."""
        known = self.known(template)
        path = re.sub(r"\{([\w]+)(?::\w+)?\}", lambda match: known.get(match[1], "x"), template)
        headers = [(b"metadata", b"true")]
        if service in self.tokens:
            headers.append((b"authorization", f"Bearer {self.tokens[service]}".encode()))
        return Request(service, method, path, f"api-version={VERSIONS.get(service, [''])[0]}", headers, body)

    def known(self, template: str) -> dict[str, str]:
        """Names of what is there, for the holes of a template."""
        azure = self.azure
        names = {**KNOWN, "subscription": azure.subscription, "tenant": azure.tenant, "scope": azure.group.id}
        if "secrets" in template:
            names["name"] = "db"
        if "roleassignments" in template:
            names["name"] = azure.subscription
        return names

    def ask(self, request: Request) -> Answer:
        return self.azure.run(self._ask(request))

    async def _ask(self, request: Request) -> Answer:
        app = self.azure.app.imds if request.service == "imds" else self.azure.app
        raw = quote(request.path, safe="/%:@!$&'()*+,;=~")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "https",
            "method": request.method,
            "path": unquote(raw),  # as uvicorn does
            "raw_path": raw.encode(),
            "query_string": quote(request.query, safe="/%:@!$&'()*+,;=~?[]").encode(),
            "headers": [(b"host", HOSTS[request.service].encode()), *request.headers],
            "server": ("127.0.0.1", 443),
            "client": ("127.0.0.1", 1),
            "root_path": "",
        }
        answer = Answer()
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                await asyncio.Event().wait()
            sent = True
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], list(message["headers"])
            else:
                answer.body += message.get("body", b"")

        async with asyncio.timeout(_PATIENCE):
            await app(scope, receive, send)
        return answer


def templates() -> dict[str, list[tuple[str, str]]]:
    """By service, method and path of every route; what varies stands in braces."""
    azure = Azure()
    services: Any = azure.app._services
    found = {"imds": [("GET", "/metadata/identity/oauth2/token")], "arm": [("GET", "/metadata/endpoints")]}
    for method, pattern, _ in services["arm"]._app._table:
        # The one slash at the end that every row allows is a case of its own below.
        path = re.sub(r"\(\?P<(\w+)>(?:\(\?:[^)]*\)\?|[^)]*)\)", r"{\1}", pattern.pattern.removesuffix("/?"))
        found["arm"].append((method, path.replace("\\", "")))
    apps: dict[str, Any] = {
        "entra": services["entra"]._app,
        "control": azure.app._control,
    }
    for name, app in apps.items():
        found[name] = [(method, route.path) for route in app.routes for method in sorted(route.methods)]
    found["keyvault"] = [(row.method, f"/{row.path}") for row in services["keyvault"]._app.rows]
    azure.close()
    return found


TEMPLATES = templates()

# What is sent ----------------------------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.sampled_from(
        [
            "",
            ".",
            "..",
            "%00",
            "%2e%2e",
            "%2F",
            "%zz",
            "%ff%fe",
            "%0d%0aX-Injected:%20yes",
            "a" * 5000,
            "'",
            '"',
            "{}",
            "\u0130",
            "İ%20",
        ]
    ),
    st.sampled_from(["\uff10", "9" * 5000, "-1", "1e999", "null", "a'||1==1", "%F0%9F%92%A9", "$", "*", "[", "\\"]),
    st.text(max_size=20),
)
KNOWN = {
    "group": "pool",
    "identity": "writer",
    "version": "0" * 32,
    "name": "fic-one",
    "vault": "team-kv",
    "namespace": "Microsoft.KeyVault",
    "number": "1",
    "kind": "keys",
}


@st.composite
def paths(draw: st.DrawFn, template: str, target: Target) -> str:
    """The template with names that are known, hostile ones, or both."""
    known = target.known(template)
    spoiled = draw(st.integers(0, 3)) == 0

    def fill(match: re.Match[str]) -> str:
        name = match[1].partition(":")[0]
        return draw(HOSTILE) if spoiled or name not in known else known[name]

    path = re.sub(r"\{([\w:]+)\}", fill, template)
    return path + draw(st.sampled_from(["", "", "", "/", "//", "/.", "/x", "%00", "?"]))


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=10),
        st.sampled_from(["westeurope", ISSUER, "a" * 700, 10**400, -(2**63), 2**64, "\u0000", PLANTED]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "properties",
                    "location",
                    "tags",
                    "issuer",
                    "subject",
                    "audiences",
                    "value",
                    "attributes",
                    "nbf",
                    "exp",
                    "enabled",
                    "contentType",
                    "principalId",
                    "roleDefinitionId",
                    "principalType",
                    "claimsMatchingExpression",
                    "languageVersion",
                    "advance",
                    "rate",
                    "snapshot",
                    "effect",
                    "path",
                    "times",
                    "every",
                    "status",
                    "retry_after",
                    "delay",
                    "jitter",
                    "seconds",
                    "sku",
                    "tenantId",
                    "accessPolicies",
                    "isolationScope",
                    "level",
                ]
            ),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=12,
)
#: Bodies that mean something, to be spoiled in one place.
MEANT: list[Any] = [
    {"properties": {"issuer": ISSUER, "subject": "s", "audiences": ["api://AzureADTokenExchange"]}},
    {"location": "westeurope", "tags": {"a": "b"}, "properties": {"isolationScope": "None"}},
    {"value": PLANTED, "tags": {"a": "b"}, "attributes": {"enabled": True, "nbf": 1, "exp": 2}},
    {
        "properties": {
            "principalId": "5b0a3c1e-6f6e-4f0e-9a63-8f2d8a1f7c11",
            "roleDefinitionId": "x/4633458b-17de-408a-b874-0445c86b69e6",
        }
    },
    {"effect": "answer", "status": 503, "times": 1, "delay": 1.0, "jitter": 1.0},
    {"advance": 10.0, "rate": 1.0},
    {"snapshot": 1},
]


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A body that means something, with another value somewhere."""
    body = json.loads(json.dumps(draw(st.sampled_from(MEANT))))
    place = body
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        place[key] = draw(JSON)
        return body


BODIES = st.one_of(
    JSON.map(lambda value: json.dumps(value).encode()),
    spoiled().map(lambda value: json.dumps(value).encode()),
    st.sampled_from(MEANT).map(lambda value: json.dumps(value).encode()),
    st.sampled_from(MEANT).map(lambda value: json.dumps(value).encode()[:-3]),
    st.sampled_from(
        [
            b"",
            b"\xff\xfe{",
            b"[" * 100_000,
            b'{"properties":' * 50_000,
            b'{"value": "\\ud800"}',
            b'{"properties": {"issuer": "\\u0000", "subject": "\xc3"}}',
            b'{"location": ' + b"9" * 5000 + b"}",
            b'{"advance": 1e309}',
            b'{"attributes": {"exp": 1e400}, "value": "x"}',
        ]
    ),
    st.binary(max_size=40),
)
FORM_FIELDS = st.sampled_from(
    [
        "grant_type",
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "scope",
        "claims",
        "resource",
    ]
)
QUERIES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "api-version",
                "$filter",
                "$top",
                "$skiptoken",
                "$skipToken",
                "maxresults",
                "resource",
                "client_id",
                "msi_res_id",
                "authorization_endpoint",
                "since",
                "limit",
                "path",
                "status",
                "service",
                "caller",
            ]
        ),
        st.one_of(
            HOSTILE,
            st.sampled_from(
                ["2024-11-30", "2022-04-01", "7.4", "2018-02-01", "1.1", "https://[", "https://vault.azure.net"]
            ),
            st.sampled_from(["roleName eq 'Owner'", "atScope()", "principalId eq 'x'", "(a", "X'1'", "0", "-0", "٣"]),
        ),
    ),
    max_size=4,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))
VERSIONS = {
    "arm": ["2025-05-31-preview", "2024-11-30", "2022-04-01"],
    "keyvault": ["7.4"],
    "imds": ["2018-02-01"],
    "entra": ["1.1"],
}
OTHER_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"metadata",
                b"x-ms-client-request-id",
                b"x-ms-correlation-request-id",
                b"client-request-id",
                b"content-type",
                b"x-forwarded-for",
                b"accept",
                b"host",
            ]
        ),
        st.one_of(
            st.sampled_from(
                [b"true", b"application/json", b"\xff\xfe", b"a" * 5000, b"application/x-www-form-urlencoded"]
            ),
            st.binary(max_size=20).map(lambda value: bytes(each for each in value if each >= 0x20 and each != 0x7F)),
        ),
    ),
    max_size=3,
)
METHODS = st.sampled_from(["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "get", ""])


@st.composite
def requests(draw: st.DrawFn, target: Target) -> Request:
    """Mostly a route with its own method, a version that there is and a token that is good."""
    service = draw(st.sampled_from(sorted(TEMPLATES)))
    method, template = draw(st.sampled_from(TEMPLATES[service]))
    path = draw(paths(template, target)) if draw(st.integers(0, 9)) else "/" + draw(HOSTILE)
    if not draw(st.integers(0, 5)):
        method = draw(METHODS)
    query = draw(QUERIES)
    if service in VERSIONS and draw(st.integers(0, 4)):
        query = f"api-version={draw(st.sampled_from(VERSIONS[service]))}&{query}"
    headers = draw(OTHER_HEADERS)
    token = target.tokens.get(service)
    if token is not None:
        choices = [f"Bearer {token}"] * 5 + [
            "",
            "Bearer",
            "Bearer x",
            "Bearer a.b.c",
            f"Basic {token}",
            f"Bearer {token}x",
            "Bearer \u00ff",
        ]
        headers = [*headers, (b"authorization", draw(st.sampled_from(choices)).encode("latin-1"))]
    if service == "imds" and draw(st.booleans()):
        headers = [*headers, (b"metadata", b"true")]
        query = f"resource=https://vault.azure.net&{query}"
    body = draw(forms(target)) if service == "entra" else draw(BODIES)
    return Request(service, method, path, query, headers, body)


@st.composite
def forms(draw: st.DrawFn, target: Target) -> bytes:
    """A token request that is good, or has other values in some fields."""
    claims = {
        "iss": ISSUER,
        "sub": "system:serviceaccount:a:b",
        "aud": "api://AzureADTokenExchange",
        "iat": 1772366400,
        "nbf": 1772366400,
        "exp": 1772370000,
    }
    for name in draw(st.lists(st.sampled_from([*claims, "more"]), max_size=2)):
        claims[name] = draw(JSON)
    header = {"alg": "RS256", "kid": "k"}
    form = {
        "grant_type": "client_credentials",
        "client_id": draw(st.sampled_from([target.identity.client_id, target.azure.owner.client_id])),
        "scope": "https://vault.azure.net/.default",
    }
    if draw(st.booleans()):
        form["client_secret"] = draw(st.sampled_from([CLIENT_SECRET, PLANTED]))
    else:
        form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        form["client_assertion"] = jwt.encode(header, claims, ISSUER_KEY, default_type=None)
    for name in draw(st.lists(FORM_FIELDS, max_size=2)):
        form[name] = draw(st.one_of(HOSTILE, JSON.map(json.dumps)))
    body = urlencode(form, errors="surrogatepass").encode()
    return draw(st.sampled_from([body, body, body, body[:-7], body + b"&%ff=%fe&&&=", b"\xff" + body]))
