import numpy as np
import pytest
import torch

from acclimate.data import Feedback, synthetic_world
from acclimate.errors import UserInputError
from acclimate.models import IALS, Attributable, Incremental, Retrieval, Uncertain
from acclimate.testing import RecommenderLaws


def fit(dataset, **settings):
    settings = {"embedding_size": 6, "regularisation": 1.0, "exponent": 0.0, **settings}
    return IALS.fit(dataset, generator=torch.Generator().manual_seed(0), **settings)


class TestIALS(RecommenderLaws):
    explicit = False

    def make(self, world):
        return fit(world.dataset)


class TestFrequencyScaledIALS(RecommenderLaws):
    explicit = False

    def make(self, world):
        return fit(world.dataset, regularisation=0.05, exponent=1.0)


class TestWeightedIALS(RecommenderLaws):
    explicit = False

    def make(self, world):
        return fit(world.dataset, weighted=True)


def loss(x, p, q, *, unobserved, regularisation, exponent):
    """Eq. 6 of Rendle et al. 2022, written out over every pair."""
    scores = p @ q.T
    fit = (x * (1 - scores) ** 2).sum() + unobserved * (scores**2).sum()
    users = (x.sum(1) + unobserved * x.shape[1]) ** exponent
    items = (x.sum(0) + unobserved * x.shape[0]) ** exponent
    return fit + regularisation * ((users[:, None] * p**2).sum() + (items[:, None] * q**2).sum())


def fold_in(x, q, unobserved, ridge):
    """Every user's vector by the dense normal equations of Hu et al. 2008, eq. 4."""
    gram = unobserved * q.T @ q + ridge * np.eye(q.shape[1])
    return np.stack([np.linalg.solve(gram + (q * row[:, None]).T @ q, q.T @ row) for row in x])


def test_it_can_do_everything():
    recommender = fit(synthetic_world(30, 10, explicit=False).dataset)
    for capability in (Attributable, Incremental, Retrieval, Uncertain):
        assert isinstance(recommender, capability)


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_every_round_lowers_the_loss(exponent):
    dataset = synthetic_world(50, 20, explicit=False).dataset
    x = dataset.interactions.to_csr().toarray().astype(float)
    values = []
    for epochs in (1, 2, 4, 8):
        q = fit(dataset, exponent=exponent, regularisation=0.1, epochs=epochs).factors.numpy().astype(float)
        ridge = 0.1 * (x.sum(1) + 0.1 * 20) ** exponent
        p = np.stack([fold_in(row[None], q, 0.1, r)[0] for row, r in zip(x, ridge, strict=True)])
        values.append(loss(x, p, q, unobserved=0.1, regularisation=0.1, exponent=exponent))
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.9 * values[0]


def test_at_the_fixed_point_items_solve_their_own_normal_equations():
    dataset = synthetic_world(50, 20, explicit=False).dataset
    x = dataset.interactions.to_csr().toarray().astype(float)
    q = fit(dataset, regularisation=0.5, epochs=300).factors.numpy().astype(float)
    p = fold_in(x, q, 0.1, 0.5)
    np.testing.assert_allclose(fold_in(x.T, p, 0.1, 0.5), q, atol=2e-3)


def test_somebody_new_is_folded_in_by_the_normal_equations():
    dataset = synthetic_world(50, 20, explicit=False).dataset
    recommender = fit(dataset, unobserved=0.2, prior=3.0)
    ids = torch.tensor([[2, 5, 11]])
    shown = Feedback(dataset.items_at(ids), torch.ones(1, 3), torch.ones_like(ids, dtype=torch.bool))
    row = np.zeros((1, 20))
    row[0, [2, 5, 11]] = 1
    q = recommender.factors.numpy().astype(float)
    expected = fold_in(row, q, 0.2, 3.0 * 1.0) @ q.T
    scores = recommender.score(recommender.adapt(shown), dataset.catalogue())
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-5)


def test_weights_count_an_event_as_often_as_its_value_says():
    dataset = synthetic_world(50, 20, explicit=False).dataset
    recommender = fit(dataset, weighted=True)
    double = Feedback(dataset.items_at(torch.tensor([[4]])), torch.tensor([[2.0]]), torch.tensor([[True]]))
    twice = Feedback(
        dataset.items_at(torch.tensor([[4, 4]])), torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool)
    )
    items = dataset.catalogue()
    torch.testing.assert_close(
        recommender.score(recommender.adapt(double), items),
        recommender.score(recommender.adapt(twice), items),
    )
    plain = fit(dataset)
    once = Feedback(double.items, torch.ones(1, 1), double.mask)
    torch.testing.assert_close(plain.adapt(double)["weights"], plain.adapt(once)["weights"])


def test_an_item_nobody_chose_scores_nothing():
    dataset = synthetic_world(50, 20, explicit=False).dataset
    recommender = fit(dataset.keep(dataset.interactions.items != 3))
    assert (recommender.factors[3] == 0).all()


def test_negative_strengths_and_meaningless_settings_are_refused():
    dataset = synthetic_world(30, 10, explicit=False).dataset
    with pytest.raises(UserInputError, match="strengths of at least 0; found -1"):
        fit(dataset.with_values(-torch.ones(len(dataset.interactions))), weighted=True)
    with pytest.raises(UserInputError, match="needs unobserved above 0; found 0"):
        fit(dataset, unobserved=0)
