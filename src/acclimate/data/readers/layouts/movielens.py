"""The layouts of MovieLens: 100K, 1M (also 10M and MovieTweetings), and latest (also 20M, 25M, 32M).

Sources: the README files of https://files.grouplens.org/datasets/movielens/.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from acclimate.data.readers.delimited import read_delimited
from acclimate.data.readers.layouts.base import Layout, Part
from acclimate.data.readers.report import Notes
from acclimate.data.readers.sources import load_file
from acclimate.data.readers.table import Table

# The flags of u.item from left to right, as u.genre lists them.
# fmt: off
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War",
    "Western",
)
# fmt: on

_RATINGS = ("user_id", "item_id", "rating", "timestamp")
# Most editions are Latin-1, later ones and MovieTweetings UTF-8; Latin-1 letters are hardly ever valid UTF-8.
_ENCODINGS = ("utf-8", "latin-1")


def _plain(path: Path, notes: Notes, delimiter: str, names: tuple[str, ...]) -> Table:
    return read_delimited(
        path, notes, delimiter=delimiter, header=False, encodings=_ENCODINGS, quotes=False, names=names
    )


def with_year(frame: pl.DataFrame) -> pl.DataFrame:
    """Adds the year that ends a title, as in ``Heat (1995)``; missing where there is none."""
    year = pl.col("title").str.extract(r"\((\d{4})[^()]*\)\s*$").cast(pl.Int16).alias("year")
    return frame.with_columns(year)


def _u_data(path: Path, notes: Notes) -> Table:
    return _plain(path, notes, "\t", _RATINGS)


def _u_item(path: Path, notes: Notes) -> Table:
    """Id, title, two dates, a link, and 19 flags that become one field of genres."""
    table = _plain(path, notes, "|", ("item_id", "title", "release_date", "video_release_date", "url"))
    flags = table.columns[5:]
    genres = [
        pl.when(pl.col(flag) == "1").then(pl.lit(genre))
        for flag, genre in zip(flags, GENRES_100K, strict=False)
    ]
    frame = with_year(
        table.frame.with_columns(pl.concat_str(genres, separator="|", ignore_nulls=True).alias("genres"))
    )
    return table.with_frame(frame.select("item_id", "title", "year", "genres"))


def _u_user(path: Path, notes: Notes) -> Table:
    return _plain(path, notes, "|", ("user_id", "age", "gender", "occupation", "zip"))


def _ratings_dat(path: Path, notes: Notes) -> Table:
    return _plain(path, notes, "::", _RATINGS)


def _movies_dat(path: Path, notes: Notes) -> Table:
    table = _plain(path, notes, "::", ("item_id", "title", "genres"))
    return table.with_frame(_no_genres(with_year(table.frame)).select("item_id", "title", "year", "genres"))


def _users_dat(path: Path, notes: Notes) -> Table:
    """Users; MovieTweetings' file of that name only maps them to Twitter accounts, which are not read."""
    table = _plain(path, notes, "::", ("user_id", "gender", "age", "occupation", "zip"))
    return table if len(table.columns) == 5 else table.with_frame(table.frame.select("user_id"))


def _movies_csv(path: Path, notes: Notes) -> Table:
    table = load_file(path, notes)
    if "title" not in table.columns or "genres" not in table.columns:
        return table
    return table.with_frame(_no_genres(with_year(table.frame)))


def _no_genres(frame: pl.DataFrame) -> pl.DataFrame:
    nothing = pl.col("genres").is_in(["(no genres listed)", ""])
    return frame.with_columns(pl.when(nothing).then(None).otherwise(pl.col("genres")).alias("genres"))


MOVIELENS_100K = Layout(
    "MovieLens 100K",
    events=Part(("u.data",), _u_data, head=re.compile(r"\d+\t\d+\t\d+\t\d+\s*$")),
    items=Part(("u.item",), _u_item, head=re.compile(r"\d+\|(.*\|){22}[01]\s*$")),
    users=Part(("u.user",), _u_user, head=re.compile(r"\d+\|\d+\|\w\|")),
)

MOVIELENS_1M = Layout(
    "MovieLens 1M",
    events=Part(("ratings.dat",), _ratings_dat, head=re.compile(r"\d+::\d+::[\d.]+::\d+\s*$")),
    items=Part(("movies.dat",), _movies_dat, head=re.compile(r"\d+::.*::")),
    users=Part(("users.dat",), _users_dat, head=re.compile(r"\d+::\w+(::|\s*$)")),
)

MOVIELENS_LATEST = Layout(
    "MovieLens latest",
    events=Part(("ratings.csv",), load_file, head=re.compile(r"userId,movieId,")),
    items=Part(("movies.csv",), _movies_csv, head=re.compile(r"movieId,title,genres")),
)
