"""Values: what the value of an event has to be, by what the model learned from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from acclimate.model import Model
from acclimate.serving.problems import RequestError
from acclimate.serving.service.checks import number
from acclimate.serving.service.limits import STRONGEST


@dataclass(frozen=True, slots=True)
class Values:
    """The rule of one model.

    Attributes:
        ratings: whether the model's data holds ratings, ``low`` to ``high``; otherwise strengths above 0.
        needed: whether an event without a value says nothing: it predicts ratings from ratings.
    """

    ratings: bool
    needed: bool
    low: float
    high: float

    @classmethod
    def of(cls, model: Model) -> Values:
        low, high = model.data.value_range
        return cls(model.data.explicit, model.data.explicit and not model.takes_choices, low, high)

    def check(self, value: object, field: str) -> float | None:
        """The value of an event.

        Raises:
            RequestError: missing where one is needed, no finite number, or out of range.
        """
        if value is None:
            if self.needed:
                raise RequestError(
                    "invalid_input",
                    f"The event has no value, and this model learned from ratings of {self.low:g} to "
                    f"{self.high:g}. Give one.",
                    field=field,
                )
            return None
        x = number(value, field, "value of an event")
        if self.ratings and not self.low <= x <= self.high:
            raise RequestError(
                "invalid_input",
                f"The rating {x:g} is outside this model's range, {self.low:g} to {self.high:g}.",
                field=field,
            )
        if not self.ratings and not 0 < x <= STRONGEST:
            raise RequestError(
                "invalid_input",
                f"The strength {x:g} is not above 0 and at most {STRONGEST:g}. "
                "Leave out what did not happen.",
                field=field,
            )
        return x

    def counted(self, value: float | None) -> float | None:
        """What a stored value says to this model; None if nothing: it was stored under another one."""
        if value is None:
            return None if self.needed else self.low if self.ratings else 1.0
        if not math.isfinite(value):
            return None
        inside = self.low <= value <= self.high if self.ratings else 0 < value <= STRONGEST
        return value if inside else None
