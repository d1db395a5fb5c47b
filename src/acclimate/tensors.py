"""Masked reductions, padding, and helpers for the State of a batch of users."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

State = dict[str, Tensor]
"""What a recommender learned about B users; the first dimension of every tensor is B."""


def masked_sum(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Sum over the entries where ``mask`` is True; NaN elsewhere stays inert."""
    return torch.where(mask, x, 0.0).sum(dim)


def masked_mean(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Mean over the entries where ``mask`` is True; 0 where there are none."""
    return masked_sum(x, mask, dim) / mask.sum(dim).clamp(min=1)


def ragged_mask(lengths: Tensor, width: int | None = None) -> Tensor:
    """Boolean [B, width] with the first ``lengths[b]`` entries of each row True."""
    if width is None:
        width = int(lengths.max()) if len(lengths) else 0
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def offsets_of(lengths: Tensor) -> Tensor:
    """Offsets [B + 1] of consecutive segments with the given lengths [B]."""
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


def segment_ranges(starts: Tensor, lengths: Tensor) -> Tensor:
    """Concatenation of ``range(start, start + length)`` over all segments, int64."""
    offsets = offsets_of(lengths)
    within = torch.arange(int(offsets[-1])) - offsets[:-1].repeat_interleave(lengths)
    return starts.repeat_interleave(lengths) + within


def pad_segments(values: Tensor, offsets: Tensor, rows: Tensor, fill: int = -1) -> tuple[Tensor, Tensor]:
    """Segments ``rows`` of a ragged column as a padded matrix.

    Args:
        values: [E] flat column.
        offsets: [R + 1] segment r is ``values[offsets[r]:offsets[r + 1]]``.
        rows: [B] which segments.
        fill: value of the padding.

    Returns:
        ``(padded [B, S], mask [B, S])`` with S the longest of the chosen segments.
    """
    starts, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
    mask = ragged_mask(lengths)
    padded = values.new_full(mask.shape, fill)
    padded[mask] = values[segment_ranges(starts, lengths)]
    return padded, mask


def shuffled_within(offsets: Tensor, generator: torch.Generator) -> Tensor:
    """A permutation [E] of the flat positions that shuffles each segment and keeps segments in place."""
    lengths = offsets[1:] - offsets[:-1]
    segment = torch.arange(len(lengths)).repeat_interleave(lengths)
    keys = torch.rand(len(segment), generator=generator, dtype=torch.float64)
    by_key = keys.argsort()
    return by_key[segment[by_key].argsort(stable=True)]


def take(state: State, rows: Tensor) -> State:
    """The State of the users at ``rows``."""
    return {name: value[rows] for name, value in state.items()}


def map_tensors(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """The same structure of dataclasses, dicts and tuples with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)  # type: ignore[return-value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: map_tensors(getattr(value, f.name), change) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    if isinstance(value, dict):
        return {name: map_tensors(v, change) for name, v in value.items()}  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(map_tensors(v, change) for v in value)  # type: ignore[return-value]
    return value


def named_tensors(value: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor inside dataclasses, dicts and tuples, with its path such as ``inputs.ids``."""
    if isinstance(value, Tensor):
        yield prefix, value
        return
    parts: Iterable[tuple[str, object]] = ()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    elif isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, tuple):
        parts = ((str(i), v) for i, v in enumerate(value))
    for name, part in parts:
        yield from named_tensors(part, f"{prefix}.{name}" if prefix else name)
