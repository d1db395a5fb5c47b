"""Strategies: other ways to rank, to be seen beside the model's own."""

from __future__ import annotations

from typing import Final

from acclimate.data import Dataset
from acclimate.errors import UserInputError
from acclimate.models import ItemKNN, Popularity
from acclimate.models.base import Recommender
from acclimate.serving.problems import RequestError
from acclimate.serving.service.checks import shown

DEFAULT: Final = "default"
STRATEGIES: Final = (DEFAULT, "popularity", "item-knn")


MOST_COMPARED: Final = 30_000
"""Items of a catalogue whose every pair is compared for item-kNN; a server has no hours to spend on it."""

MOST_EVENTS: Final = 5_000_000
"""Events of histories that item-kNN is derived from while serving."""


def check_strategy(given: object) -> str:
    """The name of a strategy.

    Raises:
        RequestError: there is none of that name.
    """
    if given not in STRATEGIES:
        raise RequestError(
            "unknown_strategy",
            f"Unknown strategy {shown(given)}. Known: {', '.join(STRATEGIES)}.",
            field="strategy",
        )
    return str(given)


def fitted(name: str, data: Dataset) -> Recommender:
    """A strategy's recommender, from the histories of a model.

    Raises:
        RequestError: the model kept none.
    """
    if len(data.interactions) == 0:
        raise RequestError(
            "not_supported",
            f"The strategy {name!r} is derived from histories, and this model kept none. "
            "Save it with its histories, or ask for the strategy 'default'.",
            field="strategy",
        )
    if name == "item-knn" and not _comparable(data):
        raise RequestError(
            "not_supported",
            f"The strategy {name!r} compares every pair of items, which for {data.n_items:,} items and "
            f"{len(data.interactions):,} events takes longer than a request may. "
            "Fit an item-kNN model, and serve that.",
            field="strategy",
        )
    try:
        return Popularity.fit(data) if name == "popularity" else ItemKNN.fit(data)
    except UserInputError as error:
        raise RequestError("not_supported", str(error), field="strategy") from None


def available(data: Dataset) -> list[str]:
    """The strategies that a model with these histories can be asked for."""
    if len(data.interactions) == 0:
        return [DEFAULT]
    return [name for name in STRATEGIES if name != "item-knn" or _comparable(data)]


def _comparable(data: Dataset) -> bool:
    return data.n_items <= MOST_COMPARED and len(data.interactions) <= MOST_EVENTS
