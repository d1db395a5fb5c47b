"""What a layout is: file names and how to read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from acclimate.data.readers.report import Notes
from acclimate.data.readers.table import Table, stacked


@dataclass(frozen=True)
class Part:
    """One table of a layout.

    Attributes:
        files: shell patterns; the first that matches something in a folder counts, all its matches together.
        read: turns one such file into a Table.
        head: what the first line must look like for a single file of this name to be taken for this part;
            None for names that are common to many things, so that such a file is read like any other.
    """

    files: tuple[str, ...]
    read: Callable[[Path, Notes], Table]
    head: re.Pattern[str] | None = None

    def found(self, folder: Path) -> list[Path]:
        """The files of this part in a folder."""
        for pattern in self.files:
            paths = sorted(p for p in folder.glob(pattern) if p.is_file())
            if paths:
                return paths
        return []

    def claims(self, path: Path) -> bool:
        """Whether a single file is plainly one of these."""
        named = self.head is not None and any(path.match(pattern) for pattern in self.files)
        return named and path.is_file() and self.starts_right(path)

    def starts_right(self, path: Path) -> bool:
        """Whether the first line of a file looks as it should."""
        if self.head is None:
            return True
        try:
            with path.open("rb") as file:
                return bool(self.head.match(file.readline(4096).decode("latin-1")))
        except OSError:
            return False

    def load(self, folder: Path, notes: Notes) -> Table | None:
        """The table of all files of this part in a folder; None if there are none."""
        tables = [self.read(path, notes) for path in self.found(folder)]
        if not tables:
            return None
        return (
            tables[0]
            if len(tables) == 1
            else stacked(tables, f"{tables[0].source} and {len(tables) - 1} more")
        )


@dataclass(frozen=True)
class Layout:
    """A way of laying a data set out in files.

    Attributes:
        name: what messages call it. events: the interactions. items, users: what is known about them, if
            the layout has such tables; a folder may lack their files.
    """

    name: str
    events: Part
    items: Part | None = None
    users: Part | None = None
