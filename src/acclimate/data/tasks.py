"""Tasks: what recommenders adapt to (support) and are judged on (query)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from acclimate.data.dataset import Dataset
from acclimate.data.features import Items
from acclimate.tensors import offsets_of, pad_segments, segment_ranges, shuffled_within


@dataclass(frozen=True)
class Feedback:
    """A padded batch of users' interactions.

    Attributes:
        items: [B, S] ids and fields.
        values: [B, S] float32, a rating or the strength of an implicit event.
        mask: [B, S] bool, True = real. Whatever stands in masked entries must not matter, NaN included.
        times: [B, S] int64 seconds since epoch, or None.
        user: user fields, name -> [B, ...].
    """

    items: Items
    values: Tensor
    mask: Tensor
    times: Tensor | None = None
    user: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def n_users(self) -> int:
        return len(self.mask)

    def __getitem__(self, rows: Tensor | slice) -> Feedback:
        """The feedback of the chosen users."""
        return Feedback(
            items=self.items[rows],
            values=self.values[rows],
            mask=self.mask[rows],
            times=None if self.times is None else self.times[rows],
            user={name: value[rows] for name, value in self.user.items()},
        )

    def to(self, device: torch.device | str) -> Feedback:
        return Feedback(
            items=self.items.to(device),
            values=self.values.to(device),
            mask=self.mask.to(device),
            times=None if self.times is None else self.times.to(device),
            user={name: value.to(device) for name, value in self.user.items()},
        )


@dataclass(frozen=True)
class TaskBatch:
    """A batch of tasks: learn from the support, be judged on the query."""

    support: Feedback
    query: Feedback

    def to(self, device: torch.device | str) -> TaskBatch:
        return TaskBatch(self.support.to(device), self.query.to(device))


@dataclass(frozen=True, eq=False)
class Tasks:
    """Many tasks over one dataset, ragged; an event belongs to the support or the query, never to both.

    Attributes:
        dataset: where the events lie. For item tasks it is a transposed dataset.
        users: [T] int64, the user (or item) of each task.
        support: flat event positions; task t owns ``support[support_offsets[t]:support_offsets[t + 1]]``, in
            the order in which the events arrive, so that k shots are the first k.
        query: flat event positions, likewise.
    """

    dataset: Dataset
    users: Tensor
    support: Tensor
    support_offsets: Tensor
    query: Tensor
    query_offsets: Tensor

    def __len__(self) -> int:
        return len(self.users)

    def support_sizes(self) -> Tensor:
        return self.support_offsets[1:] - self.support_offsets[:-1]

    def query_sizes(self) -> Tensor:
        return self.query_offsets[1:] - self.query_offsets[:-1]

    def with_shots(self, k: int) -> Tasks:
        """The same tasks with only the first k support events of each (fewer where there are fewer)."""
        sizes = self.support_sizes().clamp(max=k)
        return replace(
            self,
            support=self.support[segment_ranges(self.support_offsets[:-1], sizes)],
            support_offsets=offsets_of(sizes),
        )

    def select(self, rows: Tensor) -> Tasks:
        """The chosen tasks."""
        s, q = self.support_sizes()[rows], self.query_sizes()[rows]
        return Tasks(
            dataset=self.dataset,
            users=self.users[rows],
            support=self.support[segment_ranges(self.support_offsets[rows], s)],
            support_offsets=offsets_of(s),
            query=self.query[segment_ranges(self.query_offsets[rows], q)],
            query_offsets=offsets_of(q),
        )

    def batch(self, rows: Tensor) -> TaskBatch:
        """The chosen tasks as padded tensors."""
        return TaskBatch(
            support=self._feedback(self.support, self.support_offsets, rows),
            query=self._feedback(self.query, self.query_offsets, rows),
        )

    def batches(self, size: int = 256) -> Iterator[tuple[Tensor, TaskBatch]]:
        """All tasks in order, ``size`` at a time, as (rows, batch)."""
        for start in range(0, len(self), size):
            rows = torch.arange(start, min(start + size, len(self)))
            yield rows, self.batch(rows)

    def hash(self) -> str:
        """SHA-256 of which events are support and query of which users: the split's fingerprint."""
        digest = hashlib.sha256(self.dataset.hash().encode())
        for column in (self.users, self.support, self.support_offsets, self.query, self.query_offsets):
            digest.update(column.numpy().tobytes())
        return digest.hexdigest()

    def _feedback(self, events: Tensor, offsets: Tensor, rows: Tensor) -> Feedback:
        positions, mask = pad_segments(events, offsets, rows, fill=0)
        inter = self.dataset.interactions
        if len(inter) == 0:
            positions = positions.new_zeros(positions.shape)
            items, values, times = positions - 1, torch.zeros(positions.shape), None
        else:
            items = torch.where(mask, inter.items[positions], -1)
            values = torch.where(mask, inter.values[positions], 0.0)
            times = None if inter.times is None else torch.where(mask, inter.times[positions], 0)
        return Feedback(
            items=self.dataset.items_at(items),
            values=values,
            mask=mask,
            times=times,
            user=self.dataset.users.gather(self.users[rows]),
        )


def make_tasks(
    dataset: Dataset, users: Tensor, events: Tensor, lengths: Tensor, *, support: Tensor, query: Tensor
) -> Tasks:
    """Tasks from ordered events and how many of each user's become support and query.

    Args:
        users: [T] users. events: flat positions of their events, user after user, in arrival order.
        lengths: [T] how many of ``events`` are each user's.
        support: [T] sizes: the first events of a user become the support.
        query: [T] sizes: the events that follow the support become the query.
    """
    starts = offsets_of(lengths)[:-1]
    return Tasks(
        dataset=dataset,
        users=users,
        support=events[segment_ranges(starts, support)],
        support_offsets=offsets_of(support),
        query=events[segment_ranges(starts + support, query)],
        query_offsets=offsets_of(query),
    )


def sample_tasks(
    dataset: Dataset,
    users: Tensor,
    *,
    support: tuple[int, int],
    query: int,
    generator: torch.Generator,
) -> Tasks:
    """One random task for each of the given users.

    A support size is drawn uniformly from ``support`` (both ends included), but at least one event is left
    for the query, which takes up to ``query`` of the remaining events. Users with fewer than two events give
    a task with an empty support.

    Args:
        dataset: what to draw from. users: [T] rows; each should have at least one event.
        generator: the only source of randomness.
    """
    inter = dataset.interactions
    lengths = inter.counts()[users]
    local = offsets_of(lengths)
    order = shuffled_within(local, generator)
    events = inter.events_of(users)[order]
    low, high = support
    drawn = torch.randint(low, high + 1, (len(users),), generator=generator)
    sizes = torch.minimum(drawn, (lengths - 1).clamp(min=0))
    return make_tasks(
        dataset, users, events, lengths, support=sizes, query=(lengths - sizes).clamp(max=query)
    )


@dataclass(frozen=True)
class TaskSampler:
    """Endless source of training episodes: each epoch visits every eligible user once, in random order.

    For item tasks, sample from ``dataset.transposed()``.

    Attributes:
        support: smallest and largest support size, drawn uniformly.
        query: most query events of a task.
        batch_size: tasks a batch.
        min_events: users with fewer events are not visited.
    """

    support: tuple[int, int] = (1, 80)
    query: int = 100
    batch_size: int = 64
    min_events: int = 2

    def eligible(self, dataset: Dataset) -> Tensor:
        """Users [T] with enough events for a task."""
        return (dataset.interactions.counts() >= self.min_events).nonzero().flatten()

    def epoch(self, dataset: Dataset, generator: torch.Generator) -> Iterator[TaskBatch]:
        """Batches of one epoch; every draw comes from ``generator``."""
        users = self.eligible(dataset)
        users = users[torch.randperm(len(users), generator=generator)]
        tasks = sample_tasks(dataset, users, support=self.support, query=self.query, generator=generator)
        for _, batch in tasks.batches(self.batch_size):
            yield batch

    def steps(self, dataset: Dataset) -> int:
        """Batches in an epoch."""
        return -(-len(self.eligible(dataset)) // self.batch_size)


__all__ = ["Feedback", "TaskBatch", "TaskSampler", "Tasks", "make_tasks", "sample_tasks"]
