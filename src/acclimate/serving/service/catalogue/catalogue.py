"""The catalogue of a tenant: the model's items, with those that were added or changed while serving."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from acclimate.data import FeatureTable, Items
from acclimate.errors import UserInputError
from acclimate.model.names import simplified
from acclimate.serving.events import NewItem
from acclimate.serving.problems import RequestError
from acclimate.serving.service.catalogue.fields import Told, encoded, named, told
from acclimate.serving.service.catalogue.filters import Filters
from acclimate.serving.service.catalogue.known import Known, fold
from acclimate.serving.service.checks import shown, text_id

FEW = 5
"""An item with fewer training events than this is one of which little is known."""

_COMPARED = 2000
"""Most titles that are compared letter by letter to find what somebody may have meant."""


@dataclass(frozen=True, slots=True)
class Change:
    """An item that was added, or whose fields were replaced.

    Attributes:
        row: where it stands; behind the model's items if it is new. item: its id. text: its id as text.
        title: what it is called. fields: all that is known about it.
    """

    row: int
    item: Any
    text: str
    title: str | None
    fields: Mapping[str, Told]


class Catalogue:
    """Immutable; a change makes another one, which shares the model's part.

    Attributes:
        known: the model's items, rows 0 to ``n_known - 1``. n_items: with those that were added.
        changed: rows of the items that were added or changed, ascending.
    """

    def __init__(self, known: Known, new: Sequence[NewItem] = ()) -> None:
        self.known = known
        self.n_known = len(known)
        changes = _changes(known, new)
        self._by_row = {change.row: change for change in changes}
        self._by_text = {change.text: change.row for change in changes}
        self._by_title: dict[str, list[int]] = {}
        for change in changes:
            if change.title is not None:
                self._by_title.setdefault(simplified(change.title), []).append(change.row)
        self.changed: NDArray[np.int64] = np.array([change.row for change in changes], dtype=np.int64)
        self.n_items = self.n_known + sum(change.row >= self.n_known for change in changes)
        self._table: FeatureTable | None = None
        if changes:
            schema = known.data.items.schema
            self._table = encoded(schema, [change.fields for change in changes])
            self._position = torch.full((self.n_items,), -1)
            self._position[torch.from_numpy(self.changed)] = torch.arange(len(changes))
        self.filters = Filters(
            known.data.items, self._table, self.changed, [c.fields for c in changes], self.n_items
        )

    def item(self, row: int) -> Any:
        """The caller's id of the item at a row."""
        return self.known.ids[row] if row < self.n_known else self._by_row[row].item

    def title(self, row: int) -> str | None:
        """What to show people."""
        if self._by_row:
            change = self._by_row.get(row)
            if change is not None:
                return change.title
        return self.known.titles[row]

    def row(self, text: str) -> int:
        """The row of the item whose id is written like this; -1 if there is none."""
        row = self.known.rows.get(text)
        return self._by_text.get(text, -1) if row is None else row

    def text(self, row: int) -> str:
        """The id of an item as the store keeps it."""
        return str(self.item(row))

    def look(self, given: object, field: str) -> int:
        """The row of an item given by id or, where no id is meant, by title; -1 if it is neither.

        Raises:
            RequestError: it cannot be an id, or is the title of several items.
        """
        if isinstance(given, str):
            row = self.known.rows.get(given)
            if row is not None:
                return row
        text = text_id(given, field, "item")
        row = self.row(text)
        if row >= 0 or not isinstance(given, str):
            return row
        own = self._by_title.get(simplified(text), [])
        try:
            row = self.known.names.by_title(text)
        except UserInputError as error:
            raise RequestError("unknown_item", str(error), field=field) from None
        if row in self._by_row:
            row = -1  # what it is called now stands among its own
        rows = {row, *own} - {-1}
        if len(rows) > 1:
            both = "; ".join(f"{self.title(one)!r} (id {self.item(one)!r})" for one in sorted(rows))
            raise RequestError(
                "unknown_item",
                f"{text!r} is the title of {len(rows)} items: {both}. Give the id.",
                field=field,
            )
        return rows.pop() if rows else -1

    def find(self, given: object, field: str) -> int:
        """As :meth:`look`, but an item that is not there is an error that names what comes near."""
        row = self.look(given, field)
        if row < 0:
            raise RequestError("unknown_item", self.unknown(given), field=field)
        return row

    def rows(self, given: Iterable[object], field: str, *, known: bool) -> list[int]:
        """Rows of several items, each once; what is not there is an error if they have to be ``known``."""
        found: dict[int, None] = {}
        for i, one in enumerate(given):
            place = f"{field}.{i}"
            row = self.find(one, place) if known else self.look(one, place)
            if row >= 0:
                found[row] = None
        return list(found)

    def unknown(self, given: object) -> str:
        """What to say of an item that is not there."""
        titled = self.known.title is not None
        what = "neither an id nor a title" if titled else "no id"
        near = self._near(str(given)) if isinstance(given, str) else []
        example = ", ".join(repr(one) for one in self.known.ids[:3])
        hint = f" Near: {'; '.join(near)}." if near else f" Its ids are like {example}." if example else ""
        return f"Unknown item {shown(given)}: {what} of the {self.n_items:,} items of this catalogue.{hint}"

    def items(self, rows: Tensor) -> Items:
        """Items with their fields at the given rows [...]; -1 is an item of which nothing is known."""
        data = self.known.data
        if self._table is None:
            return data.items_at(rows)
        position = torch.where(rows >= 0, self._position[rows.clamp(min=0)], -1)
        ids = torch.where(rows < self.n_known, rows, -1)
        own = self._table.gather(position)
        theirs = data.items.gather(torch.where(position >= 0, -1, ids))
        fields = {}
        for name, value in theirs.items():
            changed = (position >= 0).reshape(*position.shape, *([1] * (value.dim() - position.dim())))
            fields[name] = torch.where(changed, own[name], value)
        return Items(ids, fields)

    @cached_property
    def little_known(self) -> NDArray[np.bool_]:
        """[n_items] whether little is known of an item: added while serving, or with few training events."""
        out = np.zeros(self.n_items, dtype=np.bool_)
        out[self.n_known :] = True
        if self.known.counts is not None:
            out[: self.n_known] = self.known.counts < FEW
        return out

    def popularity(self, row: int) -> float | None:
        """Share of the users of the histories who met an item; None if that is not known."""
        share = self.known.popularity
        return None if share is None else float(share[row]) if row < self.n_known else 0.0

    def search(self, text: str, limit: int) -> list[int]:
        """Rows whose id or title holds the text, the likeliest first."""
        wanted = fold(text.strip())
        if not wanted:
            return self._most_popular(limit)
        found: dict[int, tuple[int, float]] = {}
        exact = self.row(text.strip())
        if exact >= 0:
            found[exact] = (0, 0.0)
        searched = self.known.folded if self.known.title is not None else self.known.written
        if self.known.title is None:
            wanted = text.strip()
        hits = searched.str.contains(wanted, literal=True).arg_true().to_numpy()
        counts = self.known.counts
        for row in _first(hits, counts, 5000).tolist():
            if row not in self._by_row:
                _rank(found, row, searched[row], wanted, 0 if counts is None else float(counts[row]))
        for row, change in self._by_row.items():
            own = fold(change.title or "") if self.known.title is not None else change.text
            if wanted in own:
                _rank(found, row, own, wanted, 0.0)
        return sorted(found, key=lambda row: (*found[row], row))[:limit]

    def _most_popular(self, limit: int) -> list[int]:
        counts = self.known.counts
        if counts is None:
            return list(range(min(limit, self.n_known)))
        order: list[int] = np.argsort(-counts, kind="stable")[:limit].tolist()
        return order

    def _near(self, text: str) -> list[str]:
        """Titles, with their ids, or ids that look like the text."""
        if self.known.title is None:
            ids = [*self.known.written.head(_COMPARED), *self._by_text]
            return [repr(one) for one in difflib.get_close_matches(text, ids, n=4)]
        rows = self.search(text, 4) if len(text) >= 3 else []
        start = fold(simplified(text))[:3]
        if not rows and start:
            folded = self.known.folded
            hits = folded.str.contains(start, literal=True).arg_true().to_numpy()
            titles = {folded[row]: row for row in _first(hits, self.known.counts, _COMPARED).tolist()}
            rows = [titles[title] for title in difflib.get_close_matches(fold(text), list(titles), n=4)]
        return [f"{self.title(row)!r} (id {self.item(row)!r})" for row in rows]


def _first(rows: Any, counts: NDArray[np.int64] | None, most: int) -> NDArray[np.int64]:
    """At most ``most`` of the rows, those with the most events."""
    found: NDArray[np.int64] = np.asarray(rows, dtype=np.int64)
    if len(found) > most and counts is not None:
        found = found[np.argsort(-counts[found], kind="stable")]
    return found[:most]


def _rank(found: dict[int, tuple[int, float]], row: int, own: str, wanted: str, count: float) -> None:
    if own == wanted:
        place = 1
    elif own.startswith(wanted):
        place = 2
    else:
        place = 3 if f" {wanted}" in own else 4
    found.setdefault(row, (place, -count))


def _changes(known: Known, new: Sequence[NewItem]) -> list[Change]:
    """What the new items say, in the order of rows; of an item told twice the last counts."""
    latest = {one.item: one for one in new}
    theirs = [known.rows[text] for text in latest if text in known.rows]
    before = _told_before(known, theirs)
    out, row = [], len(known)
    for text, one in latest.items():
        own = _readable(known, one.fields)
        at = known.rows.get(text)
        if at is not None:
            fields = {**before[at], **own}
            title = known.titles[at]
            item = known.ids[at]
        else:
            fields, title, item = own, None, _typed(known, text)
        if known.title is not None and known.title.name in own:
            said = own[known.title.name]
            title = said if isinstance(said, str) else None
        out.append(Change(row if at is None else at, item, text, title, fields))
        row += at is None
    return sorted(out, key=lambda change: change.row)


def _told_before(known: Known, rows: list[int]) -> dict[int, dict[str, Told]]:
    """What the model's own catalogue says about some of its items."""
    if not rows:
        return {}
    frame = known.data.items.select(torch.tensor(rows)).to_frame()
    if not frame.columns:
        return {row: {} for row in rows}
    return {
        row: {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
        for row, told in zip(rows, frame.iter_rows(named=True), strict=True)
    }


def _readable(known: Known, fields: Mapping[str, Any]) -> dict[str, Told]:
    """The fields that this model has and can read: they may have been written for another."""
    out: dict[str, Told] = {}
    for name, value in fields.items():
        try:
            out[name] = told(named(known.data.items.schema, name, name), value, name)
        except RequestError:
            continue
    return out


def _typed(known: Known, text: str) -> Any:
    """An id in the type of the model's ids where it can be."""
    dtype = known.data.item_ids.ids.dtype
    if dtype.is_integer():
        parsed = pl.Series([text], dtype=pl.String).cast(dtype, strict=False)[0]
        if str(parsed) == text:
            return parsed
    return text
