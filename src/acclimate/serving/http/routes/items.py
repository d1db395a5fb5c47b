"""Items and rules: what there is, and what the business wants."""

from __future__ import annotations

from acclimate.serving.events import Rules
from acclimate.serving.http import schemas
from acclimate.serving.http.operations import Call, Operation
from acclimate.serving.service.answers import Match


def find_items(call: Call) -> list[Match]:
    """Items by title or id, to pick from."""
    return call.service.search(call.tenant, call.query.get("search", ""), limit=call.query.get("limit", 10))


def add_items(call: Call) -> int:
    """Adds items that the catalogue lacks, or replaces their fields; they are listed at once."""
    return call.service.add_items(call.tenant, call.body["items"])


def read_rules(call: Call) -> Rules:
    """What is ruled now."""
    return call.service.rules(call.tenant)


def set_rules(call: Call) -> int:
    """Replaces the rules: which items stand where, which are not shown, how much of a list explores."""
    return call.service.set_rules(call.tenant, call.body)


def _found(call: Call, items: list[Match]) -> dict[str, list[Match]]:
    return {"items": items}


def _revision(call: Call, revision: int) -> dict[str, int]:
    return {"revision": revision}


OPERATIONS = (
    Operation(
        "GET",
        "/v1/items",
        "recommend",
        find_items,
        "items",
        schemas.FoundOut,
        dict[str, list[Match]],
        finish=_found,
        query=schemas.ItemsQuery,
    ),
    Operation(
        "PUT",
        "/v1/items",
        "admin",
        add_items,
        "items",
        schemas.RevisionOut,
        dict[str, int],
        finish=_revision,
        body=schemas.ItemsIn,
    ),
    Operation("GET", "/v1/rules", "admin", read_rules, "items", schemas.RulesOut, Rules),
    Operation(
        "PUT",
        "/v1/rules",
        "admin",
        set_rules,
        "items",
        schemas.RevisionOut,
        dict[str, int],
        finish=_revision,
        body=schemas.RulesIn,
    ),
)
