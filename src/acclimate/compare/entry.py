"""A row of a comparison: who it is and what it took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A row of the comparison.

    Attributes:
        name: unique in the comparison. floor: whether it is one of the simple methods that anything must
            beat.
        fit_seconds: mean over seeds; None for a recommender that came fitted.
        evaluate_seconds: mean over seeds of adapting, scoring and judging all tasks at all shots.
        error: why it has no numbers, or None.
    """

    name: str
    floor: bool
    fit_seconds: float | None = None
    evaluate_seconds: float | None = None
    error: str | None = None
