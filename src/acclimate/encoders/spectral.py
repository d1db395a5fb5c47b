"""Item vectors without any training: the leading singular vectors of the table of choices."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from acclimate.data import Interactions


def spectral_vectors(interactions: Interactions, width: int, seed: int = 0) -> Tensor:
    """Vectors [n_items, width] float32 with unit standard deviation; zero for an item without events.

    With X the users-by-items table of choices and D_u, D_i its row and column sums, the truncated singular
    value decomposition ``D_u^-1/2 X D_i^-1/2 = U S V^T`` gives ``V S^1/2``. If the table has a rank below
    ``width``, the remaining columns are zero.

    Source: Ng, Jordan, Weiss, "On Spectral Clustering", NeurIPS 2001, for the normalisation.
    """
    table = interactions.to_csr().astype(np.float64)
    table.data[:] = 1.0
    scale = [
        scipy.sparse.diags(1 / np.sqrt(np.maximum(np.asarray(table.sum(axis)).ravel(), 1))) for axis in (1, 0)
    ]
    normalised = scale[0] @ table @ scale[1]
    rank = min(width, min(normalised.shape) - 1)
    vectors = np.zeros((interactions.n_items, width))
    if rank > 0 and normalised.nnz:
        _, values, right = scipy.sparse.linalg.svds(normalised, k=rank, rng=np.random.default_rng(seed))
        order = np.argsort(-values)
        signs = np.sign(right.sum(1))[order]  # the decomposition leaves signs open
        vectors[:, :rank] = (
            right[order] * (np.where(signs == 0, 1, signs) * np.sqrt(values[order]))[:, None]
        ).T
    spread = vectors.std() or 1.0
    return torch.from_numpy((vectors / spread).astype(np.float32))
