"""The State of a recommender made of others: each part's names, prefixed."""

from __future__ import annotations

from acclimate.tensors import State


def inside(part: str, state: State) -> State:
    """A part's State as it stands in the whole's."""
    return {f"{part}.{name}": value for name, value in state.items()}


def outside(part: str, state: State) -> State:
    """The State of a part, taken out of the whole's."""
    prefix = f"{part}."
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
