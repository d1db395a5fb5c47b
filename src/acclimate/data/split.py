"""Splits that cannot leak: the training dataset physically lacks every event that a test may show or ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from acclimate.data.dataset import Dataset
from acclimate.data.tasks import Tasks, make_tasks
from acclimate.errors import UserInputError
from acclimate.tensors import offsets_of, segment_ranges, shuffled_within

Order = Literal["random", "time"]
_LARGER = "Hold out larger shares, or bring more events."


@dataclass(frozen=True, eq=False)
class Split:
    """Training data, and tasks to choose by (validation) and to report on (test).

    Attributes:
        train: what learners see. Its catalogue is whole: a new item has a row and fields, but no events.
        validation: tasks to choose hyperparameters by. test: tasks to report on, once.
        name: what reports call it.
    """

    train: Dataset
    validation: Tasks
    test: Tasks
    name: str


def user_tasks(
    dataset: Dataset,
    users: Tensor,
    *,
    query: int | None = 10,
    max_support: int | None = None,
    min_events: int | None = None,
    max_events: int | None = None,
    order: Order = "random",
    generator: torch.Generator,
) -> Tasks:
    """One evaluation task for each user with enough events.

    Args:
        users: [T] candidate users; those with fewer than ``min_events`` or more than ``max_events`` are left
            out.
        query: query events of a task, held out before the support is chosen; None for all that the support
            leaves, which needs ``max_support``.
        max_support: longest support; None for all that the query leaves.
        min_events: default one more than ``query`` (or than ``max_support`` if query is None). Users of whom
            nothing is left to ask about are left out in any case.
        order: ``random`` shuffles a user's events first; ``time`` keeps them (in the order of the file where
            there are no times), so that the support precedes the query.

    Raises:
        UserInputError: ``query`` asks for nothing, or for all the rest of an unbounded support.
    """
    if query is None and max_support is None:
        raise UserInputError("query=None (all the rest) needs max_support.")
    if query is not None and query < 1:
        raise UserInputError(
            f"query={query} leaves nothing to ask about; use 1 or more, or None for the rest."
        )
    held = query if query is not None else max_support or 0
    least = held + 1 if min_events is None else min_events
    inter = dataset.interactions
    counts = inter.counts()[users]
    fits = (counts >= least) & (counts > (0 if query is not None else held))
    if max_events is not None:
        fits &= counts <= max_events
    users, lengths = users[fits], counts[fits]
    events = inter.events_of(users)
    if order == "random":
        events = events[shuffled_within(offsets_of(lengths), generator)]
    cap = int(lengths.max()) if len(lengths) and max_support is None else max_support or 0
    if query is None:
        support = lengths.clamp(max=cap)
        asked = lengths - support
    else:
        asked = lengths.clamp(max=query)
        support = (lengths - asked).clamp(max=cap)
    return make_tasks(dataset, users, events, lengths, support=support, query=asked)


def new_users(
    dataset: Dataset,
    *,
    test: float = 0.2,
    validation: float = 0.1,
    query: int | None = 10,
    max_support: int | None = 20,
    min_events: int | None = None,
    order: Order = "random",
    seed: int = 0,
) -> Split:
    """Holds out whole users: nothing of a validation or test user is in the training data.

    Args:
        test: share of users to report on. validation: share of users to choose by.
        query, max_support, min_events, order: see :func:`user_tasks`.

    Raises:
        UserInputError: too few users, or none with enough events.
    """
    generator = torch.Generator().manual_seed(seed)
    train_users, validation_users, test_users = _partition(
        dataset.n_users, test, validation, "users", generator
    )

    def tasks(users: Tensor) -> Tasks:
        held_out = dataset.select_users(users)
        return user_tasks(
            held_out,
            torch.arange(len(users)),
            query=query,
            max_support=max_support,
            min_events=min_events,
            order=order,
            generator=generator,
        )

    split = Split(dataset.select_users(train_users), tasks(validation_users), tasks(test_users), "new-users")
    return _checked(
        split, dataset, validation > 0, "Ask for a smaller query or min_events, or bring more events a user."
    )


def new_items(
    dataset: Dataset,
    *,
    test: float = 0.2,
    validation: float = 0.1,
    max_support: int | None = 20,
    seed: int = 0,
) -> Split:
    """Holds out whole items: known users show events on known items and are asked about items nobody touched.

    The support of a task are the user's events on training items, the query those on held-out items.

    Raises:
        UserInputError: too few items, or none of those held out was touched.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = _partition(dataset.n_items, test, validation, "items", generator)
    role = _roles(dataset.n_items, parts)[dataset.interactions.items]
    everyone = torch.arange(dataset.n_users)
    validation_tasks, test_tasks = (
        _cross_tasks(dataset, everyone, role == 0, role == which, max_support, generator) for which in (1, 2)
    )
    split = Split(dataset.keep(role == 0), validation_tasks, test_tasks, "new-items")
    return _checked(split, dataset, validation > 0, _LARGER)


def new_users_and_items(
    dataset: Dataset,
    *,
    test: float = 0.2,
    validation: float = 0.1,
    max_support: int | None = 20,
    seed: int = 0,
) -> Split:
    """Holds out users and items: new users show events on training items and are asked about new items.

    Raises:
        UserInputError: too few users or items, or no held-out user touched a held-out item.
    """
    generator = torch.Generator().manual_seed(seed)
    user_parts = _partition(dataset.n_users, test, validation, "users", generator)
    item_parts = _partition(dataset.n_items, test, validation, "items", generator)
    role = _roles(dataset.n_items, item_parts)
    known = dataset.select_users(user_parts[0])

    def tasks(which: int) -> Tasks:
        held_out = dataset.select_users(user_parts[which])
        of = role[held_out.interactions.items]
        return _cross_tasks(
            held_out, torch.arange(held_out.n_users), of == 0, of == which, max_support, generator
        )

    train = known.keep(role[known.interactions.items] == 0)
    split = Split(train, tasks(1), tasks(2), "new-users-and-items")
    return _checked(split, dataset, validation > 0, _LARGER)


def by_time(dataset: Dataset, *, test: float = 0.1, validation: float = 0.1) -> Split:
    """One clock for everybody: train on the past, be asked about the future.

    Times are cut at two quantiles of all events. A test task's support is the user's whole past before the
    cut, oldest first (empty for somebody new), its query everything after it.

    Raises:
        UserInputError: the data has no times, or nothing lies between or after the cuts.
    """
    _check_shares(test, validation)
    times = _times(dataset)
    # torch.quantile takes 16 million values at most.
    in_order = times.sort().values
    first, second = (
        int(in_order[int(share * (len(times) - 1))]) for share in (1 - test - validation, 1 - test)
    )
    everyone = torch.arange(dataset.n_users)
    validation_tasks = _cross_tasks(
        dataset, everyone, times <= first, (times > first) & (times <= second), None
    )
    test_tasks = _cross_tasks(dataset, everyone, times <= second, times > second, None)
    split = Split(dataset.keep(times <= first), validation_tasks, test_tasks, "by-time")
    cure = f"{_LARGER} Where most events carry one time, no cut parts them: split otherwise."
    return _checked(split, dataset, validation > 0, cure)


def leave_last_out(dataset: Dataset) -> Split:
    """The last event of each user is the test query, the one before it the validation query, the rest trains.

    Users with fewer than three events train only. Without times, the order of the file counts.
    """
    inter = dataset.interactions
    counts = inter.counts()
    users = (counts >= 3).nonzero().flatten()
    lengths = counts[users]
    events = inter.events_of(users)
    one = torch.ones_like(lengths)
    validation = make_tasks(dataset, users, events, lengths, support=lengths - 2, query=one)
    test = make_tasks(dataset, users, events, lengths, support=lengths - 1, query=one)
    from_end = inter.offsets[1:].repeat_interleave(counts) - torch.arange(len(inter))  # 1 for a user's last
    train = dataset.keep((from_end > 2) | (counts < 3).repeat_interleave(counts))
    cure = "Users with three events or more are needed."
    return _checked(Split(train, validation, test, "leave-last-out"), dataset, True, cure)


def four_states(
    dataset: Dataset,
    new_users: Tensor,
    new_items: Tensor,
    *,
    query: int = 10,
    min_events: int = 13,
    max_events: int = 100,
    seed: int = 0,
) -> tuple[Dataset, dict[str, Tasks]]:
    """MeLU's four states: warm, and new users (UC), new items (IC), both (UIC).

    A rating belongs to a state by (is its user new?) x (is its item new?). A task is a user with
    ``min_events`` to ``max_events`` ratings *in that state*; ``query`` random ones are the query, the others
    the support.

    Args:
        new_users: [*] rows of the users held out. new_items: [*] rows of the items held out.

    Returns:
        The warm ratings to train on, and the tasks of ``warm``, ``UC``, ``IC`` and ``UIC``. The queries of
        ``warm`` are among the ratings to train on: its tasks measure fit, only the other three are a test.

    Source: Lee et al., "MeLU: Meta-Learned User Preference Estimator for Cold-Start Recommendation",
    KDD 2019, 4.1.
    """
    generator = torch.Generator().manual_seed(seed)
    inter = dataset.interactions
    cold_user = torch.zeros(dataset.n_users, dtype=torch.bool)
    cold_user[new_users] = True
    cold_item = torch.zeros(dataset.n_items, dtype=torch.bool)
    cold_item[new_items] = True
    user_side, item_side = cold_user[inter.users()], cold_item[inter.items]
    states = {
        "warm": ~user_side & ~item_side,
        "UC": user_side & ~item_side,
        "IC": ~user_side & item_side,
        "UIC": user_side & item_side,
    }
    tasks = {}
    for name, mask in states.items():
        part = dataset.keep(mask)
        tasks[name] = user_tasks(
            part,
            torch.arange(part.n_users),
            query=query,
            min_events=min_events,
            max_events=max_events,
            generator=generator,
        )
    warm = dataset.keep(states["warm"])
    return warm.select_users((~cold_user).nonzero().flatten()), tasks


def _partition(
    n: int, test: float, validation: float, what: str, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Random disjoint rows for training, validation and test."""
    _check_shares(test, validation)
    n_test, n_validation = max(1, round(n * test)), max(1, round(n * validation)) if validation else 0
    if n - n_test - n_validation < 1:
        raise UserInputError(
            f"{n} {what} are too few to hold out {test:.0%} for test and {validation:.0%} for validation. "
            "Bring more, or hold out less."
        )
    order = torch.randperm(n, generator=generator)
    test_rows, validation_rows = order[:n_test], order[n_test : n_test + n_validation]
    train_rows = order[n_test + n_validation :]
    return train_rows.sort().values, validation_rows.sort().values, test_rows.sort().values


def _check_shares(test: float, validation: float) -> None:
    if not (0 < test < 1 and 0 <= validation < 1 and test + validation < 1):
        raise UserInputError(
            f"test={test} and validation={validation} must be shares that leave something to train on."
        )


def _roles(n: int, parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """0 for training, 1 for validation, 2 for test, [n]."""
    role = torch.zeros(n, dtype=torch.int64)
    role[parts[1]], role[parts[2]] = 1, 2
    return role


def _cross_tasks(
    dataset: Dataset,
    users: Tensor,
    shown: Tensor,
    asked: Tensor,
    max_support: int | None,
    generator: torch.Generator | None = None,
) -> Tasks:
    """Tasks whose support comes from the events ``shown`` [E] and whose query are the events ``asked`` [E].

    Users without a query are left out. The support is shuffled if a generator is given.
    """
    inter = dataset.interactions
    of = inter.users()
    support_sizes = torch.bincount(of[shown], minlength=dataset.n_users)
    query_sizes = torch.bincount(of[asked], minlength=dataset.n_users)
    support = shown.nonzero().flatten()
    offsets = offsets_of(support_sizes)
    if generator is not None:
        support = support[shuffled_within(offsets, generator)]
    users = users[query_sizes[users] > 0]
    support = support[segment_ranges(offsets[users], support_sizes[users])]
    query = asked.nonzero().flatten()
    query = query[segment_ranges(offsets_of(query_sizes)[users], query_sizes[users])]
    tasks = Tasks(
        dataset, users, support, offsets_of(support_sizes[users]), query, offsets_of(query_sizes[users])
    )
    return tasks if max_support is None else tasks.with_shots(max_support)


def _times(dataset: Dataset) -> Tensor:
    if dataset.interactions.times is None:
        raise UserInputError(
            "A split by time needs times; this data has none. Name the column with columns={}."
        )
    return dataset.interactions.times


def _checked(split: Split, dataset: Dataset, validated: bool, cure: str) -> Split:
    """Refuses a split without training data or tasks; ``validated`` says whether any were to validate."""
    events = len(dataset.interactions)
    found = f"its {dataset.n_users:,} users have {events:,} events on {dataset.n_items:,} items"
    for part, tasks in (("validation", split.validation), ("test", split.test)):
        if len(tasks) == 0 and (part == "test" or validated):
            raise UserInputError(
                f"The {split.name} split of {dataset.name!r} leaves no {part} task: {found}. {cure}"
            )
    if len(split.train.interactions) == 0:
        raise UserInputError(
            f"The {split.name} split of {dataset.name!r} leaves nothing to train on: {found}. Hold out less."
        )
    return split
