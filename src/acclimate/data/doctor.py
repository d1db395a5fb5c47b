"""The import doctor: says what a table of interactions holds and what ails it, and prescribes a cure.

The prescription is tried before it is given: it is a call of :func:`acclimate.data.readers.read` that reads
the table without an error.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Unpack, cast

import numpy as np
import torch

from acclimate.data.dataset import Dataset
from acclimate.data.features import FeatureTable, Kind
from acclimate.data.readers import Inspection, Problem, ReadOptions, ReadReport, inspect
from acclimate.data.readers.report import listing
from acclimate.data.readers.sources import Source, describe

WIDTH = 80
"""Columns of a rendered diagnosis."""

FEW = 5
"""Users and items with fewer events than this are counted as cold."""

_FIELDS = 30  # that a rendered diagnosis lists
_ROUNDS = 6  # cures tried one on top of the other before giving up


@dataclass(frozen=True)
class FieldInfo:
    """One field of the users or items: kind, share of rows that have it, size of its vocabulary."""

    table: Literal["items", "users"]
    name: str
    kind: Kind
    coverage: float
    values: int


@dataclass(frozen=True)
class Statistics:
    """What a readable table holds.

    Attributes:
        events, users, items: how many; items are those with events. catalogue: items, with or without events.
        density: share of the users-by-catalogue matrix that is filled.
        explicit: ratings, or implicit feedback.
        low, high, mean: of the values. common: the most frequent values and their counts. distinct: how many.
        first, last: ISO 8601 in UTC, or None without times (or where times are only an order).
        per_user, per_item: fewest, median and most events (of items with events).
        cold_users, cold_items: share with fewer than ``FEW`` events.
        head: share of the events that the most popular tenth of the items gets.
        tied: share of the users with two events or more whose events all carry one time; None without times.
    """

    events: int
    users: int
    items: int
    catalogue: int
    density: float
    explicit: bool
    low: float
    high: float
    mean: float
    common: tuple[tuple[float, int], ...]
    distinct: int
    first: str | None
    last: str | None
    per_user: tuple[int, float, int]
    per_item: tuple[int, float, int]
    cold_users: float
    cold_items: float
    head: float
    tied: float | None


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    Attributes:
        path: the file or folder; None if it was a frame.
        report: what was mapped and cleaned, by the options as they were given.
        statistics: of the data; where the table has errors, of what the cure leaves; None if there is none.
        fields: of the items and users.
        problems: everything to know, errors first: those of the report, and advice on the data itself.
        prescription: options of ``read`` that were tried and read the table without an error, those that
            were given included; empty if none are needed, None if no cure is known.
    """

    path: str | None
    report: ReadReport
    statistics: Statistics | None
    fields: tuple[FieldInfo, ...]
    problems: tuple[Problem, ...]
    prescription: Mapping[str, Any] | None

    @property
    def ok(self) -> bool:
        """Whether the table can be read as it is, with the options that were given."""
        return not self.report.errors

    @property
    def call(self) -> str | None:
        """The Python call that reads the table, or None if no cure is known."""
        if self.prescription is None:
            return None
        arguments = "".join(f", {name}={_written(value)}" for name, value in self.prescription.items())
        return f"ac.read({'frame' if self.path is None else repr(self.path)}{arguments})"

    @property
    def command(self) -> str | None:
        """The same as options of the command line; None if no cure is known, or for a frame."""
        if self.prescription is None or self.path is None:
            return None
        words = ["acclimate", "doctor", shlex.quote(self.path)]
        for name, value in self.prescription.items():
            words += _as_option(name, value)
        return " ".join(words)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "ok": self.ok,
            "report": self.report.to_dict(),
            "statistics": None if self.statistics is None else asdict(self.statistics),
            "fields": [asdict(field) for field in self.fields],
            "problems": [problem.to_dict() for problem in self.problems],
            "call": self.call,
            "command": self.command,
        }

    def render(self) -> str:
        """The diagnosis as text of at most 80 columns."""
        parts = [self._verdict(), _mapping(self.report)]
        if self.statistics is not None:
            left = "" if self.ok else "What the call below leaves:\n"
            parts.append(left + _numbers(self.statistics))
        if self.fields:
            parts.append(_fields(self.fields))
        if self.problems:
            parts.append("\n".join(_wrapped(f"{p.severity}: ", str(p)) for p in self.problems))
        if self.call is not None and (not self.ok or self.prescription):
            how = "Read it with" if self.ok else "This call reads it; check that it does what you mean:"
            parts.append("\n  ".join(line for line in (how, self.call, self.command) if line is not None))
        return "\n\n".join(part for part in parts if part)

    def __str__(self) -> str:
        return self.render()

    def _verdict(self) -> str:
        what = self.report.source + (f" ({self.report.layout})" if self.report.layout else "")
        n = len(self.report.errors)
        verdict = "can be read" if n == 0 else f"cannot be read: {n} error{'s' if n > 1 else ''}"
        return "\n".join(textwrap.wrap(f"{what}: {verdict}", WIDTH))


def diagnose(ratings: Source, **options: Unpack[ReadOptions]) -> Diagnosis:
    """Looks at a table of interactions; raises for no fault of the data.

    Args:
        ratings: whatever :func:`read` takes. options: its keyword arguments, as they would be given to it.

    Raises:
        UserInputError: an option is not one of its possible values.
    """
    first = inspect(ratings, **options)
    given = {name: value for name, value in options.items() if value is not None}
    cured, prescription = _cure(ratings, first, given)
    dataset = None if cured is None else cured.dataset
    problems = list(first.report.problems)
    if dataset is not None:
        problems += _advice(dataset)
    order = {"error": 0, "warning": 1, "note": 2}
    return Diagnosis(
        path=str(ratings) if isinstance(ratings, str | Path) else None,
        report=first.report,
        statistics=None if dataset is None else _statistics(dataset),
        fields=()
        if dataset is None
        else (*_field_infos("items", dataset.items), *_field_infos("users", dataset.users)),
        problems=tuple(sorted(problems, key=lambda p: order[p.severity])),
        prescription=prescription,
    )


def _cure(
    ratings: Source, first: Inspection, given: dict[str, Any]
) -> tuple[Inspection | None, dict[str, Any] | None]:
    """Applies the cures of the errors, one on top of the other, until the table reads."""
    inspection, options = first, dict(given)
    for _ in range(_ROUNDS):
        if not inspection.report.errors:
            return inspection, options
        cures = [dict(problem.arguments) for problem in inspection.report.errors if problem.arguments]
        if not cures:
            break
        for cure in cures:
            if "columns" in cure:
                cure["columns"] = {**(options.get("columns") or {}), **cure["columns"]}
            options |= cure
        inspection = inspect(ratings, **cast(ReadOptions, options))
    return (None, None) if inspection.report.errors else (inspection, options)


def _statistics(dataset: Dataset) -> Statistics:
    inter = dataset.interactions
    per_user, per_item = inter.counts().numpy(), inter.item_counts().numpy()
    touched = np.sort(per_item[per_item > 0])[::-1]
    values, counts = np.unique(inter.values.numpy(), return_counts=True)
    common = counts.argsort(kind="stable")[::-1][:10]
    times = inter.times
    dated = times is not None and float(times.median()) >= 1e8
    return Statistics(
        events=len(inter),
        users=dataset.n_users,
        items=len(touched),
        catalogue=dataset.n_items,
        density=len(inter) / (dataset.n_users * dataset.n_items),
        explicit=dataset.explicit,
        low=float(values[0]),
        high=float(values[-1]),
        mean=float(inter.values.double().mean()),
        common=tuple((float(values[i]), int(counts[i])) for i in sorted(common)),
        distinct=len(values),
        first=_iso(int(times.min())) if dated and times is not None else None,
        last=_iso(int(times.max())) if dated and times is not None else None,
        per_user=(int(per_user.min()), float(np.median(per_user)), int(per_user.max())),
        per_item=(int(touched.min()), float(np.median(touched)), int(touched.max())),
        cold_users=float((per_user < FEW).mean()),
        cold_items=float((touched < FEW).mean()),
        head=float(touched[: max(1, len(touched) // 10)].sum() / len(inter)),
        tied=None if times is None else _tied(dataset),
    )


def _tied(dataset: Dataset) -> float:
    inter = dataset.interactions
    assert inter.times is not None
    several = inter.counts() > 1
    if not several.any():
        return 0.0
    starts, ends = inter.offsets[:-1][several], inter.offsets[1:][several] - 1
    return float((inter.times[starts] == inter.times[ends]).double().mean())


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _advice(dataset: Dataset) -> list[Problem]:
    """What a reader of results should know about data that reads without an error."""
    inter, out = dataset.interactions, []
    counts = inter.counts()
    cold = float((counts < FEW).double().mean())
    if cold > 0.5:
        out.append(
            Problem(
                "warning",
                f"{cold:.0%} of the users have fewer than {FEW} events.",
                "Compare at few shots, such as shots=(0, 1, 3), and expect wide intervals.",
            )
        )
    top = int(counts.argmax())
    share = int(counts[top]) / len(inter)
    if share > 0.1 and dataset.n_users >= 20:
        name = dataset.user_ids.decode(torch.tensor([top]))[0]
        out.append(
            Problem(
                "warning",
                f"The user {name!r} alone has {share:.0%} of all events.",
                "If that is a robot or a default account, leave its rows out.",
            )
        )
    if dataset.explicit:
        out += _outliers(dataset)
    if inter.times is not None:
        tied = _tied(dataset)
        if tied > 0.1:
            out.append(
                Problem(
                    "warning",
                    f"All events of {tied:.0%} of the users carry one time: their order says nothing.",
                    'Split with order="random" rather than by time.',
                )
            )
    return out


def _outliers(dataset: Dataset) -> list[Problem]:
    """Ratings far outside the range of nearly all others; the range that occurs clips predictions."""
    values = np.sort(dataset.interactions.values.numpy())
    minus = int((values == -1).sum())
    if minus and values[0] == -1 and values[minus:].min(initial=np.inf) >= 0:
        return [
            Problem(
                "warning",
                f"{minus / len(values):.0%} of the ratings are -1 and no other is negative.",
                "If -1 means that nobody rated, leave those rows out or make them empty.",
            )
        ]
    edge = max(1, len(values) // 1000)
    if len(values) < 20:
        return []
    low, high = float(values[edge]), float(values[-edge - 1])
    far = values[(values < low - 5 * (high - low)) | (values > high + 5 * (high - low))]
    if low == high or len(far) == 0:
        return []
    shown = ", ".join(f"{v:g}" for v in far[:5])
    return [
        Problem(
            "warning",
            f"{len(far)} of {len(values):,} ratings lie far outside the range of the others, "
            f"{low:g} to {high:g}: {shown}.",
            "Correct or remove them.",
        )
    ]


def _field_infos(which: Literal["items", "users"], table: FeatureTable) -> list[FieldInfo]:
    out = []
    for spec in table.schema:
        if spec.kind == "text":
            coverage = float(np.mean([text != "" for text in table.texts[spec.name]]))
        else:
            column = table.columns[spec.name]
            present = ~column.isnan() if column.is_floating_point() else column > 0
            coverage = float((present.any(1) if present.dim() > 1 else present).double().mean())
        out.append(FieldInfo(which, spec.name, spec.kind, coverage, len(spec.values)))
    return out


def _mapping(report: ReadReport) -> str:
    lines = [f"  {role:<5} = {column}" for role, column in report.columns.items()]
    if report.ignored:
        lines.append(_wrapped("  not used: ", listing(report.ignored)))
    return "\n".join(lines)


def _numbers(s: Statistics) -> str:
    kind = "ratings" if s.explicit else "implicit events"
    idle = s.catalogue - s.items
    rows = [
        (kind, f"{s.events:,} by {s.users:,} users on {s.items:,} items, {100 * s.density:.3g} % filled"),
        ("", f"{idle:,} more items without events" if idle else ""),
        ("values", f"{s.low:g} to {s.high:g}, mean {s.mean:.3g}"),
        (
            "",
            "  ".join(f"{value:g}: {n / s.events:.0%}" for value, n in s.common)
            if 1 < s.distinct <= 10
            else "",
        ),
        (
            "times",
            f"{s.first} to {s.last}" if s.first else "none" if s.tied is None else "an order, no dates",
        ),
        (
            "a user",
            f"{s.per_user[0]:,} / {s.per_user[1]:,.0f} / {s.per_user[2]:,} events (fewest, median, most)",
        ),
        ("", f"{s.cold_users:.0%} have fewer than {FEW}"),
        ("an item", f"{s.per_item[0]:,} / {s.per_item[1]:,.0f} / {s.per_item[2]:,} events"),
        ("", f"{s.cold_items:.0%} have fewer than {FEW}; the top tenth has {s.head:.0%} of all events"),
    ]
    return "\n".join(_wrapped(f"  {label:<16}", text) for label, text in rows if text)


def _fields(fields: tuple[FieldInfo, ...]) -> str:
    lines = []
    for field in fields[:_FIELDS]:
        values = f", {field.values:,} values" if field.values else ""
        label = f"{field.table}.{field.name}"
        lines.append(f"  {label[:40]:<40}  {field.kind}{values}, {field.coverage:.0%} present")
    if len(fields) > _FIELDS:
        lines.append(f"  and {len(fields) - _FIELDS:,} more fields")
    return "\n".join(lines)


def _wrapped(label: str, text: str) -> str:
    indent = " " * min(len(label), 18)
    return "\n".join(
        textwrap.wrap(text, WIDTH, initial_indent=label, subsequent_indent=indent, break_on_hyphens=False)
    )


def _written(value: object) -> str:
    """A value as one writes it in a call; frames by a name that stands for them."""
    if isinstance(value, str | int | float | bool) or value is None:
        return repr(value)
    if isinstance(value, Path):
        return repr(str(value))
    if isinstance(value, Mapping):
        return repr(dict(value))
    return f"<{describe(value)}>"


def _as_option(name: str, value: object) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if value is True:
        return [flag]
    if value is False:
        return [f"--no-{name.replace('_', '-')}"]
    if isinstance(value, Mapping):
        return [flag, shlex.quote(",".join(f"{k}={'' if v is None else v}" for k, v in value.items()))]
    return [flag, shlex.quote(str(value))]


__all__ = ["Diagnosis", "FieldInfo", "Statistics", "diagnose"]
