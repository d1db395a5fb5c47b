import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from acclimate.data import Feedback, Items, sample_tasks, synthetic_world
from acclimate.explain import explain
from acclimate.models import Popularity
from acclimate.tensors import masked_sum


@dataclass(frozen=True)
class Sum:
    """score(i) = i + the sum of the support's values: every event's share is its value."""

    scale: ClassVar[str] = "rating"

    def adapt(self, support: Feedback) -> dict[str, torch.Tensor]:
        return {"sum": masked_sum(support.values, support.mask, 1)}

    def score(self, state: dict[str, torch.Tensor], items: Items) -> torch.Tensor:
        return state["sum"][:, None] + items.ids.float()


@dataclass(frozen=True)
class Product(Sum):
    """score(i) = i + the product of the support's values: events only count together."""

    def adapt(self, support: Feedback) -> dict[str, torch.Tensor]:
        return {"sum": torch.where(support.mask, support.values, 1.0).prod(1)}


@dataclass(frozen=True)
class SaysSo(Sum):
    """Sum, Attributable."""

    def contributions(self, support: Feedback, items: Items) -> torch.Tensor:
        values = torch.where(support.mask, support.values, 0.0)
        return values[:, None, :].expand(-1, len(items.ids), -1)


def feedback(values: list[list[float]]) -> Feedback:
    width = max(map(len, values))
    padded = torch.tensor([row + [math.nan] * (width - len(row)) for row in values]).reshape(
        len(values), width
    )
    ids = torch.zeros(padded.shape, dtype=torch.int64)
    return Feedback(Items(ids), padded, ~padded.isnan())


ITEMS = Items(torch.tensor([0, 10]))


@pytest.mark.parametrize("recommender", [Sum(), SaysSo()])
def test_additive_scores_are_taken_apart_into_their_terms(recommender):
    found = explain(recommender, feedback([[1.0, 2.0, 4.0], [8.0]]), ITEMS)
    assert found.prior.tolist() == [[0.0, 10.0]] * 2
    assert found.total.tolist() == [[7.0, 17.0], [8.0, 18.0]]
    assert found.contributions.tolist() == [[[1.0, 2.0, 4.0]] * 2, [[8.0, 0.0, 0.0]] * 2]
    assert found.rest.tolist() == [[0.0, 0.0]] * 2


def test_the_method_says_whether_the_parts_are_exact():
    assert explain(Sum(), feedback([[1.0]]), ITEMS).method == "leave-one-out"
    assert explain(SaysSo(), feedback([[1.0]]), ITEMS).method == "exact"


def test_what_no_single_event_accounts_for_is_the_rest():
    # prior 1, total 3 * 5 = 15; without 3 it is 5, without 5 it is 3: 10 and 12, and 15 - 1 - 22 = -8
    # together.
    found = explain(Product(), feedback([[3.0, 5.0]]), Items(torch.tensor([0])))
    assert (found.prior.item(), found.total.item()) == (1.0, 15.0)
    assert found.contributions[0, 0].tolist() == [10.0, 12.0]
    assert found.rest.item() == -8.0


def test_nobody_did_anything_is_explained_by_the_prior_alone():
    found = explain(Sum(), feedback([[], []]), ITEMS)
    assert found.contributions.shape == (2, 2, 0)
    assert torch.equal(found.total, found.prior)


def test_small_batches_give_the_same_explanation():
    world = synthetic_world(30, 20)
    tasks = sample_tasks(
        world.dataset, torch.arange(6), support=(2, 9), query=3, generator=torch.Generator().manual_seed(0)
    )
    support, items = tasks.batch(torch.arange(6)).support, world.dataset.items_at(torch.arange(5))
    whole, small = explain(Sum(), support, items), explain(Sum(), support, items, batch_size=2)
    assert torch.equal(whole.contributions, small.contributions)
    assert whole.contributions.abs().sum() > 0


def test_a_recommender_that_ignores_events_gives_them_nothing():
    world = synthetic_world(30, 20)
    found = explain(Popularity.fit(world.dataset), feedback([[1.0, 2.0]]), ITEMS)
    assert found.contributions.abs().max() == 0
