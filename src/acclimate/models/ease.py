"""EASE: the best linear map from what was chosen to what else is chosen, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from acclimate.data import Dataset, Feedback, Items
from acclimate.errors import UserInputError
from acclimate.models.base import Scale
from acclimate.models.checks import need_events, need_positive
from acclimate.models.item_knn import item_products, once
from acclimate.models.rows import gather_scores
from acclimate.tensors import State

# Above this many items, single precision: the catalogue's matrix would take more than 800 MB otherwise.
_DOUBLE = 10_000


@dataclass(frozen=True, eq=False)
class EASE:
    """Scores by a linear map from item to item with a zero diagonal.

    With X the users-by-items matrix, ``P = (X^T X + l I)^-1`` and ``W = I - P diag(1 / diag P)`` minimise
    ``|X - X W|^2 + l |W|^2`` subject to ``diag W = 0``; then ``score(i) = sum_{j in S} x_j W_ji``. A State
    holds a score for every item of the catalogue, [B, n_items].

    Attributes:
        weights: [n_items, n_items] float32, W.
        scale: ``rank``: every event is a choice, x = 1, whatever its value. ``rating``: x holds the values,
            which are deviations from a base line; wrap it in :class:`~acclimate.models.residual.Residual`.

    Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, eq. 8.
    """

    weights: Tensor
    scale: Scale

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        regularisation: float | None = None,
        scale: Scale = "rank",
        most_items: int = 30_000,
        device: str = "cpu",
    ) -> EASE:
        """Solves for the weights.

        Args:
            regularisation: l, in events; None for 2000 where it ranks and 200 for ratings, whose deviations
                from the base line are smaller than 1.
            scale: what the values mean, see above.
            most_items: refuse larger catalogues: memory grows with their square, time with their cube.
            device: where to solve.

        Raises:
            UserInputError: there is no event, the regularisation is not above 0, or the catalogue is too
                large.
        """
        if regularisation is None:
            regularisation = 2000.0 if scale == "rank" else 200.0
        need_events(dataset, "EASE")
        need_positive("EASE", regularisation=regularisation)
        n = dataset.n_items
        if n > most_items:
            need = 3 * 4 * n * n / 2**30
            raise UserInputError(
                f"EASE on {n:,} items needs about {need:,.0f} GiB of memory; it is limited to {most_items:,} "
                "items. Use iALS or item-kNN, keep fewer items, or raise most_items if the memory is there."
            )
        inter = dataset.interactions if scale == "rating" else once(dataset.interactions)
        gram = torch.empty(n, n, dtype=torch.float64 if n <= _DOUBLE else torch.float32)
        for rows, products in item_products(inter):
            gram[rows] = products.to(gram.dtype)
        gram = gram.to(device)
        gram.diagonal().add_(regularisation)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        weights = inverse.div_(-inverse.diagonal().clone())
        weights.fill_diagonal_(0.0)
        return cls(weights.float().cpu().contiguous(), scale)

    def adapt(self, support: Feedback) -> State:
        return self.update({"scores": support.values.new_zeros(support.n_users, len(self.weights))}, support)

    def update(self, state: State, feedback: Feedback) -> State:
        ids, x = self._inputs(feedback)
        if ids.shape[1] == 0:
            return state
        lent = functional.embedding_bag(ids, self.weights, per_sample_weights=x, mode="sum")
        return {"scores": state["scores"] + lent}

    def score(self, state: State, items: Items) -> Tensor:
        return gather_scores(state["scores"], items.ids)

    def contributions(self, support: Feedback, items: Items) -> Tensor:
        ids, x = self._inputs(support)
        candidates = items.ids.expand(len(ids), -1)
        lent = self.weights[ids[:, None, :], candidates.clamp(min=0)[:, :, None]]  # [B, N, S]
        return torch.where((candidates >= 0)[:, :, None], lent, 0.0) * x[:, None, :]

    def _inputs(self, feedback: Feedback) -> tuple[Tensor, Tensor]:
        """Item rows and x of the events, [B, S] each; 0 and 0 where there is nothing to learn from."""
        known = feedback.mask & (feedback.items.ids >= 0)
        x = feedback.values if self.scale == "rating" else torch.ones_like(feedback.values)
        return torch.where(known, feedback.items.ids, 0), torch.where(known, x, 0.0)
