"""Four bits a dimension: a small copy of the item vectors, with what it leaves out bounded for every item.

With a centre c and a square matrix M, item i is kept as a scale g_i and codes a_i,

    v_i = c + g_i M (a_i + e_i),    a_i in {-7.5, -6.5, ..., 7.5}^D,

and with p = M^T q, what the codes leave out of a score is bounded by Cauchy and Schwarz:

    | q . v_i  -  (q . c + g_i p . a_i) |  =  g_i | p . e_i |  <=  g_i |p| |e_i|.

The columns of M are the principal axes of the catalogue, as long as the items spread along them. Then |p| is
the spread of the scores of q itself: the bound stays as sharp where columns differ in size, or say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LANES = 16
"""Items in a block."""

_CHUNK = 1 << 15
_SAMPLE = 1 << 15
_MOST_ROTATED = 512
"""Up to so many dimensions axes are found; beyond them only columns are scaled."""


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of N items, in blocks of 16; the last block is filled up with copies of the last item.

    Attributes:
        codes: bytes, in the layout of :mod:`~acclimate.serving.retrieval.kernel`.
        scales: [N'] float32, g. errors: [N' / 16] float32, the largest |e_i| of each block.
        centre: [D] float64, c. axes: [D, D] float64, M.
        length: the largest |a_i|. reach: a bound on the norm of M.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float32]
    errors: NDArray[np.float32]
    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    length: float
    reach: float

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> Codes:
        """Encodes finite vectors [N, D], N > 0."""
        n, d = vectors.shape
        sample = vectors[:: max(1, n // _SAMPLE)].astype(np.float64)
        centre = np.median(sample, axis=0)
        axes, inverse = _axes(sample - centre)
        width, blocks = -(-d // 8) * 8, -(-n // LANES)
        codes = np.empty((blocks, width // 8, LANES, 4), dtype=np.uint8)
        scales = np.empty(blocks * LANES, dtype=np.float64)
        errors = np.empty(blocks, dtype=np.float32)
        longest = 0.0
        # Scales around 1 keep single precision away from its ends, whatever the units of the vectors.
        largest = float(np.maximum(vectors.max(0) - centre, centre - vectors.min(0)).max())
        unit = float(2.0 ** np.ceil(np.log2(largest))) if largest > 0 else 1.0
        axes, inverse = axes * unit, inverse / unit
        for start in range(0, blocks * LANES, _CHUNK):
            rows = np.minimum(np.arange(start, min(start + _CHUNK, blocks * LANES)), n - 1)
            x = (vectors[rows] - centre) @ inverse
            g = np.maximum(np.abs(x).max(1) / 8, 1e-30).astype(np.float32)
            x /= g[:, None].astype(np.float64)
            u = np.clip(np.floor(x + 8), 0, 15)
            x -= u - 7.5
            lost = np.sqrt(np.square(x).sum(1)).reshape(-1, LANES).max(1)
            here = slice(start // LANES, start // LANES + len(lost))
            errors[here] = np.nextafter((lost * (1 + 2.0**-22)).astype(np.float32), np.float32(np.inf))
            scales[start : start + len(rows)] = g
            longest = max(longest, float(np.square(u - 7.5).sum(1).max()))
            nibbles = np.zeros((len(rows), width), dtype=np.uint8)
            nibbles[:, :d] = u
            halves = nibbles.reshape(-1, LANES, width // 8, 2, 4).transpose(0, 2, 3, 1, 4)
            codes[here] = halves[:, :, 0] | (halves[:, :, 1] << 4)
        return cls(
            codes=codes.reshape(-1),
            scales=scales.astype(np.float32),
            errors=errors,
            centre=centre,
            axes=axes,
            length=float(np.sqrt(longest)),
            reach=float(np.linalg.norm(axes)),
        )

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.scales.nbytes + self.errors.nbytes


def _axes(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """M and its inverse, [D, D] each; ``x @ inverse`` are the coordinates of rows x.

    Of each item only its direction counts, so that a few huge ones do not decide for all.
    """
    d = centred.shape[1]
    peak = np.abs(centred).max(1, keepdims=True, initial=0.0)
    moving = peak[:, 0] > 0
    directions = centred[moving] / peak[moving]
    directions /= np.sqrt(np.square(directions).sum(1, keepdims=True))
    if not len(directions):
        return np.eye(d), np.eye(d)
    if d > _MOST_ROTATED:
        turn, spread = np.eye(d), np.square(directions).mean(0)
    else:
        spread, turn = np.linalg.eigh(directions.T @ directions / len(directions))
    lengths = np.sqrt(np.maximum(spread, 1e-12 * spread.max()))
    return turn * lengths, turn / lengths
