"""Client certificates, as kubectl, lightkube and curl show them, on the embedded server and on the real one alike."""

import asyncio
import datetime
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lightkube import AsyncClient, KubeConfig
from lightkube.resources.core_v1 import Namespace

from keystead_sandbox import kubeconfig
from keystead_sandbox.clock import ScaledClock
from keystead_sandbox.control_plane import assets
from keystead_sandbox.control_plane.cluster import running
from keystead_sandbox.kube.app import Cluster
from keystead_sandbox.kube.auth import User
from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.server import Server

pytestmark = [pytest.mark.process, pytest.mark.looptime(False)]
_REVIEW = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
_REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_TOKEN = "a-token-of-somebody-else"


@dataclass(frozen=True)
class Door:
    """A server that asks for certificates."""

    url: str
    authority: Authority
    token: str
    """Of a user ``by-token``."""
    folder: Path

    def config(self, *, of: Authority | None = None, user: str = "dev", groups: tuple[str, ...] = ("devs",)) -> Path:
        """A kubeconfig whose only user has a certificate."""
        section = kubeconfig.certificate_section(*(of or self.authority).issue_client(user, groups))
        path = self.folder / "somebody.kubeconfig"
        cluster = kubeconfig.cluster_section(self.url, self.authority.ca_pem)
        kubeconfig.publish(path, kubeconfig.document(cluster, {"somebody": section}, current="somebody"))
        return path

    async def curl(self, certificate: tuple[bytes, bytes], *options: str, path: str = _REVIEWS) -> tuple[int, Any]:
        """Status and body; the certificate is shown whoever signed it."""
        for name, content in (("c.pem", certificate[0]), ("c.key", certificate[1]), ("ca.pem", self.authority.ca_pem)):
            (self.folder / name).write_bytes(content)
        body = ("--data", _REVIEW, "-H", "Content-Type: application/json") if path == _REVIEWS else ()
        files = ("--cacert", "ca.pem", "--cert", "c.pem", "--key", "c.key")
        code, out, err = await _run(
            # A real server ends an HTTP/2 connection with its 401, which older curls take for half an answer.
            "curl",
            "-sS",
            "--http1.1",
            *files,
            *body,
            *options,
            "-w",
            "\n%{http_code}",
            self.url + path,
            folder=self.folder,
        )
        assert code == 0, err
        text, _, status = out.rpartition("\n")
        return int(status), json.loads(text)


async def _run(
    name: str, *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    program = shutil.which(name) or str(Path(sys.executable).with_name(name))
    path = dict(os.environ)["PATH"]  # noqa: TID251 - for a child
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest_asyncio.fixture
async def door(tmp_path: Path, is_real: bool) -> AsyncIterator[Door]:
    if is_real:
        found = assets.find(dict(os.environ))  # noqa: TID251 - as the command will look for it
        assert found is not None
        from keystead_sandbox.control_plane.cluster import User as Named

        async with running(found, tmp_path / "plane", [Named("by-token", token=_TOKEN)]) as plane:
            yield Door(plane.url, plane.authority, _TOKEN, tmp_path)
        return
    authority, clock = Authority(), ScaledClock()
    tls = server_context(*authority.issue(("127.0.0.1",)), asks_clients=True)
    late: list[Cluster] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await late[0](scope, receive, send)

    server = Server(app, tls=tls)
    url = f"https://127.0.0.1:{await server.start()}"
    users = {_TOKEN: User("by-token")}
    late.append(Cluster(clock, issuer=url, users=users, ca_pem=authority.ca_pem.decode()))
    yield Door(url, authority, _TOKEN, tmp_path)
    await server.stop()


async def test_a_certificate_says_who_one_is_to_every_client(door: Door) -> None:
    config = door.config(user="dev", groups=("devs", "search"))
    code, out, err = await _run(
        "kubectl", "--kubeconfig", str(config), "auth", "whoami", "-o", "json", folder=door.folder
    )
    assert code == 0, err
    by_kubectl = json.loads(out)["status"]["userInfo"]

    certificate = door.authority.issue_client("dev", ("devs", "search"))
    status, review = await door.curl(certificate)
    by_curl = review["status"]["userInfo"]

    assert status == 201
    for each in (by_kubectl, by_curl):
        identifier = each.pop("extra")["authentication.kubernetes.io/credential-id"]
        assert [part.partition("=")[0] for part in identifier] == ["X509SHA256"]
        assert len(identifier[0]) == len("X509SHA256=") + 64
        assert each == {"username": "dev", "groups": ["devs", "search", "system:authenticated"]}


async def test_rights_go_with_the_organisations_of_a_certificate(door: Door) -> None:
    async def names(groups: tuple[str, ...]) -> list[str]:
        config = KubeConfig.from_file(door.config(user="anybody", groups=groups))
        client = AsyncClient(config=config, trust_env=False)
        try:
            return [each.metadata.name or "" async for each in client.list(Namespace) if each.metadata]
        finally:
            await client.close()

    assert "kube-system" in await names(("system:masters",))
    with pytest.raises(Exception, match='User "anybody" cannot list resource "namespaces"'):
        await names(("devs",))


async def test_a_certificate_that_does_not_count_is_refused_in_words(door: Door) -> None:
    same_name = Authority(_name_of(door.authority))
    refused = {
        "another authority's": Authority("another").issue_client("dev", ("system:masters",)),
        "one by the same name": same_name.issue_client("dev", ("system:masters",)),
        "one that has run out": door.authority.issue_client("dev", valid=datetime.timedelta(minutes=-5)),
    }
    for what, certificate in refused.items():
        for version in ("1.2", "1.3"):
            status, body = await door.curl(certificate, "--tls-max", version)
            assert (what, status, body["reason"]) == (what, 401, "Unauthorized")
            status, _ = await door.curl(certificate, "--tls-max", version, path="/version")
            assert (what, status) == (what, 401), "not even what anybody may read"
    code, _, err = await _run(
        "kubectl", "--kubeconfig", str(door.config(of=same_name)), "get", "ns", folder=door.folder
    )
    assert code == 1
    assert "Unauthorized" in err or "must be logged in" in err


async def test_certificate_and_token_together(door: Door) -> None:
    """The certificate comes first; one that does not count leaves it to the token."""
    good, bad = door.authority.issue_client("dev"), Authority("another").issue_client("dev")

    async def who(certificate: tuple[bytes, bytes], token: str) -> Any:
        status, body = await door.curl(certificate, "-H", f"Authorization: Bearer {token}")
        return body["status"]["userInfo"]["username"] if status == 201 else status

    assert await who(good, door.token) == "dev"
    assert await who(good, "nobodys") == "dev"
    assert await who(bad, door.token) == "by-token"
    assert await who(bad, "nobodys") == 401


async def test_a_certificate_without_a_name_stands_for_nobody(door: Door) -> None:
    status, body = await door.curl(door.authority.issue_client("", ("system:masters",)), path="/api/v1/namespaces")

    assert status == 403
    assert 'User "system:anonymous" cannot list resource "namespaces"' in body["message"]


async def test_without_any_certificate_nothing_changes(door: Door) -> None:
    (door.folder / "ca.pem").write_bytes(door.authority.ca_pem)
    _, out, _ = await _run("curl", "-sS", "--cacert", "ca.pem", f"{door.url}/version", folder=door.folder)

    assert json.loads(out)["major"] == "1"


def _name_of(authority: Authority) -> str:
    from cryptography import x509

    return str(x509.load_pem_x509_certificate(authority.ca_pem).subject.rfc4514_string().removeprefix("CN="))


async def test_a_certificate_that_is_not_for_clients_gets_nobody_in(door: Door, is_real: bool) -> None:
    """A server's own: the real one answers 401, the embedded one ends the handshake."""
    for name, content in zip(("c.pem", "c.key"), door.authority.issue(("127.0.0.1",)), strict=True):
        (door.folder / name).write_bytes(content)
    (door.folder / "ca.pem").write_bytes(door.authority.ca_pem)
    options = ("-sS", "--http1.1", "--cacert", "ca.pem", "--cert", "c.pem", "--key", "c.key", "-w", "\n%{http_code}")
    code, out, _ = await _run("curl", *options, f"{door.url}/version", folder=door.folder)

    assert (code == 0, out.rpartition("\n")[2]) == ((True, "401") if is_real else (False, "000"))
