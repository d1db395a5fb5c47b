"""Blend: several opinions, weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.data import Dataset, Feedback, Items
from acclimate.errors import UserInputError
from acclimate.models.base import Recommender, Scale
from acclimate.models.nested import inside, outside
from acclimate.tensors import State

# A recommender whose scores differ by less than this, relative to their size, tells no items apart.
_FLAT = 1e-5


@dataclass(frozen=True, eq=False)
class Blend:
    """Scores by a weighted sum of what several recommenders say.

    Ratings are added as they are. Scores that only rank have no units of their own, so each recommender's are
    standardised for each user first, with the mean and deviation of its scores of a fixed reference sample of
    the catalogue, taken while adapting. An item's score therefore does not depend on the other candidates.
    Where a recommender scores all of the reference alike (item-kNN before the first event), it has no say.

    A State holds the k-th recommender's as ``k.*`` and, for ranks, ``centre`` and ``gain`` [B, K]:
    the mean and the reciprocal of the deviation.

    Attributes:
        models: K recommenders of one scale. weights: K numbers.
        reference: [R] the sample.

    Raises:
        UserInputError: no recommender, different scales, or not a weight for each.
    """

    models: tuple[Recommender, ...]
    weights: tuple[float, ...]
    reference: Items

    def __post_init__(self) -> None:
        if not self.models or len(self.models) != len(self.weights):
            raise UserInputError(
                f"Blend needs a weight for each recommender; found {len(self.models)} recommenders and "
                f"{len(self.weights)} weights."
            )
        if len({model.scale for model in self.models}) > 1:
            found = ", ".join(f"{type(model).__name__} {model.scale!r}" for model in self.models)
            raise UserInputError(f"Blend needs one scale; found {found}.")

    @classmethod
    def over(
        cls, dataset: Dataset, models: Sequence[Recommender], weights: Sequence[float], *, sample: int = 2000
    ) -> Blend:
        """A blend whose reference is every item of the catalogue, or ``sample`` of them, evenly spaced."""
        n = min(sample, dataset.n_items)
        reference = dataset.items_at(torch.arange(n) * dataset.n_items // n)
        return cls(tuple(models), tuple(float(w) for w in weights), reference)

    @property
    def scale(self) -> Scale:
        return self.models[0].scale

    def adapt(self, support: Feedback) -> State:
        state: State = {}
        centres, gains = [], []
        for k, model in enumerate(self.models):
            own = model.adapt(support)
            state |= inside(str(k), own)
            if self.scale == "rank":
                scores = model.score(own, self.reference).double()
                centre = scores.mean(1)
                centres.append(centre)
                spread = (scores - centre[:, None]).square().mean(1).sqrt()
                flat = spread <= _FLAT * scores.abs().amax(1)
                gains.append(torch.where(flat, 0.0, 1 / spread))
        if self.scale == "rank":
            state["centre"] = torch.stack(centres, 1).float()
            state["gain"] = torch.stack(gains, 1).float()
        return state

    def score(self, state: State, items: Items) -> Tensor:
        parts = []
        for k, (model, weight) in enumerate(zip(self.models, self.weights, strict=True)):
            scores = model.score(outside(str(k), state), items)
            if self.scale == "rank":
                scores = (scores - state["centre"][:, k, None]) * state["gain"][:, k, None]
            parts.append(weight * scores)
        return torch.stack(parts).sum(0)
