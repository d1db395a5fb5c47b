from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from acclimate.data import Feedback, Interactions, synthetic_world
from acclimate.errors import UserInputError
from acclimate.models import Attributable, Incremental, ItemKNN, ItemKNNRating, item_knn
from acclimate.testing import RecommenderLaws


class TestItemKNN(RecommenderLaws):
    explicit = False

    def make(self, world):
        return ItemKNN.fit(world.dataset, neighbours=20)


class TestItemKNNRating(RecommenderLaws):
    def make(self, world):
        return ItemKNNRating.fit(world.dataset, neighbours=20)


def matrix(dataset):
    return dataset.interactions.to_csr().toarray()


def weights(neighbours):
    """Dense [targets, sources]."""
    ids = torch.arange(neighbours.n_items)[:, None]
    return neighbours.spread(ids, ids >= 0, torch.ones_like(ids).float()).T.numpy()


def show(dataset, ids, values):
    ids = torch.tensor([ids])
    return Feedback(dataset.items_at(ids), torch.tensor([values]), torch.ones_like(ids, dtype=torch.bool))


def test_it_is_attributable_and_incremental():
    for kind, explicit in ((ItemKNN, False), (ItemKNNRating, True)):
        recommender = kind.fit(synthetic_world(30, 10, explicit=explicit).dataset)
        assert isinstance(recommender, Attributable)
        assert isinstance(recommender, Incremental)


def test_without_shrinkage_similarities_are_cosines():
    dataset = synthetic_world(60, 15, explicit=False).dataset
    dense = weights(ItemKNN.fit(dataset, neighbours=15, shrinkage=0.0).neighbours)
    expected = cosine_similarity(matrix(dataset).T)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(dense, expected, atol=1e-6)


def test_a_pair_that_repeats_adds_up_and_no_cosine_exceeds_one():
    users, items = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1])
    dataset = replace(
        synthetic_world(2, 2, events=(1, 2), explicit=False).dataset,
        interactions=Interactions.from_columns(users, items),
    )
    dense = weights(ItemKNN.fit(dataset, neighbours=1, shrinkage=0.0).neighbours)
    # The columns are (2, 0) and (1, 1).
    assert dense[0, 1] == pytest.approx(2 / (2 * 2**0.5))


def test_each_item_keeps_its_own_nearest_and_shrinkage_doubts_rare_pairs():
    dataset = synthetic_world(60, 15, explicit=False).dataset
    dense = weights(ItemKNN.fit(dataset, neighbours=3, shrinkage=7.0).neighbours)
    x = matrix(dataset)
    norms = np.linalg.norm(x, axis=0)
    full = (x.T @ x) / (np.outer(norms, norms) + 7.0)
    np.fill_diagonal(full, 0.0)
    for target in range(15):
        nearest = np.sort(np.argsort(-full[target], kind="stable")[:3])
        assert np.count_nonzero(dense[target]) == 3
        np.testing.assert_allclose(np.sort(dense[target])[-3:], np.sort(full[target][nearest]), rtol=1e-5)


def test_blocks_of_similarities_equal_one_block(monkeypatch):
    dataset = synthetic_world(60, 15).dataset
    whole = weights(ItemKNNRating.fit(dataset, neighbours=4).neighbours)
    monkeypatch.setattr(item_knn, "_BLOCK", 40)
    parts = weights(ItemKNNRating.fit(dataset, neighbours=4).neighbours)
    np.testing.assert_array_equal(parts, whole)


def test_a_rank_score_sums_similarities_whatever_the_values():
    dataset = synthetic_world(60, 15, explicit=False).dataset
    recommender = ItemKNN.fit(dataset, neighbours=15, shrinkage=5.0)
    dense = weights(recommender.neighbours)
    scores = recommender.score(recommender.adapt(show(dataset, [3, 8], [5.0, 0.5])), dataset.catalogue())
    np.testing.assert_allclose(scores[0].numpy(), dense[:, 3] + dense[:, 8], rtol=1e-5)


def test_a_rating_score_is_the_damped_weighted_average():
    dataset = synthetic_world(60, 15).dataset
    rest = dataset.with_values(dataset.interactions.values - 3.0)
    recommender = ItemKNNRating.fit(rest, neighbours=15, shrinkage=5.0, damping=0.25)
    dense = weights(recommender.neighbours)
    assert (dense >= 0).all()
    scores = recommender.score(recommender.adapt(show(rest, [3, 8], [2.0, -1.0])), rest.catalogue())
    expected = (2 * dense[:, 3] - dense[:, 8]) / (dense[:, 3] + dense[:, 8] + 0.25)
    np.testing.assert_allclose(scores[0].numpy(), expected, atol=1e-6)


def test_settings_and_data_that_do_not_fit_are_refused():
    dataset = synthetic_world(30, 10, explicit=False).dataset
    with pytest.raises(UserInputError, match="needs neighbours above 0; found 0"):
        ItemKNN.fit(dataset, neighbours=0)
    with pytest.raises(UserInputError, match="needs shrinkage of at least 0; found -1"):
        ItemKNN.fit(dataset, shrinkage=-1)
    with pytest.raises(UserInputError, match="holds implicit events"):
        ItemKNNRating.fit(dataset)
