"""Pure: External Secrets Operator's objects (``external-secrets.io/v1``) as far as the engine reads them.

Rules:
- An absent field and its documented default are the same: ESO 2.9 stopped writing defaults into objects.
- What the engine cannot do is kept as a bare marker (``Any``), so that it can be named; never dropped in silence.
"""

import datetime
import re
from collections.abc import Iterator
from typing import Any

import msgspec

API_VERSION = "external-secrets.io/v1"
EXTERNAL_SECRETS = f"/apis/{API_VERSION}/externalsecrets"
SECRET_STORES = f"/apis/{API_VERSION}/secretstores"
CLUSTER_SECRET_STORES = f"/apis/{API_VERSION}/clustersecretstores"
SECRET_STORE, CLUSTER_SECRET_STORE = "SecretStore", "ClusterSecretStore"
ESO_FINALIZER = "externalsecrets.external-secrets.io/externalsecret-cleanup"

# Go takes both micro signs.
_PIECE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class _Part(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    """Base of everything below."""


class Metadata(_Part, frozen=True):
    """Object metadata."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    deletion_timestamp: str | None = None


class Condition(_Part, frozen=True):
    """A status condition."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""


class StoreRef(_Part, frozen=True):
    """Which store."""

    name: str = ""
    kind: str = ""


class SourceRef(_Part, frozen=True):
    """A store, or a generator, of one entry alone."""

    store_ref: StoreRef | None = None
    generator_ref: Any = None


class RemoteRef(_Part, frozen=True):
    """What to read, and how."""

    key: str
    property: str = ""
    version: str = ""
    metadata_policy: str = ""
    conversion_strategy: str = ""
    decoding_strategy: str = ""
    null_byte_policy: str = ""


class DataEntry(_Part, frozen=True):
    """One key of the Secret."""

    secret_key: str
    remote_ref: RemoteRef
    source_ref: SourceRef | None = None


class DataFromEntry(_Part, frozen=True):
    """Many keys of the Secret."""

    extract: RemoteRef | None = None
    find: Any = None
    rewrite: list[Any] = []
    source_ref: SourceRef | None = None


class Target(_Part, frozen=True):
    """The Secret."""

    name: str = ""
    creation_policy: str = "Owner"
    deletion_policy: str = "Retain"
    immutable: bool = False
    manifest: Any = None
    template: Any = None


class ExternalSecretSpec(_Part, frozen=True):
    """What is wanted."""

    secret_store_ref: StoreRef = StoreRef()
    refresh_interval: str = "1h0m0s"
    refresh_policy: str = "Periodic"
    sync_windows: Any = None
    target: Target = Target()
    data: list[DataEntry] = []
    data_from: list[DataFromEntry] = []


class Binding(_Part, frozen=True):
    """The Secret that was written."""

    name: str = ""


class ExternalSecretStatus(_Part, frozen=True):
    """What was done."""

    refresh_time: datetime.datetime | None = None
    synced_resource_version: str = ""
    conditions: list[Condition] = []
    binding: Binding | None = None


class ExternalSecret(_Part, frozen=True):
    """``kind: ExternalSecret``."""

    metadata: Metadata
    spec: ExternalSecretSpec = ExternalSecretSpec()
    status: ExternalSecretStatus = ExternalSecretStatus()

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def target_name(self) -> str:
        return self.spec.target.name or self.metadata.name

    @property
    def interval(self) -> datetime.timedelta:
        return go_duration(self.spec.refresh_interval)

    def store_of(self, entry: DataEntry | DataFromEntry) -> StoreRef:
        """The entry's own store, else the ExternalSecret's."""
        if entry.source_ref is not None and entry.source_ref.store_ref is not None:
            return entry.source_ref.store_ref
        return self.spec.secret_store_ref

    def stores(self) -> Iterator[StoreRef]:
        """Every store that is named anywhere."""
        if self.spec.secret_store_ref.name:
            yield self.spec.secret_store_ref
        sources = [entry.source_ref for entry in self.spec.data] + [entry.source_ref for entry in self.spec.data_from]
        for source in sources:
            if source is not None and source.store_ref is not None:
                yield source.store_ref


class ServiceAccountRef(_Part, frozen=True):
    """Whose token signs in."""

    name: str
    namespace: str | None = None
    audiences: list[str] = []


class AzureKeyVault(_Part, frozen=True):
    """``spec.provider.azurekv``."""

    vault_url: str
    auth_type: str = "ServicePrincipal"
    tenant_id: str | None = None
    environment_type: str = "PublicCloud"
    auth_secret_ref: Any = None
    service_account_ref: ServiceAccountRef | None = None
    use_azure_sdk: bool = msgspec.field(default=False, name="useAzureSDK")
    custom_cloud_config: Any = None


class StoreSpec(_Part, frozen=True):
    """How to reach a vault."""

    controller: str = ""
    provider: dict[str, Any] = {}
    refresh_interval: int | str | None = None


class StoreStatus(_Part, frozen=True):
    """Whether it can be reached."""

    conditions: list[Condition] = []


class SecretStore(_Part, frozen=True):
    """``kind: SecretStore`` or ``ClusterSecretStore``."""

    metadata: Metadata
    spec: StoreSpec = StoreSpec()
    status: StoreStatus = StoreStatus()

    @property
    def ready(self) -> bool:
        """ESO's own rule: a Ready condition exists and is True."""
        return any(each.type == "Ready" and each.status == "True" for each in self.status.conditions)

    @property
    def judged(self) -> bool:
        """Somebody has looked at it already."""
        return any(each.type == "Ready" for each in self.status.conditions)


read_external_secret = msgspec.json.Decoder(ExternalSecret).decode
"""From JSON text. Raises msgspec.ValidationError with the field's path."""
read_secret_store = msgspec.json.Decoder(SecretStore).decode
"""As above."""


def external_secret(item: dict[str, Any]) -> ExternalSecret:
    """Pure: decoded. Raises msgspec.ValidationError with the field's path."""
    return msgspec.convert(item, ExternalSecret)


def go_duration(text: str) -> datetime.timedelta:
    """Pure: a duration as Go writes it (``1h0m0s``, ``300ms``). Raises ValueError."""
    bare = text.removeprefix("-").removeprefix("+")
    if bare == "0":
        return datetime.timedelta()
    pieces = list(_PIECE.finditer(bare))
    if not pieces or "".join(piece[0] for piece in pieces) != bare:
        raise ValueError(f"invalid duration {text!r}")
    seconds = sum(float(piece[1]) * _UNITS[piece[2]] for piece in pieces)
    return datetime.timedelta(seconds=-seconds if text.startswith("-") else seconds)
