"""Bias: a rating is an average, plus what the item is worth, plus how generous the user is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from acclimate.data import Dataset, Feedback, Items
from acclimate.models.base import Scale
from acclimate.models.checks import need_positive, need_ratings
from acclimate.models.rows import gather_rows
from acclimate.tensors import State, masked_sum


@dataclass(frozen=True, eq=False)
class Bias:
    """Predicts ``r(u, i) = m + b_i + a_u``, the user's offset being the damped mean of what is left.

    With S the support of the user,

        a_u = sum_{i in S} (r_ui - m - b_i) / (|S| + damping)

    which is the posterior mean of the offset if ``a_u ~ N(0, v / damping)`` and ratings scatter around the
    prediction with variance v; :meth:`deviation` is the posterior's, the item's own uncertainty included.

    Attributes:
        item_bias: [n_items] float32, b.
        item_variance: [n_items] float32, posterior variance of b: ``v / (count + item_damping)``.
        mean: m. noise: v, the variance of the ratings around their predictions.
        damping: of the user's offset. item_damping: of an item's bias.

    Source: Koren, Bell, Volinsky, "Matrix Factorization Techniques for Recommender Systems", IEEE Computer
    2009, eq. 3; the damped means are those of Funk and of LensKit's ``BiasModel``.
    """

    item_bias: Tensor
    item_variance: Tensor
    mean: float
    noise: float
    damping: float
    item_damping: float
    scale: ClassVar[Scale] = "rating"

    @classmethod
    def fit(
        cls, dataset: Dataset, *, damping: float = 5.0, item_damping: float = 5.0, sweeps: int = 10
    ) -> Bias:
        """Fits item biases and user offsets in turn, each as the damped mean of what the other leaves.

        Args:
            damping: as if every user had this many more ratings without any offset.
            item_damping: the same for items.
            sweeps: rounds over items and users; with 1, item biases know nothing of who rated the item.

        Raises:
            UserInputError: the data holds no ratings, or a damping is not above 0.
        """
        need_ratings(dataset, "Bias")
        need_positive("Bias", damping=damping, item_damping=item_damping, sweeps=sweeps)
        inter = dataset.interactions
        users, items, values = inter.users(), inter.items, inter.values.double()
        mean = values.mean()
        n_users, n_items = inter.counts() + damping, inter.item_counts() + item_damping
        offset = torch.zeros(inter.n_users, dtype=torch.float64)
        bias = torch.zeros(inter.n_items, dtype=torch.float64)
        for _ in range(sweeps):
            bias = torch.zeros_like(bias).index_add_(0, items, values - mean - offset[users]) / n_items
            offset = torch.zeros_like(offset).index_add_(0, users, values - mean - bias[items]) / n_users
        noise = float((values - mean - bias[items] - offset[users]).square().mean())
        return cls(bias.float(), (noise / n_items).float(), float(mean), noise, damping, item_damping)

    def adapt(self, support: Feedback) -> State:
        zero = support.values.new_zeros(support.n_users)
        return self.update({"total": zero, "n": zero}, support)

    def update(self, state: State, feedback: Feedback) -> State:
        error = feedback.values - self._base(feedback.items)
        return {
            "total": state["total"] + masked_sum(error, feedback.mask, 1),  # [B]
            "n": state["n"] + feedback.mask.sum(1),  # [B]
        }

    def score(self, state: State, items: Items) -> Tensor:
        return self._base(items) + self._offset(state)[:, None]

    def user_vectors(self, state: State) -> Tensor:
        offset = self._offset(state)
        return torch.stack([offset, torch.ones_like(offset)], 1)

    def item_vectors(self, items: Items) -> Tensor:
        base = self._base(items)
        return torch.stack([torch.ones_like(base), base], -1)

    def deviation(self, state: State, items: Items) -> Tensor:
        unknown = self.noise / self.item_damping
        item = gather_rows(self.item_variance, items.ids, unknown)
        return (item + (self.noise / (state["n"] + self.damping))[:, None]).sqrt()

    def contributions(self, support: Feedback, items: Items) -> Tensor:
        error = torch.where(support.mask, support.values - self._base(support.items), 0.0)
        share = error / (support.mask.sum(1, keepdim=True) + self.damping)  # [B, S]
        return share[:, None, :].expand(-1, items.ids.shape[-1], -1)

    def _base(self, items: Items) -> Tensor:
        return self.mean + gather_rows(self.item_bias, items.ids)

    def _offset(self, state: State) -> Tensor:
        return state["total"] / (state["n"] + self.damping)
