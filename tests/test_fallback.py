import pytest
import torch

from acclimate.data import sample_tasks, synthetic_world
from acclimate.errors import UserInputError
from acclimate.learners.classical import EASE, Bias, Content, ItemMean, Popularity
from acclimate.learners.composed import Fallback as FallbackLearner
from acclimate.models import Fallback
from acclimate.testing import RecommenderLaws


class TestFallback(RecommenderLaws):
    def make(self, world):
        return FallbackLearner(Content(), Bias(), until=3).fit(world.dataset)


class TestFallbackOfRanks(RecommenderLaws):
    explicit = False

    def make(self, world):
        return FallbackLearner(EASE(regularisation=20.0), Popularity()).fit(world.dataset)


def test_a_row_comes_from_the_base_below_the_threshold_and_from_the_model_from_it_on():
    dataset = synthetic_world(60, 20).dataset
    recommender = FallbackLearner(Bias(), ItemMean(), until=4).fit(dataset)
    tasks = sample_tasks(
        dataset, torch.arange(60), support=(2, 5), query=1, generator=torch.Generator().manual_seed(0)
    )
    support = tasks.batch(torch.arange(60)).support
    items = dataset.catalogue()
    got = recommender.score(recommender.adapt(support), items)
    from_model = recommender.model.score(recommender.model.adapt(support), items)
    from_base = recommender.base.score(recommender.base.adapt(support), items)
    enough = support.mask.sum(1) >= 4
    assert 0 < int(enough.sum()) < 60
    assert torch.equal(got[enough], from_model[enough])
    assert torch.equal(got[~enough], from_base[~enough])


def test_ratings_and_ranks_do_not_mix():
    dataset = synthetic_world(30, 10).dataset
    with pytest.raises(UserInputError, match="the model Bias has 'rating', the base Popularity has 'rank'"):
        Fallback(Bias().fit(dataset), Popularity().fit(dataset), 1)


def test_a_base_that_would_never_speak_is_refused():
    bias = Bias().fit(synthetic_world(30, 10).dataset)
    with pytest.raises(UserInputError, match="Fallback needs until above 0; found 0"):
        Fallback(bias, bias, 0)
