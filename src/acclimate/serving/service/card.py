"""A model's card: what it is, where it came from, what it takes and what it can do."""

from __future__ import annotations

from typing import Any, Final

from acclimate.data import Field
from acclimate.models.base import Attributable, Incremental, Retrieval, Uncertain
from acclimate.serving.retrieval.approximate import ApproximateScan
from acclimate.serving.retrieval.base import Scan
from acclimate.serving.service.deployment import Deployment
from acclimate.serving.service.strategies import available

_MOST_LABELS: Final = 100
"""Labels of a field that a card shows."""


def model_card(deployment: Deployment) -> dict[str, Any]:
    """The card of a deployed model, as JSON takes it."""
    model, values = deployment.model, deployment.values
    came = model.provenance
    capabilities = {
        "retrieval": Retrieval,
        "incremental": Incremental,
        "uncertain": Uncertain,
        "attributable": Attributable,
    }
    return {
        "sha256": deployment.sha256,
        "learner": came.learner,
        "recipe": came.recipe,
        "data": came.data,
        "trained_on": {"users": came.n_users, "items": came.n_items, "events": came.n_events},
        "seed": came.seed,
        "version": came.version,
        "scale": "rating" if model.predicts_ratings else "rank",
        "items": len(deployment.known),
        "histories": model.data.n_users,
        "capabilities": [name for name, kind in capabilities.items() if isinstance(model.recommender, kind)],
        "retrieval": deployment.base.method,
        "approximate": _approximate(deployment.base.engine.scan),
        "value": {
            "needed": values.needed,
            "min": values.low if values.ratings else None,
            "max": values.high if values.ratings else None,
        },
        "item_fields": [_field(spec) for spec in model.data.items.schema],
        "user_fields": [_field(spec) for spec in model.data.users.schema],
        "titles": deployment.known.title is not None,
        "strategies": available(model.data),
    }


def _approximate(scan: Scan | None) -> dict[str, Any] | None:
    """How much of the best an approximate scan was found to find; None where the scan is exact."""
    if not isinstance(scan, ApproximateScan):
        return None
    return {"index": scan.index.name, "recall": round(scan.recall, 4), "k": scan.measured_at}


def _field(spec: Field) -> dict[str, Any]:
    out: dict[str, Any] = {"name": spec.name, "kind": spec.kind}
    if spec.kind in ("categorical", "multi"):
        out["values"] = list(spec.values[:_MOST_LABELS])
        out["n_values"] = len(spec.values)
    return out
