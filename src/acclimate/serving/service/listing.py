"""A list: the best items, and what rules, diversity and exploration make of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from acclimate.serving.service.branch import Branch
from acclimate.serving.service.diversity import POOL, diversified
from acclimate.serving.service.engine import Engine
from acclimate.serving.service.exploration import Explore, explored, places
from acclimate.serving.service.limits import MOST_K
from acclimate.serving.service.people.person import Person

Reason = Literal["explored", "pinned"]
_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of a list, in rows.

    Attributes:
        k: its length. skip: rows that must not stand in it. seen: rows that stand in it only where pinned.
        allowed: [n_items], False leaves an item out.
        diversity: 0 to 1. share: of the places, for exploration. explore: how.
        pins: row -> rank.
    """

    k: int
    skip: NDArray[np.int64]
    seen: NDArray[np.int64]
    allowed: NDArray[np.bool_] | None = None
    diversity: float = 0.0
    share: float = 0.0
    explore: Explore = "thompson"
    pins: Mapping[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Listed:
    """Items of a list in order; ``notes`` say what could not be done as asked."""

    rows: list[int]
    scores: list[float]
    reasons: dict[int, Reason]
    exact: bool
    notes: list[str]


def listing(
    branch: Branch, engine: Engine, person: Person, wish: Wish, random: np.random.Generator | None
) -> Listed:
    """The list that was wished for.

    Args:
        random: of this person and moment; needed where something is explored.
    """
    notes: list[str] = []
    reasons: dict[int, Reason] = {}
    pins = _standing(wish) if wish.pins else {}
    skip = np.concatenate([wish.skip, wish.seen]) if len(wish.skip) else wish.seen
    if pins:
        skip = np.concatenate([skip, np.array(list(pins), dtype=np.int64)])
    room = wish.k - len(pins)
    rows: list[int] = []
    scores: list[float] = []
    exact = True
    if room:
        wanted = room if wish.diversity == 0 else min(POOL * room, MOST_K)
        found = branch.top(engine, person, wanted, skip, wish.allowed)
        exact = found.exact
        at, chosen = found.rows, found.scores
        if wish.diversity > 0 and len(at) > 1:
            units = branch.units(at)
            if units is None:
                notes.append("diversity is not known: this model has no item vectors and no labels of items")
            else:
                order = diversified(chosen, units, room, wish.diversity)
                at, chosen = at[order], chosen[order]
        rows, scores = at[:room].tolist(), chosen[:room].tolist()
    if wish.share > 0 and random is not None:
        extra = min(places(wish.share, wish.k, random), len(rows))
        candidates = _little_known(branch, skip, wish.allowed) if extra else _NONE
        # What stands in front by its score is not explored.
        left = candidates[~np.isin(candidates, rows[: len(rows) - extra])]
        extra = min(extra, len(left))
        if extra:
            more, theirs = explored(branch, engine, person, left, extra, wish.explore, random)
            reasons.update(dict.fromkeys(more.tolist(), "explored"))
            own = [(row, score) for row, score in zip(rows, scores, strict=True) if row not in reasons]
            own = own[: len(rows) - extra]
            rows = [*(row for row, _ in own), *more.tolist()]
            scores = [*(score for _, score in own), *theirs.tolist()]
            if not engine.uncertain:
                notes.append("this model does not know how unsure it is: items to explore were drawn evenly")
    if pins:
        theirs = engine.scores(person, np.array(list(pins), dtype=np.int64))
        of = dict(zip(pins, theirs.tolist(), strict=True))
        for row, rank in sorted(pins.items(), key=lambda pin: pin[1]):
            rows.insert(rank - 1, row)
            scores.insert(rank - 1, of[row])
            reasons[row] = "pinned"
    return Listed(rows, scores, reasons, exact, notes)


def _standing(wish: Wish) -> dict[int, int]:
    """The pins that this list shows."""
    out = set(wish.skip.tolist())
    return {
        row: rank
        for row, rank in wish.pins.items()
        if rank <= wish.k and row not in out and (wish.allowed is None or wish.allowed[row])
    }


def _little_known(
    branch: Branch, skip: NDArray[np.int64], allowed: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    free = branch.catalogue.little_known.copy()
    free[skip] = False
    if allowed is not None:
        free &= allowed
    return np.flatnonzero(free)
