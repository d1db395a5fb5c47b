"""What an engine made of people."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from acclimate.serving.service.people.person import Person
from acclimate.tensors import State

_SMALL = 16_384
"""Bytes up to which a taste is kept with its person, for as long as that person is at hand."""

_MOST = 64 * 2**20
"""Bytes of larger ones that one engine keeps: some hold a number for every item of the catalogue."""


class Taste:
    """A vector, or a state, or both.

    Attributes:
        vector: [D] float32 whose dot products with item vectors are scores; None without ``Retrieval``.
        state: as the recommender gave it; None where the closed form made it unnecessary.
    """

    __slots__ = ("state", "vector")

    def __init__(self, vector: NDArray[np.float32] | None, state: State | None) -> None:
        self.vector = vector
        self.state = state

    @property
    def nbytes(self) -> int:
        """Memory of the state."""
        return 0 if self.state is None else sum(x.numel() * x.element_size() for x in self.state.values())


class Tastes:
    """The tastes of one engine: small ones with their people, of the others those used last."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._large: OrderedDict[Person, Taste] = OrderedDict()
        self._nbytes = 0
        self._lock = threading.Lock()

    def get(self, person: Person) -> Taste | None:
        found: Taste | None = person.tastes.get(self._name)
        if found is None and self._large:
            with self._lock:
                found = self._large.get(person)
                if found is not None:
                    self._large.move_to_end(person)
        return found

    def put(self, person: Person, taste: Taste) -> None:
        nbytes = taste.nbytes
        if nbytes <= _SMALL:
            person.tastes[self._name] = taste
            return
        with self._lock:
            if person not in self._large:
                self._nbytes += nbytes
            self._large[person] = taste
            while self._nbytes > _MOST and len(self._large) > 1:
                self._nbytes -= self._large.popitem(last=False)[1].nbytes
