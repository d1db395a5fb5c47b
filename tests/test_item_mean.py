import pytest
import torch

from acclimate.data import synthetic_world
from acclimate.errors import UserInputError
from acclimate.models import ItemMean
from acclimate.testing import RecommenderLaws


class TestItemMean(RecommenderLaws):
    adapts = False

    def make(self, world):
        return ItemMean.fit(world.dataset)


def test_a_mean_is_damped_towards_the_mean_of_all_ratings():
    dataset = synthetic_world(30, 10).dataset
    inter = dataset.interactions
    recommender = ItemMean.fit(dataset, damping=3.0)
    overall = float(inter.values.mean())
    for item in range(10):
        ratings = inter.values[inter.items == item].tolist()
        expected = (sum(ratings) + 3.0 * overall) / (len(ratings) + 3)
        assert float(recommender.means[item]) == pytest.approx(expected, rel=1e-5)


def test_an_item_nobody_rated_and_one_outside_the_catalogue_get_the_mean_of_all_ratings():
    dataset = synthetic_world(30, 10).dataset
    dataset = dataset.keep(dataset.interactions.items != 4)
    recommender = ItemMean.fit(dataset)
    assert float(recommender.means[4]) == pytest.approx(float(dataset.interactions.values.mean()), rel=1e-5)
    scores = recommender.score({"n": torch.zeros(2)}, dataset.items_at(torch.tensor([4, -1])))
    torch.testing.assert_close(scores, torch.full((2, 2), recommender.mean))


def test_implicit_events_and_no_events_are_refused_in_words():
    dataset = synthetic_world(30, 10, explicit=False).dataset
    with pytest.raises(UserInputError, match="predicts ratings; 'synthetic' holds implicit events"):
        ItemMean.fit(dataset)
    empty = dataset.keep(torch.zeros(len(dataset.interactions), dtype=torch.bool))
    with pytest.raises(UserInputError, match="'synthetic' has none"):
        ItemMean.fit(empty)
