"""Pure: pages of lists and lines of watches, taken apart no further than needed.

Rules:
- What a page or an event is about (namespace, name, uid, version) is read apart from the object itself, so that an
  object that cannot be understood is still known by name.
- Objects stay text until a decoder reads from it the fields that it wants: managed fields and the rest of what nobody
  reads never become Python objects.
- Lines end with a line feed and with nothing else: JSON may hold other characters that Python takes for line ends.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

Key: TypeAlias = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""

_LONGEST_LINE = 32 * 1024 * 1024  # bytes; etcd keeps no object a tenth as long
_INITIAL_END = "k8s.io/initial-events-end"


class Unreadable(ValueError):
    """Not what an API server sends."""


@dataclass(frozen=True, slots=True)
class Item:
    """One object: what it is, and its text."""

    key: Key
    uid: str
    text: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    items: tuple[Item, ...]
    nameless: int
    """Items without a name; they can only be counted."""
    version: str
    more: str
    """Token of the next page; empty on the last."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a watch."""

    type: str
    version: str
    item: Item | None = None
    code: int = 0
    """Of an ERROR."""
    reason: str = ""
    ends_initial: bool = False
    """A bookmark that ends the events of what was there."""


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Head(msgspec.Struct):
    metadata: _Meta


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    code: int = 0
    reason: str = ""


class _Bookmark(msgspec.Struct):
    class Meta(msgspec.Struct):
        """Annotations alone."""

        annotations: dict[str, Any] | None = None

    metadata: Meta


_page = msgspec.json.Decoder(_Page)
_head = msgspec.json.Decoder(_Head)
_line = msgspec.json.Decoder(_Line)
_status = msgspec.json.Decoder(_Status, strict=False)
_bookmark = msgspec.json.Decoder(_Bookmark)


def read_page(content: bytes) -> Page:
    """Raises Unreadable when it is no list."""
    try:
        page = _page.decode(content)
    except msgspec.MsgspecError as error:
        raise Unreadable(str(error)) from error
    items, nameless = [], 0
    for text in page.items or ():
        item = _item(text)
        if item is None:
            nameless += 1
        else:
            items.append(item[0])
    return Page(tuple(items), nameless, page.metadata.resource_version, page.metadata.continue_)


def read_event(line: bytes) -> Event:
    """Raises Unreadable when it is no event."""
    try:
        event = _line.decode(line)
        if event.type == "ERROR":
            status = _status.decode(event.object)
            return Event(event.type, "", code=status.code, reason=status.reason)
        if event.type == "BOOKMARK":
            annotations = _bookmark.decode(event.object).metadata.annotations or {}
            version = _head.decode(event.object).metadata.resource_version
            return Event(event.type, version, ends_initial=annotations.get(_INITIAL_END) == "true")
    except msgspec.MsgspecError as error:
        raise Unreadable(str(error)) from error
    found = _item(event.object)
    return Event(event.type, found[1] if found else "", found[0] if found else None)


def _item(text: msgspec.Raw) -> tuple[Item, str] | None:
    """The object and its version; ``None`` when it has no name."""
    try:
        meta = _head.decode(text).metadata
    except msgspec.MsgspecError:
        return None
    if not meta.name:
        return None
    return Item((meta.namespace, meta.name), meta.uid, text), meta.resource_version


class Lines:
    """Bytes as they come, cut into lines."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._length = 0

    @property
    def is_cut(self) -> bool:
        """Whether a line has begun that has not ended."""
        return self._length > 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that end in *chunk*. Raises Unreadable when one grows beyond all measure."""
        *ended, rest = chunk.split(b"\n")
        if ended and self._length:
            ended[0] = b"".join((*self._rest, ended[0]))
            self._rest, self._length = [], 0
        if rest:
            self._rest.append(rest)
            self._length += len(rest)
            if self._length > _LONGEST_LINE:
                raise Unreadable("a line without an end")
        return (line for line in ended if line.strip())
