"""Rankings: from rows and scores to what a caller is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acclimate.serving.retrieval.plain import best
from acclimate.serving.service.answers import Ranked, Ranking
from acclimate.serving.service.branch import Branch
from acclimate.serving.service.checks import listed
from acclimate.serving.service.diversity import diversified
from acclimate.serving.service.engine import Engine
from acclimate.serving.service.limits import MOST_ITEMS
from acclimate.serving.service.listing import Listed, Reason
from acclimate.serving.service.people.person import Person
from acclimate.serving.service.scenes import Scene
from acclimate.serving.service.strategies import DEFAULT

Item = str | int


def left_out(branch: Branch, exclude: Sequence[Item], bury: Sequence[Item]) -> NDArray[np.int64]:
    """Rows that a list must not hold."""
    if not exclude and not bury:
        return branch.buried
    catalogue = branch.catalogue
    out = catalogue.rows(listed(exclude, "exclude", MOST_ITEMS), "exclude", known=False)
    buried = catalogue.rows(listed(bury, "bury", MOST_ITEMS), "bury", known=False)
    return np.concatenate([branch.buried, np.array([*out, *buried], dtype=np.int64)])


def others(branch: Branch, pin: Mapping[Item, int]) -> dict[int, int]:
    """The tenant's pins whose ranks a request leaves to them."""
    taken = set(pin.values()) if isinstance(pin, Mapping) else set()
    return {row: rank for row, rank in branch.pins.items() if rank not in taken}


def ordered(
    branch: Branch,
    engine: Engine,
    person: Person,
    rows: NDArray[np.int64],
    n: int,
    diversity: float,
    pins: Mapping[int, int],
) -> Listed:
    """Given items, n of them, in order."""
    notes: list[str] = []
    order, scores = best(np.sort(rows), engine.scores(person, np.sort(rows)), len(rows))
    inside = {row: rank for row, rank in pins.items() if rank <= n and row in set(order.tolist())}
    free = ~np.isin(order, list(inside))
    of = dict(zip(order.tolist(), scores.tolist(), strict=True))
    own, theirs = order[free], scores[free]
    if diversity > 0 and len(own) > 1:
        units = branch.units(own)
        if units is None:
            notes.append("diversity is not known: this model has no item vectors and no labels of items")
        else:
            chosen = diversified(theirs, units, n, diversity)
            own = own[chosen]
    listed_: list[int] = own.tolist()[: n - len(inside)]
    why: dict[int, Reason] = {}
    for row, rank in sorted(inside.items(), key=lambda one: one[1]):
        listed_.insert(rank - 1, row)
        why[row] = "pinned"
    return Listed(listed_, [of[row] for row in listed_], why, True, notes)


def ranking(scene: Scene, engine: Engine, found: Listed, deviation: bool) -> Ranking:
    catalogue, deployment = scene.branch.catalogue, scene.deployment
    model = deployment.model
    ratings = model.predicts_ratings and engine.name == DEFAULT
    low, high = model.data.value_range
    degraded = (*scene.degraded, *found.notes) if found.notes else scene.degraded
    spread: list[float] | None = None
    if deviation:
        if engine.uncertain:
            spread = engine.deviations(scene.person, np.array(found.rows, dtype=np.int64)).tolist()
        else:
            degraded = (*degraded, "this model does not know how unsure it is")
    item, title, why = catalogue.item, catalogue.title, found.reasons
    items = []
    for i, (row, score) in enumerate(zip(found.rows, found.scores, strict=True)):
        clipped = min(max(score, low), high) if ratings else score
        items.append(
            Ranked(
                item(row),
                title(row),
                float("%.7g" % clipped),  # noqa: UP031 - a third of the time of a format call
                i + 1,
                None if spread is None else float(f"{spread[i]:.7g}"),
                why.get(row),
            )
        )
    return Ranking(
        items=tuple(items),
        model=deployment.sha256,
        scale="rating" if ratings else "rank",
        strategy=engine.name,
        events=len(scene.person),
        exact=found.exact,
        degraded=degraded,
    )


def written(x: Any) -> Any:
    """A number as answers hold it: the seven digits that single precision knows."""
    return None if x is None else float(f"{x:.7g}")
