import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from acclimate.data import Feedback, synthetic_world
from acclimate.errors import UserInputError
from acclimate.models import ALS, Attributable, Incremental, Retrieval, Uncertain, half_step
from acclimate.models.half_step import Side
from acclimate.testing import RecommenderLaws


class TestALS(RecommenderLaws):
    def make(self, world):
        return ALS.fit(world.dataset, embedding_size=4, generator=torch.Generator().manual_seed(0))


class TestWeightedALS(RecommenderLaws):
    def make(self, world):
        g = torch.Generator().manual_seed(0)
        return ALS.fit(
            world.dataset,
            embedding_size=4,
            regularisation=0.3,
            bias_regularisation=0.3,
            exponent=1.0,
            generator=g,
        )


def fit(dataset, **settings):
    return ALS.fit(dataset, generator=torch.Generator().manual_seed(0), **settings)


def test_it_can_do_everything():
    recommender = fit(synthetic_world(30, 10).dataset)
    for capability in (Attributable, Incremental, Retrieval, Uncertain):
        assert isinstance(recommender, capability)


def test_a_half_step_solves_a_ridge_regression_for_every_row(monkeypatch):
    dataset = synthetic_world(40, 15).dataset
    dataset = dataset.keep(dataset.interactions.users() != 7)
    inter = dataset.interactions
    vectors = torch.randn(15, 3, generator=torch.Generator().manual_seed(1))
    targets = inter.values - 3.0
    weights = torch.rand(len(inter), generator=torch.Generator().manual_seed(2)) + 0.5
    monkeypatch.setattr(half_step, "_BLOCK", 200)  # several blocks
    ridge = torch.full((40, 1), 2.0)
    solved = half_step.half_step(Side.of(inter), vectors, targets, ridge=ridge, weights=weights)
    for user in range(40):
        mine = inter.users() == user
        if user == 7:
            assert (solved[user] == 0).all()
            continue
        model = Ridge(alpha=2.0, fit_intercept=False)
        model.fit(vectors[inter.items[mine]], targets[mine], sample_weight=weights[mine])
        np.testing.assert_allclose(solved[user].numpy(), model.coef_, atol=1e-4)


def test_the_items_half_step_sees_the_same_table_from_the_other_side():
    inter = synthetic_world(40, 15).dataset.interactions
    vectors = torch.randn(40, 3, generator=torch.Generator().manual_seed(1))
    ridge = torch.full((15, 1), 2.0)
    across = half_step.half_step(Side.across(inter), vectors, inter.values, ridge=ridge)
    other = inter.transposed()
    torch.testing.assert_close(
        half_step.half_step(Side.of(other), vectors, other.values, ridge=ridge), across
    )


def test_a_low_rank_world_is_recovered_from_ratings_of_half_its_pairs():
    world = synthetic_world(300, 40, rank=2, events=(20, 20), noise=0.1, seed=2)
    train = world.dataset.select_users(torch.arange(200))
    recommender = fit(train, embedding_size=4, regularisation=0.5, bias_regularisation=0.5)
    inter = world.dataset.select_users(torch.arange(200, 300)).interactions
    ids = inter.items.view(100, 20)
    shown = Feedback(train.items_at(ids), inter.values.view(100, 20), torch.ones_like(ids, dtype=torch.bool))
    scores = recommender.score(recommender.adapt(shown), train.catalogue()).clamp(1, 5)
    truth = world.truth[200:].clamp(1, 5)  # the ratings were
    left_by_means = truth - truth.mean(1, keepdim=True) - truth.mean(0) + truth.mean()
    assert float((scores - truth).square().mean()) < 0.1 * float(left_by_means.square().mean())


def test_somebody_new_is_folded_in_by_ridge_regression():
    dataset = synthetic_world(60, 15).dataset
    recommender = fit(dataset, embedding_size=3, regularisation=4.0, bias_regularisation=4.0, prior=0.5)
    ids, values = torch.tensor([[1, 6, 9, 12]]), torch.tensor([[5.0, 2.0, 4.0, 1.0]])
    shown = Feedback(dataset.items_at(ids), values, torch.ones_like(ids, dtype=torch.bool))
    q, base = recommender.factors.numpy(), recommender.mean + recommender.bias.numpy()
    phi = np.concatenate([np.ones((15, 1)), q], 1)
    model = Ridge(alpha=4.0 * 0.5, fit_intercept=False).fit(phi[ids[0]], values[0].numpy() - base[ids[0]])
    scores = recommender.score(recommender.adapt(shown), dataset.catalogue())
    np.testing.assert_allclose(scores[0].numpy(), base + phi @ model.coef_, atol=1e-4)


def test_the_deviation_is_that_of_the_ridge_posterior():
    dataset = synthetic_world(60, 15).dataset
    recommender = fit(dataset, embedding_size=3)
    ids = torch.tensor([[1, 6, 9, 12]])
    shown = Feedback(dataset.items_at(ids), torch.full((1, 4), 3.0), torch.ones_like(ids, dtype=torch.bool))
    phi = np.concatenate([np.ones((15, 1)), recommender.factors.numpy()], 1)
    precision = phi[ids[0]].T @ phi[ids[0]] / recommender.noise
    precision += np.diag([recommender.bias_precision] + [recommender.precision] * 3)
    expected = np.sqrt(np.einsum("id,de,ie->i", phi, np.linalg.inv(precision), phi))
    got = recommender.deviation(recommender.adapt(shown), dataset.catalogue())
    np.testing.assert_allclose(got[0].numpy(), expected, rtol=1e-4)


def test_weighted_regularisation_is_the_plain_one_times_the_number_of_ratings():
    """On a table where everybody has the same number of ratings, and every item too, the two are one."""
    dataset = synthetic_world(24, 12, events=(12, 12)).dataset
    plain = fit(dataset, embedding_size=2, regularisation=6.0, bias_regularisation=6.0, epochs=3)
    inter = dataset.interactions
    assert (inter.counts() == 12).all()
    assert (inter.item_counts() == 24).all()
    weighted = fit(
        dataset, embedding_size=2, regularisation=0.5, bias_regularisation=0.5, exponent=1.0, epochs=3
    )
    assert weighted.precision * weighted.noise == pytest.approx(plain.precision * plain.noise)
    assert weighted.factors.norm() < plain.factors.norm()  # its items have 24 ratings: twice the penalty


def test_one_seed_one_result_and_another_seed_another():
    dataset = synthetic_world(60, 15).dataset
    first, again = fit(dataset, embedding_size=3), fit(dataset, embedding_size=3)
    assert torch.equal(first.factors, again.factors)
    other = ALS.fit(dataset, embedding_size=3, generator=torch.Generator().manual_seed(1))
    assert not torch.equal(first.factors, other.factors)


def test_settings_that_mean_nothing_are_refused_by_name():
    dataset = synthetic_world(30, 10).dataset
    with pytest.raises(UserInputError, match="needs regularisation above 0; found 0"):
        ALS.fit(dataset, regularisation=0)
    with pytest.raises(UserInputError, match="needs exponent of at least 0; found -1"):
        ALS.fit(dataset, exponent=-1)
