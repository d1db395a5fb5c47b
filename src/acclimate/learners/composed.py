"""Recipes that combine recipes: residual, fallback, blend."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acclimate import models
from acclimate.data import Dataset, make_tasks
from acclimate.errors import UserInputError
from acclimate.learners.base import Learner, Run
from acclimate.learners.validation import Validation
from acclimate.models.base import Recommender

log = logging.getLogger("acclimate")

# Padded events of a batch of users.
_BATCH = 100_000
# Numbers of a batch of States: some bases hold one for every item of the catalogue.
_MOST_SCORES = 16_000_000


@dataclass(frozen=True)
class Residual:
    """Fits a base, then a model to what the base leaves of the training ratings.

    What is left is taken where the base has adapted to all ratings of the user, the one in question included;
    the fitted :class:`~acclimate.models.residual.Residual` does the same with a support, so that the model
    meets what it was fitted to.

    Attributes:
        base: predicts ratings. model: predicts what is left, on a dataset whose values are that.
    """

    base: Learner
    model: Learner
    name: str = "residual"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> models.Residual:
        refuse_start(self.name, start)
        return fit_residual(self.base, lambda rest: self.model.fit(rest, run=run), dataset, run)


@dataclass(frozen=True)
class Fallback:
    """Fits a model, and a base that speaks for users with fewer than ``until`` events.

    Attributes:
        model, base: of one scale. until: events from which on the model speaks.
    """

    model: Learner
    base: Learner
    until: int = 1
    name: str = "fallback"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> models.Fallback:
        refuse_start(self.name, start)
        model, base = self.model.fit(dataset, run=run), self.base.fit(dataset, run=run)
        return models.Fallback(model, base, self.until)


@dataclass(frozen=True)
class Blend:
    """Fits several recommenders and weighs what they say.

    Without ``weights``, some training users are held out, the recommenders are fitted to the others, the
    convex combination that serves the held-out users best is chosen from an even grid, and the recommenders
    are fitted to everybody.

    Attributes:
        learners: of one scale. weights: one each, or None to choose them.
        validation: how to choose them.
        sample: size of the reference sample that scores of rankers are standardised over.
    """

    learners: tuple[Learner, ...]
    weights: tuple[float, ...] | None = None
    validation: Validation = Validation()
    sample: int = 2000
    name: str = "blend"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> models.Blend:
        refuse_start(self.name, start)
        weights = self.search(dataset, run)[0][0] if self.weights is None else self.weights
        fitted = [learner.fit(dataset, run=run) for learner in self.learners]
        return models.Blend.over(dataset, fitted, weights, sample=self.sample)

    def search(self, dataset: Dataset, run: Run = Run()) -> list[tuple[tuple[float, ...], float]]:
        """Every combination tried, with its value on the held-out users, best first."""
        train, tasks = self.validation.split(dataset, run)
        fitted = [learner.fit(train, run=run) for learner in self.learners]
        trials = []
        for weights in combinations(len(fitted)):
            blend = models.Blend.over(train, fitted, weights, sample=self.sample)
            trials.append((weights, self.validation.value(blend, tasks)))
        trials.sort(key=lambda trial: trial[1], reverse=self.validation.higher_is_better(fitted[0].scale))
        names = ", ".join(learner.name for learner in self.learners)
        log.info("%s: weights %s of %s, validation %.4f", self.name, trials[0][0], names, trials[0][1])
        return trials


def combinations(k: int) -> list[tuple[float, ...]]:
    """An even grid of convex combinations of k things: 11 of two, 21 of three, 35 of four."""
    steps = {1: 1, 2: 10, 3: 5}.get(k, 4)

    def split(total: int, parts: int) -> list[tuple[int, ...]]:
        if parts == 1:
            return [(total,)]
        return [(n, *rest) for n in range(total + 1) for rest in split(total - n, parts - 1)]

    return [tuple(n / steps for n in counts) for counts in split(steps, k)]


def fit_residual(
    base: Learner, fit: Callable[[Dataset], Recommender], dataset: Dataset, run: Run
) -> models.Residual:
    """Fits ``base``, then ``fit`` to a dataset whose values are what the base leaves."""
    fitted = base.fit(dataset, run=run)
    left = residuals(fitted, dataset)
    span = (float(left.min()), float(left.max())) if len(left) else (0.0, 0.0)
    return models.Residual(fitted, fit(replace(dataset.with_values(left), value_range=span)))


@torch.no_grad()
def residuals(base: Recommender, dataset: Dataset) -> Tensor:
    """What a recommender leaves of every value when it has adapted to all events of each user, [E]."""
    inter = dataset.interactions
    counts = inter.counts()
    everyone = make_tasks(
        dataset,
        torch.arange(dataset.n_users),
        torch.arange(len(inter)),
        counts,
        support=counts,
        query=torch.zeros_like(counts),
    )
    left = torch.zeros(len(inter))
    most = max(1, _MOST_SCORES // max(1, dataset.n_items))
    order = counts.argsort(descending=True, stable=True)
    order = order[counts[order] > 0]
    start = 0
    while start < len(order):
        rows = order[start : start + min(most, max(1, _BATCH // int(counts[order[start]])))]
        support = everyone.batch(rows).support
        predicted = base.score(base.adapt(support), support.items)
        left[inter.events_of(rows)] = (support.values - predicted)[support.mask]
        start += len(rows)
    return left


def refuse_start(name: str, start: Recommender | None) -> None:
    """Refuses a fitted recommender to continue from, for recipes that always start anew."""
    if start is not None:
        raise UserInputError(
            f"{name} cannot continue from a fitted {type(start).__name__}: it is solved anew from the data. "
            "Leave start out."
        )
