"""Fields as sparse rows: every value of every field is one feature, for a linear map or an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.data import Field


@dataclass(frozen=True)
class FieldRows:
    """Numbers the features of a schema 1 .. n_features - 1; feature 0 is "nothing".

    A categorical or multi field has one feature each value. A numeric or time field has one for each of its
    bins and one that carries the standardised value itself, clipped to 4 deviations. Text fields are left
    out.

    Attributes:
        schema: the fields, in the order in which features are numbered.
    """

    schema: tuple[Field, ...]

    @property
    def n_features(self) -> int:
        """One more than the highest feature number."""
        return 1 + sum(_size(spec) for spec in self.schema)

    def names(self) -> list[str]:
        """What each feature means, such as ``genre=drama``; entry 0 is empty."""
        out = [""]
        for spec in self.schema:
            if spec.kind in ("categorical", "multi"):
                out += [f"{spec.name}={value}" for value in spec.values]
            elif spec.kind != "text":
                out += [f"{spec.name} bin {i + 1}" for i in range(len(spec.edges) + 1)] + [spec.name]
        return out

    def __call__(self, fields: Mapping[str, Tensor], like: Tensor) -> tuple[Tensor, Tensor]:
        """Feature numbers and weights of a batch of fields.

        A field that ``fields`` lacks is missing. The values of a multi field share a weight of one:
        each has ``1 / sqrt(number of values)``.

        Args:
            fields: name -> [...] or [..., width].
            like: [...] any tensor of the batch's shape (a table may have no fields).

        Returns:
            ``(numbers [..., K] int64, weights [..., K] float32)``; padding has number 0 and weight 0.
        """
        numbers, weights = [like.new_zeros((*like.shape, 1), dtype=torch.int64)], []
        weights.append(torch.zeros((*like.shape, 1), device=like.device))
        start = 1
        for spec in self.schema:
            value = fields.get(spec.name)
            if value is not None and spec.kind == "categorical":
                numbers.append(torch.where(value > 0, value - 1 + start, 0)[..., None])
                weights.append((value > 0).float()[..., None])
            elif value is not None and spec.kind == "multi":
                count = (value > 0).sum(-1, keepdim=True).clamp(min=1)
                numbers.append(torch.where(value > 0, value - 1 + start, 0))
                weights.append((value > 0).float() * count.float().rsqrt())
            elif value is not None and spec.kind in ("numeric", "time"):
                known = value.isfinite()
                x = torch.where(known, value, 0.0).clamp(-4, 4)
                edges = torch.tensor(spec.edges, device=value.device)
                bins = torch.bucketize(x, edges) + start
                linear = torch.full_like(bins, start + len(spec.edges) + 1)
                numbers.append(torch.where(known[..., None], torch.stack([bins, linear], -1), 0))
                weights.append(torch.where(known[..., None], torch.stack([torch.ones_like(x), x], -1), 0.0))
            start += _size(spec)
        return torch.cat(numbers, -1), torch.cat(weights, -1)

    def dense(self, fields: Mapping[str, Tensor], like: Tensor) -> Tensor:
        """The same rows as a dense matrix [..., n_features] float32; column 0 is zero."""
        numbers, weights = self(fields, like)
        out = torch.zeros((*like.shape, self.n_features), dtype=weights.dtype, device=like.device)
        return out.scatter_add(-1, numbers, weights)


def embed(table: Tensor, numbers: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of embedding rows, twice differentiable: ``sum_k weights[..., k] table[numbers[..., k]]``.

    Args:
        table: [n_features, D]. numbers: [..., K]. weights: [..., K].

    Returns:
        [..., D].
    """
    return torch.einsum("...kd,...k->...d", table[numbers], weights)


def _size(spec: Field) -> int:
    if spec.kind in ("categorical", "multi"):
        return len(spec.values)
    return 0 if spec.kind == "text" else len(spec.edges) + 2
