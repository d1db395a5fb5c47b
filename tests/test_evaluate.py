"""The referee: candidates, ties, shots, poison, and what lies beyond accuracy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from acclimate.data import Feedback, Items, Tasks, World, new_users, synthetic_world
from acclimate.errors import AcclimateError, UserInputError
from acclimate.evaluation import (
    Catalogue,
    Given,
    QueryOnly,
    Report,
    Sampled,
    auc,
    beyond_accuracy,
    evaluate,
    hit_rate,
    mae,
    ndcg,
    recall,
    rmse,
    within,
)
from acclimate.evaluation.beyond import Likeness
from acclimate.evaluation.candidates import pseudorandom
from acclimate.models.base import Scale
from acclimate.tensors import State
from fakes import ByItem, ByUser, Constant, FitMeans, FitShifted, Shifted, Spy, asked

NAN = math.nan


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(300, 60, events=(15, 40))


@pytest.fixture(scope="module")
def tasks(world: World) -> Tasks:
    return new_users(world.dataset, seed=1).test


def random_asked(users: int, items: int, per_user: int, *, first: int | None = None) -> Tensor:
    """Each user is asked about ``per_user`` items, drawn from the first ``first`` of the catalogue."""
    g = torch.Generator().manual_seed(3)
    values = torch.full((users, items), NAN)
    drawn = torch.rand(users, first or items, generator=g).argsort(1)[:, :per_user]
    return values.scatter(1, drawn, 4.0)


class TestTies:
    @pytest.mark.parametrize("candidates", [Catalogue(), Sampled(30), Sampled(30, seed=9)], ids=repr)
    @pytest.mark.parametrize("first", [10, None], ids=["first items asked", "any item asked"])
    def test_a_constant_scorer_is_worth_what_chance_is_worth(
        self, candidates: Catalogue | Sampled, first: int | None
    ) -> None:
        users, items, n_asked, k = 3000, 100, 5, 10
        tasks = asked(random_asked(users, items, n_asked, first=first))
        report = evaluate(Constant(), tasks, metrics=[recall(k)], candidates=candidates)
        pool = items if isinstance(candidates, Catalogue) else n_asked + 30
        chance = k / pool
        # A user's hits are hypergeometric; their mean over users is within four of its deviations.
        spread = math.sqrt(chance * (1 - chance) * (pool - n_asked) / (pool - 1) / n_asked / users)
        assert report.frame[f"recall@{k}"].mean() == pytest.approx(chance, abs=4 * spread)

    def test_a_constant_scorer_orders_only_the_query_by_chance(self) -> None:
        g = torch.Generator().manual_seed(0)
        values = torch.randint(1, 6, (4000, 6), generator=g).float()
        # Best item first and best item last: neither place is an advantage.
        for ordered in (values.sort(1).values, values.sort(1, descending=True).values):
            report = evaluate(
                Constant(), asked(ordered), metrics=[ndcg(3, graded=True), auc(3)], candidates=QueryOnly()
            )
            gain = 2**ordered - 1
            discount = 1 / torch.log2(torch.arange(2, 5).float())
            ideal = (gain.sort(1, descending=True).values[:, :3] * discount).sum(1)
            chance = float((gain.mean(1) * discount.sum() / ideal).mean())
            assert report.frame["graded-ndcg@3"].mean() == pytest.approx(chance, abs=0.015)
            assert report.frame["auc:3"].drop_nulls().unique().to_list() == [0.5]

    def test_a_tie_over_the_end_of_the_list_is_as_fair_as_one_within(self) -> None:
        # Item 0 leads; the other 19 tie for the one place that is left. Users are asked about one of them.
        scores = torch.zeros(20)
        scores[0] = 1.0
        values = torch.full((4000, 20), NAN)
        values[:, 19] = 5.0
        report = evaluate(ByItem(scores), asked(values), metrics=[hit_rate(2)])
        assert report.frame["hit-rate@2"].mean() == pytest.approx(1 / 19, abs=4 * math.sqrt(1 / 19 / 4000))
        assert (report.lists[:, 0] == 0).all()

    def test_users_with_the_same_ties_get_different_orders_and_one_user_always_the_same(self) -> None:
        tasks = asked(random_asked(50, 40, 3))
        lists = evaluate(Constant(), tasks, metrics=[ndcg(10)]).lists
        again = evaluate(Constant(), tasks, metrics=[ndcg(10)], batch_size=7).lists
        other = evaluate(Constant(), tasks, metrics=[ndcg(10)], seed=1).lists
        assert len({tuple(row) for row in lists.tolist()}) == 50
        assert torch.equal(lists, again)
        assert not torch.equal(lists, other)
        assert all(len(set(row)) == 10 for row in lists.tolist())

    def test_the_order_of_ties_does_not_depend_on_what_is_asked(self) -> None:
        one, two = random_asked(30, 40, 3), random_asked(30, 40, 3).flip(1)
        first = evaluate(Constant(), asked(one), metrics=[ndcg(10)]).lists
        second = evaluate(Constant(), asked(two), metrics=[ndcg(10)]).lists
        assert torch.equal(first, second)

    def test_minus_zero_ties_with_zero(self) -> None:
        scores = torch.zeros(40)
        scores[20:] = -0.0
        tasks = asked(random_asked(400, 40, 3))
        shares = (evaluate(ByItem(scores), tasks, metrics=[ndcg(10)]).lists >= 20).double().mean()
        assert float(shares) == pytest.approx(0.5, abs=0.05)

    def test_pseudorandom_numbers_are_distinct_within_a_user_and_even_over_users(self) -> None:
        keys = pseudorandom(torch.arange(5000), torch.arange(200), seed=0)
        assert all(len(row.unique()) == 5000 for row in keys[:20])
        assert int(keys.min()) >= 0
        wins = (keys[:, :2500] < keys[:, 2500:]).double()
        assert float(wins.mean()) == pytest.approx(0.5, abs=0.005)
        assert float(wins.mean(0).std()) == pytest.approx(math.sqrt(0.25 / 200), rel=0.1)
        assert float(wins.mean(1).std()) < 0.03


class TestQueriesStayHidden:
    def test_poisoned_queries_change_neither_what_is_shown_nor_any_score(self, tasks: Tasks) -> None:
        g = torch.Generator().manual_seed(0)
        inter = tasks.dataset.interactions
        items, values = inter.items.clone(), inter.values.clone()
        items[tasks.query] = torch.randint(inter.n_items, (len(tasks.query),), generator=g)
        values[tasks.query] = 99.0
        poisoned = replace(
            tasks, dataset=replace(tasks.dataset, interactions=replace(inter, items=items, values=values))
        )
        clean, dirty = Spy(), Spy()
        before = evaluate(clean, tasks, metrics=[ndcg(10)], shots=(0, 3, None))
        after = evaluate(dirty, poisoned, metrics=[ndcg(10)], shots=(0, 3, None))
        for a, b in zip(clean.seen, dirty.seen, strict=True):
            assert torch.equal(a.items.ids, b.items.ids)
            assert torch.equal(a.values, b.values)
            assert torch.equal(a.mask, b.mask)
        for a, b in zip(clean.given, dirty.given, strict=True):
            assert torch.equal(a, b)
        assert torch.equal(before.lists, after.lists)
        assert before.frame["ndcg@10"].to_list() != after.frame["ndcg@10"].to_list()

    def test_the_support_that_is_shown_is_the_tasks_first_events_and_nothing_more(self, tasks: Tasks) -> None:
        spy = Spy()
        evaluate(spy, tasks, metrics=[ndcg(10)], shots=(2,), batch_size=1000)
        (shown,) = spy.seen
        assert shown.mask.shape == (len(tasks), 2)
        first = tasks.dataset.interactions.items[tasks.support[tasks.support_offsets[:-1]]]
        order = tasks.query_sizes().argsort(stable=True)
        order = order[tasks.with_shots(2).support_sizes()[order].argsort(stable=True)]
        assert torch.equal(shown.items.ids[:, 0], first[order])


class TestRows:
    def test_each_user_and_number_of_shots_has_a_row_with_the_callers_id(self, tasks: Tasks) -> None:
        report = evaluate(Spy(), tasks, metrics=[ndcg(10), mae()], shots=(0, 1, 5, None))
        frame = report.frame
        assert frame.columns == ["shots", "task", "user", "n_support", "n_query", "ndcg@10", "mae"]
        assert frame.height == 4 * len(tasks)
        assert frame["shots"].unique(maintain_order=True).to_list() == [0, 1, 5, None]
        own = tasks.dataset.user_ids.decode(tasks.users).to_list()
        assert frame["user"].to_list() == own * 4
        assert set(frame.filter(pl.col("shots") == 5)["n_support"]) == {5}
        assert frame["n_query"].unique().to_list() == [10]
        whole = frame.filter(pl.col("shots").is_null())["n_support"]
        assert whole.to_list() == tasks.support_sizes().tolist()

    def test_batches_change_nothing(self, tasks: Tasks) -> None:
        reports = [
            evaluate(Spy(), tasks, metrics=["ndcg@10", "mae", "auc:3.5"], shots=(0, 4), batch_size=size)
            for size in (1, 7, 256)
        ]
        assert reports[0].frame.equals(reports[1].frame)
        assert reports[0].frame.equals(reports[2].frame)

    def test_the_numbers_of_a_user_do_not_depend_on_who_else_is_judged(self, tasks: Tasks) -> None:
        some = torch.tensor([40, 3, 17])
        every = evaluate(Constant(), tasks, metrics=[ndcg(10)], shots=(3,)).frame["ndcg@10"].to_numpy()
        few = evaluate(Constant(), tasks.select(some), metrics=[ndcg(10)], shots=(3,)).frame["ndcg@10"]
        np.testing.assert_array_equal(few.to_numpy(), every[some.numpy()])

    def test_users_with_fewer_events_than_shots_are_kept_and_noted(self, world: World) -> None:
        tasks = new_users(world.dataset, query=10, seed=1).test
        report = evaluate(Constant(), tasks, metrics=[ndcg(10)], shots=(0, 20))
        short = int((tasks.support_sizes() < 20).sum())
        assert 0 < short < len(tasks)
        assert report.frame.height == 2 * len(tasks)
        assert report.notes == (
            f"Of {len(tasks)} tasks, some have fewer support events than shots and show all they have: "
            f"{short} at 20 shots.",
        )
        assert evaluate(Constant(), tasks, metrics=[ndcg(10)], shots=(0, 3)).notes == ()

    def test_the_report_says_what_was_done(self, tasks: Tasks) -> None:
        report = evaluate(Constant(), tasks, metrics=[ndcg(10)], seed=5, name="flat", candidates=Sampled(20))
        told = report.to_dict()
        assert told["recommender"] == "flat"
        assert told["candidates"] == "query items and 20 sampled others, seed 0"
        assert told["split_hash"] == tasks.hash()
        assert told["data_hash"] == tasks.dataset.hash()
        assert told["seed"] == 5
        assert told["clip"] is True
        assert "60 users; query items and 20 sampled" in repr(report)

    def test_the_summary_holds_means_with_intervals_around_them(self, tasks: Tasks) -> None:
        report = evaluate(Spy(), tasks, metrics=[ndcg(10), mae()], shots=(0, 5))
        summary = report.summary()
        assert summary.columns == ["shots", "metric", "mean", "low", "high", "n"]
        for row in summary.to_dicts():
            mean = report.frame.filter(pl.col("shots") == row["shots"])[row["metric"]].mean()
            assert row["mean"] == pytest.approx(mean)
            assert row["low"] < row["mean"] < row["high"]
            assert row["n"] == len(tasks)


class TestCandidates:
    # Three users, six items. They show item 0 (and 1), and are asked about 2 and 3.
    shown = torch.tensor([[5.0, NAN, NAN, NAN, NAN, NAN], [5, 4, NAN, NAN, NAN, NAN], [NAN] * 6])
    values = torch.tensor(
        [[NAN, NAN, 5, 1, NAN, NAN], [NAN, NAN, 2, 3, NAN, NAN], [4, NAN, 5, NAN, NAN, NAN]]
    )
    falling = torch.arange(6).flip(0).float()  # item 0 scores best

    def lists(self, candidates: Catalogue | QueryOnly | Sampled | Given, k: int = 4) -> list[list[int]]:
        report = evaluate(
            ByItem(self.falling),
            asked(self.values, shown=self.shown),
            metrics=[ndcg(k)],
            candidates=candidates,
        )
        return report.lists.tolist()

    def test_the_catalogue_leaves_out_what_was_shown_and_only_that(self) -> None:
        assert self.lists(Catalogue()) == [[1, 2, 3, 4], [2, 3, 4, 5], [0, 1, 2, 3]]

    def test_a_list_longer_than_the_candidates_ends_early(self) -> None:
        assert self.lists(Catalogue(), 6) == [[1, 2, 3, 4, 5, -1], [2, 3, 4, 5, -1, -1], [0, 1, 2, 3, 4, 5]]
        assert self.lists(QueryOnly()) == [[2, 3, -1, -1], [2, 3, -1, -1], [0, 2, -1, -1]]

    def test_repeats_may_be_recommended_where_people_repeat(self) -> None:
        assert self.lists(Catalogue(repeats=True)) == [[0, 1, 2, 3]] * 3

    def test_given_items_are_ranked_alone_and_only_they_are_asked_for(self) -> None:
        assert self.lists(Given(torch.tensor([3, 0, 5]))) == [[3, 5, -1, -1], [3, 5, -1, -1], [0, 3, 5, -1]]
        tasks = asked(self.values, shown=self.shown)
        found = evaluate(
            ByItem(self.falling), tasks, metrics=[recall(1)], candidates=Given(torch.tensor([3, 5]))
        ).frame["recall@1"]
        assert found.to_list() == [1.0, 1.0, None]

    def test_given_rows_outside_the_catalogue_are_refused(self) -> None:
        for rows, found in (([2, 6], "rows from 2 to 6"), ([-1], "rows from -1 to -1"), ([], "none")):
            with pytest.raises(UserInputError, match=f"rows from 0 to 5 of the catalogue; found {found}"):
                self.lists(Given(torch.tensor(rows, dtype=torch.int64)))

    def test_untouched_items_are_those_without_a_training_event(self) -> None:
        dataset = asked(self.values).dataset
        candidates = Given.untouched(dataset)
        assert candidates.rows.tolist() == [1, 4, 5]
        assert candidates.describe() == "3 items without a training event without the support items"

    def test_sampled_candidates_hold_the_query_and_as_many_others_none_of_them_shown(self) -> None:
        shown, values = torch.full((40, 50), NAN), torch.full((40, 50), NAN)
        shown[:, :5], values[:, 5:8] = 3.0, 4.0
        report = evaluate(
            ByItem(torch.arange(50).flip(0).float()),
            asked(values, shown=shown),
            metrics=[ndcg(15)],
            candidates=Sampled(10),
        )
        drawn = report.lists
        assert (drawn[:, 13:] == -1).all()
        assert (drawn[:, :3] == torch.tensor([5, 6, 7])).all()
        others = drawn[:, 3:13]
        assert int(others.min()) >= 8
        assert all(len(set(row)) == 10 for row in others.tolist())
        assert len(others.unique()) > 35

    def test_more_samples_than_there_are_items_give_the_whole_catalogue(self) -> None:
        assert self.lists(Sampled(100), 6) == self.lists(Catalogue(), 6)

    def test_a_sample_stays_the_same_over_shots_but_for_what_becomes_support(self, tasks: Tasks) -> None:
        scores = ByItem(torch.arange(60).float())
        report = evaluate(scores, tasks, metrics=[ndcg(25)], shots=(0, 5), candidates=Sampled(15))
        cold, warm = report.lists.split(len(tasks))  # type: ignore[no-untyped-call]
        kept = [len(set(a) & set(b) - {-1}) for a, b in zip(cold.tolist(), warm.tolist(), strict=True)]
        assert min(kept) >= 20
        assert not torch.equal(cold, warm)

    def test_an_item_asked_about_twice_counts_once_with_its_highest_value(self) -> None:
        tasks = asked(torch.tensor([[5.0, 3.0, 1.0]]))
        inter = tasks.dataset.interactions
        twice = replace(
            tasks, dataset=replace(tasks.dataset, interactions=replace(inter, items=torch.tensor([2, 1, 2])))
        )
        recommender = ByItem(torch.tensor([0.0, 1.0, 2.0]))
        for candidates in (Catalogue(), QueryOnly(), Sampled(3)):
            report = evaluate(
                recommender, twice, metrics=["recall@2", "graded-ndcg@2"], candidates=candidates
            )
            assert report.frame.row(0)[-2:] == pytest.approx((1.0, 1.0))

    def test_an_item_shown_and_asked_about_is_not_asked_for(self) -> None:
        tasks = asked(torch.tensor([[5.0, 3.0, NAN]]), shown=torch.tensor([[NAN, NAN, 4.0]]))
        inter = tasks.dataset.interactions
        again = replace(
            tasks, dataset=replace(tasks.dataset, interactions=replace(inter, items=torch.tensor([0, 0, 1])))
        )
        for candidates in (Catalogue(), QueryOnly(), Sampled(3)):
            report = evaluate(Constant(), again, metrics=["recall@1", "recall@3"], candidates=candidates)
            assert report.frame["recall@3"].to_list() == [1.0]
            assert 0 not in report.lists[0].tolist()

    def test_every_rule_says_in_words_what_it_ranks(self) -> None:
        rules = (Catalogue(), Catalogue(repeats=True), QueryOnly(), Sampled(99, 4), Given(torch.arange(1500)))
        assert [rule.describe() for rule in rules] == [
            "full catalogue without the support items",
            "full catalogue",
            "only each user's query items",
            "query items and 99 sampled others, seed 4",
            "1,500 given items without the support items",
        ]


class TestRatings:
    def test_predictions_are_clipped_to_the_range_of_values_unless_told_otherwise(self) -> None:
        tasks = asked(torch.tensor([[5.0, 1.0]]))
        wild = ByUser(torch.tensor([[9.0, -3.0]]), "rating")
        assert evaluate(wild, tasks, metrics=[mae()]).frame["mae"].to_list() == [0.0]
        assert evaluate(wild, tasks, metrics=[mae()], clip=False).frame["mae"].to_list() == [4.0]

    def test_clipping_makes_no_ties_in_rankings(self) -> None:
        values = torch.tensor([[5.0, 1.0]]).repeat(50, 1)
        wild = ByUser(torch.tensor([[9.0, 8.0]]).repeat(50, 1), "rating")
        report = evaluate(wild, asked(values), metrics=["auc:3", "ndcg@1:5"])
        assert report.frame["auc:3"].to_list() == [1.0] * 50
        assert report.frame["ndcg@1:5"].to_list() == [1.0] * 50

    def test_rating_metrics_are_refused_for_what_only_orders_items(self, tasks: Tasks) -> None:
        popular = ByItem(torch.arange(60).float())
        with pytest.raises(UserInputError, match=r"mae, rmse cannot be measured: ByItem only orders items"):
            evaluate(popular, tasks, metrics=[mae(), ndcg(10), rmse()])

    def test_rating_metrics_are_refused_on_implicit_events(self, world: World) -> None:
        tasks = new_users(world.dataset.implicit()).test
        with pytest.raises(UserInputError, match="holds implicit events, not ratings"):
            evaluate(Constant(), tasks, metrics=[mae()])

    def test_calibration_is_refused_for_what_does_not_know_how_unsure_it_is(self, tasks: Tasks) -> None:
        with pytest.raises(UserInputError, match="Constant does not say how unsure it is"):
            evaluate(Constant(), tasks, metrics=[within(1)])

    def test_knowing_the_truth_beats_item_means_beat_a_constant(self, world: World) -> None:
        split = new_users(world.dataset, seed=2)
        held_out = split.test.dataset
        names = {str(name): row for row, name in enumerate(world.dataset.user_ids.ids)}
        truth = world.truth[[names[str(u)] for u in held_out.user_ids.ids]]

        class Oracle:
            scale: Scale = "rating"

            def adapt(self, support: Feedback) -> State:
                return {"row": torch.arange(support.n_users)}

            def score(self, state: State, items: Items) -> Tensor:
                own = truth[split.test.users[order]][state["row"]]
                return own[:, items.ids] if items.ids.dim() == 1 else own.gather(1, items.ids.clamp(min=0))

        order = split.test.query_sizes().argsort(stable=True)
        order = order[split.test.support_sizes()[order].argsort(stable=True)]
        reports: list[Report] = [
            evaluate(r, split.test, metrics=[mae(), ndcg(5, graded=True)], candidates=QueryOnly())
            for r in (
                Oracle(),
                FitShifted().fit(split.train),
                FitMeans().fit(split.train),
                Constant(float(split.train.interactions.values.mean())),
            )
        ]
        errors = [r.frame["mae"].mean() for r in reports]
        gains = [r.frame["graded-ndcg@5"].mean() for r in reports]
        assert errors == sorted(errors)  # type: ignore[type-var]
        assert errors[0] < 0.3
        assert gains[0] > 0.95 > gains[1] > gains[3]
        assert gains[1] == pytest.approx(gains[2], abs=1e-9)  # a user's own shift moves no item past another


class _Broken(Constant):
    def __init__(self, wrong: Tensor) -> None:
        super().__init__()
        object.__setattr__(self, "wrong", wrong)

    def score(self, state: State, items: Items) -> Tensor:
        return self.wrong  # type: ignore[attr-defined,no-any-return]


class TestMistakes:
    def test_scores_that_are_not_finite_are_named(self) -> None:
        tasks = asked(torch.tensor([[5.0, 1.0], [2.0, NAN]]))
        with pytest.raises(
            AcclimateError, match=r"_Broken gave 1 scores that are not finite \(such as nan\)"
        ):
            evaluate(_Broken(torch.tensor([[1.0, NAN], [2.0, 3.0]])), tasks, metrics=[ndcg(1)])

    def test_scores_of_the_wrong_shape_are_named(self) -> None:
        tasks = asked(torch.tensor([[5.0, 1.0], [2.0, NAN]]))
        with pytest.raises(AcclimateError, match=r"shape \(2,\); expected \(2, 2\)"):
            evaluate(_Broken(torch.zeros(2)), tasks, metrics=[ndcg(1)])

    def test_deviations_that_are_not_finite_are_named(self) -> None:
        class Unsure(Shifted):
            def deviation(self, state: State, items: Items) -> Tensor:
                return torch.full(items.ids.shape, NAN)

        tasks = asked(torch.tensor([[5.0, 1.0], [2.0, NAN]]))
        with pytest.raises(AcclimateError, match="Unsure gave 3 deviations that are not finite"):
            evaluate(Unsure(torch.zeros(2)), tasks, metrics=[within(1)])

    def test_scores_of_items_that_are_not_allowed_may_be_anything(self) -> None:
        tasks = asked(torch.tensor([[NAN, 1.0]]), shown=torch.tensor([[1.0, NAN]]))
        report = evaluate(_Broken(torch.tensor([[NAN, 1.0]])), tasks, metrics=[recall(1)])
        assert report.frame["recall@1"].to_list() == [1.0]

    @pytest.mark.parametrize("shots", [(), (1, 1), (-1, 2)])
    def test_shots_that_make_no_sense_are_refused(self, tasks: Tasks, shots: tuple[int, ...]) -> None:
        with pytest.raises(UserInputError, match="distinct numbers from 0 on"):
            evaluate(Constant(), tasks, metrics=[ndcg(10)], shots=shots)

    def test_nothing_to_measure_or_to_measure_on_is_refused(self, tasks: Tasks) -> None:
        with pytest.raises(UserInputError, match="nothing to measure"):
            evaluate(Constant(), tasks, metrics=[])
        with pytest.raises(UserInputError, match=r"ndcg@10 is asked for more than once"):
            evaluate(Constant(), tasks, metrics=[ndcg(10), "ndcg@10"])
        with pytest.raises(UserInputError, match="no task to evaluate Constant on"):
            evaluate(Constant(), tasks.select(torch.arange(0)), metrics=[ndcg(10)])


class TestBeyondAccuracy:
    def test_coverage_counts_items_anybody_is_shown(self, world: World) -> None:
        split = new_users(world.dataset, seed=1)
        counts = split.train.interactions.item_counts() + torch.arange(60) / 100  # without ties
        popular = evaluate(ByItem(counts), split.test, metrics=[ndcg(5)], shots=(0,))
        chance = evaluate(Constant(), split.test, metrics=[ndcg(5)], shots=(0,))
        narrow, wide = (beyond_accuracy(r, split.train, k=5).row(0, named=True) for r in (popular, chance))
        assert narrow["coverage@5"] == pytest.approx(5 / 60)
        assert wide["coverage@5"] == 1.0
        assert narrow["popularity@5"] > 0.9
        assert wide["popularity@5"] == pytest.approx(0.5, abs=0.05)
        assert narrow["novelty@5"] < wide["novelty@5"]
        assert narrow["n"] == len(split.test)

    def test_novelty_and_popularity_are_as_on_paper(self) -> None:
        # Items 0, 1, 2 have 4, 1 and 1 events; six events on four items in all.
        values = torch.tensor([[5, NAN, 5, NAN], [5, 5, NAN, NAN], [5, NAN, NAN, NAN], [5, NAN, NAN, NAN]])
        train = asked(values).dataset
        tasks = asked(torch.tensor([[NAN, NAN, NAN, 3.0]]))
        report = evaluate(ByItem(torch.tensor([4.0, 3.0, 2.0, 1.0])), tasks, metrics=[ndcg(2)])
        row = beyond_accuracy(report, train, k=2).row(0, named=True)
        assert row["novelty@2"] == pytest.approx((-math.log2(5 / 10) - math.log2(2 / 10)) / 2)
        assert row["popularity@2"] == pytest.approx((1.0 + 0.5) / 2)
        # Users {0, 1, 2, 3} chose item 0, user {1} item 1: cosine 1 / sqrt(4 * 1).
        assert row["diversity@2"] == pytest.approx(1 - 1 / 2)

    @pytest.mark.parametrize("likeness", ["events", "fields"])
    def test_diversity_equals_the_mean_over_all_pairs(self, world: World, likeness: Likeness) -> None:
        split = new_users(world.dataset, seed=1)
        report = evaluate(Constant(), split.test, metrics=[ndcg(6)], shots=(0,))
        found = beyond_accuracy(report, split.train, k=6, likeness=likeness)["diversity@6"][0]
        if likeness == "events":
            vectors = np.zeros((60, split.train.n_users))
            vectors[split.train.interactions.items, split.train.interactions.users()] = 1
        else:
            genre, tags = split.train.items.columns["genre"], split.train.items.columns["tags"]
            vectors = np.zeros((60, 8))
            vectors[np.arange(60), genre.numpy() - 1] = 1
            for column in tags.T.numpy():
                vectors[np.arange(60)[column > 0], column[column > 0] + 3] = 1
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        cosine = vectors @ vectors.T
        expected = [1 - (cosine[np.ix_(row, row)].sum() - 6) / 30 for row in report.lists.numpy()]
        assert found == pytest.approx(np.mean(expected))

    def test_a_report_with_short_lists_says_what_it_needs(self, world: World) -> None:
        split = new_users(world.dataset, seed=1)
        report = evaluate(Constant(), split.test, metrics=[mae()])
        with pytest.raises(UserInputError, match=r"keeps the first 0 places; .* such as ndcg@10"):
            beyond_accuracy(report, split.train)

    def test_items_without_fields_cannot_be_compared_by_them(self) -> None:
        tasks = asked(torch.tensor([[5.0, 3.0]]))
        report = evaluate(Constant(), tasks, metrics=[ndcg(2)])
        with pytest.raises(UserInputError, match="no categorical or multi field"):
            beyond_accuracy(report, tasks.dataset, k=2, likeness="fields")
