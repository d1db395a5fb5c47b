"""Likeness: which items are alike, by what the recommender makes of them."""

from __future__ import annotations

import threading

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.data import Items
from acclimate.model import Model
from acclimate.model.shown import Shelf, stored
from acclimate.models.base import Retrieval
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


class Alikeness:
    """Items as unit vectors whose dot product is the correlation of their scores over sampled people.

    With ``Retrieval`` scores are ``V w``, so the correlation follows from the covariance of the people's
    vectors ``w``: with ``C = L L^T`` an item is ``L^T (v - mean v)``, of unit length. Otherwise an item is
    the column of its scores, each less the person's and the item's mean. An item whose score is the same for
    everybody is alike to none: its vector is zero.

    Needs a model with the histories of at least two users.
    """

    def __init__(self, model: Model, engine: Engine, catalogue: Catalogue) -> None:
        self._model, self._engine, self._catalogue = model, engine, catalogue
        self._lock = threading.Lock()
        self._scan: ExactScan | None = None
        self._states: list[State] = []
        n = model.data.n_users
        most = _SAMPLE
        if not isinstance(model.recommender, Retrieval):
            most = max(2, min(most, _CELLS // max(1, catalogue.n_known)))
        self._people = torch.arange(0, n, max(1, -(-n // most)))
        self._centre: NDArray[np.float64] | None = None
        self._factor: NDArray[np.float64] | None = None
        if isinstance(model.recommender, Retrieval):
            assert engine.vectors is not None
            with torch.no_grad():
                vectors = [model.recommender.user_vectors(state).double() for state in self._adapted()]
            self._users = torch.cat(vectors).numpy()
            self._centre = engine.vectors.mean(0, dtype=np.float64)
            deviations = self._users - self._users.mean(0)
            values, directions = np.linalg.eigh(deviations.T @ deviations / len(self._users))
            self._factor = directions * np.sqrt(np.maximum(values, 0.0))
            # Of scores: against their mean square a variance counts as something or as nothing.
            self._second = self._users.T @ self._users / len(self._users)
        else:
            self._means: NDArray[np.float64] | None = None

    def units(self, rows: NDArray[np.int64]) -> Table:
        """Unit vectors [n, d] of items."""
        if self._centre is not None and self._factor is not None:
            at = self._engine.vectors_at(rows).astype(np.float64) - self._centre
            z = at @ self._factor
            return _unit(z, ((at @ self._second) * at).sum(1))
        return self._sampled(rows)

    def top(self, row: int, k: int, skip: NDArray[np.int64], allowed: NDArray[np.bool_] | None) -> Found:
        """The k items most like the one at ``row``."""
        catalogue = self._catalogue
        n, changed = catalogue.n_known, catalogue.changed
        query = self.units(np.array([row]))[0]
        replaced = changed[changed < n]
        theirs = np.unique(np.concatenate([skip[skip < n], replaced]))
        found = self._whole().top(query, k, skip=theirs, allowed=None if allowed is None else allowed[:n])
        free = changed[~np.isin(changed, skip)]
        if allowed is not None:
            free = free[allowed[free]]
        if not len(free):
            return found
        scores = float64_scores(self.units(free), query)
        rows, scores = best(np.concatenate([found.rows, free]), np.concatenate([found.scores, scores]), k)
        return Found(rows, scores, found.exact)

    def _whole(self) -> ExactScan:
        """A scan over the model's items, made when somebody first asks."""
        with self._lock:
            if self._scan is None:
                n = self._catalogue.n_known
                parts = [self.units(np.arange(i, min(i + 65_536, n))) for i in range(0, n, 65_536)]
                self._scan = ExactScan.build(np.concatenate(parts))
            return self._scan

    def _adapted(self) -> list[State]:
        """States of the sampled people, some at a time."""
        model = self._model
        ids = model.data.user_ids.decode(self._people)
        shelf = Shelf(model.names, model.data.items)
        shown = stored(ids, model.data, self._people, shelf, model.takes_choices)
        lengths = shown.events.offsets[1:] - shown.events.offsets[:-1]
        order = lengths.argsort(stable=True)
        return [model.recommender.adapt(shown.feedback(part)) for part in torch.split(order, _BATCH)]

    def _sampled(self, rows: NDArray[np.int64]) -> Table:
        if not self._states:
            self._states = self._adapted()
        if self._means is None:
            everything = self._catalogue.known.data.catalogue()
            self._means = self._scores(everything).mean(1)
        scores = self._scores(self._catalogue.items(torch.from_numpy(rows))) - self._means[:, None]
        z = (scores - scores.mean(0)).T / np.sqrt(len(scores))
        return _unit(z, np.square(scores).mean(0))

    def _scores(self, items: Items) -> NDArray[np.float64]:
        with torch.no_grad():
            parts = [self._model.recommender.score(state, items).double() for state in self._states]
        return torch.cat(parts).numpy()


def _unit(z: NDArray[np.float64], square: NDArray[np.float64]) -> Table:
    variance = np.square(z).sum(1)
    told = variance > 1e-12 * np.maximum(square, 1e-12)
    return np.where(told[:, None], z / np.sqrt(np.where(told, variance, 1.0))[:, None], 0.0).astype(
        np.float32
    )
