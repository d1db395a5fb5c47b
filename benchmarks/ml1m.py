"""MovieLens-1M as the benchmarks read it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import torch
from torch import Tensor

import acclimate as ac
from acclimate.data import Dataset

FILES = ("ratings.parquet", "items.parquet", "users.parquet", "melu_split.json")


def read(folder: Path, *, merge: bool) -> tuple[Dataset, Tensor, Tensor]:
    """The dataset, the rows of MeLU's 1,208 new users, and of its new items (released in 1998 or later).

    Args:
        merge: rename items as MeLU does (two films that occur twice).
    """
    split = json.loads((folder / "melu_split.json").read_text())
    ratings, items = pl.read_parquet(folder / "ratings.parquet"), pl.read_parquet(folder / "items.parquet")
    if merge:
        renamed = {int(old): new for old, new in split["merged_items"].items()}
        ratings = ratings.with_columns(pl.col("item_id").cast(pl.Int64).replace(renamed))
        items = items.with_columns(pl.col("item_id").cast(pl.Int64))
    else:
        items = items.join(ratings, on="item_id", how="semi")  # the 3,706 films that were rated
    dataset = ac.read(
        ratings,
        items=items,
        users=folder / "users.parquet",
        item_kinds={"year": "numeric", "genres": "multi", "title": None},
        user_kinds={"gender": "categorical", "age": "categorical", "occupation": "categorical", "zip": None},
        duplicates="last",
        name="ml-1m",
    )
    users = dataset.user_ids.encode_known(
        pl.Series(split["cold_users"]).cast(dataset.user_ids.ids.dtype), "user"
    )
    years = dict(zip(items["item_id"].to_list(), items["year"].to_list(), strict=True))
    new = [years[item] >= split["cold_item_first_year"] for item in dataset.item_ids.ids.to_list()]
    return dataset, users, torch.tensor(new).nonzero().flatten()
