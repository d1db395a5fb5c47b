"""What a recommender needs from the data before it can be fitted, said in one message each."""

from __future__ import annotations

from acclimate.data import Dataset
from acclimate.errors import UserInputError


def need_events(dataset: Dataset, who: str) -> None:
    """Refuses a dataset without a single event.

    Args:
        who: what the message calls the recommender.
    """
    if len(dataset.interactions) == 0:
        raise UserInputError(
            f"{who} learns from events; {dataset.name!r} has none. "
            "Check that the split leaves some to train on."
        )


def need_ratings(dataset: Dataset, who: str) -> None:
    """Refuses a dataset that is empty or holds implicit events."""
    need_events(dataset, who)
    if not dataset.explicit:
        raise UserInputError(
            f"{who} predicts ratings; {dataset.name!r} holds implicit events. Use a recommender that ranks, "
            "such as item-kNN, EASE or iALS."
        )


def need_positive(who: str, **values: float) -> None:
    """Refuses hyperparameters that are not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise UserInputError(f"{who} needs {name} above 0; found {value!r}.")


def need_not_negative(who: str, **values: float) -> None:
    """Refuses hyperparameters below 0."""
    for name, value in values.items():
        if not value >= 0:
            raise UserInputError(f"{who} needs {name} of at least 0; found {value!r}.")
