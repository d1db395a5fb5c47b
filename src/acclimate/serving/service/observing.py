"""Observing: what somebody did, as a request says it, made into events."""

from __future__ import annotations

import math
import time as clock
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from acclimate.serving.events import Event
from acclimate.serving.problems import RequestError
from acclimate.serving.service.catalogue.catalogue import Catalogue
from acclimate.serving.service.checks import LATEST, listed, shown, text_id, time
from acclimate.serving.service.limits import LONGEST_ID, MOST_EVENTS, MOST_GIVEN, STRONGEST
from acclimate.serving.service.values import Values
from acclimate.serving.service.whom import somebody

UnknownItems = Literal["error", "store"]


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that somebody did, as a caller says it.

    Attributes:
        item: id, or title. user, session: who; one of them. value: a rating or a strength.
        id: the caller's name for this event; saying it again changes nothing. None for a new one.
        time: seconds since epoch; None for now.
    """

    item: Any
    user: Any = None
    session: Any = None
    value: Any = None
    id: Any = None
    time: Any = None


@dataclass(frozen=True, slots=True)
class Given:
    """An event that a request brings along, unstored: the row of its item, and its value."""

    row: int
    value: float | None
    time: float | None


_KEYS = frozenset(Observation.__dataclass_fields__)
_GIVEN_KEYS = frozenset(("item", "value", "time"))


def observed(
    given: object, catalogue: Catalogue, values: Values, unknown_items: object
) -> tuple[list[Event], list[bool]]:
    """The events to store, and whether the catalogue holds the item of each.

    Raises:
        RequestError: the first thing that is wrong, with its place, such as ``events.2.item``.
    """
    if unknown_items not in ("error", "store"):
        raise RequestError(
            "invalid_input",
            f"unknown_items is 'error' or 'store'; found {shown(unknown_items)}.",
            field="unknown_items",
        )
    events: list[Event] = []
    known: list[bool] = []
    now = clock.time()
    plain = _plain(catalogue, values, now)
    for i, one in enumerate(listed(given, "events", MOST_EVENTS)):
        event = plain(one)
        if event is not None:
            events.append(event)
            known.append(True)
            continue
        place = f"events.{i}"
        said = one if isinstance(one, Observation) else _observation(one, place)
        try:
            person = somebody(said.user, said.session)
        except RequestError as error:
            raise RequestError(error.code, str(error), field=f"{place}.{error.field}") from None
        if said.item is None:
            raise RequestError("invalid_input", "The event has no item.", field=f"{place}.item")
        row = catalogue.look(said.item, f"{place}.item")
        if row >= 0:
            item = catalogue.text(row)
        elif unknown_items == "store":
            item = text_id(said.item, f"{place}.item", "item")
        else:
            raise RequestError(
                "unknown_item",
                catalogue.unknown(said.item) + ' Or add the item first, or say unknown_items="store".',
                field=f"{place}.item",
            )
        events.append(
            Event(
                id=uuid.uuid4().hex if said.id is None else text_id(said.id, f"{place}.id", "event's id"),
                user=person.key,
                item=item,
                value=values.check(said.value, f"{place}.value"),
                time=now if said.time is None else time(said.time, f"{place}.time"),
            )
        )
        known.append(row >= 0)
    return events, known


def _plain(catalogue: Catalogue, values: Values, now: float) -> Callable[[object], Event | None]:
    """What makes an event of a dict in which everything is as plain as can be; None for every other.

    Nearly all events of a large batch are such, and reading them so takes a fifth of the time. What is
    refused here is not wrong: it is looked at closely by :func:`observed`.
    """
    rows, keys, longest, needed = catalogue.known.rows, _KEYS, LONGEST_ID, values.needed
    low, high = (values.low, values.high) if values.ratings else (math.ulp(0.0), STRONGEST)
    numbers = (int, float)

    def event(one: object) -> Event | None:  # noqa: PLR0911 - each refusal is a line
        if type(one) is not dict or not one.keys() <= keys:
            return None
        get = one.get
        user, item, value, name, when = get("user"), get("item"), get("value"), get("id"), get("time")
        if type(item) is int:
            item = str(item) if 0 <= item < 2**63 else None
        if type(user) is not str or get("session") is not None or type(item) is not str or item not in rows:
            return None
        if not user or len(user) > longest or not user.isascii() or not user.isprintable():
            return None
        if name is None:
            name = uuid.uuid4().hex
        elif (
            type(name) is not str
            or not name
            or len(name) > longest
            or not name.isascii()
            or not name.isprintable()
        ):
            return None
        if value is None:
            if needed:
                return None
        elif type(value) not in numbers or not low <= value <= high:
            return None
        else:
            value = float(value)
        if when is None:
            when = now
        elif type(when) not in numbers or not 0 <= when <= LATEST:
            return None
        return Event(name, "u:" + user, item, value, float(when))

    return event


def brought(given: object, catalogue: Catalogue, values: Values) -> Sequence[Given]:
    """The events that a request brings along.

    Raises:
        RequestError: the first thing that is wrong, with its place.
    """
    out = []
    for i, one in enumerate(listed(given, "events", MOST_GIVEN)):
        place = f"events.{i}"
        if not isinstance(one, Mapping):
            raise RequestError(
                "invalid_input",
                f"An event is {{'item': ..., 'value': ...}}; found {shown(one)}.",
                field=place,
            )
        _need_keys(one, _GIVEN_KEYS, place)
        if one.get("item") is None:
            raise RequestError("invalid_input", "The event has no item.", field=f"{place}.item")
        when = one.get("time")
        out.append(
            Given(
                row=catalogue.find(one["item"], f"{place}.item"),
                value=values.check(one.get("value"), f"{place}.value"),
                time=None if when is None else time(when, f"{place}.time"),
            )
        )
    return out


def _observation(one: object, place: str) -> Observation:
    if not isinstance(one, Mapping):
        raise RequestError(
            "invalid_input",
            f"An event is {{'user': ..., 'item': ..., 'value': ...}}; found {shown(one)}.",
            field=place,
        )
    _need_keys(one, _KEYS, place)
    return Observation(
        one.get("item"), one.get("user"), one.get("session"), one.get("value"), one.get("id"), one.get("time")
    )


def _need_keys(one: Mapping[Any, Any], allowed: frozenset[str], place: str) -> None:
    if not one.keys() <= allowed:
        strange = next(key for key in one if key not in allowed)
        raise RequestError(
            "invalid_input",
            f"An event has no {shown(strange)}; it has {', '.join(sorted(allowed))}.",
            field=f"{place}.{str(strange)[:60]}",
        )
