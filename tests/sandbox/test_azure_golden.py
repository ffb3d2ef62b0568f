"""The sandbox answers as the real services were seen to, or are said to: samples with their sources, as data.

A sample in ``golden/SERVICE.yaml`` is a request, the samples that come ``after`` which it is sent, and the answer.
"""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from joserfc import jwt

from keystead_sandbox.resources import AUDIENCE
from sandbox.azure_virtual import ARM, IMDS, ISSUER_KEY, KEYVAULT, LOGIN, Azure

FOLDER = Path(__file__).parent / "golden"
ISSUER, SUBJECT = "https://oidc.example.test/a/", "system:serviceaccount:ns:Reader"
SAMPLES: dict[str, dict[str, Any]] = {
    f"{path.stem}.{sample['id']}": sample
    for path in sorted(FOLDER.glob("*.yaml"))
    for sample in yaml.safe_load(path.read_text())
}
KINDS = ("recorded", "documented", "reported", "observed")
#: What stands for something that differs each time.
_HOLES = {
    "guid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "version": r"[0-9a-f]{32}",
    "token": r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+",
    "stamp": r"\d{8}T\d{6}Z",
    "moment": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ",
    "digits": r"\d+",
    "any": r"(?s:.*)",
}


class Stage:
    """An Azure with everything that samples name, and their words for it."""

    def __init__(self) -> None:
        self.azure = Azure()
        self.azure.run(self._furnish())

    async def _furnish(self) -> None:
        world, group = self.azure.world, self.azure.group
        reader = world.add_identity("reader", "pool")
        world.add_credential(reader, "standing", ISSUER, SUBJECT)
        vault = world.add_vault("team-kv", "pool")
        world.set_secret(vault, "db", "planted-secret-value")
        officer, stranger = (world.add_application(name, secret="unused") for name in ("officer", "stranger"))
        world.assign_role(officer.object_id, "Key Vault Secrets Officer", group.id)
        issue = self.azure.app.authority.issue
        self._callers = {
            "owner": {
                "arm": issue(self.azure.owner, f"https://{ARM}/"),
                "keyvault": issue(self.azure.owner, f"https://{ARM}/"),
            },
            "stranger": {
                "arm": issue(stranger, f"https://{ARM}/"),
                "keyvault": issue(stranger, "https://vault.azure.net"),
            },
            "officer": {"keyvault": issue(officer, "https://vault.azure.net")},
            "nobody": {},
        }
        self._words = {
            "arm": f"https://{ARM}",
            "login": f"https://{LOGIN}",
            "vault": f"https://{KEYVAULT}",
            "imds": f"http://{IMDS}",
            "tenant": self.azure.tenant,
            "subscription": self.azure.subscription,
            "pool": group.id,
            "lower": group.id.replace("/resourceGroups/", "/resourcegroups/"),
            "client": reader.client_id,
            "principal": reader.principal_id,
            "owner_client": self.azure.owner.client_id,
            "secret": self.azure.owner.secret,
            "issuer": ISSUER,
            "assertion": self._assertion(),
            "assertion_of_another_subject": self._assertion(sub="another"),
            "assertion_in_another_case": self._assertion(sub=SUBJECT.lower()),
            "assertion_of_another_issuer": self._assertion(iss="https://elsewhere.example.test/"),
            "assertion_for_another_audience": self._assertion(aud="another"),
            "assertion_expired": self._assertion(exp=int(world.clock.wall().timestamp()) - 1),
        }

    def _assertion(self, **changed: Any) -> str:
        now = int(self.azure.world.clock.wall().timestamp())
        claims = {"iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "nbf": now - 60, "exp": now + 3600}
        return jwt.encode({"alg": "RS256", "kid": "k"}, {**claims, **changed}, ISSUER_KEY, default_type=None)

    def said(self, value: Any) -> Any:
        """*value* with its words in place."""
        if isinstance(value, str):
            return re.sub(r"\{(\w+)\}", lambda match: self._words[match[1]], value)
        if isinstance(value, dict):
            return {key: self.said(each) for key, each in value.items()}
        return [self.said(each) for each in value] if isinstance(value, list) else value

    async def play(self, name: str) -> httpx2.Response:
        """Send a sample's request, after those that come before it and the wait."""
        service, sample = name.partition(".")[0], SAMPLES[name]
        for before in sample.get("after", ()):
            await self._send(service, SAMPLES[f"{service}.{before}"])
        await asyncio.sleep(sample.get("wait", 0))
        return await self._send(service, sample)

    async def _send(self, service: str, sample: dict[str, Any]) -> httpx2.Response:
        request = self.said(sample["request"])
        token = self._callers[sample.get("as", "owner")].get(service)
        headers = {**request.get("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        client = self.azure.machine if service == "imds" else self.azure.client
        return await client.request(
            request["method"], request["url"], headers=headers, json=request.get("json"), data=request.get("form")
        )


def differences(expected: Any, found: Any, place: str = "", *, partly: bool = False) -> Iterator[str]:
    """Where *found* is not what a sample says; a part may have more fields than it names."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(set(expected) | (set() if partly else set(found))):
            if key not in found or key not in expected:
                yield f"{place}.{key}: {'is missing' if key not in found else 'is one too many'}"
            else:
                yield from differences(expected[key], found[key], f"{place}.{key}", partly=partly)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, f"{place}[{number}]", partly=partly)
    elif not _alike(expected, found):
        yield f"{place}: {found!r} is not {expected!r}"


def _alike(expected: Any, found: Any) -> bool:
    if expected == "<number>":
        return isinstance(found, int) and not isinstance(found, bool)
    if not isinstance(expected, str) or not isinstance(found, str):
        return type(expected) is type(found) and bool(expected == found)
    parts = re.split(r"<(\w+)>", expected)
    pattern = "".join(_HOLES[part] if number % 2 else re.escape(part) for number, part in enumerate(parts))
    return re.fullmatch(pattern, found) is not None


@pytest.mark.parametrize("name", SAMPLES)
def test_an_answer_is_the_samples(name: str) -> None:
    stage = Stage()
    answer = stage.azure.run(stage.play(name))
    expected = stage.said(SAMPLES[name]["answer"])
    stage.azure.close()

    assert answer.status_code == expected["status"], answer.text
    found = [f"has a header {each}" for each in expected.get("without", ()) if each in answer.headers]
    found += list(differences(expected.get("headers", {}), dict(answer.headers), "headers", partly=True))
    if "body" in expected:
        found += list(differences(expected["body"], answer.json() if answer.content else None, "body"))
    found += list(differences(expected.get("has", {}), answer.json() if answer.content else {}, "body", partly=True))
    assert found == []


def test_every_sample_says_where_it_is_from() -> None:
    nameless = [name for name, sample in SAMPLES.items() if sample["source"].partition(":")[0] not in KINDS]

    assert nameless == []
    assert len(SAMPLES) == sum(len(yaml.safe_load(path.read_text())) for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize(
    ("expected", "found", "complaint"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, ".b: is one too many"),
        ({"a": 1, "b": 2}, {"a": 1}, ".b: is missing"),
        ({"a": "<guid>"}, {"a": "x"}, ".a: 'x' is not '<guid>'"),
        ({"a": [1, "<digits>"]}, {"a": [1, "07"]}, ""),
        ({"a": True}, {"a": 1}, ".a: 1 is not True"),
        ({"a": "<number>"}, {"a": "1"}, ".a: '1' is not '<number>'"),
        ({"a": "in <any> out"}, {"a": "in \r\n out"}, ""),
    ],
)
def test_the_comparison_notices(expected: Any, found: Any, complaint: str) -> None:
    assert list(differences(expected, found)) == ([complaint] if complaint else [])
