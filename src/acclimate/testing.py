"""The laws: what every recommender must obey. Inherit, and your own recommender is held to them.

    class TestMine(RecommenderLaws):
        def make(self, world):
            return MyLearner().fit(world.dataset)

Needs pytest, which is not a dependency of the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from acclimate import persist
from acclimate.data import Feedback, Items, World, sample_tasks, synthetic_world
from acclimate.models import CLASSES
from acclimate.models.base import Attributable, Incremental, Recommender, Retrieval, Tabular, Uncertain
from acclimate.tensors import take


def pad(feedback: Feedback, extra: int, value: float = float("nan"), item: int = 0) -> Feedback:
    """The same feedback with ``extra`` masked events at the end of every row, filled with nonsense."""

    def widen(x: Tensor, fill: float) -> Tensor:
        filler = torch.full((x.shape[0], extra, *x.shape[2:]), fill, dtype=x.dtype)
        return torch.cat([x, filler], 1)

    fields = {
        name: widen(x, value if x.is_floating_point() else 1) for name, x in feedback.items.fields.items()
    }
    return Feedback(
        items=Items(widen(feedback.items.ids, item), fields),
        values=widen(feedback.values, value),
        mask=widen(feedback.mask, False),
        times=None if feedback.times is None else widen(feedback.times, 2**40),
        user=feedback.user,
    )


def concatenate(a: Feedback, b: Feedback) -> Feedback:
    """The events of ``a`` followed by those of ``b``, for the same users."""

    def join(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, y], 1)

    return Feedback(
        items=Items(
            join(a.items.ids, b.items.ids),
            {name: join(x, b.items.fields[name]) for name, x in a.items.fields.items()},
        ),
        values=join(a.values, b.values),
        mask=join(a.mask, b.mask),
        times=None if a.times is None or b.times is None else join(a.times, b.times),
        user=a.user,
    )


def events(feedback: Feedback, index: Any) -> Feedback:
    """Indexes the event dimension of a batch of feedback."""
    return Feedback(
        items=Items(feedback.items.ids[:, index], {n: x[:, index] for n, x in feedback.items.fields.items()}),
        values=feedback.values[:, index],
        mask=feedback.mask[:, index],
        times=None if feedback.times is None else feedback.times[:, index],
        user=feedback.user,
    )


def assert_close(a: Tensor, b: Tensor, tolerance: float = 2e-4) -> None:
    """Equal up to float32 noise, relative to the size of the scores."""
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(b.abs().max())))


class RecommenderLaws:
    """Laws 1 to 13; inherit and define ``make``.

    Attributes:
        explicit: whether the world it learns from holds ratings or implicit choices.
        order_sensitive: True exempts from law 9 (the order of the support changes nothing).
        adapts: False for recommenders that ignore the support; they must then give everybody the same.
        classes: classes beyond acclimate's own that its file may hold (law 11).
    """

    explicit = True
    order_sensitive = False
    adapts = True
    classes: Mapping[str, type] = {}

    def make(self, world: World) -> Recommender:
        """The recommender under test, fitted to the world's dataset."""
        raise AssertionError(f"{type(self).__name__} must define make(self, world)")

    @pytest.fixture(scope="class")
    @classmethod
    def world(cls) -> World:
        return synthetic_world(160, 50, events=(6, 25), explicit=cls.explicit, seed=3)

    @pytest.fixture(scope="class")
    @classmethod
    def recommender(cls, world: World) -> Recommender:
        train = world.dataset.select_users(torch.arange(120))
        return cls().make(replace(world, dataset=train, truth=world.truth[:120]))

    @pytest.fixture
    def feedback(self, world: World) -> Feedback:
        """[8, S] supports of users outside the training data, of different lengths, one of them empty."""
        unseen = torch.arange(120, 128)
        generator = torch.Generator().manual_seed(1)
        tasks = sample_tasks(world.dataset, unseen, support=(2, 12), query=5, generator=generator)
        support = tasks.batch(torch.arange(8)).support
        support.mask[3] = False
        return support

    @pytest.fixture
    def items(self, world: World) -> Items:
        """Twelve items of the catalogue."""
        return world.dataset.items_at(torch.arange(0, 48, 4))

    def test_law_01_scores_are_finite_users_by_items_and_states_lead_with_users(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        state = recommender.adapt(feedback)
        scores = recommender.score(state, items)
        assert state
        assert all(len(value) == feedback.n_users for value in state.values())
        assert scores.shape == (feedback.n_users, len(items.ids))
        assert scores.dtype == torch.float32
        assert scores.isfinite().all()
        assert not scores.requires_grad
        assert recommender.scale in ("rating", "rank")

    def test_law_02_a_row_does_not_depend_on_the_other_users(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        together = recommender.score(recommender.adapt(feedback), items)
        for b in range(feedback.n_users):
            alone = recommender.score(recommender.adapt(feedback[b : b + 1]), items)
            assert_close(alone[0], together[b])

    def test_law_03_slicing_the_state_slices_the_scores(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        state, rows = recommender.adapt(feedback), torch.tensor([5, 0, 2])
        assert_close(recommender.score(take(state, rows), items), recommender.score(state, items)[rows])

    @pytest.mark.parametrize("value", [0.0, 1e6, float("nan")])
    def test_law_04_padding_is_inert_even_when_it_is_nan(
        self, recommender: Recommender, feedback: Feedback, items: Items, value: float
    ) -> None:
        for item in (-1, 0):
            padded = pad(feedback, 3, value, item)
            assert_close(
                recommender.score(recommender.adapt(padded), items),
                recommender.score(recommender.adapt(feedback), items),
            )

    def test_law_05_masked_support_equals_no_support(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        masked = replace(feedback, mask=torch.zeros_like(feedback.mask))
        empty = events(feedback, slice(0, 0))
        assert empty.mask.shape[1] == 0
        expected = recommender.score(recommender.adapt(empty), items)
        assert expected.isfinite().all()
        assert_close(recommender.score(recommender.adapt(masked), items), expected)

    def test_law_06_shared_candidates_equal_expanded_ones(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        b = feedback.n_users
        expanded = Items(items.ids.expand(b, -1), {n: x.expand(b, *x.shape) for n, x in items.fields.items()})
        state = recommender.adapt(feedback)
        assert_close(recommender.score(state, expanded), recommender.score(state, items))

    def test_law_07_permuting_candidates_permutes_scores(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        state = recommender.adapt(feedback)
        order = torch.randperm(len(items.ids), generator=torch.Generator().manual_seed(0))
        assert_close(recommender.score(state, items[order]), recommender.score(state, items)[:, order])

    def test_law_08_same_input_same_output(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        first = recommender.score(recommender.adapt(feedback), items)
        assert torch.equal(recommender.score(recommender.adapt(feedback), items), first)

    def test_law_09_the_order_of_the_support_changes_nothing(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        if self.order_sensitive:
            pytest.skip("declared order sensitive")
        order = torch.randperm(feedback.mask.shape[1], generator=torch.Generator().manual_seed(2))
        assert_close(
            recommender.score(recommender.adapt(events(feedback, order)), items),
            recommender.score(recommender.adapt(feedback), items),
        )

    def test_law_10_adapting_and_scoring_leave_the_recommender_unchanged(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        tree, before = persist.pack(recommender)
        support_values = feedback.values.clone()
        state = recommender.adapt(feedback)
        kept = {name: value.clone() for name, value in state.items()}
        recommender.score(state, items)
        tree_after, after = persist.pack(recommender)
        assert tree_after == tree
        assert all(torch.equal(after[name], before[name]) for name in before)
        assert all(torch.equal(state[name], kept[name]) for name in kept)
        assert torch.equal(feedback.values, support_values)

    def test_law_11_saved_and_loaded_scores_the_same(
        self, recommender: Recommender, feedback: Feedback, items: Items, tmp_path: Path
    ) -> None:
        tree, tensors = persist.pack(recommender)
        persist.write(tmp_path / "model.acc", {"recommender": tree}, tensors)
        manifest, tensors = persist.read(tmp_path / "model.acc")
        loaded = persist.unpack(manifest["recommender"], tensors, {**CLASSES, **self.classes})
        assert torch.equal(
            loaded.score(loaded.adapt(feedback), items),
            recommender.score(recommender.adapt(feedback), items),
        )

    def test_law_12_informative_support_helps(self, recommender: Recommender, world: World) -> None:
        unseen = torch.arange(120, 160)
        generator = torch.Generator().manual_seed(5)
        tasks = sample_tasks(world.dataset, unseen, support=(12, 12), query=5, generator=generator)
        support = tasks.batch(torch.arange(len(unseen))).support
        catalogue, truth = world.dataset.catalogue(), world.truth[unseen]
        warm = recommender.score(recommender.adapt(support), catalogue)
        nobody = replace(support, mask=torch.zeros_like(support.mask))
        cold = recommender.score(recommender.adapt(nobody), catalogue)
        if not self.adapts:
            assert torch.equal(warm, cold)
        elif recommender.scale == "rating":
            assert (warm - truth).abs().mean() < (cold - truth).abs().mean()
        else:
            unknown = torch.ones_like(truth, dtype=torch.bool)
            rows = torch.arange(len(unseen))[:, None].expand_as(support.items.ids)[support.mask]
            unknown[rows, support.items.ids[support.mask]] = False
            assert _correlation(warm, truth, unknown) > _correlation(cold, truth, unknown) + 0.01

    @pytest.mark.parametrize("value", [1.0, 5.0, float("nan")])
    def test_law_13_query_values_are_invisible(
        self, recommender: Recommender, world: World, value: float
    ) -> None:
        """The query stands in the same tensors, masked, as a careless batch would have it."""
        unseen = torch.arange(120, 128)
        generator = torch.Generator().manual_seed(7)
        tasks = sample_tasks(world.dataset, unseen, support=(3, 6), query=5, generator=generator)
        batch = tasks.batch(torch.arange(8))
        hidden = replace(
            batch.query,
            values=torch.full_like(batch.query.values, value),
            mask=torch.zeros_like(batch.query.mask),
        )
        shown = recommender.adapt(concatenate(batch.support, hidden))
        alone = recommender.adapt(batch.support)
        assert_close(recommender.score(shown, batch.query.items), recommender.score(alone, batch.query.items))

    def test_a_batch_of_nobody_and_a_list_of_nothing_have_scores_of_that_shape(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        nobody = recommender.adapt(feedback[0:0])
        assert recommender.score(nobody, items).shape == (0, len(items.ids))
        somebody = recommender.adapt(feedback)
        assert recommender.score(somebody, items[0:0]).shape == (feedback.n_users, 0)

    def test_an_item_outside_the_catalogue_can_be_shown_and_scored(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        strangers = Items(torch.full_like(items.ids, -1), items.fields)
        ids = feedback.items.ids.clone()
        ids[:, 0] = -1
        stranger_shown = replace(feedback, items=Items(ids, feedback.items.fields))
        scores = recommender.score(recommender.adapt(stranger_shown), strangers)
        assert scores.shape == (feedback.n_users, len(items.ids))
        assert scores.isfinite().all()

    def test_retrieval_scores_are_dot_products(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        if not isinstance(recommender, Retrieval):
            pytest.skip("no Retrieval")
        state = recommender.adapt(feedback)
        dots = recommender.user_vectors(state) @ recommender.item_vectors(items).T
        assert_close(dots, recommender.score(state, items))

    def test_incremental_updates_equal_adapting_to_everything(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        if not isinstance(recommender, Incremental):
            pytest.skip("not Incremental")
        expected = recommender.score(recommender.adapt(feedback), items)
        for cut in (0, 1, 4):
            first, second = events(feedback, slice(0, cut)), events(feedback, slice(cut, None))
            assert_close(concatenate(first, second).values, feedback.values)
            state = recommender.update(recommender.adapt(first), second)
            assert_close(recommender.score(state, items), expected)

    def test_deviation_is_not_negative_and_shrinks_with_events(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        if not isinstance(recommender, Uncertain):
            pytest.skip("not Uncertain")
        wide = recommender.deviation(recommender.adapt(events(feedback, slice(0, 0))), items)
        some = recommender.deviation(recommender.adapt(events(feedback, slice(0, 2))), items)
        narrow = recommender.deviation(recommender.adapt(feedback), items)
        assert (narrow >= 0).all()
        assert (some <= wide + 1e-5).all()
        assert (narrow <= some + 1e-5).all()
        assert (narrow[0] < wide[0]).all()

    def test_contributions_add_up_to_the_score(
        self, recommender: Recommender, feedback: Feedback, items: Items
    ) -> None:
        if not isinstance(recommender, Attributable):
            pytest.skip("not Attributable")
        nothing = recommender.score(recommender.adapt(events(feedback, slice(0, 0))), items)
        parts = recommender.contributions(feedback, items)
        assert parts.shape == (feedback.n_users, len(items.ids), feedback.mask.shape[1])
        assert (parts.masked_select(~feedback.mask[:, None, :]) == 0).all()
        assert_close(nothing + parts.sum(-1), recommender.score(recommender.adapt(feedback), items))

    def test_the_closed_form_is_the_user_vector(
        self, recommender: Recommender, feedback: Feedback, world: World
    ) -> None:
        if not (isinstance(recommender, Tabular) and isinstance(recommender, Retrieval)):
            pytest.skip("not Tabular")
        catalogue = world.dataset.catalogue()
        table = recommender.tabulate(catalogue)
        assert np.array_equal(table.vectors, recommender.item_vectors(catalogue).numpy())
        state, prior = recommender.adapt(feedback), recommender.prior_mean(feedback)
        vectors = recommender.user_vectors(state)
        for b, real in enumerate(feedback.mask):
            rows, values = feedback.items.ids[b][real].numpy(), feedback.values[b][real].numpy()
            vector = table.vector(rows, values, prior[b].detach().numpy())
            assert vector.dtype == np.float32
            assert_close(torch.from_numpy(vector), vectors[b])
            if isinstance(recommender, Uncertain):
                alone = {name: value[b : b + 1] for name, value in state.items()}
                deviation = table.deviation(rows, values, catalogue.ids.numpy())
                assert_close(torch.from_numpy(deviation), recommender.deviation(alone, catalogue)[0], 1e-3)


def _correlation(scores: Tensor, truth: Tensor, known: Tensor) -> float:
    """Mean over users of the correlation of ranks between scores and truth on the entries ``known``."""
    values = []
    for score, true, mask in zip(scores, truth, known, strict=True):
        ranks = torch.stack([score[mask].argsort().argsort(), true[mask].argsort().argsort()]).double()
        values.append(float(torch.corrcoef(ranks)[0, 1]))
    return sum(values) / len(values)
