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


def test_a_thousand_plays_count_more_than_one_but_do_not_drown_everything():
    dataset = synthetic_world(60, 20, explicit=False).dataset
    head = replace(SMALL, epochs=2).fit(dataset)
    support = user_tasks(dataset, torch.arange(1), query=2, generator=torch.Generator().manual_seed(0))
    support = support.batch(torch.arange(1)).support
    _, noise = head.evidence(head.encode(support.items), replace(support, values=support.values * 1000))
    _, once = head.evidence(head.encode(support.items), support)
    ratio = (noise / once)[support.mask]
    assert torch.allclose(ratio, torch.full_like(ratio, 1 + np.log(1000)), rtol=1e-4)


def test_the_sampled_softmax_learns_nearly_what_the_full_one_does():
    """Its scores agree with the full softmax's; a sample that over-weights what is popular would not."""
    dataset = synthetic_world(150, 60, events=(8, 20), explicit=False, seed=2).dataset
    learner = replace(SMALL, epochs=25)
    tasks = user_tasks(dataset, torch.arange(30), query=4, generator=torch.Generator().manual_seed(0))
    support, catalogue = tasks.batch(torch.arange(30)).support, dataset.catalogue()
    heads = [learner.fit(dataset), replace(learner, candidates=30).fit(dataset)]
    full, sampled = (h.score(h.adapt(support), catalogue) for h in heads)
    assert torch.corrcoef(torch.stack([full.flatten(), sampled.flatten()]))[0, 1] > 0.9
    full, sampled = (h.encode(catalogue).base for h in heads)
    slope = torch.cov(torch.stack([full, sampled]))[0, 1] / full.var()
    assert 0.75 < slope < 1.25
