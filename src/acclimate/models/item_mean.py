"""Item mean: what people thought of an item on average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from acclimate.data import Dataset, Feedback, Items
from acclimate.models.base import Scale
from acclimate.models.checks import need_positive, need_ratings
from acclimate.models.rows import gather_rows
from acclimate.tensors import State


@dataclass(frozen=True, eq=False)
class ItemMean:
    """Predicts an item's damped mean rating; the same for every user.

    ``score(i) = (sum of ratings of i + s * mean) / (count(i) + s)``; an item outside the catalogue scores
    ``mean``.

    Attributes:
        means: [n_items] float32, in the units of the ratings.
        mean: of all ratings.
    """

    means: Tensor
    mean: float
    scale: ClassVar[Scale] = "rating"

    @classmethod
    def fit(cls, dataset: Dataset, *, damping: float = 5.0) -> ItemMean:
        """Fits the means.

        Args:
            damping: s, as if every item had s more ratings, all of them average.

        Raises:
            UserInputError: the data holds no ratings, or the damping is not above 0.
        """
        need_ratings(dataset, "The item mean")
        need_positive("The item mean", damping=damping)
        inter = dataset.interactions
        values = inter.values.double()
        mean = float(values.mean())
        total = torch.zeros(inter.n_items, dtype=torch.float64).index_add_(0, inter.items, values)
        means = (total + damping * mean) / (inter.item_counts() + damping)
        return cls(means.float(), mean)

    def adapt(self, support: Feedback) -> State:
        return {"n": support.mask.sum(1)}  # [B]; nothing to learn, but every state knows its B

    def score(self, state: State, items: Items) -> Tensor:
        return gather_rows(self.means, items.ids, unknown=self.mean).expand(len(state["n"]), -1)  # [B, N]
