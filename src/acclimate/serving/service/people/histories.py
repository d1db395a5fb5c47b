"""Histories: what a model remembers of the people it learned from."""

from __future__ import annotations

from dataclasses import dataclass

from acclimate.data import Dataset


@dataclass(frozen=True, slots=True)
class History:
    """What one person did before the model was trained.

    Attributes:
        user: the row of the person in the model's data.
        rows: of items. values, times: of the events; no times where the data has none.
    """

    user: int
    rows: list[int]
    values: list[float]
    times: list[int] | None


class Histories:
    """The users of a model's data by id as text."""

    def __init__(self, data: Dataset) -> None:
        self._inter = data.interactions
        self._rows = {str(one): row for row, one in enumerate(data.user_ids.ids.to_list())}

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, user: str) -> History | None:
        """The history of a user; None for somebody whom the model never met."""
        row = self._rows.get(user)
        return None if row is None else self.at(row)

    def at(self, row: int) -> History:
        """The history of the user at a row of the model's data."""
        inter = self._inter
        start, end = inter.offsets[row : row + 2].tolist()
        times = None if inter.times is None else inter.times[start:end].tolist()
        return History(row, inter.items[start:end].tolist(), inter.values[start:end].tolist(), times)
