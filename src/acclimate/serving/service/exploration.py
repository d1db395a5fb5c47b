"""Exploration: a bounded, visible share of a list for items of which little is known.

Sources: Thompson, "On the likelihood that one unknown probability exceeds another in view of the evidence of
two samples", Biometrika 1933; for the upper bound Auer, "Using confidence bounds for
exploitation-exploration trade-offs", JMLR 2002.
"""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from acclimate.serving.problems import RequestError
from acclimate.serving.service.branch import Branch
from acclimate.serving.service.checks import shown
from acclimate.serving.service.engine import Engine
from acclimate.serving.service.people.person import Person

Explore = Literal["thompson", "ucb"]

CANDIDATES = 512
"""Items among which the explored ones are chosen: half of them the best, half of them drawn."""

BOUND = 1.0
"""Deviations above the score at which the upper bound lies."""


def check_method(given: object) -> Explore:
    """How to explore.

    Raises:
        RequestError: no such way.
    """
    if given not in get_args(Explore):
        raise RequestError(
            "invalid_input", f"explore is 'thompson' or 'ucb'; found {shown(given)}.", field="explore"
        )
    return given  # type: ignore[return-value]


def seed(tenant: str, key: str, person: Person, model: str) -> np.random.Generator:
    """Randomness that is the same whenever the same is asked about the same person by the same model."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (tenant, key, model):
        digest.update(f"{len(part)} {part}".encode("utf-8", "replace"))
    digest.update(person.rows.tobytes())
    digest.update(person.values.tobytes())
    return np.random.default_rng(int.from_bytes(digest.digest(), "little"))


def places(share: float, k: int, random: np.random.Generator) -> int:
    """How many of k places exploration gets: ``share * k`` on average, never more than half of them."""
    wanted = share * k
    drawn = int(wanted) + int(random.random() < wanted - int(wanted))
    return min(drawn, k // 2)


def explored(
    branch: Branch,
    engine: Engine,
    person: Person,
    rows: NDArray[np.int64],
    n: int,
    method: Explore,
    random: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The n items to explore, and their scores.

    With ``thompson`` an item's chance is that its score, drawn from the posterior, is among the highest; with
    ``ucb`` those with the greatest score plus deviation are taken. An engine that does not know how unsure it
    is draws them evenly.

    Args:
        rows: of the items that may be explored, ascending; n at least.
    """
    half = max(CANDIDATES // 2, n)
    if len(rows) > 2 * half:
        allowed = np.zeros(branch.catalogue.n_items, dtype=np.bool_)
        allowed[rows] = True
        best = branch.top(engine, person, half, np.zeros(0, dtype=np.int64), allowed).rows
        drawn = random.choice(rows, half, replace=False)
        rows = np.union1d(best, drawn)
    scores = engine.scores(person, rows)
    if not engine.uncertain:
        order = random.permutation(len(rows))[:n]
        return rows[order], scores[order]
    spread = random.standard_normal(len(rows)) if method == "thompson" else BOUND
    wanted = scores + spread * engine.deviations(person, rows)
    order = np.lexsort((rows, -wanted))[:n]
    return rows[order], scores[order]
