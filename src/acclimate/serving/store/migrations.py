"""The shapes a store's tables have had, in order, in both dialects: the one place where they change.

A store remembers the number of the last step that was taken. Opening it takes the steps after that, all in
one transaction. A step that was released is never edited; what it got wrong, the next one mends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acclimate.errors import StoreError


@dataclass(frozen=True, slots=True)
class Migration:
    """One step, from version 1; ``sqlite`` and ``postgres`` are statements with the same effect."""

    version: int
    sqlite: tuple[str, ...]
    postgres: tuple[str, ...]


# `events` is a log. A row with an id is an event; one with `undone` says that the event of its key was taken
# back; in SQLite one with nothing but a person says that this person was erased. A row of SQLite that is
# taken back or erased keeps nothing but its number: rows are never removed, so that numbers are never given
# twice, and no page of the table is ever merged with another, which would leave copies of other people's rows
# in free space. `by_key` and `by_person` index the rows up to `store.folded`; the rest is indexed in memory.
# `store` has one row, so that a reader sees with one look what has changed: the newest number, how many were
# erased, how many revisions all tenants have had.
# PostgreSQL gives numbers from `acclimate_store.seq`, whose row is also the lock that puts the writers of all
# processes in one order; `acclimate_writers` has the number of each process's last commit, by which one whose
# answer was lost is found again. (Transaction numbers would not do: a server that crashed gives them again.)
MIGRATIONS = (
    Migration(
        1,
        sqlite=(
            "CREATE TABLE store (one INTEGER PRIMARY KEY CHECK (one = 1), events INTEGER NOT NULL, "
            "top INTEGER NOT NULL, folded INTEGER NOT NULL, erasures INTEGER NOT NULL, "
            "revisions INTEGER NOT NULL, touched INTEGER NOT NULL)",
            "INSERT INTO store VALUES (1, 0, 0, 0, 0, 0, 0)",
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, key BLOB, person BLOB, tenant TEXT, user TEXT, "
            "id TEXT, item TEXT, value REAL, time REAL, undone BLOB)",
            "CREATE TABLE by_key (key BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID",
            "CREATE TABLE by_person (person BLOB, seq INTEGER, PRIMARY KEY (person, seq)) WITHOUT ROWID",
            "CREATE TABLE erased (digest BLOB PRIMARY KEY) WITHOUT ROWID",
            "CREATE TABLE tenants (tenant TEXT PRIMARY KEY, revision INTEGER NOT NULL, rules TEXT) "
            "WITHOUT ROWID",
            "CREATE TABLE items (position INTEGER PRIMARY KEY, tenant TEXT NOT NULL, item TEXT NOT NULL, "
            "fields TEXT NOT NULL, UNIQUE (tenant, item))",
            "CREATE TABLE keys (id TEXT PRIMARY KEY, digest TEXT NOT NULL, tenant TEXT NOT NULL, "
            "scopes TEXT NOT NULL, name TEXT NOT NULL, created REAL NOT NULL) WITHOUT ROWID",
        ),
        postgres=(
            "CREATE TABLE acclimate_store (one int PRIMARY KEY CHECK (one = 1), seq bigint NOT NULL, "
            "events bigint NOT NULL, touched bigint NOT NULL)",
            "INSERT INTO acclimate_store VALUES (1, 0, 0, 0)",
            "CREATE TABLE acclimate_events (seq bigint PRIMARY KEY, key bytea NOT NULL UNIQUE, "
            'person bytea NOT NULL, tenant text, "user" text, id text, item text, value double precision, '
            '"time" double precision, undone bytea)',
            "CREATE INDEX acclimate_events_by_person ON acclimate_events (person, seq)",
            "CREATE TABLE acclimate_erased (digest bytea PRIMARY KEY)",
            "CREATE TABLE acclimate_tenants (tenant text PRIMARY KEY, revision bigint NOT NULL, rules text)",
            "CREATE TABLE acclimate_items (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
            "tenant text NOT NULL, item text NOT NULL, fields text NOT NULL, UNIQUE (tenant, item))",
            "CREATE TABLE acclimate_keys (id text PRIMARY KEY, digest text NOT NULL, tenant text NOT NULL, "
            "scopes text NOT NULL, name text NOT NULL, created double precision NOT NULL)",
            "CREATE TABLE acclimate_writers (writer uuid PRIMARY KEY, number bigint NOT NULL, "
            "at timestamptz NOT NULL)",
        ),
    ),
)


def pending(found: int, where: str, migrations: Sequence[Migration] = MIGRATIONS) -> Sequence[Migration]:
    """The steps a store of version ``found`` still needs.

    Raises:
        StoreError: it was written by a newer acclimate.
    """
    newest = migrations[-1].version
    if found > newest:
        raise StoreError(
            f"{where} has schema version {found}, and this acclimate knows versions up to {newest}: a newer "
            "one wrote it. Update acclimate, or name another store. Nothing was changed."
        )
    return [step for step in migrations if step.version > found]
