"""Our own layout: ``ratings.parquet`` with ``items.parquet`` and ``users.parquet`` beside it, or as CSV."""

from __future__ import annotations

from acclimate.data.readers.layouts.base import Layout, Part
from acclimate.data.readers.sources import load_file


def _files(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}.{suffix}" for suffix in ("parquet", "csv", "tsv") for name in names)


FOLDER = Layout(
    "a folder of tables",
    events=Part(_files("ratings", "interactions", "events"), load_file),
    items=Part(_files("items", "movies"), load_file),
    users=Part(_files("users"), load_file),
)
