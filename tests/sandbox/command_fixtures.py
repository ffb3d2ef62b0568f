"""``keystead-sandbox azure`` as a process, beside a token issuer on this machine, for clients that know neither."""

import asyncio
import contextlib
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from joserfc import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keystead_sandbox.pki import Authority, server_context
from keystead_sandbox.resources import AUDIENCE
from keystead_sandbox.server import Server
from sandbox.entra_keyvault_fixtures import KEYS

COMMAND = str(Path(sys.executable).with_name("keystead-sandbox"))
_PATIENCE = 60  # wall seconds for a process to come up or go
SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
TENANT = "11111111-1111-4111-8111-111111111111"
DOMAIN = "contoso.onmicrosoft.com"
CERTIFIED = "33333333-3333-4333-8333-333333333333"
WRITER = "44444444-4444-4444-8444-444444444444"
SUBJECT = "system:serviceaccount:shop:payments"
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/pool/providers"
    "/Microsoft.ManagedIdentity/userAssignedIdentities/writer"
)


class LocalIssuer:
    """Publishes one key over TLS, from a thread of its own."""

    def __init__(self, folder: Path) -> None:
        authority = Authority("issuer")
        self.ca_file = folder / "issuer.pem"
        self.ca_file.write_bytes(authority.ca_pem)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        app = Starlette(
            routes=[Route("/.well-known/openid-configuration", self._configuration), Route("/keys", self._keys)]
        )
        self._server = Server(app, tls=server_context(*authority.issue(["127.0.0.1"])))
        self.url = f"https://127.0.0.1:{self._run(self._server.start())}"

    async def _configuration(self, request: Request) -> Response:
        del request
        return JSONResponse({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def _keys(self, request: Request) -> Response:
        del request
        return JSONResponse({"keys": [{**KEYS["k1"].as_dict(private=False), "kid": "k1", "use": "sig"}]})

    def token(self, subject: str = SUBJECT) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "sub": subject, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 3600}
        return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, KEYS["k1"], default_type=None)

    def stop(self) -> None:
        self._run(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE)


class Sandbox:
    """The process, and what it exported."""

    def __init__(self, process: subprocess.Popen[str], env_file: Path, issuer: LocalIssuer) -> None:
        self.process = process
        self.env_file = env_file
        self.issuer = issuer
        lines = [shlex.split(line) for line in env_file.read_text().splitlines()]
        self.exports = dict(words[1].split("=", 1) for words in lines)

    @property
    def options(self) -> dict[str, Any]:
        """For clients of azure-core in this process, which has not sourced the file."""
        proxy = self.exports["HTTPS_PROXY"]
        return {"connection_verify": self.exports["SSL_CERT_FILE"], "proxies": {"https": proxy}, "retry_total": 0}

    def shell(self, script: str, *, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A script in a shell that has sourced the file, and nothing else of this process."""
        return subprocess.run(  # noqa: S603 - our own script
            ["/bin/bash", "-euo", "pipefail", "-c", f". {shlex.quote(str(self.env_file))}\n{script}"],
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
                "HOME": str(self.env_file.parent),
            },
            cwd=folder or self.env_file.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


def seed(issuer: str, certificate: str) -> dict[str, Any]:
    return {
        "rules": {"propagation": 0},
        "tenants": [{"id": TENANT, "domains": [DOMAIN]}],
        "subscriptions": [{"id": SUBSCRIPTION, "tenant": TENANT}],
        "applications": [{"clientId": CERTIFIED, "certificates": [certificate]}],
        "identities": [
            {
                "id": IDENTITY,
                "clientId": WRITER,
                "credentials": [{"name": "shop", "issuer": issuer, "subject": SUBJECT}],
            }
        ],
    }


@contextlib.contextmanager
def sandbox(folder: Path, certificate: str) -> Iterator[Sandbox]:
    """A sandbox in *folder*, in which an application has *certificate*."""
    issuer = LocalIssuer(folder)
    (folder / "seed.yaml").write_text(yaml.safe_dump(seed(issuer.url, certificate)))
    env_file = folder / "azure.env"
    process = subprocess.Popen(  # noqa: S603 - our own executable
        [
            COMMAND,
            "azure",
            "--seed",
            str(folder / "seed.yaml"),
            "--issuer-ca",
            str(issuer.ca_file),
            "--env-file",
            env_file,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + _PATIENCE
    while not env_file.exists():  # another process's file: there is nothing to be woken by
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no environment file"
        time.sleep(0.05)
    try:
        yield Sandbox(process, env_file, issuer)
    finally:
        process.terminate()
        process.communicate(timeout=_PATIENCE)
        issuer.stop()
