"""Likeness: which items are alike, by what the recommender makes of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.data import Items
from acclimate.model import Model
from acclimate.model.shown import Shelf, stored
from acclimate.models.base import Recommender, Retrieval
from acclimate.serving.retrieval.base import Found
from acclimate.serving.retrieval.exact import ExactScan
from acclimate.serving.retrieval.plain import best, float64_scores
from acclimate.serving.service.catalogue.catalogue import Catalogue
from acclimate.serving.service.engine import Engine
from acclimate.tensors import State

_SAMPLE = 500
"""Most people over whom items are compared; the same as in :meth:`acclimate.model.Model.similar_items`."""
_BATCH = 256
_CELLS = 50_000_000
"""Most scores of sampled people that are kept where a recommender has no vectors."""

Table = NDArray[np.float32]


class Crowd(Protocol):
    """Sampled people of a model, over whom items are compared."""

    def units(self, engine: Engine, catalogue: Catalogue, rows: NDArray[np.int64]) -> Table:
        """Unit vectors [n, d] of the items at the rows of a catalogue."""
        ...


class Alikeness:
    """Items as unit vectors whose dot product is the correlation of their scores over sampled people.

    An item whose score is the same for everybody is alike to none: its vector is zero. Needs a model with the
    histories of at least two users.
    """

    def __init__(
        self, model: Model, engine: Engine, catalogue: Catalogue, like: Alikeness | None = None
    ) -> None:
        """
        Args:
            like: of the same model over its own catalogue; what it prepared is used.
        """
        self._engine, self._catalogue, self._like = engine, catalogue, like
        self._crowd: Crowd = _crowd(model, engine) if like is None else like._crowd
        self._lock = threading.Lock()
        self._scan: ExactScan | None = None

    def units(self, rows: NDArray[np.int64]) -> Table:
        """Unit vectors [n, d] of items."""
        return self._crowd.units(self._engine, self._catalogue, rows)

    def top(self, row: int, k: int, skip: NDArray[np.int64], allowed: NDArray[np.bool_] | None) -> Found:
        """The k items most like the one at ``row``."""
        catalogue = self._catalogue
        n, changed = catalogue.n_known, catalogue.changed
        query = self.units(np.array([row]))[0]
        replaced = changed[changed < n]
        theirs = np.unique(np.concatenate([skip[skip < n], replaced]))
        found = self._known().top(query, k, skip=theirs, allowed=None if allowed is None else allowed[:n])
        free = changed[~np.isin(changed, skip)]
        if allowed is not None:
            free = free[allowed[free]]
        if not len(free):
            return found
        scores = float64_scores(self.units(free), query)
        rows, scores = best(np.concatenate([found.rows, free]), np.concatenate([found.scores, scores]), k)
        return Found(rows, scores, found.exact)

    def _known(self) -> ExactScan:
        """A scan over the model's items, made when somebody first asks."""
        if self._like is not None:
            return self._like._known()
        with self._lock:
            if self._scan is None:
                n = self._catalogue.n_known
                parts = [self.units(np.arange(i, min(i + 65_536, n))) for i in range(0, n, 65_536)]
                self._scan = ExactScan.build(np.concatenate(parts))
            return self._scan


class _ByVectors:
    """Scores are ``V w``, so their correlation follows from the covariance of the people's vectors ``w``.

    With ``C = L L^T`` an item is ``L^T (v - mean v)``, of unit length.

    Args:
        users: [P, D] their vectors. vectors: [N, D] of the model's items.
    """

    def __init__(self, users: NDArray[np.float64], vectors: NDArray[np.float32]) -> None:
        self._centre = vectors.mean(0, dtype=np.float64)
        deviations = users - users.mean(0)
        values, directions = np.linalg.eigh(deviations.T @ deviations / len(users))
        self._factor = directions * np.sqrt(np.maximum(values, 0.0))
        # Of scores: against their mean square a variance counts as something or as nothing.
        self._second = users.T @ users / len(users)

    def units(self, engine: Engine, catalogue: Catalogue, rows: NDArray[np.int64]) -> Table:
        at = engine.vectors_at(rows).astype(np.float64) - self._centre
        return _unit(at @ self._factor, ((at @ self._second) * at).sum(1))


class _ByScores:
    """An item is the column of its scores, each less the person's and the item's mean.

    Args:
        states: of the people, some in each. known: the model's items.
    """

    def __init__(self, recommender: Recommender, states: Sequence[State], known: Items) -> None:
        self._recommender, self._states = recommender, states
        self._means = self._scores(known).mean(1)

    def units(self, engine: Engine, catalogue: Catalogue, rows: NDArray[np.int64]) -> Table:
        scores = self._scores(catalogue.items(torch.from_numpy(rows))) - self._means[:, None]
        z = (scores - scores.mean(0)).T / np.sqrt(len(scores))
        return _unit(z, np.square(scores).mean(0))

    def _scores(self, items: Items) -> NDArray[np.float64]:
        with torch.no_grad():
            parts = [self._recommender.score(state, items).double() for state in self._states]
        return torch.cat(parts).numpy()


def _crowd(model: Model, engine: Engine) -> Crowd:
    recommender, data = model.recommender, model.data
    most = _SAMPLE
    if engine.vectors is None:
        most = max(2, min(most, _CELLS // max(1, data.n_items)))
    people = torch.arange(0, data.n_users, max(1, -(-data.n_users // most)))
    shelf = Shelf(model.names, data.items)
    shown = stored(data.user_ids.decode(people), data, people, shelf, model.takes_choices)
    lengths = shown.events.offsets[1:] - shown.events.offsets[:-1]
    batches = torch.split(lengths.argsort(stable=True), _BATCH)
    states = [recommender.adapt(shown.feedback(part)) for part in batches]
    if engine.vectors is None or not isinstance(recommender, Retrieval):
        return _ByScores(recommender, states, data.catalogue())
    with torch.no_grad():
        vectors = [recommender.user_vectors(state).double() for state in states]
    return _ByVectors(torch.cat(vectors).numpy(), engine.vectors)


def _unit(z: NDArray[np.float64], square: NDArray[np.float64]) -> Table:
    variance = np.square(z).sum(1)
    told = variance > 1e-12 * np.maximum(square, 1e-12)
    return np.where(told[:, None], z / np.sqrt(np.where(told, variance, 1.0))[:, None], 0.0).astype(
        np.float32
    )
