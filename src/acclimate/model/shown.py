"""What people show of themselves: events and fields as callers write them, made into feedback."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import polars as pl
import torch
from torch import Tensor

from acclimate.data import Dataset, FeatureTable, Feedback, Field, Items
from acclimate.data.readers.columns import ALIASES, Role, plain
from acclimate.errors import UnknownNameError, UserInputError
from acclimate.model.names import Names
from acclimate.tensors import offsets_of, pad_segments, segment_ranges

Unknown = Literal["error", "prior"]
ROLES: tuple[Role, ...] = ("user", "item", "value", "time")

EXAMPLE = '[("Heat", 5), ("Alien", 4)]'


@dataclass(frozen=True, eq=False)
class Shelf:
    """The items of one call: the model's catalogue, and behind it those that the caller brings with their
    fields.

    Attributes:
        names: of the catalogue. table: fields, a row each item, the caller's own at the end.
        brought: ids of the caller's own items, in order.
    """

    names: Names
    table: FeatureTable
    brought: tuple[Any, ...] = ()

    @property
    def n_known(self) -> int:
        """Items of the catalogue proper."""
        return len(self.names.ids)

    def rows(self, given: Sequence[Any]) -> Tensor:
        """Rows of items by id or title; -1 for what is not on the shelf."""
        rows = self.names.rows(given)
        own = {one: self.n_known + i for i, one in enumerate(self.brought)}
        for i in (rows < 0).nonzero().flatten().tolist():
            rows[i] = own.get(given[i], -1)
        return rows

    def known_rows(self, given: Sequence[Any]) -> Tensor:
        """As :meth:`rows`, but an item that is not on the shelf is an error."""
        rows = self.rows(given)
        lost = [given[i] for i in (rows < 0).nonzero().flatten().tolist()]
        if lost:
            raise UserInputError(self.names.unknown(lost))
        return rows

    def bring(self, ids: Sequence[Any], fields: pl.DataFrame) -> Shelf:
        """The shelf with the items of ``fields`` that it lacks; a table without a field of the model adds "
        "none."""
        known = [spec.name for spec in self.table.schema if spec.name in fields.columns]
        if not known:
            return self
        rows = self.rows(ids)
        new: dict[Any, int] = {}
        for i in (rows < 0).nonzero().flatten().tolist():
            new.setdefault(ids[i], i)
        if not new:
            return self
        own = FeatureTable.encode(fields.select(known)[list(new.values())], self.table.schema)
        return replace(self, table=_stacked(self.table, own), brought=(*self.brought, *new))

    def items(self, rows: Tensor) -> Items:
        """Items at the given rows [...]; what the catalogue lacks has id -1 and the caller's fields."""
        return Items(torch.where(rows < self.n_known, rows, -1), self.table.gather(rows))

    def ids(self, rows: Tensor) -> pl.Series:
        """The caller's ids [n] of the given rows; null where -1."""
        every = self.names.ids.ids
        if self.brought:
            every = pl.concat([every, self.names.ids.cast(list(self.brought), "item id")])
        where = pl.Series(rows.tolist(), dtype=pl.Int64)
        return every.gather(where.set(where < 0, None))


@dataclass(frozen=True, eq=False)
class Events:
    """Flat events of B people, person after person, in order of arrival.

    Attributes:
        offsets: [B + 1]. rows: [E] of a shelf, -1 for an unknown item. values: [E] float32. times: [E] or
            None.
    """

    offsets: Tensor
    rows: Tensor
    values: Tensor
    times: Tensor | None

    @classmethod
    def none(cls, n: int) -> Events:
        empty = torch.zeros(0, dtype=torch.int64)
        return cls(torch.zeros(n + 1, dtype=torch.int64), empty, torch.zeros(0), None)

    @classmethod
    def ordered(cls, people: Tensor, rows: Tensor, values: Tensor, times: Tensor | None, n: int) -> Events:
        """Groups by person, then time, stably; of an item that somebody met twice the last event stays."""
        order = torch.arange(len(people)) if times is None else times.argsort(stable=True)
        order = order[people[order].argsort(stable=True)]
        people, rows, values = people[order], rows[order], values[order]
        times = None if times is None else times[order]
        kept = torch.ones_like(rows, dtype=torch.bool)
        met = people * (int(rows.max()) + 1 if len(rows) else 1) + rows
        met = torch.where(rows < 0, -1 - torch.arange(len(rows)), met)  # unknown items are not one item
        if len(torch.unique(met)) < len(met):
            kept = torch.from_numpy(pl.Series(met.numpy()).is_last_distinct().to_numpy().copy())
        return cls(
            offsets=offsets_of(torch.bincount(people[kept], minlength=n)),
            rows=rows[kept],
            values=values[kept],
            times=None if times is None else times[kept],
        )

    def of(self, people: Tensor) -> Tensor:
        """Flat positions of the events of the given people."""
        return segment_ranges(self.offsets[people], self.offsets[people + 1] - self.offsets[people])


@dataclass(frozen=True, eq=False)
class Shown:
    """B people, what they did and what is known about them.

    Attributes:
        names: [B] what an answer's ``user_id`` holds: the caller's id or name, null for one without a name.
        events: what each has done. shelf: what the events' rows mean. fields: user fields, name -> [B, ...].
        choices: True if every event counts as a choice, whatever its value.
    """

    names: pl.Series
    events: Events
    shelf: Shelf
    fields: Mapping[str, Tensor]
    choices: bool

    def __len__(self) -> int:
        return len(self.names)

    def feedback(self, people: Tensor) -> Feedback:
        """The events of the given people as a padded batch."""
        events = self.events
        rows, mask = pad_segments(events.rows, events.offsets, people)
        values = torch.where(mask, pad_segments(events.values, events.offsets, people, 0)[0], 0.0)
        times = None if events.times is None else pad_segments(events.times, events.offsets, people, 0)[0]
        return Feedback(
            items=self.shelf.items(rows),
            values=torch.where(mask, 1.0, 0.0) if self.choices else values,
            mask=mask,
            times=times,
            user={name: column[people] for name, column in self.fields.items()},
        )


def stored(ids: pl.Series, data: Dataset, users: Tensor, shelf: Shelf, choices: bool) -> Shown:
    """The stored histories of the users at the given rows; -1 has none, and no fields."""
    known = users.clamp(min=0)
    inter = data.interactions
    if inter.n_users == 0:
        events = Events.none(len(users))
    else:
        lengths = torch.where(users >= 0, inter.counts()[known], 0)
        at = segment_ranges(inter.offsets[:-1][known], lengths)
        times = None if inter.times is None else inter.times[at]
        events = Events(offsets_of(lengths), inter.items[at], inter.values[at], times)
    return Shown(ids.rename("user_id"), events, shelf, data.users.gather(users), choices)


def together(first: Shown, second: Shown) -> Shown:
    """The same people with the events of ``second`` after those of ``first``."""
    n, a, b = len(first.events.offsets) - 1, first.events, second.events
    people = torch.cat([_person(a), _person(b)])
    times = None if a.times is None or b.times is None else torch.cat([a.times, b.times])
    events = Events.ordered(people, torch.cat([a.rows, b.rows]), torch.cat([a.values, b.values]), times, n)
    return replace(first, events=events, shelf=second.shelf)


def newcomers(
    given: object,
    user: Mapping[str, Any] | None,
    data: Dataset,
    shelf: Shelf,
    choices: bool,
    unknown: Unknown,
) -> Shown:
    """People whom the model has never seen, from whatever form their events were given in.

    Args:
        given: one person's events (see :class:`~acclimate.model.Model`), a mapping of names to such, or None.
        user: fields of the one person, or a mapping of names to fields.
    """
    said = _said(given)
    names = _people(given, said, user)
    n = len(names)
    one = n == 1 and names[0] is None
    known = {name: i for i, name in enumerate(names)}
    ids = said.items
    if said.fields:
        shelf = shelf.bring(
            ids, pl.DataFrame([pl.Series(k, v, strict=False) for k, v in said.fields.items()])
        )
    rows = shelf.rows(ids)
    lost = [ids[i] for i in (rows < 0).nonzero().flatten().tolist()]
    if lost and unknown == "error":
        cure = " Its fields would do too: {'item': ..., 'genre': ...}." if data.items.schema else ""
        raise UserInputError(shelf.names.unknown(lost) + cure)
    values = _values(said.values, ids, data, choices)
    times = _times(said.times)
    people = torch.tensor([known[name] for name in said.people], dtype=torch.int64)
    told = [user] if one else [_told(user, name, names) for name in names]
    series = (
        pl.Series("user_id", [None], dtype=data.user_ids.ids.dtype) if one else pl.Series("user_id", names)
    )
    return Shown(
        names=series,
        events=Events.ordered(people, rows, values, times, n),
        shelf=shelf,
        fields=user_fields(told, data),
        choices=choices,
    )


def user_fields(told: Sequence[Mapping[str, Any] | None], data: Dataset) -> dict[str, Tensor]:
    """Encoded fields [B, ...] of people from what was said about each.

    Raises:
        UserInputError: a field that the model does not know, or a value that is no number where one is
        needed.
    """
    if not any(told):
        return data.users.gather(torch.full((len(told),), -1))
    schema = data.users.schema
    names = [spec.name for spec in schema]
    columns: dict[str, list[Any]] = {name: [None] * len(told) for name in names}
    for i, one in enumerate(told):
        if one is not None and not isinstance(one, Mapping):
            raise UserInputError(f"user= takes fields, such as {{'age': 30}}; found {one!r}.")
        for name, value in (one or {}).items():
            if not names:
                raise UserInputError(
                    f"user= tells {name!r}, but this model knows no fields of users; it was trained without "
                    "any."
                )
            if name not in columns:
                raise UnknownNameError("user field", str(name), names)
            columns[name][i] = value
    for spec in schema:
        column = columns[spec.name]
        if spec.kind in ("numeric", "time"):
            columns[spec.name] = [None if v is None else _number(v, spec) for v in column]
        elif spec.kind in ("categorical", "text"):
            columns[spec.name] = [None if v is None else _label(v, spec.values) for v in column]
    series = [pl.Series(name, column, strict=False) for name, column in columns.items()]
    frame = pl.DataFrame(series) if names else pl.DataFrame(height=len(told))
    return FeatureTable.encode(frame, schema).gather(torch.arange(len(told)))


def as_frame(given: object) -> pl.DataFrame | None:
    """A polars, pandas or Arrow table as polars; None for anything else."""
    if isinstance(given, pl.DataFrame):
        return given
    if isinstance(given, pl.LazyFrame):
        return given.collect()
    if hasattr(given, "__arrow_c_stream__") or hasattr(given, "__dataframe__"):
        return pl.DataFrame(cast(Any, given))
    return None


def column_of(frame: pl.DataFrame, role: Role) -> str | None:
    """The column of a table that plays a role, by its usual names."""
    return _named(frame.columns, role)


@dataclass
class _Said:
    """Events as they were written, a list a column; ``fields`` are those of items."""

    people: list[Any] = field(default_factory=list)
    items: list[Any] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    times: list[Any] = field(default_factory=list)
    fields: dict[str, list[Any]] = field(default_factory=dict)

    def add(self, person: Any, event: Any) -> None:
        item, value, time, fields = _event(event)
        for name, one in fields.items():
            self.fields.setdefault(name, [None] * len(self.items)).append(one)
        for column, one in (
            (self.people, person),
            (self.items, item),
            (self.values, value),
            (self.times, time),
        ):
            column.append(one)
        for column in self.fields.values():
            column.extend([None] * (len(self.items) - len(column)))


def _said(given: object) -> _Said:
    said = _Said()
    frame = as_frame(given)
    if given is None:
        return said
    if frame is not None:
        _read_frame(said, frame)
    elif isinstance(given, Mapping):
        for name, events in given.items():
            part = as_frame(events)
            if part is not None:
                _read_frame(said, part, name)
            elif isinstance(events, list | tuple):
                for event in events:
                    said.add(name, event)
            else:
                raise UserInputError(
                    f"events={{...}} maps names of people to their events; {name!r} has {events!r}. "
                    f"For one person pass a list: events={EXAMPLE}."
                )
    elif isinstance(given, Sequence) and not isinstance(given, str | bytes):
        for event in given:
            said.add(None, event)
    else:
        raise UserInputError(f"events= takes a list, such as {EXAMPLE}; found {given!r}.")
    return said


def _read_frame(said: _Said, frame: pl.DataFrame, name: Any = None) -> None:
    roles = {role: column_of(frame, role) for role in ROLES}
    if roles["item"] is None:
        has = ", ".join(frame.columns) or "none at all"
        raise UserInputError(
            f"The events have no column of items; their columns are {has}. Call it 'item_id'."
        )
    who = None if name is not None else roles["user"]
    used = set(roles.values())
    for row in frame.iter_rows(named=True):
        event = {role: row[column] for role, column in roles.items() if column is not None and role != "user"}
        said.add(
            name if who is None else row[who], {**event, **{k: v for k, v in row.items() if k not in used}}
        )


def _event(event: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Item, value, time and fields of the item, from one event as a caller writes it."""
    if isinstance(event, Mapping):
        left = dict(event)
        found: dict[str, Any] = {}
        for role in ROLES[1:]:
            key = _named(list(left), role)
            found[role] = left.pop(key) if key is not None else None
        if found["item"] is None:
            raise UserInputError(f"An event needs an item: {{'item': 'Heat', 'value': 5}}; found {event!r}.")
        return found["item"], found["value"], found["time"], left
    if isinstance(event, tuple | list):
        if not 1 <= len(event) <= 3:
            raise UserInputError(f"An event is item, (item, value) or (item, value, time); found {event!r}.")
        item, value, time = (*event, None, None)[:3]
        return item, value, time, {}
    if event is None:
        raise UserInputError("An event has no item (found None).")
    return event, None, None, {}


def _people(given: object, said: _Said, user: Mapping[str, Any] | None) -> list[Any]:
    """The names of the people in an answer, in order; [None] for one without a name."""
    if isinstance(given, Mapping):
        return list(given)
    names = list(dict.fromkeys(said.people))
    if given is None and user and all(isinstance(fields, Mapping) for fields in user.values()):
        return list(user)
    return names or [None]


def _told(user: Mapping[str, Any] | None, name: Any, names: Sequence[Any]) -> Mapping[str, Any] | None:
    if user is None:
        return None
    strangers = [key for key in user if key not in names]
    if strangers:
        raise UserInputError(
            f"With several people, user= maps their names to fields; {strangers[0]!r} is none of "
            f"{', '.join(repr(one) for one in names[:5])}."
        )
    return cast("Mapping[str, Any] | None", user.get(name))


def _values(given: list[Any], ids: list[Any], data: Dataset, choices: bool) -> Tensor:
    low, high = data.value_range
    values = []
    for item, said in zip(ids, given, strict=True):
        if said is None and data.explicit and not choices:
            raise UserInputError(
                f"The event on {item!r} has no rating, and this model learned from ratings of {low:g} to "
                f"{high:g}. Give one: ({item!r}, {high:g})."
            )
        # A choice of which no strength is told counts once; a rating's stand-in is never looked at.
        value = (low if data.explicit else 1.0) if said is None else said
        number = _is_number(value) and math.isfinite(float(value))
        if not number:
            raise UserInputError(
                f"The event on {item!r} has the value {value!r}; it must be a finite number."
            )
        if data.explicit and not low <= float(value) <= high:
            raise UserInputError(
                f"The event on {item!r} has the rating {float(value):g}; this model's ratings go from "
                f"{low:g} to {high:g}."
            )
        if not data.explicit and float(value) <= 0:
            raise UserInputError(
                f"The event on {item!r} has the strength {float(value):g}; it must be above 0. Leave the "
                "event out instead."
            )
        values.append(float(value))
    return torch.tensor(values, dtype=torch.float32)


def _times(given: list[Any]) -> Tensor | None:
    present = [time is not None for time in given]
    if not any(present):
        return None
    if not all(present):
        raise UserInputError(
            f"{sum(present)} of {len(given)} events have a time. Give every event a time, or none (then "
            "their order counts)."
        )
    return torch.tensor([_seconds(time) for time in given], dtype=torch.int64)


def _seconds(time: Any) -> int:
    if isinstance(time, datetime.datetime):
        zone = time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)
        return int(zone.timestamp())
    if isinstance(time, datetime.date):
        return int(datetime.datetime(time.year, time.month, time.day, tzinfo=datetime.UTC).timestamp())
    if isinstance(time, str) or not _is_number(time) or not math.isfinite(float(time)):
        raise UserInputError(f"The time {time!r} is neither seconds since 1970 nor a datetime.")
    if abs(float(time)) > 1e11:
        raise UserInputError(
            f"The time {time!r} looks like milliseconds; divide by 1000 to get seconds since 1970."
        )
    return int(time)


def _named(names: Sequence[str], role: Role) -> str | None:
    if role in names:
        return role
    return next((name for tier in ALIASES[role] for name in names if plain(str(name)) in tier), None)


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _number(value: Any, spec: Field) -> float:
    if spec.kind == "time" and isinstance(value, datetime.date):
        return float(_seconds(value))
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UserInputError(f"The user field {spec.name!r} should be a number; found {value!r}.")
    return number


def _label(value: Any, known: Sequence[str]) -> str:
    """How a category is written: 25.0 and 25 are the same label, as are True and "true"."""
    text = str(value)
    if text not in known and isinstance(value, float) and value.is_integer():
        return str(int(value))
    return text.lower() if isinstance(value, bool) and text not in known else text


def _person(events: Events) -> Tensor:
    lengths = events.offsets[1:] - events.offsets[:-1]
    return torch.arange(len(lengths)).repeat_interleave(lengths)


def _stacked(first: FeatureTable, second: FeatureTable) -> FeatureTable:
    return replace(
        first,
        columns={name: torch.cat([x, second.columns[name]]) for name, x in first.columns.items()},
        texts={name: (*x, *second.texts[name]) for name, x in first.texts.items()},
        n_rows=first.n_rows + second.n_rows,
    )
