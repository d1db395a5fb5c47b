"""User-kNN: what people like you chose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from acclimate.data import Dataset, Feedback, Interactions, Items
from acclimate.models.base import Scale
from acclimate.models.checks import need_events, need_not_negative, need_positive, need_ratings
from acclimate.models.item_knn import once
from acclimate.models.rows import gather_scores
from acclimate.tensors import State

# Entries of a block of similarities held at once.
_BLOCK = 16_000_000


@dataclass(frozen=True, eq=False)
class Crowd:
    """The training users, ready to be compared with.

    Attributes:
        offsets: [U + 1]; user v has the events ``offsets[v]:offsets[v + 1]``.
        items: [E] int64. values: [E] float32.
        k: most neighbours. shrinkage: of the cosine.
    """

    offsets: Tensor
    items: Tensor
    values: Tensor
    n_items: int
    k: int
    shrinkage: float

    @classmethod
    def fit(cls, interactions: Interactions, k: int, shrinkage: float) -> Crowd:
        return cls(
            interactions.offsets, interactions.items, interactions.values, interactions.n_items, k, shrinkage
        )

    @cached_property
    def matrix(self) -> scipy.sparse.csr_matrix:
        """[U, n_items] float32."""
        shape = (len(self.offsets) - 1, self.n_items)
        ragged = (self.values.numpy(), self.items.numpy(), self.offsets.numpy())
        return scipy.sparse.csr_matrix(ragged, shape=shape)

    @cached_property
    def events(self) -> scipy.sparse.csr_matrix:
        """[U, n_items] float32, how often a user met an item."""
        matrix = self.matrix
        return scipy.sparse.csr_matrix(
            (np.ones_like(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape
        )

    @cached_property
    def by_item(self) -> scipy.sparse.csr_matrix:
        """[n_items, U] float32."""
        return self.matrix.T.tocsr()

    @cached_property
    def norms(self) -> Tensor:
        """[U] float32."""
        return torch.from_numpy(self.matrix.multiply(self.matrix).sum(1).A1).double().sqrt().float()

    def nearest(self, ids: Tensor, mask: Tensor, values: Tensor) -> scipy.sparse.csr_matrix:
        """Similarities [B, U], float32, of the k users most like each given one, above 0 only.

        ``sim(u, v) = x_u . x_v / (|x_u| |x_v| + shrinkage)``.

        Args:
            ids: [B, S]. mask: [B, S] bool, True = real. values: [B, S].
        """
        user, event = (mask & (ids >= 0)).nonzero(as_tuple=True)
        at = (user.numpy(), ids[user, event].numpy())
        own = scipy.sparse.csr_matrix((values[user, event].numpy(), at), shape=(len(ids), self.n_items))
        # The order of the events must not matter, not even to the last bit, by which neighbours are chosen.
        own.sum_duplicates()
        own_norms = torch.from_numpy(own.multiply(own).sum(1).A1).double().sqrt().float()
        n_users = len(self.norms)
        k, size = min(self.k, n_users), max(1, _BLOCK // n_users)
        best, who = torch.zeros(len(ids), k), torch.zeros(len(ids), k, dtype=torch.int64)
        for start in range(0, len(ids), size):
            rows = slice(start, start + size)
            dots = torch.from_numpy((own[rows] @ self.by_item).toarray())  # [rows, U]
            similarity = dots / (own_norms[rows, None] * self.norms + self.shrinkage).clamp(min=1e-12)
            best[rows], who[rows] = similarity.topk(k, dim=1)
        row, place = (best > 0).nonzero(as_tuple=True)
        return scipy.sparse.csr_matrix(
            (best[row, place].numpy(), (row.numpy(), who[row, place].numpy())),
            shape=(len(ids), n_users),
        )


@dataclass(frozen=True, eq=False)
class UserKNN:
    """Ranks an item by how alike to the user those of the k nearest training users are who chose it.

    ``score(i) = sum_{v nearest, v chose i} sim(u, v)``. Every event counts as one choice, whatever its value.
    Holds the events of every training user. A State holds a score for every item of the catalogue, [B,
    n_items].

    Attributes:
        crowd: the training users; similarities are shrunk cosines.

    Source: Resnick et al., "GroupLens: an open architecture for collaborative filtering of netnews", CSCW
    1994; the shrunk cosine is that of Ferrari Dacrema et al., "Are we really making much progress?", RecSys
    2019.
    """

    crowd: Crowd
    scale: ClassVar[Scale] = "rank"

    @classmethod
    def fit(cls, dataset: Dataset, *, neighbours: int = 100, shrinkage: float = 10.0) -> UserKNN:
        """Remembers the training users.

        Args:
            neighbours: k. shrinkage: in common items.

        Raises:
            UserInputError: there is no event.
        """
        need_events(dataset, "User-kNN")
        need_positive("User-kNN", neighbours=neighbours)
        need_not_negative("User-kNN", shrinkage=shrinkage)
        return cls(Crowd.fit(once(dataset.interactions), neighbours, shrinkage))

    def adapt(self, support: Feedback) -> State:
        near = self.crowd.nearest(support.items.ids, support.mask, torch.ones_like(support.values))
        return {"scores": torch.from_numpy((near @ self.crowd.matrix).toarray())}  # [B, n_items]

    def score(self, state: State, items: Items) -> Tensor:
        return gather_scores(state["scores"], items.ids)


@dataclass(frozen=True, eq=False)
class UserKNNRating:
    """Predicts a deviation as the average deviation of the nearest users who rated the item.

    ``score(i) = sum_v sim(u, v) d_vi / (sum_v sim(u, v) + damping)`` over the k nearest training users v who
    rated i. Its values are deviations from a base line; wrap it in
    :class:`~acclimate.models.residual.Residual` to predict ratings. Neighbours are chosen once for a user,
    not anew for each item.

    Attributes:
        crowd: the training users; similarities are shrunk cosines of deviations.
        damping: pulls averages over few or unlike users to 0, in units of similarity.

    Source: Herlocker et al., "An algorithmic framework for performing collaborative filtering", SIGIR 1999.
    """

    crowd: Crowd
    damping: float
    scale: ClassVar[Scale] = "rating"

    @classmethod
    def fit(
        cls, dataset: Dataset, *, neighbours: int = 100, shrinkage: float = 10.0, damping: float = 0.5
    ) -> UserKNNRating:
        """Remembers the training users and their deviations.

        Args:
            neighbours: k. shrinkage: in units of squared deviations. damping: of the average.

        Raises:
            UserInputError: the data holds no ratings.
        """
        need_ratings(dataset, "User-kNN over a base line")
        need_positive("User-kNN", neighbours=neighbours, damping=damping)
        need_not_negative("User-kNN", shrinkage=shrinkage)
        return cls(Crowd.fit(dataset.interactions, neighbours, shrinkage), damping)

    def adapt(self, support: Feedback) -> State:
        values = torch.where(support.mask, support.values, 0.0)
        near = self.crowd.nearest(support.items.ids, support.mask, values)
        parts = (self.crowd.matrix, self.crowd.events)
        total, weight = (torch.from_numpy((near @ part).toarray()) for part in parts)
        return {"scores": total / (weight + self.damping)}  # [B, n_items]

    def score(self, state: State, items: Items) -> Tensor:
        return gather_scores(state["scores"], items.ids)
