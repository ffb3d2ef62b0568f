"""Pure: the command lines of the three programs, and what they read from one folder.

- One TCP port in all, the API server's, on loopback; etcd speaks through a socket in a folder that only we may enter.
- Authorisation is RBAC, admission is what Kubernetes enables by default, policies (ValidatingAdmissionPolicy) included.
- ServiceAccount tokens carry the API server's own address as issuer, whose documents anyone on this machine can read.
- The controllers are those without which objects would not live and die as in any cluster; no node is expected.
"""

from dataclasses import dataclass
from pathlib import Path

CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "validatingadmissionpolicy-status-controller",
)
SERVICE_RANGE = "10.0.0.0/24"
SERVER_NAMES = ("127.0.0.1", "localhost", "kubernetes.default.svc", "10.0.0.1")
"""What the API server's certificate is for; the last is the first address of the service range."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where keys, certificates and lists of users lie."""

    folder: Path
    etcd: Path
    """etcd's data and sockets: a short path, since the system limits a socket's to about a hundred bytes."""

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "apiserver.pem"

    @property
    def key(self) -> Path:
        return self.folder / "apiserver.key"

    @property
    def account_key(self) -> Path:
        return self.folder / "service-accounts.key"

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens.csv"

    @property
    def controllers(self) -> Path:
        """The kubeconfig of the controller manager."""
        return self.folder / "controllers.kubeconfig"


def address(port: int) -> str:
    """The API server's, and the token issuer's."""
    return f"https://127.0.0.1:{port}"


def etcd(files: Files) -> tuple[str, ...]:
    # There is one member, which never calls itself: what it advertises must only look like an address.
    nowhere = "http://127.0.0.1:1"
    return (
        "--name=alone",
        f"--data-dir={files.etcd}/data",
        "--unsafe-no-fsync",
        f"--listen-client-urls=unix://{files.etcd}/client",
        f"--listen-peer-urls=unix://{files.etcd}/peer",
        f"--advertise-client-urls={nowhere}",
        f"--initial-advertise-peer-urls={nowhere}",
        f"--initial-cluster=alone={nowhere}",
        "--log-level=warn",
    )


def kube_apiserver(files: Files, port: int) -> tuple[str, ...]:
    issuer = address(port)
    return (
        f"--etcd-servers=unix://{files.etcd}/client",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        # A service's endpoint may not be on loopback, so the API server cannot announce itself.
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={files.certificate}",
        f"--tls-private-key-file={files.key}",
        f"--client-ca-file={files.ca}",
        f"--token-auth-file={files.tokens}",
        "--authorization-mode=RBAC",
        f"--service-account-issuer={issuer}",
        f"--service-account-jwks-uri={issuer}/openid/v1/jwks",
        f"--service-account-key-file={files.account_key}",
        f"--service-account-signing-key-file={files.account_key}",
        f"--api-audiences={issuer}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--profiling=false",
    )


def kube_controller_manager(files: Files) -> tuple[str, ...]:
    return (
        f"--kubeconfig={files.controllers}",
        f"--controllers={','.join(CONTROLLERS)}",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={files.account_key}",
        f"--root-ca-file={files.ca}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
    )
