import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from acclimate.data import Feedback, synthetic_world
from acclimate.errors import UserInputError
from acclimate.models import EASE, Attributable, Incremental, ease
from acclimate.testing import RecommenderLaws


class TestEASE(RecommenderLaws):
    explicit = False

    def make(self, world):
        return EASE.fit(world.dataset, regularisation=20.0)


class TestEASEOfDeviations(RecommenderLaws):
    def make(self, world):
        return EASE.fit(world.dataset, regularisation=20.0, scale="rating")


def test_it_is_attributable_and_incremental():
    recommender = EASE.fit(synthetic_world(30, 10, explicit=False).dataset)
    assert isinstance(recommender, Attributable)
    assert isinstance(recommender, Incremental)


@pytest.mark.parametrize("scale", ["rank", "rating"])
def test_each_column_is_the_ridge_regression_of_an_item_on_all_others(scale):
    dataset = synthetic_world(60, 12).dataset
    x = dataset.interactions.to_csr().toarray().astype(float)
    x = x if scale == "rating" else (x != 0).astype(float)
    weights = EASE.fit(dataset, regularisation=8.0, scale=scale).weights.numpy()
    for item in range(12):
        others = np.arange(12) != item
        ridge = Ridge(alpha=8.0, fit_intercept=False).fit(x[:, others], x[:, item])
        np.testing.assert_allclose(weights[others, item], ridge.coef_, atol=1e-5)
        assert weights[item, item] == 0


def test_ranks_count_events_and_ratings_weigh_them():
    dataset = synthetic_world(60, 12).dataset
    ids = torch.tensor([[3, 7]])
    shown = Feedback(
        dataset.items_at(ids), torch.tensor([[2.0, -1.0]]), torch.ones_like(ids, dtype=torch.bool)
    )
    for scale, (a, b) in {"rank": (1, 1), "rating": (2, -1)}.items():
        recommender = EASE.fit(dataset, scale=scale)
        scores = recommender.score(recommender.adapt(shown), dataset.catalogue())
        torch.testing.assert_close(scores[0], a * recommender.weights[3] + b * recommender.weights[7])


def test_an_item_without_events_neither_lends_nor_gets_weight():
    dataset = synthetic_world(60, 12, explicit=False).dataset
    weights = EASE.fit(dataset.keep(dataset.interactions.items != 5)).weights
    assert (weights[5] == 0).all()
    assert (weights[:, 5] == 0).all()


def test_single_precision_of_large_catalogues_gives_the_same_weights(monkeypatch):
    dataset = synthetic_world(60, 12, explicit=False).dataset
    double = EASE.fit(dataset, regularisation=5.0).weights
    monkeypatch.setattr(ease, "_DOUBLE", 5)
    torch.testing.assert_close(EASE.fit(dataset, regularisation=5.0).weights, double, rtol=1e-3, atol=1e-5)


def test_a_catalogue_too_large_is_refused_with_the_memory_it_would_take():
    dataset = synthetic_world(60, 12, explicit=False).dataset
    with pytest.raises(UserInputError, match=r"EASE on 12 items needs about .* GiB .* limited to 11 items"):
        EASE.fit(dataset, most_items=11)
