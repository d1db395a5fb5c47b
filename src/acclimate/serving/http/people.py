"""Whom a request is about, for counting: never for answering."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def person_of(told: Mapping[str, Any]) -> tuple[str, str] | None:
    """A user or a session that is named; None if nobody is."""
    if "user" in told:
        return "user", str(told["user"])
    if "session" in told:
        return "session", str(told["session"])
    return None
