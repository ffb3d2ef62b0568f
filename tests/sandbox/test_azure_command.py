"""``keystead-sandbox azure`` as people start it, and Microsoft's own management client against it."""

import contextlib
import json
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.msi.aio import ManagedServiceIdentityClient
from azure.mgmt.msi.models import FederatedIdentityCredential, Identity

COMMAND = str(Path(sys.executable).with_name("keystead-sandbox"))
SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
# Two writes and then a long wait, so that no test depends on how fast this machine is.
SEED = f"""
rules: {{writeRefill: 0.001, listCapacity: 100}}
subscriptions: [{{id: {SUBSCRIPTION}}}]
resourceGroups: [{{id: /subscriptions/{SUBSCRIPTION}/resourceGroups/pool}}]
"""
AUDIENCES = ["api://AzureADTokenExchange"]
_PATIENCE = 30  # wall seconds for a process to come up or go


class Running:
    """The process, and what it exported."""

    def __init__(self, process: subprocess.Popen[str], env_file: Path) -> None:
        self.process = process
        self.env_file = env_file
        lines = [shlex.split(line) for line in env_file.read_text().splitlines()]
        self.exports = dict(words[1].split("=", 1) for words in lines if words[0] == "export")

    def control(self, path: str) -> Any:
        with urllib.request.urlopen(self.exports["KEYSTEAD_SANDBOX_URL"] + path) as answer:  # noqa: S310 - loopback
            return json.load(answer)

    @contextlib.asynccontextmanager
    async def client(self) -> Any:
        """The management client, signed in as the owner, with the environment's proxy and authority."""
        options: dict[str, Any] = {
            "connection_verify": self.exports["SSL_CERT_FILE"],
            "proxies": {"https": self.exports["HTTPS_PROXY"]},
            "retry_total": 0,
        }
        credential = ClientSecretCredential(
            self.exports["AZURE_TENANT_ID"],
            self.exports["AZURE_CLIENT_ID"],
            self.exports["AZURE_CLIENT_SECRET"],
            **options,
        )
        subscription = self.exports["AZURE_SUBSCRIPTION_ID"]
        async with credential, ManagedServiceIdentityClient(credential, subscription, **options) as client:
            yield client


def _written(path: Path) -> int | None:
    """When, if it is there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def start(folder: Path, *options: str) -> Running:
    """Start it, and wait for the environment file, which promises all the rest."""
    env_file = folder / "azure.env"
    before = _written(env_file)
    process = subprocess.Popen(  # noqa: S603 - our own executable
        [COMMAND, "azure", "--env-file", str(env_file), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + _PATIENCE
    while (
        not env_file.exists() or env_file.stat().st_mtime_ns == before
    ):  # another process's file: there is nothing to be woken by
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no environment file"
        time.sleep(0.05)
    return Running(process, env_file)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    seed = tmp_path / "seed.yaml"
    seed.write_text(SEED)
    journal = tmp_path / "journal.jsonl"
    made = start(tmp_path, "--seed", str(seed), "--clock-rate", "20", "--journal", str(journal))
    yield made
    made.process.kill()
    made.process.communicate()


def credential(subject: str) -> FederatedIdentityCredential:
    return FederatedIdentityCredential(issuer="https://issuer.example.test/", subject=subject, audiences=AUDIENCES)


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_exports_what_clients_need_and_goes_without_a_trace(tmp_path: Path, number: signal.Signals) -> None:
    running = start(tmp_path)
    exports = running.exports
    mode = running.env_file.stat().st_mode & 0o777
    authority = Path(exports["SSL_CERT_FILE"])
    state = running.control("/state")

    running.process.send_signal(number)
    output = running.process.communicate(timeout=_PATIENCE)

    assert set(exports) == {
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "AZURE_TENANT_ID",
        "AZURE_SUBSCRIPTION_ID",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "KEYSTEAD_SANDBOX_URL",
        "https_proxy",
        "http_proxy",
        "no_proxy",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "ARM_TENANT_ID",
        "ARM_SUBSCRIPTION_ID",
        "ARM_CLIENT_ID",
        "ARM_CLIENT_SECRET",
    }
    assert mode == 0o600
    assert authority.parent == tmp_path
    assert state == {"identities": [], "vaults": []}
    assert (running.process.returncode, output) == (0, ("", ""))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
async def test_the_unmodified_management_client_works(running: Running, tmp_path: Path) -> None:
    async with running.client() as client:
        made = await client.user_assigned_identities.create_or_update("pool", "writer", Identity(location="westeurope"))
        fics = client.federated_identity_credentials
        written = await fics.create_or_update("pool", "writer", "fic-1", credential("a"))
        with pytest.raises(ResourceExistsError) as taken:
            await fics.create_or_update("pool", "writer", "fic-2", credential("a"))
        listed = [each.subject async for each in fics.list("pool", "writer")]
        with pytest.raises(ResourceNotFoundError):
            await fics.get("pool", "writer", "gone")
        everywhere = [each.name async for each in client.user_assigned_identities.list_by_subscription()]

    assert made.id == f"/subscriptions/{SUBSCRIPTION}/resourcegroups/pool{made.id.partition('/pool')[2]}"
    assert (written.name, written.subject, written.audiences) == ("fic-1", "a", AUDIENCES)
    assert taken.value.error is not None
    assert taken.value.error.code == "Conflict"
    assert (listed, everywhere) == (["a"], ["writer"])
    state = running.control("/state")
    assert [each["name"] for each in state["identities"][0]["credentials"]] == ["fic-1"]
    journal = (tmp_path / "journal.jsonl").read_text()
    assert running.exports["AZURE_CLIENT_SECRET"] not in journal
    assert "eyJ" not in journal  # how every token begins
    assert [json.loads(line) for line in journal.splitlines()] == running.control("/journal")


@pytest.mark.process
async def test_the_client_is_paced_and_pages_its_lists(running: Running) -> None:
    async with running.client() as client:
        await client.user_assigned_identities.create_or_update("pool", "writer", Identity(location="westeurope"))
        fics = client.federated_identity_credentials
        refused: HttpResponseError | None = None
        for number in range(4):
            try:
                await fics.create_or_update("pool", "writer", f"fic-{number}", credential(f"s{number}"))
            except HttpResponseError as error:
                refused = error
                break
        listed = [each.name async for each in fics.list("pool", "writer", top=1)]

    assert refused is not None
    assert refused.status_code == 429
    answer: Any = refused.response
    # A token in 1000 sandbox seconds, at rate 20, is one in 50 of the client's own.
    assert 40 <= int(answer.headers["Retry-After"]) <= 50
    assert listed == ["fic-0", "fic-1"]


@pytest.mark.process
@pytest.mark.parametrize(("times", "seen"), [(1, [0, 200]), (2, [0, 0])], ids=["once", "twice"])
async def test_a_lost_answer_reaches_the_client_unless_its_transport_asks_again(
    running: Running, times: int, seen: list[int]
) -> None:
    fault = {"effect": "lost-answer", "service": "arm", "method": "PUT", "path": "federated", "times": times}
    async with running.client() as client, aiohttp.ClientSession() as control:
        await client.user_assigned_identities.create_or_update("pool", "writer", Identity(location="westeurope"))
        await control.post(running.exports["KEYSTEAD_SANDBOX_URL"] + "/faults", json=fault)
        # aiohttp repeats a PUT once by itself when the connection that it reused drops.
        lost = pytest.raises((ServiceRequestError, ServiceResponseError)) if times == 2 else contextlib.nullcontext()
        with lost:
            await client.federated_identity_credentials.create_or_update("pool", "writer", "fic-1", credential("a"))

    puts = [each for each in running.control("/journal") if "/federatedIdentityCredentials/" in each["path"]]
    assert [each["status"] for each in puts] == seen
    assert len(running.control("/state")["identities"][0]["credentials"]) == 1


def refusal(*options: str) -> tuple[int, str]:
    run = subprocess.run(  # noqa: S603 - our own executable
        [COMMAND, "azure", *options], capture_output=True, text=True, check=False, timeout=_PATIENCE
    )
    return run.returncode, run.stderr


@pytest.mark.process
def test_options_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text("tenants:\n- id: x\n  nme: y\n")
    (tmp_path / "ca.pem").write_text("none")
    env = ("--env-file", str(tmp_path / "azure.env"))
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        refused = [
            refusal("--env-file", str(tmp_path / "missing" / "azure.env")),
            refusal(*env, "--seed", str(tmp_path / "seed.yaml")),
            refusal(*env, "--issuer-ca", str(tmp_path / "ca.pem")),
            refusal(*env, "--journal", str(tmp_path / "missing" / "journal")),
            refusal(*env, "--port", port),
            refusal(*env, "--allow-issuer", "https://issuer.example.com/"),
            refusal("--env-file", str(tmp_path / "seed.yaml" / "env")),
        ]

    assert [code for code, _ in refused] == [2] * 7
    assert all(text.startswith("keystead-sandbox azure: ") and text.count("\n") == 1 for _, text in refused)
    assert [
        word in text
        for word, (_, text) in zip(
            (
                "Make it first",
                "seed.yaml:3: tenants[0].nme",
                "--issuer-ca",
                "--journal",
                port,
                "without https://",
                "Make it first",
            ),
            refused,
            strict=True,
        )
    ] == [True] * 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.pem", "seed.yaml"]


@pytest.mark.process
def test_two_at_once_leave_each_others_files_alone(tmp_path: Path) -> None:
    first = start(tmp_path)
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    beside = start(other_folder)
    again = start(tmp_path)  # in the first one's place

    first.process.terminate()
    first.process.communicate(timeout=_PATIENCE)

    assert again.env_file.read_text() != ""
    assert again.exports["KEYSTEAD_SANDBOX_URL"] != first.exports["KEYSTEAD_SANDBOX_URL"]
    assert again.control("/faults") == beside.control("/faults") == []
    for each in (beside, again):
        each.process.terminate()
        each.process.communicate(timeout=_PATIENCE)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.process
def test_what_a_killed_one_left_stops_nobody_and_is_not_read(tmp_path: Path) -> None:
    killed = start(tmp_path)
    killed.process.kill()
    killed.process.communicate()
    stale = killed.env_file.read_text()

    again = start(tmp_path)  # waits for the file, and would be content with the stale one

    assert again.env_file.read_text() != stale
    assert again.control("/faults") == []
    again.process.terminate()
    again.process.communicate(timeout=_PATIENCE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_the_environment_is_of_the_first_subscriptions_tenant_and_cloud(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text(
        "tenants: [{id: 11111111-1111-4111-8111-111111111111}, {id: 33333333-3333-4333-8333-333333333333, "
        f"cloud: AzureChinaCloud}}]\nsubscriptions: [{{id: {SUBSCRIPTION}, "
        "tenant: 33333333-3333-4333-8333-333333333333}]\n"
    )

    running = start(tmp_path, "--seed", str(seed))
    running.process.terminate()
    running.process.communicate(timeout=_PATIENCE)

    exports = running.exports
    assert exports["AZURE_TENANT_ID"] == exports["ARM_TENANT_ID"] == "33333333-3333-4333-8333-333333333333"
    assert (exports["AZURE_AUTHORITY_HOST"], exports["ARM_ENVIRONMENT"]) == ("https://login.chinacloudapi.cn", "china")
