"""The exact scan: the k best items of a catalogue, no other item overlooked."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.serving.retrieval.base import Found
from acclimate.serving.retrieval.checks import check_query, check_vectors, refuse_query
from acclimate.serving.retrieval.codes import Codes
from acclimate.serving.retrieval.plain import norms_of, plain_top

_NO_ROWS = np.empty(0, dtype=np.int64)
_NO_MASK = np.empty(0, dtype=np.bool_)


@dataclass(frozen=True, eq=False)
class ExactScan:
    """A catalogue that answers exactly; build it with :meth:`build`. Safe for several threads.

    Attributes:
        vectors: [N, D] float32, as they were given; not to be changed.
        codes: their four-bit copy, where Numba is installed; if not, None.
        norms: [N] float32 for the plain scan, no smaller than the norms of the vectors; empty with codes.
    """

    vectors: NDArray[np.float32]
    codes: Codes | None
    norms: NDArray[np.float32]
    _scan: Callable[..., int] | None = None
    _spare: list[NDArray[np.float32]] = field(default_factory=list)

    @classmethod
    def build(cls, vectors: NDArray[np.float32], *, compiled: bool | None = None) -> ExactScan:
        """Prepares item vectors [N, D]; float32 rows that lie one after the other are not copied.

        Args:
            compiled: whether to use the compiled scan, which needs Numba; None uses it where that is
                installed and may compile (``NUMBA_DISABLE_JIT``). Both scans give the same rows and scores,
                bit for bit.

        Raises:
            UserInputError: a vector is not finite, or the table has no columns.
        """
        vectors = check_vectors(vectors)
        if compiled is None:
            compiled = _compiles()
        if not compiled or len(vectors) == 0:
            return cls(vectors, None, norms_of(vectors))
        from acclimate.serving.retrieval.kernel import scan

        made = cls(vectors, Codes.of(vectors), np.empty(0, dtype=np.float32), scan)
        made.top(vectors[0], 1)
        return made

    @property
    def n_items(self) -> int:
        return len(self.vectors)

    @property
    def method(self) -> str:
        """``int4 scan, rescored``, or ``float32 scan, rescored`` without Numba."""
        return "float32 scan, rescored" if self.codes is None else "int4 scan, rescored"

    @property
    def nbytes(self) -> int:
        """Memory that it takes beyond the vectors."""
        return self.norms.nbytes if self.codes is None else self.codes.nbytes

    def top(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        skip: NDArray[np.int64] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Found:
        """As :meth:`Scan.top <acclimate.serving.retrieval.base.Scan.top>`.

        Raises:
            UserInputError: the query is not finite, a shape is wrong, or k is below 1.
        """
        query = check_query(query, k, self.vectors.shape, allowed)
        codes = self.codes
        if codes is None or self._scan is None:
            rows, scores = plain_top(self.vectors, self.norms, query, k, skip, allowed)
            return Found(rows, scores, exact=True)
        k = min(k, len(self.vectors))
        rows, scores = np.empty(k, dtype=np.int64), np.empty(k)
        try:
            scratch = self._spare.pop()
        except IndexError:
            scratch = np.empty(len(codes.errors), dtype=np.float32)
        skip = _NO_ROWS if skip is None else np.sort(np.asarray(skip, dtype=np.int64))
        found = self._scan(
            self.vectors,
            codes.codes,
            codes.scales,
            codes.errors,
            codes.centre,
            codes.axes,
            codes.length,
            codes.reach,
            query,
            skip,
            _NO_MASK if allowed is None else np.ascontiguousarray(allowed, dtype=np.bool_),
            scratch,
            rows,
            scores,
        )
        self._spare.append(scratch)
        if found < 0:
            refuse_query()
        return Found(rows[:found], scores[:found], exact=True)


def _compiles() -> bool:
    if importlib.util.find_spec("numba") is None:
        return False
    import numba

    config: Any = numba.config  # its settings are made when it is imported
    return not config.DISABLE_JIT
