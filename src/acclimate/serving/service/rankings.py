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
from acclimate.serving.service.diversity import POOL, diversified
from acclimate.serving.service.engine import Engine
from acclimate.serving.service.limits import MOST_ITEMS, MOST_K
from acclimate.serving.service.listing import Listed, Reason
from acclimate.serving.service.people.person import Person
from acclimate.serving.service.rules import read_pins
from acclimate.serving.service.scenes import Scene
from acclimate.serving.service.strategies import DEFAULT

Item = str | int


def left_out(branch: Branch, exclude: Sequence[Item], bury: Sequence[Item]) -> NDArray[np.int64]:
    """Rows that a list must not hold."""
    rows = [
        row
        for given, field in ((exclude, "exclude"), (bury, "bury"))
        for row in branch.catalogue.rows(listed(given, field, MOST_ITEMS), field, known=False)
    ]
    return np.concatenate([branch.buried, np.array(rows, dtype=np.int64)]) if rows else branch.buried


def pinned(branch: Branch, pin: Mapping[Item, int] | None) -> Mapping[int, int]:
    """The pins of a request, and those of the tenant whose items and ranks it leaves alone; row -> rank."""
    if pin is None:
        return branch.pins
    own = read_pins(pin, branch.catalogue, "pin")
    taken = set(own.values())
    return {row: rank for row, rank in branch.pins.items() if rank not in taken} | own


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
    of = dict(zip(order.tolist(), scores.tolist(), strict=True))
    inside = {row: rank for row, rank in pins.items() if rank <= n and row in of}
    free = ~np.isin(order, list(inside))
    own, theirs = order[free], scores[free]
    if diversity > 0 and len(own) > 1:
        pool = own[: min(POOL * n, MOST_K)]  # as in a list of the best
        units = branch.units(pool)
        if units is None:
            notes.append("diversity is not known: this model has no item vectors and no labels of items")
        else:
            chosen = diversified(theirs[: len(pool)], units, n, diversity)
            own = np.concatenate([pool[chosen], own[len(pool) :]])
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
