"""Feature tables: what is known about users and items besides their events, and Items, the candidates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from acclimate.errors import DataError, UserInputError

Kind = Literal["categorical", "numeric", "multi", "text", "time"]
_HOLDS: Mapping[Kind, str] = {
    "categorical": "labels",
    "numeric": "numbers",
    "multi": "lists of labels",
    "text": "text",
    "time": "times",
}


@dataclass(frozen=True)
class Field:
    """How one column became a tensor, so that a row nobody has seen can be encoded the same way.

    Attributes:
        name: the column.
        kind: ``categorical`` (one of ``values``), ``multi`` (several of them), ``numeric``, ``time``
            (seconds since epoch, treated as numeric) or ``text`` (carried, not encoded).
        values: vocabulary of a categorical or multi field; ``values[i]`` has code i + 1, code 0 means
            missing or never seen.
        separator: what parts the values of a multi field.
        width: most values that a row of a multi field keeps.
        mean: of a numeric field. std: its standard deviation; the tensor holds (x - mean) / std and NaN
            where missing.
        edges: quantiles of the standardised values, for encoders that bin.
    """

    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    separator: str = "|"
    width: int = 1
    mean: float = 0.0
    std: float = 1.0
    edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class Items:
    """Candidates, or the items of a support set: ids and fields, so that a new item still says something.

    Attributes:
        ids: [...] int64 row in the catalogue; -1 for an item outside it.
        fields: name -> [...] (categorical int64, numeric float32) or [..., width] (multi, int64).
    """

    ids: Tensor
    fields: Mapping[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, index: Tensor | slice | tuple[Tensor | slice | int | None, ...]) -> Items:
        """Indexes the leading dimensions of ids and fields alike."""
        return Items(self.ids[index], {name: value[index] for name, value in self.fields.items()})

    def to(self, device: torch.device | str) -> Items:
        return Items(self.ids.to(device), {name: value.to(device) for name, value in self.fields.items()})


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Columns of features, a row each user or item.

    Attributes:
        schema: the fields, in order.
        columns: name -> tensor [n, ...] of every field that is not text.
        texts: name -> [n] strings of the text fields.
        n_rows: rows; a table may have no fields at all.
    """

    schema: tuple[Field, ...]
    columns: Mapping[str, Tensor]
    texts: Mapping[str, tuple[str, ...]]
    n_rows: int

    @classmethod
    def empty(cls, n_rows: int) -> FeatureTable:
        """A table without fields."""
        return cls((), {}, {}, n_rows)

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, kinds: Mapping[str, Kind] | None = None) -> FeatureTable:
        """Infers a schema (see :func:`infer_field`) and encodes the frame with it.

        Args:
            frame: one row each user or item; every column becomes a field.
            kinds: overrides the inferred kind of named columns.

        Raises:
            UserInputError: ``kinds`` names a column that the frame lacks, or an unknown kind.
        """
        kinds = kinds or {}
        for name, kind in kinds.items():
            if name not in frame.columns:
                raise UserInputError(f"kinds names {name!r}; the table has {', '.join(frame.columns)}.")
            if kind not in get_args(Kind):
                raise UserInputError(
                    f"Unknown kind {kind!r} for {name!r}; use one of {', '.join(get_args(Kind))}."
                )
        schema = tuple(infer_field(frame[name], kinds.get(name)) for name in frame.columns)
        return cls.encode(frame, schema)

    @classmethod
    def encode(cls, frame: pl.DataFrame, schema: Iterable[Field]) -> FeatureTable:
        """Encodes a frame with a known schema; an absent column is all missing, an unseen value code 0.

        Raises:
            DataError: a column is of a type that cannot be the kind of its field.
        """
        schema = tuple(schema)
        columns, texts = {}, {}
        for spec in schema:
            series = (
                frame[spec.name]
                if spec.name in frame.columns
                else pl.Series(spec.name, [None] * frame.height)
            )
            if not can_be_field(series.dtype, spec.kind):
                raise DataError(
                    f"Column {spec.name!r} should hold {_HOLDS[spec.kind]}; found {series.dtype}."
                )
            if spec.kind == "text":
                texts[spec.name] = tuple(_labels(series).fill_null("").to_list())
            else:
                columns[spec.name] = _encode_column(series, spec)
        return cls(schema, columns, texts, frame.height)

    def __len__(self) -> int:
        return self.n_rows

    def select(self, rows: Tensor) -> FeatureTable:
        """The chosen rows, in the given order."""
        where = rows.tolist()
        return replace(
            self,
            columns={name: value[rows] for name, value in self.columns.items()},
            texts={name: tuple(text[i] for i in where) for name, text in self.texts.items()},
            n_rows=len(where),
        )

    def to_frame(self) -> pl.DataFrame:
        """The columns as they were read: labels, numbers, text; null where missing or never seen.

        Numbers come back to float32 precision, times as seconds since epoch, multi fields as lists. Encoding
        the frame with the same schema gives the same table.
        """
        columns: dict[str, pl.Series] = {}
        for spec in self.schema:
            if spec.kind == "text":
                text = pl.Series(self.texts[spec.name], dtype=pl.String)
                columns[spec.name] = text.set(text == "", None)
            elif spec.kind in ("numeric", "time"):
                x = self.columns[spec.name].double().numpy() * spec.std + spec.mean
                columns[spec.name] = pl.Series(x, dtype=pl.Float64).fill_nan(None)
            elif spec.kind == "categorical":
                labels = pl.Series([None, *spec.values], dtype=pl.String)
                columns[spec.name] = labels.gather(self.columns[spec.name].numpy())
            else:
                rows = self.columns[spec.name].tolist()
                lists = [[spec.values[code - 1] for code in row if code > 0] for row in rows]
                columns[spec.name] = pl.Series(lists, dtype=pl.List(pl.String))
        return pl.DataFrame(columns) if columns else pl.DataFrame(height=self.n_rows)

    def gather(self, rows: Tensor) -> dict[str, Tensor]:
        """Fields of the given rows [...]; where a row is -1, every field is missing."""
        known = rows >= 0
        out = {}
        for spec in self.schema:
            if spec.kind == "text":
                continue
            column = self.columns[spec.name]
            if self.n_rows == 0:
                value = column.new_zeros((*rows.shape, *column.shape[1:]))
            else:
                value = column[rows.clamp(min=0)]
            missing = float("nan") if column.is_floating_point() else 0
            keep = known.reshape(*known.shape, *([1] * (value.dim() - known.dim())))
            out[spec.name] = torch.where(keep, value, torch.full((), missing, dtype=value.dtype))
        return out


def infer_field(series: pl.Series, kind: Kind | None = None) -> Field:
    """Chooses a kind and learns its vocabulary or scale.

    Dates and times are ``time``. Booleans, and whole numbers with at most 32 distinct values, are
    ``categorical``; other numbers ``numeric``. Lists, and text of which at least one row in a hundred holds a
    ``|`` that parts it into pieces of at most 64 characters, are ``multi``. Other text is ``categorical`` if
    a value repeats twice on average and is at most 64 characters long, else ``text``.

    Raises:
        UserInputError: the column cannot be of that kind, or cannot be a field at all.
    """
    if not can_be_field(series.dtype, kind):
        raise UserInputError(
            f"The column {series.name!r} cannot be {kind or 'a field'}: it is of type {series.dtype}."
        )
    kind = kind or _infer_kind(series)
    if kind == "text":
        return Field(series.name, "text")
    if kind in ("numeric", "time"):
        return _numeric_field(series, kind)
    values = _split(series).explode().drop_nulls() if kind == "multi" else _labels(series).drop_nulls()
    known = tuple(values.unique().sort().to_list())
    width = 1
    if kind == "multi":
        width = max(1, int(_split(series).list.len().max() or 1))  # type: ignore[arg-type]
    return Field(series.name, kind, values=known, width=width)


def can_be_field(dtype: pl.DataType, kind: Kind | None = None) -> bool:
    """Whether a column of this type can be a field, of this kind or of some kind.

    Lists of text or whole numbers can be ``multi``; no other nested type can be anything, nor can bytes,
    durations and times of day.
    """
    if isinstance(dtype, pl.List):
        return kind in (None, "multi") and (dtype.inner == pl.String or dtype.inner.is_integer())
    return not (dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Duration, pl.Time))


def _infer_kind(series: pl.Series) -> Kind:
    if series.dtype.is_temporal():
        return "time"
    if isinstance(series.dtype, pl.List):
        return "multi"
    present = max(1, len(series) - series.null_count())
    distinct = max(1, series.drop_nulls().n_unique())
    if series.dtype == pl.Boolean or (series.dtype.is_integer() and distinct <= 32):
        return "categorical"
    if series.dtype.is_numeric():
        return "numeric"
    text = series.cast(pl.String)
    parted = text.str.contains("|", literal=True).sum() >= max(1, present / 100)
    if parted and _longest(_split(text).explode()) <= 64:
        return "multi"
    return "categorical" if present / distinct >= 2 and _longest(text) <= 64 else "text"


def _longest(text: pl.Series) -> int:
    return int(text.str.len_chars().max() or 0)  # type: ignore[arg-type]


def _labels(series: pl.Series) -> pl.Series:
    """Cells as trimmed text, null where empty; 3.0 is written 3, since whole numbers with gaps are floats."""
    if series.dtype.is_float():
        series = series.fill_nan(None)
        whole = series.cast(pl.Int64, strict=False)
        text = whole.cast(pl.String).zip_with((whole == series).fill_null(False), series.cast(pl.String))
    else:
        text = series.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _split(series: pl.Series, separator: str = "|") -> pl.Series:
    """The distinct labels of each cell, trimmed, without empty ones."""
    if isinstance(series.dtype, pl.List):
        parts = series.cast(pl.List(pl.String))
    else:
        parts = _labels(series).fill_null("").str.split(separator)
    trimmed = pl.element().str.strip_chars()
    return parts.list.eval(trimmed.filter(trimmed != "").unique(maintain_order=True))


def _numbers(series: pl.Series) -> NDArray[np.float64]:
    """Numbers, or the seconds since epoch of dates; NaN where there is none that float32 can hold."""
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
    if series.dtype.is_temporal():
        series = series.cast(pl.Datetime("us")).dt.epoch("s")
    elif series.dtype == pl.String:
        day = series.str.head(10).str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")).dt.epoch("s")
        plain = series.str.strip_chars().cast(pl.Float64, strict=False)
        series = pl.select(pl.coalesce(plain, day.cast(pl.Float64))).to_series()
    x = series.cast(pl.Float64, strict=False).to_numpy().astype(np.float64)
    return np.where(np.abs(x) <= np.finfo(np.float32).max, x, np.nan)


def _numeric_field(series: pl.Series, kind: Kind) -> Field:
    x = _numbers(series)
    x = x[~np.isnan(x)]
    if len(x) == 0 and series.dtype == pl.String and series.drop_nulls().len():
        raise UserInputError(
            f"The column {series.name!r} cannot be {kind}: {series.drop_nulls()[0]!r} is neither a number "
            "nor a date."
        )
    if len(x) == 0:
        return Field(series.name, kind)
    # The deviation of equal numbers need not come out as exactly 0.
    mean, std = (float(x.mean()), float(x.std())) if x.min() < x.max() else (float(x[0]), 1.0)
    edges = np.unique(np.quantile((x - mean) / std, np.linspace(0, 1, 17)[1:-1]).round(6))
    return Field(series.name, kind, mean=mean, std=std, edges=tuple(float(e) for e in edges))


def _encode_column(series: pl.Series, spec: Field) -> Tensor:
    if spec.kind in ("numeric", "time"):
        return torch.from_numpy(((_numbers(series) - spec.mean) / spec.std).astype(np.float32))
    code = {value: i + 1 for i, value in enumerate(spec.values)}
    if spec.kind == "categorical":
        return torch.tensor(
            [code.get(v, 0) if v is not None else 0 for v in _labels(series)], dtype=torch.int64
        )
    rows = torch.zeros(len(series), spec.width, dtype=torch.int64)
    for i, values in enumerate(_split(series, spec.separator)):
        codes = [code[v] for v in ([] if values is None else values) if v in code][: spec.width]
        rows[i, : len(codes)] = torch.tensor(codes, dtype=torch.int64)
    return rows
