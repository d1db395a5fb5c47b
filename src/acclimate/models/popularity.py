"""Popularity: what most people chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from acclimate.data import Dataset, Feedback, Items
from acclimate.models.base import Scale
from acclimate.models.rows import gather_rows
from acclimate.tensors import State


@dataclass(frozen=True, eq=False)
class Popularity:
    """Scores items by how often they were chosen; the same for every user.

    ``score(i) = log(1 + count(i))``; an item outside the catalogue scores 0.

    Attributes:
        logits: [n_items] float32.
    """

    logits: Tensor
    scale: ClassVar[Scale] = "rank"

    @classmethod
    def fit(cls, dataset: Dataset) -> Popularity:
        return cls(torch.log1p(dataset.interactions.item_counts().float()))

    def adapt(self, support: Feedback) -> State:
        return {"n": support.mask.sum(1)}  # [B]; nothing to learn, but every state knows its B

    def score(self, state: State, items: Items) -> Tensor:
        return gather_rows(self.logits, items.ids).expand(len(state["n"]), -1)  # [B, N]
