"""How requests to the API server are signed: tokens, token files, exec plugins, client certificates, names.

Rules:
- A token file is read again when it was replaced, and when the API server refused its token: the kubelet replaces a
  pod's token long before it ends.
- A plugin runs when its last credential has run out or was refused, once for all who wait, and not for ever.
- Tokens are put into headers and nowhere else; a plugin's complaints go to our own standard error, as with kubectl.

Sources: Kubernetes documentation, "client-go credential plugins" and "Client Authentication (v1)".
"""

import asyncio
import base64
import datetime
import json
import os
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

import httpx2
import msgspec
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, FileStr, UserExec

from keystead.model.errors import Refused, Retryable
from keystead.model.reasons import Reason

_PLUGIN_GROUP = "client.authentication.k8s.io"
_PLUGIN_VERSIONS = tuple(f"{_PLUGIN_GROUP}/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_PLUGIN_SECONDS = 60.0
_EARLY = 10.0  # seconds before its end from which a credential is not begun with any more


def signing(config: SingleConfig, tls: ssl.SSLContext | None) -> httpx2.Auth | None:
    """How this user signs requests; ``None`` for client certificates, which *tls* carries, and for nobody."""
    user = config.user
    if user is None:
        return None
    if user.token_file:
        return TokenFile(Path(user.token_file))
    if user.token:
        return Bearer(user.token)
    if user.exec is not None:
        return ExecPlugin(user.exec, config.cluster, tls)
    if user.username and user.password:
        return httpx2.BasicAuth(user.username, user.password)
    if user.auth_provider:
        raise Refused(
            Reason.KUBERNETES_FORBIDDEN,
            "KUBECONFIG: users of kind auth-provider are gone from Kubernetes; use an exec plugin such as kubelogin.",
        )
    return None


class Bearer(httpx2.Auth):
    """A token that stays."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["Authorization"] = self._header
        yield request


class TokenFile(httpx2.Auth):
    """A token in a file that somebody else keeps fresh."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._header = ""

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        sent = request.headers["Authorization"] = self._current()
        response = yield request
        if response.status_code == httpx2.codes.UNAUTHORIZED and self._current(anew=True) != sent:
            request.headers["Authorization"] = self._header
            yield request

    def _current(self, *, anew: bool = False) -> str:
        about = self._path.stat()
        mark = (about.st_ino, about.st_mtime_ns, about.st_size)
        if anew or mark != self._seen:
            token = self._path.read_text().strip()
            if not token:
                raise Retryable(Reason.KUBERNETES_UNAVAILABLE, f"token file {self._path} is empty")
            self._seen, self._header = mark, f"Bearer {token}"
        return self._header


class _Credential(msgspec.Struct, rename="camel", kw_only=True):
    """``status`` of an ExecCredential."""

    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime.datetime | None = None


class _ExecCredential(msgspec.Struct, rename="camel", kw_only=True):
    """What a plugin prints."""

    api_version: str
    kind: str
    status: _Credential


class ExecPlugin(httpx2.Auth):
    """A program that signs in for us. *wall* gives seconds since 1970, as credentials end by the wall's clock."""

    def __init__(
        self,
        plugin: UserExec,
        cluster: Cluster,
        tls: ssl.SSLContext | None,
        *,
        wall: Callable[[], float] = time.time,
        seconds: float = _PLUGIN_SECONDS,
    ) -> None:
        if plugin.apiVersion not in _PLUGIN_VERSIONS:
            raise _refused(plugin, f"apiVersion {plugin.apiVersion} is not one of {', '.join(_PLUGIN_VERSIONS)}")
        self._plugin = plugin
        self._cluster = cluster
        self._tls = tls
        self._wall = wall
        self._seconds = seconds
        self._credential: _Credential | None = None
        self._turn = asyncio.Lock()

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        credential = await self._current(refused=None)
        _sign(request, credential)
        response = yield request
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            _sign(request, await self._current(refused=credential))
            yield request

    async def _current(self, *, refused: _Credential | None) -> _Credential:
        async with self._turn:
            held = self._credential
            if held is None or held is refused or self._has_run_out(held):
                held = self._credential = await self._ask()
            return held

    def _has_run_out(self, credential: _Credential) -> bool:
        end = credential.expiration_timestamp
        return end is not None and end.timestamp() - _EARLY <= self._wall()

    async def _ask(self) -> _Credential:
        """Run the plugin."""
        plugin = self._plugin
        inherited = dict(os.environ)  # noqa: TID251 - a plugin inherits our environment, as with kubectl
        given = {each.name: each.value for each in plugin.env or ()}
        interactive = self._may_talk()
        environment = {**inherited, **given, "KUBERNETES_EXEC_INFO": self._information(interactive=interactive)}
        try:
            process = await asyncio.create_subprocess_exec(
                plugin.command,
                *(plugin.args or ()),
                env=environment,
                stdin=None if interactive else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise _refused(plugin, f"cannot be started: {error.strerror}. {plugin.installHint or ''}") from error
        try:
            async with asyncio.timeout(self._seconds):
                output, _ = await process.communicate()
        except TimeoutError:
            raise Retryable(
                Reason.KUBERNETES_UNAVAILABLE, f"exec plugin {plugin.command}: no answer in {self._seconds:g} s"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise Retryable(
                Reason.KUBERNETES_FORBIDDEN, f"exec plugin {plugin.command}: exit code {process.returncode}"
            )
        return self._read(output)

    def _read(self, output: bytes) -> _Credential:
        plugin = self._plugin
        try:
            answer = msgspec.json.decode(output, type=_ExecCredential)
        except msgspec.MsgspecError:
            raise _refused(plugin, "printed something else than an ExecCredential with a status") from None
        credential = answer.status
        if answer.kind != "ExecCredential" or answer.api_version != plugin.apiVersion:
            raise _refused(plugin, f"printed {answer.kind} of {answer.api_version}, not of {plugin.apiVersion}")
        if credential.client_certificate_data and credential.client_key_data:
            self._present(credential)
        elif not credential.token:
            raise _refused(plugin, "printed neither a token nor a client certificate with its key")
        return credential

    def _present(self, credential: _Credential) -> None:
        """New connections show the certificate; OpenSSL reads it from files only."""
        if self._tls is None:
            return
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(f"{credential.client_certificate_data}\n{credential.client_key_data}\n")
            file.flush()
            try:
                self._tls.load_cert_chain(file.name)
            except ssl.SSLError as error:
                raise _refused(self._plugin, f"its client certificate cannot be used: {error.reason}") from None

    def _may_talk(self) -> bool:
        mode = getattr(self._plugin, "interactive_mode", "IfAvailable")
        terminal = sys.stdin is not None and sys.stdin.isatty()
        if mode == "Always" and not terminal:
            raise _refused(self._plugin, "wants to talk with somebody (interactiveMode: Always), and nobody is here")
        return terminal and mode != "Never"

    def _information(self, *, interactive: bool) -> str:
        spec: dict[str, object] = {"interactive": interactive}
        if getattr(self._plugin, "provide_cluster_info", False):
            spec["cluster"] = _about(self._cluster)
        return json.dumps({"apiVersion": self._plugin.apiVersion, "kind": "ExecCredential", "spec": spec})


def _about(cluster: Cluster) -> dict[str, object]:
    authority = cluster.certificate_auth_data or ""
    if cluster.certificate_auth and not authority:
        authority = base64.b64encode(Path(cluster.certificate_auth).read_bytes()).decode()
    about: dict[str, object] = {"server": cluster.server}
    if authority:
        about["certificate-authority-data"] = authority
    if cluster.insecure:
        about["insecure-skip-tls-verify"] = True
    if getattr(cluster, "tls_server_name", ""):
        about["tls-server-name"] = cluster.tls_server_name  # type: ignore[attr-defined] # our own subclass has it
    return about


def _sign(request: httpx2.Request, credential: _Credential) -> None:
    if credential.token:
        request.headers["Authorization"] = f"Bearer {credential.token}"


def _refused(plugin: UserExec, what: str) -> Refused:
    return Refused(Reason.KUBERNETES_FORBIDDEN, f"KUBECONFIG: exec plugin {plugin.command}: {what}".strip())


def certificates(config: SingleConfig) -> ssl.SSLContext:
    """TLS as the kubeconfig wants it: its authority, or the machine's; the user's certificate, if there is one."""
    cluster, user = config.cluster, config.user
    authority = FileStr(cluster.certificate_auth_data) or cluster.certificate_auth
    if authority:
        context = ssl.create_default_context(cafile=config.abs_file(authority))
    else:
        context = httpx2.create_ssl_context(verify=not cluster.insecure)
    if cluster.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if user is not None and (user.client_cert or user.client_cert_data):
        certificate = FileStr(user.client_cert_data) or user.client_cert
        key = FileStr(user.client_key_data) or user.client_key
        if certificate is None or key is None:
            raise Refused(Reason.KUBERNETES_FORBIDDEN, "KUBECONFIG: a client certificate needs its key, and has none")
        context.load_cert_chain(config.abs_file(certificate), config.abs_file(key))
    return context
