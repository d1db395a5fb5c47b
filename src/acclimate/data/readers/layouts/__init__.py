"""Known file layouts, a module each: where a reader for one more of them goes.

A layout says which files hold the interactions, the items and the users, and how each is read into a Table
whose columns have names that :mod:`acclimate.data.readers.columns` knows. Add a module with a ``Layout`` and
name it in ``LAYOUTS``; nothing else has to change.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from acclimate.data.readers.layouts.base import Layout, Part
from acclimate.data.readers.layouts.folder import FOLDER
from acclimate.data.readers.layouts.movielens import MOVIELENS_1M, MOVIELENS_100K, MOVIELENS_LATEST
from acclimate.data.readers.layouts.netflix import NETFLIX
from acclimate.data.readers.layouts.recbole import RECBOLE
from acclimate.data.readers.report import Notes

LAYOUTS: tuple[Layout, ...] = (MOVIELENS_100K, MOVIELENS_1M, NETFLIX, RECBOLE, MOVIELENS_LATEST, FOLDER)
"""In the order in which they are tried; those with telling file names first."""

__all__ = ["LAYOUTS", "Layout", "Part", "find_layout", "find_part"]


def find_layout(folder: Path, notes: Notes) -> tuple[Layout, Path]:
    """The layout of a folder, or of the only folder inside it that has one, and where its files lie.

    Raises:
        Refused: no layout fits.
    """
    try:
        there = sorted(folder.iterdir())
    except OSError as error:
        raise notes.refuse(f"{folder} cannot be read: {error.strerror}.", "Check its permissions.") from None
    inside = [p for p in there if p.is_dir() and not p.name.startswith(".")]
    for places in ([folder], inside):
        fits = [(layout, place) for place in places if (layout := _layout_of(place)) is not None]
        if len(fits) == 1:
            return fits[0]
    known = "; ".join(f"{layout.name} ({_some(layout.events.files)})" for layout in LAYOUTS)
    raise notes.refuse(
        f"The folder {folder} has none of the layouts that are known: {known}. "
        f"It holds {_some([p.name for p in there], 8) if there else 'nothing'}.",
        "Name the file of interactions itself, and those of items and users with items= and users=.",
    )


def _layout_of(folder: Path) -> Layout | None:
    """The first layout whose files are there and start as they should; else the first whose are there."""
    there = [layout for layout in LAYOUTS if layout.events.found(folder)]
    sure = (layout for layout in there if all(map(layout.events.starts_right, layout.events.found(folder))))
    return next(sure, there[0] if there else None)


def find_part(path: Path, which: Literal["events", "items", "users"]) -> tuple[Layout, Part] | None:
    """The layout that a single file belongs to by its name and first line, if any."""
    for layout in LAYOUTS:
        part: Part | None = getattr(layout, which)
        if part is not None and part.claims(path):
            return layout, part
    return None


def _some(names: Iterable[str], limit: int = 3) -> str:
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
