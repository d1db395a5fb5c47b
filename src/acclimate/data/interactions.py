"""Interactions: who chose what, how strongly and when, as ragged columns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from acclimate.tensors import offsets_of, segment_ranges


@dataclass(frozen=True, eq=False)
class Interactions:
    """An immutable ragged table of events, grouped by user, in order of time within a user.

    Attributes:
        offsets: [U + 1] int64; user u owns events ``offsets[u]:offsets[u + 1]``.
        items: [E] int64 rows of the catalogue.
        values: [E] float32 ratings, or event strengths for implicit feedback.
        times: [E] int64 seconds since epoch, or None. Ties keep the order of the file.
        n_items: size of the catalogue; may exceed the items that occur.
    """

    offsets: Tensor
    items: Tensor
    values: Tensor
    times: Tensor | None
    n_items: int

    @classmethod
    def from_columns(
        cls,
        users: Tensor,
        items: Tensor,
        values: Tensor | None = None,
        times: Tensor | None = None,
        *,
        n_users: int | None = None,
        n_items: int | None = None,
    ) -> Interactions:
        """Groups flat columns by user, then by time, stably: ties keep their order.

        Args:
            users: [E] int64. items: [E] int64. values: [E], 1 where absent. times: [E] seconds.
        """
        n_users = n_users if n_users is not None else int(users.max()) + 1 if len(users) else 0
        n_items = n_items if n_items is not None else int(items.max()) + 1 if len(items) else 0
        order = torch.arange(len(users)) if times is None else times.argsort(stable=True)
        order = order[users[order].argsort(stable=True)]
        values = torch.ones(len(users)) if values is None else values
        return cls(
            offsets=offsets_of(torch.bincount(users, minlength=n_users)),
            items=items[order].long(),
            values=values[order].float(),
            times=None if times is None else times[order].long(),
            n_items=n_items,
        )

    def __len__(self) -> int:
        return len(self.items)

    @property
    def n_users(self) -> int:
        return len(self.offsets) - 1

    def counts(self) -> Tensor:
        """Events of each user, [U] int64."""
        return self.offsets[1:] - self.offsets[:-1]

    def item_counts(self) -> Tensor:
        """Events of each item, [n_items] int64."""
        return torch.bincount(self.items, minlength=self.n_items)

    def users(self) -> Tensor:
        """The user of each event, [E] int64."""
        return torch.arange(self.n_users).repeat_interleave(self.counts())

    def events_of(self, users: Tensor) -> Tensor:
        """Flat positions of all events of the given users, user after user."""
        return segment_ranges(self.offsets[users], self.counts()[users])

    def select_users(self, users: Tensor) -> Interactions:
        """The events of the chosen users, renumbered 0 .. in the given order."""
        events = self.events_of(users)
        return Interactions(
            offsets=offsets_of(self.counts()[users]),
            items=self.items[events],
            values=self.values[events],
            times=None if self.times is None else self.times[events],
            n_items=self.n_items,
        )

    def keep(self, mask: Tensor) -> Interactions:
        """Only the events where ``mask`` [E] is True; users and items keep their numbers."""
        kept = torch.bincount(self.users()[mask], minlength=self.n_users)
        return Interactions(
            offsets=offsets_of(kept),
            items=self.items[mask],
            values=self.values[mask],
            times=None if self.times is None else self.times[mask],
            n_items=self.n_items,
        )

    def with_values(self, values: Tensor) -> Interactions:
        """The same events with other values [E]."""
        return replace(self, values=values.float())

    def transposed(self) -> Interactions:
        """Items as users and users as items: the events of an item, in order of time."""
        return Interactions.from_columns(
            self.items, self.users(), self.values, self.times, n_users=self.n_items, n_items=self.n_users
        )

    def to_csr(self) -> scipy.sparse.csr_matrix:
        """The users-by-items matrix of values, float32; the values of repeated pairs add up."""
        return scipy.sparse.csr_matrix(
            (self.values.numpy(), self.items.numpy(), self.offsets.numpy()),
            shape=(self.n_users, self.n_items),
        )

    def hash(self) -> str:
        """SHA-256 of the columns: equal exactly when the events are."""
        digest = hashlib.sha256(f"{self.n_users} {self.n_items}".encode())
        for column in (self.offsets, self.items, self.values, self.times):
            digest.update(b"-" if column is None else np.ascontiguousarray(column.numpy()).tobytes())
        return digest.hexdigest()
