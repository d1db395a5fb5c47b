"""Every family of recommenders, a file each. All speak ``adapt`` and ``score``."""

from acclimate.data import FeatureTable, Field, Items
from acclimate.encoders import FieldRows, RowEncoder
from acclimate.models.base import Attributable, Incremental, Recommender, Retrieval, Scale, Uncertain
from acclimate.models.fast_weights import FastWeights
from acclimate.models.implicit_ridge import ImplicitRidge
from acclimate.models.inner_loop import InnerLoop
from acclimate.models.network import Network
from acclimate.models.popularity import Popularity
from acclimate.models.ridge import RidgeHead

CLASSES: dict[str, type] = {
    c.__name__: c
    for c in (
        FeatureTable,
        Field,
        FieldRows,
        Items,
        RowEncoder,
        FastWeights,
        ImplicitRidge,
        InnerLoop,
        Network,
        Popularity,
        RidgeHead,
    )
}
"""What a model file may hold, by name."""

__all__ = [
    "CLASSES",
    "Attributable",
    "FastWeights",
    "ImplicitRidge",
    "Incremental",
    "InnerLoop",
    "Network",
    "Popularity",
    "Recommender",
    "Retrieval",
    "RidgeHead",
    "Scale",
    "Uncertain",
]
