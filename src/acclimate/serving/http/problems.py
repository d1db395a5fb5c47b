"""From what went wrong to a status, a code for programs and words for people."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, to_json

from acclimate.errors import AcclimateError, ConflictError, OverloadedError, StoreError, UserInputError
from acclimate.serving.problems import RequestError

CODES: dict[int, tuple[str, ...]] = {
    401: ("unauthenticated",),
    403: ("forbidden",),
    404: ("not_found", "unknown_event"),
    405: ("method_not_allowed",),
    409: ("conflict",),
    413: ("too_large",),
    415: ("unsupported_media_type",),
    422: (
        "invalid_input",
        "invalid_json",
        "unknown_item",
        "unknown_field",
        "unknown_strategy",
        "too_many",
        "not_supported",
    ),
    429: ("rate_limited",),
    500: ("internal",),
    503: ("overloaded", "store_unavailable", "not_ready", "timeout"),
}
"""Every code, by status."""


_MEANS: dict[type[AcclimateError], tuple[int, str, float | None]] = {
    UserInputError: (422, "invalid_input", None),
    ConflictError: (409, "conflict", None),
    OverloadedError: (503, "overloaded", 1),
    StoreError: (503, "store_unavailable", 2),
    AcclimateError: (503, "not_ready", 5),
}
"""The first that fits is meant."""


class Problem(Exception):  # noqa: N818 - it is also what is answered
    """A request that is answered with an error.

    Attributes:
        status: of HTTP. code: for programs. message: for people. field: where in the request.
        retry_after: seconds after which to try again. headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.retry_after = retry_after
        self.headers = tuple(headers)

    def body(self) -> bytes:
        """``{"error": {"code", "message", "field"}}``."""
        error: dict[str, Any] = {"code": self.code, "message": _readable(self.message)}
        if self.field is not None:
            error["field"] = _readable(self.field)
        return to_json({"error": error})


def problem_of(error: BaseException, known: Iterable[str] = ()) -> Problem | None:
    """What an exception means to whoever asked; None if it is a fault of ours.

    Args:
        known: names that the request's body may hold.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, ValidationError):
        return _invalid(error, known)
    if isinstance(error, RequestError):
        status = 404 if error.code == "unknown_event" else 422
        return Problem(status, error.code, str(error), field=error.field)
    for kind, (status, code, wait) in _MEANS.items():
        if isinstance(error, kind):
            return Problem(status, code, str(error), retry_after=wait)
    return None


def _invalid(error: ValidationError, known: Iterable[str]) -> Problem:
    found: list[ErrorDetails] = error.errors(include_url=False, include_input=False)
    first = found[0]
    where = ".".join(str(part) for part in first["loc"])
    kind, said = first["type"], first["msg"]
    if kind == "json_invalid":
        return Problem(422, "invalid_json", f"The body is no JSON: {said.removeprefix('Invalid JSON: ')}.")
    if kind == "extra_forbidden":
        name = str(first["loc"][-1])[:80]
        names = sorted(known) if len(first["loc"]) == 1 else []
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        more = f"{hint} Known: {', '.join(names)}." if names else ""
        return Problem(422, "invalid_input", f"There is no {where[:80]!r} here.{more}", field=where)
    if kind == "missing":
        return Problem(422, "invalid_input", f"{where!r} is missing.", field=where)
    code = "too_many" if kind in ("too_long", "string_too_long") else "invalid_input"
    more = f" And {len(found) - 1} more." if len(found) > 1 else ""
    place = where or "The body"
    return Problem(422, code, f"{place}: {said[:1].lower()}{said[1:]}.{more}", field=where or None)


def _readable(text: str) -> str:
    """Text that can be sent, never long: halves of characters become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")[:1000]
