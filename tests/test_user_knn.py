import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from acclimate.data import Feedback, synthetic_world
from acclimate.errors import UserInputError
from acclimate.models import UserKNN, UserKNNRating, user_knn
from acclimate.testing import RecommenderLaws


class TestUserKNN(RecommenderLaws):
    explicit = False

    def make(self, world):
        return UserKNN.fit(world.dataset, neighbours=20)


class TestUserKNNRating(RecommenderLaws):
    def make(self, world):
        return UserKNNRating.fit(world.dataset, neighbours=20)


def show(dataset, ids, values):
    ids = torch.tensor([ids])
    return Feedback(dataset.items_at(ids), torch.tensor([values]), torch.ones_like(ids, dtype=torch.bool))


def nearest(x, own, k, shrinkage):
    """Similarities of all training users, 0 but for the k nearest."""
    if shrinkage == 0:
        similarity = cosine_similarity(own, x)[0]
    else:
        similarity = (x @ own[0]) / (np.linalg.norm(x, axis=1) * np.linalg.norm(own) + shrinkage)
    return np.where(similarity >= np.sort(similarity)[-k], similarity, 0.0)


@pytest.mark.parametrize("shrinkage", [0.0, 4.0])
def test_a_rank_score_sums_the_similarities_of_the_neighbours_who_chose_it(shrinkage):
    dataset = synthetic_world(41, 30, explicit=False, seed=5).dataset
    x = dataset.interactions.to_csr().toarray()
    own = np.zeros((1, 30))
    own[0, [1, 4, 9]] = 1
    similarity = nearest(x, own, 41, shrinkage)
    recommender = UserKNN.fit(dataset, neighbours=41, shrinkage=shrinkage)
    scores = recommender.score(
        recommender.adapt(show(dataset, [9, 1, 4], [1.0, 9.0, 0.1])), dataset.catalogue()
    )
    np.testing.assert_allclose(scores[0].numpy(), similarity @ x, atol=1e-5)


def test_a_rating_score_averages_the_deviations_of_the_nearest_who_rated_it():
    dataset = synthetic_world(50, 20).dataset
    rest = dataset.with_values(dataset.interactions.values - 3.0)
    x = rest.interactions.to_csr().toarray()
    rated = dataset.implicit().interactions.to_csr().toarray()
    own = np.zeros((1, 20))
    own[0, [2, 5, 11]] = [1.5, -0.5, -2.0]
    similarity = nearest(x, own, 7, 3.0)
    recommender = UserKNNRating.fit(rest, neighbours=7, shrinkage=3.0, damping=0.5)
    scores = recommender.score(recommender.adapt(show(rest, [2, 5, 11], [1.5, -0.5, -2.0])), rest.catalogue())
    expected = (similarity @ x) / (similarity @ rated + 0.5)
    np.testing.assert_allclose(scores[0].numpy(), expected, atol=1e-5)


def test_unlike_users_have_no_say():
    dataset = synthetic_world(50, 20).dataset
    rest = dataset.with_values(dataset.interactions.values - 3.0)
    recommender = UserKNNRating.fit(rest, neighbours=50)
    near = recommender.crowd.nearest(torch.tensor([[2]]), torch.tensor([[True]]), torch.tensor([[2.0]]))
    assert near.nnz > 0
    assert (near.data > 0).all()
    raters = rest.interactions.users()[(rest.interactions.items == 2) & (rest.interactions.values > 0)]
    assert set(near.indices) == set(raters.tolist())


def test_blocks_of_similarities_equal_one_block(monkeypatch):
    dataset = synthetic_world(50, 20).dataset
    rest = dataset.with_values(dataset.interactions.values - 3.0)
    recommender = UserKNNRating.fit(rest, neighbours=7)
    ids = torch.arange(20).view(10, 2)
    shown = Feedback(rest.items_at(ids), torch.linspace(-2, 2, 20).view(10, 2), ids >= 0)
    whole = recommender.adapt(shown)["scores"]
    monkeypatch.setattr(user_knn, "_BLOCK", 150)  # three users at a time
    assert torch.equal(recommender.adapt(shown)["scores"], whole)
    assert whole.abs().sum() > 0


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(UserInputError, match="needs neighbours above 0; found 0"):
        UserKNN.fit(synthetic_world(30, 10, explicit=False).dataset, neighbours=0)
    with pytest.raises(UserInputError, match="needs damping above 0; found 0"):
        UserKNNRating.fit(synthetic_world(30, 10).dataset, damping=0)
