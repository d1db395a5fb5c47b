"""How much one request may hold."""

from __future__ import annotations

from typing import Final

MOST_EVENTS: Final = 1000
"""Events that one call observes."""

MOST_GIVEN: Final = 500
"""Events that a request brings along, unstored."""

MOST_K: Final = 1000
"""Items of a list."""

MOST_ITEMS: Final = 10_000
"""Items that a request names: to rank, to exclude, to bury, to pin, to add."""

MOST_VALUES: Final = 1000
"""Values that a filter names for one field."""

LONGEST_ID: Final = 256
"""Characters of an id of an item, a person or an event."""

LONGEST_TEXT: Final = 2000
"""Characters of a field of an item or a person, and of what is searched for."""

STRONGEST: Final = 1e9
"""The greatest strength of an implicit event: its square is still far from what float32 can hold."""

NEWEST: Final = 500
"""Events that a state is derived from: the newest of them."""

REMEMBERED: Final = 2000
"""Stored events of one person that are read, the newest: what they are about counts as seen."""
