"""RecBole's atomic files: ``name.inter``, ``name.item``, ``name.user`` with typed column names.

A header cell is ``name:type`` with type token, token_seq, float or float_seq. Tokens of a sequence are parted
by spaces. Source: https://recbole.io/docs/user_guide/data/atomic_files.html
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from acclimate.data.readers.delimited import read_delimited
from acclimate.data.readers.layouts.base import Layout, Part
from acclimate.data.readers.report import Notes
from acclimate.data.readers.table import Table

_WORDS = re.compile(r"title|name|text|description|summary|review", re.IGNORECASE)


def read_atomic(path: Path, notes: Notes) -> Table:
    """Any atomic file; sequences become lists, but sequences of words (titles, names) stay text."""
    table = read_delimited(path, notes, delimiter="\t", header=True, quotes=False)
    columns = []
    for cell in table.columns:
        name, _, kind = cell.partition(":")
        column = pl.col(cell)
        if kind == "float_seq":
            notes.note(f"{path.name}: the column {name!r} of vectors is not used.")
            continue
        if kind == "token_seq" and not _WORDS.search(name):
            tokens = column.str.strip_chars().str.split(" ")
            column = tokens.list.eval(pl.element().filter(pl.element() != ""))
        columns.append(column.alias(name))
    return table.with_frame(table.frame.select(columns))


_TYPED = re.compile(r"\w+:(token|float)")

RECBOLE = Layout(
    "RecBole atomic files",
    events=Part(("*.inter",), read_atomic, head=_TYPED),
    items=Part(("*.item",), read_atomic, head=_TYPED),
    users=Part(("*.user",), read_atomic, head=_TYPED),
)
