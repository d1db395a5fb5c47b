"""Finding items as people name them: by id, or by title."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
import torch
from torch import Tensor

from acclimate.data import Dataset, Field, Vocabulary
from acclimate.errors import UserInputError

TITLES = ("title", "name", "productname", "producttitle", "itemname", "itemtitle", "movietitle", "songtitle")
"""Fields that hold an item's title, compared without case and punctuation, the first that exists."""

# Comparing every title with difflib takes about 20 microseconds each.
_MOST_COMPARED = 50_000


@dataclass(frozen=True, eq=False)
class Names:
    """The ids of a catalogue, and the titles of its items where it has any.

    An item is found by its id; failing that by its exact title; failing that by its title without case, year
    and trailing article ("matrix" and "the matrix" find "Matrix, The (1999)"), if that is one item's alone.

    Attributes:
        ids: the caller's ids. titles: [n] one each item, null where it has none; None if nobody has.
    """

    ids: Vocabulary
    titles: pl.Series | None

    @classmethod
    def of(cls, data: Dataset) -> Names:
        found = title_field(data.items.schema)
        if found is None:
            return cls(data.item_ids, None)
        if found.kind == "text":
            text = pl.Series(data.items.texts[found.name], dtype=pl.String)
            return cls(data.item_ids, text.set(text == "", None))
        labels = pl.Series([None, *found.values], dtype=pl.String)
        return cls(data.item_ids, labels.gather(data.items.columns[found.name].numpy()))

    def rows(self, given: Sequence[Any]) -> Tensor:
        """Rows [len(given)] int64 of items given by id or title; -1 for what is neither.

        Raises:
            UserInputError: an id of the wrong type, or a title that several items share.
        """
        given = list(given)
        by_id = list(range(len(given)))
        if self.titles is not None and self.ids.ids.dtype != pl.String:
            by_id = [i for i, one in enumerate(given) if not isinstance(one, str)]
        rows = torch.full((len(given),), -1)
        if by_id:
            rows[by_id] = self.ids.encode([given[i] for i in by_id], "item id")
        if self.titles is not None:
            for i in (rows < 0).nonzero().flatten().tolist():
                if isinstance(given[i], str):
                    rows[i] = self.by_title(given[i])
        return rows

    def known_rows(self, given: Sequence[Any]) -> Tensor:
        """As :meth:`rows`, but what is neither id nor title is an error that names it and its neighbours."""
        rows = self.rows(given)
        missing = (rows < 0).nonzero().flatten().tolist()
        if missing:
            raise UserInputError(self.unknown([list(given)[i] for i in missing]))
        return rows

    def typed(self, texts: Iterable[str]) -> list[Any]:
        """Ids of items typed as text: an id first, else a title.

        Raises:
            UserInputError: neither an id nor a title.
        """
        texts = list(texts)
        parsed = pl.Series(texts, dtype=pl.String).cast(self.ids.ids.dtype, strict=False).to_list()
        rows = self.ids.encode(pl.Series(parsed, dtype=self.ids.ids.dtype))
        missing = (rows < 0).nonzero().flatten().tolist()
        if missing and self.titles is not None:
            rows[missing] = torch.tensor([self.by_title(texts[i]) for i in missing])
        lost = [texts[i] for i in missing if rows[i] < 0]
        if lost:
            raise UserInputError(self.unknown(lost))
        return self.ids.decode(rows).to_list()

    def labels(self, rows: Tensor) -> list[str]:
        """What to call the items at the given rows [n]: the title, else the id; "(unknown)" for -1."""
        ids = (
            self.ids.ids.gather(rows.clamp(min=0).numpy()).to_list() if len(self.ids) else [None] * len(rows)
        )
        titles = (
            [None] * len(ids)
            if self.titles is None
            else self.titles.gather(rows.clamp(min=0).numpy()).to_list()
        )
        return [
            "(unknown)" if row < 0 else title if title is not None else str(one)
            for row, one, title in zip(rows.tolist(), ids, titles, strict=True)
        ]

    def unknown(self, lost: Sequence[Any]) -> str:
        """The message for items that are not there, with what comes near the first of them."""
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        what = "neither an id nor a title" if self.titles is not None else "no id"
        near = self._near(str(lost[0]))
        hint = f" Near: {'; '.join(near)}." if near else f" Its ids are like {self._example()}."
        shown = repr(lost[0]) if len(repr(lost[0])) <= 80 else repr(lost[0])[:77] + "..."
        return f"Unknown item {shown}{more}: {what} of the {len(self.ids):,} items of this model.{hint}"

    def _example(self) -> str:
        return ", ".join(repr(one) for one in self.ids.ids[:3])

    def by_title(self, text: str) -> int:
        """The row of the item with this title; -1 if there is none.

        Raises:
            UserInputError: several items share it.
        """
        for key, index in ((text, self._exact), (simplified(text), self._simplified)):
            found = index.get(key, [])
            if len(found) > 1:
                raise UserInputError(
                    f"{text!r} is the title of {len(found)} items: {'; '.join(self._both(found[:6]))}. Give "
                    "the id."
                )
            if found:
                return found[0]
        return -1

    def _near(self, text: str, n: int = 4) -> list[str]:
        if self.titles is not None:
            wanted = simplified(text)
            titles = self._simplified
            close = [title for title in titles if len(wanted) >= 3 and wanted in title][:n]
            if len(close) < n:
                pool = list(titles)[:_MOST_COMPARED]
                close += [
                    title for title in difflib.get_close_matches(wanted, pool, n=n) if title not in close
                ]
            return self._both([titles[title][0] for title in close[:n]])
        if self.ids.ids.dtype == pl.String:
            pool = self.ids.ids[:_MOST_COMPARED].to_list()
            return [repr(one) for one in difflib.get_close_matches(text, pool, n=n)]
        return []

    def _both(self, rows: list[int]) -> list[str]:
        """Title and id of each row, for messages."""
        labels = self.labels(torch.tensor(rows, dtype=torch.int64))
        return [f"{label!r} (id {self.ids.ids[row]!r})" for row, label in zip(rows, labels, strict=True)]

    @cached_property
    def _exact(self) -> dict[str, list[int]]:
        return self._index(lambda title: title)

    @cached_property
    def _simplified(self) -> dict[str, list[int]]:
        return self._index(simplified)

    def _index(self, key: Any) -> dict[str, list[int]]:
        out: dict[str, list[int]] = {}
        for row, title in enumerate([] if self.titles is None else self.titles.to_list()):
            if title is not None:
                out.setdefault(key(title), []).append(row)
        return out


def title_field(schema: Iterable[Field]) -> Field | None:
    """The field that holds what items are called, if one does."""
    fields = {re.sub(r"[^a-z]", "", field.name.split(":")[0].lower()): field for field in schema}
    known = (fields[name] for name in TITLES if name in fields)
    return next((field for field in known if field.kind in ("text", "categorical")), None)


def simplified(title: str) -> str:
    """A title without case, trailing year, trailing or leading article, and runs of spaces."""
    text = re.sub(r"\s*\(\d{4}\)\s*$", "", title.casefold().strip())
    text = re.sub(r",\s*(the|a|an|le|la|les|l'|il|el|der|die|das)(?=\s*([()]|$))", "", text)
    return re.sub(r"\s+", " ", re.sub(r"^(the|a|an)\s+(?=\S)", "", text)).strip()
