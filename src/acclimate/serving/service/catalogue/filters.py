"""Filters: which items of a catalogue a request allows, by their fields."""

from __future__ import annotations

import difflib
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from acclimate.data import FeatureTable, Field
from acclimate.serving.problems import RequestError
from acclimate.serving.service.catalogue.fields import Told, label, labels_of, named, seconds
from acclimate.serving.service.checks import mapped, number, shown
from acclimate.serving.service.limits import MOST_VALUES

_KEPT = 64
"""Masks that are remembered."""

Mask = NDArray[np.bool_]


class Filters:
    """Masks [n_items] of one catalogue; those asked for last are kept.

    Args:
        table: fields of the model's items. own: of the items that were added or changed, at the rows
            ``changed``; ``said`` is what was told about each.
    """

    def __init__(
        self,
        table: FeatureTable,
        own: FeatureTable | None,
        changed: NDArray[np.int64],
        said: Sequence[Mapping[str, Told]],
        n_items: int,
    ) -> None:
        self._table, self._own, self._changed, self._said, self._n = table, own, changed, said, n_items
        self._kept: OrderedDict[object, Mask] = OrderedDict()
        self._lock = threading.Lock()

    def mask(self, given: object, field: str = "filter") -> Mask:
        """Which items satisfy every field of ``given``.

        Args:
            given: field -> a value, a list of values (any of them), or ``{"min": x, "max": y}``, both
                included, of which one may be missing. A field that an item lacks is not satisfied.

        Raises:
            RequestError: an unknown field, or a condition that does not fit the kind of the field.
        """
        conditions = mapped(given, field, 64)
        whole = np.ones(self._n, dtype=np.bool_)
        for name, wanted in conditions.items():
            place = f"{field}.{name}"
            spec = named(self._table.schema, name, place)
            number_like = spec.kind in ("numeric", "time")
            condition = _range(spec, wanted, place) if number_like else _labels(spec, wanted, place)
            whole = whole & self._one(spec, condition, place)
        return whole

    def _one(self, spec: Field, condition: object, place: str) -> Mask:
        key = (spec.name, condition)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = (
            self._numbers(spec, condition)
            if isinstance(condition, tuple)
            else self._labelled(spec, condition, place)
        )
        found.flags.writeable = False
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def _numbers(self, spec: Field, condition: tuple[object, ...]) -> Mask:
        # Compared as they are kept: rounding is monotonic, so a bound that an item equals is satisfied.
        def kept(x: object) -> np.float32:
            with np.errstate(over="ignore"):
                return np.float32((float(x) - spec.mean) / spec.std)  # type: ignore[arg-type]

        out = np.zeros(self._n, dtype=np.bool_)
        for table, rows in ((self._table, slice(0, len(self._table))), (self._own, self._changed)):
            if table is None:
                continue
            x = table.columns[spec.name].numpy()
            if condition[0] == "any":
                out[rows] = np.isin(x, np.array([kept(one) for one in condition[1:]], dtype=np.float32))
            else:
                low, high = condition[1:]
                inside = ~np.isnan(x)
                if low is not None:
                    inside &= x >= kept(low)
                if high is not None:
                    inside &= x <= kept(high)
                out[rows] = inside
        return out

    def _labelled(self, spec: Field, condition: object, place: str) -> Mask:
        assert isinstance(condition, frozenset)
        out = np.zeros(self._n, dtype=np.bool_)
        n = len(self._table)
        if spec.kind == "text":
            out[:n] = [text in condition for text in self._table.texts[spec.name]]
        else:
            codes = [i + 1 for i, value in enumerate(spec.values) if value in condition]
            hit = np.isin(self._table.columns[spec.name].numpy(), codes)
            out[:n] = hit if hit.ndim == 1 else hit.any(1)
        said = [frozenset(labels_of(fields.get(spec.name))) for fields in self._said]
        out[self._changed] = [not condition.isdisjoint(labels) for labels in said]
        if spec.kind != "text":
            self._need_known(spec, condition, frozenset().union(*said), place)
        return out

    def _need_known(self, spec: Field, wanted: frozenset[str], own: frozenset[str], place: str) -> None:
        strange = sorted(wanted - own - set(spec.values))
        if strange:
            values = sorted({*spec.values, *own})
            near = difflib.get_close_matches(strange[0], values[:5000], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            example = ", ".join(repr(value) for value in values[:5])
            raise RequestError(
                "invalid_input",
                f"No item has {spec.name} {shown(strange[0])}.{hint} It holds labels such as {example}.",
                field=place,
            )


def _labels(spec: Field, wanted: object, place: str) -> frozenset[str]:
    if isinstance(wanted, Mapping):
        raise RequestError(
            "invalid_input",
            f"{spec.name!r} holds labels, which have no min and max; name a label or a list of labels.",
            field=place,
        )
    return frozenset(label(one, place) for one in _listed(wanted, place))


def _range(spec: Field, wanted: object, place: str) -> tuple[object, ...]:
    def read(value: object, at: str) -> float:
        return seconds(value, at) if spec.kind == "time" else number(value, at, f"value of {spec.name!r}")

    if not isinstance(wanted, Mapping):
        return ("any", *sorted({read(one, place) for one in _listed(wanted, place)}))
    strange = [str(key) for key in wanted if key not in ("min", "max")]
    if strange or not wanted:
        found = f"; found {shown(strange[0])}" if strange else ""
        raise RequestError("invalid_input", f"A range has min, max or both{found}.", field=place)
    low, high = (
        None if wanted.get(end) is None else read(wanted[end], f"{place}.{end}") for end in ("min", "max")
    )
    if low is not None and high is not None and low > high:
        raise RequestError("invalid_input", f"min is {low:g}, above max, {high:g}.", field=place)
    return ("range", low, high)


def _listed(wanted: object, place: str) -> Sequence[object]:
    values = list(wanted) if isinstance(wanted, Collection) and not isinstance(wanted, str) else [wanted]
    if not values:
        raise RequestError("invalid_input", "The list is empty; no item could satisfy it.", field=place)
    if len(values) > MOST_VALUES:
        raise RequestError(
            "too_many", f"{place} holds {len(values)}; at most {MOST_VALUES} are allowed.", field=place
        )
    return values
