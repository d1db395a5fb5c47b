"""The rules by which rows become events: ids, values, times, duplicates.

Every rule is stated here and applied nowhere else:

- An id that is missing or longer than ``MAX_ID`` characters, a value that is no finite number, and a time in
  words make a *bad row*: an error, or left out if the caller says so.
- An empty value or time means nobody gave one: the row is left out and counted, unless a filling is given.
- Ids written as whole numbers in a text file are whole numbers; with a leading zero among them, all are text.
  12.0 is 12: spreadsheets and pandas write it so where a column has gaps.
- Times are whole seconds since 1970 in UTC; the unit of large numbers is told from their size.
- Of events with the same user and item one is kept, by the caller's rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from acclimate.data.readers.report import SHOWN, Notes, count, listed, quoted
from acclimate.data.readers.table import Table

Duplicates = Literal["last", "first", "mean", "sum", "error"]
TimeUnit = Literal["s", "ms", "us", "ns"]
Mask = NDArray[np.bool_]
Whole = NDArray[np.int64]

MAX_ID = 1000
"""Longest id, in characters; whatever is longer is a mistake in the file."""

NOTHING = ("", "na", "n/a", "null", "none", "\\n")
"""Texts that mean an empty cell, without regard to case."""

_WHOLE = r"^(0|-?[1-9]\d{0,18})$"
_WHOLE_POINT = r"^(-?\d{1,18})\.0+$"
_PER_SECOND: Mapping[TimeUnit, int] = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_UNIT_NAMES: Mapping[TimeUnit, str] = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}
_DATE_FORMATS = (
    *("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d"),
    *("%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d"),
)
# 1e11 s is the year 5138; 1e11 ms is 1973.
_LARGEST_SECONDS = 1e11
_YEARS_1900_TO_2300 = (-2_208_988_800, 10_413_792_000)
_NO_TIMES = 'do without: columns={"time": None}.'


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table on its way."""

    table: Table
    name: str

    def __str__(self) -> str:
        return f"{self.table.source}, column {self.name!r}"

    @property
    def series(self) -> pl.Series:
        """The cells; categories as the text they stand for."""
        series = self.table.frame[self.name]
        return series.cast(pl.String) if series.dtype in (pl.Categorical, pl.Enum) else series

    @property
    def untyped(self) -> bool:
        """Whether the cells are text only because the file is."""
        return self.table.from_text and self.series.dtype == pl.String

    def shown(self, mask: Mask) -> list[str]:
        """What stands in the first of the rows where ``mask`` is True."""
        series = self.series.cast(pl.String)
        return [str(series[int(row)]) for row in np.flatnonzero(mask)[:SHOWN]]


@dataclass(frozen=True, eq=False)
class Events:
    """Columns [E] of usable interactions in the order of the file.

    Attributes:
        rows: where they stand in the table. users, items: numbers from 0. values: float64. times: seconds.
    """

    rows: Whole
    users: Whole
    items: Whole
    values: NDArray[np.float64]
    times: Whole | None

    def take(self, keep: Whole) -> Events:
        """The events at the given positions."""
        times = None if self.times is None else self.times[keep]
        return Events(self.rows[keep], self.users[keep], self.items[keep], self.values[keep], times)


def settle_ids(
    columns: Sequence[Column], what: str, notes: Notes, *, as_text: bool
) -> tuple[list[pl.Series], Mask]:
    """Gives the ids of the interactions, and those of a feature table, one type.

    Args:
        columns: the ids of the interactions, then those of the feature table if there is one.
        what: ``user`` or ``item``. as_text: leave ids of text files as text.

    Returns:
        The ids, null where one is missing, and which rows of the interactions are usable.
    """
    ids = [_tidy(column, what, notes) for column in columns]
    usable = _usable_ids(columns[0], ids[0], what, notes)
    ids[0] = ids[0].set(pl.Series(~usable), None)
    typed = [series.dtype for series, column in zip(ids, columns, strict=True) if not column.untyped]
    if typed and typed[0].is_integer():
        ids = [
            _to_whole(column, series, what, notes) if column.untyped else series
            for column, series in zip(columns, ids, strict=True)
        ]
        usable &= ids[0].is_not_null().to_numpy()
    elif not typed and not as_text:
        ids, stray = _whole_if_all_are(columns, ids, what, notes)
        usable &= ~stray
    return _one_type(columns, ids, what, notes), usable


def _tidy(column: Column, what: str, notes: Notes) -> pl.Series:
    """Trimmed, and of a type that can be an id."""
    series = column.series
    if series.dtype == pl.String:
        if column.untyped:
            series = series.str.strip_chars()
        return series.set((series.str.strip_chars() == "").fill_null(False), None)
    if series.dtype.is_float():
        finite = series.is_finite().fill_null(False)
        exact = 2**53 if series.dtype == pl.Float64 else 2**24
        whole = ((series == series.round()) & (series.abs() < exact)) | ~finite
        if not whole.all():
            odd = series.filter(~whole)[0]
            why = "with fractions" if odd % 1 else f"that {series.dtype} cannot tell apart"
            raise notes.refuse(
                f"{column}: the {what} ids are numbers {why}, such as {odd:g}.",
                "Check that this is the right column, or bring the ids as whole numbers or text.",
            )
        notes.note(f"{column}: whole numbers stored as {series.dtype} were read as Int64.")
        return series.set(~finite, None).cast(pl.Int64)
    if isinstance(series.dtype, pl.Decimal) and series.dtype.scale == 0:  # whole numbers of a database
        whole = series.cast(pl.Int64, strict=False)
        return whole if whole.null_count() == series.null_count() else series.cast(pl.String)
    if series.dtype == pl.Null or series.dtype.is_decimal():
        return series.cast(pl.String)
    if series.dtype.is_integer() or series.dtype.is_temporal() or series.dtype == pl.Boolean:
        return series
    raise notes.refuse(
        f"{column}: values of type {series.dtype} cannot be the {what} id.",
        "Name a column of whole numbers, text or dates.",
    )


def _usable_ids(column: Column, ids: pl.Series, what: str, notes: Notes) -> Mask:
    missing = ids.is_null().to_numpy()
    notes.bad_rows(
        column.table,
        np.flatnonzero(missing),
        f"no {what} id in column {column.name!r}",
        [],
        f"Fill in the {what} ids",
    )
    long = np.zeros(len(ids), bool)
    if ids.dtype == pl.String:
        long = (ids.str.len_chars().fill_null(0) > MAX_ID).to_numpy()
        notes.bad_rows(
            column.table,
            np.flatnonzero(long),
            f"{what} ids of more than {MAX_ID:,} characters in column {column.name!r}",
            column.shown(long),
            "This is usually a missing line break or quote: correct the file",
        )
    return ~(missing | long)


def _to_whole(column: Column, ids: pl.Series, what: str, notes: Notes) -> pl.Series:
    """Text ids beside a table whose ids are numbers."""
    whole = _without_point(ids).cast(pl.Int64, strict=False)
    lost = (whole.is_null() & ids.is_not_null()).to_numpy()
    notes.bad_rows(
        column.table,
        np.flatnonzero(lost),
        f"{what} ids in column {column.name!r} that are not whole numbers, while the other table's are",
        column.shown(lost),
        "Give both tables ids of one type",
    )
    return whole


def _whole_if_all_are(
    columns: Sequence[Column], ids: list[pl.Series], what: str, notes: Notes
) -> tuple[list[pl.Series], Mask]:
    """Text ids as whole numbers, if all of them are; and where an id is a stray among numbers."""
    none_stray = np.zeros(len(ids[0]), bool)
    cast = [series.cast(pl.Int64, strict=False) for series in ids]
    whole = [
        series.is_null() | (series.str.contains(_WHOLE) & number.is_not_null())
        for series, number in zip(ids, cast, strict=True)
    ]
    if all(w.all() for w in whole):
        return cast, none_stray
    pointed = [w | series.str.contains(_WHOLE_POINT) for series, w in zip(ids, whole, strict=True)]
    if all(p.all() for p in pointed):
        notes.note(
            f"{columns[0]}: {what} ids such as '12.0' were read as whole numbers.",
            'Keep them as text with ids="text".',
            ids="text",
        )
        return [_without_point(series).cast(pl.Int64) for series in ids], none_stray
    if whole[0].all() and all(_few(s, w) for s, w in zip(ids[1:], whole[1:], strict=True)):
        return cast, none_stray
    numbers = ids[0].filter(whole[0]).n_unique()
    leading_zeros = ids[0].str.contains(r"^-?0\d").any()
    if not leading_zeros and numbers >= 3 and _few(ids[0], whole[0]):
        # All but a very few are numbers: more likely a damaged line than a way of naming.
        stray = (~whole[0]).to_numpy()
        notes.bad_rows(
            columns[0].table,
            np.flatnonzero(stray),
            f"{what} ids of mixed types in column {columns[0].name!r}, whole numbers but for these",
            columns[0].shown(stray),
            'Correct them, read all ids as text if they are meant (ids="text")',
            ids="text",
        )
        return cast, stray
    return ids, none_stray


def _without_point(ids: pl.Series) -> pl.Series:
    """12 for 12.0; other text as it is."""
    return ids.str.replace(_WHOLE_POINT, "$1")


def _few(ids: pl.Series, whole: pl.Series) -> bool:
    """Whether at most one distinct id in a hundred, or a single one, is no whole number."""
    return ids.filter(~whole).n_unique() <= max(1, ids.n_unique() // 100)


def _one_type(columns: Sequence[Column], ids: list[pl.Series], what: str, notes: Notes) -> list[pl.Series]:
    first = ids[0]
    for column, series in zip(columns[1:], ids[1:], strict=True):
        same = series.dtype == first.dtype or series.null_count() == len(series)
        if not same and not (series.dtype.is_integer() and first.dtype.is_integer()):
            raise notes.refuse(
                f"The {what} ids are of different types: {first.dtype} among the events ({columns[0]}, "
                f"such as {quoted(_some(first))}), {series.dtype} in the table of {what}s ({column}, "
                f"such as {quoted(_some(series))}).",
                "Cast one of the two columns so that the ids can be matched.",
            )
    # The type of the interactions is kept, unless whole numbers of the other table do not fit into it.
    for dtype in (first.dtype, pl.Int64):
        alike = [series.cast(dtype, strict=False) for series in ids]
        if all(a.null_count() == series.null_count() for a, series in zip(alike, ids, strict=True)):
            return alike
    raise notes.refuse(
        f"The {what} ids of {columns[0]} and of {columns[1]} do not fit into one type of whole numbers.",
        "Cast both columns to text.",
    )


def _some(series: pl.Series) -> object:
    present = series.drop_nulls()
    return present[0] if len(present) else None


def parse_values(
    column: Column, missing_value: float | None, notes: Notes
) -> tuple[NDArray[np.float64], Mask]:
    """Numbers of the value column, and which rows have a usable one.

    Args:
        missing_value: what an empty cell means; None leaves its row out.
    """
    table, raw = column.table, column.series
    if raw.dtype == pl.String:
        text = raw.str.strip_chars()
        empty = text.is_null() | text.str.to_lowercase().is_in(list(NOTHING)).fill_null(True)
        numbers = text.cast(pl.Float64, strict=False)
        if table.decimal_comma and numbers.null_count() > empty.sum():
            commas = with_decimal_comma(text)
            if commas.null_count() < numbers.null_count():
                numbers = commas
                notes.note(f"{column}: numbers are written with a decimal comma.")
    elif raw.dtype.is_numeric() or raw.dtype in (pl.Boolean, pl.Null):
        empty, numbers = raw.is_null(), raw.cast(pl.Float64)
    else:
        raise notes.refuse(
            f"{column}: values of type {raw.dtype} cannot be the value of an event.",
            'Name a column of numbers, or none: columns={"value": None}.',
            columns={"value": None},
        )
    values = numbers.fill_null(0.0).to_numpy().astype(np.float64)
    gaps = empty.to_numpy()
    if gaps.all() and missing_value is None:
        raise notes.refuse(
            f"{column}: there is no value in any row.",
            'Name another, or say there is none: columns={"value": None}.',
            columns={"value": None},
        )
    words = numbers.is_null().to_numpy() & ~gaps
    with np.errstate(over="ignore"):  # values are stored as float32
        unbounded = ~np.isfinite(values.astype(np.float32))
    if words.sum() > 0.5 * len(values):
        examples = listed(table, np.flatnonzero(words), column.shown(words))
        raise notes.refuse(
            f"{column}: the values are not numbers: {examples}.",
            'Name the column of ratings, columns={"value": "..."}, or say there is none: '
            'columns={"value": None}.',
            columns={"value": None},
        )
    what = f"a value in column {column.name!r} that is"
    notes.bad_rows(table, np.flatnonzero(words), f"{what} not a number", column.shown(words), "Correct them")
    notes.bad_rows(
        table, np.flatnonzero(unbounded), f"{what} NaN or infinite", column.shown(unbounded), "Correct them"
    )
    usable = ~(words | unbounded)
    if gaps.any() and missing_value is None:
        usable &= ~gaps
        _left_out_gaps(
            column, gaps, "value", "To keep them, say what an empty cell means: missing_value=....", notes
        )
    elif gaps.any():
        values[gaps] = missing_value
        notes.warn(f"{column}: {count(int(gaps.sum()), 'empty cell')} read as {missing_value:g}.")
    return values, usable


def with_decimal_comma(text: pl.Series) -> pl.Series:
    """3,5 as a number, as 3.5 and 3 are; null where there is none.

    Where every comma could part thousands, as in 1,200, none is taken for a decimal comma.
    """
    grouped = text.str.contains(r"^[+-]?[1-9]\d{0,2}(,\d{3})+$")
    if not (text.str.contains(",", literal=True) & ~grouped).any():
        return text.cast(pl.Float64, strict=False)
    return text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)


def _left_out_gaps(column: Column, gaps: Mask, what: str, cure: str, notes: Notes) -> None:
    table, rows = column.table, np.flatnonzero(gaps)
    notes.left_out[f"no {what} in column {column.name!r}"] = len(rows)
    notes.warn(
        f"{table.source}: {count(len(rows), 'row')} with no {what} in column {column.name!r}: "
        f"{listed(table, rows, [])}. Left out.",
        cure,
        lines=tuple(table.line(int(row)) for row in rows[:SHOWN]),
    )


def parse_times(
    column: Column, unit: TimeUnit | None, time_format: str | None, notes: Notes
) -> tuple[Whole, Mask]:
    """Whole seconds since 1970 of the time column, and which rows have a usable one.

    Args:
        unit: of times that are numbers; None tells it from their size.
        time_format: of times that are text, in the notation of :func:`time.strftime`; None takes ISO 8601.
    """
    raw = column.series
    if raw.dtype in (pl.Date, pl.Datetime):
        seconds = raw.cast(pl.Datetime("us")) if raw.dtype == pl.Date else raw
        return _usable_times(column, seconds.dt.epoch("s"), raw.is_null(), notes)
    if raw.dtype.is_numeric():
        return _usable_times(column, _from_numbers(column, raw, unit, notes), raw.is_null(), notes)
    if raw.dtype not in (pl.String, pl.Null):
        raise notes.refuse(
            f"{column}: values of type {raw.dtype} are no points in time.",
            f"Name a column of times, or {_NO_TIMES}",
            columns={"time": None},
        )
    text = raw.cast(pl.String).str.strip_chars()
    empty = text.is_null() | text.str.to_lowercase().is_in(list(NOTHING)).fill_null(True)
    if time_format is None:
        numbers = text.cast(pl.Int64, strict=False)
        if numbers.null_count() > empty.sum():
            numbers = text.cast(pl.Float64, strict=False)
        if len(numbers) - numbers.null_count() >= 0.5 * max(1, len(text) - int(empty.sum())):
            return _usable_times(column, _from_numbers(column, numbers, unit, notes), empty, notes)
    return _usable_times(column, _from_dates(text, time_format), empty, notes, time_format)


def _from_dates(text: pl.Series, time_format: str | None) -> pl.Series:
    """Seconds of dates written as text, null where they cannot be read; without a zone they are UTC."""
    if time_format is not None:
        return _epoch(text, time_format)
    tidy = text.str.replace(r"^(\d{4}-\d{2}-\d{2})T", "$1 ").str.replace(r"\s*(Z|UTC)$", "")
    seconds = pl.Series("seconds", [None] * len(text), dtype=pl.Int64)
    for form in _DATE_FORMATS:
        if seconds.null_count() == 0:
            break
        seconds = pl.select(pl.coalesce(seconds, _epoch(tidy, form))).to_series()
    if seconds.null_count() == 0:
        return seconds
    # +02:00 and +02 as +0200, which is what is parsed.
    zoned = tidy.str.replace(r"(:\S*)\s*([+-]\d{2}):?(\d{2})?$", "$1$2$3")
    zoned = zoned.str.replace(r"([+-]\d{2})$", "${1}00")
    for form in ("%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%d %H:%M%z"):
        seconds = pl.select(pl.coalesce(seconds, _epoch(zoned, form))).to_series()
    return seconds


def _epoch(text: pl.Series, form: str) -> pl.Series:
    try:
        return text.str.to_datetime(form, strict=False, time_unit="us").dt.epoch("s")
    except pl.exceptions.PolarsError:  # a format that polars cannot use reads nothing
        return pl.Series("seconds", [None] * len(text), dtype=pl.Int64)


def _from_numbers(column: Column, numbers: pl.Series, unit: TimeUnit | None, notes: Notes) -> pl.Series:
    """Seconds of times that are numbers of a unit since 1970, null where one cannot be."""
    if numbers.dtype.is_float():
        numbers = numbers.set(~numbers.is_finite().fill_null(False), None)
    median = numbers.cast(pl.Float64).abs().median()
    size = float(median) if isinstance(median, float) else 0.0
    if unit is None:
        told: TimeUnit = next((u for u, per in _PER_SECOND.items() if size / per < _LARGEST_SECONDS), "ns")
        if told != "s":
            notes.note(f"{column}: times are {_UNIT_NAMES[told]} since 1970; converted to seconds.")
        unit = told
    per = _PER_SECOND[unit]
    if numbers.dtype.is_integer():
        seconds = numbers.cast(pl.Int64, strict=False) // per
    else:
        seconds = (numbers / per).floor().cast(pl.Int64, strict=False)
    if unit == "s" and 0 < size < 1e8:
        notes.note(f"{column}: times are small numbers (about {size:g}); taken as an order, not as dates.")
    if size / per >= 1e8:
        # Among dates, a time outside these years is in another unit than the rest.
        low, high = _YEARS_1900_TO_2300
        seconds = seconds.set(((seconds < low) | (seconds > high)).fill_null(False), None)
    return seconds


def _usable_times(
    column: Column, seconds: pl.Series, empty: pl.Series, notes: Notes, time_format: str | None = None
) -> tuple[Whole, Mask]:
    table, gaps = column.table, empty.to_numpy()
    wrong = seconds.is_null().to_numpy() & ~gaps
    at = np.flatnonzero(wrong)
    if len(at) > 0.5 * len(seconds):
        raise notes.refuse(
            f"{column}: these are not times{f' written as {time_format!r}' if time_format else ''}: "
            f"{listed(table, at, column.shown(wrong))}.",
            "Write seconds since 1970 or dates such as 2024-05-01 12:30, say how they are written "
            f'(time_format="%d.%m.%Y"), or {_NO_TIMES}',
            lines=tuple(table.line(int(row)) for row in at[:SHOWN]),
            columns={"time": None},
        )
    notes.bad_rows(
        table,
        at,
        f"a time in column {column.name!r} that cannot be read",
        column.shown(wrong),
        "Write seconds since 1970 or dates such as 2024-05-01 12:30",
    )
    if gaps.all():
        raise notes.refuse(
            f"{column}: there is no time in any row.", f"Name another, or {_NO_TIMES}", columns={"time": None}
        )
    if gaps.any():
        _left_out_gaps(column, gaps, "time", f"To keep them, {_NO_TIMES}", notes)
    return seconds.fill_null(0).to_numpy().astype(np.int64), ~(wrong | gaps)


def event_strengths(
    column: Column, strengths: Mapping[str, float] | None, notes: Notes
) -> tuple[NDArray[np.float64], Mask]:
    """What an event of each kind counts, and which rows have a kind that counts at all.

    Args:
        strengths: kind of event -> its strength; kinds it does not name are left out. None counts all alike.
    """
    kinds = column.series.cast(pl.String).fill_null("")
    tally = kinds.value_counts(sort=True)
    names = tally.get_column(kinds.name).to_list()
    if strengths is None:
        if len(names) > 1:
            shown = ", ".join(f"{quoted(name)} ({n:,})" for name, n in tally.head(5).iter_rows())
            notes.warn(
                f"{column}: {len(names)} kinds of events, which all count alike: {shown}.",
                "Weigh them, and leave out what is not named, with event_values={...}.",
                event_values=dict.fromkeys(names[:5], 1.0),
            )
        return np.ones(len(kinds)), np.ones(len(kinds), bool)
    unknown = [name for name in strengths if name not in names]
    if unknown:
        there = ", ".join(quoted(name) for name in names[:10])
        raise notes.refuse(
            f"event_values= names {quoted(unknown[0])}; {column} holds {there}.",
            "Name the kinds of events that are there.",
        )
    values = kinds.replace_strict(dict(strengths), default=None, return_dtype=pl.Float64)
    used = values.is_not_null().to_numpy()
    if not used.all():
        notes.left_out[f"kinds of events in column {column.name!r} that event_values lacks"] = int(
            (~used).sum()
        )
    return values.fill_null(0.0).to_numpy(), used


def drop_duplicates(table: Table, events: Events, rule: Duplicates, notes: Notes) -> Events:
    """Keeps one event of each user and item.

    ``last`` and ``first`` go by time, and by the order of the file where times are equal or there are none;
    ``mean`` and ``sum`` merge the values into the last event.
    """
    pair = events.users * (int(events.items.max()) + 1) + events.items
    # Newest last within a pair; lexsort is stable, so equal times keep the order of the file.
    order = np.lexsort((pair,) if events.times is None else (events.times, pair))
    in_order = pair[order]
    fresh = np.concatenate([[True], in_order[1:] != in_order[:-1]])
    repeated = np.sort(order[~fresh])
    if len(repeated) == 0:
        return events
    found = f"{table.source}: {count(len(repeated), 'row')} with a user and item that occurred before"
    lines = tuple(table.line(int(row)) for row in events.rows[repeated[:SHOWN]])
    if rule == "error":
        notes.error(
            f"{found}: {listed(table, events.rows[repeated], [])}.",
            'Remove them, or say what to keep: duplicates="last", "first", "mean" or "sum".',
            lines=lines,
            duplicates="last",
        )
        return events.take(np.sort(order[fresh]))
    starts = np.flatnonzero(fresh)
    ends = np.append(starts[1:], len(order)) - 1
    if rule in ("mean", "sum"):
        values = events.values.copy()
        total = np.add.reduceat(events.values[order], starts)
        values[order[ends]] = total / (ends - starts + 1) if rule == "mean" else total
        events = replace(events, values=values)
    how = {"last": "the last was kept", "first": "the first was kept"}.get(rule, f"their {rule} was taken")
    notes.left_out["the same user and item again"] = len(repeated)
    notes.warn(
        f"{found}: {listed(table, events.rows[repeated], [])}; {how}.",
        'Choose otherwise with duplicates="first", "mean", "sum" or "error".' if rule == "last" else "",
        lines=lines,
    )
    return events.take(np.sort(order[starts] if rule == "first" else order[ends]))
