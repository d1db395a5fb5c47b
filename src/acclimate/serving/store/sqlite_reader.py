"""Reading from an SQLite file, from any thread."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from acclimate.errors import StoreError
from acclimate.serving.store.base import StoredKey
from acclimate.serving.store.ledger import EventRow
from acclimate.serving.store.recent import Recent
from acclimate.serving.store.sqlite_file import SqliteFile, tail

HEAD = "SELECT folded, top, revisions, erasures FROM store"
REVISION = "SELECT ifnull((SELECT revision FROM tenants WHERE tenant = ?), 0)"
ERASED = "SELECT EXISTS (SELECT 1 FROM erased WHERE digest = ?)"
LAST_FOLDED = (
    "SELECT ifnull((SELECT seq FROM by_person WHERE person = ? AND seq <= ? ORDER BY seq DESC LIMIT 1), 0)"
)
KEPT = 100_000
FEW = 8
BY_NUMBER = "SELECT id, item, value, time FROM events WHERE seq IN ({}) AND id IS NOT NULL ORDER BY seq DESC"
BY_FEW, BY_MANY = BY_NUMBER.format(",".join("?" * FEW)), BY_NUMBER.format("SELECT value FROM json_each(?)")
FOLDED = (
    "SELECT id, item, value, time FROM by_person AS p JOIN events AS e ON e.seq = p.seq "
    "WHERE p.person = ? AND p.seq <= ? AND id IS NOT NULL ORDER BY p.seq DESC LIMIT ?"
)
KEYS = "SELECT id, digest, tenant, scopes, name, created FROM keys"
EVERYTHING = 1 << 62


Head = tuple[int, int, int, int]
"""folded, top, revisions, erasures."""
K = TypeVar("K")
V = TypeVar("V")


class SqliteReader:
    """Connections that read, as many as there are readers at once: see :class:`Reader`."""

    def __init__(self, file: SqliteFile, recent: Recent) -> None:
        self._file, self._recent = file, recent
        self._idle: deque[sqlite3.Connection] = deque()
        # What is known, and as of which number of revisions, of erasures, or of folded rows.
        self._revisions: dict[str, tuple[int, int]] = {}
        self._erasures: dict[bytes, tuple[int, bool]] = {}
        self._lasts: dict[bytes, tuple[int, int]] = {}
        self._closed = False

    def view(
        self, tenant: str, digest: bytes, seen: int, limit: int
    ) -> tuple[int, bool, int, list[EventRow] | None]:
        with self._connection() as connection:
            quick = self._unchanged(connection, tenant, digest, seen)
            if quick is not None:
                return quick
            head, base, numbers = self._begin(connection, digest[:16])
            revision = self._revision(connection, tenant, head)
            erased = self._erased(connection, digest, head)
            last = numbers[-1] if numbers else self._last_folded(connection, digest[:16], base)
            rows = None if last == seen else _newest(connection, digest[:16], base, numbers, limit)
            connection.execute("COMMIT")
        return revision, erased, last, rows

    def _unchanged(
        self, connection: sqlite3.Connection, tenant: str, digest: bytes, seen: int
    ) -> tuple[int, bool, int, None] | None:
        """The answer where nothing about a person has changed, which takes one look at one row; else None."""
        recent, person = self._recent, digest[:16]
        revision, erased = self._revisions.get(tenant), self._erasures.get(digest)
        folded = self._lasts.get(person)
        if revision is None or erased is None:
            return None
        _, top, revisions, erasures = connection.execute(HEAD).fetchone()
        # All rows up to this moment must have been looked at, and that before the person's are looked up.
        if recent.upto != top or revision[0] != revisions or erased[0] != erasures:
            return None
        base, numbers = recent.of(person, top)
        if numbers:
            last = numbers[-1]
        elif base == 0:
            last = 0
        elif folded is not None and folded[0] == base:
            last = folded[1]
        else:
            return None
        return (revision[1], erased[1], last, None) if last == seen else None

    def _begin(self, connection: sqlite3.Connection, person: bytes) -> tuple[Head, int, list[int]]:
        """Begins a transaction: what its moment is like, and where a person's rows are (see Recent.of)."""
        recent = self._recent
        while True:
            connection.execute("BEGIN")
            head: Head = connection.execute(HEAD).fetchone()
            folded, top = head[:2]
            if recent.read(folded, top, lambda after, top: tail(connection, after, top)):
                base, numbers = recent.of(person, top)
                # It may have been dropped meanwhile, for a younger snapshot than this one.
                if base <= folded:
                    return head, base, numbers
            connection.execute("COMMIT")

    def _revision(self, connection: sqlite3.Connection, tenant: str, head: Head) -> int:
        known = self._revisions.get(tenant)
        if known is None or known[0] != head[2]:
            known = head[2], connection.execute(REVISION, (tenant,)).fetchone()[0]
            _keep(self._revisions, tenant, known)
        return known[1]

    def _erased(self, connection: sqlite3.Connection, digest: bytes, head: Head) -> bool:
        known = self._erasures.get(digest)
        if known is None or known[0] != head[3]:
            known = head[3], bool(connection.execute(ERASED, (digest,)).fetchone()[0])
            _keep(self._erasures, digest, known)
        return known[1]

    def _last_folded(self, connection: sqlite3.Connection, person: bytes, base: int) -> int:
        """The number of a person's last row in the file's index, which stays so while ``base`` does."""
        if not base:
            return 0
        known = self._lasts.get(person)
        if known is None or known[0] != base:
            known = base, connection.execute(LAST_FOLDED, (person, base)).fetchone()[0]
            _keep(self._lasts, person, known)
        return known[1]

    def settings(self, tenant: str) -> tuple[int, str | None, list[tuple[str, str]]]:
        rows = self._read(
            "SELECT revision, rules FROM tenants WHERE tenant = ?1 UNION ALL "
            "SELECT * FROM (SELECT item, fields FROM items WHERE tenant = ?1 ORDER BY position)",
            (tenant,),
        )
        if not rows:
            return 0, None, []
        (revision, rules), *items = rows
        return revision, rules, items

    def export(self, digest: bytes) -> list[EventRow]:
        with self._connection() as connection:
            _, base, numbers = self._begin(connection, digest[:16])
            rows = _newest(connection, digest[:16], base, numbers, EVERYTHING)
            connection.execute("COMMIT")
        rows.reverse()
        return rows

    def count(self) -> int:
        count: int = self._read("SELECT events FROM store", ())[0][0]
        return count

    def keys(self) -> list[StoredKey]:
        return [_key(row) for row in self._read(f"{KEYS} ORDER BY created, id", ())]

    def key(self, key_id: str) -> StoredKey | None:
        rows = self._read(f"{KEYS} WHERE id = ?", (key_id,))
        return _key(rows[0]) if rows else None

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _read(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        with self._connection() as connection:
            return connection.execute(statement, values).fetchall()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for one reader; one that failed is not used again."""
        try:
            connection = self._idle.pop()
        except IndexError:
            if self._closed:
                raise StoreError("The event store is closed.") from None
            try:
                connection = self._file.connect(reading=True)
            except sqlite3.Error as error:
                raise self._file.error("open", error) from None
        try:
            yield connection
        except BaseException as error:
            connection.close()
            if isinstance(error, sqlite3.Error):
                raise self._file.error("read", error) from None
            raise
        self._idle.append(connection)
        if self._closed:
            self.close()


def _keep(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= KEPT:
        known.clear()
    known[key] = value


def _newest(
    connection: sqlite3.Connection, person: bytes, base: int, numbers: list[int], limit: int
) -> list[EventRow]:
    """A person's newest events, newest first: those the memory knows of, then those of the file's index."""
    rows: list[EventRow] = []
    end = len(numbers)
    while end and len(rows) < limit:
        start = max(0, end - limit)
        chunk = numbers[start:end]
        if len(chunk) <= FEW:
            rows += connection.execute(BY_FEW, chunk + [0] * (FEW - len(chunk))).fetchall()
        else:
            rows += connection.execute(BY_MANY, (json.dumps(chunk),)).fetchall()
        end = start
    del rows[limit:]
    if base and len(rows) < limit:
        rows += connection.execute(FOLDED, (person, base, limit - len(rows))).fetchall()
    return rows


def _key(row: Sequence[Any]) -> StoredKey:
    key_id, digest, tenant, scopes, name, created = row
    return StoredKey(key_id, digest, tenant, tuple(json.loads(scopes)), name, created)
