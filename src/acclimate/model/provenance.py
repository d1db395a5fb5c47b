"""Where a model came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """Where a model came from, so that nobody judges it on what it has seen.

    Attributes:
        learner: name of the recipe. recipe: the recipe with its hyperparameters, as text.
        data: name of the dataset. data_hash: SHA-256 of its interactions.
        n_users, n_items, n_events: its size.
        seed: of the run.
        version: of acclimate.
    """

    learner: str
    recipe: str
    data: str
    data_hash: str
    n_users: int
    n_items: int
    n_events: int
    seed: int
    version: str
