"""A model as one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch

from acclimate import persist
from acclimate.data import Dataset, FeatureTable, Feedback, Interactions, Vocabulary
from acclimate.errors import AcclimateError, ModelFileError
from acclimate.model.provenance import Provenance
from acclimate.models import CLASSES
from acclimate.models.base import Recommender
from acclimate.tensors import State


@dataclass(frozen=True, eq=False)
class _Data:
    """A dataset in a form that :mod:`acclimate.persist` takes: ids and texts are series, not Python "
    "strings."""

    interactions: Interactions
    users: FeatureTable
    items: FeatureTable
    user_texts: Mapping[str, pl.Series]
    item_texts: Mapping[str, pl.Series]
    user_ids: pl.Series
    item_ids: pl.Series
    explicit: bool
    value_range: tuple[float, float]
    name: str


OURS: dict[str, type] = {c.__name__: c for c in (_Data, Interactions, Provenance)}


def save(path: Path, recommender: Recommender, data: Dataset, provenance: Provenance) -> str:
    """Writes the file; see :meth:`acclimate.model.Model.save`."""
    tree, tensors = _packed(recommender, data, provenance)
    return persist.write(path, {"kind": "model", "model": tree}, tensors)


def digest(recommender: Recommender, data: Dataset, provenance: Provenance) -> str:
    """The SHA-256 that :func:`save` would return."""
    tree, tensors = _packed(recommender, data, provenance)
    return persist.digest({"kind": "model", "model": tree}, tensors)


def _packed(
    recommender: Recommender, data: Dataset, provenance: Provenance
) -> tuple[Any, dict[str, torch.Tensor]]:
    flat = _Data(
        interactions=data.interactions,
        users=replace(data.users, texts={}),
        items=replace(data.items, texts={}),
        user_texts=_texts(data.users),
        item_texts=_texts(data.items),
        user_ids=data.user_ids.ids,
        item_ids=data.item_ids.ids,
        explicit=data.explicit,
        value_range=data.value_range,
        name=data.name,
    )
    return persist.pack({"recommender": recommender, "data": flat, "provenance": provenance})


def load(path: Path, classes: Iterable[type] = ()) -> tuple[Recommender, Dataset, Provenance, str]:
    """Reads and checks the file; the last of the answer is its SHA-256.

    Args:
        classes: of recommenders beyond acclimate's own that the file may hold.

    Raises:
        ModelFileError: the file is missing, damaged, foreign, or does not hold a model that answers.
    """
    manifest, tensors = persist.read(path)
    if manifest.get("kind") != "model" or "model" not in manifest:
        raise ModelFileError(
            f"{path} holds {manifest.get('kind', 'something')!r}, not a model. Name the model's file."
        )
    allowed = {**CLASSES, **OURS, **{c.__name__: c for c in classes}}
    whole = persist.unpack(manifest["model"], tensors, allowed)
    try:
        flat, provenance, recommender = whole["data"], whole["provenance"], whole["recommender"]
        if not isinstance(flat, _Data) or not isinstance(provenance, Provenance):
            raise TypeError("its parts are of the wrong kind")
        data = _dataset(flat)
        _check(data, recommender)
    # A file whose hash is right but whose parts do not fit was not written by us; whatever it breaks is its
    # fault.
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        IndexError,
        AcclimateError,
    ) as error:
        raise ModelFileError(
            f"{path} was written by another version, or by another program: {error}. Fit the model again."
        ) from None
    return recommender, data, provenance, str(manifest["sha256"])


def _dataset(flat: _Data) -> Dataset:
    low, high = flat.value_range
    return Dataset(
        interactions=flat.interactions,
        users=_with_texts(flat.users, flat.user_texts),
        items=_with_texts(flat.items, flat.item_texts),
        user_ids=Vocabulary(flat.user_ids),
        item_ids=Vocabulary(flat.item_ids),
        explicit=bool(flat.explicit),
        value_range=(float(low), float(high)),
        name=str(flat.name),
    )


def _texts(table: FeatureTable) -> dict[str, pl.Series]:
    return {name: pl.Series(text, dtype=pl.String) for name, text in table.texts.items()}


def _with_texts(table: FeatureTable, texts: Mapping[str, pl.Series]) -> FeatureTable:
    return replace(table, texts={name: tuple(text.to_list()) for name, text in texts.items()})


def _check(data: Dataset, recommender: Any) -> None:
    """Whether the parts of a model fit together, and the whole answers."""
    inter = data.interactions
    sizes = {
        "items": {inter.n_items, len(data.item_ids), len(data.items), *_lengths(data.items)},
        "users": {inter.n_users, len(data.user_ids), len(data.users), *_lengths(data.users)},
        "events": {len(inter.items), len(inter.values), int(inter.offsets[-1])},
    }
    for what, found in sizes.items():
        if len(found) > 1:
            raise ValueError(f"its tables disagree about the number of {what} ({sorted(found)})")
    inside = bool(((inter.items >= 0) & (inter.items < inter.n_items)).all())
    if not inside or not bool((inter.counts() >= 0).all()):
        raise ValueError("its histories name items that it does not have")
    if not isinstance(recommender, Recommender):
        raise TypeError(f"it holds a {type(recommender).__name__}, which does not recommend")
    if data.n_items == 0:
        return
    nobody = _nobody(data)
    state: State = recommender.adapt(nobody)
    with torch.no_grad():
        scores = recommender.score(state, data.items_at(torch.arange(data.n_items)[-1:]))
    if scores.shape != (1, 1) or not bool(scores.isfinite().all()):
        raise ValueError("its recommender does not answer")


def _lengths(table: FeatureTable) -> set[int]:
    return {len(column) for column in table.columns.values()} | {len(text) for text in table.texts.values()}


def _nobody(data: Dataset) -> Feedback:
    none = torch.zeros(1, 0, dtype=torch.int64)
    return Feedback(
        items=data.items_at(none),
        values=torch.zeros(1, 0),
        mask=none.bool(),
        user=data.users.gather(torch.full((1,), -1)),
    )
