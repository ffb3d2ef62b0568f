"""azure-cli as people use it: its own process, the sandbox's environment file, and a folder of its own for its settings.

``make test-az`` installs it and says where it is; nothing here is skipped when it is not.
"""

import contextlib
import datetime
import json
import os
import shlex
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from keystead_sandbox.pki import Authority, server_context

SANDBOX = str(Path(sys.executable).with_name("keystead-sandbox"))
SUBSCRIPTION = "22222222-2222-4222-8222-222222222222"
POOL = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/pool"
VAULT = f"{POOL}/providers/Microsoft.KeyVault/vaults/team-kv"
PLANTED = "planted-secret-value"
_PATIENCE = 120  # wall seconds for one command, on a machine that does other things too
#: Without the rates and waits of the real one: what they are is tested in memory, and commands take long as it is.
_RULES = {
    **{f"{verb}Capacity": 1000 for verb in ("write", "get", "list", "delete")},
    "burst": 1000,
    "propagation": 0,
    "roleDelay": 0,
    "identityVisible": 0,
    "groupDelete": 0,
}


class Issuer:
    """A cluster's token issuer on loopback."""

    def __init__(self, folder: Path) -> None:
        self._key = RSAKey.generate_key(2048)
        authority = Authority("test issuer")
        self.ca_file = folder / "issuer.pem"
        self.ca_file.write_bytes(authority.ca_pem)
        outer = self

        class Documents(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(outer.document(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Documents)
        self._server.socket = server_context(*authority.issue(["127.0.0.1"])).wrap_socket(
            self._server.socket, server_side=True
        )
        self.address = f"https://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def document(self, path: str) -> dict[str, Any]:
        if path.endswith("openid-configuration"):
            return {"issuer": self.address, "jwks_uri": f"{self.address}keys"}
        return {"keys": [{**self._key.as_dict(private=False), "kid": "k", "use": "sig"}]}

    def token(self, subject: str) -> str:
        now = int(time.time())
        claims = {"iss": self.address, "sub": subject, "aud": ["api://AzureADTokenExchange"]}
        times = {"iat": now - 5, "nbf": now - 5, "exp": now + int(datetime.timedelta(hours=1).total_seconds())}
        return jwt.encode({"alg": "RS256", "kid": "k"}, {**claims, **times}, self._key, default_type=None)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Refused(Exception):
    """A command that failed, and what it told its user."""

    text: str


class Az:
    """One person's azure-cli."""

    def __init__(self, exports: dict[str, str], settings: Path) -> None:
        self.exports = exports
        own = {
            "AZURE_CONFIG_DIR": str(settings),
            "AZURE_CORE_COLLECT_TELEMETRY": "false",
            "AZURE_CORE_NO_COLOR": "true",
        }
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}  # noqa: TID251
        self._environment = {**kept, **exports, **own}
        self._command = os.environ.get("KEYSTEAD_AZ", "")  # noqa: TID251 - from the Makefile
        assert Path(self._command).is_file(), "azure-cli is not there: run these tests by `make test-az`"

    def __call__(self, line: str, *more: str) -> Any:
        """The JSON that a command prints, None for nothing. Refused with what it says when it fails."""
        done = subprocess.run(  # noqa: S603 - what is under test
            [self._command, *shlex.split(line), *more],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        if done.returncode != 0:
            raise Refused(done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refusal(self, line: str, *more: str) -> str:
        """What a command says that must fail."""
        try:
            printed = self(line, *more)
        except Refused as refused:
            return refused.text
        raise AssertionError(f"az {line} was not refused: {printed}")

    def sign_in(self) -> Any:
        """As the owner, with the client secret."""
        exports = self.exports
        return self(
            f"login --service-principal -u {exports['AZURE_CLIENT_ID']} -t {exports['AZURE_TENANT_ID']}",
            "-p",
            exports["AZURE_CLIENT_SECRET"],
        )


class Sandbox:
    """``keystead-sandbox azure`` with a vault and a pool, and whoever uses it."""

    def __init__(self, folder: Path, exports: dict[str, str], issuer: Issuer) -> None:
        self.folder, self.exports, self.issuer = folder, exports, issuer

    def somebody(self, name: str) -> Az:
        """A person who has not signed in yet."""
        return Az(self.exports, self.folder / name)

    def journal(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(self.exports["KEYSTEAD_SANDBOX_URL"] + "/journal") as answer:  # noqa: S310 - loopback
            entries: list[dict[str, Any]] = json.load(answer)
        return entries


def _start(folder: Path, issuer: Issuer) -> tuple[subprocess.Popen[str], dict[str, str]]:
    seed = {
        "rules": _RULES,
        "subscriptions": [{"id": SUBSCRIPTION}],
        "resourceGroups": [{"id": POOL}],
        "vaults": [{"id": VAULT, "secrets": {"db": PLANTED}}],
    }
    (folder / "seed.yaml").write_text(json.dumps(seed))  # JSON is YAML
    env_file = folder / "azure.env"
    process = subprocess.Popen(  # noqa: S603 - our own executable
        [SANDBOX, "azure", "--seed", folder / "seed.yaml", "--issuer-ca", issuer.ca_file, "--env-file", env_file],
        text=True,
    )
    deadline = time.monotonic() + _PATIENCE
    while not env_file.exists():  # another process's file: there is nothing to be woken by
        assert process.poll() is None, "the sandbox did not start"
        assert time.monotonic() < deadline, "no environment file"
        time.sleep(0.05)
    lines = [shlex.split(line) for line in env_file.read_text().splitlines()]
    return process, dict(words[1].split("=", 1) for words in lines if words[0] == "export")


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("az")
    with contextlib.closing(Issuer(folder)) as issuer:
        process, exports = _start(folder, issuer)
        yield Sandbox(folder, exports, issuer)
        process.terminate()
        process.wait(_PATIENCE)


@pytest.fixture(scope="session")
def az(sandbox: Sandbox) -> Az:
    """The owner, signed in."""
    owner = sandbox.somebody("owner")
    owner.sign_in()
    return owner
