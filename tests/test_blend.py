import pytest
import torch

from acclimate.data import Feedback, Items, synthetic_world
from acclimate.errors import UserInputError
from acclimate.evaluation import evaluate
from acclimate.learners.base import Run
from acclimate.learners.classical import IALS, Bias, Content, ItemKNN, ItemMean, Popularity
from acclimate.learners.composed import Blend as BlendLearner
from acclimate.learners.composed import combinations
from acclimate.learners.validation import Validation
from acclimate.models import EASE, Blend
from acclimate.testing import RecommenderLaws


class TestBlendOfRanks(RecommenderLaws):
    explicit = False

    def make(self, world):
        learners = (Popularity(), ItemKNN(), IALS(embedding_size=6, regularisation=1.0))
        return BlendLearner(learners, (0.2, 0.3, 0.5)).fit(world.dataset)


class TestBlendOfRatings(RecommenderLaws):
    def make(self, world):
        return BlendLearner((Bias(), Content()), (0.4, 0.6)).fit(world.dataset)


class TestBlendOnASample(RecommenderLaws):
    explicit = False

    def make(self, world):
        return BlendLearner((Popularity(), ItemKNN()), (0.2, 0.8), sample=7).fit(world.dataset)


def shown(dataset, ids, values):
    ids = torch.tensor([ids])
    return Feedback(dataset.items_at(ids), torch.tensor([values]), torch.ones_like(ids, dtype=torch.bool))


def test_ratings_are_added_as_they_are():
    dataset = synthetic_world(60, 20).dataset
    bias, mean = Bias().fit(dataset), ItemMean().fit(dataset)
    blend = Blend.over(dataset, [bias, mean], [0.3, 0.7])
    support, items = shown(dataset, [3, 5], [5.0, 4.0]), dataset.catalogue()
    expected = 0.3 * bias.score(bias.adapt(support), items) + 0.7 * mean.score(mean.adapt(support), items)
    torch.testing.assert_close(blend.score(blend.adapt(support), items), expected)


def test_ranks_are_standardised_over_the_reference_whatever_their_units():
    dataset = synthetic_world(60, 20, explicit=False).dataset
    popularity, knn = Popularity().fit(dataset), ItemKNN().fit(dataset)
    louder = type(popularity)(1000 * popularity.logits + 7)
    support, items = shown(dataset, [3, 5], [1.0, 1.0]), dataset.catalogue()
    scores = []
    for part in (popularity, louder):
        blend = Blend.over(dataset, [part, knn], [0.5, 0.5])
        scores.append(blend.score(blend.adapt(support), items))
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-4, atol=1e-4)
    of_knn = knn.score(knn.adapt(support), items)
    parts = [(s - s.mean()) / s.std(correction=0) for s in (popularity.logits, of_knn[0])]
    torch.testing.assert_close(scores[0][0], 0.5 * parts[0] + 0.5 * parts[1])


def test_who_tells_no_items_apart_has_no_say():
    dataset = synthetic_world(60, 20, explicit=False).dataset
    popularity, knn = Popularity().fit(dataset), ItemKNN().fit(dataset)
    blend = Blend.over(dataset, [popularity, knn], [0.1, 0.9])
    nobody = Feedback(
        dataset.items_at(torch.zeros(2, 0, dtype=torch.int64)), torch.zeros(2, 0), torch.zeros(2, 0) > 0
    )
    scores = blend.score(blend.adapt(nobody), dataset.catalogue())
    assert torch.equal(scores[0].argsort(stable=True), popularity.logits.argsort(stable=True))


def test_the_reference_is_spread_over_the_catalogue():
    dataset = synthetic_world(60, 20, explicit=False).dataset
    popularity = Popularity().fit(dataset)
    assert Blend.over(dataset, [popularity], [1.0], sample=5).reference.ids.tolist() == [0, 4, 8, 12, 16]
    assert Blend.over(dataset, [popularity], [1.0]).reference.ids.tolist() == list(range(20))


def test_combinations_are_an_even_grid_of_shares():
    assert len(combinations(2)) == 11
    assert len(combinations(3)) == 21
    assert len(combinations(4)) == 35
    assert combinations(1) == [(1.0,)]
    for k in (2, 3, 4, 5):
        grid = combinations(k)
        assert len(set(grid)) == len(grid)
        assert all(sum(weights) == pytest.approx(1) and min(weights) >= 0 for weights in grid)


def test_chosen_weights_are_best_on_the_users_held_out_and_leave_noise_alone():
    dataset = synthetic_world(400, 30, events=(15, 25), seed=6).dataset
    blind = Content(regularisation=1e6, offset_regularisation=1e6)
    learner = BlendLearner((Bias(), blind), validation=Validation(query=5, shots=(10,)))
    trials = learner.search(dataset, Run())
    assert len(trials) == 11
    assert [value for _, value in trials] == sorted(value for _, value in trials)
    assert trials[0][0][0] >= 0.8
    assert learner.fit(dataset).weights == trials[0][0]
    train, tasks = learner.validation.split(dataset, Run())
    blend = Blend.over(train, [part.fit(train) for part in learner.learners], trials[0][0])
    again = evaluate(blend, tasks, metrics=["mae"], shots=(10,)).frame["mae"].mean()
    assert again == pytest.approx(trials[0][1])


def test_a_blend_that_does_not_fit_together_is_refused():
    dataset = synthetic_world(30, 10).dataset
    bias, popularity = Bias().fit(dataset), Popularity().fit(dataset)
    nothing = Items(torch.zeros(0, dtype=torch.int64))
    ease = [EASE.fit(dataset, scale=scale) for scale in ("rank", "rating")]
    with pytest.raises(UserInputError, match="found EASE 'rank', EASE 'rating'"):
        Blend(tuple(ease), (0.5, 0.5), nothing)
    with pytest.raises(UserInputError, match="found Bias 'rating', Popularity 'rank'"):
        Blend((bias, popularity), (0.5, 0.5), nothing)
    with pytest.raises(UserInputError, match="found 1 recommenders and 2 weights"):
        Blend((bias,), (0.5, 0.5), nothing)
    with pytest.raises(UserInputError, match="found 0 recommenders"):
        Blend((), (), nothing)
