"""Candidates: which items are ranked for a user. Never silent: every report carries ``describe()``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from acclimate.data import Dataset, Items, TaskBatch
from acclimate.errors import UserInputError


@dataclass(frozen=True)
class Pool:
    """The candidates of a batch of B users.

    Attributes:
        items: ids [N], the same for everybody, or [B, N], a list for each. No item is allowed twice.
        allowed: [B, N] bool, False for an item that this user is not to be shown.
    """

    items: Items
    allowed: Tensor


Draw = Callable[[Tensor, TaskBatch], Pool]
"""From the users [B] of a batch and the batch to its candidates."""


class Candidates(Protocol):
    """A rule for which items are ranked."""

    def describe(self) -> str:
        """What was ranked, in words, for the report."""
        ...

    def over(self, dataset: Dataset) -> Draw:
        """The rule applied to the catalogue of a dataset."""
        ...


@dataclass(frozen=True)
class Catalogue:
    """The whole catalogue, without what the user has just shown.

    Attributes:
        repeats: keep the support items, where people choose the same thing again (food, songs).
    """

    repeats: bool = False

    def describe(self) -> str:
        return "full catalogue" if self.repeats else "full catalogue without the support items"

    def over(self, dataset: Dataset) -> Draw:
        shared = _Shared(dataset.catalogue(), dataset.n_items)
        return lambda users, batch: shared.pool(batch, len(users), exclude_support=not self.repeats)


@dataclass(frozen=True)
class QueryOnly:
    """Only what the user is asked about: tells how well tastes are ordered, not how well items are found."""

    def describe(self) -> str:
        return "only each user's query items"

    def over(self, dataset: Dataset) -> Draw:
        def draw(users: Tensor, batch: TaskBatch) -> Pool:
            ids, allowed, order = distinct(batch.query.items.ids, batch.query.mask)
            fields = {
                name: value.gather(1, order.reshape(*order.shape, *[1] * (value.dim() - 2)).expand_as(value))
                for name, value in batch.query.items.fields.items()
            }
            shown = excluded(ids, allowed, batch.support.items.ids, batch.support.mask)
            return Pool(Items(ids, fields), allowed & ~shown)

        return draw


@dataclass(frozen=True)
class Sampled:
    """The query items and ``n`` others, drawn uniformly for each user from the rest of the catalogue.

    Cheaper, but its numbers are higher than, and may order recommenders unlike, those of the full catalogue
    (Krichene and Rendle, "On sampled metrics for item recommendation", KDD 2020). A user keeps the same draw
    at every number of shots, but for items that have become support.

    Attributes:
        n: items drawn besides the query items. seed: of the draw.
    """

    n: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n < 1:
            raise UserInputError(
                f"Sampled(n={self.n}) draws nothing; use QueryOnly() to rank the query items alone."
            )

    def describe(self) -> str:
        return f"query items and {self.n} sampled others, seed {self.seed}"

    def over(self, dataset: Dataset) -> Draw:
        n = min(self.n, dataset.n_items)
        everything = torch.arange(dataset.n_items)

        def draw(users: Tensor, batch: TaskBatch) -> Pool:
            asked, asked_mask, _ = distinct(batch.query.items.ids, batch.query.mask)
            # A salt keeps the draw apart from the order of ties, which comes from the same mixing.
            keys = pseudorandom(everything, users, self.seed, salt=1)
            for ids, mask in ((asked, asked_mask), (batch.support.items.ids, batch.support.mask)):
                keys = _without(keys, ids, mask)
            drawn = keys.topk(n, dim=1)
            ids = torch.cat([asked, drawn.indices], dim=1)
            shown = excluded(asked, asked_mask, batch.support.items.ids, batch.support.mask)
            allowed = torch.cat([asked_mask & ~shown, drawn.values >= 0], dim=1)
            return Pool(dataset.items_at(ids), allowed)

        return draw


@dataclass(frozen=True, eq=False)
class Given:
    """A list of items that is the same for everybody (what is in stock, what is new), without the support.

    Query items outside the list can neither be found nor missed: they are not asked for.

    Attributes:
        rows: [N] rows of the catalogue. what: how reports call them.
    """

    rows: Tensor
    what: str = "given items"

    @classmethod
    def untouched(cls, train: Dataset) -> Given:
        """The items of the catalogue on which the training data has no event."""
        return cls(
            (train.interactions.item_counts() == 0).nonzero().flatten(), "items without a training event"
        )

    def describe(self) -> str:
        return f"{len(self.rows):,} {self.what} without the support items"

    def over(self, dataset: Dataset) -> Draw:
        low, high = (int(self.rows.min()), int(self.rows.max())) if len(self.rows) else (-1, -1)
        if low < 0 or high >= dataset.n_items:
            found = f"rows from {low} to {high}" if len(self.rows) else "none"
            raise UserInputError(
                f"Given needs rows from 0 to {dataset.n_items - 1} of the catalogue; found {found}."
            )
        rows = torch.bincount(self.rows).nonzero().flatten()
        shared = _Shared(dataset.items_at(rows), dataset.n_items)
        return lambda users, batch: shared.pool(batch, len(users), exclude_support=True)


@dataclass(frozen=True, eq=False)
class _Shared:
    """One list of candidates for everybody."""

    items: Items
    n_items: int

    def pool(self, batch: TaskBatch, n_users: int, *, exclude_support: bool) -> Pool:
        allowed = torch.ones(n_users, len(self.items.ids), dtype=torch.bool)
        if exclude_support:
            place = torch.full((self.n_items,), -1)
            place[self.items.ids] = torch.arange(len(self.items.ids))
            ids = batch.support.items.ids
            at = torch.where(batch.support.mask & (ids >= 0), place[ids.clamp(min=0)], -1)
            user, event = (at >= 0).nonzero(as_tuple=True)
            allowed[user, at[user, event]] = False
        return Pool(self.items, allowed)


def distinct(ids: Tensor, mask: Tensor, values: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Sorts each row by id and marks the first of each distinct one.

    Args:
        ids: [B, Q]. mask: [B, Q] bool, True = real.
        values: [B, Q]; of an id that occurs more than once, the entry with the highest value is marked.

    Returns:
        ``(ids [B, Q], mask [B, Q], order [B, Q])``: the sorted ids, which of them count, and where each
        stood.
    """
    order = torch.arange(ids.shape[1]).expand(ids.shape) if values is None else _falling(values, mask)
    # Padding goes last, whatever stands in it.
    key = torch.where(mask, ids, torch.iinfo(torch.int64).max).gather(1, order)
    key, by_id = key.sort(dim=1, stable=True)
    order = order.gather(1, by_id)
    first = torch.ones_like(mask)
    first[:, 1:] = key[:, 1:] != key[:, :-1]
    real = mask.gather(1, order)
    return torch.where(real, key, -1), first & real, order


def excluded(ids: Tensor, mask: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
    """Which of the ids [B, Q] stand among the other ids [B, S] of the same user, [B, Q] bool."""
    same = (ids[:, :, None] == other[:, None, :]) & other_mask[:, None, :]
    return same.any(-1) & mask


def pseudorandom(ids: Tensor, users: Tensor, seed: int, *, salt: int = 0) -> Tensor:
    """An integer in 0 .. 2^31 - 1 for each user and item: distinct within a user, unrelated between users.

    It depends on nothing else: not on the batch, nor on which items are asked for.

    Args:
        ids: [N] or [B, N] int64. users: [B] int64.

    Returns:
        [B, N] int64.
    """
    stream = torch.tensor([4 * seed + 2 * salt, 4 * seed + 2 * salt + 1])
    items, own = _mix(ids + _mix(stream[0])), _mix(users + _mix(stream[1]))
    # An odd factor permutes the integers modulo 2^31; another factor for each user gives each another order.
    return (items * (own | 1)[:, None] + _mix(own)[:, None]) & _LOW


_LOW = 0x7FFFFFFF


def _mix(x: Tensor) -> Tensor:
    """A permutation of the integers modulo 2^31 that leaves no visible order (after Mueller's hash32)."""
    x = x & _LOW
    for _ in range(2):
        x = ((x ^ (x >> 15)) * 0x45D9F3B) & _LOW
    return x ^ (x >> 16)


def _falling(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, -torch.inf).argsort(dim=1, descending=True, stable=True)


def _without(keys: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """The keys [B, N] with -1 at each user's ids [B, S]."""
    user, event = (mask & (ids >= 0)).nonzero(as_tuple=True)
    keys[user, ids[user, event]] = -1
    return keys
