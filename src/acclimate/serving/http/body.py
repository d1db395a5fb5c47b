"""Bodies: received up to a limit, and read strictly."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from pydantic import TypeAdapter

from acclimate.serving.http.problems import Problem

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_CLOSE = ((b"connection", b"close"),)
_DRAINED = 8_000_000
"""Bytes beyond the limit that are read and dropped, so that whoever sends them lives to read the answer."""


class HungUpError(Exception):
    """Whoever asked has hung up."""


async def receive_body(receive: Receive, announced: int | None, most: int) -> bytes:
    """The body of a request.

    Args:
        announced: its ``Content-Length``. most: bytes it may have.

    Raises:
        Problem: it is larger. HungUpError: the connection ended before it did.
    """
    message = await receive()
    if message["type"] == "http.disconnect":
        raise HungUpError
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise HungUpError
            part = message.get("body", b"")
            size += len(part)
            if size <= most:
                parts.append(part)
            elif size > most + _DRAINED:
                break
        if size > most:
            raise too_large(most)
        body = b"".join(parts)
    if len(body) > most or (announced or 0) > most:
        raise too_large(most)
    return body


def too_large(most: int) -> Problem:
    """What is answered to a body over the limit."""
    return Problem(
        413, "too_large", f"A request has at most {most:,} bytes. Send several smaller ones.", headers=_CLOSE
    )


def read_json(adapter: TypeAdapter[Any], body: bytes) -> Any:
    """A body as what its schema says.

    Names that an object holds twice are refused: readers differ in which one counts.

    Raises:
        ValidationError: no JSON, or not as the schema says. Problem: a name twice.
    """
    value = adapter.validate_json(body)
    # Every name has its colon. If there are no more colons than names were kept, none was dropped; only
    # a body with colons in its texts needs a second look.
    if body.count(b":") != _names(value):
        json.loads(body, object_pairs_hook=_once)
    return value


def _names(value: Any) -> int:
    """How many names the objects in a value have."""
    if type(value) is dict:
        total = len(value)
        for one in value.values():
            if type(one) is dict or type(one) is list:
                total += _names(one)
        return total
    if type(value) is list:
        return sum([_names(one) for one in value if type(one) is dict or type(one) is list])
    return 0


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, value in pairs:
        if name in out:
            raise Problem(
                422, "invalid_json", f"The body names {name[:80]!r} twice in one object.", field=name[:80]
            )
        out[name] = value
    return out
