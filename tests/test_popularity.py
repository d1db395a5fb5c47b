import torch

from acclimate.data import synthetic_world
from acclimate.models import Popularity
from acclimate.testing import RecommenderLaws


class TestPopularity(RecommenderLaws):
    explicit = False
    adapts = False

    def make(self, world):
        return Popularity.fit(world.dataset)


def test_the_most_chosen_item_comes_first():
    dataset = synthetic_world(30, 10).dataset
    recommender = Popularity.fit(dataset)
    assert recommender.logits.argmax() == dataset.interactions.item_counts().argmax()
    assert torch.equal(recommender.logits.exp().round() - 1, dataset.interactions.item_counts().float())
