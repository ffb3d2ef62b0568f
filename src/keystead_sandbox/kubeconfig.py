"""Kubeconfig files: one cluster, several users, a context for each user, named like the user.

Written all at once and readable by their owner alone, since they hold tokens and keys. Commands that write one check
where it goes, and whom it is for, before they begin.
"""

import base64
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Sections: TypeAlias = Mapping[str, Mapping[str, Any]]
"""By user: the ``user`` section of a kubeconfig."""


class NotUsable(ValueError):
    """What was given cannot be used; the text names the option and the cure."""


def in_a_folder(path: Path, option: str = "--kubeconfig") -> Path:
    """*path* itself, if it can be written at all; what an earlier process left there is gone, so that nobody reads it."""
    if not path.parent.is_dir():
        raise NotUsable(f"{option}: the folder {path.parent} is not there. Make it first.")
    try:
        path.unlink(missing_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise NotUsable(f"{option}: {path} cannot be written: {error.strerror}. Name another.") from error
    return path


def named(texts: Iterable[str], *, beside: Iterable[str] = ()) -> list[tuple[str, tuple[str, ...]]]:
    """Name and groups of each ``NAME[:GROUP,...]``. NotUsable without a name, and for one that is taken (*beside*, too)."""
    found: dict[str, tuple[str, ...]] = {}
    taken = set(beside)
    for text in texts:
        name, _, groups = text.partition(":")
        if not name.strip():
            raise NotUsable(f"{text!r} names nobody: give NAME or NAME:GROUP,GROUP.")
        if name in taken or name in found:
            raise NotUsable(f"{name} is named twice: each context has a name of its own.")
        found[name] = tuple(filter(None, groups.split(",")))
    return [*found.items()]


def cluster_section(server: str, ca_pem: bytes) -> dict[str, Any]:
    """The ``cluster`` section for an API server with an authority of its own."""
    return {"server": server, "certificate-authority-data": base64.b64encode(ca_pem).decode()}


def token_section(token: str) -> dict[str, Any]:
    return {"token": token}


def certificate_section(certificate: bytes, key: bytes) -> dict[str, Any]:
    """For a user known by a client certificate, both in PEM."""
    return {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }


def document(cluster: Mapping[str, Any], users: Sections, *, current: str) -> dict[str, Any]:
    """A kubeconfig whose current context is that of user *current*."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "clusters": [{"name": "sandbox", "cluster": dict(cluster)}],
        "users": [{"name": name, "user": dict(section)} for name, section in users.items()],
        "contexts": [
            {"name": name, "context": {"cluster": "sandbox", "user": name, "namespace": "default"}} for name in users
        ],
    }


def publish(path: Path, content: Mapping[str, Any]) -> None:
    """All of the file or none."""
    write_private(path, yaml.safe_dump(dict(content), sort_keys=False).encode())


def write_private(path: Path, content: bytes) -> None:
    """All of the file or none, readable by its owner alone."""
    partial = path.with_name(f".{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.replace(path)
