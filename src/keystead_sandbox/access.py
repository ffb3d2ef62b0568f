"""How to get to somebody's API server, as their kubeconfig says, and as kubectl would.

- Relative paths count from the folder of the kubeconfig, a plugin's command too where it is a path.
- Plugins (``exec``) are run when the file is read, and asked anew when it is read again; their tokens outlive what is done
  in between. What they ask of a person goes through the terminal, where there is one.
- ``proxy-url`` and ``tls-server-name`` are obeyed; no proxy of the environment is.
- What makes no sense is told with the file, the place in it and the cure, and quotes nothing that may be secret.
"""

import base64
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import yaml
from lightkube import AsyncClient
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, Context, User

_PLUGIN_API = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_PATIENCE = 120  # wall seconds for a plugin, which may ask a person
_PROXIES = ("http", "https")
_LIMITS = httpx2.Limits(max_connections=64, max_keepalive_connections=32)


class KubernetesRefused(RuntimeError):
    """The API server cannot be reached, or says no; the text is its own."""


@dataclass(frozen=True, slots=True)
class Access:
    """One context, made ready."""

    config: SingleConfig
    """With everything in it: no file is read any more, no plugin run."""
    proxy: str = ""
    server_name: str = ""

    def cluster_section(self) -> dict[str, Any]:
        """The ``cluster`` section of a kubeconfig elsewhere that leads to the same place."""
        cluster = self.config.cluster
        section: dict[str, Any] = {"server": cluster.server}
        if cluster.insecure:
            section["insecure-skip-tls-verify"] = True
        else:
            section["certificate-authority-data"] = cluster.certificate_auth_data or _own_authorities()
        named = {"proxy-url": self.proxy, "tls-server-name": self.server_name}
        return section | {name: value for name, value in named.items() if value}

    def transport(self) -> httpx2.AsyncBaseTransport:
        """A connection of one's own."""
        proxy = httpx2.Proxy(self.proxy) if self.proxy else None
        inner = httpx2.AsyncHTTPTransport(verify=self._tls(), proxy=proxy, limits=_LIMITS)
        return _Named(inner, self.server_name) if self.server_name else inner

    def client(self) -> AsyncClient:
        """A client for objects of known kinds."""
        return AsyncClient(config=self.config, transport=self.transport(), trust_env=False)

    def _tls(self) -> ssl.SSLContext:
        cluster, user = self.config.cluster, self.config.user
        data = cluster.certificate_auth_data
        context = ssl.create_default_context(cadata=base64.b64decode(data).decode() if data else None)
        if cluster.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if user is not None and user.client_cert_data and user.client_key_data:
            with tempfile.TemporaryDirectory() as folder:  # created with mode 0700
                pair = Path(folder, "pair.pem")
                parts = (base64.b64decode(each) for each in (user.client_cert_data, user.client_key_data))
                pair.write_bytes(b"\n".join(parts))
                context.load_cert_chain(pair)
        return context


class _Named(httpx2.AsyncBaseTransport):
    """Expects another name in the server's certificate than that of the address."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, name: str) -> None:
        self._inner = inner
        self._name = name

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.extensions = {**request.extensions, "sni_hostname": self._name}
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def read_config(path: Path, context: str | None = None) -> Access:
    """One context of a kubeconfig, the current one by default. KubernetesRefused when it cannot be used."""
    try:
        return _Reader(path, _loaded(path)).access(context)
    except _Nonsense as error:
        raise KubernetesRefused(f"{path} is no usable kubeconfig: {error}") from error


class _Nonsense(ValueError):
    """What is wrong, where, and what to do."""


def _loaded(path: Path) -> Mapping[str, Any]:
    try:
        found = yaml.safe_load(path.read_text())
    except OSError as error:
        raise _Nonsense(f"it cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _Nonsense("it is not text") from error
    except yaml.YAMLError as error:
        raise _Nonsense("it is not YAML") from error  # the parser's own words quote the file, which may hold a token
    if not isinstance(found, dict) or not found:
        raise _Nonsense("it holds no clusters, users and contexts")
    return found


@dataclass(frozen=True, slots=True)
class _Reader:
    """One file."""

    path: Path
    content: Mapping[str, Any]

    def access(self, context: str | None) -> Access:
        name = context or self.content.get("current-context") or ""
        there = [str(each.get("name")) for each in self._rows("contexts")]
        if not name:
            raise _Nonsense(f"it has no current-context; name one with --context: {_listed(there)}")
        if name not in there:
            raise _Nonsense(f"it has no context {name!r}; there are {_listed(there)}")
        chosen = self._part("contexts", "context", name)
        cluster = self._part("clusters", "cluster", self._text(chosen, "cluster", f"context {name}"))
        user = self._part("users", "user", str(chosen["user"])) if chosen.get("user") else {}
        server = self._server(cluster)
        proxy = str(cluster.get("proxy-url") or "")
        if proxy and urlsplit(proxy).scheme not in _PROXIES:
            raise _Nonsense(f"proxy-url: only {' and '.join(_PROXIES)} proxies are known here")
        config = SingleConfig(
            context_name=name,
            context=Context(cluster=str(chosen["cluster"]), user=str(chosen.get("user") or "nobody")),
            cluster=Cluster(
                server=server,
                certificate_auth_data=self._data(cluster, "certificate-authority"),
                insecure=bool(cluster.get("insecure-skip-tls-verify")),
            ),
            user=self._user(user, cluster),
            fname=self.path,
        )
        ready = Access(config, proxy, str(cluster.get("tls-server-name") or ""))
        if cluster.get("insecure-skip-tls-verify") and config.cluster.certificate_auth_data:
            raise _Nonsense("its cluster has an authority and insecure-skip-tls-verify, which exclude each other")
        try:
            ready._tls()  # noqa: SLF001 - our own: what cannot be loaded is told now
        except (ssl.SSLError, ValueError) as error:
            raise _Nonsense(f"its certificates cannot be used ({type(error).__name__})") from error
        return ready

    def _rows(self, section: str) -> list[Mapping[str, Any]]:
        found = self.content.get(section) or []
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise _Nonsense(f"{section}: must be a list of objects")
        return found

    def _part(self, section: str, part: str, name: str) -> Mapping[str, Any]:
        for each in self._rows(section):
            if each.get("name") == name:
                found = each.get(part) or {}
                if not isinstance(found, dict):
                    raise _Nonsense(f"{section}: {name}: {part} must be an object")
                return found
        raise _Nonsense(f"its context names {name!r}, which is not among its {section}")

    def _text(self, part: Mapping[str, Any], field: str, where: str) -> str:
        value = part.get(field)
        if not isinstance(value, str) or not value:
            raise _Nonsense(f"{where}: it names no {field}")
        return value

    def _server(self, cluster: Mapping[str, Any]) -> str:
        server = self._text(cluster, "server", "its cluster")
        parts = urlsplit(server)
        try:
            usable = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise _Nonsense(f"server: {server!r} is no address such as https://host:6443")
        return server

    def _data(self, part: Mapping[str, Any], field: str) -> str | None:
        """Base64 of what is in the file itself, or in the one that it names."""
        given = part.get(f"{field}-data")
        if given:
            try:
                base64.b64decode(given, validate=True)
            except (ValueError, TypeError) as error:
                raise _Nonsense(f"{field}-data: is not base64") from error
            return str(given)
        return base64.b64encode(self._file(part[field], field)).decode() if part.get(field) else None

    def _file(self, name: Any, field: str) -> bytes:
        path = self.path.absolute().parent / str(name)
        try:
            return path.read_bytes()
        except OSError as error:
            raise _Nonsense(f"{field}: {path} cannot be read ({error.strerror})") from error

    def _user(self, user: Mapping[str, Any], cluster: Mapping[str, Any]) -> User:
        certificate, key = self._data(user, "client-certificate"), self._data(user, "client-key")
        if bool(certificate) is not bool(key):
            raise _Nonsense("its user has one of client-certificate and client-key, and needs both")
        token = user.get("token") or None
        if user.get("tokenFile"):
            token = self._file(user["tokenFile"], "tokenFile").decode(errors="replace").strip()
        if user.get("auth-provider"):
            raise _Nonsense("auth-provider: Kubernetes has withdrawn it; let the user sign in by exec")
        if isinstance(user.get("exec"), dict) and not token:
            status = _run_plugin(user["exec"], self.path.absolute().parent, cluster)
            token = status.get("token") or None
            pair = [status.get(name) for name in ("clientCertificateData", "clientKeyData")]
            if all(pair):
                certificate, key = (base64.b64encode(str(each).encode()).decode() for each in pair)
            if not token and not certificate:
                raise _Nonsense(f"exec: {user['exec'].get('command')} gave neither token nor certificate")
        return User(
            token=token,
            username=user.get("username"),
            password=user.get("password"),
            client_cert_data=certificate,
            client_key_data=key,
        )


def _run_plugin(plugin: Mapping[str, Any], folder: Path, cluster: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``status`` of the ExecCredential that a plugin prints (Kubernetes docs: client-go credential plugins)."""
    command, api = str(plugin.get("command") or ""), plugin.get("apiVersion")
    if api not in _PLUGIN_API:
        raise _Nonsense(f"exec: apiVersion {api!r} is none of {_listed(_PLUGIN_API)}")
    if not command:
        raise _Nonsense("exec: names no command")
    program = str(folder / command) if "/" in command else command
    info: dict[str, Any] = {"apiVersion": api, "kind": "ExecCredential", "spec": {"interactive": False}}
    if plugin.get("provideClusterInfo"):
        info["spec"]["cluster"] = {name: value for name, value in cluster.items() if not name.endswith("authority")}
    given = {str(each.get("name")): str(each.get("value")) for each in plugin.get("env") or ()}
    inherited = dict(os.environ)  # noqa: TID251 - the caller's, as kubectl hands it on
    environment = {**inherited, **given, "KUBERNETES_EXEC_INFO": json.dumps(info)}
    try:
        done = subprocess.run(  # noqa: S603 - what the kubeconfig's owner wrote there
            [program, *map(str, plugin.get("args") or ())],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
            timeout=_PATIENCE,
        )
    except OSError as error:
        hint = f" {plugin['installHint']}" if plugin.get("installHint") else ""
        raise _Nonsense(f"exec: {program} cannot be run ({error.strerror}).{hint}") from error
    except subprocess.TimeoutExpired as error:
        raise _Nonsense(f"exec: {program} did not answer in {_PATIENCE} s") from error
    if done.returncode != 0:
        raise _Nonsense(f"exec: {program} ended with code {done.returncode}; its own words are above")
    try:
        printed = json.loads(done.stdout)
    except ValueError as error:
        raise _Nonsense(f"exec: {program} printed something else than an ExecCredential") from error
    status = printed.get("status") if isinstance(printed, dict) else None
    if not isinstance(status, dict) or printed.get("apiVersion") != api:
        raise _Nonsense(f"exec: {program} printed something else than an ExecCredential of {api}")
    return status


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _own_authorities() -> str:
    """Base64 of those that this machine trusts, since the parts are told to trust others."""
    bundle = ssl.get_default_verify_paths().cafile
    return base64.b64encode(Path(bundle).read_bytes() if bundle else b"").decode()
