"""Table: rows as they came from a file or a frame, before anybody has decided what they mean."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True)
class BadLine:
    """A line of a text file that is not a row: its number, what it holds, and why it is no row.

    ``file`` names its file where several make up one table.
    """

    number: int
    text: str
    why: str
    file: str = ""

    @property
    def place(self) -> str:
        """How a message names it."""
        return f"{self.file} line {self.number}".lstrip()


@dataclass(frozen=True, eq=False)
class Table:
    """Rows with named columns, and where each of them stands.

    Attributes:
        frame: the rows. source: what messages call it, such as ``ratings.csv``.
        lines: [n] the line of each row in its file; None where rows are counted from 0 (frames, Parquet).
        files: (first row, file) of every file, where several make up one table.
        from_text: cells of text whose types are yet to be found, as in a CSV.
        header: False if the file had no line of column names, so that they were made up.
        decimal_comma: numbers may be written 3,5.
        bad: lines that could not be split into the columns.
        remarks: how it was read, for the report.
    """

    frame: pl.DataFrame
    source: str
    lines: NDArray[np.int64] | None = None
    files: tuple[tuple[int, str], ...] = ()
    from_text: bool = False
    header: bool = True
    decimal_comma: bool = False
    bad: tuple[BadLine, ...] = ()
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.frame.height

    @property
    def columns(self) -> list[str]:
        return self.frame.columns

    def line(self, row: int) -> int:
        """The line of a row in its file, or the row itself where there are no lines."""
        return row if self.lines is None else int(self.lines[row])

    def where(self, row: int) -> str:
        """How a message names a row."""
        if self.lines is None:
            return f"row {row}"
        file = ""
        if len(self.files) > 1:
            at = bisect.bisect_right([start for start, _ in self.files], row) - 1
            file = f"{self.files[at][1]} "
        return f"{file}line {self.line(row)}"

    def renamed(self, names: Sequence[str]) -> Table:
        """The same rows under other column names; columns past the names keep theirs."""
        mapping = dict(zip(self.frame.columns, names, strict=False))
        return replace(self, frame=self.frame.rename(mapping), header=True)

    def with_frame(self, frame: pl.DataFrame) -> Table:
        """The same rows with other columns."""
        return replace(self, frame=frame)


def stacked(tables: Sequence[Table], source: str) -> Table:
    """Tables of the same columns, one after another; rows remember their file and line."""
    starts = np.cumsum([0] + [len(t) for t in tables[:-1]])
    lines = [t.lines for t in tables if t.lines is not None]
    return replace(
        tables[0],
        frame=pl.concat([t.frame for t in tables]),
        source=source,
        lines=np.concatenate(lines) if len(lines) == len(tables) else None,
        files=tuple((int(start), t.source) for start, t in zip(starts, tables, strict=True)),
        bad=tuple(replace(line, file=t.source) for t in tables for line in t.bad),
        remarks=tuple(dict.fromkeys(r for t in tables for r in t.remarks)),
    )
