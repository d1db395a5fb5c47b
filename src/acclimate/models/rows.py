"""Looking up per-item parameters where an item may be unknown."""

from __future__ import annotations

import torch
from torch import Tensor


def gather_rows(table: Tensor, ids: Tensor, unknown: float = 0.0) -> Tensor:
    """``table[ids]`` with a constant where the id is -1.

    Args:
        table: [n, ...] a row each item. ids: [...] int64.

    Returns:
        [..., *table.shape[1:]].
    """
    if len(table) == 0:
        return table.new_full((*ids.shape, *table.shape[1:]), unknown)
    found = table[ids.clamp(min=0)]
    known = (ids >= 0).reshape(*ids.shape, *([1] * (table.dim() - 1)))
    return torch.where(known, found, unknown)


def gather_scores(scores: Tensor, ids: Tensor, unknown: float = 0.0) -> Tensor:
    """Each user's own scores of the candidates, with a constant where the id is -1.

    Args:
        scores: [B, n], a row each user. ids: [N], shared by all users, or [B, N].

    Returns:
        [B, N].
    """
    if ids.dim() == 1:
        return torch.where(ids >= 0, scores[:, ids.clamp(min=0)], unknown)
    return torch.where(ids >= 0, scores.gather(1, ids.clamp(min=0)), unknown)
