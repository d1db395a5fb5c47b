"""What tests of the server share: small models of every kind, and a store that fails when it is told to."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import polars as pl
import pytest
import torch

import acclimate as ac
from acclimate.data import Dataset, FeatureTable, Interactions, Vocabulary, synthetic_world
from acclimate.errors import StoreError
from acclimate.model import Model, Provenance, fit
from acclimate.models import Blend, ItemKNN, Popularity
from acclimate.serving.problems import RequestError
from acclimate.serving.service import Service
from acclimate.serving.store.base import Store
from acclimate.serving.store.opening import open_store

TITLES = ["Heat (1995)", "Alien (1979)", "Sabrina (1954)", "Sabrina (1995)", "Matrix, The (1999)", "Amélie"]


def dataset(explicit: bool = True, seed: int = 3, n_items: int = 40) -> Dataset:
    """60 users, 40 items with ids from 100 on, titles, genres, tags and lengths; users have groups."""
    data = synthetic_world(60, n_items, events=(4, 15), explicit=explicit, seed=seed).dataset
    frame = data.items.to_frame()
    years = [1950 + i for i in range(n_items)]
    titles = [*TITLES, *(f"Film {i}" for i in range(len(TITLES), n_items))]
    frame = frame.with_columns(title=pl.Series(titles), year=pl.Series(years))
    kinds = {"genre": "categorical", "tags": "multi", "length": "numeric", "title": "text", "year": "numeric"}
    return replace(
        data,
        items=FeatureTable.from_frame(frame, kinds),
        item_ids=Vocabulary(pl.Series(range(100, 100 + n_items))),
        user_ids=Vocabulary(pl.Series(range(1, 61))),
    )


@cache
def model(kind: str = "ridge", seed: int = 3) -> Model:
    """A fitted model; the kinds cover every capability a recommender may lack."""
    torch.manual_seed(0)
    explicit = kind not in ("implicit-ridge", "popularity", "knn", "blend", "ials")
    data = dataset(explicit, seed)
    if kind == "blend":
        blend = Blend.over(data, [Popularity.fit(data), ItemKNN.fit(data)], [0.3, 0.7])
        return Model(
            blend, data, Provenance("blend", "blend", "tiny", "", 60, 40, len(data.interactions), 0, "0")
        )
    small = {"epochs": 3}
    learner = {
        "ridge": lambda: replace(ac.ridge(), embedding_size=8, **small),
        "implicit-ridge": lambda: replace(ac.implicit_ridge(), embedding_size=8, **small),
        "popularity": ac.popularity,
        "knn": ac.item_knn,
        "rated-knn": ac.item_knn,
        "chosen-knn": lambda: replace(ac.item_knn(), scale="rank"),
        "als": lambda: replace(ac.als(), embedding_size=4, regularisation=1.0),
        "ials": ac.ials,
        "bias": ac.bias,
        "content": ac.content,
        "maml": lambda: replace(ac.maml(), embedding_size=4, hidden=(8, 8), **small),
    }[kind]()
    return fit(data, learner)


def toy(ids: list, titles: list[str | None] | None = None, *, explicit: bool = False) -> Model:
    """Popularity over items of any ids: the first is the most popular."""
    n = len(ids)
    items = FeatureTable.empty(n)
    if titles is not None:
        items = FeatureTable.from_frame(pl.DataFrame({"title": titles}), {"title": "text"})
    users = torch.cat([torch.arange(n - i) for i in range(n)])
    rows = torch.cat([torch.full((n - i,), i) for i in range(n)])
    data = Dataset(
        interactions=Interactions.from_columns(users, rows, n_users=n, n_items=n),
        users=FeatureTable.empty(n),
        items=items,
        user_ids=Vocabulary(pl.Series([f"user{i}" for i in range(n)])),
        item_ids=Vocabulary(pl.Series(ids)),
        explicit=explicit,
        value_range=(1.0, 1.0),
        name="toy",
    )
    return Model(
        Popularity.fit(data), data, Provenance("popularity", "", "toy", "", n, n, len(users), 0, "0")
    )


def serve(kind: str | Model = "ridge", store: Store | None = None, **options) -> Service:
    """A service over a store that is gone afterwards."""
    chosen = model(kind) if isinstance(kind, str) else kind
    return Service.open(chosen, open_store(":memory:") if store is None else store, **options)


class Flaky:
    """A store in front of another one; while ``broken`` every call fails as a full disk would."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.broken = False

    def __getattr__(self, name: str):
        found = getattr(self.store, name)
        if not callable(found):
            return found

        def call(*args, **kwargs):
            if self.broken:
                raise StoreError("the disk is gone")
            return found(*args, **kwargs)

        return call


def rows_of(answer) -> list:
    """The ids of a list's items."""
    return [one.item for one in answer.items]


def wrong(call, code: str, field: str, says: str | None = None) -> None:
    """The call is refused with this code, and names this place."""
    with pytest.raises(RequestError, match=says) as caught:
        call()
    assert (caught.value.code, caught.value.field) == (code, field)
    assert len(str(caught.value)) < 1000


__all__ = ["TITLES", "Flaky", "dataset", "model", "rows_of", "serve", "toy", "wrong"]
