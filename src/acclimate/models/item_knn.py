"""Item-kNN: what resembles the things you chose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from acclimate.data import Dataset, Feedback, Interactions, Items
from acclimate.models.base import Scale
from acclimate.models.checks import need_events, need_not_negative, need_positive, need_ratings
from acclimate.models.rows import gather_scores
from acclimate.tensors import State, offsets_of, segment_ranges

# Entries of a block of similarities held at once.
_BLOCK = 16_000_000


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The strongest similarities of a catalogue, ragged by the item that lends its weight.

    Attributes:
        offsets: [n_items + 1]; item j has a say in the score of ``targets[offsets[j]:offsets[j + 1]]``.
        targets: [L] int64 items. weights: [L] float32 similarities, above 0.
    """

    offsets: Tensor
    targets: Tensor
    weights: Tensor

    @classmethod
    def fit(cls, interactions: Interactions, *, k: int, shrinkage: float) -> Neighbours:
        """For every item, its k most similar others, where any are.

        ``sim(i, j) = x_i . x_j / (|x_i| |x_j| + shrinkage)`` with x_i the item's column of values; those of
        repeated pairs add up.

        Args:
            k: most neighbours that an item's score draws on.
            shrinkage: doubts similarities that rest on few common users; in units of common users where
                values are ones.
        """
        n, x = interactions.n_items, interactions.to_csr()
        norms = torch.from_numpy(x.multiply(x).sum(0).A1).double().sqrt().float()
        found = []
        for rows, dots in item_products(interactions):
            similarity = dots / (norms[rows, None] * norms + shrinkage).clamp(min=1e-12)
            similarity[torch.arange(len(rows)), rows] = 0.0
            best = similarity.topk(min(k, n), dim=1)
            at = (best.values > 0).nonzero()
            found.append((best.indices[at[:, 0], at[:, 1]], rows[at[:, 0]], best.values[at[:, 0], at[:, 1]]))
        sources, targets, weights = (torch.cat(parts) for parts in zip(*found, strict=True))
        order = sources.argsort(stable=True)
        lengths = torch.bincount(sources, minlength=n)
        return cls(offsets_of(lengths), targets[order], weights[order])

    @property
    def n_items(self) -> int:
        return len(self.offsets) - 1

    def spread(self, ids: Tensor, mask: Tensor, values: Tensor) -> Tensor:
        """What the events lend to every item: ``out[b, i] = sum_s values[b, s] sim(i, ids[b, s])``.

        Args:
            ids: [B, S]. mask: [B, S] bool, True = real. values: [B, S].

        Returns:
            [B, n_items].
        """
        user, event = (mask & (ids >= 0)).nonzero(as_tuple=True)
        source = ids[user, event]
        lengths = self.offsets[source + 1] - self.offsets[source]
        at = segment_ranges(self.offsets[source], lengths)
        lent = self.weights[at] * values[user, event].repeat_interleave(lengths)
        where = user.repeat_interleave(lengths) * self.n_items + self.targets[at]
        out = values.new_zeros(len(ids) * self.n_items)
        return out.index_add_(0, where, lent).view(len(ids), self.n_items)

    def between(self, sources: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """Similarities [B, N, S] of the targets [N] or [B, N] to the sources [B, S], 0 where masked."""
        known = mask & (sources >= 0)
        used, where = torch.unique(torch.where(known, sources, 0), return_inverse=True)
        everything = torch.ones(len(used), 1)
        rows = self.spread(used[:, None], everything > 0, everything)  # [used, n_items]
        targets = targets.expand(len(sources), -1)
        found = rows[where[:, None, :], targets.clamp(min=0)[:, :, None]]
        return torch.where(known[:, None, :] & (targets >= 0)[:, :, None], found, 0.0)


@dataclass(frozen=True, eq=False)
class ItemKNN:
    """Ranks an item by its similarity to the items of the support, summed.

    ``score(i) = sum_{j in S, i knows j} sim(i, j)``, where i knows its k most similar items. Every event
    counts as one choice, whatever its value. A State holds a score for every item of the catalogue, [B,
    n_items].

    Attributes:
        neighbours: cosines of the users' choices, shrunk.

    Source: Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001; the
    shrunk cosine and the k neighbours kept for each target are those of Ferrari Dacrema et al., "Are we
    really making much progress?", RecSys 2019.
    """

    neighbours: Neighbours
    scale: ClassVar[Scale] = "rank"

    @classmethod
    def fit(cls, dataset: Dataset, *, neighbours: int = 300, shrinkage: float = 10.0) -> ItemKNN:
        """Fits the similarities.

        Args:
            neighbours: k. shrinkage: in common users.

        Raises:
            UserInputError: there is no event.
        """
        need_events(dataset, "Item-kNN")
        need_positive("Item-kNN", neighbours=neighbours)
        need_not_negative("Item-kNN", shrinkage=shrinkage)
        return cls(Neighbours.fit(once(dataset.interactions), k=neighbours, shrinkage=shrinkage))

    def adapt(self, support: Feedback) -> State:
        return self.update(
            {"scores": support.values.new_zeros(support.n_users, self.neighbours.n_items)}, support
        )

    def update(self, state: State, feedback: Feedback) -> State:
        ones = torch.ones_like(feedback.values)
        return {"scores": state["scores"] + self.neighbours.spread(feedback.items.ids, feedback.mask, ones)}

    def score(self, state: State, items: Items) -> Tensor:
        return gather_scores(state["scores"], items.ids)

    def contributions(self, support: Feedback, items: Items) -> Tensor:
        return self.neighbours.between(support.items.ids, support.mask, items.ids)


@dataclass(frozen=True, eq=False)
class ItemKNNRating:
    """Predicts a deviation as the average of the support's deviations, weighted by similarity.

    ``score(i) = sum_{j in S} sim(i, j) d_j / (sum_{j in S} sim(i, j) + damping)`` over the items j that i
    knows. Its values are deviations from a base line; wrap it in :class:`~acclimate.models.residual.Residual`
    to predict ratings. A State holds two numbers for every item of the catalogue.

    Attributes:
        neighbours: shrunk cosines of the deviations ("adjusted cosine").
        damping: pulls averages over few or unlike items to 0, in units of similarity.

    Source: Sarwar et al., "Item-based collaborative filtering recommendation algorithms", WWW 2001, eqs. 3
    and 4; Koren, "Factor in the Neighbors", TKDD 2010, eq. 3, for deviations from a base line.
    """

    neighbours: Neighbours
    damping: float
    scale: ClassVar[Scale] = "rating"

    @classmethod
    def fit(
        cls, dataset: Dataset, *, neighbours: int = 300, shrinkage: float = 10.0, damping: float = 0.5
    ) -> ItemKNNRating:
        """Fits the similarities of a dataset whose values are deviations.

        Args:
            neighbours: k. shrinkage: in units of squared deviations. damping: of the average.

        Raises:
            UserInputError: the data holds no ratings.
        """
        need_ratings(dataset, "Item-kNN over a base line")
        need_positive("Item-kNN", neighbours=neighbours, damping=damping)
        need_not_negative("Item-kNN", shrinkage=shrinkage)
        return cls(Neighbours.fit(dataset.interactions, k=neighbours, shrinkage=shrinkage), damping)

    def adapt(self, support: Feedback) -> State:
        zero = support.values.new_zeros(support.n_users, self.neighbours.n_items)
        return self.update({"total": zero, "weight": zero}, support)

    def update(self, state: State, feedback: Feedback) -> State:
        ids, mask, values = feedback.items.ids, feedback.mask, feedback.values
        return {
            "total": state["total"] + self.neighbours.spread(ids, mask, values),
            "weight": state["weight"] + self.neighbours.spread(ids, mask, torch.ones_like(values)),
        }

    def score(self, state: State, items: Items) -> Tensor:
        total, weight = gather_scores(state["total"], items.ids), gather_scores(state["weight"], items.ids)
        return total / (weight + self.damping)

    def contributions(self, support: Feedback, items: Items) -> Tensor:
        similarity = self.neighbours.between(support.items.ids, support.mask, items.ids)  # [B, N, S]
        values = torch.where(support.mask, support.values, 0.0)[:, None, :]
        return similarity * values / (similarity.sum(-1, keepdim=True) + self.damping)


def item_products(interactions: Interactions) -> Iterator[tuple[Tensor, Tensor]]:
    """The item-by-item matrix ``X^T X``, some rows at a time: (rows [R], products [R, n_items] float32)."""
    x = interactions.to_csr()
    columns = x.T.tocsr()  # [n_items, U]
    for rows in torch.split(torch.arange(interactions.n_items), max(1, _BLOCK // interactions.n_items)):
        yield rows, torch.from_numpy((columns[int(rows[0]) : int(rows[-1]) + 1] @ x).toarray())


def once(interactions: Interactions) -> Interactions:
    """The same events, each a choice of strength 1."""
    return interactions.with_values(torch.ones(len(interactions)))
