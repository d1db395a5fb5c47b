"""Onboarding: which items to ask a newcomer about first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from acclimate.serving.service.beliefs import believed
from acclimate.serving.service.branch import Branch
from acclimate.serving.service.diversity import diversified
from acclimate.serving.service.people.person import Person

POOL: Final = 300
"""Items among which the questions are chosen: those that most people know."""

BALANCE: Final = 0.5
"""Weight of being unlike the questions before, where questions are chosen by popularity."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions in order: rows of items, what each is expected to tell (nats), and the deviation before."""

    rows: list[int]
    information: list[float] | None
    deviations: list[float] | None
    notes: tuple[str, ...]


def questions(branch: Branch, person: Person, k: int) -> Asked:
    """The k items to ask about.

    Where the recommender knows how unsure it is, the next question is always the one with the greatest
    ``p_i log(d_i / d_i')``: with the deviation ``d_i`` of the item's score before its answer and ``d_i'``
    after it, the logarithm is what the answer tells about the score, in nats; for a Gaussian posterior that
    is ``1/2 log(1 + t d_i^2)`` with the precision ``t`` of an answer, whatever the answer is. ``p_i`` is how
    likely the newcomer knows the item, the share of training users who met it. Answers to the questions
    before count as given. Otherwise popular items are chosen that are unlike each other.
    """
    catalogue = branch.catalogue
    free = np.ones(catalogue.n_items, dtype=np.bool_)
    free[person.seen] = False
    free[branch.buried] = False
    rows = np.flatnonzero(free)
    notes: tuple[str, ...] = ()
    counts = catalogue.known.counts
    if counts is not None:
        padded = np.concatenate([counts, np.zeros(catalogue.n_items - catalogue.n_known, dtype=np.int64)])
        rows = rows[np.argsort(-padded[rows], kind="stable")[:POOL]]
    else:
        rows = rows[np.unique(np.arange(min(POOL, len(rows))) * len(rows) // max(1, min(POOL, len(rows))))]
        notes = ("this model kept no histories: how many people know an item is not known",)
    k = min(k, len(rows))
    if k == 0:
        return Asked([], None, None, notes)
    if branch.engine.uncertain:
        return _informative(branch, person, rows, k, notes)
    return _popular(branch, person, rows, k, notes)


def _informative(
    branch: Branch, person: Person, rows: NDArray[np.int64], k: int, notes: tuple[str, ...]
) -> Asked:
    known = np.ones(len(rows))
    popularity = branch.catalogue.known.popularity
    if popularity is not None:
        inside = rows < branch.catalogue.n_known
        share = np.where(inside, popularity[np.where(inside, rows, 0)], 0.0)
        # Somebody may know what nobody of the histories met.
        n = branch.model.data.n_users
        known = (share * n + 0.5) / (n + 1)
    belief = believed(branch, person, rows)
    before = belief.deviations()
    chosen: list[int] = []
    told: list[float] = []
    free = np.ones(len(rows), dtype=np.bool_)
    for _ in range(k):
        expected = known * np.maximum(belief.gains(), 0.0)
        # Rounded, so that what is equal stands in the order of popularity on every machine.
        at = int(np.where(free, np.round(expected, 9), -1.0).argmax())
        told.append(float(expected[at]))
        chosen.append(at)
        free[at] = False
        belief.ask(at)
    return Asked([int(rows[at]) for at in chosen], told, [float(before[at]) for at in chosen], notes)


def _popular(
    branch: Branch, person: Person, rows: NDArray[np.int64], k: int, notes: tuple[str, ...]
) -> Asked:
    popularity = branch.catalogue.known.popularity
    if popularity is not None:
        inside = rows < branch.catalogue.n_known
        share = np.where(inside, popularity[np.where(inside, rows, 0)], 0.0)
        relevance = np.log1p(share * branch.model.data.n_users)
    else:
        relevance = branch.engine.scores(person, rows)
    units = branch.units(rows)
    if units is None:
        notes = (*notes, "likeness is not known: this model has no item vectors and no labels of items")
        order = np.lexsort((np.arange(len(rows)), -relevance))[:k]
    else:
        order = diversified(relevance, units, k, BALANCE)
    return Asked(rows[order].tolist(), None, None, notes)
