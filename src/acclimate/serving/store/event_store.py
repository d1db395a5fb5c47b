"""The store: a ledger to write in, a reader to read by, and the nouns of the interface around them."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from acclimate.errors import ConflictError, StoreError
from acclimate.serving.events import Event, NewItem, Rules
from acclimate.serving.store.base import Settings, Status, StoredKey, View
from acclimate.serving.store.ledger import EventRow, Ledger, Reader
from acclimate.serving.store.rows import (
    event_key,
    fingerprint,
    items_as_rows,
    person_digest,
    rows_of,
    rules_from_json,
    rules_to_json,
)
from acclimate.serving.store.writing import WAITING, Writer

T = TypeVar("T")
CACHED = 100_000
"""Events of recently seen people that are kept in memory: a long history is not built again each time."""
CHECK_SECONDS = 10.0


class EventStore:
    """A :class:`~acclimate.serving.store.base.Store` on any database; see there for what it promises."""

    def __init__(
        self,
        ledger: Ledger,
        reader: Reader,
        *,
        local: bool,
        waiting: int = WAITING,
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        self._reads, self._local, self._on_close = reader, local, on_close
        self._writes = Writer(ledger, waiting=waiting)
        self._seen = _Seen()
        self._process = os.getpid()

    @property
    def local(self) -> bool:
        return self._local

    def append(self, tenant: str, events: Sequence[Event]) -> Future[list[Status]]:
        return self._writer.append(rows_of(tenant, events))

    def undo(self, tenant: str, user: str, event_id: str) -> Future[bool]:
        key, person = event_key(tenant, event_id), person_digest(tenant, user)[:16]

        def apply(ledger: Ledger) -> bool:
            known = ledger.find([key]).get(key)
            if known is None or known.person != person or known.item is None:
                return False
            ledger.undo(key, known, fingerprint(known.item, known.value))
            return True

        return self._writer.submit(apply)

    def erase(self, tenant: str, user: str) -> Future[int]:
        digest = person_digest(tenant, user)
        future = self._writer.submit(lambda ledger: ledger.erase(digest))
        future.add_done_callback(lambda _: self._seen.forget(digest))
        return future

    def add_items(self, tenant: str, items: Sequence[NewItem]) -> Future[int]:
        rows = items_as_rows(items)
        return self._writer.submit(lambda ledger: ledger.add_items(tenant, rows))

    def set_rules(self, tenant: str, rules: Rules) -> Future[int]:
        text = rules_to_json(rules)
        return self._writer.submit(lambda ledger: ledger.set_rules(tenant, text))

    def view(self, tenant: str, user: str, limit: int) -> View:
        digest = person_digest(tenant, user)
        last, events = self._seen.get(digest, limit)
        revision, erased, now, rows = self._reader.view(tenant, digest, last, limit)
        if rows is not None:
            rows.reverse()
            events = tuple(_events(user, rows))
            self._seen.put(digest, limit, now, events)
        return View(events, now, erased, revision)

    def settings(self, tenant: str) -> Settings:
        revision, rules, items = self._reader.settings(tenant)
        added = tuple(NewItem(item, json.loads(fields)) for item, fields in items)
        return Settings(revision, added, rules_from_json(rules))

    def export(self, tenant: str, user: str) -> list[Event]:
        return _events(user, self._reader.export(person_digest(tenant, user)))

    def count(self) -> int:
        return self._reader.count()

    def add_key(self, key: StoredKey) -> None:
        if not self._done(self._writer.submit(lambda ledger: ledger.add_key(key))):
            raise ConflictError(f"There is a key {key.id!r} already. Give the new one another id.")

    def keys(self) -> list[StoredKey]:
        return self._reader.keys()

    def key(self, key_id: str) -> StoredKey | None:
        return self._reader.key(key_id)

    def remove_key(self, key_id: str) -> bool:
        return self._done(self._writer.submit(lambda ledger: ledger.remove_key(key_id)))

    def check(self) -> None:
        self._reader.count()
        self._done(self._writer.submit(lambda ledger: ledger.touch()))

    def close(self) -> None:
        if os.getpid() == self._process:
            self._writes.close()
            self._reads.close()
            self._on_close()

    @property
    def _reader(self) -> Reader:
        self._check_process()
        return self._reads

    @property
    def _writer(self) -> Writer:
        self._check_process()
        return self._writes

    def _check_process(self) -> None:
        """A fork has neither the thread that writes nor locks of its own on the file."""
        if os.getpid() != self._process:
            raise StoreError(
                f"This event store was opened by process {self._process}, from which this one was forked. "
                "Open it again in this one."
            )

    def _done(self, future: Future[T]) -> T:
        try:
            return future.result(CHECK_SECONDS)
        except TimeoutError:
            raise StoreError(
                f"The event store did not finish a small write within {CHECK_SECONDS:.0f} seconds: its disk "
                "or server is overloaded, or another process holds it. The write still waits for its turn."
            ) from None


def _events(user: str, rows: Sequence[EventRow]) -> list[Event]:
    return [Event(event_id, user, item, value, time) for event_id, item, value, time in rows]


class _Seen:
    """The newest events of recently seen people, by the number of their last change."""

    def __init__(self) -> None:
        self._people: OrderedDict[tuple[bytes, int], tuple[int, tuple[Event, ...]]] = OrderedDict()
        self._events = 0
        self._lock = threading.Lock()

    def get(self, digest: bytes, limit: int) -> tuple[int, tuple[Event, ...]]:
        # Read without the lock: a dictionary's own operations are atomic, and an older entry is only slower.
        return self._people.get((digest, limit), (0, ()))

    def put(self, digest: bytes, limit: int, last: int, events: tuple[Event, ...]) -> None:
        with self._lock:
            self._drop((digest, limit))
            self._people[digest, limit] = (last, events)
            self._events += len(events) + 1
            while self._events > CACHED:
                self._drop(next(iter(self._people)))

    def forget(self, digest: bytes) -> None:
        with self._lock:
            for key in [key for key in self._people if key[0] == digest]:
                self._drop(key)

    def _drop(self, key: tuple[bytes, int]) -> None:
        old = self._people.pop(key, None)
        if old is not None:
            self._events -= len(old[1]) + 1
