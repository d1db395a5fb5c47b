"""What was derived for the people who were asked about last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from acclimate.serving.service.people.person import Person

_UNDER_WAY: Final = 10_000
"""People erased last, of whom something from before may still be being derived."""


@dataclass(frozen=True, slots=True)
class Derived:
    """A person as derived from one moment of the store.

    Attributes:
        version: what it was derived from: model, revision of the tenant, last change, whether erased.
    """

    version: tuple[str, int, int, bool]
    person: Person


class States:
    """At most ``size`` people, those asked about last; safe for several threads.

    Attributes:
        hits, misses: how often somebody was found as wanted, and how often not.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[str, str], Derived] = OrderedDict()
        self._lock = threading.Lock()
        self._erased: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, tenant: str, key: str, version: tuple[str, int, int, bool]) -> Person | None:
        """The person, if they were derived from exactly this."""
        with self._lock:
            found = self._kept.get((tenant, key))
            if found is None or found.version != version:
                self.misses += 1
                return None
            self._kept.move_to_end((tenant, key))
            self.hits += 1
            return found.person

    def latest(self, tenant: str, key: str) -> Derived | None:
        """The person as last derived, of whatever moment."""
        with self._lock:
            return self._kept.get((tenant, key))

    def put(self, tenant: str, key: str, version: tuple[str, int, int, bool], person: Person) -> None:
        with self._lock:
            if not version[3] and (tenant, key) in self._erased:
                return  # derived before they were erased
            self._kept[(tenant, key)] = Derived(version, person)
            self._kept.move_to_end((tenant, key))
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)

    def erase(self, tenant: str, key: str) -> None:
        """Forgets somebody, also what is being derived from before."""
        with self._lock:
            self._erased[(tenant, key)] = None
            if len(self._erased) > _UNDER_WAY:
                self._erased.popitem(last=False)
            self._kept.pop((tenant, key), None)
