"""The server itself: its model, its state, its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic_core import to_json

from acclimate.serving.http import numbers, schemas
from acclimate.serving.http.operations import Call, Operation, Raw


def model(call: Call) -> dict[str, Any]:
    """The model in service: hash, recipe, data, what it can do."""
    return call.service.model_card()


def reload_model(call: Call) -> dict[str, Any]:
    """Looks at the model file now. A damaged one is refused, and the one in service stays."""
    reloaded = call.service.reload()
    return {"reloaded": reloaded, "model": call.service.model_sha256}


def status(call: Call) -> dict[str, Any]:
    """How the server is doing: the service, and how long answers take, of all workers together."""
    metrics = call.metrics
    said = call.service.status()
    metrics.serves(said["model"]["sha256"])
    return {
        **said,
        "model": {**said["model"], "bytes": _size(said["model"]["file"])},
        "began": metrics.began,
        "model_since": metrics.model_since,
        "problems": list(call.ready),
        "notes": list(call.notes),
        **numbers.told(metrics.together().collect()),
    }


def _size(file: str | None) -> int | None:
    try:
        return None if file is None else Path(file).stat().st_size
    except OSError:
        return None


def healthz(call: Call) -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok"}


def readyz(call: Call) -> Raw:
    """Whether requests should be sent here: it is warm, and its store can be read and written."""
    ready = not call.ready
    body = to_json({"ready": ready, "problems": list(call.ready), "notes": list(call.notes)})
    return Raw(body, b"application/json", 200 if ready else 503)


def metrics(call: Call) -> Raw:
    """Numbers for Prometheus, of all workers together."""
    call.metrics.told(call.service.status(), not call.ready)
    return Raw(*call.metrics.text())


OPERATIONS = (
    Operation("GET", "/v1/model", "recommend", model, "server", schemas.Anything, dict[str, Any]),
    Operation(
        "POST", "/v1/model/reload", "admin", reload_model, "server", schemas.ReloadedOut, dict[str, Any]
    ),
    Operation(
        "GET", "/v1/status", "recommend", status, "server", schemas.Anything, dict[str, Any], early=True
    ),
    Operation(
        "GET", "/healthz", None, healthz, "server", schemas.AliveOut, dict[str, str], quick=True, early=True
    ),
    Operation(
        "GET",
        "/readyz",
        None,
        readyz,
        "server",
        schemas.ReadyOut,
        Raw,
        statuses=(503,),
        quick=True,
        early=True,
    ),
    Operation(
        "GET",
        "/metrics",
        "admin",
        metrics,
        "server",
        str,
        Raw,
        early=True,
        media_type="text/plain",
    ),
)
