"""Rules of a tenant: what the business wants, whatever anybody's taste."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from acclimate.serving.events import Rules
from acclimate.serving.problems import RequestError
from acclimate.serving.service.catalogue.catalogue import Catalogue
from acclimate.serving.service.checks import listed, mapped, share, shown, whole
from acclimate.serving.service.limits import MOST_ITEMS, MOST_K

MOST_EXPLORED: Final = 0.5
"""The greatest share of a list that exploration may take."""

_KEYS: Final = ("pin", "bury", "exploration")


def read_rules(given: object, catalogue: Catalogue) -> Rules:
    """Rules as a request says them: ``{"pin": {item: rank}, "bury": [item], "exploration": share}``.

    Raises:
        RequestError: an unknown key or item, a rank twice, an item both pinned and buried, a share above a
            half.
    """
    if isinstance(given, Rules):
        given = {"pin": given.pin, "bury": given.bury, "exploration": given.exploration}
    said = mapped(given, "rules", 16)
    strange = [key for key in said if key not in _KEYS]
    if strange:
        raise RequestError(
            "invalid_input",
            f"Rules have no {shown(strange[0])}; they have {', '.join(_KEYS)}.",
            field=f"rules.{str(strange[0])[:60]}",
        )
    said = {key: value for key, value in said.items() if value is not None}
    pins = read_pins(said.get("pin", {}), catalogue, "rules.pin")
    buried = catalogue.rows(listed(said.get("bury", ()), "rules.bury", MOST_ITEMS), "rules.bury", known=True)
    for row in buried:
        if row in pins:
            raise RequestError(
                "invalid_input",
                f"{catalogue.item(row)!r} is both pinned and buried; choose one.",
                field="rules.bury",
            )
    explored = share(said.get("exploration", 0.0), "rules.exploration", MOST_EXPLORED)
    return Rules(
        pin={catalogue.text(row): rank for row, rank in pins.items()},
        bury=tuple(catalogue.text(row) for row in buried),
        exploration=explored,
    )


def read_pins(given: object, catalogue: Catalogue, field: str) -> dict[int, int]:
    """Pins as row -> rank.

    Raises:
        RequestError: an unknown item, a rank that is none, or two items at one rank.
    """
    pins: Mapping[object, object] = mapped(given, field, MOST_K)
    out: dict[int, int] = {}
    for item, rank in pins.items():
        place = f"{field}.{str(item)[:60]}"
        row = catalogue.find(item, place)
        wanted = whole(rank, place, 1, MOST_K)
        if row in out or wanted in out.values():
            raise RequestError(
                "invalid_input", f"Two pins stand at rank {wanted}, or one item is pinned twice.", field=place
            )
        out[row] = wanted
    return out
