"""Residual: one recommender predicts, another learns what it left."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acclimate.data import Feedback, Items
from acclimate.errors import UserInputError
from acclimate.models.base import Recommender, Scale
from acclimate.models.nested import inside, outside
from acclimate.tensors import State


@dataclass(frozen=True, eq=False)
class Residual:
    """Predicts ``base + model``, where the model adapts to what the base leaves of the support's values.

    A State holds the base's as ``base.*`` and the model's as ``model.*``.

    Attributes:
        base: adapts to the values. model: adapts to ``values - base's predictions of them``.

    Raises:
        UserInputError: either does not predict ratings: what a mere order leaves means nothing.
    """

    base: Recommender
    model: Recommender

    def __post_init__(self) -> None:
        for part, recommender in (("base", self.base), ("model", self.model)):
            if recommender.scale != "rating":
                raise UserInputError(
                    f"Residual adds predictions of ratings; its {part} {type(recommender).__name__} has "
                    f"scale {recommender.scale!r}. Use Blend for recommenders that rank."
                )

    @property
    def scale(self) -> Scale:
        return self.base.scale

    def adapt(self, support: Feedback) -> State:
        state = self.base.adapt(support)
        left = support.values - self.base.score(state, support.items)
        rest = replace(support, values=torch.where(support.mask, left, 0.0))
        return {**inside("base", state), **inside("model", self.model.adapt(rest))}

    def score(self, state: State, items: Items) -> Tensor:
        base = self.base.score(outside("base", state), items)
        return base + self.model.score(outside("model", state), items)
