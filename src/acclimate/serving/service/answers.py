"""What the service answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Ranked:
    """An item of a list.

    Attributes:
        item: the caller's id, in its own type. title: what to show people; None without titles.
        score: higher is better; a predicted rating where ``scale`` is ``rating``, clipped to its range.
        rank: from 1. deviation: standard deviation of the score, where asked for and known.
        reason: why it stands here if not by its score: ``explored`` or ``pinned``.
    """

    item: Any
    title: str | None
    score: float
    rank: int
    deviation: float | None = None
    reason: Literal["explored", "pinned"] | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A list for one person.

    Attributes:
        model: SHA-256 of the model that answered. scale: ``rating`` or ``rank``.
        strategy: who ranked: ``default``, ``popularity``, ``item-knn``.
        events: how many events the answer reflects. exact: whether no better item was overlooked.
        degraded: what is not as it should be, in words; empty if all is well.
    """

    items: tuple[Ranked, ...]
    model: str
    scale: Literal["rating", "rank"]
    strategy: str
    events: int
    exact: bool
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """A term of a score: ``prior``, one for each ``event``, ``rest``, and their sum, ``total``."""

    part: Literal["prior", "event", "rest", "total"]
    contribution: float
    item: Any = None
    title: str | None = None
    value: float | None = None
    event: str | None = None
    """Id of the event, where it is stored."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why an item scores what it scores for one person; ``method`` is ``exact`` or ``leave-one-out``."""

    item: Any
    title: str | None
    parts: tuple[Part, ...]
    method: str
    model: str
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """An item to ask a newcomer about.

    Attributes:
        information: nats that an answer is expected to give, times how likely it is known; None if unknown.
        deviation: of the score, before any answer. popularity: share of training users who met it, or None.
    """

    item: Any
    title: str | None
    rank: int
    information: float | None = None
    deviation: float | None = None
    popularity: float | None = None


@dataclass(frozen=True, slots=True)
class Questions:
    """What to ask a newcomer first, chosen by ``method``: ``information`` or ``popularity and diversity``."""

    items: tuple[Question, ...]
    method: str
    model: str
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """An event that is on disk: ``stored`` now, or a ``duplicate`` of one that was.

    Attributes:
        known: whether the catalogue holds its item; if not, it counts once the item is added.
    """

    id: str
    status: Literal["stored", "duplicate"]
    known: bool


@dataclass(frozen=True, slots=True)
class Match:
    """An item that a search found."""

    item: Any
    title: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """An event as it is kept: ``id`` and ``known`` are those of a stored one, as in :class:`Receipt`."""

    item: Any
    value: float | None
    time: float | None
    id: str | None = None
    known: bool = True


@dataclass(frozen=True, slots=True)
class Export:
    """Everything that is kept about a person.

    Attributes:
        events: in the store, oldest first. history: what the model in use remembers of them.
    """

    events: tuple[Kept, ...]
    history: tuple[Kept, ...]
