"""Every error the library raises on purpose.

AcclimateError
├── UserInputError            the caller can fix it (exit code 2, HTTP 4xx)
│   ├── DataError             a table: file, line or column, what was found, what to do
│   ├── ModelFileError        a model file that is torn, damaged or not one of ours
│   └── UnknownNameError      an unknown recommender, data set or protocol; carries suggestions
├── DownloadError             a data set could not be fetched from any of its sources
├── StoreError                the event store cannot be read or written now; nothing of the call was written
│   ├── ConflictError         an event id that was used for another event
│   └── OverloadedError       more is waiting to be written than can be; try again later
├── ServerError               a server cannot be reached, or its answer is a fault of its own
└── NotConvergedError         training diverged; carries the step and the last finite loss
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AcclimateError(Exception):
    """Base of every error that acclimate raises on purpose."""


class UserInputError(AcclimateError):
    """The caller can fix this: the message says what was wrong, what was found and what to do."""


class DataError(UserInputError):
    """A table that cannot be read as interactions or fields; names the file, line or column."""


class ModelFileError(UserInputError):
    """A model file that is torn, truncated, damaged or not one of ours."""


class UnknownNameError(UserInputError):
    """A name that nothing answers to; the message lists the nearest and all known names."""

    def __init__(self, kind: str, found: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(found, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {found!r}.{hint} Known: {', '.join(names)}.")


class DownloadError(AcclimateError):
    """None of a data set's sources could be reached, or what came back was not what was expected."""


class StoreError(AcclimateError):
    """The event store cannot be read or written now. Nothing of the call was written."""


class ConflictError(StoreError):
    """An event id was used before, for another event."""


class OverloadedError(StoreError):
    """More is waiting to be written than the store takes; the caller is to try again later."""


class ServerError(AcclimateError):
    """A server cannot be reached, or it answered with a fault of its own."""


class NotConvergedError(AcclimateError):
    """Training produced a loss that is not finite.

    Attributes:
        step: the optimiser step at which it happened.
        last_loss: the last finite loss before it, or None if there was none.
    """

    def __init__(self, step: int, last_loss: float | None) -> None:
        self.step = step
        self.last_loss = last_loss
        seen = "none finite before" if last_loss is None else f"the last finite loss was {last_loss:.4g}"
        super().__init__(
            f"Training diverged at step {step} ({seen}). Lower the outer or inner learning rate, "
            "or check the data for extreme values with `acclimate doctor`."
        )
