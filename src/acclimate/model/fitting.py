"""From a dataset to a model in one call."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from acclimate.data import Dataset
from acclimate.errors import UserInputError
from acclimate.model.model import Model
from acclimate.model.provenance import Provenance

if TYPE_CHECKING:
    from acclimate.learners.base import Learner, Run


def fit(data: Dataset, learner: Learner | str | None = None, *, run: Run | None = None) -> Model:
    """Learns from a dataset and returns a model that answers in its ids.

    Args:
        data: what :func:`acclimate.read` gave.
        learner: a recipe such as ``acclimate.ridge()``, or its name; default a good one for the data.
        run: seed, device, progress.

    Raises:
        UserInputError: there is nothing to learn from, or the learner does not fit the data.
    """
    # Whoever only loads and asks a model needs no learner.
    from acclimate.learners.base import Run
    from acclimate.learners.default import default
    from acclimate.learners.names import by_name

    if not isinstance(data, Dataset):
        raise UserInputError(
            f"fit takes a dataset; found {type(data).__name__}. Read it first: fit(acclimate.read(...))."
        )
    if len(data.interactions) == 0:
        raise UserInputError(f"{data.name!r} has no events to learn from. `acclimate doctor` says why.")
    run = run or Run()
    chosen: Learner = (
        default(data) if learner is None else by_name(learner) if isinstance(learner, str) else learner
    )
    return Model(
        recommender=chosen.fit(data, run=run),
        data=data,
        provenance=Provenance(
            learner=chosen.name,
            recipe=repr(chosen),
            data=data.name,
            data_hash=data.hash(),
            n_users=data.n_users,
            n_items=data.n_items,
            n_events=len(data.interactions),
            seed=run.seed,
            version=version(),
        ),
    )


def version() -> str:
    """Of the installed acclimate."""
    try:
        return metadata.version("acclimate")
    except metadata.PackageNotFoundError:
        return "unknown"
