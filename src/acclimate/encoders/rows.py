"""A vector for each row of a table: an embedding of its id plus a linear map of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.encoders.fields import FieldRows, embed

_DENSE = 256
"""Up to so many features a dense matrix product is several times faster than gathering embedding rows."""


@dataclass(frozen=True, eq=False)
class RowEncoder:
    """``vector(row) = ids[row] + sum_f weight_f fields[f]``; a row nobody has seen keeps its fields' part.

    Attributes:
        rows: how fields become features.
        ids: [n, D] id embeddings; n = 0 for an encoder of fields alone.
        fields: [n_features, D]; row 0 belongs to no feature and counts for every row, a constant.
    """

    rows: FieldRows
    ids: Tensor
    fields: Tensor

    @classmethod
    def create(
        cls, rows: FieldRows, n: int, width: int, std: float, generator: torch.Generator | None = None
    ) -> RowEncoder:
        """Random normal embeddings with standard deviation ``std``; 0 makes all zeros."""
        ids, fields = torch.zeros(n, width), torch.zeros(rows.n_features, width)
        if std > 0:
            ids.normal_(std=std, generator=generator)
            fields[1:].normal_(std=std, generator=generator)
        return cls(rows, ids, fields)

    def __call__(self, ids: Tensor, fields: Mapping[str, Tensor]) -> Tensor:
        """Vectors [..., D] of rows ``ids`` [...] (-1 for unknown) with the given fields."""
        if self.rows.n_features <= _DENSE:
            vectors = self.fields[0] + self.rows.dense(fields, ids).to(self.fields.dtype) @ self.fields
        else:
            numbers, weights = self.rows(fields, ids)
            vectors = self.fields[0] + embed(self.fields, numbers, weights.to(self.fields.dtype))
        if len(self.ids) == 0:
            return vectors
        return vectors + torch.where((ids >= 0)[..., None], self.ids[ids.clamp(min=0)], 0.0)
