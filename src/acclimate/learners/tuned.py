"""Tuned: the best of several recipes, chosen on training users held out."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from acclimate.data import Dataset
from acclimate.errors import UserInputError
from acclimate.learners.base import Learner, Run
from acclimate.learners.validation import Validation
from acclimate.models.base import Recommender
from acclimate.progress import track

log = logging.getLogger("acclimate")


@dataclass(frozen=True)
class Trial:
    """One recipe tried.

    Attributes:
        learner: the recipe. value: its validation value, see
            :class:`~acclimate.learners.validation.Validation`.
    """

    learner: Learner
    value: float


@dataclass(frozen=True)
class Tuned:
    """Fits each candidate without some training users, keeps the one that serves those best, fits it to
    everybody.

    No test user plays a part: the choice is made inside the training data. What comes back is the plain
    recommender of the best candidate; :meth:`search` gives the record of the choice.

    Attributes:
        candidates: recipes of one scale.
        name: for tables.
        validation: how to choose.
    """

    candidates: tuple[Learner, ...]
    name: str = "tuned"
    validation: Validation = Validation()

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> Recommender:
        trials = self.search(dataset, run, start=start)
        return trials[0].learner.fit(dataset, start=start, run=run)

    def search(
        self,
        dataset: Dataset,
        run: Run = Run(),
        *,
        start: Recommender | None = None,
    ) -> tuple[Trial, ...]:
        """Tries every candidate.

        Returns:
            The trials, best first; equals keep their order.

        Raises:
            UserInputError: no candidate, candidates of different scales, or too few users to hold some out.
        """
        if not self.candidates:
            raise UserInputError(f"{self.name} has no candidate to choose from.")
        train, tasks = self.validation.split(dataset, run)
        trials, scales = [], set()
        with track(f"tuning {self.name}", len(self.candidates), run.progress) as advance:
            for learner in self.candidates:
                fitted = learner.fit(train, start=start, run=run)
                trials.append(Trial(learner, self.validation.value(fitted, tasks)))
                scales.add(fitted.scale)
                log.info("%s: %r has validation value %.4f", self.name, learner, trials[-1].value)
                advance(1, f"{trials[-1].value:.4f}")
        if len(scales) > 1:
            raise UserInputError(
                f"The candidates of {self.name} do not compare: some predict ratings, some only rank. "
                'Give those that can do both scale="rank".'
            )
        trials.sort(key=lambda trial: trial.value, reverse=self.validation.higher_is_better(fitted.scale))
        log.info("%s: chose %r, validation value %.4f", self.name, trials[0].learner, trials[0].value)
        return tuple(trials)
