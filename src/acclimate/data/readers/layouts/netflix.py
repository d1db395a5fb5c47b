"""The layout of the Netflix Prize: a line names a film, ``1:``; its ratings follow, ``1488844,3,2005-09-06``.

Source: the README of the Netflix Prize data set; combined_data_*.txt are its training files joined.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl

from acclimate.data.readers.delimited import Lines, full_lines, read_bytes, split_lines
from acclimate.data.readers.layouts.base import Layout, Part
from acclimate.data.readers.report import Notes
from acclimate.data.readers.table import BadLine, Table


def _lines(path: Path, notes: Notes) -> tuple[pl.Series, Lines]:
    """The lines that are not blank, and their numbers."""
    lines = split_lines(read_bytes(path, notes).decode("latin-1").encode())
    numbers = full_lines(lines)
    if len(numbers) == 0:
        raise notes.refuse(f"{path.name} is empty.", "Check that the right file was written, and to the end.")
    return lines.gather(numbers - 1), numbers


def _ratings(path: Path, notes: Notes) -> Table:
    lines, numbers = _lines(path, notes)
    heads = lines.str.ends_with(":")
    frame = pl.DataFrame({"line": lines, "number": numbers, "head": heads}).with_columns(
        pl.when("head").then(pl.col("line").str.strip_suffix(":")).forward_fill().alias("item_id"),
        pl.col("line").str.count_matches(",", literal=True).alias("commas"),
    )
    rows = frame.filter(~pl.col("head"))
    fits = (pl.col("commas") == 2) & pl.col("item_id").is_not_null()
    bad = [
        BadLine(
            number,
            line,
            f"{commas + 1} fields instead of 3" if item is not None else "no film named above it",
        )
        for line, number, item, commas in rows.filter(~fits)
        .select("line", "number", "item_id", "commas")
        .rows()
    ]
    rows = rows.filter(fits)
    fields = (
        rows["line"]
        .str.split_exact(",", 2)
        .struct.rename_fields(["user_id", "rating", "date"])
        .struct.unnest()
    )
    return Table(
        fields.with_columns(rows["item_id"]),
        path.name,
        lines=rows["number"].to_numpy().astype(np.int64),
        from_text=True,
        bad=tuple(bad),
    )


def _titles(path: Path, notes: Notes) -> Table:
    """``1,2003,Dinosaur Planet``; titles may hold commas and are not quoted."""
    lines, numbers = _lines(path, notes)
    fields = lines.str.splitn(",", 3).struct.rename_fields(["item_id", "year", "title"]).struct.unnest()
    year = pl.when(pl.col("year") == "NULL").then(None).otherwise(pl.col("year")).alias("year")
    return Table(fields.with_columns(year), path.name, lines=numbers, from_text=True)


_FILM = re.compile(r"\d+:\s*$")

NETFLIX = Layout(
    "Netflix Prize",
    events=Part(("combined_data_*.txt", "training_set/mv_*.txt", "mv_*.txt"), _ratings, head=_FILM),
    items=Part(("movie_titles.csv", "movie_titles.txt"), _titles, head=re.compile(r"\d+,(\d{4}|NULL),")),
)
