"""A person: what an answer rests on, in rows of one catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from acclimate.serving.events import Event
from acclimate.serving.service.catalogue.catalogue import Catalogue
from acclimate.serving.service.limits import NEWEST
from acclimate.serving.service.observing import Given
from acclimate.serving.service.people.histories import History
from acclimate.serving.service.values import Values


class Person:
    """Everything about one person that an answer may use; not changed once made.

    The events are, in order, those that the model remembers, those that are stored and those that the request
    brought. Of an item met twice the last counts; a state is derived from the newest
    :data:`~acclimate.serving.service.limits.NEWEST` of what is left.

    Attributes:
        rows: [S] int64 items. values: [S] float32. times: [S] seconds, never falling, or None.
        ids: [S] ids of stored events, None for the others.
        seen: rows of everything they met.
        user: row of the person in the model's data, -1 for others. fields: user fields told by the request,
            name -> [1, ...].
        notes: what does not count, and why.
        tastes: what each engine made of them, by its name; filled by the engines.
    """

    __slots__ = ("fields", "ids", "notes", "rows", "seen", "tastes", "times", "user", "values")

    def __init__(
        self,
        catalogue: Catalogue,
        values: Values,
        history: History | None = None,
        events: Sequence[Event] = (),
        given: Sequence[Given] = (),
        fields: dict[str, Tensor] | None = None,
    ) -> None:
        self.user = -1 if history is None else history.user
        self.fields = fields
        self.tastes: dict[str, Any] = {}
        # A dict keeps the order of insertion: an item met again moves to the end.
        met: dict[int, tuple[float, str | None, float | None]] = {}
        silent: set[int] = set()
        if history is not None:
            times: Sequence[float | None] = history.times or [None] * len(history.rows)
            for row, value, when in zip(history.rows, history.values, times, strict=True):
                met.pop(row, None)
                met[row] = (value, None, when)
        strange = 0
        for event in events:
            row = catalogue.row(event.item)
            if row < 0:
                continue
            said = values.counted(event.value)
            if said is None:
                strange += 1
                silent.add(row)
                continue
            met.pop(row, None)
            met[row] = (said, event.id, event.time)
        for one in given:
            said = values.counted(one.value)
            met.pop(one.row, None)
            met[one.row] = (values.low if said is None else said, None, one.time)
        everything = list(met)
        self.seen: NDArray[np.int64] = np.array([*everything, *(silent - met.keys())], dtype=np.int64)
        newest = everything[-NEWEST:]
        self.rows: NDArray[np.int64] = np.array(newest, dtype=np.int64)
        told = [met[row] for row in newest]
        self.values: NDArray[np.float32] = np.array([one[0] for one in told], dtype=np.float32)
        self.ids = tuple(one[1] for one in told)
        self.times: NDArray[np.int64] | None = None
        if told and all(one[2] is not None for one in told):
            # Order is arrival: a clock that jumped back must not say otherwise.
            self.times = np.maximum.accumulate(np.array([one[2] for one in told], dtype=np.float64)).astype(
                np.int64
            )
        self.notes: tuple[str, ...] = ()
        if strange:
            range_ = (
                f"ratings of {values.low:g} to {values.high:g}" if values.ratings else "strengths above 0"
            )
            self.notes = (f"{strange} stored events do not count: this model takes {range_}",)

    def __len__(self) -> int:
        return len(self.rows)
