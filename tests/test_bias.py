import numpy as np
import pytest
import torch

from acclimate.data import Feedback, synthetic_world
from acclimate.errors import UserInputError
from acclimate.models import Attributable, Bias, Incremental, Retrieval, Uncertain
from acclimate.testing import RecommenderLaws


class TestBias(RecommenderLaws):
    def make(self, world):
        return Bias.fit(world.dataset)


def show(dataset, ids, values):
    ids = torch.tensor([ids])
    return Feedback(dataset.items_at(ids), torch.tensor([values]), torch.ones_like(ids, dtype=torch.bool))


def test_it_can_do_everything():
    recommender = Bias.fit(synthetic_world(30, 10).dataset)
    for capability in (Attributable, Incremental, Retrieval, Uncertain):
        assert isinstance(recommender, capability)


def test_many_sweeps_reach_the_joint_ridge_solution():
    dataset = synthetic_world(40, 12).dataset
    inter = dataset.interactions
    recommender = Bias.fit(dataset, damping=4.0, item_damping=2.0, sweeps=200)
    n, users, items = len(inter), inter.users().numpy(), inter.items.numpy()
    design = np.zeros((n, 52))
    design[np.arange(n), users] = 1
    design[np.arange(n), 40 + items] = 1
    y = inter.values.numpy().astype(float) - float(inter.values.double().mean())
    penalty = np.diag([4.0] * 40 + [2.0] * 12)
    solution = np.linalg.solve(design.T @ design + penalty, design.T @ y)
    np.testing.assert_allclose(recommender.item_bias.numpy(), solution[40:], atol=1e-5)
    assert recommender.noise == pytest.approx(float(np.mean((y - design @ solution) ** 2)), rel=1e-4)


def test_the_offset_is_the_damped_mean_of_what_the_items_leave():
    dataset = synthetic_world(30, 10).dataset
    recommender = Bias.fit(dataset, damping=3.0)
    state = recommender.adapt(show(dataset, [2, 7], [5.0, 4.0]))
    left = [5.0 - recommender.mean - float(recommender.item_bias[2])]
    left.append(4.0 - recommender.mean - float(recommender.item_bias[7]))
    expected = recommender.mean + float(recommender.item_bias[4]) + sum(left) / 5
    got = recommender.score(state, dataset.items_at(torch.tensor([4])))
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_the_deviation_is_the_posterior_of_offset_and_item_together():
    dataset = synthetic_world(30, 10).dataset
    recommender = Bias.fit(dataset, damping=3.0, item_damping=2.0)
    count = int((dataset.interactions.items == 4).sum())
    state = recommender.adapt(show(dataset, [2, 7], [5.0, 4.0]))
    got = recommender.deviation(state, dataset.items_at(torch.tensor([4, -1])))
    expected = [(recommender.noise * (1 / 5 + 1 / other)) ** 0.5 for other in (count + 2.0, 2.0)]
    assert got[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_the_deviation_is_calibrated_where_the_world_is_additive():
    world = synthetic_world(600, 60, rank=1, noise=0.3, seed=8)
    dataset = world.dataset
    inter = dataset.interactions
    g = torch.Generator().manual_seed(0)
    a, b = 0.5 * torch.randn(600, generator=g), 0.5 * torch.randn(60, generator=g)
    truth = 3 + a[:, None] + b
    noisy = truth[inter.users(), inter.items] + 0.3 * torch.randn(len(inter), generator=g)
    dataset = dataset.with_values(noisy)
    train = dataset.select_users(torch.arange(500))
    recommender = Bias.fit(train, damping=(0.3 / 0.5) ** 2, item_damping=(0.3 / 0.5) ** 2)
    assert recommender.noise == pytest.approx(0.09, rel=0.1)
    ids = torch.randint(60, (100, 3), generator=g)
    values = truth[500:].gather(1, ids) + 0.3 * torch.randn(100, 3, generator=g)
    state = recommender.adapt(Feedback(dataset.items_at(ids), values, torch.ones_like(ids, dtype=torch.bool)))
    items = dataset.catalogue()
    z = (recommender.score(state, items) - truth[500:]) / recommender.deviation(state, items)
    assert 0.8 < float(z.square().mean().sqrt()) < 1.2


@pytest.mark.parametrize("setting", [{"damping": 0.0}, {"item_damping": -1.0}, {"sweeps": 0}])
def test_settings_that_mean_nothing_are_refused_by_name(setting):
    name = next(iter(setting))
    with pytest.raises(UserInputError, match=f"needs {name} above 0; found"):
        Bias.fit(synthetic_world(30, 10).dataset, **setting)
