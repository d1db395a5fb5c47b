"""The short names of learners, for command lines, comparisons and files."""

from __future__ import annotations

from collections.abc import Callable

from acclimate.data import Dataset
from acclimate.errors import UnknownNameError
from acclimate.learners import aliases
from acclimate.learners.base import Learner
from acclimate.learners.grids import tuned_floors

NAMES: dict[str, Callable[[], Learner]] = {
    "popularity": aliases.popularity,
    "item-mean": aliases.item_mean,
    "bias": aliases.bias,
    "content": aliases.content,
    "user-knn": aliases.user_knn,
    "item-knn": aliases.item_knn,
    "ease": aliases.ease,
    "als": aliases.als,
    "ials": aliases.ials,
    "ridge": aliases.ridge,
    "implicit-ridge": aliases.implicit_ridge,
    "maml": aliases.maml,
    "fomaml": aliases.fomaml,
    "anil": aliases.anil,
}
"""Everything that can be made from a name alone."""


def by_name(name: str) -> Learner:
    """The learner of that name, with its default settings.

    Raises:
        UnknownNameError: nothing has that name; says what is near it.
    """
    make = NAMES.get(name.strip().lower().replace("_", "-"))
    if make is None:
        raise UnknownNameError("learner", name, NAMES)
    return make()


def floors(dataset: Dataset, *, ranking: bool) -> tuple[Learner, ...]:
    """The classical bars that every table prints, each tuned inside the training data with the same budget.

    With fewer than 50 users who could be held out there is nothing to tune by: the floors keep
    their defaults.

    Args:
        ranking: whether the table is about rankings. On ratings, the bars of such a table rank too: they take
            every rating as a choice, and the predictors of ratings stand beside them.
    """
    bars = tuned_floors("rank" if ranking or not dataset.explicit else "rating")
    if dataset.explicit:
        bars = (*bars, aliases.bias()) if ranking else (aliases.popularity(), *bars)
    if int((dataset.interactions.counts() >= 2).sum()) < 50:
        return tuple(by_name(bar.name) for bar in bars)
    return bars
