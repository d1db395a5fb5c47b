"""What is wrong with a request, in words for people and a code for programs."""

from __future__ import annotations

from typing import Literal

from acclimate.errors import UserInputError

Code = Literal[
    "invalid_input",  # a field of the request is wrong; `field` names it
    "unknown_item",
    "unknown_event",
    "unknown_field",
    "unknown_strategy",
    "too_many",  # more items, events or ids than one request may hold
    "not_supported",  # this model cannot do that
]


class RequestError(UserInputError):
    """A request that its sender can mend.

    Attributes:
        code: what is wrong, for programs. field: where in the request, as a path such as ``events.2.item``.
    """

    def __init__(self, code: Code, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.code, self.field = code, field
