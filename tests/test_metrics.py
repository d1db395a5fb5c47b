"""Metrics: pinned by hand, and checked against ranx and scikit-learn on random data."""

from __future__ import annotations

import math
import warnings
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    ndcg_score,
    precision_score,
    recall_score,
    roc_auc_score,
)
from torch import Tensor

from acclimate.errors import UnknownNameError, UserInputError
from acclimate.evaluation import (
    METRIC_NAMES,
    Metric,
    QueryOnly,
    accuracy,
    auc,
    average_precision,
    evaluate,
    f1,
    hit_rate,
    liked_precision,
    liked_recall,
    mae,
    metric,
    mrr,
    ndcg,
    nll,
    precision,
    recall,
    rmse,
    within,
)
from fakes import ByUser, Constant, asked

NAN = math.nan


def measured(scores: Tensor, values: Tensor, *metrics: Metric, rating: bool = False) -> dict[str, Tensor]:
    """Metrics [U] of fixed scores [U, N]; each user is asked about the values [U, N] that are not NaN."""
    recommender = ByUser(scores, "rating" if rating else "rank")
    report = evaluate(recommender, asked(values), metrics=metrics, clip=False)
    columns = {m.name: report.frame[m.name].fill_null(NAN).to_numpy() for m in metrics}
    return {name: torch.from_numpy(column.copy()) for name, column in columns.items()}


def one(m: Metric, scores: list[float], values: list[float], *, rating: bool = False) -> float:
    return float(
        measured(torch.tensor([scores]).float(), torch.tensor([values]).float(), m, rating=rating)[m.name][0]
    )


def random_case(seed: int, users: int = 12, items: int = 40) -> tuple[Tensor, Tensor]:
    """Scores without ties and sparse values 1 .. 5, at least one for each user."""
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.permuted(np.tile(np.arange(items) / items, (users, 1)), axis=1)).float()
    values = rng.integers(1, 6, (users, items)).astype(np.float32)
    hidden = rng.random((users, items)) > rng.uniform(0.05, 0.5, (users, 1))
    hidden[np.arange(users), rng.integers(items, size=users)] = False
    values[hidden] = np.nan
    return scores, torch.from_numpy(values)


class TestByHand:
    # Six items, ranked 0 1 2 3 4 5; the query holds items 1 (value 5), 2 (value 2) and 5 (value 4).
    scores: ClassVar = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    values: ClassVar = [NAN, 5.0, 2.0, NAN, NAN, 4.0]

    @pytest.mark.parametrize(
        ("m", "expected"),
        [
            (recall(1), 0.0),
            (recall(3), 2 / 3),
            (recall(6), 1.0),
            (precision(3), 2 / 3),
            (precision(10), 3 / 10),
            (hit_rate(1), 0.0),
            (hit_rate(2), 1.0),
            (mrr(1), 0.0),
            (mrr(3), 1 / 2),
            (average_precision(3), (1 / 2 + 2 / 3) / 3),
            (average_precision(6), (1 / 2 + 2 / 3 + 3 / 6) / 3),
            (ndcg(3), (1 / math.log2(3) + 1 / math.log2(4)) / (1 + 1 / math.log2(3) + 1 / math.log2(4))),
            (ndcg(2), (1 / math.log2(3)) / (1 + 1 / math.log2(3))),
            (
                ndcg(3, graded=True),
                (31 / math.log2(3) + 3 / math.log2(4)) / (31 + 15 / math.log2(3) + 3 / math.log2(4)),
            ),
            (recall(3, liked=4), 1 / 2),
            (precision(3, liked=4), 1 / 3),
            (mrr(6, liked=4.5), 1 / 2),
            (ndcg(3, liked=4), (1 / math.log2(3)) / (1 + 1 / math.log2(3))),
        ],
        ids=lambda x: x.name if isinstance(x, Metric) else None,
    )
    def test_a_list_of_six_is_judged_as_on_paper(self, m: Metric, expected: float) -> None:
        assert one(m, self.scores, self.values) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("m", "expected"),
        [
            # Predictions 3, 4.5, 2 of the values 4, 5, 1.
            (mae(), (1 + 0.5 + 1) / 3),
            (rmse(), math.sqrt((1 + 0.25 + 1) / 3)),
            (accuracy(4), 2 / 3),
            (liked_precision(4), 1.0),
            (liked_recall(4), 1 / 2),
            (f1(4), 2 / 3),
            (auc(4), 1.0),
        ],
        ids=lambda x: x.name if isinstance(x, Metric) else None,
    )
    def test_three_predictions_are_judged_as_on_paper(self, m: Metric, expected: float) -> None:
        assert one(m, [3, 4.5, 2, 0], [4, 5, 1, NAN], rating=True) == pytest.approx(expected)


class TestUndefined:
    def test_a_user_who_likes_nothing_has_no_precision_recall_or_rank_of_liked_items(self) -> None:
        for m in (
            liked_precision(4),
            liked_recall(4),
            f1(4),
            auc(4),
            recall(2, 4),
            ndcg(2, 4),
            precision(2, 4),
        ):
            assert math.isnan(one(m, [1, 2, 3], [1, 2, NAN], rating=True)), m

    def test_a_user_who_likes_everything_has_no_auc(self) -> None:
        assert math.isnan(one(auc(1), [1, 2, 3], [1, 2, 3]))

    def test_predicting_nothing_liked_is_worth_nothing_rather_than_undefined(self) -> None:
        assert one(liked_precision(4), [1, 2], [5, 5], rating=True) == 0
        assert one(f1(4), [1, 2], [5, 5], rating=True) == 0

    def test_grades_of_nothing_but_zero_can_gain_nothing(self) -> None:
        assert math.isnan(one(ndcg(2, graded=True), [1, 2, 3], [0, 0, NAN]))

    def test_values_that_are_no_grades_are_refused_by_graded_ndcg(self) -> None:
        with pytest.raises(UserInputError, match=r"from 0 to 30; found 250\. Use ndcg"):
            one(ndcg(2, graded=True), [1, 2], [3, 250])
        with pytest.raises(UserInputError, match=r"found -4\."):
            one(ndcg(2, graded=True), [1, 2], [-4, 2])


@pytest.fixture(scope="module")
def ranx() -> ModuleType:
    """ranx's metrics as plain Python: compiling them takes a minute, running them on small lists does not."""
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        import numba

        # Read when a function is decorated; the setting must not outlive the import, for others compile.
        patch.setattr(numba.config, "DISABLE_JIT", 1)
        import ranx.metrics

        return ranx.metrics


def as_ranx(matrix: Tensor) -> list[np.ndarray]:
    """Rows of (item, number), highest number first, of the entries that are not NaN."""
    out = []
    for row in matrix.double().numpy():
        items = np.flatnonzero(~np.isnan(row))
        pairs = np.stack([items, row[items]], axis=1)
        out.append(pairs[np.argsort(-pairs[:, 1], kind="stable")])
    return out


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 5, 20])
def test_ranking_metrics_equal_those_of_ranx(ranx: ModuleType, seed: int, k: int) -> None:
    scores, values = random_case(seed)
    relevant, run = as_ranx(torch.where(values.isnan(), NAN, 1.0)), as_ranx(scores)
    pairs = [
        (recall(k), ranx.recall),
        (precision(k), ranx.precision),
        (hit_rate(k), ranx.hit_rate),
        (mrr(k), ranx.reciprocal_rank),
        (average_precision(k), ranx.average_precision),
        (ndcg(k), ranx.ndcg),
    ]
    found = measured(scores, values, *(ours for ours, _ in pairs))
    for ours, theirs in pairs:
        np.testing.assert_allclose(found[ours.name], theirs(relevant, run, k), atol=1e-9, err_msg=ours.name)
    graded = ndcg(k, graded=True)
    theirs = ranx.ndcg_burges(as_ranx(values), run, k)
    np.testing.assert_allclose(measured(scores, values, graded)[graded.name], theirs, atol=1e-9)


@pytest.mark.parametrize("liked", [2, 4])
def test_a_liking_threshold_equals_the_relevance_level_of_ranx(ranx: ModuleType, liked: int) -> None:
    scores, values = random_case(7)
    found = measured(scores, values, recall(5, liked), average_precision(5, liked), mrr(5, liked))
    fits = ((values >= liked).sum(1) > 0).numpy()
    for ours, theirs in zip(
        found.values(), (ranx.recall, ranx.average_precision, ranx.reciprocal_rank), strict=True
    ):
        expected = theirs(as_ranx(values), as_ranx(scores), 5, liked)
        np.testing.assert_allclose(ours[fits], expected[fits], atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 50), threshold=st.sampled_from([2.0, 3.0, 4.0, 5.0]))
@settings(max_examples=25, deadline=None)
def test_metrics_equal_those_of_scikit_learn(seed: int, k: int, threshold: float) -> None:
    scores, values = random_case(seed, users=4, items=30)
    predictions = 1 + 4 * scores
    ranked = measured(predictions, values, ndcg(k), ndcg(k, graded=True), average_precision(30))
    rated = [mae(), rmse(), accuracy(threshold), liked_precision(threshold), liked_recall(threshold)]
    rating = measured(predictions, values, *rated, f1(threshold), auc(threshold), rating=True)
    for u in range(len(scores)):
        seen = ~values[u].isnan()
        gain = torch.where(seen, 2.0 ** values[u] - 1, 0.0)[None]
        x = predictions[u][None]
        assert ranked[f"ndcg@{k}"][u] == pytest.approx(ndcg_score(seen[None].double(), x, k=k))
        assert ranked[f"graded-ndcg@{k}"][u] == pytest.approx(ndcg_score(gain, x, k=k))
        assert ranked["map@30"][u] == pytest.approx(average_precision_score(seen, predictions[u]))
        y, p = values[u][seen], predictions[u][seen]
        assert rating["mae"][u] == pytest.approx(float((y - p).abs().mean()))
        assert rating["rmse"][u] == pytest.approx(float((y - p).square().mean().sqrt()), rel=1e-5)
        liked, said = (y >= threshold).numpy(), (p >= threshold).numpy()
        assert rating[f"accuracy:{threshold:g}"][u] == pytest.approx(accuracy_score(liked, said))
        if liked.any():
            for name, theirs in (
                ("liked-precision", precision_score),
                ("liked-recall", recall_score),
                ("f1", f1_score),
            ):
                expected = theirs(liked, said, zero_division=0)
                assert rating[f"{name}:{threshold:g}"][u] == pytest.approx(expected), name
        else:
            assert math.isnan(rating[f"f1:{threshold:g}"][u])
        if liked.any() and not liked.all():
            assert rating[f"auc:{threshold:g}"][u] == pytest.approx(roc_auc_score(liked, p))
        else:
            assert math.isnan(rating[f"auc:{threshold:g}"][u])


def test_ties_count_half_in_auc_as_in_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.integers(0, 3, (20, 15))).float()
    values = torch.from_numpy(rng.integers(1, 6, (20, 15))).float()
    ours = measured(scores, values, auc(3))["auc:3"]
    theirs = [roc_auc_score((values[u] >= 3).numpy(), scores[u].numpy()) for u in range(20)]
    np.testing.assert_allclose(ours, theirs)
    assert one(auc(3), [7.0] * 4, [1, 2, 3, 4]) == 0.5


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_every_ranking_metric_lies_between_0_and_1_and_a_perfect_order_reaches_1(seed: int) -> None:
    scores, values = random_case(seed, users=6)
    metrics = [
        recall(40),
        ndcg(7),
        ndcg(7, graded=True),
        mrr(7),
        average_precision(40),
        hit_rate(7),
    ]
    for found in measured(scores, values, *metrics, precision(7)).values():
        assert ((found >= 0) & (found <= 1)).all()
    perfect = measured(values.nan_to_num(-1.0), values, *metrics)
    for m in metrics:
        torch.testing.assert_close(perfect[m.name], torch.ones(6, dtype=torch.float64), msg=m.name)


def test_a_constant_prediction_of_five_cannot_score_above_one() -> None:
    rng = np.random.default_rng(1)
    values = torch.from_numpy(rng.integers(1, 6, (300, 10))).float()
    report = evaluate(Constant(5.0), asked(values), metrics=[ndcg(3, graded=True)], candidates=QueryOnly())
    found = report.frame["graded-ndcg@3"]
    perfect = evaluate(ByUser(values), asked(values), metrics=[ndcg(3, graded=True)], candidates=QueryOnly())
    assert found.max() <= 1 + 1e-12
    assert 0.4 < found.mean() < 0.75
    assert perfect.frame["graded-ndcg@3"].to_list() == pytest.approx([1.0] * 300)


class _Sure(ByUser):
    """As its parent, and always equally unsure."""

    def deviation(self, state, items):  # type: ignore[no-untyped-def]
        return torch.full_like(self.score(state, items), 0.5)


def test_a_calibrated_deviation_holds_two_thirds_and_nineteen_twentieths() -> None:
    g = torch.Generator().manual_seed(0)
    truth = torch.randn(200, 50, generator=g)
    values = truth + 0.5 * torch.randn(200, 50, generator=g)
    report = evaluate(_Sure(truth, "rating"), asked(values), metrics=[within(1), within(2), nll()])
    means = dict(report.summary().select("metric", "mean").iter_rows())
    assert means["within-1sd"] == pytest.approx(0.6827, abs=0.015)
    assert means["within-2sd"] == pytest.approx(0.9545, abs=0.01)
    expected = -torch.distributions.Normal(truth, 0.5).log_prob(values).mean()
    assert means["nll"] == pytest.approx(float(expected), rel=1e-5)


class TestNames:
    def test_every_listed_name_makes_the_metric_of_that_name(self) -> None:
        for name in METRIC_NAMES:
            assert metric(name).name == name

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("NDCG@20", "ndcg@20"),
            (" hr@10 ", "hit-rate@10"),
            ("hit_rate@1", "hit-rate@1"),
            ("recall@5:3.5", "recall@5:3.5"),
            ("graded_ndcg@3", "graded-ndcg@3"),
            ("f1:4.0", "f1:4"),
            ("auc:-2", "auc:-2"),
        ],
    )
    def test_names_are_read_generously(self, text: str, name: str) -> None:
        assert metric(text).name == name

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("ndcg", r"needs a list length of at least 1, such as ndcg@10"),
            ("ndcg@0", r"needs a list length"),
            ("f1", r"such as f1:4"),
            ("mae@3", r"reads no list"),
            ("mae:3", r"has no threshold"),
        ],
    )
    def test_a_name_that_lacks_or_has_too_much_says_what_to_write(self, text: str, message: str) -> None:
        with pytest.raises(UserInputError, match=message):
            metric(text)

    def test_an_unknown_name_gets_the_nearest_one(self) -> None:
        with pytest.raises(UnknownNameError, match=r"Unknown metric 'ncdg@10'. Did you mean 'ndcg@10'\?"):
            metric("ncdg@10")

    def test_only_errors_are_better_low_and_calibration_is_neither(self) -> None:
        way = {name: metric(name).higher_is_better for name in METRIC_NAMES}
        assert {name for name in way if way[name] is False} == {"mae", "rmse", "nll"}
        assert {name for name in way if way[name] is None} == {"within-1sd", "within-2sd"}

    def test_a_list_of_no_length_is_refused(self) -> None:
        with pytest.raises(UserInputError, match="at least 1 place"):
            recall(0)
