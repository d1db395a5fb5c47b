from dataclasses import replace

import pytest
import torch

from acclimate.data import synthetic_world, user_tasks
from acclimate.errors import UserInputError
from acclimate.learners.aliases import anil, fomaml, maml
from acclimate.models import fast_weights
from acclimate.models.inner_loop import InnerLoop
from acclimate.tensors import map_tensors
from acclimate.testing import RecommenderLaws, assert_close

SMALL = {
    "embedding_size": 8,
    "hidden": (16, 16),
    "support": (1, 12),
    "query": 10,
    "epochs": 15,
    "batch_size": 20,
    "outer_lr": 0.02,
    "id_decay": 0.1,
}


class TestMamlOnRatings(RecommenderLaws):
    def make(self, world):
        return replace(maml(), **SMALL).fit(world.dataset)


class TestMamlOnChoices(RecommenderLaws):
    explicit = False

    def make(self, world):
        return replace(maml(), **SMALL).fit(world.dataset)


class TestFirstOrderMaml(RecommenderLaws):
    def make(self, world):
        return replace(fomaml(), **SMALL).fit(world.dataset)


class TestAnil(RecommenderLaws):
    def make(self, world):
        return replace(anil(), **SMALL).fit(world.dataset)


class TestAnilOnChoices(RecommenderLaws):
    explicit = False

    def make(self, world):
        return replace(anil(), **SMALL).fit(world.dataset)


def quadratic(weights):
    """A loss with a Hessian that depends on the weights, so that second order differs from first."""
    return (weights["a"].square().sum() * weights["b"]).sum() + weights["a"].pow(3).sum()


def after(inner, a, b):
    fast = inner(quadratic, {"a": a, "b": b})
    return (fast["a"].sin() + fast["b"].sum()).sum()


@pytest.mark.parametrize("steps", [1, 3])
def test_second_order_meta_gradients_equal_finite_differences(steps):
    inner = InnerLoop(steps=steps, inner_lr=0.05)
    a = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: after(inner, a, b), (a, b))


def test_first_order_gradients_are_those_with_the_inner_gradient_held_constant():
    a = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    first = torch.autograd.grad(after(InnerLoop(steps=2, inner_lr=0.05, first_order=True), a, b), (a, b))
    second = torch.autograd.grad(after(InnerLoop(steps=2, inner_lr=0.05), a, b), (a, b))
    # Held constant, the fast weights are the slow ones plus a constant: the outer gradient passes unchanged.
    fast = InnerLoop(steps=2, inner_lr=0.05)(quadratic, {"a": a.detach(), "b": b.detach()})
    x, y = fast["a"].clone().requires_grad_(), fast["b"].clone().requires_grad_()
    detached = torch.autograd.grad((x.sin() + y.sum()).sum(), (x, y))
    for got, expected in zip(first, detached, strict=True):
        torch.testing.assert_close(got, expected)
    assert not torch.allclose(first[0], second[0], atol=1e-3)


def test_the_meta_gradient_of_the_whole_recommender_equals_finite_differences():
    """Through vmap, the network and the mask: what a training step really differentiates."""
    dataset = synthetic_world(40, 20, events=(8, 12)).dataset
    model = replace(maml(steps=2), **{**SMALL, "epochs": 1, "hidden": (5,)}).fit(dataset)
    model = map_tensors(model, lambda x: x.double() if x.is_floating_point() else x)
    tasks = user_tasks(dataset, torch.arange(4), query=3, generator=torch.Generator().manual_seed(0))
    batch = tasks.batch(torch.arange(4))
    support = map_tensors(batch.support, lambda x: x.double() if x.is_floating_point() else x)

    encode = model.network.encode
    shown, asked, contrast = encode(batch.support.items), encode(batch.query.items), encode(model.contrast)

    def loss(weight0, weight1):
        layers = {**model.network.layers, "weight0": weight0, "weight1": weight1}
        changed = replace(model, network=replace(model.network, layers=layers))
        users, fast = changed.fast(support, shown, contrast)
        return changed.predict(users, fast, asked).square().sum()

    weights = [model.network.layers[f"weight{k}"].clone().requires_grad_() for k in (0, 1)]
    assert torch.autograd.gradcheck(loss, weights, fast_mode=True, eps=1e-6, atol=1e-4, rtol=1e-3)


def test_batched_adaptation_equals_a_loop_over_users_written_by_hand():
    dataset = synthetic_world(60, 20, events=(6, 12)).dataset
    model = replace(maml(steps=2, inner_lr=0.1), **{**SMALL, "epochs": 3}).fit(dataset)
    tasks = user_tasks(dataset, torch.arange(6), query=3, generator=torch.Generator().manual_seed(0))
    batch = tasks.batch(torch.arange(6))
    scores = model.score(model.adapt(batch.support), batch.query.items)
    slow, network = model.network.layers, model.network
    for u in range(6):
        real = batch.support.mask[u]
        vectors, base = network.encode(batch.support.items[torch.tensor([u])])
        asked, asked_base = network.encode(batch.query.items[torch.tensor([u])])
        user = network.users(
            torch.zeros(1, dtype=torch.int64), {n: x[u : u + 1] for n, x in batch.support.user.items()}
        )
        weights = {name: w.clone().requires_grad_() for name, w in slow.items()}

        def run(weights, x, base, user=user):
            h = torch.cat([user.expand(len(x), -1), x], 1)
            h = (h @ weights["weight0"].T + weights["bias0"]).relu()
            h = (h @ weights["weight1"].T + weights["bias1"]).relu()
            return (h @ weights["weight2"].T + weights["bias2"])[:, 0] + base

        for _ in range(2):
            loss = (
                (run(weights, vectors[0][real], base[0][real]) - batch.support.values[u][real])
                .square()
                .mean()
            )
            slopes = torch.autograd.grad(loss, list(weights.values()))
            weights = {
                n: (w - 0.1 * s).detach().requires_grad_()
                for (n, w), s in zip(weights.items(), slopes, strict=True)
            }
        assert_close(scores[u], run(weights, asked[0], asked_base[0]).detach())


def test_only_the_named_layers_adapt():
    dataset = synthetic_world(40, 20).dataset
    head = replace(anil(), **{**SMALL, "epochs": 1}).fit(dataset)
    tasks = user_tasks(dataset, torch.arange(3), query=2, generator=torch.Generator().manual_seed(0))
    state = head.adapt(tasks.batch(torch.arange(3)).support)
    assert set(state) == {"user", "weight2", "bias2"}


def test_a_pattern_that_matches_nothing_lists_what_there_is():
    with pytest.raises(UserInputError, match=r"matches no weight; this network has bias0, .*weight2"):
        replace(maml(), inner=InnerLoop(adaptive=("head*",))).fit(synthetic_world(30, 10).dataset)


def test_scoring_in_chunks_changes_nothing(monkeypatch):
    dataset = synthetic_world(40, 20).dataset
    model = replace(maml(), **{**SMALL, "epochs": 1}).fit(dataset)
    tasks = user_tasks(dataset, torch.arange(7), query=2, generator=torch.Generator().manual_seed(0))
    state = model.adapt(tasks.batch(torch.arange(7)).support)
    whole = model.score(state, dataset.catalogue())
    monkeypatch.setattr(fast_weights, "_ELEMENTS", 700)
    assert_close(model.score(state, dataset.catalogue()), whole)


def test_ratings_on_another_scale_are_learned_as_well():
    dataset = synthetic_world(60, 20, events=(6, 12)).dataset
    stretched = replace(dataset.with_values(dataset.interactions.values * 20), value_range=(20.0, 100.0))
    quick = replace(maml(), **{**SMALL, "epochs": 2})
    one, other = quick.fit(dataset), quick.fit(stretched)
    tasks = user_tasks(dataset, torch.arange(5), query=3, generator=torch.Generator().manual_seed(0))
    support = tasks.batch(torch.arange(5)).support
    scores = one.score(one.adapt(support), dataset.catalogue())
    stretched_scores = other.score(
        other.adapt(replace(support, values=support.values * 20)), dataset.catalogue()
    )
    assert_close(stretched_scores / 20, scores, 1e-2)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"inner_lr": 0.0}, {"inner_lr": float("nan")}])
def test_an_inner_loop_that_could_not_learn_is_refused(wrong):
    with pytest.raises(UserInputError, match="at least one step of a positive size"):
        InnerLoop(**wrong)
