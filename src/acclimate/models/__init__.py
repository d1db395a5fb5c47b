"""Every family of recommenders, a file each. All speak ``adapt`` and ``score``."""

from acclimate.data import FeatureTable, Field, Items
from acclimate.models.base import Attributable, Incremental, Recommender, Retrieval, Scale, Uncertain
from acclimate.models.popularity import Popularity

CLASSES: dict[str, type] = {c.__name__: c for c in (FeatureTable, Field, Items, Popularity)}
"""What a model file may hold, by name."""

__all__ = [
    "CLASSES",
    "Attributable",
    "Incremental",
    "Popularity",
    "Recommender",
    "Retrieval",
    "Scale",
    "Uncertain",
]
