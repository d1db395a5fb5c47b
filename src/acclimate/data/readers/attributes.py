"""Tables of users and items as feature tables: types of cells, kinds of fields, rows in catalogue order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import polars as pl

from acclimate.data.features import FeatureTable, Kind, can_be_field, infer_field
from acclimate.data.readers.cleaning import NOTHING, with_decimal_comma
from acclimate.data.readers.columns import plain
from acclimate.data.readers.report import Notes, count, listing
from acclimate.data.readers.table import Table
from acclimate.data.vocabulary import Vocabulary
from acclimate.errors import UserInputError

_LEADING_ZERO = r"^-?0\d"
_LISTS = ("genre", "genres", "tag", "tags", "category", "categories", "keyword", "keywords", "topics")
_NEVER_NUMBERS = ("zip", "zipcode", "postcode", "postalcode", "phone")


def feature_table(
    table: Table | None,
    ids: pl.Series | None,
    *,
    id_column: str,
    vocabulary: Vocabulary,
    kinds: Mapping[str, Kind | None] | None,
    what: Literal["user", "item"],
    notes: Notes,
) -> FeatureTable:
    """Fields of every user or item of the vocabulary; missing where the table does not know one.

    Args:
        table: the rows, or None for no features. ids: the id of each row, in the vocabulary's type.
        kinds: the kind of named columns; None for a column to leave out. Columns not named are inferred.
    """
    kinds = dict(kinds or {})
    if table is None or ids is None:
        if kinds:
            raise notes.refuse(
                f"{what}_kinds= names {', '.join(kinds)}, but there is no table of {what}s.",
                f"Pass it with {what}s=.",
            )
        return FeatureTable.empty(len(vocabulary))
    frame = typed(table).drop(id_column)
    _check_kinds(kinds, frame, table, what, notes)
    for name, dtype in frame.schema.items():
        if name not in kinds and (dtype == pl.Null or not can_be_field(dtype)):
            kinds[name] = None
            notes.note(f"{table.source}: the column {name!r} of type {dtype} is not used.")
    for name, dtype in frame.schema.items():
        if dtype == pl.String and plain(name) in _LISTS and kinds.get(name, "multi") == "multi":
            frame = frame.with_columns(_parted(frame[name], table, notes))
        if name not in kinds and plain(name).endswith("id"):
            kinds[name] = _kind_of_id(frame[name], name, table, what, notes)
    frame = frame.select(name for name in frame.columns if kinds.get(name, "text") is not None)
    frame, ids = _one_row_each(frame, ids, table, what, notes)
    if frame.width == 0:
        return FeatureTable.empty(len(vocabulary))
    # The schema is learned from the whole table, so that a value only an idle user has is known too.
    try:
        schema = tuple(infer_field(frame[name], kinds.get(name)) for name in frame.columns)
    except UserInputError as error:
        raise notes.refuse(
            f"{table.source}: {error}",
            f"Choose another kind with {what}_kinds=, or None to leave the column out.",
        ) from None
    rows = pl.Series(Vocabulary(ids).encode(vocabulary.ids).numpy())
    rows = rows.set(rows < 0, None)
    idle = len(ids) - (len(rows) - rows.null_count())
    if idle:
        notes.note(f"{table.source}: {count(idle, what)} without events left out.")
    if rows.null_count():
        notes.warn(
            f"{table.source} lacks {count(rows.null_count(), what)} of {len(vocabulary):,} with events; "
            "their fields are missing."
        )
    return FeatureTable.encode(frame.select(pl.all().gather(rows)), schema)


def _parted(series: pl.Series, table: Table, notes: Notes) -> pl.Series:
    """Lists with commas become lists, where the name of the column says that it holds such."""
    if series.str.contains("|", literal=True).any() or not series.str.contains(",", literal=True).any():
        return series
    notes.note(f"{table.source}: the values of {series.name!r} are parted by commas.")
    return series.str.split(",").list.eval(pl.element().str.strip_chars())


def typed(table: Table) -> pl.DataFrame:
    """The frame with whole columns of numbers, dates or truth values read as such, if it came as text."""
    if not table.from_text:
        return table.frame
    return table.frame.with_columns(
        _typed(table.frame[name], table.decimal_comma)
        for name, dtype in table.frame.schema.items()
        if dtype == pl.String and plain(name) not in _NEVER_NUMBERS
    )


def _typed(series: pl.Series, decimal_comma: bool) -> pl.Series:
    text = series.str.strip_chars()
    text = text.set((text == "").fill_null(False), None)
    present = text.set(text.str.to_lowercase().is_in(list(NOTHING)).fill_null(False), None)
    if present.null_count() == len(present):
        return text
    if not present.str.contains(_LEADING_ZERO).any():
        for dtype in (pl.Int64, pl.Float64):
            cast = present.cast(dtype, strict=False)
            if cast.null_count() == present.null_count():
                return cast
        if decimal_comma:
            cast = with_decimal_comma(present)
            if cast.null_count() == present.null_count():
                return cast
    lower = present.str.to_lowercase()
    if lower.drop_nulls().is_in(["true", "false"]).all():
        return lower == "true"
    if present.str.contains(r"^\d{4}-\d{2}-\d{2}").fill_null(True).all():
        day = present.str.head(10).str.to_date("%Y-%m-%d", strict=False)
        if day.null_count() == present.null_count():
            return day
    return text


def _check_kinds(
    kinds: Mapping[str, Kind | None], frame: pl.DataFrame, table: Table, what: str, notes: Notes
) -> None:
    for name, kind in kinds.items():
        if name not in frame.columns:
            raise notes.refuse(
                f"{what}_kinds= names the column {name!r}; {table.source} has {listing(frame.columns)}.",
                "Name columns of that table.",
            )
        if kind is not None and kind not in get_args(Kind):
            raise notes.refuse(
                f"{what}_kinds= gives {name!r} the kind {kind!r}.",
                f"Use one of {', '.join(get_args(Kind))}, or None to leave the column out.",
            )


def _kind_of_id(series: pl.Series, name: str, table: Table, what: str, notes: Notes) -> Kind | None:
    """An id of something else (an author, say) is a category; one that no two rows share says nothing."""
    present = series.drop_nulls()
    if isinstance(series.dtype, pl.List):
        return "multi"
    if present.n_unique() > 0.8 * len(present) and len(present) > 10:
        notes.note(
            f"{table.source}: the column {name!r} looks like another id of each {what}; not used.",
            f'Use it with {what}_kinds={{"{name}": "categorical"}}.',
        )
        return None
    return "categorical"


def _one_row_each(
    frame: pl.DataFrame, ids: pl.Series, table: Table, what: str, notes: Notes
) -> tuple[pl.DataFrame, pl.Series]:
    known = ids.is_not_null()
    if not known.all():
        notes.warn(
            f"{table.source}: {count(int((~known).sum()), 'row')} without a usable {what} id. Left out."
        )
        frame, ids = frame.filter(known), ids.filter(known)
    last = ids.is_last_distinct()
    if not last.all():
        again = count(int((~last).sum()), "row")
        notes.warn(
            f"{table.source}: {again} whose {what} id occurs again further down "
            f"(such as {ids.filter(~last)[0]!r}); the last was kept."
        )
        frame, ids = frame.filter(last), ids.filter(last)
    return frame, ids
