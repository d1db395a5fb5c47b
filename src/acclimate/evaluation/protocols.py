"""Protocols: a way to split, what to show, what to measure and what to rank, under one name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from acclimate.data import Dataset, Split, user_tasks
from acclimate.data import split as splits
from acclimate.data.split import Order
from acclimate.errors import UnknownNameError, UserInputError
from acclimate.evaluation.candidates import Candidates, Catalogue
from acclimate.evaluation.evaluate import Shots, support_sizes
from acclimate.evaluation.metrics import Metric, as_metrics, mae, ndcg, recall, rmse

CURVE: tuple[int, ...] = (0, 1, 3, 5, 10, 20)
"""Support events shown by default: the learning curve from the coldest start on."""


@dataclass(frozen=True)
class Protocol:
    """How recommenders are compared.

    Attributes:
        name: what reports call it.
        split: from a dataset and a seed to training data and tasks.
        shots: numbers of support events to show; None stands for the whole support.
        metrics: what to measure, the first in the table; None chooses by the data (:meth:`metrics_for`).
        candidates: which items are ranked.
    """

    name: str
    split: Callable[[Dataset, int], Split]
    shots: tuple[int | None, ...] = CURVE
    metrics: tuple[Metric, ...] | None = None
    candidates: Candidates = field(default_factory=Catalogue)

    def metrics_for(self, dataset: Dataset) -> tuple[Metric, ...]:
        """The protocol's metrics, or the default ones of the data."""
        return default_metrics(dataset) if self.metrics is None else self.metrics


def default_metrics(dataset: Dataset) -> tuple[Metric, ...]:
    """MAE, RMSE and NDCG@10 for ratings; NDCG@20 and Recall@20 for implicit events."""
    return (mae(), rmse(), ndcg(10)) if dataset.explicit else (ndcg(20), recall(20))


def new_users(
    *,
    shots: Shots = CURVE,
    metrics: Iterable[Metric | str] | None = None,
    candidates: Candidates | None = None,
    test: float = 0.2,
    validation: float = 0.1,
    query: int | None = 10,
    order: Order = "random",
    min_events: int | None = None,
) -> Protocol:
    """Users of whom training has no event show their first few, and are asked about ``query`` others.

    Supports are as long as the longest of ``shots``. The query is held out before the support is cut, so that
    it is the same at every number of shots.

    Args:
        test, validation, query, order, min_events: see :func:`acclimate.data.new_users`.
    """
    levels = support_sizes(shots)

    def split(dataset: Dataset, seed: int) -> Split:
        return splits.new_users(
            dataset,
            test=test,
            validation=validation,
            query=query,
            max_support=_longest(levels),
            min_events=min_events,
            order=order,
            seed=seed,
        )

    return Protocol("new-users", split, levels, _chosen(metrics), candidates or Catalogue())


def new_items(
    *,
    shots: Shots = CURVE,
    metrics: Iterable[Metric | str] | None = None,
    candidates: Candidates | None = None,
    test: float = 0.2,
    validation: float = 0.1,
) -> Protocol:
    """Known users are asked about items on which training has no event, and show events on the others.

    The whole catalogue is ranked by default; :meth:`~acclimate.evaluation.Given.untouched` ranks new items
    alone.
    """
    levels = support_sizes(shots)

    def split(dataset: Dataset, seed: int) -> Split:
        return splits.new_items(
            dataset, test=test, validation=validation, max_support=_longest(levels), seed=seed
        )

    return Protocol("new-items", split, levels, _chosen(metrics), candidates or Catalogue())


def new_users_and_items(
    *,
    shots: Shots = CURVE,
    metrics: Iterable[Metric | str] | None = None,
    candidates: Candidates | None = None,
    test: float = 0.2,
    validation: float = 0.1,
) -> Protocol:
    """New users show events on known items and are asked about new items."""
    levels = support_sizes(shots)

    def split(dataset: Dataset, seed: int) -> Split:
        return splits.new_users_and_items(
            dataset, test=test, validation=validation, max_support=_longest(levels), seed=seed
        )

    return Protocol("new-users-and-items", split, levels, _chosen(metrics), candidates or Catalogue())


def known_users(
    *,
    shots: Shots = CURVE,
    metrics: Iterable[Metric | str] | None = None,
    candidates: Candidates | None = None,
    test: float = 0.2,
    query: int = 10,
    order: Order = "random",
) -> Protocol:
    """Users seen in training, asked about events that training lacks: the warm picture beside the cold one.

    A share ``test`` of the users is judged. Their query is taken out of the training data, their support is
    not. There are no validation tasks: choose hyperparameters on new users.
    """
    levels = support_sizes(shots)

    def split(dataset: Dataset, seed: int) -> Split:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randperm(dataset.n_users, generator=generator)[: max(1, round(test * dataset.n_users))]
        tasks = user_tasks(
            dataset,
            drawn.sort().values,
            query=query,
            max_support=_longest(levels),
            order=order,
            generator=generator,
        )
        if len(tasks) == 0:
            raise UserInputError(
                f"None of {len(drawn)} drawn users of {dataset.name!r} has the {query + 1} events that the "
                f"known-users protocol needs. Ask for a smaller query."
            )
        kept = torch.ones(len(dataset.interactions), dtype=torch.bool)
        kept[tasks.query] = False
        return Split(dataset.keep(kept), tasks.select(torch.arange(0)), tasks, "known-users")

    return Protocol("known-users", split, levels, _chosen(metrics), candidates or Catalogue())


def by_time(
    *,
    shots: Shots = None,
    metrics: Iterable[Metric | str] | None = None,
    candidates: Candidates | None = None,
    test: float = 0.1,
    validation: float = 0.1,
) -> Protocol:
    """Everybody's past trains and is shown, everybody's future is asked about, cut at one time for all.

    The whole past is shown by default: the first k events would be the oldest.
    """

    def split(dataset: Dataset, seed: int) -> Split:
        return splits.by_time(dataset, test=test, validation=validation)

    return Protocol("by-time", split, support_sizes(shots), _chosen(metrics), candidates or Catalogue())


def leave_last_out(
    *,
    shots: Shots = None,
    metrics: Iterable[Metric | str] | None = None,
    candidates: Candidates | None = None,
) -> Protocol:
    """Each user's last event is asked about, all before it are shown."""

    def split(dataset: Dataset, seed: int) -> Split:
        return splits.leave_last_out(dataset)

    return Protocol(
        "leave-last-out", split, support_sizes(shots), _chosen(metrics), candidates or Catalogue()
    )


PROTOCOLS: dict[str, Callable[..., Protocol]] = {
    "new-users": new_users,
    "new-items": new_items,
    "new-users-and-items": new_users_and_items,
    "known-users": known_users,
    "by-time": by_time,
    "leave-last-out": leave_last_out,
}
"""Every protocol that has a name, and what makes it."""


def protocol(
    name: str,
    *,
    shots: Shots = None,
    metrics: Iterable[Metric | str] | None = None,
    candidates: Candidates | None = None,
) -> Protocol:
    """The protocol of that name, with its own defaults for what is not given.

    Raises:
        UnknownNameError: no protocol is called so.
    """
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    make = PROTOCOLS[name]
    if shots is None:
        return make(metrics=metrics, candidates=candidates)
    return make(shots=shots, metrics=metrics, candidates=candidates)


def _longest(shots: tuple[int | None, ...]) -> int | None:
    """The longest support that the shots need; None for all there is."""
    if None in shots:
        return None
    return max((k for k in shots if k is not None), default=0)


def _chosen(metrics: Iterable[Metric | str] | None) -> tuple[Metric, ...] | None:
    return None if metrics is None else as_metrics(metrics)
