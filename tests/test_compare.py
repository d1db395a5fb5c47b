"""Comparisons: the same users for everybody, floors, failures that do not spread, and true sentences."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import polars as pl
import pytest
import scipy.stats

from acclimate.compare import Comparison, compare
from acclimate.data import Dataset, Split, World, synthetic_world
from acclimate.data import new_users as split_new_users
from acclimate.errors import UnknownNameError, UserInputError
from acclimate.evaluation import (
    PROTOCOLS,
    Catalogue,
    Protocol,
    QueryOnly,
    by_time,
    default_metrics,
    evaluate,
    holm,
    known_users,
    leave_last_out,
    new_items,
    new_users,
    new_users_and_items,
    protocol,
)
from acclimate.learners.base import Run
from acclimate.learners.names import floors
from acclimate.models.base import Recommender
from fakes import Constant, Failing, FitConstant, FitMeans, FitPopularity, FitShifted

FLOORS = (FitConstant(), FitMeans(), FitPopularity())


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(400, 80, events=(12, 50))


@pytest.fixture(scope="module")
def comparison(world: World) -> Comparison:
    return compare([FitShifted()], world.dataset, shots=(0, 3, 20), floors=FLOORS)


@dataclass(frozen=True)
class Recording:
    """Writes down what it was fitted on and with."""

    seen: tuple[list[Dataset], list[Run]]
    name: str = "recording"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> Constant:
        self.seen[0].append(dataset)
        self.seen[1].append(run)
        return Constant()


class TestRows:
    def test_everybody_is_judged_on_the_same_users_and_queries(self, comparison: Comparison) -> None:
        frame = comparison.frame
        assert frame.columns[:7] == ["learner", "seed", "shots", "task", "user", "n_support", "n_query"]
        assert frame.columns[7:] == ["mae", "rmse", "ndcg@10"]
        assert frame["learner"].unique(maintain_order=True).to_list() == [
            "shifted",
            "constant",
            "means",
            "popularity",
        ]
        rows = frame.select("seed", "shots", "task", "user", "n_support", "n_query")
        first = rows.filter(frame["learner"] == "shifted")
        for name in ("constant", "means", "popularity"):
            assert rows.filter(frame["learner"] == name).equals(first)

    def test_the_numbers_are_those_of_evaluate(self, world: World, comparison: Comparison) -> None:
        split = new_users(shots=(0, 3, 20)).split(world.dataset, 0)
        report = evaluate(
            FitMeans().fit(split.train), split.test, metrics=["mae", "ndcg@10"], shots=(0, 3, 20)
        )
        mine = comparison.frame.filter(pl.col("learner") == "means")
        assert mine["mae"].to_list() == report.frame["mae"].to_list()
        assert mine["ndcg@10"].to_list() == report.frame["ndcg@10"].to_list()

    def test_a_rating_metric_stays_blank_for_what_only_orders_items(self, comparison: Comparison) -> None:
        mine = comparison.frame.filter(pl.col("learner") == "popularity")
        assert mine["mae"].null_count() == mine.height
        assert mine["ndcg@10"].null_count() == 0

    def test_each_seed_splits_and_fits_anew(self, world: World) -> None:
        recording = Recording(([], []))
        found = compare(
            [recording], world.dataset, shots=(0,), seeds=(3, 4), floors=False, run=Run(device="cpu")
        )
        one, two = recording.seen[0]
        assert one.hash() != two.hash()
        assert [run.seed for run in recording.seen[1]] == [3, 4]
        assert len(set(found.split_hashes)) == 2
        assert found.frame["seed"].unique(maintain_order=True).to_list() == [3, 4]

    def test_no_test_user_is_in_the_training_data(self, world: World) -> None:
        recording = Recording(([], []))
        found = compare([recording], world.dataset, floors=False, seeds=(0, 1, 2))
        for seed, train in zip(found.seeds, recording.seen[0], strict=True):
            tested = set(found.frame.filter(pl.col("seed") == seed)["user"])
            assert tested
            assert not tested & set(train.user_ids.ids)

    def test_a_ready_split_is_taken_as_it_is(self, world: World) -> None:
        split = split_new_users(world.dataset, seed=9)
        found = compare([FitMeans()], split, shots=(0,), seeds=(0, 1), floors=False)
        assert found.split_hashes == (split.test.hash(),) * 2
        assert found.data_hash == split.train.hash()
        assert found.protocol == "new-users"

    def test_a_ready_split_is_shown_and_asked_by_the_protocol_that_is_given(self, world: World) -> None:
        split = split_new_users(world.dataset, seed=9)
        by_itself = compare([FitMeans()], split, floors=False)
        as_told = compare([FitMeans()], split, "leave-last-out", floors=False)
        assert (by_itself.shots, as_told.shots) == ((0, 1, 3, 5, 10, 20), (None,))
        assert by_itself.protocol == as_told.protocol == "new-users"

    def test_what_came_fitted_is_judged_without_a_fit(self, world: World) -> None:
        split = split_new_users(world.dataset, seed=9)
        found = compare({"mine": FitMeans().fit(split.train)}, split, shots=(0,), floors=[FitMeans()])
        assert [e.name for e in found.entries] == ["mine", "means"]
        assert found.entries[0].fit_seconds is None
        assert found.paired("mine", "means", shots=0).difference == 0

    def test_one_seed_gives_one_comparison(self, world: World, comparison: Comparison) -> None:
        again = compare([FitShifted()], world.dataset, shots=(0, 3, 20), floors=FLOORS)
        assert again.frame.equals(comparison.frame)
        assert again.summary().equals(comparison.summary())


class TestNames:
    def test_two_of_one_name_are_told_apart(self, world: World) -> None:
        learners = [FitMeans(), FitMeans(damping=50.0), FitMeans(damping=99.0)]
        found = compare(learners, world.dataset, shots=(0,), floors=[FitConstant("means")])
        assert [e.name for e in found.entries] == ["means", "means (2)", "means (3)", "means (floor)"]
        assert [e.floor for e in found.entries] == [False, False, False, True]

    def test_a_floor_that_was_asked_for_stands_once_and_is_still_a_floor(self, world: World) -> None:
        found = compare([FitMeans(), FitShifted()], world.dataset, shots=(0,), floors=FLOORS)
        assert [(e.name, e.floor) for e in found.entries] == [
            ("means", True),
            ("shifted", False),
            ("constant", True),
            ("popularity", True),
        ]

    def test_names_and_floors_come_from_the_learners_that_have_names(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ModuleType("acclimate.learners.names")
        names.by_name = {"shifted": FitShifted()}.__getitem__  # type: ignore[attr-defined]
        names.floors = lambda dataset, ranking: list(FLOORS)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "acclimate.learners.names", names)
        found = compare(["shifted"], world.dataset, shots=(0,))
        assert [e.name for e in found.entries] == ["shifted", "constant", "means", "popularity"]

    def test_the_librarys_own_floors_stand_in_the_table(self) -> None:
        small = synthetic_world(120, 40, events=(12, 30))
        found = compare([FitMeans()], small.dataset, shots=(0, 5))
        assert [e.name for e in found.entries if e.floor] == [
            learner.name for learner in floors(small.dataset, ranking=False)
        ]
        ranked = compare([FitMeans()], small.dataset, shots=(5,), metrics=["ndcg@5", "mae"])
        rankers = {"popularity", "user-knn", "item-knn", "ease", "ials", "bias"}
        assert rankers <= {e.name for e in ranked.entries if e.floor}
        assert [e.error for e in found.entries] == [None] * len(found.entries)
        assert found.tests()["learner"].unique().to_list() == ["means"]
        with pytest.raises(UnknownNameError, match="Unknown learner 'itme-mean'"):
            compare(["itme-mean"], small.dataset)

    def test_what_is_no_learner_is_refused_by_name(self, world: World) -> None:
        with pytest.raises(UserInputError, match=r"learners \(with fit\), .* or names; found 7"):
            compare([7], world.dataset, floors=False)  # type: ignore[list-item]
        with pytest.raises(UserInputError, match="takes a list of learners"):
            compare("als", world.dataset, floors=False)  # type: ignore[arg-type]
        with pytest.raises(UserInputError, match="nothing to compare"):
            compare([], world.dataset, floors=False)
        with pytest.raises(UserInputError, match="at least one seed"):
            compare([FitMeans()], world.dataset, seeds=())
        with pytest.raises(UserInputError, match=r"distinct numbers from 0 on, .* found \(-1,\)"):
            compare([FitMeans()], world.dataset, shots=(-1,), floors=False)
        with pytest.raises(UnknownNameError, match=r"Unknown protocol 'new-user'\. Did you mean 'new-users'"):
            compare([FitMeans()], world.dataset, "new-user", floors=False)


class TestFailures:
    def test_a_learner_that_fails_says_why_and_the_others_go_on(self, world: World) -> None:
        found = compare([Failing(), FitShifted()], world.dataset, shots=(0, 5), floors=FLOORS)
        failed = found.entries[0]
        assert failed.error == "this one wants ratings; the data holds implicit events."
        assert "failing" not in found.frame["learner"].to_list()
        assert found.frame["learner"].n_unique() == 4
        text = str(found)
        assert "failing failed: this one wants ratings" in text
        assert found.to_dict()["learners"][0]["error"] == failed.error  # type: ignore[index]

    def test_a_learner_that_fails_on_one_seed_has_no_numbers_at_all(self, world: World) -> None:
        class Sometimes(FitMeans):
            def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()):  # type: ignore[no-untyped-def]
                if run.seed == 1:
                    raise UserInputError("bad luck.")
                return super().fit(dataset, run=run)

        found = compare(
            [Sometimes("sometimes"), FitMeans()], world.dataset, shots=(0,), seeds=(0, 1), floors=False
        )
        assert found.entries[0].error == "bad luck."
        assert found.frame["learner"].unique().to_list() == ["means"]

    def test_who_has_failed_is_not_fitted_again(self, world: World) -> None:
        tried = []

        class Never(FitMeans):
            def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()):  # type: ignore[no-untyped-def]
                tried.append(run.seed)
                raise UserInputError("first.")

        found = compare([Never("never")], world.dataset, shots=(0,), seeds=(0, 1), floors=[FitMeans()])
        assert tried == [0]
        assert found.entries[0].error == "first."

    def test_nothing_but_failures_still_makes_a_table(self, world: World) -> None:
        found = compare([Failing()], world.dataset, shots=(0, 1), floors=[Failing("floor")])
        assert found.frame.height == 0
        assert "failing failed" in str(found)
        assert json.loads(found.to_json())["results"] == []

    def test_a_recommender_to_which_no_metric_applies_says_so(self, world: World) -> None:
        found = compare([FitPopularity()], world.dataset, shots=(0,), metrics=["mae"], floors=False)
        assert found.entries[0].error == (
            "mae cannot be measured: popularity only orders items (scale='rank') and predicts no rating. "
            "Use ranking metrics such as ndcg@10 instead."
        )
        found = compare([FitMeans()], world.dataset.implicit(), shots=(0,), metrics=["mae"], floors=False)
        assert "holds implicit events, not ratings" in str(found.entries[0].error)

    def test_a_mistake_of_the_programmer_is_not_swallowed(self, world: World) -> None:
        class Wrong(FitMeans):
            def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()):  # type: ignore[no-untyped-def]
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            compare([Wrong()], world.dataset, floors=False)


class TestStatistics:
    def test_the_summary_has_a_row_for_each_learner_number_of_shots_and_metric(
        self, comparison: Comparison
    ) -> None:
        summary = comparison.summary()
        assert summary.columns == ["learner", "floor", "shots", "metric", "mean", "low", "high", "n"]
        assert summary.height == 4 * 3 * 3
        here = (pl.col("learner") == "means") & (pl.col("metric") == "mae") & (pl.col("shots") == 3)
        row = summary.filter(here).row(0, named=True)
        mine = comparison.frame.filter((pl.col("learner") == "means") & (pl.col("shots") == 3))["mae"]
        assert row["mean"] == pytest.approx(mine.mean())
        assert row["floor"] is True
        assert row["low"] < row["mean"] < row["high"]

    def test_users_judged_under_two_seeds_count_once(self, world: World) -> None:
        split = split_new_users(world.dataset, seed=9)
        found = compare([FitMeans()], split, shots=(5,), seeds=(0, 1, 2), floors=False)
        assert found.frame.height == 3 * len(split.test)
        assert found.summary()["n"].unique().to_list() == [len(split.test)]
        assert found.n_users == len(split.test)

    def test_the_paired_difference_is_that_of_the_same_users(self, comparison: Comparison) -> None:
        frame = comparison.frame.filter(pl.col("shots") == 20)
        a, b = (frame.filter(pl.col("learner") == name)["mae"].to_numpy() for name in ("shifted", "means"))
        found = comparison.paired("shifted", "means", shots=20)
        assert found.difference == pytest.approx((a - b).mean())
        assert found.p == pytest.approx(scipy.stats.ttest_rel(a, b).pvalue)
        assert found.low < found.difference < found.high < 0

    def test_learners_are_tested_against_the_best_floor_with_holms_correction(
        self, comparison: Comparison
    ) -> None:
        tests = comparison.tests()
        assert tests["learner"].unique().to_list() == ["shifted"]
        assert tests["shots"].to_list() == [0, 3, 20]
        assert set(tests["floor"]) == {"means"}
        raw = [comparison.paired("shifted", "means", shots=k).p for k in (0, 3, 20)]
        assert tests["p"].to_list() == pytest.approx(raw)
        assert tests["p_holm"].to_list() == pytest.approx(holm(raw))
        assert tests["verdict"].to_list() == ["level", "better", "better"]

    def test_better_means_higher_where_higher_is_better(self, world: World) -> None:
        found = compare(
            {"none": FitConstant(), "means": FitMeans()},
            world.dataset,
            shots=(0,),
            metrics=["graded-ndcg@5"],
            candidates=QueryOnly(),
            floors=[FitConstant("floor")],
        )
        assert dict(found.tests().select("learner", "verdict").iter_rows()) == {
            "none": "level",
            "means": "better",
        }
        turned = compare(
            {"none": FitConstant()},
            world.dataset,
            shots=(0,),
            metrics=["graded-ndcg@5"],
            candidates=QueryOnly(),
            floors=[FitMeans()],
        )
        assert turned.tests()["verdict"].to_list() == ["worse"]

    def test_nobody_is_better_by_a_metric_that_has_no_direction(self, world: World) -> None:
        wide = {"wide": FitShifted(), "plain": FitShifted(damping=9.0)}
        found = compare(wide, world.dataset, shots=(5,), metrics=["within-1sd"], floors=[FitShifted("floor")])
        assert found.tests().height == 0
        assert found.verdict() == "Neither more nor less of within-1sd is better, so nobody is tested by it."
        assert found.text().startswith("within-1sd by support events shown\n")
        assert "*" not in found.text().split("Neither")[0]

    def test_asking_for_numbers_that_are_not_there_says_which_are(self, comparison: Comparison) -> None:
        with pytest.raises(
            UserInputError, match="'ndcg@20' was not measured; this comparison has mae, rmse, ndcg@10"
        ):
            comparison.tests("ndcg@20")
        with pytest.raises(
            UserInputError, match=r"no numbers of 'shifted' at 4 shots; .* at 0, 3 and 20 shots"
        ):
            comparison.paired("shifted", "means", shots=4)


class TestWords:
    def test_the_verdict_says_where_adapting_helps_and_where_it_does_not(
        self, comparison: Comparison
    ) -> None:
        assert comparison.verdict() == (
            "shifted against the best floor: better at 3 and 20; no clear difference at 0 shots.\n"
            "Learning to adapt does not help at 0 (means) shots: there no learner is significantly better "
            "than the best floor."
        )
        assert comparison.verdict("ndcg@10").endswith(
            "Learning to adapt does not help here: at no number of shots is any learner significantly better "
            "in ndcg@10 than the best floor (means)."
        )

    def test_help_everywhere_and_floors_nowhere_are_said_as_well(self, world: World) -> None:
        helped = compare([FitShifted()], world.dataset, shots=(5, 20), floors=[FitConstant()])
        assert helped.verdict().endswith("Learning to adapt helps at every number of shots.")
        alone = compare([FitShifted()], world.dataset, shots=(5,), floors=False)
        assert alone.verdict().startswith("No floor was compared")
        only = compare([], world.dataset, shots=(5,), floors=FLOORS)
        assert only.verdict() == "No learner besides the floors has a number in mae."

    def test_the_table_fits_eighty_columns_and_marks_best_and_better(self, world: World) -> None:
        found = compare([FitShifted()], world.dataset, floors=FLOORS)
        lines = str(found).splitlines()
        assert max(len(line) for line in lines) <= 80
        assert lines[0] == "mae (lower is better) by support events shown"
        assert ["0", "1", "3", "5", "10", "20", "fit"] in [line.split() for line in lines]
        (row,) = [line for line in lines if line.startswith("shifted  ")]
        mean = found.summary().filter(
            (pl.col("learner") == "shifted") & (pl.col("metric") == "mae") & (pl.col("shots") == 20)
        )["mean"][0]
        assert row.split()[-2] == f"{mean:.4f}".removeprefix("0") + "+*"
        (blank,) = [line for line in lines if line.startswith("popularity  ")]
        assert blank.split()[1:-1] == ["-"] * 6

    def test_the_text_carries_what_a_reader_needs_to_judge_it(self, comparison: Comparison) -> None:
        text = " ".join(str(comparison).split())
        assert "80 test users, seed 0; ranked: full catalogue without the support items" in text
        assert f"split {comparison.split_hashes[0][:12]}, data {comparison.data_hash[:12]}." in text
        assert "some have fewer support events than shots" in text

    def test_every_metric_has_a_table(self, comparison: Comparison) -> None:
        assert comparison.text("ndcg@10").startswith("ndcg@10 (higher is better)")

    def test_json_holds_what_a_report_must(self, comparison: Comparison) -> None:
        told = json.loads(comparison.to_json())
        assert told["seeds"] == [0]
        assert told["shots"] == [0, 3, 20]
        assert told["candidates"] == "full catalogue without the support items"
        assert told["split_hashes"] == list(comparison.split_hashes)
        assert told["data"] == {"name": "synthetic", "hash": comparison.data_hash}
        assert len(told["results"]) == 36
        assert {
            r["mean"] for r in told["results"] if (r["learner"], r["metric"]) == ("popularity", "mae")
        } == {None}
        assert [r["verdict"] for r in told["tests"]["mae"]] == ["level", "better", "better"]

    def test_users_who_train_elsewhere_are_noted(self, world: World) -> None:
        warm = compare([FitMeans()], world.dataset, "known-users", shots=(0,), floors=False)
        assert warm.notes == ("80 of 80 test users have other events in the training data (known-users).",)
        small = synthetic_world(40, 30, events=(12, 20))
        cold = compare([FitMeans()], small.dataset, shots=(0,), floors=False)
        assert cold.notes == ("With only 8 test tasks, intervals and tests are rough.",)


class TestProtocols:
    def test_every_name_makes_the_protocol_of_that_name(self) -> None:
        for name in PROTOCOLS:
            assert protocol(name).name == name
        assert protocol("new-users").shots == (0, 1, 3, 5, 10, 20)
        assert protocol("by-time").shots == (None,)
        assert protocol("new-users", shots=(0, 2)).shots == (0, 2)
        assert isinstance(protocol("new-users", candidates=QueryOnly()).candidates, QueryOnly)
        assert isinstance(protocol("leave-last-out").candidates, Catalogue)

    def test_metrics_follow_the_data_unless_given(self, world: World) -> None:
        assert [m.name for m in default_metrics(world.dataset)] == ["mae", "rmse", "ndcg@10"]
        assert [m.name for m in default_metrics(world.dataset.implicit())] == ["ndcg@20", "recall@20"]
        given = new_users(metrics=["mrr@5"]).metrics_for(world.dataset)
        assert [m.name for m in given] == ["mrr@5"]

    def test_supports_are_as_long_as_the_longest_shots(self, world: World) -> None:
        split = new_users(shots=(0, 7)).split(world.dataset, 0)
        assert int(split.test.support_sizes().max()) == 7
        whole = new_users(shots=(0, None)).split(world.dataset, 0)
        assert int(whole.test.support_sizes().max()) > 30

    def test_new_items_are_asked_about_by_known_users_and_never_trained_on(self, world: World) -> None:
        split = new_items().split(world.dataset, 0)
        asked = split.test.dataset.interactions.items[split.test.query]
        assert int(split.train.interactions.item_counts()[asked].sum()) == 0
        both = new_users_and_items().split(world.dataset, 0)
        asked = both.test.dataset.interactions.items[both.test.query]
        assert int(both.train.interactions.item_counts()[asked].sum()) == 0
        assert not set(both.train.user_ids.ids) & set(both.test.dataset.user_ids.ids)

    def test_known_users_train_on_all_but_what_they_are_asked_about(self, world: World) -> None:
        split = known_users(shots=(0, 5)).split(world.dataset, 3)
        tasks = split.test
        assert len(split.validation) == 0
        assert len(split.train.interactions) == len(world.dataset.interactions) - len(tasks.query)
        pairs = set(
            zip(
                split.train.interactions.users().tolist(),
                split.train.interactions.items.tolist(),
                strict=True,
            )
        )
        who = tasks.users.repeat_interleave(tasks.query_sizes()).tolist()
        items = world.dataset.interactions.items
        assert not pairs & set(zip(who, items[tasks.query].tolist(), strict=True))
        who = tasks.users.repeat_interleave(tasks.support_sizes()).tolist()
        assert set(zip(who, items[tasks.support].tolist(), strict=True)) <= pairs
        assert new_users().split(world.dataset, 3).test.hash() != split.test.hash()

    def test_too_few_events_for_known_users_is_said(self) -> None:
        few = synthetic_world(40, 30, events=(2, 5))
        with pytest.raises(UserInputError, match="has the 11 events that the known-users protocol needs"):
            known_users().split(few.dataset, 0)

    @pytest.mark.parametrize("made", [by_time(), leave_last_out()], ids=lambda p: p.name)
    def test_protocols_by_time_train_on_the_past_of_what_they_ask(self, world: World, made: Protocol) -> None:
        found = compare([FitMeans(), FitShifted()], world.dataset, made, metrics=["mae"], floors=False)
        assert found.shots == (None,)
        assert found.protocol == made.name
        assert set(found.frame["shots"]) == {None}
        assert found.paired("means", "shifted", shots=None).n == found.n_users
        assert ["all", "fit"] in [line.split() for line in found.text().splitlines()]

    def test_a_protocol_of_ones_own_is_used_as_it_is(self, world: World) -> None:
        def halves(dataset: Dataset, seed: int) -> Split:
            return replace(split_new_users(dataset, test=0.5, validation=0.0, seed=seed), name="halves")

        mine = replace(new_users(shots=(2,), metrics=["rmse"]), name="halves", split=halves)
        found = compare([FitMeans()], world.dataset, mine, floors=False)
        assert (found.protocol, found.shots, [m.name for m in found.metrics]) == ("halves", (2,), ["rmse"])
        assert found.n_users == 200
        changed = compare([FitMeans()], world.dataset, mine, shots=(0, 1), metrics=["mae"], floors=False)
        assert (changed.shots, [m.name for m in changed.metrics]) == ((0, 1), ["mae"])


def test_an_implicit_world_is_compared_by_ranking() -> None:
    implicit = synthetic_world(300, 60, events=(15, 40), explicit=False)
    found = compare([FitMeans()], implicit.dataset, shots=(0, 5), floors=[FitPopularity()])
    assert [m.name for m in found.metrics] == ["ndcg@20", "recall@20"]
    values = found.summary().filter((pl.col("learner") == "popularity") & (pl.col("metric") == "recall@20"))
    # Better than chance, which is 20 of 60 items.
    assert values["low"].min() > 0.36
    assert np.isfinite(found.summary()["mean"].to_numpy()).all()
