"""What a store is: the truth about what happened, by tenant; everything else is derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, Protocol

from acclimate.serving.events import Event, NewItem, Rules

Status = Literal["stored", "duplicate"]


@dataclass(frozen=True, slots=True)
class View:
    """What one answer needs to know, read at one moment.

    Attributes:
        events: the person's newest events, oldest first, as many as were asked for at most.
        last: number of the newest change of this person's events (taking one back is one); 0 if there is
            nothing of theirs.
        erased: whether this person was ever erased: what a model remembers of them is not to be used.
        revision: number of the tenant's last change of items or rules; 0 if none.
    """

    events: tuple[Event, ...]
    last: int
    erased: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Settings:
    """What a tenant added and ruled, as of a revision."""

    revision: int
    items: tuple[NewItem, ...]
    rules: Rules


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key to the server, of which only a hash is kept.

    Attributes:
        id: its public part. digest: SHA-256 of its secret part, hex. scopes: what it may do.
        created: seconds since epoch. name: for people.
    """

    id: str
    digest: str
    tenant: str
    scopes: tuple[str, ...]
    name: str
    created: float


class Store(Protocol):
    """Keeps events; safe to use from several threads, and by several processes at once.

    Writes return futures that resolve once what they wrote is on disk, and fail with
    :class:`~acclimate.errors.StoreError` otherwise; then nothing of that call was written. Writes of one
    process take effect in the order they were called. Reads see every write that was acknowledged before
    they began, by whichever process.
    """

    @property
    def local(self) -> bool:
        """Whether reads take microseconds, so that an event loop may wait for them."""
        ...

    def append(self, tenant: str, events: Sequence[Event]) -> Future[list[Status]]:
        """Stores events, all of them or none, in the given order.

        An event whose id the tenant already used for the same event (user, item, value) is a ``duplicate``,
        also after it was undone.

        Raises:
            OverloadedError: too many writes are waiting; raised at once.
            ConflictError: an id was used for another event, and none of this call's events is stored; raised
                by the future.
        """
        ...

    def undo(self, tenant: str, user: str, event_id: str) -> Future[bool]:
        """Takes back one event; False if the user has no such event. Its id stays used."""
        ...

    def erase(self, tenant: str, user: str) -> Future[int]:
        """Removes everything about a person, and marks them erased; how many events there were."""
        ...

    def add_items(self, tenant: str, items: Sequence[NewItem]) -> Future[int]:
        """Adds items or replaces their fields; the tenant's new revision."""
        ...

    def set_rules(self, tenant: str, rules: Rules) -> Future[int]:
        """Replaces the rules; the tenant's new revision."""
        ...

    def view(self, tenant: str, user: str, limit: int) -> View: ...

    def settings(self, tenant: str) -> Settings: ...

    def export(self, tenant: str, user: str) -> list[Event]:
        """Every event of a person, oldest first."""
        ...

    def count(self) -> int:
        """Events stored, of all tenants."""
        ...

    def add_key(self, key: StoredKey) -> None: ...

    def keys(self) -> list[StoredKey]: ...

    def key(self, key_id: str) -> StoredKey | None: ...

    def remove_key(self, key_id: str) -> bool: ...

    def check(self) -> None:
        """Raises StoreError if the store cannot be read and written now."""
        ...

    def close(self) -> None:
        """Finishes what is waiting, and closes."""
        ...
