"""The index of the log's newest rows, in memory.

An index on disk is touched all over by every group of events: each of them lands on a page of its own, and
each of these pages is written twice. So the file holds the log, which only grows at its end, and indexes of
all rows but the newest; these are folded into the file's indexes many at a time, in their order. What is here
is derived: a process that starts reads the log's tail, and so does one that finds that another has written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence

Entry = tuple[int, bytes | None, bytes | None]
"""seq, key, person of a row. An emptied row has no person; one without a key says that theirs were erased."""


class _Part:
    """Keys and people of one stretch of the log."""

    __slots__ = ("keys", "people")

    def __init__(self) -> None:
        self.keys: dict[bytes, int] = {}
        self.people: dict[bytes, list[int]] = {}


class Recent:
    """Keys and people of the rows after ``base``, up to ``upto``. Shared by the threads of a process.

    It knows two stretches: the older one is dropped when it was folded, while the younger one grows.
    """

    def __init__(self, base: int = 0) -> None:
        self.base = self._middle = self.upto = base
        self._older, self._newer = _Part(), _Part()
        self._lock = threading.Lock()

    def read(self, folded: int, top: int, tail: Callable[[int, int], Sequence[Entry]]) -> bool:
        """Takes in the rows up to ``top`` that are missing, and drops what was folded.

        ``folded``, ``top`` and ``tail`` (rows after one number, up to another) have to be of one snapshot.
        False if the snapshot is so old that it needs what was dropped.
        """
        with self._lock:
            if folded < self.base:
                return False
            if folded > self.upto:
                # Much was written while this process looked away: the file's indexes have all it knew of.
                self.base = self._middle = self.upto = folded
                self._older, self._newer = _Part(), _Part()
            if top > self.upto:
                self._add(tail(self.upto, top))
                self.upto = top
            if folded >= self._middle and folded > self.base:
                self.base, self._middle = self._middle, self.upto
                self._older, self._newer = self._newer, _Part()
            return True

    def wrote(self, before: int, entries: Sequence[Entry]) -> None:
        """Takes in what this process has just committed, unless a reader was quicker."""
        with self._lock:
            if entries and self.upto == before:
                self._add(entries)
                self.upto = entries[-1][0]

    def of(self, person: bytes, top: int) -> tuple[int, list[int]]:
        """Which rows up to ``top`` are a person's.

        Returns:
            The number up to which to look in the file's index, and the numbers of rows after it, in order.
        """
        with self._lock:
            older, newer = self._older.people.get(person), self._newer.people.get(person)
            numbers = [*older, *newer] if older and newer else list(older or newer or ())
            base = self.base
        while numbers and abs(numbers[-1]) > top:
            numbers.pop()
        for place in range(len(numbers) - 1, -1, -1):
            if numbers[place] < 0:
                # Erased at this moment: what was before is gone, from the file's index too.
                return 0, numbers[place + 1 :]
        return base, numbers

    def holds_any(self, keys: Collection[bytes]) -> bool:
        return not (self._older.keys.keys().isdisjoint(keys) and self._newer.keys.keys().isdisjoint(keys))

    def find(self, key: bytes) -> int | None:
        """The number of the newest row of a key."""
        return self._newer.keys.get(key) or self._older.keys.get(key)

    def _add(self, entries: Iterable[Entry]) -> None:
        keys, people = self._newer.keys, self._newer.people
        for number, key, person in entries:
            if person is None:
                continue
            if key is not None:
                keys[key] = number
            seq = number if key is not None else -number
            before = people.get(person)
            if before is None:
                people[person] = [seq]
            else:
                before.append(seq)
