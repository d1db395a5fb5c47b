"""Other data in a model's terms, so that the model can be judged on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from acclimate.data import Dataset, FeatureTable, Interactions
from acclimate.errors import UserInputError


@dataclass(frozen=True)
class Lost:
    """What other data has that a model cannot use.

    Attributes:
        items: items that occur and that the model does not know. events: on them.
        users: people who have no other events.
    """

    items: int
    events: int
    users: int


def align(ours: Dataset, other: Dataset) -> tuple[Dataset, Lost]:
    """The users and events of ``other`` with the catalogue and the fields of ``ours``.

    Events on items that the catalogue lacks are left out, and with them people who have no others.

    Raises:
        UserInputError: ratings against implicit events, ratings of another range, or not one known item.
    """
    if ours.explicit != other.explicit:
        kinds = {True: "ratings", False: "implicit events"}
        raise UserInputError(
            f"The model learned from {kinds[ours.explicit]}, but {other.name!r} holds "
            f"{kinds[other.explicit]}. "
            "Read the data with the value column (columns={'value': ...}) that the model was trained with."
        )
    low, high = ours.value_range
    if ours.explicit and (other.value_range[0] < low or other.value_range[1] > high):
        raise UserInputError(
            f"The model's ratings go from {low:g} to {high:g}; those of {other.name!r} from "
            f"{other.value_range[0]:g} to {other.value_range[1]:g}. Bring them to the same scale."
        )
    rows = ours.item_ids.encode(other.item_ids.ids, "item id")
    inter = other.interactions
    known = rows[inter.items] >= 0
    if not bool(known.any()):
        raise UserInputError(
            f"None of the items of {other.name!r} (such as {other.item_ids.ids[0]!r}) is in the model's "
            "catalogue "
            f"(such as {ours.item_ids.ids[0]!r}). Check that both use the same item ids."
        )
    kept = inter.keep(known)
    people = (kept.counts() > 0).nonzero().flatten()
    kept = kept.select_users(people)
    aligned = replace(
        ours,
        interactions=Interactions(kept.offsets, rows[kept.items], kept.values, kept.times, ours.n_items),
        users=FeatureTable.encode(other.users.select(people).to_frame(), ours.users.schema),
        user_ids=other.user_ids.select(people),
        name=other.name,
    )
    lost = Lost(
        items=len(torch.unique(inter.items[~known])),
        events=int((~known).sum()),
        users=int((inter.counts() > 0).sum()) - len(people),
    )
    return aligned, lost


def acquainted(ours: Dataset, other: Dataset) -> torch.Tensor:
    """Whether each user of ``other`` is among those of ``ours``, [U] bool; never, where ids are of another "
    "type."""
    try:
        return ours.user_ids.encode(other.user_ids.ids, "user id") >= 0
    except UserInputError:
        return torch.zeros(other.n_users, dtype=torch.bool)
