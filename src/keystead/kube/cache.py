"""The objects of one kind, decoded, with indexes; what changes is told as (old, new).

Rules:
- What cannot be decoded is left out, known by name, and counted; it never disturbs the rest. An object that was understood
  before and is not any more stays as it was last understood, since taking it for deleted would be a decision on nothing.
- An object of another uid under the same name is another object: the old one's end is told, then the new one's begin.
- Indexes are up to date when a change is told.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Generic, TypeVar

import msgspec
import structlog

from keystead.kube.wire import Item, Key

log = structlog.get_logger("keystead.informer")
R = TypeVar("R")

Decode = Callable[[msgspec.Raw], R]
Changed = Callable[[R | None, R | None], None]


class Index(Generic[R]):
    """Records by what a function says of them; a record may stand under several words, or under none."""

    def __init__(self, words: Callable[[R], Iterable[str]]) -> None:
        self._words = words
        self._found: dict[str, dict[Key, R]] = {}

    def of(self, word: str) -> Collection[R]:
        """All records under *word*, in the order in which they came."""
        return self._found.get(word, {}).values()

    def replace(self, key: Key, old: R | None, new: R | None) -> None:
        """*old* is not so any more, *new* is."""
        after = set(self._words(new)) if new is not None else set()
        for word in set(self._words(old)) - after if old is not None else ():
            records = self._found[word]
            del records[key]
            if not records:
                del self._found[word]
        for word in after:
            self._found.setdefault(word, {})[key] = new  # type: ignore[assignment] # words of a record that is there


class Cache(Generic[R]):
    """What is known of one kind."""

    def __init__(self, what: str, decode: Decode[R], on_change: Changed[R]) -> None:
        self._what = what
        self._decode = decode
        self._on_change = on_change
        self.objects: dict[Key, R] = {}
        self._uids: dict[Key, str] = {}
        """Of the objects, as the server said it beside each: a record need not hold it."""
        self._indexes: list[Index[R]] = []
        self.misunderstood: dict[Key, str] = {}
        """What is left out, and why."""

    def index(self, words: Callable[[R], Iterable[str]]) -> Index[R]:
        """A new index; made before anything is put."""
        made = Index(words)
        self._indexes.append(made)
        return made

    def put(self, item: Item) -> None:
        """What the server says is so."""
        old = self.objects.get(item.key)
        if old is not None and self._uids[item.key] != item.uid:
            self.drop(item.key)
            old = None
        try:
            record = self._decode(item.text)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one object must not harm the others
            self._misunderstand(item.key, error)
            return
        self.misunderstood.pop(item.key, None)
        if old != record:
            self.objects[item.key] = record
            self._uids[item.key] = item.uid
            self._tell(item.key, old, record)

    def drop(self, key: Key) -> None:
        """It is gone."""
        self.misunderstood.pop(key, None)
        self._uids.pop(key, None)
        old = self.objects.pop(key, None)
        if old is not None:
            self._tell(key, old, None)

    def keep_only(self, seen: set[Key]) -> None:
        """The rest is gone, and nobody had told us."""
        for key in [key for key in (*self.objects, *self.misunderstood) if key not in seen]:
            self.drop(key)

    def _misunderstand(self, key: Key, error: Exception) -> None:
        # msgspec names the field and what was expected there; other errors may quote what was found.
        why = str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__
        if self.misunderstood.get(key) != why:
            log.warning("object left out: it cannot be decoded", path=self._what, object="/".join(key), error=why)
        self.misunderstood[key] = why

    def _tell(self, key: Key, old: R | None, new: R | None) -> None:
        for index in self._indexes:
            index.replace(key, old, new)
        self._on_change(old, new)
