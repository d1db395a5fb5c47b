"""The floors of a comparison: every simple method, each tuned with the same number of trials."""

from __future__ import annotations

from acclimate.learners.base import Learner
from acclimate.learners.classical import (
    ALS,
    EASE,
    IALS,
    Bias,
    Content,
    ItemKNN,
    ItemMean,
    Popularity,
    UserKNN,
)
from acclimate.learners.tuned import Tuned
from acclimate.learners.validation import Validation
from acclimate.models.base import Scale

TRIALS = 6
"""Recipes that every grid holds."""


def item_mean_grid() -> tuple[Learner, ...]:
    """Dampings from 1 to 50."""
    return tuple(ItemMean(damping=s) for s in (1.0, 2.0, 5.0, 10.0, 20.0, 50.0))


def bias_grid() -> tuple[Learner, ...]:
    """Two dampings of items by three of users."""
    return tuple(Bias(damping=u, item_damping=i) for i in (2.0, 10.0) for u in (2.0, 5.0, 10.0))


def content_grid() -> tuple[Learner, ...]:
    """Ratings only; the content profile that ranks has nothing to set."""
    return tuple(Content(regularisation=r, item_damping=s) for r in (3.0, 10.0, 30.0) for s in (20.0, 100.0))


def user_knn_grid(scale: Scale) -> tuple[Learner, ...]:
    """Few to many neighbours; for ratings the damping of the average, for ranks the shrinkage."""
    if scale == "rating":
        return tuple(
            UserKNN(neighbours=k, damping=d, scale=scale) for k in (100, 300, 1000) for d in (0.1, 0.5)
        )
    return tuple(UserKNN(neighbours=k, shrinkage=s, scale=scale) for k in (30, 100, 300) for s in (1.0, 10.0))


def item_knn_grid(scale: Scale) -> tuple[Learner, ...]:
    """Few to many neighbours; for ratings the damping of the average, for ranks the shrinkage."""
    if scale == "rating":
        return tuple(
            ItemKNN(neighbours=k, damping=d, scale=scale) for k in (50, 200, 500) for d in (0.1, 0.5)
        )
    return tuple(
        ItemKNN(neighbours=k, shrinkage=s, scale=scale) for k in (50, 200, 500) for s in (10.0, 100.0)
    )


def ease_grid(scale: Scale) -> tuple[Learner, ...]:
    """Penalties a factor of three apart."""
    penalties = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
    if scale == "rank":
        penalties = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
    return tuple(EASE(regularisation=r, scale=scale) for r in penalties)


def als_grid() -> tuple[Learner, ...]:
    """Two widths by three penalties."""
    return tuple(ALS(embedding_size=d, regularisation=r) for d in (8, 16) for r in (5.0, 10.0, 20.0))


def ials_grid() -> tuple[Learner, ...]:
    """Two weights of what was not chosen by three penalties."""
    return tuple(IALS(regularisation=r, unobserved=a) for a in (0.1, 0.3) for r in (3.0, 10.0, 30.0))


def tuned_floors(scale: Scale, validation: Validation = Validation()) -> tuple[Learner, ...]:
    """Every floor of a table, tuned inside the training data with :data:`TRIALS` trials each.

    What has nothing to set stays as it is: popularity, and content for ranks.

    Args:
        scale: ``rating`` for tables of rating errors, ``rank`` for tables of rankings.
        validation: how each choice is made, the same for all.
    """
    if scale == "rating":
        grids = {
            "item-mean": item_mean_grid(),
            "bias": bias_grid(),
            "content": content_grid(),
            "user-knn": user_knn_grid(scale),
            "item-knn": item_knn_grid(scale),
            "ease": ease_grid(scale),
            "als": als_grid(),
        }
        return tuple(Tuned(grid, name, validation) for name, grid in grids.items())
    return (
        Popularity(),
        Content(scale="rank"),
        *(
            Tuned(grid, name, validation)
            for name, grid in {
                "user-knn": user_knn_grid(scale),
                "item-knn": item_knn_grid(scale),
                "ease": ease_grid(scale),
                "ials": ials_grid(),
            }.items()
        ),
    )
