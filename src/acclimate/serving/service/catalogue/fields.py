"""Fields of an item as somebody wrote them, made into what the model's fields hold."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from acclimate.data import FeatureTable, Field
from acclimate.serving.problems import RequestError
from acclimate.serving.service.checks import number, shown, text
from acclimate.serving.service.limits import MOST_VALUES

Told = str | float | tuple[str, ...] | None
"""A label or a text, a number, or the labels of a field that may hold several; None where it is missing."""


def named(schema: Sequence[Field], name: object, field: str, *, of: str = "items") -> Field:
    """The field of this name, of items or users.

    Raises:
        RequestError: there is none.
    """
    for spec in schema:
        if spec.name == name:
            return spec
    names = [spec.name for spec in schema]
    if not names:
        raise RequestError(
            "unknown_field", f"This model knows no fields of {of}: it was trained without any.", field=field
        )
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise RequestError(
        "unknown_field", f"Unknown field {shown(name)}.{hint} Known: {', '.join(names)}.", field=field
    )


def told(spec: Field, value: object, field: str) -> Told:
    """What a value says about a field.

    Raises:
        RequestError: it is of the wrong kind.
    """
    if value is None:
        return None
    if spec.kind == "numeric":
        return number(value, field, f"value of {spec.name!r}")
    if spec.kind == "time":
        return seconds(value, field)
    if spec.kind == "multi":
        parts = value.split(spec.separator) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            parts = [parts]
        if len(parts) > MOST_VALUES:
            raise RequestError(
                "too_many", f"{field} holds {len(parts)}; at most {MOST_VALUES} are allowed.", field=field
            )
        labels = (label(one, field) for one in parts)
        return tuple(dict.fromkeys(one for one in labels if one))
    written = label(value, field)
    return written or None


def label(value: object, field: str) -> str:
    """How a category is written: 25.0 and 25 are the same label, as are True and "true"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return text(value, field).strip()
    if isinstance(value, int | float | np.integer | np.floating):
        x = number(value, field, "value")
        return str(int(x)) if x.is_integer() else str(x)
    raise RequestError(
        "invalid_input", f"{field} is a label: text or a number; found {shown(value)}.", field=field
    )


def seconds(value: object, field: str) -> float:
    """Seconds since epoch, of a number or of a date as ISO 8601 writes it."""
    if isinstance(value, str):
        try:
            moment = datetime.datetime.fromisoformat(value.strip())
        except ValueError:
            raise RequestError(
                "invalid_input",
                f"{field} is a date such as '1995-12-15', or seconds since 1970; found {shown(value)}.",
                field=field,
            ) from None
        zone = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
        return zone.timestamp()
    return number(value, field, "time, in seconds since 1970,")


def encoded(schema: Sequence[Field], rows: Sequence[Mapping[str, Told]]) -> FeatureTable:
    """A table with a row for each mapping of names to what was told."""
    kinds: dict[str, pl.DataType] = {
        "numeric": pl.Float64(),
        "time": pl.Float64(),
        "multi": pl.List(pl.String),
        "categorical": pl.String(),
        "text": pl.String(),
    }
    columns = [
        pl.Series(spec.name, [_cell(row.get(spec.name)) for row in rows], dtype=kinds[spec.kind])
        for spec in schema
    ]
    frame = pl.DataFrame(columns) if columns else pl.DataFrame(height=len(rows))
    return FeatureTable.encode(frame, schema)


def labels_of(value: Told) -> Iterable[str]:
    """The labels that an item has in a field."""
    if isinstance(value, str):
        return (value,)
    return value if isinstance(value, tuple) else ()


def _cell(value: Told) -> Any:
    return list(value) if isinstance(value, tuple) else value
