"""One person's posterior from tables equals the batched one from tensors, and is a matter of microseconds."""

import numpy as np
import pytest
import torch

from acclimate.data import Feedback, synthetic_world
from acclimate.learners.implicit_ridge import ImplicitRidge
from acclimate.learners.ridge import Ridge
from acclimate.models import ALS, IALS, ClosedForm, ItemKNN, Tabular


def fitted(explicit, weighted=False):
    world = synthetic_world(120, 60, events=(8, 20), explicit=explicit, seed=1)
    small = {"embedding_size": 6, "epochs": 8, "batch_size": 20}
    if explicit:
        return Ridge(**small).fit(world.dataset), world.dataset
    head = ImplicitRidge(**small).fit(world.dataset)
    return type(head)(**{**head.__dict__, "weighted": weighted}), world.dataset


HEADS = {
    "ridge": lambda: fitted(True),
    "implicit ridge": lambda: fitted(False),
    "implicit ridge, weighted": lambda: fitted(False, weighted=True),
}


@pytest.fixture(scope="module", params=HEADS)
def head(request):
    return HEADS[request.param]()


def support(dataset, rows, values):
    """One person without fields who met some items."""
    items = dataset.items_at(torch.from_numpy(rows)[None])
    return Feedback(items, torch.from_numpy(values)[None], torch.ones(1, len(rows), dtype=torch.bool))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 8, 60, 500])
def test_it_is_the_posterior_of_the_tensors_for_any_number_of_events(head, n):
    recommender, dataset = head
    table = recommender.tabulate(dataset.catalogue())
    rng = np.random.default_rng(n)
    rows, values = rng.integers(0, 60, n), rng.uniform(0.2, 5, n).astype(np.float32)
    state = recommender.adapt(support(dataset, rows, values))
    vector = table.vector(rows, values)
    assert vector.shape == (table.vectors.shape[1],)
    assert vector[-1] == 1
    np.testing.assert_allclose(vector, recommender.user_vectors(state)[0].numpy(), rtol=1e-3, atol=2e-4)
    deviation = table.deviation(rows, values, np.array([5, 0, 5]))
    wanted = recommender.deviation(state, dataset.items_at(torch.tensor([5, 0, 5])))[0].numpy()
    np.testing.assert_allclose(deviation, wanted, rtol=1e-3)


def test_both_forms_of_the_solution_agree_and_equal_normal_equations():
    rng = np.random.default_rng(0)
    d, n = 8, 40
    vectors = rng.normal(size=(n, d + 1)).astype(np.float32)
    root = rng.normal(size=(d, d))
    precision, prior = root @ root.T + 0.1 * np.eye(d), rng.normal(size=d)
    strengths = rng.uniform(0, 2, n)

    def evidence(base, values):
        return values - base, np.abs(values)

    table = ClosedForm.create(vectors[:, :-1], vectors, precision, prior, evidence)
    for s in (1, 3, 4, 5, 30):
        rows = rng.integers(0, n, s)
        values = strengths[rows].astype(np.float32)
        phi, t = vectors[rows, :-1].astype(float), values.astype(float)
        y = t - vectors[rows, -1]
        a = precision + phi.T @ (t[:, None] * phi)
        weights = prior + np.linalg.solve(a, phi.T @ (t * (y - phi @ prior)))
        np.testing.assert_allclose(table.vector(rows, values)[:-1], weights, rtol=1e-5, atol=1e-6)
        variance = np.einsum("nd,de,ne->n", vectors[:, :-1], np.linalg.inv(a), vectors[:, :-1])
        np.testing.assert_allclose(table.deviation(rows, values, np.arange(n)), np.sqrt(variance), rtol=1e-5)


def test_a_prior_mean_takes_the_place_of_nobodys():
    recommender, dataset = HEADS["ridge"]()
    table = recommender.tabulate(dataset.catalogue())
    rows, values = np.array([3, 7]), np.array([5, 1], dtype=np.float32)
    prior = np.linspace(-1, 1, len(table.prior))
    assert not np.allclose(table.vector(rows, values, prior), table.vector(rows, values))
    np.testing.assert_array_equal(table.vector(rows, values, table.prior), table.vector(rows, values))
    np.testing.assert_allclose(table.vector(rows[:0], values[:0], prior)[:-1], prior, rtol=1e-6)


def test_an_event_of_no_strength_says_nothing():
    recommender, dataset = HEADS["implicit ridge, weighted"]()
    table = recommender.tabulate(dataset.catalogue())
    rows, values = np.array([3, 7]), np.array([2, 0], dtype=np.float32)
    np.testing.assert_allclose(table.vector(rows, values), table.vector(rows[:1], values[:1]), rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 3, 40])
def test_contributions_are_those_of_the_tensors(head, n):
    recommender, dataset = head
    table = recommender.tabulate(dataset.catalogue())
    rng = np.random.default_rng(n)
    rows, values = rng.permutation(60)[:n], rng.uniform(0.2, 5, n).astype(np.float32)
    of = np.array([5, 0])
    wanted = recommender.contributions(support(dataset, rows, values), dataset.items_at(torch.from_numpy(of)))
    found = table.contributions(rows, values, of)
    assert found.shape == (2, n)
    np.testing.assert_allclose(found, wanted[0].numpy(), rtol=1e-3, atol=2e-4)


def test_contributions_sum_to_the_score_whatever_the_strengths_and_the_prior_mean():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 9)).astype(np.float32)

    def evidence(base, values):
        return np.ones(len(values)), values / 0.01

    table = ClosedForm.create(vectors[:, :-1], vectors, np.eye(8), np.zeros(8), evidence)
    rows, of, mean = np.arange(20), np.array([3, 25]), rng.normal(size=8)
    values = np.array([1e9, 1e-300, 1.0, 1e-30] * 5, dtype=np.float32)
    prior = vectors[of] @ table.vector(rows[:0], values[:0], mean)
    total = vectors[of] @ table.vector(rows, values, mean)
    added = table.contributions(rows, values, of, mean)
    np.testing.assert_allclose(prior + added.sum(1), total, rtol=1e-4)


def test_tables_do_not_keep_inputs_twice():
    recommender, dataset = HEADS["ridge"]()
    table = recommender.tabulate(dataset.catalogue())
    assert np.shares_memory(table.inputs, table.vectors)


def test_a_large_catalogue_is_tabulated_in_parts(head, monkeypatch):
    recommender, dataset = head
    whole = recommender.tabulate(dataset.catalogue())
    monkeypatch.setattr("acclimate.models.gaussian._TABLE_CHUNK", 7)
    parts = recommender.tabulate(dataset.catalogue())
    np.testing.assert_allclose(parts.vectors, whole.vectors, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(parts.inputs, whole.inputs, rtol=1e-6, atol=1e-6)
    assert recommender.tabulate(dataset.items_at(torch.arange(0))).n_items == 0


def test_every_gaussian_head_is_tabular_and_neighbours_are_not():
    assert isinstance(HEADS["ridge"]()[0], Tabular)
    assert issubclass(ALS, Tabular)
    assert issubclass(IALS, Tabular)
    assert not issubclass(ItemKNN, Tabular)
