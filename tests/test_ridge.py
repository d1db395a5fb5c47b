from dataclasses import replace

import numpy as np
import pytest
import torch

from acclimate.data import Feedback, Items, synthetic_world, user_tasks
from acclimate.errors import NotConvergedError, UserInputError
from acclimate.learners.base import Run
from acclimate.learners.ridge import Ridge
from acclimate.tensors import map_tensors, named_tensors
from acclimate.testing import RecommenderLaws, assert_close

SMALL = Ridge(embedding_size=6, support=(1, 12), query=10, epochs=15, batch_size=20, outer_lr=0.02)


class TestRidgeHead(RecommenderLaws):
    def make(self, world):
        return SMALL.fit(world.dataset)


@pytest.fixture(scope="module")
def world():
    return synthetic_world(120, 40, events=(8, 20), seed=1)


@pytest.fixture(scope="module")
def head(world):
    return SMALL.fit(world.dataset)


@pytest.fixture(scope="module")
def tasks(world):
    generator = torch.Generator().manual_seed(0)
    return user_tasks(world.dataset, torch.arange(20), query=4, generator=generator)


def test_the_posterior_is_the_one_of_the_normal_equations(head, world, tasks):
    support = tasks.batch(torch.arange(20)).support
    state = head.adapt(support)
    catalogue = world.dataset.catalogue()
    phi, _, base = (x.double().numpy() for x in head.encode(catalogue))
    precision, noise = (
        np.diag(head.log_precision.double().exp().numpy()),
        float(head.log_noise.double().exp()),
    )
    scores, deviation = head.score(state, catalogue), head.deviation(state, catalogue)
    for u in range(20):
        real = support.mask[u].numpy()
        seen, ratings = support.items.ids[u].numpy()[real], support.values[u].double().numpy()[real]
        prior = head.prior_mean(support)[u].double().numpy()
        a = precision + noise * phi[seen].T @ phi[seen]
        weights = np.linalg.solve(a, precision @ prior + noise * phi[seen].T @ (ratings - base[seen]))
        np.testing.assert_allclose(scores[u].numpy(), base + phi @ weights, atol=2e-4)
        variance = np.einsum("nd,de,ne->n", phi, np.linalg.inv(a), phi)
        np.testing.assert_allclose(deviation[u].numpy(), np.sqrt(variance), rtol=1e-3)


def test_gradients_through_the_solve_equal_finite_differences(head, tasks):
    exact = map_tensors(head, lambda x: x.double() if x.is_floating_point() else x)
    batch = tasks.batch(torch.arange(4))
    support = map_tensors(batch.support, lambda x: x.double() if x.is_floating_point() else x)
    where, asked = batch.support.items, batch.query.items

    def loss(ids, log_precision, log_noise):
        changed = replace(
            exact,
            vectors=replace(exact.vectors, ids=ids, fields=exact.vectors.fields),
            log_precision=log_precision,
            log_noise=log_noise,
        )
        state = changed.posterior(changed.encode(where), support)
        return changed.predict(state, changed.encode(asked)).square().sum()

    inputs = [exact.vectors.ids, exact.log_precision, exact.log_noise]
    assert torch.autograd.gradcheck(
        loss, [x.clone().requires_grad_() for x in inputs], fast_mode=True, atol=1e-4, rtol=1e-3
    )


def test_user_fields_inform_somebody_without_a_single_rating(head, world):
    groups = world.dataset.users.columns["group"]
    nobody = torch.zeros(3, 0)
    ids = nobody.long()
    empty = Items(ids, world.dataset.items.gather(ids))
    support = Feedback(empty, nobody, nobody.bool(), user={"group": torch.tensor([1, 2, 3])})
    scores = head.score(head.adapt(support), world.dataset.catalogue())
    mean_truth = torch.stack([world.truth[groups == g].mean(0) for g in (1, 2, 3)])
    own = torch.stack([torch.corrcoef(torch.stack([scores[g], mean_truth[g]]))[0, 1] for g in range(3)])
    assert (own > 0.5).all()
    assert not torch.allclose(scores[0], scores[1], atol=0.05)


def test_one_seed_gives_one_result_and_another_seed_another(world):
    quick = Ridge(embedding_size=4, epochs=2, batch_size=40)
    first, again, other = (dict(named_tensors(quick.fit(world.dataset, run=Run(seed=s)))) for s in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["vectors.ids"], other["vectors.ids"])


def test_the_global_random_state_is_neither_read_nor_moved(world):
    quick = Ridge(embedding_size=4, epochs=1, batch_size=40)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = quick.fit(world.dataset)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(quick.fit(world.dataset).vectors.ids, first.vectors.ids)


def test_it_learns_more_than_the_base_line(world, head, tasks):
    batch = tasks.batch(torch.arange(20))
    predicted = head.score(head.adapt(batch.support), batch.query.items)
    base = head.encode(batch.query.items).base
    truth, mask = batch.query.values, batch.query.mask
    assert (predicted - truth)[mask].abs().mean() < 0.8 * (base - truth)[mask].abs().mean()


def test_choices_are_refused_with_the_cure():
    with pytest.raises(UserInputError, match="implicit_ridge"):
        Ridge().fit(synthetic_world(20, 10, explicit=False).dataset)


def test_divergence_is_named_with_its_step(world):
    with pytest.raises(NotConvergedError, match="diverged at step") as caught:
        Ridge(epochs=3, outer_lr=1e20).fit(world.dataset)
    assert caught.value.step >= 1
    assert caught.value.last_loss is not None


def test_updating_keeps_the_prior_of_the_state_it_was_given(head, world, tasks):
    support = tasks.batch(torch.arange(5)).support
    state = head.adapt(support)
    anonymous = type(support)(support.items, support.values, support.mask, support.times, {})
    assert_close(head.update(state, anonymous)["mean"], state["mean"])


@pytest.mark.parametrize("scale", [0.05, 20.0])
def test_ratings_on_another_scale_are_learned_as_well(world, head, tasks, scale):
    dataset = world.dataset
    ratings = dataset.interactions.values
    low, high = dataset.value_range
    stretched = replace(dataset.with_values(ratings * scale), value_range=(low * scale, high * scale))
    other = SMALL.fit(stretched)
    support = tasks.batch(torch.arange(20)).support
    state = head.adapt(support)
    state_other = other.adapt(replace(support, values=support.values * scale))
    catalogue = dataset.catalogue()
    assert_close(other.score(state_other, catalogue) / scale, head.score(state, catalogue), 2e-2)
    deviation = head.deviation(state, catalogue)
    assert_close(other.deviation(state_other, catalogue) / scale, deviation, 2e-2)


def test_the_deviation_expects_the_errors_that_people_never_seen_have():
    world = synthetic_world(400, 40, events=(10, 20), seed=5)
    head = replace(SMALL, epochs=20).fit(world.dataset.select_users(torch.arange(300)))
    generator = torch.Generator().manual_seed(0)
    tasks = user_tasks(world.dataset, torch.arange(300, 400), query=5, max_support=5, generator=generator)
    batch = tasks.batch(torch.arange(len(tasks)))
    state = head.adapt(batch.support)
    error = head.score(state, batch.query.items) - batch.query.values
    expected = head.deviation(state, batch.query.items).square() + torch.exp(-head.log_noise)
    ratio = float((error.square() / expected)[batch.query.mask].mean())
    assert 0.6 < ratio < 1.6
