"""What a database has to offer so that a store can be made of it: one connection that writes, many reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from acclimate.errors import StoreError
from acclimate.serving.store.base import StoredKey
from acclimate.serving.store.rows import Known, Row

EventRow = tuple[str, str, float | None, float]
"""id, item, value, time."""


class LostError(StoreError):
    """The connection was lost before anything was made permanent: the same writes may be tried again."""


class Ledger(Protocol):
    """The one connection of a process that writes, used by one thread.

    Between :meth:`begin` and :meth:`commit` no other writer, of whichever process, comes in between: numbers
    are given in the order in which they become visible. Every method raises StoreError when the database
    fails; then the transaction is gone, and the next :meth:`begin` starts afresh.
    """

    def begin(self) -> None: ...

    def insert(self, rows: Sequence[Row], *, checked: bool = False) -> bool:
        """Appends rows in their order; False if a key was used before, and then it must be rolled back.

        ``checked`` says that :meth:`find` found none of them in this transaction.
        """
        ...

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Known]: ...

    def undo(self, key: bytes, known: Known, mark: bytes) -> None:
        """Replaces an event by the mark that it was taken back, with a new sequence number."""
        ...

    def erase(self, digest: bytes) -> int:
        """Removes what a person's rows hold, and keeps the digest; how many events there were."""
        ...

    def add_items(self, tenant: str, items: Sequence[tuple[str, str]]) -> int: ...

    def set_rules(self, tenant: str, rules: str) -> int: ...

    def add_key(self, key: StoredKey) -> bool:
        """False if there is a key of that id."""
        ...

    def remove_key(self, key_id: str) -> bool: ...

    def touch(self) -> None:
        """Writes something that means nothing."""
        ...

    def commit(self) -> None:
        """Returns once everything since begin() is on disk.

        Raises:
            StoreError: it is not, and will not come back to life.
        """
        ...

    def rollback(self) -> None: ...

    def tidy(self) -> None:
        """Does what can wait until nobody waits. Raises nothing."""
        ...

    def close(self) -> None: ...


class Reader(Protocol):
    """Reads what was committed; from any thread. Every method raises StoreError when the database fails."""

    def view(
        self, tenant: str, digest: bytes, seen: int, limit: int
    ) -> tuple[int, bool, int, list[EventRow] | None]:
        """Revision, erased, last, and the newest events, newest first; None where ``last`` is ``seen``."""
        ...

    def settings(self, tenant: str) -> tuple[int, str | None, list[tuple[str, str]]]:
        """Revision, rules as JSON, items with fields as JSON in the order they were added."""
        ...

    def export(self, digest: bytes) -> list[EventRow]:
        """Oldest first."""
        ...

    def count(self) -> int: ...

    def keys(self) -> list[StoredKey]: ...

    def key(self, key_id: str) -> StoredKey | None: ...

    def close(self) -> None: ...
