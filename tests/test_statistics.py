"""Intervals and tests: against scipy, against simulation, and by hand."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import polars as pl
import pytest
import scipy.stats

from acclimate.evaluation import bootstrap_mean, holm, paired, summarise
from acclimate.evaluation.statistics import paired_columns, per_user

NAN = math.nan


class TestBootstrap:
    def test_intervals_agree_with_those_of_scipy(self) -> None:
        rng = np.random.default_rng(0)
        values = rng.exponential(size=(200, 2))
        mean, low, high = bootstrap_mean(values, resamples=9999)
        for j in range(2):
            theirs = scipy.stats.bootstrap(
                (values[:, j],), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(1)
            ).confidence_interval
            assert mean[j] == pytest.approx(values[:, j].mean())
            assert low[j] == pytest.approx(theirs.low, abs=0.01)
            assert high[j] == pytest.approx(theirs.high, abs=0.01)

    def test_intervals_hold_the_true_mean_about_as_often_as_they_say(self) -> None:
        rng = np.random.default_rng(0)
        # 400 experiments of 60 users each, side by side.
        _, low, high = bootstrap_mean(rng.exponential(size=(60, 400)))
        held = ((low <= 1) & (high >= 1)).mean()
        assert 0.89 <= held <= 0.98

    def test_a_lower_level_gives_a_narrower_interval(self) -> None:
        values = np.random.default_rng(0).normal(size=100)
        (_, low95, high95), (_, low50, high50) = bootstrap_mean(values), bootstrap_mean(values, level=0.5)
        assert low95 < low50 < high50 < high95

    def test_missing_values_are_left_out_of_their_column_alone(self) -> None:
        values = np.random.default_rng(0).normal(size=(50, 2))
        holes = values.copy()
        holes[::2, 1] = NAN
        mean, low, high = bootstrap_mean(holes, resamples=4000)
        whole = bootstrap_mean(values, resamples=4000)
        assert (mean[0], low[0], high[0]) == (whole[0][0], whole[1][0], whole[2][0])
        alone = bootstrap_mean(values[1::2, 1], resamples=4000)
        assert mean[1] == pytest.approx(alone[0][0])
        assert low[1] == pytest.approx(alone[1][0], abs=0.05)
        assert high[1] == pytest.approx(alone[2][0], abs=0.05)

    def test_one_user_says_nothing_about_others(self) -> None:
        mean, low, high = bootstrap_mean(np.array([[3.0, NAN], [NAN, NAN]]))
        assert mean[0] == 3.0
        assert np.isnan([low[0], high[0], mean[1], low[1]]).all()
        assert np.isnan(bootstrap_mean(np.zeros((0, 2)))[0]).all()

    def test_one_seed_gives_one_interval_and_chunks_change_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        values = np.random.default_rng(0).normal(size=(40, 3))
        first = bootstrap_mean(values, seed=1)
        monkeypatch.setattr("acclimate.evaluation.statistics._MOST_WEIGHTS", 400)
        np.testing.assert_allclose(first, bootstrap_mean(values, seed=1), rtol=1e-12)
        assert not np.array_equal(first[1], bootstrap_mean(values, seed=2)[1])


class TestPaired:
    def test_the_p_value_is_that_of_scipys_paired_t_test(self) -> None:
        rng = np.random.default_rng(0)
        b = rng.normal(size=80)
        a = b + rng.normal(0.2, 0.6, size=80)
        found = paired(a, b)
        theirs = scipy.stats.ttest_rel(a, b)
        assert found.p == pytest.approx(theirs.pvalue)
        assert found.difference == pytest.approx((a - b).mean())
        ci = theirs.confidence_interval()
        assert found.low == pytest.approx(ci.low, abs=0.03)
        assert found.high == pytest.approx(ci.high, abs=0.03)
        assert found.n == 80

    def test_pairing_finds_what_separate_intervals_hide(self) -> None:
        rng = np.random.default_rng(0)
        b = rng.normal(0, 5, size=100)
        a = b + 0.3 + rng.normal(0, 0.5, size=100)
        assert paired(a, b).p < 1e-6
        assert scipy.stats.ttest_ind(a, b).pvalue > 0.5

    def test_swapping_the_two_turns_the_sign_only(self) -> None:
        rng = np.random.default_rng(0)
        a, b = rng.normal(size=(2, 30))
        one, two = paired(a, b), paired(b, a)
        assert one.difference == pytest.approx(-two.difference)
        assert one.low == pytest.approx(-two.high)
        assert one.p == pytest.approx(two.p)

    def test_users_without_a_value_in_either_are_left_out(self) -> None:
        found = paired(np.array([1.0, 2, NAN, 4]), np.array([0.0, NAN, 1, 1]))
        assert (found.n, found.difference) == (2, 2.0)

    def test_no_difference_at_all_is_no_evidence_and_an_equal_one_is_worth_as_much_as_there_are_users(
        self,
    ) -> None:
        same = np.array([1.0, 2, 3])
        assert paired(same, same).p == 1.0
        for n in (2, 3, 12):
            ones = np.ones(n)
            theirs = scipy.stats.permutation_test(
                (ones,), np.mean, permutation_type="samples", n_resamples=np.inf
            )
            assert paired(ones, 0 * ones).p == pytest.approx(theirs.pvalue)
        assert math.isnan(paired(same[:1] + 1, same[:1]).p)

    def test_under_the_null_one_test_in_twenty_raises_a_false_alarm(self) -> None:
        rng = np.random.default_rng(0)
        p = np.array([paired(rng.normal(size=40), rng.normal(size=40), resamples=1).p for _ in range(600)])
        assert 0.03 <= (p < 0.05).mean() <= 0.075

    def test_many_at_once_equal_each_alone(self) -> None:
        a, b = np.random.default_rng(0).normal(size=(2, 30, 4))
        for j, found in enumerate(paired_columns(a, b)):
            assert astuple(found) == pytest.approx(astuple(paired(a[:, j], b[:, j])))


class TestHolm:
    def test_the_textbook_example_comes_out(self) -> None:
        # By hand: 0.005 * 4, 0.01 * 3, then 0.03 * 2, and 0.04 * 1 raised to what stands before it.
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])

    def test_corrected_p_values_are_never_above_one_and_never_below_the_raw(self) -> None:
        raw = np.random.default_rng(0).random(50)
        corrected = np.array(holm(list(raw)))
        assert ((raw <= corrected) & (corrected <= 1)).all()
        assert (np.diff(corrected[np.argsort(raw)]) >= 0).all()

    def test_a_test_that_could_not_be_made_is_not_counted(self) -> None:
        found = holm([0.02, NAN, 0.04])
        assert found[0] == pytest.approx(0.04)
        assert found[2] == pytest.approx(0.04)
        assert math.isnan(found[1])
        assert holm([]) == []


class TestSummary:
    frame = pl.DataFrame(
        {
            "shots": [0, 0, 0, None, None, None],
            "user": ["a", "a", "b", "a", "b", "b"],
            "x": [1.0, 3.0, 8.0, 4.0, None, 6.0],
            "y": [None, None, None, 1.0, 2.0, 3.0],
        }
    )

    def test_a_user_with_several_tasks_counts_once(self) -> None:
        rows = summarise(self.frame, ["shots"], ["x", "y"]).to_dicts()
        assert [(r["shots"], r["metric"], r["mean"], r["n"]) for r in rows] == [
            (0, "x", 5.0, 2),  # a: (1 + 3) / 2, b: 8
            (0, "y", None, 0),
            (None, "x", 5.0, 2),
            (None, "y", 1.75, 2),
        ]

    def test_groups_keep_their_order(self) -> None:
        users = per_user(self.frame, ["shots"], ["x"])
        assert users.rows() == [(0, "a", 2.0), (0, "b", 8.0), (None, "a", 4.0), (None, "b", 6.0)]

    def test_intervals_come_from_users_not_rows(self) -> None:
        rng = np.random.default_rng(0)
        values = rng.normal(size=50)
        once = pl.DataFrame({"g": [1] * 50, "user": range(50), "x": values})
        thrice = pl.concat([once] * 3)
        assert summarise(once, ["g"], ["x"]).row(0) == pytest.approx(summarise(thrice, ["g"], ["x"]).row(0))
