"""The learner to use when nobody says which."""

from __future__ import annotations

from acclimate.data import Dataset
from acclimate.learners.base import Learner
from acclimate.learners.implicit_ridge import ImplicitRidge
from acclimate.learners.ridge import Ridge

_STEPS = 1500
"""Outer steps that meta-training takes at least, as far as ``_MOST_EPOCHS`` allows."""
_MOST_EPOCHS = 60


def default(dataset: Dataset) -> Learner:
    """A meta-learned ridge head that fits the data.

    Ratings get :class:`~acclimate.learners.ridge.Ridge`, choices
    :class:`~acclimate.learners.implicit_ridge.ImplicitRidge`. Small data is visited more often, so that
    training takes about as many steps.
    """
    learner = Ridge() if dataset.explicit else ImplicitRidge()
    per_epoch = max(1, -(-dataset.n_users // learner.batch_size))
    epochs = min(_MOST_EPOCHS, max(learner.epochs, _STEPS // per_epoch))
    if dataset.explicit:
        return Ridge(epochs=epochs)
    return ImplicitRidge(epochs=epochs)
