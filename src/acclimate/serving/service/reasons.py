"""Reasons: why an item scores what it scores for one person."""

from __future__ import annotations

import torch

from acclimate.explain import explain
from acclimate.serving.service.answers import Part, Reasons
from acclimate.serving.service.branch import Branch
from acclimate.serving.service.people.person import Person


def reasons(branch: Branch, person: Person, row: int, model: str, degraded: tuple[str, ...]) -> Reasons:
    """The prior, what each event adds, what no event accounts for, and their sum."""
    catalogue, engine = branch.catalogue, branch.engine
    items = catalogue.items(torch.tensor([row]))
    with torch.no_grad():
        found = explain(engine.recommender, engine.feedback(person), items)
    prior, total = float(found.prior[0, 0]), float(found.total[0, 0])
    added = found.contributions[0, 0].tolist()
    parts = [Part("prior", prior)]
    for i, (at, value) in enumerate(zip(person.rows.tolist(), person.values.tolist(), strict=True)):
        parts.append(
            Part(
                "event",
                added[i],
                item=catalogue.item(at),
                title=catalogue.title(at),
                value=None if engine.takes_choices else round(value, 6),
                event=person.ids[i],
            )
        )
    parts += [Part("rest", total - prior - sum(added)), Part("total", total)]
    return Reasons(
        item=catalogue.item(row),
        title=catalogue.title(row),
        parts=tuple(parts),
        method=found.method,
        model=model,
        degraded=degraded,
    )
