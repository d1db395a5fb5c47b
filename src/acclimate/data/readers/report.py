"""What a reader has to say: problems with their cures, and the report of what was mapped and cleaned."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from acclimate.data.readers.table import Table

Severity = Literal["error", "warning", "note"]
OnBadRows = Literal["error", "drop"]

SHOWN = 10
"""How many rows a message lists before it counts the rest."""

LONGEST_NAME = 40
"""Characters of a column name that a message shows."""

_FURTHER = 155  # characters that a further error may take in a message, so that all of it fits a screen


@dataclass(frozen=True)
class Problem:
    """One thing that somebody should know about a table.

    Attributes:
        severity: an ``error`` stops :func:`read`; a ``warning`` was dealt with by a stated rule that may
            surprise; a ``note`` says what was understood.
        found: what is wrong and what was found, naming the file, the line or the column.
        cure: what to do about it; may be empty for a note.
        arguments: keyword arguments of :func:`read` that apply the cure.
        lines: where, as far as rows are to blame: line numbers of a text file, else row numbers from 0.
    """

    severity: Severity
    found: str
    cure: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.found} {self.cure}".strip()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "severity": self.severity,
            "found": self.found,
            "cure": self.cure,
            "arguments": dict(self.arguments),
            "lines": list(self.lines),
        }


@dataclass(frozen=True)
class ReadReport:
    """What reading a table of interactions did.

    Attributes:
        source: the file, folder or frame. layout: the known layout that it has, if any.
        columns: role (``user``, ``item``, ``value``, ``time``, ``event``) -> the column that plays it.
        ignored: columns of the interactions that play no role.
        rows: rows found. kept: interactions that became events.
        left_out: reason -> rows left out for it.
        problems: everything to know, errors first.
    """

    source: str
    layout: str | None
    columns: Mapping[str, str]
    ignored: tuple[str, ...]
    rows: int
    kept: int
    left_out: Mapping[str, int]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.problems if p.severity == "error")

    def __str__(self) -> str:
        what = f"{self.source} ({self.layout})" if self.layout else self.source
        lines = [f"{what}: {self.rows:,} rows, {self.kept:,} kept"]
        lines += [f"  {role:<5} = {column}" for role, column in self.columns.items()]
        if self.ignored:
            lines.append(f"  not used: {listing(self.ignored)}")
        lines += [f"  left out: {count:,} ({reason})" for reason, count in self.left_out.items()]
        lines += [f"  {p.severity}: {p}" for p in self.problems]
        return "\n".join(lines)

    def message(self) -> str:
        """The errors as one message of at most a screen."""
        first, *others = self.errors
        if not others:
            return str(first)
        rest = [f"  - {textwrap.shorten(str(p), _FURTHER, placeholder=' …')}" for p in others[:3]]
        if len(others) > 3:
            rest.append(f"  - and {len(others) - 3} more: see `acclimate doctor`.")
        return "\n".join([str(first), "Also:", *rest])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "source": self.source,
            "layout": self.layout,
            "columns": dict(self.columns),
            "ignored": list(self.ignored),
            "rows": self.rows,
            "kept": self.kept,
            "left_out": dict(self.left_out),
            "problems": [p.to_dict() for p in self.problems],
        }


class Refused(Exception):  # noqa: N818 - a signal between the readers and inspect(); callers see a DataError
    """Reading cannot go on; the problem is already among the notes."""


class Notes:
    """Gathers what the readers have to say about one table; lives as long as one call."""

    def __init__(self, source: str, on_bad_rows: OnBadRows = "error") -> None:
        self.source = source
        self.on_bad_rows = on_bad_rows
        self.layout: str | None = None
        self.columns: dict[str, str] = {}
        self.ignored: tuple[str, ...] = ()
        self.rows = 0
        self.kept = 0
        self.left_out: dict[str, int] = {}
        self.problems: list[Problem] = []

    def note(self, found: str, cure: str = "", **arguments: Any) -> None:
        self.problems.append(Problem("note", found, cure, arguments))

    def warn(self, found: str, cure: str = "", *, lines: tuple[int, ...] = (), **arguments: Any) -> None:
        self.problems.append(Problem("warning", found, cure, arguments, lines))

    def error(self, found: str, cure: str, *, lines: tuple[int, ...] = (), **arguments: Any) -> None:
        """An error after which the rest can still be looked at."""
        self.problems.append(Problem("error", found, cure, arguments, lines))

    def refuse(self, found: str, cure: str, *, lines: tuple[int, ...] = (), **arguments: Any) -> Refused:
        """An error after which nothing more can be said; the caller raises what this returns."""
        self.error(found, cure, lines=lines, **arguments)
        return Refused(found)

    def bad_rows(
        self, table: Table, rows: NDArray[np.int64], what: str, shown: list[str], cure: str, **arguments: Any
    ) -> None:
        """Rows that cannot be used: an error, or left out and listed if the caller asked for that.

        Args:
            rows: positions in the table. what: the reason, completing "3 rows with ...".
            shown: the offending text of the first rows, empty where there is nothing to show.
            cure: how to correct the rows themselves, without a full stop.
        """
        if len(rows) == 0:
            return
        found = f"{table.source}: {count(len(rows), 'row')} with {what}: {listed(table, rows, shown)}."
        lines = tuple(table.line(int(row)) for row in rows[:SHOWN])
        if self.on_bad_rows == "drop":
            self.left_out[what] = self.left_out.get(what, 0) + len(rows)
            self.warn(found, "Left out.", lines=lines)
            return
        cure = f'{cure}, or leave such rows out with on_bad_rows="drop".'
        self.error(found, cure, lines=lines, **(arguments or {"on_bad_rows": "drop"}))

    def report(self) -> ReadReport:
        order = {"error": 0, "warning": 1, "note": 2}
        return ReadReport(
            source=self.source,
            layout=self.layout,
            columns=dict(self.columns),
            ignored=self.ignored,
            rows=self.rows,
            kept=self.kept,
            left_out=dict(self.left_out),
            problems=tuple(sorted(self.problems, key=lambda p: order[p.severity])),
        )


def count(n: int, noun: str) -> str:
    """ "1 row", "1,203 rows"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def listed(table: Table, rows: NDArray[np.int64], shown: list[str]) -> str:
    """Where the first rows are and what stands there; how many more there are."""
    parts = []
    for i, row in enumerate(rows[:SHOWN]):
        text = shown[i] if i < len(shown) else ""
        parts.append(f"{table.where(int(row))} ({quoted(text)})" if text else table.where(int(row)))
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return ", ".join(parts) + more


def listing(names: Iterable[str], limit: int = 20) -> str:
    """Column names as a message shows them: the first of them, each cut to a bearable length."""
    names = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names]
    more = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def quoted(text: object, limit: int = 40) -> str:
    """A value as a message shows it: quoted, on one line, cut to a length that fits a screen."""
    shown = repr(str(text))
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…' ({len(str(text)):,} characters)"
