"""The embedded store: one SQLite file in WAL mode, where a commit returns once the disk has it."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from acclimate.errors import StoreError
from acclimate.serving.store.base import StoredKey
from acclimate.serving.store.event_store import EventStore
from acclimate.serving.store.migrations import MIGRATIONS, Migration
from acclimate.serving.store.recent import Entry, Recent
from acclimate.serving.store.rows import Known, Row
from acclimate.serving.store.sqlite_file import SqliteFile, tail
from acclimate.serving.store.sqlite_reader import SqliteReader
from acclimate.serving.store.turns import FileTurns
from acclimate.serving.store.writing import WAITING

log = logging.getLogger(__name__)

FOLD = 65_536
"""Rows that are indexed in memory alone, before they are folded into the file's indexes."""
TIDY_ROWS, TIDY_GROUPS = 20_000, 1_000
"""After so many rows or groups the write-ahead log is copied into the file, when nobody waits for it."""
CHUNKS = tuple(1 << power for power in range(9, -1, -1))
"""Rows of one statement, which is one turn outside the interpreter's lock, however many rows it has."""
FORGET_SECONDS = 1.0
"""How long one that erases waits for those who read older pages, and how often it is tried again later."""


def _repeated(template: str, each: str) -> dict[int, str]:
    return {n: template.format(", ".join([each] * n)) for n in CHUNKS}


INSERT = _repeated(
    "INSERT INTO events (key, person, tenant, user, id, item, value, time) VALUES {}", "(?,?,?,?,?,?,?,?)"
)
FIND_KEY = _repeated("SELECT key, seq FROM by_key WHERE key IN ({})", "?")
FIND_ROW = _repeated("SELECT key, seq, person, item, value, undone FROM events WHERE seq IN ({})", "?")
NUMBERED = "IN (SELECT value FROM json_each(?))"


def open_sqlite(
    path: Path, *, waiting: int = WAITING, migrations: Sequence[Migration] = MIGRATIONS
) -> EventStore:
    """Opens the store in a file, which is made if there is none.

    Raises:
        StoreError: there is no such folder, the file is not a store of ours, a newer version wrote it, or the
            disk fails.
    """
    # What a link points to, so that all who open the file find the same locks beside it.
    file = SqliteFile(path.resolve(), durable=True)
    file.prepare(migrations)
    recent = Recent()
    return EventStore(SqliteLedger(file, recent), SqliteReader(file, recent), local=True, waiting=waiting)


def open_temporary(*, waiting: int = WAITING) -> EventStore:
    """A store for trying things out: its file is in a temporary folder, and gone once it is closed."""
    folder = Path(tempfile.mkdtemp(prefix="acclimate-"))
    file = SqliteFile(folder / "events.sqlite", durable=False)
    file.prepare(MIGRATIONS)
    recent = Recent()

    def remove() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    return EventStore(
        SqliteLedger(file, recent),
        SqliteReader(file, recent),
        local=True,
        waiting=waiting,
        on_close=remove,
    )


class SqliteLedger:
    """The connection that writes: see :class:`~acclimate.serving.store.ledger.Ledger`."""

    def __init__(self, file: SqliteFile, recent: Recent) -> None:
        self._file, self._recent = file, recent
        self._turns = FileTurns(file.path)
        self._connection: sqlite3.Connection | None = None
        self._holding = self._began = self._erased = self._forgetting = False
        self._forget_at = 0.0
        self._rows = self._groups = self._folded = 0
        self._start()

    def _start(self, before: int = 0) -> None:
        """A transaction that has written nothing yet, after the row of number ``before``."""
        self._before = self._top = before
        self._events = 0
        self._entries: list[Entry] = []
        self._keys: dict[bytes, int] = {}

    def begin(self) -> None:
        self._take_turn()
        with self._guard():
            if self._connection is None:
                self._connection = self._file.connect()
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            self._began = True
            folded, top = connection.execute("SELECT folded, top FROM store").fetchone()
            # A writer holds the newest snapshot there can be, so this cannot be too old.
            self._recent.read(folded, top, lambda after, top: tail(connection, after, top))
        self._folded = folded
        self._start(top)

    def insert(self, rows: Sequence[Row], *, checked: bool = False) -> bool:
        first = self._top + 1
        new = {row[0]: number for number, row in enumerate(rows, first)}
        if not checked and not self._unused(new, len(rows)):
            return False
        with self._guard():
            start = 0
            for size in CHUNKS:
                while len(rows) - start >= size:
                    chunk = rows[start : start + size]
                    self._do.execute(INSERT[size], [value for row in chunk for value in row])
                    start += size
        self._keys |= new
        self._entries += [(number, row[0], row[1]) for number, row in enumerate(rows, first)]
        self._top += len(rows)
        self._events += len(rows)
        return True

    def _unused(self, new: dict[bytes, int], rows: int) -> bool:
        """Whether all keys are different, and neither this transaction nor any before it had one of them."""
        if len(new) < rows or not self._keys.keys().isdisjoint(new) or self._recent.holds_any(new):
            return False
        return not self._folded or not self._find(FIND_KEY, list(new))

    def _find(self, statements: dict[int, str], values: Sequence[bytes] | Sequence[int]) -> list[Any]:
        found: list[Any] = []
        with self._guard():
            start = 0
            for size in CHUNKS:
                while len(values) - start >= size:
                    found += self._do.execute(statements[size], values[start : start + size]).fetchall()
                    start += size
        return found

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Known]:
        numbers: dict[bytes, int] = {}
        for key in keys:
            number = self._keys.get(key) or self._recent.find(key)
            if number is not None:
                numbers[key] = number
        numbers |= self._find(FIND_KEY, [key for key in keys if key not in numbers])
        # The row of a number may have been emptied, and then it has no key.
        rows = self._find(FIND_ROW, list(numbers.values()))
        return {row[0]: Known(*row[1:]) for row in rows if row[0] in numbers}

    def undo(self, key: bytes, known: Known, mark: bytes) -> None:
        with self._guard():
            self._blank("= ?", known.seq)
            self._do.execute("DELETE FROM by_person WHERE person = ? AND seq = ?", (known.person, known.seq))
            self._do.execute(
                "INSERT INTO events (key, person, undone) VALUES (?, ?, ?)", (key, known.person, mark)
            )
        self._top += 1
        self._entries.append((self._top, key, known.person))
        self._keys[key] = self._top
        self._events -= 1

    def erase(self, digest: bytes) -> int:
        person = digest[:16]
        with self._guard():
            _, recent = self._recent.of(person, self._before)
            theirs = json.dumps(recent + [number for number, _, whose in self._entries if whose == person])
            numbers = json.dumps(
                [
                    row[0]
                    for row in self._do.execute(
                        f"SELECT seq FROM events WHERE person = ?1 AND seq {NUMBERED.replace('?', '?2')} "
                        "UNION SELECT seq FROM by_person WHERE person = ?1",
                        (person, theirs),
                    )
                ]
            )
            count: int = self._do.execute(
                f"SELECT count(*) FROM events WHERE id IS NOT NULL AND seq {NUMBERED}", (numbers,)
            ).fetchone()[0]
            self._do.execute(
                f"DELETE FROM by_key WHERE key IN (SELECT key FROM events WHERE seq {NUMBERED})", (numbers,)
            )
            self._do.execute("DELETE FROM by_person WHERE person = ?", (person,))
            self._blank(NUMBERED, numbers)
            self._do.execute("INSERT INTO events (person) VALUES (?)", (person,))
            self._do.execute("INSERT OR IGNORE INTO erased VALUES (?)", (digest,))
            self._do.execute("UPDATE store SET erasures = erasures + 1")
        self._top += 1
        self._entries.append((self._top, None, person))
        self._events -= count
        self._erased = True
        return count

    def add_items(self, tenant: str, items: Sequence[tuple[str, str]]) -> int:
        with self._guard():
            self._do.executemany(
                "INSERT INTO items (tenant, item, fields) VALUES (?, ?, ?) "
                "ON CONFLICT (tenant, item) DO UPDATE SET fields = excluded.fields",
                [(tenant, item, fields) for item, fields in items],
            )
        return self._revise(tenant, "revision = revision + 1", None)

    def set_rules(self, tenant: str, rules: str) -> int:
        return self._revise(tenant, "revision = revision + 1, rules = excluded.rules", rules)

    def add_key(self, key: StoredKey) -> bool:
        values = (key.id, key.digest, key.tenant, json.dumps(key.scopes), key.name, key.created)
        with self._guard():
            done = self._do.execute("INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?, ?, ?)", values)
            return done.rowcount == 1

    def remove_key(self, key_id: str) -> bool:
        with self._guard():
            return self._do.execute("DELETE FROM keys WHERE id = ?", (key_id,)).rowcount == 1

    def touch(self) -> None:
        with self._guard():
            self._do.execute("UPDATE store SET touched = touched + 1")

    def commit(self) -> None:
        with self._guard():
            if self._entries:
                self._do.execute("UPDATE store SET events = events + ?, top = ?", (self._events, self._top))
            self._do.execute("COMMIT")
        before, entries = self._before, self._entries
        self._forgetting = self._forgetting or self._erased
        erased, self._began, self._erased = self._erased, False, False
        self._rows += len(entries)
        self._groups += 1
        self._start(self._top)
        try:
            self._recent.wrote(before, entries)
            if erased:
                self._forget(FORGET_SECONDS)  # before anybody is told that it is gone
        except Exception:
            # It is on disk, so nobody may be told otherwise. The memory is read again from the log, and what
            # is to be forgotten is by tidy().
            log.exception("%s: what follows a commit failed, which is tried again", self._file.path)
        finally:
            self._release()

    def rollback(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            with self._guard():
                self._connection.execute("ROLLBACK")
        self._began = self._erased = False
        self._start()
        self._release()

    def tidy(self) -> None:
        if self._connection is None:
            return
        try:
            if self._forgetting and time.monotonic() >= self._forget_at:
                self._take_turn()
                self._forget(0.0)
            elif self._top - self._folded >= FOLD:
                self._fold()
            elif self._rows >= TIDY_ROWS or self._groups >= TIDY_GROUPS:
                # In a turn, so that all of the log is copied and the next writer begins it anew: where others
                # write meanwhile there is always something left, and it grows for as long as they do. SQLite
                # before 3.51.3 may also damage the file where one copies while another begins the log anew.
                self._take_turn()
                self._do.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                self._rows = self._groups = 0
        except (StoreError, sqlite3.Error) as error:
            log.warning("%s could not be tidied, which is tried again: %s", self._file.path, error)
        finally:
            self._release()

    def _fold(self) -> None:
        """Brings the file's indexes up to the newest row, in the order of each index."""
        self.begin()
        try:
            if self._top - self._folded >= FOLD:  # else another process was quicker
                with self._guard():
                    for statement in (
                        "INSERT OR REPLACE INTO by_key SELECT key, seq FROM events "
                        "WHERE seq > ? AND seq <= ? AND key IS NOT NULL ORDER BY key",
                        "INSERT INTO by_person SELECT person, seq FROM events "
                        "WHERE seq > ? AND seq <= ? AND key IS NOT NULL ORDER BY person, seq",
                    ):
                        self._do.execute(statement, (self._folded, self._top))
                    self._do.execute("UPDATE store SET folded = ?", (self._top,))
            self.commit()
        except BaseException:
            self.rollback()
            raise
        self._rows = TIDY_ROWS

    def close(self) -> None:
        if self._connection is not None:
            if self._forgetting:
                self._forget_at = 0.0
                self.tidy()
            self._connection.close()
            self._connection = None
        self._turns.close()

    @property
    def _do(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"The event store {self._file.path} has no transaction. Nothing was written.")
        return self._connection

    def _blank(self, which: str, value: object) -> None:
        """Empties rows in place; `secure_delete` writes zeros over what they held."""
        self._do.execute(
            "UPDATE events SET key = NULL, person = NULL, tenant = NULL, user = NULL, id = NULL, "
            f"item = NULL, value = NULL, time = NULL, undone = NULL WHERE seq {which}",
            (value,),
        )

    def _revise(self, tenant: str, how: str, rules: str | None) -> int:
        with self._guard():
            self._do.execute(
                f"INSERT INTO tenants VALUES (?, 1, ?) ON CONFLICT (tenant) DO UPDATE SET {how}",
                (tenant, rules),
            )
            self._do.execute("UPDATE store SET revisions = revisions + 1")
            found = self._do.execute("SELECT revision FROM tenants WHERE tenant = ?", (tenant,)).fetchone()
        revision: int = found[0]
        return revision

    def _forget(self, seconds: float) -> None:
        """Copies the write-ahead log into the file and cuts it: no older page then holds what was erased."""
        deadline = time.monotonic() + seconds
        # SQLite itself would wait for those who read for as long as it does for those who write.
        patience = self._do.execute("PRAGMA busy_timeout").fetchone()[0]
        self._do.execute("PRAGMA busy_timeout=0")
        try:
            while busy := self._do.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.01)
        finally:
            self._do.execute(f"PRAGMA busy_timeout={patience}")
            self._forget_at = time.monotonic() + FORGET_SECONDS
        if not busy:
            self._forgetting, self._rows, self._groups = False, 0, 0
        elif seconds:
            log.warning(
                "%s is read by a program that does not end: what was erased stays in its log until it does",
                self._file.path,
            )

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """After a failure nothing of the transaction, or of what the connection believes, is used again."""
        try:
            yield
        except (
            sqlite3.IntegrityError,
            sqlite3.DataError,
            sqlite3.ProgrammingError,
            sqlite3.NotSupportedError,
        ):
            raise
        except sqlite3.DatabaseError as error:
            self._drop()
            raise self._file.error("write to", error) from None

    def _drop(self) -> None:
        self._erased = False
        self._start()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            connection.close()
        try:
            if self._began:
                self._heal()
        except sqlite3.Error as error:
            log.warning("%s cannot be written: %s", self._file.path, error)
        finally:
            self._began = False
            self._release()

    def _heal(self) -> None:
        """Writes over whatever a failed commit left in the log.

        Its pages may stand there complete, though its callers were told that it failed; were the machine to
        stop now, they would be taken for a commit. The next commit goes to the same place and ends that.
        """
        connection = self._file.connect()
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE store SET touched = touched + 1")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _take_turn(self) -> None:
        self._turns.take()
        self._holding = True

    def _release(self) -> None:
        if self._holding:
            self._holding = False
            self._turns.give()
