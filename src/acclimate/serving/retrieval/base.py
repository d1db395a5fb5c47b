"""What a scan is: one user vector in, the best items out, and whether they are surely the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Found:
    """The best items for one vector.

    Attributes:
        rows: [n] int64, best first; equal scores in the order of rows; n is k, or fewer where fewer are left.
        scores: [n] float64, the dot products of the float32 vectors.
        exact: whether no other item can have a higher score.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    exact: bool


class Scan(Protocol):
    """A catalogue of N item vectors of D dimensions, built once, asked often; safe for several threads."""

    @property
    def n_items(self) -> int: ...

    @property
    def method(self) -> str:
        """How it looks, for people: ``int8 scan, rescored``; ``usearch, recall@10 0.97``."""
        ...

    def top(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        skip: NDArray[np.int64] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Found:
        """The k items with the highest dot product.

        Args:
            query: [D] float32, finite. k: from 1 on.
            skip: rows to leave out, usually few.
            allowed: [N], False leaves an item out.
        """
        ...
