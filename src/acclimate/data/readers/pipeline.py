"""From any table of interactions to a Dataset, with a report of what was mapped and cleaned."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypedDict, Unpack, get_args

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from acclimate.data.dataset import Dataset
from acclimate.data.features import Kind
from acclimate.data.interactions import Interactions
from acclimate.data.readers.attributes import feature_table
from acclimate.data.readers.cleaning import (
    Column,
    Duplicates,
    Events,
    Mask,
    TimeUnit,
    drop_duplicates,
    event_strengths,
    parse_times,
    parse_values,
    settle_ids,
)
from acclimate.data.readers.columns import STRENGTHS, Roles, find_id, find_roles, plain
from acclimate.data.readers.layouts import find_layout, find_part
from acclimate.data.readers.report import SHOWN, Notes, OnBadRows, ReadReport, Refused, count, quoted
from acclimate.data.readers.sources import Source, describe, load
from acclimate.data.readers.table import Table
from acclimate.data.vocabulary import Vocabulary
from acclimate.errors import DataError, UserInputError

logger = logging.getLogger("acclimate")


class ReadOptions(TypedDict, total=False):
    """The keyword arguments of :func:`read`, for those who pass them on."""

    items: Source | None
    users: Source | None
    columns: Mapping[str, str | None] | None
    item_id: str | None
    user_id: str | None
    item_kinds: Mapping[str, Kind | None] | None
    user_kinds: Mapping[str, Kind | None] | None
    explicit: bool | None
    duplicates: Duplicates
    on_bad_rows: OnBadRows
    missing_value: float | None
    event_values: Mapping[str, float] | None
    ids: Literal["infer", "text"]
    time_unit: TimeUnit | None
    time_format: str | None
    delimiter: str | None
    header: bool | None
    encoding: str | None
    name: str | None


@dataclass(frozen=True, eq=False)
class Inspection:
    """What came of a table.

    Attributes:
        dataset: the data; None if it could not be read at all. Where ``report`` holds errors, it is what is
            left without the rows they are about, for statistics only.
        report: what was mapped and cleaned, and every problem.
    """

    dataset: Dataset | None
    report: ReadReport


def read(
    ratings: Source,
    *,
    items: Source | None = None,
    users: Source | None = None,
    columns: Mapping[str, str | None] | None = None,
    item_id: str | None = None,
    user_id: str | None = None,
    item_kinds: Mapping[str, Kind | None] | None = None,
    user_kinds: Mapping[str, Kind | None] | None = None,
    explicit: bool | None = None,
    duplicates: Duplicates = "last",
    on_bad_rows: OnBadRows = "error",
    missing_value: float | None = None,
    event_values: Mapping[str, float] | None = None,
    ids: Literal["infer", "text"] = "infer",
    time_unit: TimeUnit | None = None,
    time_format: str | None = None,
    delimiter: str | None = None,
    header: bool | None = None,
    encoding: str | None = None,
    name: str | None = None,
    report: Callable[[ReadReport], object] | None = None,
) -> Dataset:
    """Reads a table of interactions, and what is known about the items and users, into a :class:`Dataset`.

    Delimiters, headers, column names and types are found; whatever was mapped or cleaned is in the report,
    which is logged to ``acclimate`` at level INFO. :func:`inspect` returns it, and does not raise.

    Args:
        ratings: a CSV (any delimiter), Parquet or Arrow file; a polars, pandas or Arrow table; or a folder in
            a known layout (MovieLens, Netflix Prize, RecBole, or ratings.* with items.* and users.*).
        items: a table of items, of the same sorts. Items without events stay in the catalogue; items that
            occur in events only get missing fields.
        users: a table of users. Users without events are left out.
        columns: role -> column, for roles that are not found by name: ``user``, ``item``, ``value``,
            ``time``, ``event``. None for "no such column".
        item_id: the id column of ``items``. user_id: that of ``users``.
        item_kinds: kind of named columns of ``items``: categorical, numeric, multi, text or time; None leaves
            a column out. user_kinds: likewise for ``users``.
        explicit: True if values are ratings, False if they are strengths of implicit feedback. None: ratings
            if there is a column of ratings with more than one value.
        duplicates: which of several events of one user and item to keep: the last or first by time (by the
            order of the file where there is none), or their mean or sum; or that it is an error.
        on_bad_rows: what to do with rows that cannot be used (too many or few fields, no id, a value or time
            that is not one): raise an error that lists them, or leave them out and list them in the report.
        missing_value: what an empty value means; None leaves its row out.
        event_values: strength of each kind of event, where a column names kinds; others are left out.
        ids: ``text`` keeps ids of text files as text even if they are whole numbers.
        time_unit: unit of times that are numbers; None tells it from their size.
        time_format: how times are written, as for :func:`time.strftime`; None reads ISO 8601. Without a time
            zone they are UTC.
        delimiter, header, encoding: of a text file; None finds out (UTF-8).
        name: what reports call the data; the file's name if None.
        report: called with the report before anything is raised, ``print`` for example.

    Raises:
        DataError: the table cannot be used as it is; the message names the file, the line or column, what was
            found and what to do.
    """
    inspection = inspect(
        ratings,
        items=items,
        users=users,
        columns=columns,
        item_id=item_id,
        user_id=user_id,
        item_kinds=item_kinds,
        user_kinds=user_kinds,
        explicit=explicit,
        duplicates=duplicates,
        on_bad_rows=on_bad_rows,
        missing_value=missing_value,
        event_values=event_values,
        ids=ids,
        time_unit=time_unit,
        time_format=time_format,
        delimiter=delimiter,
        header=header,
        encoding=encoding,
        name=name,
    )
    logger.info("%s", inspection.report)
    if report is not None:
        report(inspection.report)
    if inspection.dataset is None or inspection.report.errors:
        raise DataError(inspection.report.message())
    return inspection.dataset


def inspect(ratings: Source, **options: Unpack[ReadOptions]) -> Inspection:
    """As :func:`read`, but finds every problem it can and raises none.

    Raises:
        UserInputError: an option is not one of its possible values.
    """
    for name in options:
        if name not in ReadOptions.__annotations__:
            raise TypeError(f"inspect() got an unexpected keyword argument {name!r}")
    _check_choice("duplicates", options.get("duplicates", "last"), get_args(Duplicates))
    _check_choice("on_bad_rows", options.get("on_bad_rows", "error"), get_args(OnBadRows))
    _check_choice("ids", options.get("ids", "infer"), ("infer", "text"))
    if options.get("time_unit") is not None:
        _check_choice("time_unit", options["time_unit"], get_args(TimeUnit))
    numbers = {"missing_value": options.get("missing_value"), **(options.get("event_values") or {})}
    for name, value in numbers.items():
        if value is not None and not math.isfinite(value):
            raise UserInputError(f"{name}={value}; use a finite number.")
    notes = Notes(describe(ratings), options.get("on_bad_rows", "error"))
    try:
        dataset = _build(ratings, options, notes)
    except Refused:
        dataset = None
    return Inspection(dataset, notes.report())


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise UserInputError(f"{name}={value!r}; use one of {', '.join(repr(c) for c in choices)}.")


def _build(ratings: Source, options: ReadOptions, notes: Notes) -> Dataset:
    events, items, users = _tables(ratings, options, notes)
    notes.rows = len(events) + len(events.bad)
    _broken_lines(events, notes)
    if events.bad and notes.on_bad_rows == "drop":
        notes.left_out["lines that are no rows"] = len(events.bad)
    roles = _values_or_kinds(events, find_roles(events, options.get("columns"), notes), options, notes)
    notes.columns = roles.as_dict()
    notes.ignored = tuple(name for name in events.columns if name not in notes.columns.values())
    if len(events) == 0:
        raise notes.refuse(
            f"{events.source} has column names but no rows."
            if events.header
            else f"{events.source} has no rows.",
            "Check that it was written to the end.",
        )
    for table in (items, users):
        if table is not None:
            _broken_lines(table, notes)
    for remark in events.remarks:
        notes.note(f"{events.source}: {remark}.")

    usable = np.ones(len(events), bool)
    values, times = np.ones(len(events)), None
    if roles.value is not None:
        values, good = parse_values(Column(events, roles.value), options.get("missing_value"), notes)
        usable &= good
    elif roles.event is not None:
        values, good = event_strengths(Column(events, roles.event), options.get("event_values"), notes)
        usable &= good
    if roles.time is not None:
        when = Column(events, roles.time)
        times, good = parse_times(when, options.get("time_unit"), options.get("time_format"), notes)
        usable &= good
    user_column = (
        find_id(users, "user", options.get("user_id"), roles.user, notes) if users is not None else ""
    )
    item_column = (
        find_id(items, "item", options.get("item_id"), roles.item, notes) if items is not None else ""
    )
    as_text = options.get("ids", "infer") == "text"
    user_ids, good = settle_ids(_both(events, roles.user, users, user_column), "user", notes, as_text=as_text)
    usable &= good
    item_ids, good = settle_ids(_both(events, roles.item, items, item_column), "item", notes, as_text=as_text)
    usable &= good
    explicit = _explicit(roles, values[usable], options.get("explicit"), notes)
    if not explicit:
        usable &= _strong_enough(events, roles, values, usable, notes)
    if not usable.any():
        why = ", ".join(f"{n:,} left out ({reason})" for reason, n in notes.left_out.items())
        raise notes.refuse(
            f"{events.source}: no row is left that can be used{f': {why}' if why else ''}.",
            "Correct the rows, or name the right columns with columns={...}.",
        )

    user_vocabulary = Vocabulary(user_ids[0].filter(usable).unique().sort())
    catalogue = pl.concat([item_ids[0].filter(usable), *(ids.drop_nulls() for ids in item_ids[1:])])
    item_vocabulary = Vocabulary(catalogue.unique().sort())
    found = Events(
        rows=np.flatnonzero(usable),
        users=user_vocabulary.encode(user_ids[0].filter(usable)).numpy(),
        items=item_vocabulary.encode(item_ids[0].filter(usable)).numpy(),
        values=values[usable],
        times=None if times is None else times[usable],
    )
    found = drop_duplicates(events, found, options.get("duplicates", "last"), notes)
    notes.kept = len(found.rows)
    _enough(events, found, notes)

    item_features = feature_table(
        items,
        item_ids[1] if items is not None else None,
        id_column=item_column,
        vocabulary=item_vocabulary,
        kinds=options.get("item_kinds"),
        what="item",
        notes=notes,
    )
    user_features = feature_table(
        users,
        user_ids[1] if users is not None else None,
        id_column=user_column,
        vocabulary=user_vocabulary,
        kinds=options.get("user_kinds"),
        what="user",
        notes=notes,
    )
    stored = found.values.astype(np.float32)
    return Dataset(
        interactions=Interactions.from_columns(
            torch.from_numpy(found.users),
            torch.from_numpy(found.items),
            torch.from_numpy(stored),
            None if found.times is None else torch.from_numpy(found.times),
            n_users=len(user_vocabulary),
            n_items=len(item_vocabulary),
        ),
        users=user_features,
        items=item_features,
        user_ids=user_vocabulary,
        item_ids=item_vocabulary,
        explicit=explicit,
        value_range=(float(stored.min()), float(stored.max())),
        name=options.get("name") or _name_of(ratings),
    )


def _tables(ratings: Source, options: ReadOptions, notes: Notes) -> tuple[Table, Table | None, Table | None]:
    """The interactions, the items and the users, from a folder or from each one's own source."""
    items, users = options.get("items"), options.get("users")
    found_items = found_users = None
    if isinstance(ratings, str | Path) and Path(ratings).is_dir():
        layout, place = find_layout(Path(ratings), notes)
        notes.layout = layout.name
        events = layout.events.load(place, notes)
        assert events is not None
        if items is None and layout.items is not None:
            found_items = layout.items.load(place, notes)
        if users is None and layout.users is not None:
            found_users = layout.users.load(place, notes)
    else:
        events = _table(ratings, "events", options, notes)
    if items is not None:
        found_items = _table(items, "items", options, notes)
    if users is not None:
        found_users = _table(users, "users", options, notes)
    return events, found_items, found_users


def _table(
    source: Source, which: Literal["events", "items", "users"], options: ReadOptions, notes: Notes
) -> Table:
    chosen = (
        {key: options.get(key) for key in ("delimiter", "header", "encoding")} if which == "events" else {}
    )
    if isinstance(source, str | Path) and all(value is None for value in chosen.values()):
        known = find_part(Path(source), which)
        if known is not None:
            layout, part = known
            if which == "events":
                notes.layout = layout.name
            return part.read(Path(source), notes)
    if which == "events":
        return load(
            source,
            notes,
            delimiter=options.get("delimiter"),
            header=options.get("header"),
            encoding=options.get("encoding"),
        )
    return load(source, notes, encoding=options.get("encoding"))


def _values_or_kinds(events: Table, roles: Roles, options: ReadOptions, notes: Notes) -> Roles:
    """What an event counts comes from its value, unless the caller weighs kinds of events."""
    if options.get("event_values") is None:
        return replace(roles, event=None) if roles.value is not None else roles
    if roles.event is None:
        raise notes.refuse(
            f"event_values= is given, but no column of {events.source} names kinds of events.",
            'Name it: columns={"event": "..."}.',
        )
    return replace(roles, value=None)


def _both(events: Table, role: str, table: Table | None, column: str) -> list[Column]:
    """The ids among the interactions, and those of the feature table if there is one."""
    return [Column(events, role)] + ([] if table is None else [Column(table, column)])


def _broken_lines(table: Table, notes: Notes) -> None:
    """Lines that are no rows: an error, or left out if the caller says so."""
    if not table.bad:
        return
    shown = "; ".join(f"{line.place} ({line.why}): {quoted(line.text)}" for line in table.bad[:SHOWN])
    more = f"; and {len(table.bad) - SHOWN:,} more" if len(table.bad) > SHOWN else ""
    found = f"{table.source}: {count(len(table.bad), 'line')} that cannot be read as a row: {shown}{more}."
    lines = tuple(line.number for line in table.bad[:SHOWN])
    if notes.on_bad_rows == "drop":
        notes.warn(found, "Left out.", lines=lines)
    else:
        notes.error(
            found,
            "Correct them (quote fields that hold the delimiter), or leave such rows out with "
            'on_bad_rows="drop".',
            lines=lines,
            on_bad_rows="drop",
        )


def _explicit(roles: Roles, values: NDArray[np.float64], said: bool | None, notes: Notes) -> bool:
    if said is not None:
        return said
    if roles.value is None:
        notes.note("There is no column of values: every event counts as chosen, with strength 1.")
        return False
    varied = len(values) > 0 and bool((values != values[0]).any())
    if plain(roles.value) in STRENGTHS:
        notes.note(
            f"The values of {roles.value!r} are taken as strengths of implicit feedback.",
            "If they are ratings, say explicit=True.",
            explicit=True,
        )
        return False
    if len(values) > 0 and not varied:
        notes.note(f"All values of {roles.value!r} are the same: taken as implicit feedback.")
    return varied


def _strong_enough(
    events: Table, roles: Roles, values: NDArray[np.float64], usable: Mask, notes: Notes
) -> Mask:
    """An implicit event of no strength, or of a negative one, is no event."""
    weak = usable & (values <= 0)
    at = np.flatnonzero(weak)
    notes.bad_rows(
        events,
        at,
        f"a strength of zero or less in column {(roles.value or roles.event)!r}",
        [f"{values[row]:g}" for row in at[:SHOWN]],
        "Correct them, say explicit=True if they are ratings",
    )
    return ~weak


def _enough(table: Table, events: Events, notes: Notes) -> None:
    for what, rows in (("user", events.users), ("item", events.items)):
        n = len(np.unique(rows))
        if n < 2:
            raise notes.refuse(
                f"{table.source} holds events of {count(n, what)} only: nothing to learn across {what}s.",
                f"Bring events of two {what}s at least, of many more for a useful result, "
                f"and check that {notes.columns[what]!r} is the column of {what}s.",
            )


def _name_of(source: Source) -> str:
    if isinstance(source, str | Path):
        return Path(source).resolve().name.split(".")[0] or "data"
    return "data"
