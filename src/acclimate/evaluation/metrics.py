"""Metrics: what a recommender's answers were worth, a number for each user.

A metric reads an :class:`Outcome` (what a batch of users was predicted, shown and had asked for) and gives
[B]. It is NaN for a user for whom it means nothing (no relevant item to find, or only one class to tell
apart); such users are left out of that metric's mean, and the report counts who is left.

Names are ``base``, ``base@k`` (the first k places), ``base:t`` (liked means a value of at least t) or
``base@k:t``: ``mae``, ``ndcg@20``, ``f1:4``, ``recall@10:3.5``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from acclimate.errors import UnknownNameError, UserInputError
from acclimate.tensors import masked_mean, masked_sum

Needs = Literal["rating", "ranking", "deviation"]


@dataclass(frozen=True)
class Outcome:
    """What B users got, beside what they asked for. No recommender ever sees one.

    Attributes:
        scores: [B, Q] the score of each query event's item, as the recommender gave it.
        predictions: [B, Q] the same in the units of the values, clipped where the evaluation clips.
        values: [B, Q] what the user really gave.
        asked: [B, Q] bool, True where there is a query event.
        deviations: [B, Q] how unsure the recommender was of each score, or None if it cannot say.
        top_values: [B, K] the user's value of the item in each place of the list, best place first; NaN where
            the query does not hold that item.
        relevant_values: [B, R] values of the distinct query items among the candidates (the highest, where
            an item was asked for more than once).
        relevant: [B, R] bool, True where there is such an item.
    """

    scores: Tensor
    predictions: Tensor
    values: Tensor
    asked: Tensor
    deviations: Tensor | None
    top_values: Tensor
    relevant_values: Tensor
    relevant: Tensor


@dataclass(frozen=True)
class Metric:
    """A number for each user; called with an :class:`Outcome`, it gives [B] float64, NaN where undefined.

    Attributes:
        name: such as ``ndcg@20``; :func:`metric` turns it back into this.
        needs: ``rating``: predictions in the units of the values; ``ranking``: an order is enough;
            ``deviation``: ratings and how unsure they are.
        of: the computation.
        higher_is_better: direction; None where neither is better, but to be near a value.
        k: length of the list it reads, or None if it reads no list.
    """

    name: str
    needs: Needs
    of: Callable[[Outcome], Tensor]
    higher_is_better: bool | None = True
    k: int | None = None

    def __call__(self, outcome: Outcome) -> Tensor:
        return self.of(outcome)

    def __repr__(self) -> str:
        return f"Metric({self.name!r})"


# Ratings: predictions in the units of the values.


def mae() -> Metric:
    """Mean absolute error of a user's query events: ``mean |prediction - value|``."""

    def of(o: Outcome) -> Tensor:
        error = (o.predictions.double() - o.values.double()).abs()
        return _where(o.asked.any(1), masked_mean(error, o.asked, 1))

    return Metric("mae", "rating", of, higher_is_better=False)


def rmse() -> Metric:
    """Root of a user's mean squared error: ``sqrt(mean (prediction - value)^2)``."""

    def of(o: Outcome) -> Tensor:
        error = (o.predictions.double() - o.values.double()).square()
        return _where(o.asked.any(1), masked_mean(error, o.asked, 1).sqrt())

    return Metric("rmse", "rating", of, higher_is_better=False)


def accuracy(threshold: float) -> Metric:
    """Share of query events on the right side of liking: prediction and value both reach it, or neither."""

    def of(o: Outcome) -> Tensor:
        right = (o.predictions >= threshold) == (o.values >= threshold)
        return _where(o.asked.any(1), masked_mean(right.double(), o.asked, 1))

    return Metric(f"accuracy:{threshold:g}", "rating", of)


def liked_precision(threshold: float) -> Metric:
    """Share of the query events predicted to be liked that are; 0 if none is predicted.

    Undefined for a user who likes nothing in the query.
    """

    def of(o: Outcome) -> Tensor:
        hits, predicted, liked = _confusion(o, threshold)
        return _where(liked > 0, hits / predicted.clamp(min=1))

    return Metric(f"liked-precision:{threshold:g}", "rating", of)


def liked_recall(threshold: float) -> Metric:
    """Share of the liked query events that are predicted to be liked.

    Undefined for a user who likes nothing in the query.
    """

    def of(o: Outcome) -> Tensor:
        hits, _, liked = _confusion(o, threshold)
        return _where(liked > 0, hits / liked.clamp(min=1))

    return Metric(f"liked-recall:{threshold:g}", "rating", of)


def f1(threshold: float) -> Metric:
    """Harmonic mean of :func:`liked_precision` and :func:`liked_recall`: ``2 hits / (predicted + liked)``."""

    def of(o: Outcome) -> Tensor:
        hits, predicted, liked = _confusion(o, threshold)
        return _where(liked > 0, 2 * hits / (predicted + liked).clamp(min=1))

    return Metric(f"f1:{threshold:g}", "rating", of)


def auc(threshold: float) -> Metric:
    """Chance that a liked query event scores above one that is not, a tie counting half.

    A user's own AUC (what some papers call UAUC), not one pooled over users. It reads the raw scores, because
    clipping would make ties, so that an order is enough. Undefined unless a user has events of both kinds.
    """

    def of(o: Outcome) -> Tensor:
        liked = o.asked & (o.values >= threshold)
        n_liked, n_asked = liked.sum(1), o.asked.sum(1)
        n_other = n_asked - n_liked
        # Padding sorts past the end, so that it changes no rank of a real event.
        x = torch.where(o.asked, o.scores.double(), math.inf)
        ordered = x.sort(dim=1).values
        below = torch.searchsorted(ordered, x)
        upto = torch.searchsorted(ordered, x, right=True)
        midrank = (below + upto + 1).double() / 2
        wins = masked_sum(midrank, liked, 1) - n_liked * (n_liked + 1) / 2
        return _where((n_liked > 0) & (n_other > 0), wins / (n_liked * n_other).clamp(min=1))

    return Metric(f"auc:{threshold:g}", "ranking", of)


# Rankings at k: a list of the k best candidates. ``liked`` narrows relevance to values of at least so much;
# None makes every query item relevant.


def recall(k: int, liked: float | None = None) -> Metric:
    """Share of a user's relevant items that stand in the first k places: ``hits / relevant``."""

    def of(o: Outcome) -> Tensor:
        hits, n = _hits(o, k, liked)
        return _where(n > 0, hits.sum(1) / n.clamp(min=1))

    return _ranking("recall", of, k, liked)


def precision(k: int, liked: float | None = None) -> Metric:
    """Share of the first k places that hold a relevant item: ``hits / k``, also where fewer are filled."""

    def of(o: Outcome) -> Tensor:
        hits, n = _hits(o, k, liked)
        return _where(n > 0, hits.sum(1) / k)

    return _ranking("precision", of, k, liked)


def hit_rate(k: int, liked: float | None = None) -> Metric:
    """1 if any of the first k places holds a relevant item, else 0."""

    def of(o: Outcome) -> Tensor:
        hits, n = _hits(o, k, liked)
        return _where(n > 0, hits.amax(1))

    return _ranking("hit-rate", of, k, liked)


def mrr(k: int, liked: float | None = None) -> Metric:
    """Reciprocal of the first place that holds a relevant item; 0 if none of the first k does."""

    def of(o: Outcome) -> Tensor:
        hits, n = _hits(o, k, liked)
        return _where(n > 0, (hits / _places(k)).amax(1))

    return _ranking("mrr", of, k, liked)


def average_precision(k: int, liked: float | None = None) -> Metric:
    """Mean over a user's relevant items of the precision at their place, 0 for those not in the first k.

    ``1 / relevant * sum_p precision@p * hit_p``, as trec_eval's ``map_cut``; its mean over users is MAP at k.
    """

    def of(o: Outcome) -> Tensor:
        hits, n = _hits(o, k, liked)
        total = (hits.cumsum(1) / _places(k) * hits).sum(1)
        return _where(n > 0, total / n.clamp(min=1))

    return _ranking("map", of, k, liked)


def ndcg(k: int, liked: float | None = None, *, graded: bool = False) -> Metric:
    """Discounted gain of the first k places over the best that any order of the candidates could reach.

    ``sum_p gain_p / log2(p + 1)`` over the same sum in order of falling gain. The gain of a relevant item is
    1, or ``2^value - 1`` where graded; other items gain nothing. Undefined where nothing can be gained.

    Source: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002;
    exponential gain as in Burges et al., "Learning to rank using gradient descent", ICML 2005.

    Raises:
        UserInputError: when called, if graded values are negative or above 30.
    """

    def of(o: Outcome) -> Tensor:
        least = -math.inf if liked is None else liked
        place_gain = _gain(o.top_values[:, :k].double(), o.top_values[:, :k] >= least, graded)
        own = _gain(o.relevant_values.double(), o.relevant & (o.relevant_values >= least), graded)
        ideal = own.sort(dim=1, descending=True).values[:, :k]
        best = (ideal * _discount(ideal.shape[1])).sum(1)
        got = (place_gain * _discount(place_gain.shape[1])).sum(1)
        return _where(best > 0, got / torch.where(best > 0, best, 1.0))

    return _ranking("graded-ndcg" if graded else "ndcg", of, k, liked)


# Calibration of the deviation: whether a recommender is as unsure as it should be.


def within(deviations: float) -> Metric:
    """Share of query values within so many deviations of their score.

    A well calibrated Gaussian has 68.3 % within one and 95.4 % within two: nearer is better, not higher. The
    deviation is the recommender's own of the score; one that leaves out the noise of the values falls short.
    """

    def of(o: Outcome) -> Tensor:
        inside = (o.values - o.scores).abs() <= deviations * _deviations(o)
        return _where(o.asked.any(1), masked_mean(inside.double(), o.asked, 1))

    return Metric(f"within-{deviations:g}sd", "deviation", of, higher_is_better=None)


def nll() -> Metric:
    """Mean negative log density, in nats, of the query values under N(score, deviation^2).

    A deviation that leaves out the noise of the values is punished here, see :func:`within`.
    """

    def of(o: Outcome) -> Tensor:
        deviation = _deviations(o).double().clamp(min=1e-6)
        z = (o.values.double() - o.scores.double()) / deviation
        loss = 0.5 * z.square() + deviation.log() + 0.5 * math.log(2 * math.pi)
        return _where(o.asked.any(1), masked_mean(loss, o.asked, 1))

    return Metric("nll", "deviation", of, higher_is_better=False)


# Names.

_PLAIN: dict[str, Callable[[], Metric]] = {
    "mae": mae,
    "rmse": rmse,
    "nll": nll,
    "within-1sd": lambda: within(1),
    "within-2sd": lambda: within(2),
}
_AT_THRESHOLD: dict[str, Callable[[float], Metric]] = {
    "accuracy": accuracy,
    "liked-precision": liked_precision,
    "liked-recall": liked_recall,
    "f1": f1,
    "auc": auc,
}
_AT_K: dict[str, Callable[[int, float | None], Metric]] = {
    "recall": recall,
    "precision": precision,
    "hit-rate": hit_rate,
    "mrr": mrr,
    "map": average_precision,
    "ndcg": ndcg,
    "graded-ndcg": lambda k, liked: ndcg(k, liked, graded=True),
}
_ALIASES = {"hr": "hit-rate", "hit": "hit-rate", "hitrate": "hit-rate", "average-precision": "map"}
METRIC_NAMES: tuple[str, ...] = (
    *_PLAIN,
    *(f"{base}:4" for base in _AT_THRESHOLD),
    *(f"{base}@10" for base in _AT_K),
)
"""A name of each kind, for help texts; any list length can follow ``@`` and any threshold ``:``."""


def metric(name: str) -> Metric:
    """The metric of that name: ``mae``, ``ndcg@20``, ``f1:4``, ``recall@10:3.5``.

    Raises:
        UnknownNameError: no metric is called so.
        UserInputError: the name lacks its list length or threshold, or has one that it cannot use.
    """
    match = re.fullmatch(
        r"([a-z0-9-]+?)(?:@(\d+))?(?::(-?\d+(?:\.\d+)?))?", name.strip().lower().replace("_", "-")
    )
    base = _ALIASES.get(match[1], match[1]) if match else name
    if match is None or base not in {*_PLAIN, *_AT_THRESHOLD, *_AT_K}:
        raise UnknownNameError("metric", name, METRIC_NAMES)
    k = int(match[2]) if match[2] else None
    liked = float(match[3]) if match[3] else None
    if base in _AT_K:
        if not k:
            raise UserInputError(f"The metric {name!r} needs a list length of at least 1, such as {base}@10.")
        return _AT_K[base](k, liked)
    if k is not None:
        raise UserInputError(f"The metric {base!r} reads no list; found a list length in {name!r}.")
    if base in _AT_THRESHOLD:
        if liked is None:
            raise UserInputError(
                f"The metric {name!r} needs the value from which on one likes, such as {base}:4."
            )
        return _AT_THRESHOLD[base](liked)
    if liked is not None:
        raise UserInputError(f"The metric {base!r} has no threshold; found one in {name!r}.")
    return _PLAIN[base]()


def as_metrics(metrics: Iterable[Metric | str]) -> tuple[Metric, ...]:
    """Metrics, named or ready, in order.

    Raises:
        UserInputError: there is none, or one occurs twice.
    """
    given = (metrics,) if isinstance(metrics, str | Metric) else tuple(metrics)
    chosen = tuple(metric(m) if isinstance(m, str) else m for m in given)
    names = [m.name for m in chosen]
    if not names:
        raise UserInputError("There is nothing to measure: name at least one metric, such as ndcg@20.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserInputError(f"The metric {twice[0]} is asked for more than once.")
    return chosen


def _ranking(base: str, of: Callable[[Outcome], Tensor], k: int, liked: float | None) -> Metric:
    if k < 1:
        raise UserInputError(f"{base}@{k}: a list has at least 1 place.")
    return Metric(f"{base}@{k}" + ("" if liked is None else f":{liked:g}"), "ranking", of, k=k)


def _where(defined: Tensor, value: Tensor) -> Tensor:
    return torch.where(defined, value.double(), math.nan)


def _confusion(o: Outcome, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """Events both predicted and really liked, predicted, and really liked, each [B] float64."""
    predicted, liked = o.asked & (o.predictions >= threshold), o.asked & (o.values >= threshold)
    return (predicted & liked).sum(1).double(), predicted.sum(1).double(), liked.sum(1).double()


def _hits(o: Outcome, k: int, liked: float | None) -> tuple[Tensor, Tensor]:
    """Relevant items by place [B, k], 0 or 1, and how many relevant items there are [B]."""
    least = -math.inf if liked is None else liked
    relevant = (o.relevant & (o.relevant_values >= least)).sum(1)
    # NaN, an item that the query does not hold, compares False.
    return (o.top_values[:, :k] >= least).double(), relevant.double()


def _gain(values: Tensor, counts: Tensor, graded: bool) -> Tensor:
    if not graded:
        return counts.double()
    seen = values[counts]
    if len(seen) and (float(seen.min()) < 0 or float(seen.max()) > 30):
        found = float(seen.min()) if float(seen.min()) < 0 else float(seen.max())
        raise UserInputError(
            f"graded-ndcg has the gain 2^value - 1 and takes values from 0 to 30; found {found:g}. Use ndcg."
        )
    return torch.where(counts, torch.exp2(values) - 1, 0.0)


def _places(k: int) -> Tensor:
    return torch.arange(1, k + 1, dtype=torch.float64)


def _discount(k: int) -> Tensor:
    return 1 / torch.log2(_places(k) + 1)


def _deviations(o: Outcome) -> Tensor:
    if o.deviations is None:
        raise UserInputError("This recommender does not say how unsure it is; leave out within-… and nll.")
    return o.deviations
