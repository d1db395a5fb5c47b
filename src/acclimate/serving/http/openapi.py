"""The interface, as an OpenAPI document made from the operations."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Literal

from pydantic import TypeAdapter

from acclimate.serving.http import schemas
from acclimate.serving.http.operations import Operation
from acclimate.serving.http.problems import CODES

_TAGS = {
    "events": "What people do. Acknowledged means on disk.",
    "lists": "What to show whom, and why.",
    "people": "All that is kept of somebody, and forgetting it.",
    "items": "What there is, and what the business wants.",
    "server": "How it is doing.",
}
_MEANING = {
    401: "No key, or none that is one.",
    403: "The key may not do this; or, on a server without keys, the request came from elsewhere.",
    404: "There is no such thing.",
    409: "An event id was used for another event; nothing was stored.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "Something in the request is wrong; `field` says where.",
    429: "Too many requests; `Retry-After` says when to try again.",
    500: "A fault of the server's.",
    503: "Not now; `Retry-After` says when to try again. Nothing is acknowledged.",
}
_SAID = {
    401: "This needs a key: Authorization: Bearer acc_...",
    403: "This key lacks the scope 'ingest'.",
    404: "There is no such event of theirs.",
    409: "The event id '7d9f1c52' was used for another event.",
    413: "A request has at most 1,000,000 bytes. Send several smaller ones.",
    415: "Send JSON, as Content-Type: application/json.",
    422: "k: input should be greater than or equal to 1.",
    429: "Too many requests of this key: at most 20000 a second.",
    500: "A fault of the server's; its log says where.",
    503: "Too many requests at once. Try again.",
}
_HEADERS = {
    "x-request-id": {"description": "Names the request in the logs.", "schema": {"type": "string"}},
    "server-timing": {"description": "How long it took, in milliseconds.", "schema": {"type": "string"}},
}
_RETRY = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    wanted: list[tuple[str, Literal["validation"], TypeAdapter[Any]]] = []
    for one in operations:
        if one.body is not None:
            wanted.append((f"{one.name} body", "validation", one.reader))
        wanted.append((f"{one.name} answer", "validation", TypeAdapter(one.answer)))
        if one.query is not None:
            wanted.append((f"{one.name} query", "validation", one.query_reader))
    wanted.append(("error", "validation", TypeAdapter(schemas.ErrorOut)))
    found, definitions = TypeAdapter.json_schemas(wanted, ref_template="#/components/schemas/{model}")
    shapes = {name: schema for (name, _), schema in found.items()}
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _described(one, shapes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "acclimate",
            "version": version("acclimate"),
            "description": "Recommendations whose next answer already knows the last event. Every error is "
            '`{"error": {"code", "message", "field"}}`; codes are for programs and stay.',
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "acc_<id>_<secret>",
                    "description": "`acclimate keys add` makes one. "
                    "A server on loopback without any key is open.",
                }
            },
        },
    }


def _described(one: Operation, shapes: dict[str, Any]) -> dict[str, Any]:
    """An operation of the document."""
    text = inspect.cleandoc(one.run.__doc__ or "")
    summary, _, more = text.partition("\n\n")
    out: dict[str, Any] = {
        "operationId": one.name,
        "tags": [one.tag],
        "summary": " ".join(summary.split()).rstrip("."),
        "x-scope": one.scope or "public",
        # Said even where it is empty: public is a decision, not an omission.
        "security": [] if one.scope is None else [{"key": []}],
        "responses": _responses(one, shapes),
    }
    if more:
        out["description"] = " ".join(more.split())
    parameters = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": f"The {name}, percent-encoded; it may hold slashes.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^[^\x00-\x1f\x7f]+$"},
            "example": {"user": "u17", "session": "5f3a", "id": "7d9f1c52"}[name],
        }
        for name in one.params
    ]
    if one.query is not None:
        shape = shapes[f"{one.name} query"]
        parameters += [_parameter(name, schema) for name, schema in _properties(shape, shapes).items()]
    if parameters:
        out["parameters"] = parameters
    if one.body is not None:
        out["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": shapes[f"{one.name} body"], "example": EXAMPLES[one.name]}
            },
        }
    return out


def _properties(shape: dict[str, Any], shapes: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = shape.get("properties") or _QUERIES
    return properties


_QUERIES: dict[str, Any] = TypeAdapter(schemas.ItemsQuery).json_schema()["properties"]


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    told = {key: value for key, value in schema.items() if key not in ("description", "examples", "title")}
    out = {
        "name": name,
        "in": "query",
        "required": False,
        "description": schema.get("description", ""),
        "schema": told,
    }
    if schema.get("examples"):
        out["example"] = schema["examples"][0]
    return out


def _responses(one: Operation, shapes: dict[str, Any]) -> dict[str, Any]:
    """What an operation may answer."""
    statuses = {*one.statuses, 500}
    if one.scope is not None:
        statuses |= {401, 403, 422, 429, 503}
    if one.body is not None:
        statuses |= {413, 415}
    answer = shapes[f"{one.name} answer"]
    content: dict[str, Any] = {"schema": answer}
    if one.name in ANSWERS:
        content["example"] = ANSWERS[one.name]
    out: dict[str, Any] = {
        "200": {"description": "Done.", "headers": _HEADERS, "content": {one.media_type: content}}
    }
    if one.method == "GET" and one.scope is None and 503 in one.statuses:
        headers = {**_HEADERS, "retry-after": _RETRY}
        out["503"] = {"description": "Not now.", "headers": headers, "content": {one.media_type: content}}
        statuses.discard(503)
    if one.scope is None:
        statuses.add(403)
    for status in sorted(statuses):
        headers = {**_HEADERS, **({"retry-after": _RETRY} if status in (429, 503) else {})}
        out[str(status)] = {
            "description": f"{_MEANING[status]} Codes: {', '.join(CODES[status])}.",
            "headers": headers,
            "content": {
                "application/json": {
                    "schema": shapes["error"],
                    "example": {"error": {"code": CODES[status][0], "message": _SAID[status]}},
                }
            },
        }
    return out


EXAMPLES: dict[str, Any] = {
    "observe": {"events": [{"id": "7d9f1c52", "user": "u17", "item": "m1", "value": 5}]},
    "recommend": {"user": "u17", "k": 10},
    "rank": {"user": "u17", "items": ["m1", "m2", "m3"]},
    "similar": {"item": "m1", "k": 5},
    "explain": {"user": "u17", "item": "m2"},
    "onboarding": {"k": 5},
    "add_items": {"items": [{"item": "n1", "fields": {"title": "A new film", "genre": "Drama"}}]},
    "set_rules": {"pin": {"m3": 1}, "bury": ["m9"], "exploration": 0.1},
}
"""A body of every operation that takes one."""

_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_LIST = {
    "items": [{"item": "m2", "title": "Alien (1979)", "score": 4.41, "rank": 1}],
    "model": _HASH,
    "scale": "rating",
    "strategy": "default",
    "events": 1,
    "exact": True,
    "degraded": [],
}
ANSWERS: dict[str, Any] = {
    "observe": {"events": [{"id": "7d9f1c52", "status": "stored", "known": True}]},
    "undo_of_user": {"undone": True},
    "undo_of_session": {"undone": True},
    "recommend": _LIST,
    "rank": _LIST,
    "similar": {**_LIST, "scale": "rank", "events": 0},
    "explain": {
        "item": "m2",
        "title": "Alien (1979)",
        "parts": [
            {"part": "prior", "contribution": 3.6},
            {"part": "event", "contribution": 0.8, "item": "m1", "value": 5.0, "event": "7d9f1c52"},
            {"part": "rest", "contribution": 0.01},
            {"part": "total", "contribution": 4.41},
        ],
        "method": "exact",
        "model": _HASH,
        "degraded": [],
    },
    "onboarding": {
        "items": [{"item": "m4", "title": "Fargo (1996)", "rank": 1, "information": 0.31}],
        "method": "information",
        "model": _HASH,
        "degraded": [],
    },
    "export_user": {
        "events": [{"item": "m1", "value": 5.0, "time": 1763784000.0, "id": "7d9f1c52", "known": True}],
        "history": [],
    },
    "export_session": {"events": [], "history": []},
    "reload_model": {"reloaded": True, "model": _HASH},
    "erase_user": {"erased": 12},
    "erase_session": {"erased": 2},
    "find_items": {"items": [{"item": "m1", "title": "Heat (1995)"}]},
    "add_items": {"revision": 4},
    "set_rules": {"revision": 5},
    "read_rules": {"pin": {"m3": 1}, "bury": ["m9"], "exploration": 0.1},
    "healthz": {"status": "ok"},
    "readyz": {"ready": True, "problems": [], "notes": []},
}
"""An answer of every operation whose answer has one shape."""
