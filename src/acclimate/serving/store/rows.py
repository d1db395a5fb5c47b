"""Events as rows: what is written, and the digests they are found by.

An index over ids or people holds digests, never their text: pages of an index are split and merged, and what
they held before may stay in their free space. So only rows carry anything personal, and rows are never moved.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acclimate.errors import UserInputError
from acclimate.serving.events import Event, NewItem, Rules

Row = tuple[bytes, bytes, str, str, str, str, float | None, float]
"""key, person, tenant, user, id, item, value, time."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows under an event's key.

    Attributes:
        undone: the fingerprint of an event that was taken back; its item and value are gone.
    """

    seq: int
    person: bytes
    item: str | None
    value: float | None
    undone: bytes | None

    def same(self, person: bytes, item: str, value: float | None) -> bool:
        """Whether this is that event."""
        if self.person != person:
            return False
        if self.undone is not None:
            return self.undone == fingerprint(item, value)
        return self.item == item and self.value == value


def person_digest(tenant: str, user: str) -> bytes:
    """SHA-256 of a tenant and a person of it: 32 bytes, of which the first 16 stand in rows."""
    return hashlib.sha256(_text(f"{tenant}\0{user}", 1)).digest()


def event_key(tenant: str, event_id: str) -> bytes:
    """The first 16 bytes of the SHA-256 of a tenant and an event id of it."""
    return hashlib.sha256(_text(f"{tenant}\0{event_id}", 1)).digest()[:16]


def fingerprint(item: str, value: float | None) -> bytes:
    """What is kept of an event that was taken back, so that saying it again is known to be a repetition."""
    said = b"" if value is None else struct.pack("<d", value + 0.0)
    return hashlib.sha256(item.encode() + b"\0" + said).digest()[:16]


def rows_of(tenant: str, events: Sequence[Event]) -> list[Row]:
    """Rows to be written.

    Raises:
        UserInputError: text that a database cannot hold, or a number that is not finite.
    """
    people: dict[str, bytes] = {}
    sha256, finite = hashlib.sha256, math.isfinite
    rows: list[Row] = []
    try:
        for event in events:
            user, event_id, item, value = event.user, event.id, event.item, event.value
            person = people.get(user)
            if person is None:
                person = people[user] = sha256(_text(f"{tenant}\0{user}", 1)).digest()[:16]
            named = f"{tenant}\0{event_id}"
            if "\0" in event_id or "\0" in item or not item.isascii():
                _text(event_id), _text(item)
            if not finite(event.time) or (value is not None and not finite(value)):
                raise UserInputError(
                    f"Event {event_id!r} has the value {value} at time {event.time}: give finite numbers."
                )
            key = sha256(named.encode()).digest()[:16]
            rows.append((key, person, tenant, user, event_id, item, value, event.time))
    except UnicodeEncodeError as error:
        raise _not_text(error.object) from None
    return rows


def items_as_rows(items: Sequence[NewItem]) -> list[tuple[str, str]]:
    """Item ids with their fields as JSON."""
    return [(_checked(item.item), to_json(item.fields)) for item in items]


def rules_to_json(rules: Rules) -> str:
    return to_json({"pin": dict(rules.pin), "bury": list(rules.bury), "exploration": rules.exploration})


def rules_from_json(text: str | None) -> Rules:
    if text is None:
        return Rules()
    found = json.loads(text)
    return Rules(found["pin"], tuple(found["bury"]), found["exploration"])


def to_json(value: Mapping[str, Any]) -> str:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise UserInputError(f"This cannot be stored as JSON ({error}): {value!r}") from None


def _checked(text: str) -> str:
    _text(text)
    return text


def _text(text: str, nuls: int = 0) -> bytes:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise _not_text(text) from None
    if "\0" in text and text.count("\0") != nuls:
        raise _not_text(text)
    return encoded


def _not_text(text: str) -> UserInputError:
    return UserInputError(
        f"{text!r} is not text that can be stored: it holds a NUL or half a surrogate pair. Leave those out."
    )
