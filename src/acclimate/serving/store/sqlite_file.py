"""One SQLite file that holds a store: how it is made, opened and spoken of when it fails."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from acclimate.errors import StoreError
from acclimate.serving.store.migrations import Migration, pending
from acclimate.serving.store.recent import Entry
from acclimate.serving.store.turns import FileTurns

APPLICATION = 0x41434C4D  # "ACLM" in the file's header says that it is a store of ours
BUSY_SECONDS = 10.0


class SqliteFile:
    """How connections to one file are made."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path, self.durable = path, durable

    def prepare(self, migrations: Sequence[Migration]) -> None:
        """Creates the file, or brings it to the newest schema."""
        if not self.path.parent.is_dir():
            raise StoreError(
                f"The folder {self.path.parent} for the event store does not exist. Make it first."
            )
        if self.path.is_dir():
            raise StoreError(f"{self.path} is a folder; give the path of a file for the event store.")
        try:
            turns = FileTurns(self.path)
            turns.take()
            try:
                new = self._create()
                with contextlib.closing(self.connect()) as connection:
                    self._migrate(connection, migrations)
                if new and self.durable:
                    _sync_folder(self.path.parent)
            finally:
                turns.close()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
                raise StoreError(
                    f"{self.path} is not an event store (nor any SQLite file). Name another file."
                ) from None
            raise self.error("open", error) from None
        except OSError as error:
            reason = error.strerror or error
            raise StoreError(
                f"Cannot open the event store {self.path}: {reason}. "
                "Check the permissions of the file and of its folder."
            ) from None

    def _create(self) -> bool:
        """Makes an empty file unless there is one; whether it is empty."""
        # A file that is there is opened by SQLite alone: closing another descriptor of it gives up the locks
        # of a store that this process opened before, and then others remove the log that it writes.
        try:
            # What people did is nobody else's business; the log beside the file gets the same permissions.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            if not os.access(self.path, os.R_OK | os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
        return self.path.stat().st_size == 0

    def _migrate(self, connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
        where = f"The event store {self.path}"
        found = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if found[0] != APPLICATION and (tables or found != (0, 0)):
            raise StoreError(f"{self.path} is an SQLite file of another program. Name another file.")
        steps = pending(found[1], where, migrations)
        if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
            raise StoreError(f"{where} lies on a file system without shared memory. Put it on a local disk.")
        if not steps:
            return
        connection.execute("BEGIN IMMEDIATE")
        for step in steps:
            for statement in step.sqlite:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute(f"PRAGMA user_version={steps[-1].version}")
        connection.execute("COMMIT")

    def connect(self, *, reading: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_SECONDS,
        )
        try:
            connection.execute(f"PRAGMA synchronous={'FULL' if self.durable else 'OFF'}")
            # Where fsync() stops at the disk's own memory (macOS), ask for what goes through it.
            connection.execute("PRAGMA fullfsync=ON")
            connection.execute("PRAGMA checkpoint_fullfsync=ON")
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute("PRAGMA cache_size=-65536")
            connection.execute("PRAGMA mmap_size=1073741824")
            connection.execute("PRAGMA journal_size_limit=67108864")
            # Copied by tidy(), after those who wait were answered; this is for a store nobody tidies.
            connection.execute("PRAGMA wal_autocheckpoint=50000")
            if reading:
                connection.execute("PRAGMA query_only=ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def error(self, what: str, error: sqlite3.Error) -> StoreError:
        """What SQLite says, and what an operator can do about it."""
        name = getattr(error, "sqlite_errorname", "")
        if name == "SQLITE_FULL":
            cure = "The disk is full: free some space. The store goes on by itself."
        elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            cure = f"Another program has held a lock on the file for {BUSY_SECONDS:.0f} seconds: end it."
        elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            cure = (
                "The file is damaged: stop the server and put back a backup, "
                "or recover what can be with `sqlite3 FILE .recover`."
            )
        elif name.startswith("SQLITE_IOERR"):
            cure = (
                "Check the disk (its space, its health, the system's log). "
                "The store tries again with every request."
            )
        elif name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
            cure = "Check that the file is there, and that this user may write it and its folder."
        else:
            cure = "The store tries again with every request."
        nothing = "" if what in ("open", "read") else " Nothing of this call was stored."
        return StoreError(f"Cannot {what} the event store {self.path} ({error}).{nothing} {cure}")


def tail(connection: sqlite3.Connection, after: int, top: int) -> list[Entry]:
    """Rows of the log after one number, up to another."""
    return connection.execute(
        "SELECT seq, key, person FROM events WHERE seq > ? AND seq <= ?", (after, top)
    ).fetchall()


def _sync_folder(folder: Path) -> None:
    """Makes it permanent that the file is there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
