"""How much the emulated Azure bears: requests per second of each service, and the latency it adds when idle.

``--seconds S`` of each measurement (default 5), ``--output DIR`` (default docs/benchmarks). The sandbox runs as a process
of its own, so on one core; requests come over TLS through its CONNECT proxy, as clients' do. Prepared requests are sent
over kept connections, so that the generator is not what is measured.
"""

import argparse
import asyncio
import json
import ssl
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.server import Server

mpl.use("Agg")
from matplotlib import pyplot as plt

ROOT = Path(__file__).parents[1]
COMMAND = Path(sys.executable).with_name("keystead-sandbox")
SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
CLIENT = "33333333-3333-4333-8333-333333333333"
CALLERS = [f"44444444-4444-4444-8444-44444444444{number}" for number in range(8)]
SECRET = "of-the-benchmark"  # noqa: S105 - of a sandbox that lives for this run
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/pool/providers"
    "/Microsoft.ManagedIdentity/userAssignedIdentities/reader"
)
VAULT = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/pool/providers/Microsoft.KeyVault/vaults/bench-kv"
SUBJECT = "system:serviceaccount:bench:reader"
BUSY = 32  # connections at a time
BARS = {"token exchanges": 300, "Key Vault reads": 600}
LOGIN, ARM, KEYVAULT = "login.microsoftonline.com", "management.azure.com", "bench-kv.vault.azure.net"


class Azure:
    """The sandbox's exports, and connections to it."""

    def __init__(self, exports: dict[str, str]) -> None:
        self.exports = exports
        self.tls = ssl.create_default_context(cafile=exports["SSL_CERT_FILE"])

    @asynccontextmanager
    async def connection(self, host: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection through the proxy."""
        proxy = urllib.parse.urlsplit(self.exports["HTTPS_PROXY"])
        reader, writer = await asyncio.open_connection(proxy.hostname, proxy.port)
        writer.write(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await writer.start_tls(self.tls, server_hostname=host)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def ask(self, host: str, request: bytes) -> bytes:
        """One request on a connection of its own."""
        async with self.connection(host) as (reader, writer):
            return await _exchange(reader, writer, request)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(f"the sandbox refused: {head.decode()}")
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


async def _measure(
    azure: Azure, host: str, requests: list[bytes], connections: int, seconds: float
) -> dict[str, float]:
    """Requests per second, and latencies in milliseconds; each connection repeats one of the requests."""
    latencies: list[float] = []
    began = time.perf_counter()
    end = began + seconds

    async def one(request: bytes) -> None:
        async with azure.connection(host) as (reader, writer):
            while (sent := time.perf_counter()) < end:
                await _exchange(reader, writer, request)
                latencies.append(time.perf_counter() - sent)

    async with asyncio.TaskGroup() as group:
        for number in range(connections):
            group.create_task(one(requests[number % len(requests)]))
    took = time.perf_counter() - began
    cuts = statistics.quantiles(latencies, n=100)
    return {"perSecond": len(latencies) / took, "p50": cuts[49] * 1000, "p99": cuts[98] * 1000}


@asynccontextmanager
async def _issuer(folder: Path) -> AsyncIterator[tuple[str, RSAKey]]:
    """A token issuer on loopback, and the key it signs with."""
    key, authority = RSAKey.generate_key(2048), Authority("bench issuer")
    (folder / "issuer.pem").write_bytes(authority.ca_pem)
    address = ""

    async def configuration(request: Request) -> Response:
        del request
        return JSONResponse({"issuer": address, "jwks_uri": f"{address}/keys"})

    async def keys(request: Request) -> Response:
        del request
        return JSONResponse({"keys": [{**key.as_dict(private=False), "kid": "k", "use": "sig"}]})

    app = Starlette(routes=[Route("/.well-known/openid-configuration", configuration), Route("/keys", keys)])
    server = Server(app, tls=server_context(*authority.issue(["127.0.0.1"])))
    address = f"https://127.0.0.1:{await server.start()}"
    try:
        yield address, key
    finally:
        await server.stop()


@asynccontextmanager
async def _sandbox(folder: Path, issuer: str) -> AsyncIterator[Azure]:
    seed = {
        "rules": {"vaultCapacity": 1e9, "propagation": 0},
        "subscriptions": [{"id": SUBSCRIPTION}],
        "applications": [{"clientId": each, "secret": SECRET} for each in CALLERS],
        "identities": [
            {
                "id": IDENTITY,
                "clientId": CLIENT,
                "credentials": [{"name": "bench", "issuer": issuer, "subject": SUBJECT}],
            }
        ],
        "vaults": [{"id": VAULT, "secrets": {"one": "value"}}],
        "roleAssignments": [{"principal": IDENTITY, "role": "Key Vault Secrets User", "scope": VAULT}]
        + [{"principal": each, "role": "Reader", "scope": f"/subscriptions/{SUBSCRIPTION}"} for each in CALLERS],
    }
    (folder / "seed.yaml").write_text(json.dumps(seed))  # JSON is YAML
    env_file = folder / "env"
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "azure", "--seed", folder / "seed.yaml", "--issuer-ca", folder / "issuer.pem"),
        # Resource Manager's rates are for each caller: several callers, on a hastened clock, are held back by none.
        *("--clock-rate", "100", "--env-file", env_file),
    )
    try:
        async with asyncio.timeout(60):
            while not env_file.exists():  # noqa: ASYNC110 - the file is the interface: it appears when all is ready
                await asyncio.sleep(0.05)
        lines = env_file.read_text().splitlines()
        yield Azure(dict(line.removeprefix("export ").split("=", 1) for line in lines))
    finally:
        process.terminate()
        await process.wait()


def _request(method: str, host: str, path: str, *, token: str = "", form: dict[str, str] | None = None) -> bytes:
    body = urllib.parse.urlencode(form).encode() if form else b""
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    if token:
        head.append(f"Authorization: Bearer {token}")
    if form:
        head.append("Content-Type: application/x-www-form-urlencoded")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def _signed_in(azure: Azure, path: str, client_id: str) -> str:
    """A token for Resource Manager."""
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": SECRET,
        "scope": "https://management.azure.com/.default",
    }
    token: str = json.loads(await azure.ask(LOGIN, _request("POST", LOGIN, path, form=form)))["access_token"]
    return token


async def _run(seconds: float) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with _issuer(folder) as (issuer, key), _sandbox(folder, issuer) as azure:
            tenant, now = azure.exports["AZURE_TENANT_ID"], int(time.time())
            claims = {"iss": issuer, "sub": SUBJECT, "aud": ["api://AzureADTokenExchange"], "iat": now, "nbf": now}
            assertion = jwt.encode({"alg": "RS256", "kid": "k"}, {**claims, "exp": now + 3600}, key)
            form = {
                "grant_type": "client_credentials",
                "client_id": CLIENT,
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": assertion,
                "scope": "https://vault.azure.net/.default",
            }
            path = f"/{tenant}/oauth2/v2.0/token"
            exchange = _request("POST", LOGIN, path, form=form)
            read_token = json.loads(await azure.ask(LOGIN, exchange))["access_token"]
            subscriptions = [
                _request("GET", ARM, "/subscriptions?api-version=2022-12-01", token=await _signed_in(azure, path, each))
                for each in CALLERS
            ]
            wanted = {
                "token exchanges": (LOGIN, [exchange]),
                "Key Vault reads": (
                    KEYVAULT,
                    [_request("GET", KEYVAULT, "/secrets/one?api-version=7.4", token=read_token)],
                ),
                "subscription lists (Resource Manager)": (ARM, subscriptions),
            }
            found = {}
            for title, (host, requests) in wanted.items():
                print(title, flush=True)
                idle = await _measure(azure, host, requests, 1, seconds / 2)
                busy = await _measure(azure, host, requests, BUSY, seconds)
                found[title] = {"idle": idle, "busy": busy}
            return found


def main() -> int:
    """Always 0: figures are shown, not asserted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--output", type=Path, default=ROOT / "docs/benchmarks")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(_run(options.seconds))
    table = _table(found)
    print(table)
    (options.output / "azure.json").write_text(json.dumps(found, indent=2) + "\n")
    (options.output / "azure.md").write_text(_page(table))
    _plot(found, options.output / "azure.svg")
    return 0


def _table(found: dict[str, dict[str, Any]]) -> str:
    rows = [
        f"| {title} | {f'≥ {BARS[title]}' if title in BARS else ''} | {each['busy']['perSecond']:.0f} "
        f"| {each['busy']['p99']:.1f} | {each['idle']['p50']:.2f} | {each['idle']['p99']:.2f} |"
        for title, each in found.items()
    ]
    head = "| | bar, per second | per second | p99 when busy, ms | p50 when idle, ms | p99 when idle, ms |"
    return "\n".join([head, "|---|---|---|---|---|---|", *rows])


def _page(table: str) -> str:
    return (
        "<!-- written by `make bench`; do not edit by hand -->\n\n"
        "# The emulated Azure, measured\n\n"
        f"`make bench` on two cores: the sandbox on one, {BUSY} connections (busy) or a single one (idle) through its\n"
        "CONNECT proxy on the other. An exchange verifies the assertion's RS256 signature and signs a token; a read\n"
        "verifies the token and evaluates the caller's roles. The metadata service is left out: like Azure's it answers\n"
        "twenty requests a second. What a single connection waits is all added by the sandbox and its proxy.\n\n"
        f"{table}\n\n"
        "![requests per second and added latency of each service](azure.svg)\n"
    )


def _plot(found: dict[str, dict[str, Any]], picture: Path) -> None:
    figure, (rates, waits) = plt.subplots(1, 2, figsize=(10, 2.6), layout="constrained", sharey=True)
    titles = list(found)[::-1]
    bars = rates.barh(titles, [found[title]["busy"]["perSecond"] for title in titles], color="#2b6cb0", height=0.55)
    rates.bar_label(bars, fmt=" %.0f")
    for place, title in enumerate(titles):
        if title in BARS:
            rates.plot([BARS[title]] * 2, [place - 0.4, place + 0.4], color="#c53030", linewidth=2)
    rates.plot([], [], color="#c53030", linewidth=2, label="at least")
    rates.set_xlabel(f"requests per second, {BUSY} connections")
    rates.margins(x=0.12)
    rates.legend(frameon=False)
    bars = waits.barh(titles, [found[title]["idle"]["p99"] for title in titles], color="#718096", height=0.55)
    waits.bar_label(bars, fmt=" %.2f")
    waits.set_xlabel("latency added when idle, p99, milliseconds")
    waits.margins(x=0.12)
    for axes in (rates, waits):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture)


if __name__ == "__main__":
    raise SystemExit(main())
