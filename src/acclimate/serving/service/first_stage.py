"""A first stage: candidates for a recommender that would have to score every item of a large catalogue."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import UserInputError
from acclimate.model import Model
from acclimate.models.base import Retrieval
from acclimate.serving.retrieval.base import Found
from acclimate.serving.retrieval.plain import best
from acclimate.serving.service.catalogue.catalogue import Catalogue
from acclimate.serving.service.catalogue.known import Known
from acclimate.serving.service.engine import Engine
from acclimate.serving.service.people.person import Person
from acclimate.serving.service.values import Values

ALL_SCORED = 50_000
"""Catalogues up to this size are scored whole, whatever the first stage would say."""

CANDIDATES = 1000
"""Items that the first stage hands on."""


class FirstStage:
    """Another model, with ``Retrieval``, whose best items the recommender then ranks.

    Args:
        model: whose ids are those of ``known``, in any order; it may lack some.

    Raises:
        UserInputError: it cannot retrieve, or shares no item.
    """

    def __init__(self, model: Model, known: Known) -> None:
        if not isinstance(model.recommender, Retrieval):
            raise UserInputError(
                f"The first stage, {model!r}, has no vectors to retrieve by. "
                "Use a ridge, an implicit ridge or ALS."
            )
        theirs = Known(model)
        self._theirs = np.array([theirs.rows.get(text, -1) for text in known.rows], dtype=np.int64)
        if not (self._theirs >= 0).any():
            raise UserInputError(
                "The first stage and the model share no item. Train both on the same catalogue."
            )
        self._ours = np.full(len(theirs), -1, dtype=np.int64)
        both = np.flatnonzero(self._theirs >= 0)
        self._ours[self._theirs[both]] = both
        self._values = Values.of(model)
        self._catalogue = Catalogue(theirs)
        self._engine = Engine("first-stage", model.recommender, model.data, self._catalogue)

    @property
    def method(self) -> str:
        """For people."""
        return f"{CANDIDATES} candidates of another model ({self._engine.method}), then scored"

    def top(
        self,
        engine: Engine,
        catalogue: Catalogue,
        person: Person,
        k: int,
        skip: NDArray[np.int64],
        allowed: NDArray[np.bool_] | None,
    ) -> Found:
        """The best items by ``engine`` among the candidates and the items that were added or changed."""
        n = len(self._theirs)
        free = np.ones(catalogue.n_items, dtype=np.bool_) if allowed is None else allowed.copy()
        free[skip] = False
        theirs = np.zeros(len(self._ours), dtype=np.bool_)
        shared = self._ours >= 0
        theirs[shared] = free[self._ours[shared]]
        found = self._engine.top(
            self._translated(person), max(CANDIDATES, 2 * k), np.zeros(0, dtype=np.int64), theirs
        )
        own = np.union1d(catalogue.changed, np.arange(n, catalogue.n_items))
        rows = np.union1d(self._ours[found.rows], own[free[own]])
        rows, scores = best(rows, engine.scores(person, rows), k)
        return Found(rows, scores, exact=False)

    def _translated(self, person: Person) -> Person:
        """The person in rows and values of the first stage."""
        made = Person(self._catalogue, self._values)
        inside = person.rows < len(self._theirs)
        rows = self._theirs[person.rows[inside]]
        counted = [self._values.counted(value) for value in person.values[inside].tolist()]
        kept = [(row, v) for row, v in zip(rows.tolist(), counted, strict=True) if row >= 0 and v is not None]
        made.rows = np.array([row for row, _ in kept], dtype=np.int64)
        made.values = np.array([v for _, v in kept], dtype=np.float32)
        return made
