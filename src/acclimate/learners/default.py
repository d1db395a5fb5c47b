"""The learner to use when nobody says which."""

from __future__ import annotations

from acclimate.data import Dataset
from acclimate.learners.base import Learner
from acclimate.learners.implicit_ridge import ImplicitRidge
from acclimate.learners.ridge import Ridge

_SMALL = 2000
"""Users below which item vectors and what is learned about fields are held back more strongly."""


def default(dataset: Dataset) -> Learner:
    """A meta-learned ridge head that suits the data.

    Ratings get :class:`~acclimate.learners.ridge.Ridge`, choices
    :class:`~acclimate.learners.implicit_ridge.ImplicitRidge`. The stronger decay for small data was chosen on
    validation users of MovieLens-100K, the defaults on validation users of MovieLens-1M.
    """
    if not dataset.explicit:
        return ImplicitRidge()
    return Ridge(id_decay=2.0, decay=1.0) if dataset.n_users < _SMALL else Ridge()
