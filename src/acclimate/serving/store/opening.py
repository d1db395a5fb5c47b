"""From what a user writes (a path, or an address of a server) to a store."""

from __future__ import annotations

from pathlib import Path

from acclimate.errors import UserInputError
from acclimate.serving.store.base import Store
from acclimate.serving.store.sqlite import open_sqlite, open_temporary
from acclimate.serving.store.writing import WAITING

TEMPORARY = ":memory:"


def open_store(where: str | Path, *, waiting: int = WAITING) -> Store:
    """Opens a store, which is made if there is none.

    Args:
        where: a path of an SQLite file; ``postgresql://user@host/database``; or ``:memory:`` for one that is
            gone when it is closed.
        waiting: how many events may wait to be written before more are refused.

    Raises:
        StoreError: it cannot be opened, belongs to another program, or was written by a newer acclimate.
        UserInputError: an address that nothing here can open, or psycopg is not installed.
    """
    text = str(where)
    if text == TEMPORARY:
        return open_temporary(waiting=waiting)
    if text.startswith(("postgresql://", "postgres://")):
        try:
            from acclimate.serving.store.postgres import open_postgres
        except ImportError as error:
            raise UserInputError(
                f"A store in PostgreSQL needs psycopg, which cannot be imported ({error}). "
                "Install it: pip install 'acclimate[postgres]'"
            ) from None
        return open_postgres(text, waiting=waiting)
    if "://" in text:
        raise UserInputError(
            f"{text.partition('://')[0]}:// is no kind of store. Give a path of a file, or postgresql://host/database."
        )
    return open_sqlite(Path(where).expanduser(), waiting=waiting)
