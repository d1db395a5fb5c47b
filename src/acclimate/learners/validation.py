"""Validation: which of several is best for people nobody has seen, judged on training users held out."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from acclimate.data import Dataset, Tasks, user_tasks
from acclimate.errors import UserInputError
from acclimate.evaluation import evaluate
from acclimate.learners.base import Run
from acclimate.models.base import Recommender, Scale


@dataclass(frozen=True)
class Validation:
    """Holds out users and measures how well a recommender serves them after a few of their events.

    Ratings are judged by the mean absolute error, rankings by NDCG@20 over the whole catalogue, each the mean
    over users and then over ``shots``.

    Attributes:
        share: of users to hold out. most_users: hold out no more than this many.
        query: most events of a user to predict; never more than half of those of a typical user.
        shots: numbers of support events to show.
    """

    share: float = 0.1
    most_users: int = 1000
    query: int = 10
    shots: tuple[int, ...] = (1, 5, 20)

    def split(self, dataset: Dataset, run: Run) -> tuple[Dataset, Tasks]:
        """The training data without some users, and the tasks of those users.

        Raises:
            UserInputError: too few users, or none with events enough.
        """
        counts = dataset.interactions.counts()
        able = (counts >= 2).nonzero().flatten()
        n = min(self.most_users, round(self.share * dataset.n_users))
        if n < 1 or len(able) <= n:
            raise UserInputError(
                f"{len(able)} of the {dataset.n_users} users of {dataset.name!r} have two events or more: "
                f"too few to hold out a share of {self.share:g} to choose by. Fit one recipe as it is."
            )
        generator = run.generator()
        held = able[torch.randperm(len(able), generator=generator)[:n]].sort().values
        keep = torch.ones(dataset.n_users, dtype=torch.bool)
        keep[held] = False
        query = max(1, min(self.query, int(counts[held].double().median()) // 2))
        tasks = user_tasks(
            dataset.select_users(held),
            torch.arange(n),
            query=query,
            max_support=max(self.shots),
            generator=generator,
        )
        return dataset.select_users(keep.nonzero().flatten()), tasks

    def value(self, recommender: Recommender, tasks: Tasks) -> float:
        """MAE or NDCG@20, the mean over shots."""
        metric = "mae" if recommender.scale == "rating" else "ndcg@20"
        report = evaluate(recommender, tasks, metrics=[metric], shots=self.shots)
        return float(report.frame[metric].mean())  # type: ignore[arg-type]

    @staticmethod
    def higher_is_better(scale: Scale) -> bool:
        """The direction of :meth:`value`."""
        return scale == "rank"
