"""Every family of recommenders, a file each. All speak ``adapt`` and ``score``."""

from acclimate.data import FeatureTable, Field, Items
from acclimate.encoders import FieldRows, RowEncoder
from acclimate.models.als import ALS
from acclimate.models.base import (
    Attributable,
    Incremental,
    Recommender,
    Retrieval,
    Scale,
    Tabular,
    Uncertain,
)
from acclimate.models.bias import Bias
from acclimate.models.blend import Blend
from acclimate.models.closed_form import ClosedForm
from acclimate.models.content import ContentProfile, ContentRidge
from acclimate.models.ease import EASE
from acclimate.models.fallback import Fallback
from acclimate.models.fast_weights import FastWeights
from acclimate.models.ials import IALS
from acclimate.models.implicit_ridge import ImplicitRidge
from acclimate.models.inner_loop import InnerLoop
from acclimate.models.item_knn import ItemKNN, ItemKNNRating, Neighbours
from acclimate.models.item_mean import ItemMean
from acclimate.models.network import Network
from acclimate.models.popularity import Popularity
from acclimate.models.residual import Residual
from acclimate.models.ridge import RidgeHead
from acclimate.models.user_knn import Crowd, UserKNN, UserKNNRating

CLASSES: dict[str, type] = {
    c.__name__: c
    for c in (
        FeatureTable,
        Field,
        FieldRows,
        Items,
        RowEncoder,
        ALS,
        Bias,
        Blend,
        ContentProfile,
        ContentRidge,
        Crowd,
        EASE,
        Fallback,
        FastWeights,
        IALS,
        ImplicitRidge,
        InnerLoop,
        ItemKNN,
        ItemKNNRating,
        ItemMean,
        Neighbours,
        Network,
        Popularity,
        Residual,
        RidgeHead,
        UserKNN,
        UserKNNRating,
    )
}
"""What a model file may hold, by name."""

__all__ = [
    "ALS",
    "CLASSES",
    "EASE",
    "IALS",
    "Attributable",
    "Bias",
    "Blend",
    "ClosedForm",
    "ContentProfile",
    "ContentRidge",
    "Crowd",
    "Fallback",
    "FastWeights",
    "ImplicitRidge",
    "Incremental",
    "InnerLoop",
    "ItemKNN",
    "ItemKNNRating",
    "ItemMean",
    "Neighbours",
    "Network",
    "Popularity",
    "Recommender",
    "Residual",
    "Retrieval",
    "RidgeHead",
    "Scale",
    "Tabular",
    "Uncertain",
    "UserKNN",
    "UserKNNRating",
]
