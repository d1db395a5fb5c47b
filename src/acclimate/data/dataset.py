"""Dataset: interactions, feature tables and vocabularies that belong together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acclimate.data.features import FeatureTable, Items
from acclimate.data.interactions import Interactions
from acclimate.data.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Dataset:
    """Everything a learner may learn from.

    Attributes:
        interactions: the events.
        users: features, a row each user. items: features, a row each item.
        user_ids: the caller's user ids. item_ids: the caller's item ids.
        explicit: True if values are ratings, False if they are strengths of implicit feedback.
        value_range: lowest and highest value that occurs; predictions of ratings are clipped to it.
        name: what reports call it.
    """

    interactions: Interactions
    users: FeatureTable
    items: FeatureTable
    user_ids: Vocabulary
    item_ids: Vocabulary
    explicit: bool
    value_range: tuple[float, float]
    name: str = "data"

    @property
    def n_users(self) -> int:
        return self.interactions.n_users

    @property
    def n_items(self) -> int:
        return self.interactions.n_items

    @property
    def unit(self) -> float:
        """A quarter of the range of values: one star where ratings go from 1 to 5.

        Learners whose settings are in units of a rating measure ratings in it, so that a scale from 0 to 100
        is learned as well as one from 1 to 5.
        """
        low, high = self.value_range
        return (high - low) / 4 if high > low else 1.0

    def __repr__(self) -> str:
        kind = "ratings" if self.explicit else "implicit events"
        return (
            f"Dataset({self.name!r}: {len(self.interactions):,} {kind}, "
            f"{self.n_users:,} users, {self.n_items:,} items)"
        )

    def catalogue(self) -> Items:
        """All items, [n_items]."""
        return self.items_at(torch.arange(self.n_items))

    def items_at(self, rows: Tensor) -> Items:
        """Items with their fields at the given catalogue rows [...]; -1 stays an unknown item."""
        return Items(rows, self.items.gather(rows))

    def select_users(self, users: Tensor) -> Dataset:
        """The chosen users and their events, renumbered; the catalogue stays whole."""
        return replace(
            self,
            interactions=self.interactions.select_users(users),
            users=self.users.select(users),
            user_ids=self.user_ids.select(users),
        )

    def keep(self, mask: Tensor) -> Dataset:
        """Only the events where ``mask`` [E] is True; users and items keep their numbers."""
        return replace(self, interactions=self.interactions.keep(mask))

    def with_values(self, values: Tensor) -> Dataset:
        """The same events with other values [E]."""
        return replace(self, interactions=self.interactions.with_values(values))

    def implicit(self) -> Dataset:
        """Every event counts as chosen, with strength 1, whatever its rating."""
        ones = torch.ones(len(self.interactions))
        return replace(
            self, interactions=self.interactions.with_values(ones), explicit=False, value_range=(1.0, 1.0)
        )

    def transposed(self) -> Dataset:
        """Users and items exchanged, so that a task is an item: whatever adapts to users adapts to items."""
        return replace(
            self,
            interactions=self.interactions.transposed(),
            users=self.items,
            items=self.users,
            user_ids=self.item_ids,
            item_ids=self.user_ids,
        )

    def hash(self) -> str:
        """SHA-256 of the interactions."""
        return self.interactions.hash()
