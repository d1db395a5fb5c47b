from dataclasses import replace

import pytest
import torch

from acclimate.data import Feedback, synthetic_world
from acclimate.errors import UserInputError
from acclimate.learners.base import Run
from acclimate.learners.classical import ALS, EASE, Bias, Content, ItemKNN, ItemMean, UserKNN
from acclimate.learners.composed import Residual as ResidualLearner
from acclimate.learners.composed import residuals
from acclimate.models import Popularity, Residual
from acclimate.testing import RecommenderLaws


class TestItemKNNOverBias(RecommenderLaws):
    def make(self, world):
        return ItemKNN().fit(world.dataset)


class TestUserKNNOverBias(RecommenderLaws):
    def make(self, world):
        return UserKNN().fit(world.dataset)


class TestEASEOverBias(RecommenderLaws):
    def make(self, world):
        return EASE(regularisation=30.0).fit(world.dataset)


class TestContentOverItemMean(RecommenderLaws):
    def make(self, world):
        return ResidualLearner(ItemMean(), Content()).fit(world.dataset)


class TestNestedResiduals(RecommenderLaws):
    def make(self, world):
        return ResidualLearner(ResidualLearner(Bias(), Content()), ALS(embedding_size=2)).fit(world.dataset)


def test_the_score_is_the_bases_plus_what_the_model_makes_of_the_rest():
    dataset = synthetic_world(60, 15).dataset
    recommender = ItemKNN().fit(dataset)
    ids = torch.tensor([[2, 5, 9]])
    shown = Feedback(
        dataset.items_at(ids), torch.tensor([[5.0, 1.0, 3.0]]), torch.ones_like(ids, dtype=torch.bool)
    )
    base = recommender.base.adapt(shown)
    rest = replace(shown, values=shown.values - recommender.base.score(base, shown.items))
    items = dataset.catalogue()
    expected = recommender.base.score(base, items) + recommender.model.score(
        recommender.model.adapt(rest), items
    )
    torch.testing.assert_close(recommender.score(recommender.adapt(shown), items), expected)


def test_a_state_holds_both_parts_under_their_names():
    dataset = synthetic_world(60, 15).dataset
    recommender = ItemKNN().fit(dataset)
    shown = Feedback(dataset.items_at(torch.tensor([[2]])), torch.tensor([[5.0]]), torch.tensor([[True]]))
    assert set(recommender.adapt(shown)) == {"base.total", "base.n", "model.total", "model.weight"}


def test_the_model_is_fitted_to_what_the_adapted_base_leaves():
    dataset = synthetic_world(60, 15).dataset
    base = Bias(damping=3.0).fit(dataset)
    left = residuals(base, dataset)
    inter = dataset.interactions
    for user in (0, 7, 59):
        mine = inter.users() == user
        error = inter.values[mine] - base.mean - base.item_bias[inter.items[mine]]
        torch.testing.assert_close(left[mine], error - error.sum() / (len(error) + 3))


def test_residuals_of_many_batches_equal_those_of_one(monkeypatch):
    dataset = synthetic_world(60, 15).dataset
    dataset = dataset.keep(dataset.interactions.users() != 4)  # a user without events
    base = Bias().fit(dataset)
    whole = residuals(base, dataset)
    monkeypatch.setattr("acclimate.learners.composed._BATCH", 20)
    torch.testing.assert_close(residuals(base, dataset), whole)
    monkeypatch.setattr("acclimate.learners.composed._MOST_SCORES", 45)  # three users at a time
    torch.testing.assert_close(residuals(base, dataset), whole)


def test_each_step_of_a_tower_lowers_the_error_in_a_world_with_taste():
    world = synthetic_world(400, 40, events=(20, 30), seed=4)
    train, unseen = (
        world.dataset.select_users(torch.arange(300)),
        world.dataset.select_users(torch.arange(300, 400)),
    )
    inter = unseen.interactions
    ids = torch.stack([inter.items[inter.offsets[u] : inter.offsets[u] + 12] for u in range(100)])
    values = torch.stack([inter.values[inter.offsets[u] : inter.offsets[u] + 12] for u in range(100)])
    shown = Feedback(train.items_at(ids), values, torch.ones_like(ids, dtype=torch.bool))
    errors = []
    for learner in (ItemMean(), Bias(), ItemKNN(damping=0.1)):
        recommender = learner.fit(train)
        scores = recommender.score(recommender.adapt(shown), train.catalogue())
        errors.append(float((scores - world.truth[300:]).abs().mean()))
    assert errors[0] > errors[1] + 0.02
    assert errors[1] > errors[2] + 0.02


def test_what_only_ranks_is_refused():
    dataset = synthetic_world(30, 10).dataset
    bias, popularity = Bias().fit(dataset), Popularity.fit(dataset)
    with pytest.raises(UserInputError, match="its model Popularity has scale 'rank'"):
        Residual(bias, popularity)
    with pytest.raises(UserInputError, match="its base Popularity has scale 'rank'"):
        Residual(popularity, bias)


def test_there_is_nothing_to_start_from():
    dataset = synthetic_world(30, 10).dataset
    fitted = Bias().fit(dataset)
    with pytest.raises(UserInputError, match="residual cannot continue from a fitted Bias"):
        ResidualLearner(Bias(), Content()).fit(dataset, start=fitted, run=Run())
