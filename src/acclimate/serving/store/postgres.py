"""The store for several machines: PostgreSQL (13 or newer), by psycopg 3."""

from __future__ import annotations

import contextlib
import json
import logging
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from acclimate.errors import StoreError, UserInputError
from acclimate.serving.store.base import StoredKey
from acclimate.serving.store.event_store import EventStore
from acclimate.serving.store.ledger import EventRow, LostError
from acclimate.serving.store.migrations import MIGRATIONS, Migration, pending
from acclimate.serving.store.rows import Known, Row
from acclimate.serving.store.writing import WAITING

log = logging.getLogger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]
ADVISORY = 0x41434C4D
OLDEST = 130000
CONNECT_SECONDS, STATEMENT_SECONDS, LOCK_SECONDS = 3, 10, 10
PATIENCE_SECONDS = 5.0
"""How long writes wait for a server that restarts; once it is known to be down they fail at once."""
SETTINGS = (
    f"-c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout={LOCK_SECONDS}s -c synchronous_commit=on "
    "-c idle_in_transaction_session_timeout=15s -c default_transaction_isolation=read\\ committed"
)
INSERT = (
    'INSERT INTO acclimate_events (seq, key, person, tenant, "user", id, item, value, "time") '
    "SELECT %s + n, key, person, tenant, u, id, item, value, t FROM unnest(%b::bytea[], %b::bytea[], "
    "%b::text[], %b::text[], %b::text[], %b::text[], %b::float8[], %b::float8[]) "
    "WITH ORDINALITY AS r (key, person, tenant, u, id, item, value, t, n) ON CONFLICT (key) DO NOTHING"
)
VIEW = (
    "SELECT h.revision, h.erased, h.last, e.id, e.item, e.value, e.time FROM (SELECT "
    "coalesce((SELECT revision FROM acclimate_tenants WHERE tenant = %(tenant)s), 0) AS revision, "
    "EXISTS (SELECT 1 FROM acclimate_erased WHERE digest = %(digest)s) AS erased, "
    "coalesce((SELECT max(seq) FROM acclimate_events WHERE person = %(person)s), 0) AS last) AS h "
    "LEFT JOIN LATERAL (SELECT seq, id, item, value, time FROM acclimate_events WHERE person = %(person)s "
    "AND undone IS NULL AND h.last <> %(seen)s ORDER BY seq DESC LIMIT %(limit)s) AS e ON true "
    "ORDER BY e.seq DESC"
)
COMMITTED = (
    "WITH mine AS (INSERT INTO acclimate_writers VALUES (%s, %s, now()) ON CONFLICT (writer) DO UPDATE SET "
    "number = excluded.number, at = excluded.at) UPDATE acclimate_store SET seq = %s, events = events + %s"
)
KEYS = "SELECT id, digest, tenant, scopes, name, created FROM acclimate_keys"


def open_postgres(
    url: str, *, waiting: int = WAITING, migrations: Sequence[Migration] = MIGRATIONS
) -> EventStore:
    """Opens the store in a database, and makes its tables if there are none.

    Raises:
        UserInputError: an address that PostgreSQL does not understand.
        StoreError: the database cannot be reached, is too old, or was written by a newer acclimate.
    """
    server = _Server(url)
    server.prepare(migrations)
    return EventStore(PostgresLedger(server), PostgresReader(server), local=False, waiting=waiting)


class _Server:
    """How connections to one database are made. Messages name it without its password."""

    def __init__(self, url: str) -> None:
        try:
            parts = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise UserInputError(
                f"This is not the address of a PostgreSQL database: {_line(error)}. "
                "Give postgresql://user@host:5432/database"
            ) from None
        self.name = f"PostgreSQL at {parts.get('host', 'localhost')}/{parts.get('dbname', '')}"
        given: dict[str, str | int] = {name: value for name, value in parts.items() if value is not None}
        options = f"{given.pop('options', '')} {SETTINGS}".strip()
        defaults: dict[str, str | int] = {
            "connect_timeout": CONNECT_SECONDS,
            "tcp_user_timeout": STATEMENT_SECONDS * 1000,
            "keepalives_idle": 10,
            "keepalives_interval": 3,
            "keepalives_count": 3,
            "application_name": "acclimate",
        }
        self._conninfo = make_conninfo("", **{**defaults, **given, "options": options})

    def connect(self) -> Connection:
        return psycopg.connect(self._conninfo, autocommit=True)

    def prepare(self, migrations: Sequence[Migration]) -> None:
        try:
            with self.connect() as connection:
                if connection.info.server_version < OLDEST:
                    raise StoreError(
                        f"{self.name} is older than version {OLDEST // 10000}. Use a newer server."
                    )
                with connection.transaction():
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (ADVISORY,))
                    connection.execute(
                        "CREATE TABLE IF NOT EXISTS acclimate_schema (one int PRIMARY KEY CHECK (one = 1), "
                        "version int NOT NULL)"
                    )
                    found = connection.execute("SELECT version FROM acclimate_schema").fetchone()
                    steps = pending(found[0] if found else 0, f"The event store in {self.name}", migrations)
                    for step in steps:
                        for statement in step.postgres:
                            connection.execute(sql.SQL(statement))
                    if steps:
                        connection.execute(
                            "INSERT INTO acclimate_schema VALUES (1, %s) "
                            "ON CONFLICT (one) DO UPDATE SET version = excluded.version",
                            (steps[-1].version,),
                        )
                    # Of processes that were killed.
                    connection.execute("DELETE FROM acclimate_writers WHERE at < now() - interval '1 day'")
        except psycopg.Error as error:
            raise self.error("open", error) from None

    def error(self, what: str, error: psycopg.Error, nothing: str = "") -> StoreError:
        state = error.sqlstate or ""
        if state.startswith("53"):
            cure = "The server is out of disk, memory or connections: give it more."
        elif state in ("42501", "28000", "28P01", "3D000"):
            cure = "Check the user, its password and rights, and the database's name."
        elif state.startswith("55") or state == "57014":
            cure = (
                "It did not answer in time: it is overloaded, or another program holds a lock on its tables."
            )
        else:
            cure = "Check that the server runs and can be reached. The store goes on by itself once it does."
        return StoreError(f"Cannot {what} the event store in {self.name} ({_line(error)}).{nothing} {cure}")


class PostgresLedger:
    """The connection that writes: see :class:`~acclimate.serving.store.ledger.Ledger`.

    A transaction first locks the one row that numbers are taken from, so that writers of all processes take
    turns. Each commit leaves its number, so that one whose answer was lost can be looked up.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._connection: Connection | None = None
        self._down = False
        self._seq = self._events = self._number = 0
        self._writer = uuid.uuid4()

    def begin(self) -> None:
        if self._connection is None:
            self._connection = self._reconnect()
        self._events = 0
        with self._guard():
            self._connection.execute("BEGIN")
            found = self._connection.execute("SELECT seq FROM acclimate_store FOR UPDATE").fetchone()
            if found is None:
                raise StoreError(
                    f"The event store in {self._server.name} has lost its row in acclimate_store."
                )
            self._seq = found[0]

    def insert(self, rows: Sequence[Row], *, checked: bool = False) -> bool:
        if not rows:
            return True
        with self._guard():
            done = self._do.execute(
                INSERT, (self._seq, *(list(column) for column in zip(*rows, strict=True)))
            )
        self._seq += len(rows)
        self._events += len(rows)
        return done.rowcount == len(rows)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Known]:
        with self._guard():
            rows = self._do.execute(
                "SELECT key, seq, person, item, value, undone FROM acclimate_events "
                "WHERE key = ANY(%b::bytea[])",
                (list(keys),),
            ).fetchall()
        return {row[0]: Known(*row[1:]) for row in rows}

    def undo(self, key: bytes, known: Known, mark: bytes) -> None:
        self._seq += 1
        self._events -= 1
        with self._guard():
            self._do.execute("DELETE FROM acclimate_events WHERE seq = %s", (known.seq,))
            self._do.execute(
                "INSERT INTO acclimate_events (seq, key, person, undone) VALUES (%s, %s, %s, %s)",
                (self._seq, key, known.person, mark),
            )

    def erase(self, digest: bytes) -> int:
        count: int = self._one(
            "WITH gone AS (DELETE FROM acclimate_events WHERE person = %s RETURNING undone) "
            "SELECT count(*) FILTER (WHERE undone IS NULL) FROM gone",
            (digest[:16],),
        )
        with self._guard():
            self._do.execute("INSERT INTO acclimate_erased VALUES (%s) ON CONFLICT DO NOTHING", (digest,))
        self._events -= count
        return count

    def add_items(self, tenant: str, items: Sequence[tuple[str, str]]) -> int:
        with self._guard(), self._do.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO acclimate_items (tenant, item, fields) VALUES (%s, %s, %s) "
                "ON CONFLICT (tenant, item) DO UPDATE SET fields = excluded.fields",
                [(tenant, item, fields) for item, fields in items],
            )
        return self._revise(tenant, None, "")

    def set_rules(self, tenant: str, rules: str) -> int:
        return self._revise(tenant, rules, ", rules = excluded.rules")

    def add_key(self, key: StoredKey) -> bool:
        values = (key.id, key.digest, key.tenant, json.dumps(key.scopes), key.name, key.created)
        with self._guard():
            done = self._do.execute(
                "INSERT INTO acclimate_keys VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", values
            )
        return done.rowcount == 1

    def remove_key(self, key_id: str) -> bool:
        with self._guard():
            return self._do.execute("DELETE FROM acclimate_keys WHERE id = %s", (key_id,)).rowcount == 1

    def touch(self) -> None:
        with self._guard():
            self._do.execute("UPDATE acclimate_store SET touched = touched + 1")

    def commit(self) -> None:
        connection = self._do
        self._number += 1
        try:
            connection.execute(COMMITTED, (self._writer, self._number, self._seq, self._events))
            connection.execute("COMMIT")
        except psycopg.Error as error:
            if connection.info.transaction_status is TransactionStatus.INERROR:
                self.rollback()
                raise self._server.error("write to", error, " Nothing of this call was stored.") from None
            self._drop()
            self._settle(error)

    def rollback(self) -> None:
        if self._connection is not None:
            with self._guard():
                self._connection.execute("ROLLBACK")

    def tidy(self) -> None:
        """Nothing: the server looks after itself."""

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.execute("DELETE FROM acclimate_writers WHERE writer = %s", (self._writer,))
        self._drop()

    @property
    def _do(self) -> Connection:
        if self._connection is None:
            raise LostError(
                f"The connection to {self._server.name} was lost. Nothing of this call was stored."
            )
        return self._connection

    def _one(self, statement: str, values: tuple[object, ...]) -> Any:
        with self._guard():
            found = self._do.execute(sql.SQL(statement), values).fetchone()
        return found[0] if found else 0

    def _revise(self, tenant: str, rules: str | None, also: str) -> int:
        revision: int = self._one(
            "INSERT INTO acclimate_tenants AS t VALUES (%s, 1, %s) ON CONFLICT (tenant) "
            f"DO UPDATE SET revision = t.revision + 1{also} RETURNING revision",
            (tenant, rules),
        )
        return revision

    def _reconnect(self) -> Connection:
        """Waits for a server that has just gone, as it may restart; not for one known to be down."""
        deadline = time.monotonic() + (0 if self._down else PATIENCE_SECONDS)
        while True:
            try:
                connection = self._server.connect()
            except psycopg.Error as error:
                if time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                self._down = True
                raise self._server.error("write to", error, " Nothing of this call was stored.") from None
            self._down = False
            return connection

    def _settle(self, lost: psycopg.Error) -> None:
        """Finds out whether a transaction took place whose commit was not answered.

        Raises:
            LostError: it did not, and may be tried again. StoreError: it cannot be found out.
        """
        newest = self._newest()
        if newest == self._number:
            return
        if newest is not None:
            raise LostError(
                f"{self._server.name} lost a transaction ({_line(lost)}). Nothing of this call was stored."
            )
        raise self._server.error(
            "write to",
            lost,
            " The connection was lost while it was made permanent, so it may be stored or not: send it "
            "again, with the same event ids, which changes nothing if it is.",
        )

    def _newest(self) -> int | None:
        """The number of this process's last commit, 0 if none; None where the server does not say in time."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if self._connection is None:
                    self._connection = self._reconnect()
                with self._connection.transaction():
                    # The server may still be at it, not knowing that nobody listens; it holds this row then.
                    self._connection.execute("SELECT FROM acclimate_store FOR UPDATE")
                    found = self._connection.execute(
                        "SELECT number FROM acclimate_writers WHERE writer = %s", (self._writer,)
                    ).fetchone()
                return found[0] if found else 0
            except StoreError:
                return None
            except psycopg.Error:
                self._drop()
                if time.monotonic() > deadline:
                    return None

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError):
            raise
        except psycopg.Error as error:
            lost = self._connection is None or self._connection.closed
            self._drop()
            told = self._server.error("write to", error, " Nothing of this call was stored.")
            raise (LostError(*told.args) if lost else told) from None

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()


class PostgresReader:
    """Connections that read: see :class:`~acclimate.serving.store.ledger.Reader`."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._idle: deque[Connection] = deque()
        self._closed = False

    def view(
        self, tenant: str, digest: bytes, seen: int, limit: int
    ) -> tuple[int, bool, int, list[EventRow] | None]:
        values = {"tenant": tenant, "digest": digest, "person": digest[:16], "seen": seen, "limit": limit}
        rows = self._read(VIEW, values)
        revision, erased, last = rows[0][:3]
        if last == seen:
            return revision, erased, last, None
        return revision, erased, last, [row[3:] for row in rows if row[3] is not None]

    def settings(self, tenant: str) -> tuple[int, str | None, list[tuple[str, str]]]:
        rows = self._read(
            "SELECT t.revision, t.rules, i.item, i.fields FROM acclimate_tenants AS t "
            "LEFT JOIN acclimate_items AS i USING (tenant) WHERE t.tenant = %s ORDER BY i.position",
            (tenant,),
        )
        if not rows:
            return 0, None, []
        return rows[0][0], rows[0][1], [row[2:] for row in rows if row[2] is not None]

    def export(self, digest: bytes) -> list[EventRow]:
        return self._read(
            "SELECT id, item, value, time FROM acclimate_events "
            "WHERE person = %s AND undone IS NULL ORDER BY seq",
            (digest[:16],),
        )

    def count(self) -> int:
        count: int = self._read("SELECT events FROM acclimate_store", ())[0][0]
        return count

    def keys(self) -> list[StoredKey]:
        return [_key(row) for row in self._read(f"{KEYS} ORDER BY created, id", ())]

    def key(self, key_id: str) -> StoredKey | None:
        rows = self._read(f"{KEYS} WHERE id = %s", (key_id,))
        return _key(rows[0]) if rows else None

    def close(self) -> None:
        self._closed = True
        self._drop_idle()

    def _drop_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _read(self, statement: str, values: dict[str, object] | tuple[object, ...]) -> list[Any]:
        """Once more on a new connection, where the old one did not survive a restart of the server."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._read_with(self._connect(), statement, values)
        try:
            return self._read_with(connection, statement, values)
        except LostError:
            self._drop_idle()
            return self._read_with(self._connect(), statement, values)

    def _connect(self) -> Connection:
        if self._closed:
            raise StoreError("The event store is closed.")
        try:
            return self._server.connect()
        except psycopg.Error as error:
            raise self._server.error("read", error) from None

    def _read_with(
        self, connection: Connection, statement: str, values: dict[str, object] | tuple[object, ...]
    ) -> list[Any]:
        try:
            rows = connection.execute(sql.SQL(statement), values).fetchall()
        except psycopg.Error as error:
            lost = connection.closed
            connection.close()
            told = self._server.error("read", error)
            raise (LostError(*told.args) if lost else told) from None
        self._idle.append(connection)
        if self._closed:
            self.close()
        return rows


def _key(row: Sequence[Any]) -> StoredKey:
    key_id, digest, tenant, scopes, name, created = row
    return StoredKey(key_id, digest, tenant, tuple(json.loads(scopes)), name, created)


def _line(error: Exception) -> str:
    """The first line of a message, which says it; the rest shows the statement."""
    return str(error).strip().partition("\n")[0]
