"""Reasons: why an item scores what it scores for one person."""

from __future__ import annotations

from acclimate.serving.service.answers import Part, Reasons
from acclimate.serving.service.branch import Branch
from acclimate.serving.service.people.person import Person


def reasons(branch: Branch, person: Person, row: int, model: str, degraded: tuple[str, ...]) -> Reasons:
    """The prior, what each event adds, what no event accounts for, and their sum."""
    catalogue, engine = branch.catalogue, branch.engine
    found = engine.reasons(person, row)
    added = found.added.tolist()
    parts = [Part("prior", found.prior)]
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
    parts += [Part("rest", found.total - found.prior - sum(added)), Part("total", found.total)]
    return Reasons(
        item=catalogue.item(row),
        title=catalogue.title(row),
        parts=tuple(parts),
        method=found.method,
        model=model,
        degraded=degraded,
    )
