"""Recommendation that is good from the first few clicks: meta-learned, adapted in real time, honestly
measured.

    import acclimate as ac

    data = ac.read("ratings.csv", items="movies.csv")
    model = ac.fit(data)
    model.recommend(events=[("Heat", 5), ("Alien", 4)], k=10)

Every name is imported when it is first used, so that importing the package itself costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acclimate import errors
    from acclimate.compare import compare
    from acclimate.data import Dataset, synthetic_world
    from acclimate.data.catalog import load as dataset
    from acclimate.data.readers import inspect, read
    from acclimate.evaluation import evaluate
    from acclimate.learners.aliases import (
        als,
        anil,
        bias,
        blend,
        content,
        ease,
        fallback,
        fomaml,
        ials,
        implicit_ridge,
        item_knn,
        item_mean,
        maml,
        popularity,
        residual,
        ridge,
        tuned,
        user_knn,
    )
    from acclimate.learners.base import Run
    from acclimate.model import Model, fit, load

__version__ = "0.1.0"

__all__ = [
    "Dataset",
    "Model",
    "Run",
    "als",
    "anil",
    "bias",
    "blend",
    "compare",
    "content",
    "dataset",
    "ease",
    "errors",
    "evaluate",
    "fallback",
    "fit",
    "fomaml",
    "ials",
    "implicit_ridge",
    "inspect",
    "item_knn",
    "item_mean",
    "load",
    "maml",
    "popularity",
    "read",
    "residual",
    "ridge",
    "synthetic_world",
    "tuned",
    "user_knn",
]

# Where each name comes from; whatever is not here is an alias of a learner.
_HOMES = {
    "Dataset": "acclimate.data",
    "Model": "acclimate.model",
    "Run": "acclimate.learners.base",
    "compare": "acclimate.compare",
    "evaluate": "acclimate.evaluation",
    "fit": "acclimate.model",
    "inspect": "acclimate.data.readers",
    "load": "acclimate.model",
    "read": "acclimate.data.readers",
    "synthetic_world": "acclimate.data",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'acclimate' has no attribute {name!r}")
    if name == "errors":
        return importlib.import_module("acclimate.errors")
    if name == "dataset":
        found = importlib.import_module("acclimate.data.catalog").load
    else:
        found = getattr(importlib.import_module(_HOMES.get(name, "acclimate.learners.aliases")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Importing the module acclimate.compare must not hide the function of the same name.
        if name == "compare" and isinstance(value, ModuleType):
            value = value.compare
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
