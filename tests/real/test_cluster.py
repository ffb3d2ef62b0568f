"""A control plane as :mod:`keystead_sandbox.control_plane` runs it: who gets in, what it enforces, how it fails and ends."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import KeySet
from lightkube import KubeConfig
from lightkube.resources.core_v1 import Namespace

from keystead_sandbox import kubeconfig
from keystead_sandbox.access import KubernetesRefused, read_config
from keystead_sandbox.control_plane import assets
from keystead_sandbox.control_plane.cluster import ADMIN, ADMINS, ControlPlane, User, make_folder, running
from keystead_sandbox.control_plane.leftovers import claimed
from keystead_sandbox.kube_api import KubeApi
from keystead_sandbox.processes import PartFailed

pytestmark = [pytest.mark.real, pytest.mark.process]
_READY = 200


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    found = assets.find(dict(os.environ))  # noqa: TID251 - as the command will look for it
    assert found is not None
    async with running(found, tmp_path, [User("reviewer", ("reviewers",))]) as plane:
        yield plane


async def _anonymous(plane: ControlPlane, path: str) -> tuple[int, Any]:
    trust = ssl.create_default_context(cadata=plane.ca_pem.decode())
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(plane.url + path, ssl=trust) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text.startswith("{") else text


async def _who(plane: ControlPlane, tmp_path: Path, section: dict[str, Any]) -> dict[str, Any]:
    path = tmp_path / "somebody"
    kubeconfig.publish(path, plane.config({"somebody": section}, current="somebody"))
    api = KubeApi(read_config(path))
    try:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    finally:
        await api.close()
    found: dict[str, Any] = answer["status"]["userInfo"]
    return found


async def test_it_says_its_version_and_knows_everybody_it_should(plane: ControlPlane, tmp_path: Path) -> None:
    _, version = await _anonymous(plane, "/version")
    admin = KubeApi(read_config(plane.kubeconfig))
    account = await admin.token("kube-public", "default", seconds=3600)
    await admin.close()

    by_token = await _who(plane, tmp_path, kubeconfig.token_section(plane.token("reviewer")))
    by_certificate = await _who(plane, tmp_path, plane.certificate("dev", ["payments", "search"]))
    by_account = await _who(plane, tmp_path, kubeconfig.token_section(account))

    assert version["gitVersion"] == assets.kubernetes_version(assets.module_folder())
    assert (by_token["username"], "reviewers" in by_token["groups"]) == ("reviewer", True)
    assert (by_certificate["username"], {"payments", "search"} <= set(by_certificate["groups"])) == ("dev", True)
    assert by_account["username"] == "system:serviceaccount:kube-public:default"


async def test_anybody_may_read_the_issuers_documents_and_nothing_else(plane: ControlPlane) -> None:
    status, configuration = await _anonymous(plane, "/.well-known/openid-configuration")
    assert (status, configuration["issuer"]) == (200, plane.url)
    assert (await _anonymous(plane, configuration["jwks_uri"].removeprefix(plane.url)))[0] == 200
    assert (await _anonymous(plane, "/api/v1/namespaces"))[0] == 403


async def test_a_token_verifies_against_the_published_keys(plane: ControlPlane) -> None:
    admin = KubeApi(read_config(plane.kubeconfig))
    token = await admin.token("default", "default", seconds=600)
    await admin.close()
    _, keys = await _anonymous(plane, "/openid/v1/jwks")

    claims = jwt.decode(token, KeySet.import_key_set(keys), algorithms=["RS256"]).claims

    assert (claims["iss"], claims["sub"]) == (plane.url, "system:serviceaccount:default:default")


async def test_a_namespace_ends_with_all_that_is_in_it(plane: ControlPlane) -> None:
    admin, watcher = KubeApi(read_config(plane.kubeconfig)), plane.client()
    try:
        await admin.post("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        await admin.post("/api/v1/namespaces/shop/configmaps", {"metadata": {"name": "a"}})
        await admin.delete("/api/v1/namespaces/shop")
        async for operation, _ in watcher.watch(Namespace, fields={"metadata.name": "shop"}):
            if operation == "DELETED":
                break
        left = await admin.get("/api/v1/namespaces/shop/configmaps")
    finally:
        await admin.close()
        await watcher.close()

    assert left["items"] == []


async def test_a_guard_that_is_written_is_enforced(plane: ControlPlane) -> None:
    """ValidatingAdmissionPolicy works as it does by default."""
    admin = KubeApi(read_config(plane.kubeconfig))
    folder = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    policy = {
        "metadata": {"name": "none"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "object.metadata.name != 'forbidden'", "message": "the guard says no"}],
        },
    }
    binding = {"metadata": {"name": "none"}, "spec": {"policyName": "none", "validationActions": ["Deny"]}}
    try:
        await admin.post(folder, policy)
        await admin.post(f"{folder.removesuffix('ies')}ybindings", binding)
        async with asyncio.timeout(60):
            refused = ""
            while not refused:  # a policy works a moment after it was accepted
                try:
                    await admin.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "forbidden"}})
                    await admin.delete("/api/v1/namespaces/default/configmaps/forbidden")
                except KubernetesRefused as error:
                    refused = str(error)
    finally:
        await admin.close()

    assert "the guard says no" in refused


async def test_what_was_written_is_there_after_every_program_was_killed(plane: ControlPlane) -> None:
    admin = KubeApi(read_config(plane.kubeconfig))
    await admin.post("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "kept"}})
    for program in ("etcd", "kube-apiserver", "kube-controller-manager"):
        before = plane.pid(program)
        await plane.restart(program)
        assert plane.pid(program) != before

    kept = await admin.get("/api/v1/namespaces/default/configmaps/kept")
    await admin.close()

    assert kept["metadata"]["name"] == "kept"


async def test_a_port_that_somebody_takes_first_is_tried_again_with_another(tmp_path: Path) -> None:
    """Another server listens there by the time the API server comes."""
    found = assets.find(dict(os.environ))  # noqa: TID251 - as the command will look for it
    assert found is not None
    taken, free = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0), _free()
    ports = iter([taken.sockets[0].getsockname()[1], free])
    with claimed("ks-etcd-") as claim:
        files = make_folder(tmp_path / "plane", claim.folder)
        plane = ControlPlane(found, files, (User(ADMIN, (ADMINS,)),), free_port=lambda: next(ports))
        try:
            await plane.start()
            assert plane.port == free
            assert (await _anonymous(plane, "/version"))[0] == _READY
            assert "address already in use" in (tmp_path / "plane" / "kube-apiserver.log").read_text()
        finally:
            await plane.stop()
            taken.close()


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_port_that_is_always_taken_is_told(tmp_path: Path) -> None:
    found = assets.find(dict(os.environ))  # noqa: TID251 - as the command will look for it
    assert found is not None
    taken = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    with claimed("ks-etcd-") as claim:
        files = make_folder(tmp_path / "plane", claim.folder)
        plane = ControlPlane(found, files, (User(ADMIN, (ADMINS,)),), free_port=lambda: port)
        try:
            with pytest.raises(PartFailed, match="does not stay up"):
                await plane.start()
        finally:
            await plane.stop()
            taken.close()


async def test_a_store_that_hangs_is_felt_and_gets_over_it(plane: ControlPlane) -> None:
    plane.pause("etcd")
    while await _readiness(plane) == _READY:  # each look takes as long as the API server waits for its store
        pass
    plane.resume("etcd")

    async with asyncio.timeout(120):
        while await _readiness(plane) != _READY:
            pass


async def _readiness(plane: ControlPlane) -> int:
    try:
        return (await _anonymous(plane, "/readyz"))[0]
    except (TimeoutError, aiohttp.ClientError):
        return 0


@pytest.mark.usefixtures("plane")
def test_nobody_else_can_read_its_keys(tmp_path: Path) -> None:
    secret = [path for path in tmp_path.iterdir() if path.suffix in (".key", ".csv") or "kubeconfig" in path.name]

    assert len(secret) >= 4
    assert [path for path in secret if path.stat().st_mode & 0o077] == []


def test_a_client_of_each_user_is_at_hand(tmp_path: Path) -> None:
    """A kubeconfig holds a context for each user, named like the user."""
    sections = {"admin": kubeconfig.token_section("a"), "dev": kubeconfig.certificate_section(b"c", b"k")}
    path = tmp_path / "kubeconfig"
    kubeconfig.publish(path, kubeconfig.document({"server": "https://127.0.0.1:1"}, sections, current="dev"))

    config = KubeConfig.from_file(path)

    assert config.current_context == "dev"
    assert sorted(config.contexts) == ["admin", "dev"]
