"""Whether a value of a request is what it has to be; if not, an error that names its place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from acclimate.serving.problems import RequestError
from acclimate.serving.service.limits import LONGEST_ID, LONGEST_TEXT

LATEST = 1e11
"""Seconds since epoch beyond which a time is surely milliseconds: the year 5138."""


def shown(value: object) -> str:
    """A value for a message, never long."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number, Python's or NumPy's; a truth value is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def text_id(value: object, field: str, what: str = "id") -> str:
    """An id, text or a whole number, as text.

    Raises:
        RequestError: of another type, empty, too long, or with characters that no store can keep.
    """
    if isinstance(value, str):
        text = value
    elif _is_whole(value) and int(value).bit_length() <= 4 * LONGEST_ID:
        text = str(int(value))
    else:
        raise RequestError(
            "invalid_input", f"The {what} is text or a whole number; found {shown(value)}.", field=field
        )
    if not text:
        raise RequestError("invalid_input", f"The {what} is empty.", field=field)
    if len(text) > LONGEST_ID:
        raise RequestError(
            "invalid_input",
            f"The {what} has {len(text)} characters; {LONGEST_ID} are allowed.",
            field=field,
        )
    if not text.isprintable() and any(c < " " or "\ud800" <= c <= "\udfff" or c == "\x7f" for c in text):
        raise RequestError(
            "invalid_input",
            f"The {what} {shown(value)} holds control characters or halves of characters.",
            field=field,
        )
    return text


def number(value: object, field: str, what: str) -> float:
    """A finite number.

    Raises:
        RequestError: text, a truth value, NaN, infinite, or too large.
    """
    if _is_whole(value) or isinstance(value, float | np.floating):
        try:
            out = float(value)
        except OverflowError:
            out = math.inf
        if math.isfinite(out):
            return out
    raise RequestError("invalid_input", f"The {what} is a finite number; found {shown(value)}.", field=field)


def time(value: object, field: str) -> float:
    """Seconds since epoch."""
    out = number(value, field, "time, in seconds since 1970,")
    if abs(out) > LATEST:
        raise RequestError(
            "invalid_input",
            f"The time {out:.0f} looks like milliseconds; divide by 1000 to get seconds since 1970.",
            field=field,
        )
    return out


def whole(value: object, field: str, lowest: int, highest: int) -> int:
    """A whole number from ``lowest`` to ``highest``.

    Raises:
        RequestError: it is not; with the code ``too_many`` where it is too large.
    """
    if not _is_whole(value) or value < lowest:
        raise RequestError(
            "invalid_input",
            f"{field} is a whole number from {lowest} to {highest}; found {shown(value)}.",
            field=field,
        )
    if value > highest:
        raise RequestError("too_many", f"{field} goes up to {highest}; found {shown(value)}.", field=field)
    return int(value)


def share(value: object, field: str, highest: float) -> float:
    """A number from 0 to ``highest``."""
    out = number(value, field, f"value of {field}")
    if not 0 <= out <= highest:
        raise RequestError(
            "invalid_input", f"{field} goes from 0 to {highest:g}; found {out:g}.", field=field
        )
    return out


def truth(value: object, field: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise RequestError("invalid_input", f"{field} is true or false; found {shown(value)}.", field=field)
    return value


def listed(value: object, field: str, most: int) -> Sequence[Any]:
    """A list of at most ``most`` things.

    Raises:
        RequestError: it is none, or longer.
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise RequestError("invalid_input", f"{field} is a list; found {shown(value)}.", field=field)
    out = value if isinstance(value, list | tuple) else list(value)
    if len(out) > most:
        raise RequestError("too_many", f"{field} holds {len(out)}; at most {most} are allowed.", field=field)
    return out


def mapped(value: object, field: str, most: int) -> Mapping[Any, Any]:
    """A mapping of at most ``most`` keys."""
    if not isinstance(value, Mapping):
        raise RequestError(
            "invalid_input", f"{field} is an object with names and values; found {shown(value)}.", field=field
        )
    if len(value) > most:
        raise RequestError(
            "too_many", f"{field} holds {len(value)}; at most {most} are allowed.", field=field
        )
    return value


def text(value: object, field: str) -> str:
    """Text, not too long, without halves of characters."""
    if not isinstance(value, str):
        raise RequestError("invalid_input", f"{field} is text; found {shown(value)}.", field=field)
    if len(value) > LONGEST_TEXT:
        raise RequestError(
            "too_many", f"{field} has {len(value)} characters; {LONGEST_TEXT} are allowed.", field=field
        )
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise RequestError(
            "invalid_input", f"{field} holds characters that cannot be kept: {shown(value)}.", field=field
        )
    return value
