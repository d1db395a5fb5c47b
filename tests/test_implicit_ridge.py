from dataclasses import replace

import numpy as np
import torch

from acclimate.data import Interactions, synthetic_world, user_tasks
from acclimate.encoders import spectral_vectors
from acclimate.learners.base import Run
from acclimate.learners.implicit_ridge import ImplicitRidge
from acclimate.tensors import named_tensors
from acclimate.testing import RecommenderLaws

SMALL = ImplicitRidge(embedding_size=6, support=(1, 12), query=10, epochs=15, batch_size=20, outer_lr=0.02)


class TestImplicitRidge(RecommenderLaws):
    explicit = False

    def make(self, world):
        return SMALL.fit(world.dataset)


class TestImplicitRidgeWithSampledSoftmax(RecommenderLaws):
    explicit = False

    def make(self, world):
        return replace(SMALL, candidates=30).fit(world.dataset)


def test_the_weights_minimise_the_weighted_squares_over_the_whole_catalogue():
    dataset = synthetic_world(100, 30, events=(6, 15), explicit=False).dataset
    head = SMALL.fit(dataset)
    catalogue = dataset.catalogue()
    tasks = user_tasks(dataset, torch.arange(10), query=3, generator=torch.Generator().manual_seed(0))
    support = tasks.batch(torch.arange(10)).support
    phi, psi, base = (x.double().numpy() for x in head.encode(catalogue))
    confidence, weight = float(head.log_confidence.exp()), float(head.log_gram.exp())
    precision = np.diag(head.log_precision.double().exp().numpy()) + weight * phi.T @ phi / len(phi)
    scores = head.score(head.adapt(support), catalogue)
    for u in range(10):
        chosen = phi[support.items.ids[u].numpy()[support.mask[u].numpy()]]
        prior = head.prior_mean(support)[u].double().numpy()
        right = precision @ prior + confidence * chosen.sum(0)
        weights = np.linalg.solve(precision + confidence * chosen.T @ chosen, right)
        np.testing.assert_allclose(scores[u].numpy(), base + psi @ weights, atol=1e-3)


def test_a_rating_dataset_is_taken_as_choices_whatever_the_ratings():
    dataset = synthetic_world(60, 20).dataset
    quick = replace(SMALL, epochs=2)
    one = dict(named_tensors(quick.fit(dataset, run=Run(seed=1))))
    other = dict(
        named_tensors(quick.fit(dataset.with_values(6 - dataset.interactions.values), run=Run(seed=1)))
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_item_shown_and_asked_does_not_break_training():
    users = torch.arange(30).repeat_interleave(6)
    items = torch.arange(180) % 3  # everybody chooses the same three items twice
    repeated = Interactions.from_columns(users, items, n_items=8)
    dataset = replace(synthetic_world(30, 8, explicit=False, events=(2, 5)).dataset, interactions=repeated)
    head = replace(SMALL, epochs=3).fit(dataset)
    assert all(value.isfinite().all() for _, value in named_tensors(head))


def test_spectral_vectors_are_the_singular_vectors_of_the_normalised_table():
    interactions = synthetic_world(50, 20, explicit=False).dataset.interactions
    table = interactions.to_csr().toarray().astype(float)
    normal = table / np.sqrt(table.sum(1, keepdims=True)) / np.sqrt(np.maximum(table.sum(0), 1))
    _, values, right = np.linalg.svd(normal, full_matrices=False)
    expected = right[:4].T * np.sqrt(values[:4])
    found = spectral_vectors(interactions, 4).numpy()
    ratio = found / expected * expected.std()
    np.testing.assert_allclose(np.abs(ratio), np.abs(ratio).mean(), rtol=1e-4)


def test_spectral_vectors_of_a_table_of_low_rank_leave_the_rest_zero():
    interactions = Interactions.from_columns(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), n_items=5)
    vectors = spectral_vectors(interactions, 8)
    assert vectors.shape == (5, 8)
    assert vectors.isfinite().all()
    assert (vectors[2:] == 0).all()
