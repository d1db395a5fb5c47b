"""What a scan refuses, said in one message each."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import UserInputError


def check_vectors(vectors: NDArray[np.float32], what: str = "Item vectors") -> NDArray[np.float32]:
    """Vectors as float32 [N, D], rows one after the other in memory.

    Args:
        what: what messages call them.

    Raises:
        UserInputError: they are no table, have no columns, or are not finite.
    """
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise UserInputError(
            f"{what} must be a table [items, dimensions] with at least one dimension; found "
            f"shape {list(vectors.shape)}."
        )
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    finite = np.isfinite(vectors).all(1)
    if not finite.all():
        raise UserInputError(
            f"{what} must be finite; {int((~finite).sum())} of {len(vectors)} are not, the first is "
            f"row {int(np.argmin(finite))}. The model that made them is damaged or diverged: train it again."
        )
    return vectors


def refuse_query() -> NoReturn:
    """Refuses a query that is not finite."""
    raise UserInputError("The query must be finite; it holds NaN or infinity.")


def check_query(
    query: NDArray[np.float32], k: int, shape: tuple[int, int], allowed: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """A query [D] as float32; whether it is finite is seen by whoever reads it.

    Args:
        shape: of the item vectors.

    Raises:
        UserInputError: a shape is wrong, or k is below 1.
    """
    if k < 1:
        raise UserInputError(f"k must be at least 1; found {k}.")
    query = np.ascontiguousarray(query, dtype=np.float32)
    if query.shape != shape[1:]:
        raise UserInputError(
            f"The query must have the {shape[1]} dimensions of the item vectors; found shape "
            f"{list(query.shape)}."
        )
    if allowed is not None and allowed.shape != shape[:1]:
        raise UserInputError(
            f"`allowed` must have an entry for each of the {shape[0]} items; found shape "
            f"{list(allowed.shape)}."
        )
    return query
