"""Intervals and tests over users: how far a mean, or a difference of two, can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy.stats

Array = npt.NDArray[np.float64]

# Weights of resampled users held at once.
_MOST_WEIGHTS = 4_000_000


@dataclass(frozen=True)
class Paired:
    """How much more one recommender gives the same users than another.

    Attributes:
        difference: mean over users of a's value minus b's. low: end of its bootstrap interval.
        high: the other end. p: two-sided p-value of the hypothesis that the mean difference is 0.
        n: users for whom both values mean something.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int


def bootstrap_mean(
    values: Array, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[Array, Array, Array]:
    """Means over rows and their percentile bootstrap intervals.

    Rows are users and are drawn whole, so that all columns share their resamples. NaN entries are left out of
    their column.

    Args:
        values: [n, M], or [n].
        level: coverage of the interval. resamples: draws of n rows with replacement. seed: of the draws.

    Returns:
        ``(mean, low, high)``, each [M]; the interval is NaN where fewer than two rows have a value, for one
        user says nothing about others.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    values = (values if values.ndim == 2 else values[:, None]).astype(np.float64)
    n, width = values.shape
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    counts = known.sum(0).astype(np.float64)
    mean = _ratio(filled.sum(0), counts)
    if n == 0:
        return mean, mean.copy(), mean.copy()
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, width))
    step = max(1, _MOST_WEIGHTS // n)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        means[start : start + size] = _ratio(weights @ filled, weights @ known)
    low, high = np.full(width, np.nan), np.full(width, np.nan)
    enough = counts > 1
    if enough.any():
        tail = (1 - level) / 2
        low[enough], high[enough] = np.nanquantile(means[:, enough], [tail, 1 - tail], axis=0)
    return mean, low, high


def paired(a: Array, b: Array, *, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> Paired:
    """Compares two recommenders on the same users.

    The test is Student's paired t-test of the mean difference: with the number of users of a usual test set
    it agrees with the randomisation test, and unlike Wilcoxon's it is about the mean that tables print
    (Smucker, Allan and Carterette, "A comparison of statistical significance tests for information retrieval
    evaluation", CIKM 2007).

    Args:
        a: [n] values, a user each. b: [n] values of the same users; users with a NaN in either are left out.

    Returns:
        The difference a - b. Its p-value is NaN for fewer than two users. Where all users differ by the same,
        t is not defined and p is the randomisation test's: ``2^(1 - n)``, the chance that n coins agree, or 1
        if that difference is 0.
    """
    return paired_columns(a[:, None], b[:, None], level=level, resamples=resamples, seed=seed)[0]


def paired_columns(
    a: Array, b: Array, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> list[Paired]:
    """As :func:`paired` for each column of a and b, [n, M] each; all share their resamples of users."""
    difference = a.astype(np.float64) - b.astype(np.float64)
    difference[~np.isfinite(difference)] = np.nan
    intervals = bootstrap_mean(difference, level=level, resamples=resamples, seed=seed)
    out = []
    for column, mean, low, high in zip(difference.T, *intervals, strict=True):
        known = column[np.isfinite(column)]
        out.append(Paired(float(mean), float(low), float(high), _p_of_mean(known), len(known)))
    return out


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for being many, by Holm's step-down rule; NaN stays NaN and is not counted.

    ``p'_(i) = max over j <= i of min(1, (m - j + 1) p_(j))`` for p-values in rising order. Whatever is below
    alpha then is significant with a chance of at most alpha that any of them is a false alarm.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 1979.
    """
    raw = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(raw))
    order = known[np.argsort(raw[known], kind="stable")]
    factor = np.arange(len(order), 0, -1)
    corrected = np.full(len(raw), np.nan)
    corrected[order] = np.maximum.accumulate(np.minimum(1.0, raw[order] * factor)) if len(order) else []
    return [float(x) for x in corrected]


def per_user(frame: pl.DataFrame, by: Sequence[str], metrics: Sequence[str]) -> pl.DataFrame:
    """One row for each group and user: the mean of the user's tasks, so that a user counts once.

    Args:
        frame: rows of users, with the columns ``by``, ``user`` and ``metrics``.
    """
    return frame.group_by([*by, "user"], maintain_order=True).agg(pl.col(m).mean() for m in metrics)


def summarise(
    frame: pl.DataFrame,
    by: Sequence[str],
    metrics: Sequence[str],
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Means over users with bootstrap intervals, for each group and metric.

    Returns:
        The columns ``by``, then ``metric``, ``mean``, ``low``, ``high``, ``n`` (users who have a value); null
        where there is nothing to say.
    """
    rows = per_user(frame, by, metrics)
    users = rows["user"].unique(maintain_order=True)
    code = pl.DataFrame({"user": users, "_row": np.arange(len(users))})
    groups = list(rows.join(code, on="user", how="left").group_by(by, maintain_order=True))
    values = np.full((len(users), len(groups), len(metrics)), np.nan)
    for g, (_, group) in enumerate(groups):
        values[group["_row"].to_numpy(), g] = group.select(metrics).fill_null(float("nan")).to_numpy()
    mean, low, high = bootstrap_mean(
        values.reshape(len(users), -1), level=level, resamples=resamples, seed=seed
    )
    n = np.isfinite(values).sum(0).ravel()
    keys = pl.concat([group.select(by).head(1) for _, group in groups])
    out = keys.select(pl.all().repeat_by(len(metrics)).explode()).with_columns(
        pl.Series("metric", list(metrics) * len(groups), dtype=pl.String),
        mean=pl.Series(mean),
        low=pl.Series(low),
        high=pl.Series(high),
        n=pl.Series(n),
    )
    return out.with_columns(pl.col("mean", "low", "high").fill_nan(None))


def _ratio(total: Array, count: Array) -> Array:
    out = np.full(total.shape, np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out


def _p_of_mean(difference: Array) -> float:
    """Two-sided p-value of the hypothesis that the mean is 0."""
    if len(difference) < 2:
        return float("nan")
    if np.ptp(difference) == 0:
        return 1.0 if difference[0] == 0 else 2.0 ** (1 - len(difference))
    return float(scipy.stats.ttest_1samp(difference, 0.0).pvalue)
