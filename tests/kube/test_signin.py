"""Kubeconfigs as kubectl reads them, over real sockets, files and processes."""

import asyncio
import base64
import json
import os
import ssl
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from keystead.kube.client import Api, load_config
from keystead.model.errors import KeysteadError, Refused
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.server import Server

pytestmark = pytest.mark.looptime(False)


class Door:
    """Lets in whoever has one of *tokens*; with none, everybody. Remembers who came."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = tokens
        self.came: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = Request(scope, receive).headers.get("authorization", "").removeprefix("Bearer ")
        self.came.append(token)
        refused = bool(self.tokens) and token not in self.tokens
        response: Response = Response(status_code=401) if refused else JSONResponse({"token": token})
        await response(scope, receive, send)


@asynccontextmanager
async def _serving(door: Door, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = Server(door, tls=tls)
    port = await server.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await server.stop()


def _kubeconfig(folder: Path, server: str, user: dict[str, Any] | None, **cluster: Any) -> str:
    path = folder / "kubeconfig"
    context = {"cluster": "k", **({"user": "u"} if user is not None else {})}
    body = {
        "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}] if user is not None else [],
        "contexts": [{"name": "c", "context": context}],
    }
    path.write_text(yaml.safe_dump(body))
    return str(path)


async def _ask(kubeconfig: str, times: int = 1) -> list[str]:
    api = Api(load_config(kubeconfig, None))
    try:
        return [(await api.get("/version"))["token"] for _ in range(times)]
    finally:
        await api.close()


async def test_a_context_without_a_user_is_anonymous(tmp_path: Path) -> None:
    async with _serving(Door()) as address:
        assert await _ask(_kubeconfig(tmp_path, address, None)) == [""]


async def test_a_token_file_is_read_again_when_it_was_replaced(tmp_path: Path) -> None:
    door = Door("one", "two")
    (tmp_path / "token").write_text("one\n")
    async with _serving(door) as address:
        api = Api(load_config(_kubeconfig(tmp_path, address, {"tokenFile": "token"}), None))
        first = await api.get("/version")
        (tmp_path / "fresh").write_text("two\n")
        (tmp_path / "fresh").rename(tmp_path / "token")
        second = await api.get("/version")
        await api.close()

    assert (first["token"], second["token"]) == ("one", "two")
    assert door.came == ["one", "two"]


async def test_a_refused_token_that_stays_the_same_is_not_sent_again(tmp_path: Path) -> None:
    door = Door("other")
    (tmp_path / "token").write_text("one")
    async with _serving(door) as address:
        with pytest.raises(Refused):
            await _ask(_kubeconfig(tmp_path, address, {"tokenFile": "token"}))

    assert door.came == ["one"]


@pytest.mark.parametrize("content", [None, "", "  \n"], ids=["missing", "empty", "blank"])
async def test_a_token_file_without_a_token_is_told(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "token").write_text(content)
    with pytest.raises(KeysteadError, match="token"):
        await _ask(_kubeconfig(tmp_path, "http://127.0.0.1:9", {"tokenFile": "token"}))


def _plugin(folder: Path, body: str, *, version: str = "v1", **more: Any) -> dict[str, Any]:
    """An exec plugin in Python; ``say(**status)`` prints its credential, ``runs`` counts."""
    prelude = f"""
        import json, os, pathlib, sys, time
        counter = pathlib.Path({str(folder / "runs")!r})
        runs = int(counter.read_text()) + 1 if counter.exists() else 1
        counter.write_text(str(runs))
        info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
        def say(**status):
            head = {{"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}}
            print(json.dumps(head))
        """
    script = folder / "plugin"
    script.write_text(f"#!{sys.executable}\n{textwrap.dedent(prelude)}\n{textwrap.dedent(body)}\n")
    script.chmod(0o700)
    api_version = f"client.authentication.k8s.io/{version}"
    return {"exec": {"apiVersion": api_version, "command": "./plugin", "interactiveMode": "Never", **more}}


def _runs(folder: Path) -> int:
    return int((folder / "runs").read_text())


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
async def test_a_plugin_signs_in_once_for_many_requests(tmp_path: Path, version: str) -> None:
    user = _plugin(tmp_path, "say(token=f'token-{runs}')", version=version)
    async with _serving(Door()) as address:
        config = load_config(_kubeconfig(tmp_path, address, user), None)
        api = Api(config)
        answers = await asyncio.gather(*(api.get("/version") for _ in range(8)))
        await api.close()

    assert {each["token"] for each in answers} == {"token-1"}
    assert _runs(tmp_path) == 1


async def test_a_refused_credential_is_renewed_once(tmp_path: Path) -> None:
    door = Door("token-2")
    user = _plugin(tmp_path, "say(token=f'token-{runs}')")
    async with _serving(door) as address:
        assert await _ask(_kubeconfig(tmp_path, address, user), 3) == ["token-2"] * 3

    assert door.came == ["token-1", "token-2", "token-2", "token-2"]


async def test_a_credential_that_ran_out_is_not_used(tmp_path: Path) -> None:
    user = _plugin(tmp_path, "say(token=f'token-{runs}', expirationTimestamp='2020-01-01T00:00:00Z')")
    async with _serving(Door()) as address:
        assert await _ask(_kubeconfig(tmp_path, address, user), 2) == ["token-1", "token-2"]


async def test_a_plugin_learns_of_the_cluster_and_gets_its_arguments(tmp_path: Path) -> None:
    body = "say(token='/'.join((sys.argv[1], os.environ['WHO'], info['spec']['cluster']['server'], str(info['spec']['interactive']))))"
    more: dict[str, Any] = {"args": ["first"], "env": [{"name": "WHO", "value": "me"}], "provideClusterInfo": True}
    async with _serving(Door()) as address:
        kubeconfig = _kubeconfig(tmp_path, address, _plugin(tmp_path, body, **more))

        assert await _ask(kubeconfig) == [f"first/me/{address}/False"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.exit(3)", "exit code 3"),
        ("print('s3cr3t: not JSON')", "something else than an ExecCredential"),
        ("say()", "neither a token nor a client certificate"),
        (
            "print(json.dumps({'apiVersion': 'other/v1', 'kind': 'ExecCredential', 'status': {'token': 's3cr3t'}}))",
            "other/v1",
        ),
        ("say(token=5)", "something else than an ExecCredential"),
    ],
    ids=["it fails", "it prints rubbish", "it gives nothing", "it speaks another version", "it gives a number"],
)
async def test_a_plugin_that_misbehaves_is_told_without_what_it_printed(tmp_path: Path, body: str, told: str) -> None:
    with pytest.raises(KeysteadError, match=told) as caught:
        await _ask(_kubeconfig(tmp_path, "http://127.0.0.1:9", _plugin(tmp_path, body)))

    assert "s3cr3t" not in str(caught.value)


async def test_a_plugin_that_is_not_there_is_told_with_its_hint(tmp_path: Path) -> None:
    user = _plugin(tmp_path, "", installHint="Install it from the catalogue.")
    (tmp_path / "plugin").unlink()
    with pytest.raises(Refused, match="Install it from the catalogue"):
        await _ask(_kubeconfig(tmp_path, "http://127.0.0.1:9", user))


async def test_a_client_certificate_is_shown(tmp_path: Path) -> None:
    authority, people = Authority("server"), Authority("people")
    tls = server_context(*authority.issue(["127.0.0.1"]))
    tls.load_verify_locations(cadata=people.ca_pem.decode())
    tls.verify_mode = ssl.CERT_REQUIRED
    certificate, key = _client_certificate(people)
    given = {"certificate-authority-data": base64.b64encode(authority.ca_pem).decode()}
    user = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    (tmp_path / "pem").write_text(json.dumps([certificate.decode(), key.decode()]))
    body = (
        f"pems = json.load(open({str(tmp_path / 'pem')!r})); say(clientCertificateData=pems[0], clientKeyData=pems[1])"
    )
    async with _serving(Door(), tls) as address:
        assert await _ask(_kubeconfig(tmp_path, address, user, **given)) == [""]
        assert await _ask(_kubeconfig(tmp_path, address, _plugin(tmp_path, body), **given)) == [""]
        with pytest.raises(KeysteadError):
            await _ask(_kubeconfig(tmp_path, address, {"token": "t"}, **given))


def _client_certificate(people: Authority) -> tuple[bytes, bytes]:
    """The sandbox's authority makes server certificates; one with both uses serves here."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    made = people._builder(name, key.public_key()).add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.sign(people._key, hashes.SHA256()).public_bytes(pem), private


async def test_the_servers_name_may_be_another_than_its_address(tmp_path: Path) -> None:
    authority = Authority("server")
    data = base64.b64encode(authority.ca_pem).decode()
    async with _serving(Door(), server_context(*authority.issue(["kubernetes.example"]))) as address:
        named = {"certificate-authority-data": data, "tls-server-name": "kubernetes.example"}
        assert await _ask(_kubeconfig(tmp_path, address, {"token": "t"}, **named)) == ["t"]
        with pytest.raises(KeysteadError):
            await _ask(_kubeconfig(tmp_path, address, {"token": "t"}, **{"certificate-authority-data": data}))
        unchecked = {"insecure-skip-tls-verify": True}
        assert await _ask(_kubeconfig(tmp_path, address, {"token": "t"}, **unchecked)) == ["t"]


async def test_loopback_is_never_reached_through_a_proxy(tmp_path: Path) -> None:
    """In a process of its own: the environment belongs to a process."""
    program = (
        "import asyncio, sys; from keystead.kube.client import Api, load_config\n"
        "async def main():\n"
        "    api = Api(load_config(sys.argv[1], None)); print((await api.get('/version'))['token']); await api.close()\n"
        "asyncio.run(main())\n"
    )
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"), "http://127.0.0.1:9")
    inherited = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}  # noqa: TID251 - for a child
    async with _serving(Door()) as address:
        kubeconfig = _kubeconfig(tmp_path, address, {"token": "t"})
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, kubeconfig), env={**inherited, **proxies}, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await child.communicate()

    assert output == b"t\n"


async def test_several_files_are_read_as_one(tmp_path: Path) -> None:
    async with _serving(Door()) as address:
        first, second = tmp_path / "first", tmp_path / "second"
        first.write_text(yaml.safe_dump({"users": [{"name": "u", "user": {"token": "from the first"}}]}))
        second.mkdir()
        other = _kubeconfig(second, address, {"token": "from the second"})
        merged = os.pathsep.join((str(first), str(tmp_path / "missing"), other))

        assert await _ask(merged) == ["from the first"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no current context"),
        ("[]", "no current context"),
        ("5", "not a kubeconfig"),
        ("{a: [", "not YAML"),
        ("current-context: c", "no context 'c'"),
        ("{current-context: c, contexts: [{name: c, context: {cluster: k}}]}", "names 'k'"),
        ("{current-context: c, contexts: [{context: {cluster: k}}]}", "name is missing"),
        ("{current-context: c, contexts: [{name: c}]}", "cluster"),
        (
            "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}], clusters: [{name: k, cluster: {}}]}",
            "names 'u'",
        ),
    ],
)
def test_a_kubeconfig_that_makes_no_sense_is_refused_with_the_cure(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(Refused, match=told) as caught:
        load_config(str(path), None)

    assert "KUBECONFIG" in str(caught.value)


def test_an_unknown_plugin_version_is_refused(tmp_path: Path) -> None:
    user = _plugin(tmp_path, "", version="v9")
    with pytest.raises(Refused, match="v9"):
        Api(load_config(_kubeconfig(tmp_path, "http://127.0.0.1:9", user), None))
