from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import Ridge

from acclimate.data import FeatureTable, Feedback, Items, synthetic_world
from acclimate.errors import UserInputError
from acclimate.models import (
    Attributable,
    ContentProfile,
    ContentRidge,
    Incremental,
    Retrieval,
    content,
)
from acclimate.testing import RecommenderLaws


class TestContentRidge(RecommenderLaws):
    def make(self, world):
        return ContentRidge.fit(world.dataset)


class TestContentProfile(RecommenderLaws):
    explicit = False

    def make(self, world):
        return ContentProfile.fit(world.dataset)


def show(items, values):
    return Feedback(
        Items(items.ids[None], {n: x[None] for n, x in items.fields.items()}),
        torch.tensor([values]),
        torch.ones(1, len(values), dtype=torch.bool),
    )


def with_fields(dataset, frame, kinds=None):
    return replace(dataset, items=FeatureTable.from_frame(frame, kinds))


def test_capabilities():
    world = synthetic_world(30, 10)
    for capability in (Attributable, Retrieval):
        assert isinstance(ContentRidge.fit(world.dataset), capability)
    for capability in (Attributable, Retrieval, Incremental):
        assert isinstance(ContentProfile.fit(world.dataset), capability)


def test_the_common_weights_are_a_weighted_ridge_regression_of_the_item_means():
    dataset = synthetic_world(80, 30).dataset
    recommender = ContentRidge.fit(dataset, item_damping=7.0, item_regularisation=3.0)
    inter = dataset.interactions
    features = recommender.item_vectors(dataset.catalogue()).numpy().astype(float)
    count = np.bincount(inter.items, minlength=30)
    total = np.bincount(inter.items, weights=inter.values.double(), minlength=30)
    overall = float(inter.values.double().mean())
    ridge = Ridge(alpha=3.0, fit_intercept=False, solver="cholesky")
    ridge.fit(features, total / count - overall, sample_weight=count / (count + 7.0))
    expected = ridge.coef_ + overall * (np.arange(features.shape[1]) == 0)
    np.testing.assert_allclose(recommender.weights.numpy(), expected, atol=1e-5)


def test_a_users_weights_are_a_ridge_regression_around_the_common_ones():
    dataset = synthetic_world(80, 30).dataset
    recommender = ContentRidge.fit(dataset, regularisation=5.0, offset_regularisation=2.0)
    rows = torch.tensor([3, 8, 9, 20])
    values = [5.0, 1.0, 4.0, 2.5]
    features = recommender.item_vectors(dataset.items_at(rows)).double().numpy()
    common = recommender.weights.double().numpy()
    penalty = np.diag([2.0] + [5.0] * (len(common) - 1))
    error = np.array(values) - features @ common
    expected = common + np.linalg.solve(features.T @ features + penalty, features.T @ error)
    state = recommender.adapt(show(dataset.items_at(rows), values))
    np.testing.assert_allclose(state["weights"][0].numpy(), expected, atol=1e-4)


def test_ids_play_no_part():
    for kind in (ContentRidge, ContentProfile):
        dataset = synthetic_world(80, 30).dataset
        recommender = kind.fit(dataset)
        known = dataset.items_at(torch.arange(12))
        strangers = Items(torch.full((12,), -1), known.fields)
        items = dataset.items_at(torch.arange(12, 30))
        values = torch.linspace(1, 5, 12).tolist()
        of_known = recommender.score(recommender.adapt(show(known, values)), items)
        of_strangers = recommender.score(recommender.adapt(show(strangers, values)), items)
        assert torch.equal(of_known, of_strangers)
        assert float(of_known.std()) > 0.01


def test_many_users_are_adapted_in_parts_without_a_difference(monkeypatch):
    world = synthetic_world(80, 30)
    recommender = ContentRidge.fit(world.dataset)
    inter = world.dataset.interactions
    ids = torch.stack([inter.items[inter.offsets[u] : inter.offsets[u] + 5] for u in range(80)])
    shown = Feedback(world.dataset.items_at(ids), torch.rand(80, 5), torch.ones(80, 5, dtype=torch.bool))
    whole = recommender.adapt(shown)["weights"]
    monkeypatch.setattr(content, "_BLOCK", 300)
    torch.testing.assert_close(recommender.adapt(shown)["weights"], whole)


def test_a_profile_prefers_the_genre_shown_and_rare_genres_weigh_more():
    genres = ["war"] * 2 + ["drama"] * 7 + ["war|drama"]
    dataset = synthetic_world(30, 10, explicit=False).dataset
    dataset = with_fields(dataset, pl.DataFrame({"genre": genres}), {"genre": "multi"})
    recommender = ContentProfile.fit(dataset)
    names = recommender.rows.names()
    assert recommender.rarity[names.index("genre=war")] == pytest.approx(np.log(11 / 4))
    assert recommender.rarity[names.index("genre=drama")] == pytest.approx(np.log(11 / 9))
    scores = recommender.score(
        recommender.adapt(show(dataset.items_at(torch.tensor([0])), [1.0])), dataset.catalogue()
    )
    war, drama = np.log(11 / 4), np.log(11 / 9)
    mixed = war / np.hypot(war, drama)
    assert scores[0].tolist() == pytest.approx([1.0, 1.0] + [0.0] * 7 + [mixed], abs=1e-6)


def test_a_value_repeated_in_a_multi_field_counts_once():
    dataset = synthetic_world(30, 4, events=(2, 4), explicit=False).dataset
    frame = pl.DataFrame({"genre": ["war|war|drama", "war|drama", "drama", "comedy"]})
    dataset = with_fields(dataset, frame, {"genre": "multi"})
    recommender = ContentProfile.fit(dataset)
    vectors = recommender.item_vectors(dataset.catalogue())
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(vectors[0], vectors[1])


def test_items_without_fields_are_refused_in_words():
    dataset = replace(synthetic_world(30, 10).dataset, items=FeatureTable.empty(10))
    for kind in (ContentRidge, ContentProfile):
        with pytest.raises(UserInputError, match="needs fields of the items"):
            kind.fit(dataset)
