"""Pure: which secret versions an ExternalSecret needs, and the Secret's data made from what was read.

Rules:
- ``dataFrom`` in order, then ``data`` in order; the later key wins.
- A missing secret is an error under ``deletionPolicy: Retain`` and leaves its entry out under the other two.
- The first entry that fails ends the assembly: a Secret is never written in part.
- Texts are ESO's wrappers; no text holds a value.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keystead.sync.objects import DataEntry, DataFromEntry, ExternalSecret, RemoteRef
from keystead.sync.property import NeedsOperator
from keystead.sync.snapshot import Fetched, Read, ReadResult, SecretBytes, Unread
from keystead.sync.values import (
    Unfit,
    check_keys,
    check_null_bytes,
    convert_keys,
    decode,
    decode_members,
    members_of,
    property_of,
    tag_members,
    tag_value,
    tags_of,
    wrapped,
)

_TYPES = ("secret", "cert", "key")


@dataclass(frozen=True, slots=True)
class Assembled:
    """What the Secret should hold, and the entries whose secret does not exist."""

    data: Mapping[str, SecretBytes]
    missing: tuple[str, ...] = ()


class NotAssembled(Exception):
    """An entry failed; the text is fit for an Event. ``needs_operator``: no retry will help."""

    def __init__(self, text: str, *, needs_operator: bool = False, throttled_for: float | None = None) -> None:
        super().__init__(text)
        self.needs_operator = needs_operator
        self.throttled_for = throttled_for


def read_of(es: ExternalSecret, entry: DataEntry | DataFromEntry) -> Read | None:
    """Pure: what the entry reads; ``None`` when it names nothing that can be read. Raises Unfit for an unknown type."""
    ref = _ref(entry)
    if ref is None:
        return None
    return Read(es.store_of(entry).name, object_name(ref.key), ref.version)


def reads(es: ExternalSecret) -> tuple[Read, ...]:
    """Pure: all that can be read, each once, sorted."""
    wanted: set[Read] = set()
    entries: list[DataEntry | DataFromEntry] = [*es.spec.data_from, *es.spec.data]
    for entry in entries:
        try:
            read = read_of(es, entry)
        except Unfit:
            continue  # said when the entry's turn comes in the assembly
        if read is not None:
            wanted.add(read)
    return tuple(sorted(wanted))


def object_name(key: str) -> str:
    """Pure: the secret's name in ``NAME`` or ``secret/NAME``; what follows a further slash is ignored, as in ESO."""
    parts = key.split("/")
    if len(parts) == 1:
        return key
    if parts[0] not in _TYPES:
        raise Unfit(f"unknown Azure Keyvault object Type for {parts[1]}")
    return parts[1]


def assemble(
    es: ExternalSecret, results: Mapping[Read, ReadResult], *, with_attributes: frozenset[str] = frozenset()
) -> Assembled:
    """Pure: the data. *with_attributes* names the stores whose tags carry ``attribute.*``. Raises NotAssembled."""
    data: dict[str, bytes] = {}
    missing: list[str] = []
    for position, from_entry in enumerate(es.spec.data_from):
        wrapper = f"error processing spec.dataFrom[{position}].extract, err: "
        fetched = _result(es, from_entry, results, wrapper)
        if fetched is None:
            missing.append(f"secret does not exist at provider using spec.dataFrom[{position}]")
            continue
        attributes = es.store_of(from_entry).name in with_attributes
        with _Wrapped(wrapper):
            data |= _members(from_entry, fetched, with_attributes=attributes)
    for position, entry in enumerate(es.spec.data):
        key = entry.remote_ref.key
        wrapper = f"error processing spec.data[{position}] (key: {key}), err: "
        fetched = _result(es, entry, results, wrapper)
        if fetched is None:
            # ESO says dataFrom here for data too; the texts are its own.
            missing.append(f"secret does not exist at provider using spec.dataFrom[{position}] (key={key})")
            continue
        attributes = es.store_of(entry).name in with_attributes
        with _Wrapped(wrapper):
            data[entry.secret_key] = _value(entry, fetched, with_attributes=attributes)
    return Assembled(wrapped(data), tuple(missing))


class _Wrapped:
    """Turns what an entry raises into NotAssembled with the entry's wrapper."""

    def __init__(self, wrapper: str) -> None:
        self._wrapper = wrapper

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Unfit | NeedsOperator):
            raise NotAssembled(self._wrapper + str(error), needs_operator=isinstance(error, NeedsOperator)) from None


def _ref(entry: DataEntry | DataFromEntry) -> RemoteRef | None:
    return entry.remote_ref if isinstance(entry, DataEntry) else entry.extract


def _result(
    es: ExternalSecret, entry: DataEntry | DataFromEntry, results: Mapping[Read, ReadResult], wrapper: str
) -> Fetched | None:
    """What was read for the entry; ``None`` when it is missing and may be."""
    with _Wrapped(wrapper):
        read = read_of(es, entry)
        if read is None:
            raise Unfit("either extract, find, or sourceRef must be set to dataFrom")
    result = results[read]
    if isinstance(result, Unread):
        if result.missing and es.spec.target.deletion_policy != "Retain":
            return None
        raise NotAssembled(wrapper + result.text, throttled_for=result.throttled_for)
    return result


def _members(entry: DataFromEntry, fetched: Fetched, *, with_attributes: bool) -> dict[str, bytes]:
    ref = entry.extract
    if ref is None:
        return {}
    kind = ref.key.partition("/")[0] if "/" in ref.key else "secret"
    if kind != "secret":
        raise Unfit(f"cannot get use dataFrom to get {'certificate' if kind == 'cert' else 'key'} secret")
    if ref.metadata_policy == "Fetch":
        tags = tags_of(fetched, with_attributes=with_attributes)
        if ref.property:
            found = {f"{ref.key}_{ref.property}": tag_value(tags, ref.property).encode()}
        else:
            found = tag_members(tags, object_name(ref.key))
    else:
        found = members_of(property_of(fetched.value.reveal(), ref.property, ref.key))
    found = check_keys(convert_keys(found, ref.conversion_strategy))
    decoded = decode_members(found, ref.decoding_strategy)
    check_null_bytes(decoded, ref.null_byte_policy)
    return decoded


def _value(entry: DataEntry, fetched: Fetched, *, with_attributes: bool) -> bytes:
    ref = entry.remote_ref
    if ref.metadata_policy == "Fetch":
        text = tag_value(tags_of(fetched, with_attributes=with_attributes), ref.property)
    else:
        text = property_of(fetched.value.reveal(), ref.property, ref.key)
    value = decode(text.encode(), ref.decoding_strategy)
    check_null_bytes({ref.key: value}, ref.null_byte_policy)
    return value
