"""Diversity: a list whose items are not all alike.

Source: Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents and
producing summaries", SIGIR 1998.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.serving.service.catalogue.catalogue import Catalogue

POOL = 10
"""A list of k is chosen from the best 10 k."""


def diversified(
    scores: NDArray[np.float64], units: NDArray[np.float32], k: int, amount: float
) -> NDArray[np.int64]:
    """Positions [k] chosen one after the other by maximal marginal relevance.

    The next is always the one with the greatest ``(1 - amount) s_i - amount max_j cos(i, j)``, where j runs
    over those chosen already and ``s`` are the scores brought to 0 .. 1; equal ones in the given order.

    Args:
        scores: [n]. units: [n, d] unit vectors.
    """
    low, high = (scores.min(), scores.max()) if len(scores) else (0.0, 0.0)
    relevance = (1 - amount) * ((scores - low) / (high - low) if high > low else np.zeros_like(scores))
    wide = units.astype(np.float64)
    nearest = np.zeros(len(scores))
    free = np.ones(len(scores), dtype=np.bool_)
    chosen: list[int] = []
    while len(chosen) < min(k, len(scores)):
        at = int(np.where(free, relevance - amount * nearest, -np.inf).argmax())
        free[at] = False
        # Not einsum over a matrix product: its rounding may depend on the machine's blocking.
        cosine = np.einsum("nd,d->n", wide, wide[at])
        nearest = cosine if not chosen else np.maximum(nearest, cosine)
        chosen.append(at)
    return np.array(chosen, dtype=np.int64)


def field_units(catalogue: Catalogue, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """Unit vectors [n, d] of items by the labels of their fields; None where no field holds labels."""
    items = catalogue.items(torch.from_numpy(rows))
    parts = []
    for spec in catalogue.known.data.items.schema:
        if spec.kind not in ("categorical", "multi") or spec == catalogue.known.title:
            continue
        codes = items.fields[spec.name].numpy().reshape(len(rows), -1)
        # Only labels that occur here: a field may have thousands.
        present = np.unique(codes[codes > 0])
        hot = np.zeros((len(rows), len(present)), dtype=np.float32)
        for column in codes.T:
            told = np.flatnonzero(column > 0)
            hot[told, np.searchsorted(present, column[told])] = 1.0
        parts.append(hot)
    if not parts:
        return None
    whole = np.concatenate(parts, 1)
    units: NDArray[np.float32] = whole / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-12)
    return units
