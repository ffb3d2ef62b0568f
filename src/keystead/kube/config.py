"""Where the API server is and as whom it is called: kubeconfig files as kubectl reads them, else the pod's own account.

Rules:
- ``KUBECONFIG`` may name several files: the first that says something wins, and files that are missing are passed over
  as long as one is there. Relative paths count from the file that holds them.
- A context without a user is an anonymous one, as behind ``kubectl proxy``.
- What lightkube's own reader leaves out (exec plugins of v1, ``proxy-url``, ``tls-server-name``) is kept.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import Cluster, Context, User, UserExec
from lightkube.core.exceptions import ConfigError

from keystead.model.errors import Refused
from keystead.model.reasons import Reason

_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


class Plugin(UserExec, omit_defaults=True):
    """``exec`` of a user: a program that prints an ExecCredential."""

    provide_cluster_info: bool = msgspec.field(name="provideClusterInfo", default=False)
    interactive_mode: str = msgspec.field(name="interactiveMode", default="IfAvailable")


class Account(User, omit_defaults=True):
    """A user."""

    exec: Plugin | None = None


class Server(Cluster, omit_defaults=True):
    """A cluster."""

    proxy_url: str = msgspec.field(name="proxy-url", default="")
    tls_server_name: str = msgspec.field(name="tls-server-name", default="")


def load_config(kubeconfig: str | None, context: str | None) -> SingleConfig:
    """From kubeconfig files, else from the pod's own account. Refused, with the cure, when neither is there."""
    try:
        if not kubeconfig:
            return _of_the_pod()
        paths = [Path(each).expanduser() for each in kubeconfig.split(os.pathsep) if each]
        return _chosen(_merged(paths), context, paths)
    except (ConfigError, OSError, msgspec.MsgspecError, yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        tried = (
            f"kubeconfig {kubeconfig}" if kubeconfig else "no kubeconfig given, and no service account is mounted here"
        )
        raise Refused(
            Reason.KUBERNETES_UNAVAILABLE,
            f"KUBECONFIG: {tried}: {_told(error)}. Set KUBECONFIG to a readable kubeconfig file, or run in a pod.",
        ) from error


def _told(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    if isinstance(error, yaml.YAMLError):
        return "it is not YAML"  # its own text quotes the file, which may hold a token
    return str(error)


def _of_the_pod() -> SingleConfig:
    config = KubeConfig.from_service_account().get()
    if config is None:
        raise ConfigError("no context")
    return config


def _merged(paths: list[Path]) -> dict[str, Any]:
    """All files as one; names that came first stay."""
    there = [path for path in paths if path.is_file()]
    if not there:
        raise ConfigError("no such file")
    merged: dict[str, Any] = {"current-context": "", "clusters": {}, "users": {}, "contexts": {}}
    for path in there:
        given = yaml.safe_load(path.read_text()) or {}
        if not isinstance(given, dict):
            raise ConfigError("it is not a kubeconfig")
        merged["current-context"] = merged["current-context"] or given.get("current-context") or ""
        for section, part in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            for each in _rows(given.get(section)):
                merged[section].setdefault(each["name"], _absolute(each.get(part) or {}, path.parent))
    return merged


def _rows(section: Any) -> Iterable[dict[str, Any]]:
    return [each for each in section or () if isinstance(each, dict)]


def _absolute(part: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Relative files count from the kubeconfig's folder; so does a plugin's command when it is a path."""
    changed: dict[str, Any] = {name: str(folder / part[name]) for name in _FILES if part.get(name)}
    plugin = part.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command") or ""):
        changed["exec"] = {**plugin, "command": str(folder / plugin["command"])}
    return {**part, **changed}


def _chosen(merged: dict[str, Any], context: str | None, paths: list[Path]) -> SingleConfig:
    name = context or merged["current-context"]
    if not name:
        raise ConfigError("it has no current context, and none is named")
    if name not in merged["contexts"]:
        raise ConfigError(f"it has no context {name!r}")
    chosen = msgspec.convert(merged["contexts"][name], Context)
    for section, wanted in (("clusters", chosen.cluster), ("users", chosen.user)):
        if wanted and wanted not in merged[section]:
            raise ConfigError(f"context {name!r} names {wanted!r}, which is not among its {section}")
    return SingleConfig(
        context_name=name,
        context=chosen,
        cluster=msgspec.convert(merged["clusters"][chosen.cluster], Server),
        user=msgspec.convert(merged["users"][chosen.user], Account) if chosen.user else None,
        fname=paths[0],
    )
