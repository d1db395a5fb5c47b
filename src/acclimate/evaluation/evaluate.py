"""The referee: adapts a recommender to the support of each task, and judges it on the query, user by user."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from acclimate.data import Dataset, Items, TaskBatch, Tasks
from acclimate.errors import AcclimateError, UserInputError
from acclimate.evaluation.candidates import Candidates, Catalogue, Draw, Pool, distinct, pseudorandom
from acclimate.evaluation.metrics import Metric, Outcome, as_metrics
from acclimate.evaluation.statistics import summarise
from acclimate.models.base import Recommender, Uncertain
from acclimate.tensors import State

Shots = Sequence[int | None] | None
"""Numbers of support events to show; None stands for all of them."""

# Scores of a batch held at once: keeps a large catalogue from taking all memory.
_MOST_SCORES = 4_000_000


@dataclass(frozen=True, eq=False)
class Report:
    """What one recommender was worth on one set of tasks.

    Attributes:
        frame: a row for each number of shots and task: ``shots`` (null: the whole support), ``task`` (its
            index), ``user`` (the caller's id), ``n_support`` (events really shown), ``n_query``, and a column
            for each metric, null where it means nothing for this user.
        metrics: what was measured. recommender: its name.
        candidates: which items were ranked, in words.
        split_hash: of the tasks. data_hash: of the events they lie in.
        seed: of the order of ties. clip: whether predictions of ratings were clipped to the range of values.
        notes: what a reader should know before comparing.
        seconds: spent adapting, scoring and judging.
        lists: [rows of frame, K] the items in the first K places, -1 where fewer are left, K the longest
            list that a metric reads (0 if none does).
    """

    frame: pl.DataFrame
    metrics: tuple[Metric, ...]
    recommender: str
    candidates: str
    split_hash: str
    data_hash: str
    seed: int
    clip: bool
    notes: tuple[str, ...]
    seconds: float
    lists: Tensor

    def summary(self, *, level: float = 0.95, resamples: int = 1000) -> pl.DataFrame:
        """Means over users with bootstrap intervals.

        Returns:
            A row for each number of shots and metric: ``shots``, ``metric``, ``mean``, ``low``, ``high`` and
            ``n``, the users for whom the metric means something. A user with several tasks counts once.
        """
        names = [m.name for m in self.metrics]
        return summarise(self.frame, ["shots"], names, level=level, resamples=resamples, seed=self.seed)

    def to_dict(self) -> dict[str, object]:
        """Everything but the rows of single users, ready for JSON."""
        return {
            "recommender": self.recommender,
            "candidates": self.candidates,
            "split_hash": self.split_hash,
            "data_hash": self.data_hash,
            "seed": self.seed,
            "clip": self.clip,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "results": self.summary().to_dicts(),
        }

    def __repr__(self) -> str:
        users = self.frame["user"].n_unique()
        measured = ", ".join(m.name for m in self.metrics)
        return f"Report({self.recommender}: {measured} of {users:,} users; {self.candidates})"


def evaluate(
    recommender: Recommender,
    tasks: Tasks,
    *,
    metrics: Iterable[Metric | str],
    candidates: Candidates | None = None,
    shots: Shots = None,
    batch_size: int = 256,
    clip: bool = True,
    seed: int = 0,
    name: str | None = None,
) -> Report:
    """Judges a recommender on tasks: it sees each support, never a query.

    Every user is judged at every number of shots, so that the points of a learning curve are comparable; a
    user with fewer support events than asked for is shown all there are, and the report notes how many such
    users there are and says ``n_support`` in every row.

    Candidates with equal scores come in a pseudo-random order of each user's own, which depends on ``seed``,
    user and item alone: a recommender that cannot tell items apart is worth what chance is worth.

    Args:
        metrics: what to measure, such as ``[ndcg(20), recall(20)]``, or their names.
        candidates: which items are ranked; default :class:`Catalogue`.
        shots: how many of the first support events to show, such as ``(0, 1, 5, None)``; None shows all.
        batch_size: most users at a time; fewer where the catalogue is large.
        clip: clip predictions to the dataset's range of values before they meet a rating metric.
        name: what reports call the recommender; default its class.

    Raises:
        UserInputError: there are no tasks; a metric needs more than the recommender or the data offers.
        AcclimateError: the recommender's scores have the wrong shape or are not finite.
    """
    chosen = as_metrics(metrics)
    label = name or type(recommender).__name__
    if len(tasks) == 0:
        raise UserInputError(f"There is no task to evaluate {label} on.")
    refused = [m for m in chosen if not applies(m, recommender, tasks.dataset)]
    if refused:
        raise UserInputError(refusal(refused, label, recommender, tasks.dataset))
    levels = support_sizes(shots)
    candidates = candidates or Catalogue()
    judge = _Judge(
        recommender=recommender,
        name=label,
        dataset=tasks.dataset,
        metrics=chosen,
        draw=candidates.over(tasks.dataset),
        length=max((m.k or 0 for m in chosen), default=0),
        batch_size=max(1, min(batch_size, _MOST_SCORES // max(1, tasks.dataset.n_items))),
        clip=clip,
        seed=seed,
    )
    start = time.perf_counter()
    frames, lists = [], []
    for k in levels:
        shown = tasks if k is None else tasks.with_shots(k)
        values, top = judge.over(shown)
        frames.append(_rows(shown, k, chosen, values))
        lists.append(top)
    seconds = time.perf_counter() - start
    frame = pl.concat(frames)
    return Report(
        frame=frame,
        metrics=chosen,
        recommender=label,
        candidates=candidates.describe(),
        split_hash=tasks.hash(),
        data_hash=tasks.dataset.hash(),
        seed=seed,
        clip=clip,
        notes=shortfalls(frame),
        seconds=seconds,
        lists=torch.cat(lists),
    )


def applies(metric: Metric, recommender: Recommender, dataset: Dataset) -> bool:
    """Whether a metric means anything for a recommender on this data.

    A rating metric needs ratings in the data and a recommender that predicts them; calibration needs one that
    is :class:`~acclimate.models.base.Uncertain` besides.
    """
    if metric.needs == "ranking":
        return True
    if recommender.scale != "rating" or not dataset.explicit:
        return False
    return metric.needs == "rating" or isinstance(recommender, Uncertain)


def shortfalls(frame: pl.DataFrame) -> tuple[str, ...]:
    """A note on the tasks of a frame of rows whose support is shorter than was asked for, if any."""
    short = (
        frame.filter(pl.col("n_support") < pl.col("shots"))
        .group_by("shots")
        .agg(pl.len().alias("short"))
        .sort("shots")
    )
    if short.height == 0:
        return ()
    total = frame.height // frame["shots"].n_unique()
    where = ", ".join(f"{short['short'][i]:,} at {short['shots'][i]} shots" for i in range(short.height))
    return (
        f"Of {total:,} tasks, some have fewer support events than shots and show all they have: {where}.",
    )


def refusal(refused: Sequence[Metric], label: str, recommender: Recommender, dataset: Dataset) -> str:
    """Why these metrics do not apply, in words."""
    names = ", ".join(m.name for m in refused)
    if not dataset.explicit:
        why = f"the data {dataset.name!r} holds implicit events, not ratings"
    elif recommender.scale != "rating":
        why = f"{label} only orders items (scale='rank') and predicts no rating"
    else:
        why = f"{label} does not say how unsure it is"
    return f"{names} cannot be measured: {why}. Use ranking metrics such as ndcg@10 instead."


def support_sizes(shots: Shots) -> tuple[int | None, ...]:
    """The numbers of shots as a tuple; None stands for the whole support alone.

    Raises:
        UserInputError: there is none, one repeats or is negative.
    """
    levels = (None,) if shots is None else tuple(shots)
    bad = [k for k in levels if k is not None and k < 0]
    if not levels or bad or len(set(levels)) < len(levels):
        raise UserInputError(
            f"shots should be distinct numbers from 0 on, such as (0, 1, 5, 20); found {levels}."
        )
    return levels


def _rows(tasks: Tasks, k: int | None, metrics: tuple[Metric, ...], values: Tensor) -> pl.DataFrame:
    columns = {m.name: pl.Series(values[:, i].numpy()).fill_nan(None) for i, m in enumerate(metrics)}
    n = len(tasks)
    return pl.DataFrame(
        {
            "shots": pl.Series([k] * n, dtype=pl.Int64),
            "task": np.arange(n, dtype=np.int64),
            "user": tasks.dataset.user_ids.decode(tasks.users),
            "n_support": tasks.support_sizes().numpy(),
            "n_query": tasks.query_sizes().numpy(),
            **columns,
        }
    )


@dataclass(frozen=True, eq=False)
class _Judge:
    """One recommender, one rule, all batches."""

    recommender: Recommender
    name: str
    dataset: Dataset
    metrics: tuple[Metric, ...]
    draw: Draw
    length: int
    batch_size: int
    clip: bool
    seed: int

    def over(self, tasks: Tasks) -> tuple[Tensor, Tensor]:
        """Metrics [T, M] float64 and lists [T, length] of all tasks, in their order."""
        values = torch.full((len(tasks), len(self.metrics)), torch.nan, dtype=torch.float64)
        lists = torch.full((len(tasks), self.length), -1)
        for rows, batch in _alike(tasks, self.batch_size):
            outcome, top = self.outcome(tasks.users[rows], batch)
            values[rows] = torch.stack([m(outcome) for m in self.metrics], dim=1)
            lists[rows] = top
        return values, lists

    def outcome(self, users: Tensor, batch: TaskBatch) -> tuple[Outcome, Tensor]:
        state = self.recommender.adapt(batch.support)
        query = batch.query
        scores = torch.zeros(query.mask.shape)
        deviations = None
        if any(m.k is None for m in self.metrics):
            scores = self.scores(state, query.items, query.mask)
        if any(m.needs == "deviation" for m in self.metrics) and isinstance(self.recommender, Uncertain):
            with torch.no_grad():
                found = self.recommender.deviation(state, query.items)
            deviations = self.checked(found, query.mask, "deviations")
        low, high = self.dataset.value_range
        top, top_values = torch.full((len(users), 0), -1), torch.zeros(len(users), 0)
        relevant_values, relevant = torch.zeros(len(users), 0), torch.zeros(len(users), 0, dtype=torch.bool)
        if self.length:
            pool = self.draw(users, batch)
            ranked = self.scores(state, pool.items, pool.allowed)
            top = best(ranked, pool, users, self.length, self.seed)
            asked, relevant, order = distinct(query.items.ids, query.mask, query.values)
            relevant_values = query.values.gather(1, order)
            relevant &= among(asked, pool, self.dataset.n_items)
            top_values = _values_at(top, asked, relevant, relevant_values)
        outcome = Outcome(
            scores=scores,
            predictions=scores.clamp(low, high) if self.clip else scores,
            values=query.values,
            asked=query.mask,
            deviations=deviations,
            top_values=top_values,
            relevant_values=relevant_values,
            relevant=relevant,
        )
        return outcome, top

    def scores(self, state: State, items: Items, real: Tensor) -> Tensor:
        """The recommender's scores [B, N], checked where they are ``real``."""
        with torch.no_grad():
            scores = self.recommender.score(state, items)
        return self.checked(scores, real, "scores")

    def checked(self, numbers: Tensor, real: Tensor, what: str) -> Tensor:
        """The recommender's numbers [B, N] as float32, or an error that says what is wrong with them."""
        if numbers.shape != real.shape:
            raise AcclimateError(
                f"{self.name} gave {what} of shape {tuple(numbers.shape)}; expected {tuple(real.shape)}, "
                "a row for each user and a column for each item."
            )
        if not torch.isfinite(numbers).all():
            wrong = ~torch.isfinite(numbers) & real
            if wrong.any():
                raise AcclimateError(
                    f"{self.name} gave {int(wrong.sum()):,} {what} that are not finite (such as "
                    f"{float(numbers[wrong][0])}); they must be numbers that can be compared."
                )
        return numbers.float()


def best(scores: Tensor, pool: Pool, users: Tensor, k: int, seed: int) -> Tensor:
    """The items in the first k places, best first; ties in a pseudo-random order of each user's own.

    Args:
        scores: [B, N] of the candidates. users: [B].

    Returns:
        [B, k] rows of the catalogue, -1 where a user has fewer candidates.
    """
    ids = pool.items.ids
    n = min(k, scores.shape[1])
    masked = torch.where(pool.allowed, scores, -torch.inf)
    # One place more than is shown tells whether a tie reaches over the end of the list.
    ahead = masked.topk(min(n + 1, scores.shape[1]), dim=1)
    at = ahead.indices[:, :n].clone()
    tied = ((ahead.values[:, 1:] == ahead.values[:, :-1]) & torch.isfinite(ahead.values[:, 1:])).any(1)
    if tied.any():
        own = ids if ids.dim() == 1 else ids[tied]
        keys = _sortable(masked[tied]) | pseudorandom(own, users[tied], seed)
        at[tied] = keys.topk(n, dim=1).indices
    top = ids[at] if ids.dim() == 1 else ids.gather(1, at)
    top = torch.where(pool.allowed.gather(1, at), top, -1)
    return torch.nn.functional.pad(top, (0, k - n), value=-1)


def among(ids: Tensor, pool: Pool, n_items: int) -> Tensor:
    """Whether each of the ids [B, Q] is an allowed candidate of its user, [B, Q] bool."""
    if pool.items.ids.dim() == 2:
        owned = torch.where(pool.allowed, pool.items.ids, -1).sort(dim=1).values
        at = torch.searchsorted(owned, ids).clamp(max=owned.shape[1] - 1)
        return (ids >= 0) & (owned.gather(1, at) == ids)
    place = torch.full((n_items,), -1)
    place[pool.items.ids] = torch.arange(len(pool.items.ids))
    at = torch.where(ids >= 0, place[ids.clamp(min=0)], -1)
    return (at >= 0) & pool.allowed.gather(1, at.clamp(min=0))


def _alike(tasks: Tasks, size: int) -> Iterator[tuple[Tensor, TaskBatch]]:
    """Batches of tasks with supports and queries of like length, so that little of a batch is padding."""
    order = tasks.query_sizes().argsort(stable=True)
    order = order[tasks.support_sizes()[order].argsort(stable=True)]
    for rows in torch.split(order, size):
        yield rows, tasks.batch(rows)


def _sortable(scores: Tensor) -> Tensor:
    """Integers [B, N] in the order of the scores, with 31 low bits free."""
    bits = (scores + 0.0).view(torch.int32)  # adding 0 makes -0 and 0 one
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return ordered.long() << 31


def _values_at(top: Tensor, asked: Tensor, relevant: Tensor, values: Tensor) -> Tensor:
    """The user's value of the item in each place [B, K], NaN where it was not asked for.

    Args:
        top: [B, K] items. asked: [B, Q] items, distinct where ``relevant``. values: [B, Q] of them.
    """
    match = (top[:, :, None] == asked[:, None, :]) & relevant[:, None, :]  # [B, K, Q]
    # At most one item matches a place, so that the sum is its value.
    found = torch.where(match, values[:, None, :], 0.0).sum(-1)
    return torch.where(match.any(-1), found, torch.nan)


def shots_label(k: int | None) -> str:
    """How tables and plots write a number of shots."""
    return "all" if k is None else str(k)
