"""Kubeconfigs as people have them: every way in works against a server that checks it, and nonsense is told with its cure."""

import asyncio
import base64
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from keystead_sandbox.access import KubernetesRefused, read_config
from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.kube.app import Cluster
from keystead_sandbox.kube.auth import User
from keystead_sandbox.kube_api import KubeApi
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.server import Server

pytestmark = pytest.mark.process
NAME = "kubernetes.example"  # in the server's certificate; nothing resolves it
TOKEN = "somebodys-token"
_REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class Place:
    """An API server, and a folder with a kubeconfig."""

    def __init__(self, folder: Path, authority: Authority, port: int) -> None:
        self.folder = folder
        self.authority = authority
        self.port = port
        self.url = f"https://127.0.0.1:{port}"
        self.path = folder / "config"
        folder.mkdir(parents=True)
        (folder / "ca.pem").write_bytes(authority.ca_pem)

    def write(self, cluster: dict[str, Any], user: dict[str, Any] | None, **more: Any) -> Path:
        document = {
            "current-context": "c",
            "clusters": [{"name": "k", "cluster": {"server": self.url, **cluster}}],
            "users": [{"name": "u", "user": user}] if user is not None else [],
            "contexts": [{"name": "c", "context": {"cluster": "k", **({"user": "u"} if user is not None else {})}}],
            **more,
        }
        self.path.write_text(yaml.safe_dump(document))
        return self.path

    def plugin(self, text: str) -> dict[str, Any]:
        """An exec plugin beside the kubeconfig that runs *text* as Python."""
        program = self.folder / "plugin"
        program.write_text(f"#!{sys.executable}\nimport json, os, sys\n{text}\n")
        program.chmod(0o755)
        return {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin"}

    async def who(self, context: str | None = None) -> str:
        """As whom the server sees us."""
        api = KubeApi(read_config(self.path, context))
        try:
            answer = await api.post(_REVIEWS, {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"})
        finally:
            await api.close()
        return str(answer["status"]["userInfo"]["username"])


@pytest_asyncio.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    authority, late = Authority(), list[Cluster]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await late[0](scope, receive, send)

    server = Server(app, tls=server_context(*authority.issue(("127.0.0.1", NAME)), asks_clients=True))
    made = Place(tmp_path / "kube", authority, await server.start())
    late.append(Cluster(ScaledClock(), issuer=made.url, users={TOKEN: User("ann")}, ca_pem=authority.ca_pem.decode()))
    yield made
    await server.stop()


async def test_files_count_from_the_folder_of_the_kubeconfig(place: Place) -> None:
    certificate, key = place.authority.issue_client("ben")
    (place.folder / "me.pem").write_bytes(certificate)
    (place.folder / "me.key").write_bytes(key)
    place.write({"certificate-authority": "ca.pem"}, {"client-certificate": "me.pem", "client-key": "me.key"})

    assert await place.who() == "ben"


async def test_data_in_the_file_itself(place: Place) -> None:
    certificate, key = map(base64.b64encode, place.authority.issue_client("ben"))
    place.write(
        {"certificate-authority-data": base64.b64encode(place.authority.ca_pem).decode()},
        {"client-certificate-data": certificate.decode(), "client-key-data": key.decode()},
    )

    assert await place.who() == "ben"


async def test_a_token_and_a_file_with_one(place: Place) -> None:
    place.write({"certificate-authority": "ca.pem"}, {"token": TOKEN})
    by_token = await place.who()
    (place.folder / "token").write_text(f"{TOKEN}\n")
    place.write({"certificate-authority": "ca.pem"}, {"tokenFile": "token"})

    assert (by_token, await place.who()) == ("ann", "ann")


async def test_a_server_by_another_name_than_that_of_its_address(place: Place) -> None:
    """Its certificate is for the name alone, as behind a forwarded port."""
    server = Server(_told, tls=server_context(*place.authority.issue((NAME,))))
    place.url = f"https://127.0.0.1:{await server.start()}"
    try:
        place.write({"certificate-authority": "ca.pem"}, {"token": TOKEN})
        with pytest.raises(KubernetesRefused, match="certificate"):
            await place.who()
        place.write({"certificate-authority": "ca.pem", "tls-server-name": NAME}, {"token": TOKEN})

        assert await place.who() == "told"
    finally:
        await server.stop()


async def _told(scope: Any, receive: Any, send: Any) -> None:
    from starlette.responses import JSONResponse

    await JSONResponse({"status": {"userInfo": {"username": "told"}}})(scope, receive, send)


async def test_a_server_that_is_not_verified(place: Place) -> None:
    place.write({}, {"token": TOKEN})
    with pytest.raises(KubernetesRefused, match="certificate"):
        await place.who()
    place.write({"insecure-skip-tls-verify": True}, {"token": TOKEN})

    assert await place.who() == "ann"
    assert read_config(place.path).cluster_section() == {"server": place.url, "insecure-skip-tls-verify": True}


@contextlib.asynccontextmanager
async def _proxy(port: int) -> AsyncIterator[tuple[str, list[str]]]:
    """Leads everything to *port*, and remembers where to it was asked for."""
    asked: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while part := await reader.read(65536):
                writer.write(part)
                await writer.drain()
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n")[0].decode())
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    server.close()


async def test_a_server_behind_a_proxy(place: Place) -> None:
    async with _proxy(place.port) as (proxy, asked):
        place.write(
            {"server": f"https://{NAME}:6443", "certificate-authority": "ca.pem", "proxy-url": proxy}, {"token": TOKEN}
        )

        assert await place.who() == "ann"
    assert asked == [f"CONNECT {NAME}:6443 HTTP/1.1"]
    assert read_config(place.path).cluster_section()["proxy-url"] == proxy


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_plugin_says_who_one_is(place: Place, version: str) -> None:
    plugin = place.plugin(
        'info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])\n'
        'assert info["spec"]["cluster"]["server"] == sys.argv[1]\n'
        'status = {"token": os.environ["SECRET"]}\n'
        'print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}))'
    )
    plugin |= {
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "args": [place.url],
        "env": [{"name": "SECRET", "value": TOKEN}],
        "provideClusterInfo": True,
    }
    place.write({"certificate-authority": "ca.pem"}, {"exec": plugin})

    assert await place.who() == "ann"


async def test_a_plugin_may_give_a_certificate(place: Place) -> None:
    certificate, key = (each.decode() for each in place.authority.issue_client("ben"))
    plugin = place.plugin(
        f"status = {{'clientCertificateData': {certificate!r}, 'clientKeyData': {key!r}}}\n"
        "api = 'client.authentication.k8s.io/v1'\n"
        "print(json.dumps({'apiVersion': api, 'kind': 'ExecCredential', 'status': status}))"
    )
    place.write({"certificate-authority": "ca.pem"}, {"exec": plugin})

    assert await place.who() == "ben"


async def test_one_of_several_contexts(place: Place) -> None:
    users = [{"name": "u", "user": {"token": TOKEN}}, {"name": "v", "user": {"token": "nobodys"}}]
    contexts = [
        {"name": "c", "context": {"cluster": "k", "user": "v"}},
        {"name": "other", "context": {"cluster": "k", "user": "u"}},
        {"name": "nobody", "context": {"cluster": "k"}},
    ]
    place.write({"certificate-authority": "ca.pem"}, None, users=users, contexts=contexts)

    assert await place.who("other") == "ann"
    with pytest.raises(KubernetesRefused, match="401"):
        await place.who()
    with pytest.raises(KubernetesRefused, match="system:anonymous"):
        await place.who("nobody")


_API = "client.authentication.k8s.io/v1"
_PLUGIN = {"apiVersion": _API, "command": "plugin"}
_NONSENSE: dict[str, tuple[Callable[[Place], Any], str]] = {
    "no YAML": (lambda place: place.path.write_text("a: [1"), "it is not YAML"),
    "no text": (lambda place: place.path.write_bytes(b"\xff\xfe\x00"), "it is not text"),
    "nothing": (lambda place: place.path.write_text(""), "it holds no clusters, users and contexts"),
    "a list": (lambda place: place.path.write_text("[1]"), "it holds no clusters, users and contexts"),
    "no current context": (
        lambda place: place.write({}, {}, **{"current-context": ""}),
        "no current-context; name one with --context: c",
    ),
    "a context that is not there": (
        lambda place: place.write({}, {}, **{"current-context": "d"}),
        "no context 'd'; there are c",
    ),
    "a cluster that is not there": (
        lambda place: place.write({}, {}, clusters=[]),
        "its context names 'k', which is not among its clusters",
    ),
    "a user that is not there": (
        lambda place: place.write({}, {}, users=[{"name": "other", "user": {}}]),
        "its context names 'u', which is not among its users",
    ),
    "contexts of another shape": (lambda place: place.write({}, {}, contexts={"c": 1}), "contexts: must be a list"),
    "no server": (lambda place: place.write({"server": ""}, {}), "its cluster: it names no server"),
    "a server that is no address": (lambda place: place.write({"server": "host:6443"}, {}), "is no address such as"),
    "a port that is none": (lambda place: place.write({"server": "https://h:99999"}, {}), "is no address such as"),
    "an authority that is not there": (
        lambda place: place.write({"certificate-authority": "none.pem"}, {}),
        "certificate-authority: ",
    ),
    "an authority that is none": (
        lambda place: place.write({"certificate-authority-data": base64.b64encode(b"junk").decode()}, {}),
        "its certificates cannot be used",
    ),
    "data that is no base64": (
        lambda place: place.write({"certificate-authority-data": "%%%"}, {}),
        "certificate-authority-data: is not base64",
    ),
    "an authority that is not to be used": (
        lambda place: place.write({"certificate-authority": "ca.pem", "insecure-skip-tls-verify": True}, {}),
        "exclude each other",
    ),
    "a proxy of an unknown kind": (
        lambda place: place.write({"proxy-url": "socks5://127.0.0.1:1"}, {}),
        "proxy-url: only http and https proxies",
    ),
    "half a certificate": (
        lambda place: place.write({}, {"client-certificate": "ca.pem"}),
        "one of client-certificate and client-key, and needs both",
    ),
    "a key of another certificate": (
        lambda place: place.write({}, _mixed(place)),
        "its certificates cannot be used",
    ),
    "a token's file that is not there": (lambda place: place.write({}, {"tokenFile": "none"}), "tokenFile: "),
    "a way that is gone": (lambda place: place.write({}, {"auth-provider": {"name": "gcp"}}), "sign in by exec"),
    "a plugin that is not there": (
        lambda place: place.write({}, {"exec": {**_PLUGIN, "command": "./none", "installHint": "Install it."}}),
        "cannot be run (No such file or directory). Install it.",
    ),
    "a plugin of another age": (
        lambda place: place.write({}, {"exec": {**_PLUGIN, "apiVersion": "client.authentication.k8s.io/v1alpha1"}}),
        "is none of client.authentication.k8s.io/v1, ",
    ),
    "a plugin without a command": (lambda place: place.write({}, {"exec": {**_PLUGIN, "command": ""}}), "no command"),
    "a plugin that fails": (
        lambda place: place.write({}, {"exec": place.plugin("sys.exit(3)")}),
        "ended with code 3",
    ),
    "a plugin that says something else": (
        lambda place: place.write({}, {"exec": place.plugin("print('hello')")}),
        "printed something else than an ExecCredential",
    ),
    "a plugin that gives nothing": (
        lambda place: place.write(
            {}, {"exec": place.plugin(f"print(json.dumps({{'apiVersion': {_API!r}, 'status': {{}}}}))")}
        ),
        "gave neither token nor certificate",
    ),
}


def _mixed(place: Place) -> dict[str, str]:
    certificate, key = place.authority.issue_client("a")[0], place.authority.issue_client("b")[1]
    return {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }


@pytest.mark.parametrize(("write", "told"), _NONSENSE.values(), ids=_NONSENSE)
async def test_nonsense_is_told_with_its_place(place: Place, write: Callable[[Place], Any], told: str) -> None:
    write(place)

    with pytest.raises(KubernetesRefused) as refused:
        read_config(place.path)

    assert str(refused.value).startswith(f"{place.path} is no usable kubeconfig: ")
    assert told in str(refused.value)
    assert "junk" not in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(KubernetesRefused, match="it cannot be read \\(No such file or directory\\)"):
        read_config(tmp_path / "none")
