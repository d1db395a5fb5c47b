"""Events as the store keeps them, and the other things it is told: new items, and rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One thing that somebody did.

    Attributes:
        id: the caller's name for this event, one in a tenant; saying it again changes nothing.
        user: who, as the store's key: see :class:`~acclimate.serving.service.whom.Whom`.
        item: on what, the caller's id as text.
        value: a rating or a strength; None where the event says no more than that it happened.
        time: seconds since epoch, for information: order is the order of arrival.
    """

    id: str
    user: str
    item: str
    value: float | None
    time: float


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item that the model's catalogue lacks, added while serving: its id as text, and its fields."""

    item: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the business wants, whatever anybody's taste.

    Attributes:
        pin: item (id as text) -> the rank, from 1, at which it stands in every list.
        bury: items that no list shows.
        exploration: the share of every list, 0 to 0.5, kept for items of which little is known.
    """

    pin: Mapping[str, int] = field(default_factory=dict)
    bury: tuple[str, ...] = ()
    exploration: float = 0.0
