"""The exact scan in plain NumPy: float32 products with a bound on their rounding, survivors in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acclimate.serving.retrieval.checks import refuse_query

CHAINS = 8
"""Partial sums of a score; see :func:`float64_scores`."""

_BLOCK = 1 << 16
"""Items scored at once."""


def float64_scores(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Dot products [n] of float32 vectors [n, D] with a query [D], summed in float64 in one fixed order.

    A product of two float32 numbers is exact in float64. The products are summed in eight chains, product
    ``d`` in chain ``d mod 8``, and the chains in pairs; so a score depends on the two vectors alone, not on
    where the item stands, which machine adds, or how many items are scored at once. Equal items get equal
    scores.
    """
    wide = query.astype(np.float64)
    sums = np.zeros((len(vectors), CHAINS))
    for start in range(0, len(query), CHAINS):
        part = vectors[:, start : start + CHAINS]
        sums[:, : part.shape[1]] += part * wide[start : start + CHAINS]
    fours = sums[:, :4] + sums[:, 4:]
    twos = fours[:, :2] + fours[:, 2:]
    scores: NDArray[np.float64] = twos[:, 0] + twos[:, 1]
    return scores


def best(
    rows: NDArray[np.int64], scores: NDArray[np.float64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k highest scores, best first, equal ones in the order of their rows."""
    if len(rows) > k:
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = scores >= kth
        rows, scores = rows[kept], scores[kept]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def norms_of(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N] float32, no smaller than the norms of vectors [N, D]; infinite where these overflow."""
    out = np.empty(len(vectors), dtype=np.float32)
    with np.errstate(over="ignore"):
        for start in range(0, len(vectors), _BLOCK):
            block = vectors[start : start + _BLOCK].astype(np.float64)
            out[start : start + _BLOCK] = np.sqrt(np.square(block).sum(1)) * (1 + 2.0**-20)
    return out


def plain_top(
    vectors: NDArray[np.float32],
    norms: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    skip: NDArray[np.int64] | None,
    allowed: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows and scores of the k best, block by block.

    A float32 product of D terms differs from the true one by at most ``(D + 2) 2^-24 |q| |v|`` in any order
    of summation, unless it overflows (then nothing is ruled out) or is tiny (then by less than ``D 2^-120``).

    Args:
        norms: [N] no smaller than the norms of the vectors.
    """
    if not np.isfinite(query).all():
        refuse_query()
    d = len(query)
    slack = np.float32((d + 4) * 2.0**-23 * float(np.linalg.norm(query.astype(np.float64))))
    tiny = np.float32(d * 2.0**-120)
    left_out = None if skip is None or len(skip) == 0 else np.sort(skip)
    rows, scores = np.empty(0, dtype=np.int64), np.empty(0)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        with np.errstate(all="ignore"):
            approximate = block @ query
            error = norms[start : start + _BLOCK] * slack + tiny
            upper = np.where(np.isfinite(approximate), approximate + error, np.inf)
            free = np.ones(len(block), dtype=np.bool_)
            if allowed is not None:
                free &= allowed[start : start + _BLOCK]
            if left_out is not None:
                low, high = np.searchsorted(left_out, (start, start + len(block)))
                free[left_out[low:high] - start] = False
            floor = scores[-1] if len(scores) == k else -np.inf
            if len(scores) < k < np.count_nonzero(free):
                lower = np.where(free & np.isfinite(approximate), approximate - error, -np.inf)
                floor = np.partition(lower, len(lower) - k)[len(lower) - k]
            survivors = np.flatnonzero(free & ~(upper < floor))
        found = float64_scores(block[survivors], query)
        rows, scores = best(np.concatenate([rows, survivors + start]), np.concatenate([scores, found]), k)
    return rows, scores
