"""Alternating least squares, one side at a time: many small ridge regressions at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.data import Interactions
from acclimate.tensors import pad_segments

# Numbers of a padded block of vectors, small enough for the cache of one core to help.
_BLOCK = 1_000_000


@dataclass(frozen=True, eq=False)
class Side:
    """The events of one side of the table, ready to be regressed on the vectors of the other.

    Attributes:
        offsets: [R + 1] row r has the events ``offsets[r]:offsets[r + 1]``, on the CPU.
        columns: [E] the row of the other side that each event meets, on the device.
        event: [E] where the event stands in the caller's order, on the device.
    """

    offsets: Tensor
    columns: Tensor
    event: Tensor

    @classmethod
    def of(cls, interactions: Interactions, device: str = "cpu") -> Side:
        """Users, in their own order."""
        return cls(
            interactions.offsets, interactions.items.to(device), torch.arange(len(interactions)).to(device)
        )

    @classmethod
    def across(cls, interactions: Interactions, device: str = "cpu") -> Side:
        """Items, with ``event`` pointing into the order of the users' side."""
        order = interactions.items.argsort(stable=True)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), interactions.item_counts().cumsum(0)])
        return cls(offsets, interactions.users()[order].to(device), order.to(device))

    def counts(self) -> Tensor:
        """Events of each row, [R], on the CPU."""
        return self.offsets[1:] - self.offsets[:-1]


def half_step(
    side: Side,
    vectors: Tensor,
    targets: Tensor,
    *,
    ridge: Tensor,
    weights: Tensor | None = None,
    prior: Tensor | None = None,
) -> Tensor:
    """Solves every row of one side: ``x_r = argmin_x sum_e w_e (y_e - x . v_e)^2 + x^T (prior + diag ridge_r)
    x``.

    Args:
        side: R rows. vectors: [m, D] of the other side.
        targets: [E] y, in the caller's order of events.
        ridge: [R, D] or [R, 1], above 0.
        weights: [E] w, in the same order; None for ones.
        prior: [D, D]; None for 0.

    Returns:
        [R, D].
    """
    d, device = vectors.shape[1], vectors.device
    lengths, positions = side.counts(), torch.arange(len(side.columns))
    out = vectors.new_zeros(len(lengths), d)  # what a row without events gets
    order = lengths.argsort(descending=True, stable=True)
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        rows = order[start : start + max(1, _BLOCK // (d * max(longest, d)))]
        at, mask = (x.to(device) for x in pad_segments(positions, side.offsets, rows, fill=0))
        event, here = side.event[at], rows.to(device)
        v = vectors[side.columns[at]].masked_fill_(~mask[..., None], 0.0)  # [rows, longest, D]
        weighted = v if weights is None else v * weights[event][..., None]
        precision = weighted.transpose(1, 2) @ v
        precision.diagonal(dim1=1, dim2=2).add_(ridge[here])
        if prior is not None:
            precision += prior
        shift = weighted.transpose(1, 2) @ targets[event][..., None]
        out[here] = torch.cholesky_solve(shift, torch.linalg.cholesky(precision))[..., 0]
        start += len(rows)
    return out
