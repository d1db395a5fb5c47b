"""Approximation: an index in front of the scan, measured on people like those who will ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import UserInputError
from acclimate.model import Model
from acclimate.models.base import Retrieval
from acclimate.serving.retrieval.approximate import ApproximateScan, Index
from acclimate.serving.service.catalogue.catalogue import Catalogue
from acclimate.serving.service.engine import Engine
from acclimate.serving.service.observing import Given
from acclimate.serving.service.people.histories import Histories
from acclimate.serving.service.people.person import Person
from acclimate.serving.service.values import Values

_PEOPLE: Final = 300
"""Most people on whose vectors an index is measured."""
_LONGEST: Final = 20
"""Most events of somebody who is made up, where a model kept no histories."""

MakeIndex = Callable[[NDArray[np.float32]], Index]
"""Makes an index of item vectors [N, D], such as :class:`~acclimate.serving.retrieval.FaissIndex`."""


class Approximation:
    """Puts an index in front of the scans of one model.

    Args:
        index: what makes the index.

    Raises:
        UserInputError: the model has no vectors to search, or what the index needs is not installed.
    """

    def __init__(self, index: MakeIndex, model: Model) -> None:
        if not isinstance(model.recommender, Retrieval):
            raise UserInputError(
                f"{model!r} has no item vectors to search approximately. "
                "Serve it without approximate search, or a ridge, an implicit ridge or ALS with it."
            )
        # A missing package is to be said now, not after a catalogue of millions was prepared.
        index(np.eye(2, dtype=np.float32))
        self._index = index
        self._model = model

    def scan(self, engine: Engine, catalogue: Catalogue) -> ApproximateScan:
        """The scan of an engine's vectors, its recall measured on the people of :meth:`people`."""
        assert engine.vectors is not None
        people = self.people(catalogue)
        queries = [vector for one in people if (vector := engine.taste(one).vector) is not None]
        return ApproximateScan.build(engine.vectors, np.stack(queries), index=self._index(engine.vectors))

    def people(self, catalogue: Catalogue) -> Sequence[Person]:
        """Those whom the model remembers, 300 of them at most.

        Where it remembers nobody they are made up: they met a few items drawn at random.
        """
        model, values = self._model, Values.of(self._model)
        offsets = model.data.interactions.offsets.numpy()
        known = np.flatnonzero(np.diff(offsets))
        if len(known):
            histories = Histories(model.data)
            # Evenly over everybody, and the same on every worker.
            chosen = known[np.arange(0, len(known), max(1, -(-len(known) // _PEOPLE)))]
            return [Person(catalogue, values, histories.at(user)) for user in chosen.tolist()]
        rng = np.random.default_rng(0)
        n = catalogue.n_known
        made = []
        for _ in range(_PEOPLE):
            rows = rng.choice(n, size=min(int(rng.integers(0, _LONGEST + 1)), n), replace=False)
            given = [Given(row, self._value(values, rng), None) for row in rows.tolist()]
            made.append(Person(catalogue, values, given=given))
        return made

    @staticmethod
    def _value(values: Values, rng: np.random.Generator) -> float:
        return float(rng.uniform(values.low, values.high)) if values.ratings else 1.0
