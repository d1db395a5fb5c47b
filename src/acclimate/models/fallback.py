"""Fallback: a careful recommender for those of whom little is known, a keen one for the others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.data import Feedback, Items
from acclimate.errors import UserInputError
from acclimate.models.base import Recommender, Scale
from acclimate.models.checks import need_positive
from acclimate.models.nested import inside, outside
from acclimate.tensors import State


@dataclass(frozen=True, eq=False)
class Fallback:
    """Scores as ``base`` does for users with fewer than ``until`` support events, as ``model`` for the
    others.

    All scores of one user come from one of the two, so that they compare. A State holds the base's as
    ``base.*``, the model's as ``model.*`` and the number of events ``n``.

    Attributes:
        model: for users with events enough. base: for the others.
        until: events from which on the model speaks.

    Raises:
        UserInputError: the two have different scales: a caller could not tell what a score means; or the base
            would never speak.
    """

    model: Recommender
    base: Recommender
    until: int

    def __post_init__(self) -> None:
        need_positive("Fallback", until=self.until)
        if self.model.scale != self.base.scale:
            raise UserInputError(
                f"Fallback needs one scale; the model {type(self.model).__name__} has {self.model.scale!r}, "
                f"the base {type(self.base).__name__} has {self.base.scale!r}."
            )

    @property
    def scale(self) -> Scale:
        return self.model.scale

    def adapt(self, support: Feedback) -> State:
        return {
            **inside("base", self.base.adapt(support)),
            **inside("model", self.model.adapt(support)),
            "n": support.mask.sum(1),
        }

    def score(self, state: State, items: Items) -> Tensor:
        known = state["n"] >= self.until
        model = self.model.score(outside("model", state), items)
        base = self.base.score(outside("base", state), items)
        return torch.where(known[:, None], model, base)
