import logging
from dataclasses import dataclass

import pytest
import torch

from acclimate.data import Dataset, synthetic_world
from acclimate.errors import UserInputError
from acclimate.evaluation import evaluate
from acclimate.learners.base import Run
from acclimate.learners.classical import Bias, Content, ItemKNN, ItemMean, Popularity
from acclimate.learners.tuned import Tuned
from acclimate.learners.validation import Validation
from acclimate.models import Bias as BiasModel
from acclimate.models import ItemKNN as ItemKNNModel


@pytest.fixture(scope="module")
def ratings():
    return synthetic_world(300, 40, events=(12, 25)).dataset


@dataclass
class Spy:
    """Fits a bias and remembers which users it was shown."""

    seen: list[list[str]]
    name: str = "spy"

    def fit(self, dataset: Dataset, *, start=None, run=None) -> BiasModel:
        self.seen.append(dataset.user_ids.ids.to_list())
        return BiasModel.fit(dataset)


def test_the_best_of_the_candidates_is_fitted_to_everybody(ratings):
    worse, better = Bias(damping=1e6), Bias(damping=3.0)
    tuned = Tuned((worse, better), "bias")
    trials = tuned.search(ratings)
    assert [trial.learner for trial in trials] == [better, worse]
    assert trials[0].value < trials[1].value - 0.01
    fitted = tuned.fit(ratings)
    assert fitted.damping == 3.0
    assert torch.equal(fitted.item_bias, better.fit(ratings).item_bias)


def test_rankings_are_chosen_by_the_higher_value():
    dataset = synthetic_world(300, 40, events=(12, 25), explicit=False).dataset
    trials = Tuned((ItemKNN(neighbours=1), ItemKNN(neighbours=40, shrinkage=1.0))).search(dataset)
    assert trials[0].value > trials[1].value
    assert trials[0].learner.neighbours == 40
    assert isinstance(Tuned((ItemKNN(),)).fit(dataset), ItemKNNModel)


def test_a_value_is_that_of_the_candidate_fitted_without_the_users_it_is_judged_on(ratings):
    validation = Validation(shots=(3,))
    train, tasks = validation.split(ratings, Run(seed=5))
    held = set(tasks.dataset.user_ids.ids.to_list())
    assert held.isdisjoint(train.user_ids.ids.to_list())
    assert len(held) + train.n_users == 300
    spy = Spy([])
    trials = Tuned((spy,), validation=validation).search(ratings, Run(seed=5))
    assert held.isdisjoint(spy.seen[0])
    report = evaluate(BiasModel.fit(train), tasks, metrics=["mae"], shots=(3,))
    assert trials[0].value == pytest.approx(report.frame["mae"].mean())


def test_one_seed_one_choice(ratings):
    tuned = Tuned((Bias(), ItemMean(), Content()))
    assert tuned.search(ratings, Run(seed=1)) == tuned.search(ratings, Run(seed=1))
    values = [t.value for t in tuned.search(ratings, Run(seed=2))]
    assert values != [t.value for t in tuned.search(ratings, Run(seed=1))]


def test_the_choice_is_logged(ratings, caplog):
    with caplog.at_level(logging.INFO, logger="acclimate"):
        Tuned((Bias(), ItemMean()), "floor").fit(ratings)
    assert any("floor: chose Bias(" in record.getMessage() for record in caplog.records)
    assert sum("has validation value" in record.getMessage() for record in caplog.records) == 2


def test_the_query_is_at_most_half_of_what_a_typical_user_has():
    dataset = synthetic_world(100, 40, events=(4, 4)).dataset
    _, tasks = Validation().split(dataset, Run())
    assert tasks.query_sizes().unique().tolist() == [2]
    assert tasks.support_sizes().unique().tolist() == [2]


def test_no_more_users_are_held_out_than_allowed(ratings):
    _, tasks = Validation(share=0.5, most_users=20).split(ratings, Run())
    assert len(tasks) == 20


def test_what_cannot_be_compared_is_refused(ratings):
    with pytest.raises(UserInputError, match="tuned has no candidate"):
        Tuned(()).fit(ratings)
    with pytest.raises(UserInputError, match="do not compare"):
        Tuned((Bias(), Popularity())).fit(ratings)


def test_too_few_users_are_refused_with_their_number():
    dataset = synthetic_world(4, 20).dataset
    with pytest.raises(UserInputError, match=r"4 of the 4 users .* too few to hold out a share of 0.1"):
        Tuned((Bias(),)).fit(dataset)
