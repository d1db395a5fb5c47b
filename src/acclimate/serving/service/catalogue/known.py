"""The items of a model, as one list that is asked by row, by id as text, and by title."""

from __future__ import annotations

import unicodedata
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from acclimate.data import Field
from acclimate.errors import ModelFileError
from acclimate.model import Model
from acclimate.model.names import title_field


class Known:
    """The N items of a model.

    Attributes:
        ids: [N] in the caller's own type. titles: [N], None where there is none.
        rows: id as text -> row.
        counts: [N] events of the model's histories on each item; None without histories.
        popularity: [N] share of the users of the histories who met each item; None without histories.
        title: the field that holds titles, if one does.

    Raises:
        ModelFileError: two ids are the same as text, so that no request could tell them apart.
    """

    def __init__(self, model: Model) -> None:
        data = model.data
        self.data = data
        self.names = model.names
        self.ids: list[Any] = data.item_ids.ids.to_list()
        self.titles: list[str | None] = (
            [None] * len(self.ids) if model.names.titles is None else model.names.titles.to_list()
        )
        self.rows: dict[str, int] = {str(one): row for row, one in enumerate(self.ids)}
        if len(self.rows) < len(self.ids):
            raise ModelFileError(
                f"{len(self.ids) - len(self.rows)} items of the model have ids that are written alike; "
                "a server could not tell them apart. Give every item an id of its own."
            )
        self.counts: NDArray[np.int64] | None = None
        self.popularity: NDArray[np.float64] | None = None
        if data.n_users:
            inter = data.interactions
            self.counts = inter.item_counts().numpy()
            pairs = np.unique(inter.users().numpy() * max(1, data.n_items) + inter.items.numpy())
            met = np.bincount(pairs % max(1, data.n_items), minlength=data.n_items)
            self.popularity = met / data.n_users
        self.title: Field | None = title_field(data.items.schema)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def folded(self) -> pl.Series:
        """[N] titles without case and accents; empty where there is none."""
        return pl.Series([fold(title) if title else "" for title in self.titles], dtype=pl.String)

    @cached_property
    def written(self) -> pl.Series:
        """[N] ids as text."""
        return pl.Series(list(self.rows), dtype=pl.String)


def fold(text: str) -> str:
    """Text without case and accents, so that "amelie" finds "Amélie"."""
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text)
    return "".join(c for c in parts if not unicodedata.combining(c)).casefold()
