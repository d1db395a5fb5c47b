"""Whatever the caller hands over (a path or any kind of frame) as a Table."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pyarrow as pa

from acclimate.data.readers.delimited import read_delimited
from acclimate.data.readers.report import Notes, quoted
from acclimate.data.readers.table import Table

Source: TypeAlias = Any
"""A path, a polars, pandas or Arrow table, or a mapping of columns (pandas is optional: no type to name)."""

TEXT = ("csv", "tsv", "tab", "txt", "dat", "data", "psv", "base", "test", "train", "inter", "item", "user")
COLUMNAR = ("parquet", "pq", "parq", "arrow", "feather", "ipc")


def describe(source: Source) -> str:
    """What messages call a source."""
    if isinstance(source, str | Path):
        return str(source)
    kind = type(source)
    return f"the {kind.__module__.split('.')[0]} {kind.__name__}"


def load(
    source: Source,
    notes: Notes,
    *,
    delimiter: str | None = None,
    header: bool | None = None,
    encoding: str | None = None,
) -> Table:
    """The rows of a file or a frame.

    Raises:
        Refused: it cannot be read as a table; the cause is in ``notes``.
    """
    if isinstance(source, str | Path):
        return load_file(Path(source), notes, delimiter=delimiter, header=header, encoding=encoding)
    return Table(_frame(source, notes), describe(source))


def load_file(
    path: Path,
    notes: Notes,
    *,
    delimiter: str | None = None,
    header: bool | None = None,
    encoding: str | None = None,
) -> Table:
    """The rows of a text, Parquet or Arrow file."""
    if not path.exists():
        raise notes.refuse(f"There is no file {quoted(path, 200)}.{_near(path)}", "Check the path.")
    suffixes = [s.lstrip(".").lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == "gz":
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    magic = _first_bytes(path, notes)
    if magic.startswith(b"PAR1") or magic.startswith(b"ARROW1"):
        return _columnar(path, magic, notes)
    if not magic:
        raise notes.refuse(f"{path.name} is empty.", "Check that the right file was written, and to the end.")
    if suffix in COLUMNAR:
        raise notes.refuse(
            f"{path.name} is not the {suffix} file its name says: it starts with {quoted(magic[:8])}.",
            "Check that it was written, and copied, to the end.",
        )
    if suffix and suffix not in TEXT and not _plain_number(suffix):
        raise notes.refuse(
            f"{path.name}: files ending in .{suffix} are not read; known are "
            f".csv, .tsv, .txt, .dat, .data, .inter, .parquet, .arrow and .feather (also .gz).",
            "Rename it if it is one of these, or read it yourself and pass the polars or pandas frame.",
        )
    encodings = ("utf-8",) if encoding is None else (encoding,)
    return read_delimited(path, notes, delimiter=delimiter, header=header, encodings=encodings)


def _plain_number(suffix: str) -> bool:
    """``ratings.2024`` has no type, ``part-0.1`` neither."""
    return suffix.isdigit()


def _first_bytes(path: Path, notes: Notes) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise notes.refuse(
            f"{path} cannot be read: {error.strerror}.", "Check the file and its permissions."
        ) from None


def _columnar(path: Path, magic: bytes, notes: Notes) -> Table:
    try:
        frame = pl.read_parquet(path) if magic.startswith(b"PAR1") else pl.read_ipc(path)
    except (pl.exceptions.PolarsError, OSError, pa.ArrowException) as error:
        raise notes.refuse(
            f"{path.name} is torn or damaged ({str(error).splitlines()[0][:120]}).", "Write or copy it again."
        ) from None
    return Table(_refuse_objects(frame, path.name, notes), path.name)


def _frame(source: Source, notes: Notes) -> pl.DataFrame:
    name = describe(source)
    try:
        if isinstance(source, pl.LazyFrame):
            frame = source.collect()
        elif isinstance(source, pl.DataFrame):
            frame = source
        elif type(source).__module__.split(".")[0] == "pandas":
            frame = _from_pandas(source, notes)
        elif isinstance(source, Mapping):
            frame = pl.DataFrame(dict(source))
        elif isinstance(source, pa.Table | pa.RecordBatch) or hasattr(source, "__arrow_c_stream__"):
            arrow = pl.from_arrow(source)
            frame = arrow if isinstance(arrow, pl.DataFrame) else arrow.to_frame()
        else:
            raise notes.refuse(
                f"{name} is not a table.",
                "Pass a path, or a polars, pandas or Arrow table, or a dict of columns.",
            )
    except (pl.exceptions.PolarsError, pa.ArrowException, TypeError, ValueError, OSError) as error:
        raise notes.refuse(
            f"{name} cannot be read as a table: {str(error).strip().splitlines()[0][:200]}.",
            "Every column must hold values of one type: cast mixed columns, ids above all, to one.",
        ) from None
    return _refuse_objects(frame, name, notes)


def _from_pandas(source: Any, notes: Notes) -> pl.DataFrame:
    """A pandas frame; NaN stays NaN in columns of floats, so that it is not mistaken for an empty cell."""
    columns: dict[str, pl.Series] = {}
    for position, label in enumerate(source.columns):
        column = source.iloc[:, position]
        if str(label) in columns:
            raise notes.refuse(
                f"The pandas DataFrame has two columns named {str(label)!r}.", "Rename or drop one."
            )
        if str(column.dtype) == "object":
            kinds = {type(v) for v in column.head(100_000).dropna()}
            numbers = bool not in kinds and all(issubclass(k, int | float) for k in kinds)
            if len(kinds) > 1 and not numbers:
                cells = [None if missing else v for v, missing in zip(column, column.isna(), strict=True)]
                columns[str(label)] = pl.Series(str(label), cells, dtype=pl.Object)
                continue
        floats = str(column.dtype) in ("float16", "float32", "float64")
        columns[str(label)] = pl.Series(str(label), pl.from_pandas(column, nan_to_null=not floats))
    return pl.DataFrame(columns)


def _refuse_objects(frame: pl.DataFrame, source: str, notes: Notes) -> pl.DataFrame:
    """Columns of Python objects of several types cannot be ids or values."""
    for name in [name for name, dtype in frame.schema.items() if dtype == pl.Object]:
        firsts: dict[str, tuple[int, Any]] = {}
        for row, value in enumerate(frame[name]):
            if value is not None and value == value:  # noqa: PLR0124 - NaN
                firsts.setdefault(type(value).__name__, (row, value))
        if len(firsts) > 1:
            examples = ", ".join(
                f"{kind} (row {row}: {quoted(value)})" for kind, (row, value) in firsts.items()
            )
            raise notes.refuse(
                f"{source}, column {name!r} holds values of mixed types: {examples}.",
                f"Cast it to one type, for example frame[{name!r}].astype(str).",
                lines=tuple(row for row, _ in firsts.values()),
            )
        values = [None if v is None or v != v else v for v in frame[name]]  # noqa: PLR0124 - NaN
        try:
            frame = frame.with_columns(pl.Series(name, values))
        except (TypeError, pl.exceptions.PolarsError):
            frame = frame.drop(name)
    return frame


def _near(path: Path) -> str:
    """Files of the same folder with a similar name; or a word about named data sets."""
    if ":/" in str(path):
        return " Addresses are not read: download it first."
    if path.parent.is_dir():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()], n=3, cutoff=0.6)
        if near:
            return f" Did you mean {', '.join(near)}?"
    if not path.suffix and len(path.parts) == 1:
        return f' A public data set is got by its name: ac.dataset("{path}").'
    return ""
