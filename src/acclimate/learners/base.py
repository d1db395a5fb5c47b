"""What a learner is: a recipe that turns a dataset into a recommender."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from acclimate.data import Dataset
from acclimate.models.base import Recommender


@dataclass(frozen=True)
class Run:
    """The environment of a run; hyperparameters live in the learner.

    Attributes:
        seed: of every random draw. One seed, one result.
        device: where tensors live while training; the recommender comes back on the CPU.
        progress: whether to show a bar; None for exactly when standard error is a terminal.
    """

    seed: int = 0
    device: str = "cpu"
    progress: bool | None = None

    def generator(self) -> torch.Generator:
        """A fresh CPU generator with this run's seed."""
        return torch.Generator().manual_seed(self.seed)


class Learner(Protocol):
    """A frozen dataclass of hyperparameters with one verb."""

    @property
    def name(self) -> str:
        """Short name for tables and files."""
        ...

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> Recommender:
        """Learns from the dataset.

        Args:
            start: a fitted recommender to continue from, where the learner can.
        """
        ...
