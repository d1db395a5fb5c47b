"""An engine: a recommender over a catalogue, ready to answer for one person at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acclimate.data import Dataset, Feedback, Items
from acclimate.explain import Method, explain
from acclimate.model.model import best as highest
from acclimate.models.base import Recommender, Retrieval, Tabular, Uncertain
from acclimate.models.closed_form import ClosedForm
from acclimate.serving.retrieval.base import Found, Scan
from acclimate.serving.retrieval.exact import ExactScan
from acclimate.serving.retrieval.plain import best, float64_scores
from acclimate.serving.service.catalogue.catalogue import Catalogue
from acclimate.serving.service.people.person import Person
from acclimate.serving.service.people.tastes import Taste, Tastes

_BLOCK = 65_536
"""Items that a recommender without vectors scores at once."""

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]
_NONE: Rows = np.zeros(0, dtype=np.int64)
_NO_VALUES = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Terms:
    """A score taken apart: without any event, what each event adds [S], and with all of them."""

    prior: float
    added: Scores
    total: float
    method: Method


class Engine:
    """Safe for several threads.

    Attributes:
        name: of the strategy it serves. recommender: what it asks.
        scan: over the model's items; None without ``Retrieval``.
        vectors: [n_known, D] float32 of the model's items; None without ``Retrieval``.
    """

    def __init__(
        self,
        name: str,
        recommender: Recommender,
        data: Dataset,
        catalogue: Catalogue,
        *,
        like: Engine | None = None,
        scanned: Callable[[Engine, Catalogue], Scan] | None = None,
    ) -> None:
        """
        Args:
            data: what the recommender's model knows of users and of kinds of values.
            like: an engine of the same recommender over the model's own catalogue; what it prepared is used.
            scanned: makes the scan of this engine's vectors; None for the exact one.
        """
        self.name = name
        self.recommender = recommender
        self._data = data
        self._catalogue = catalogue
        self._choices = recommender.scale == "rank" and data.explicit
        self._nobody = data.users.gather(torch.full((1,), -1))
        self._prior_means: dict[int, NDArray[np.float64]] = {}
        self._tastes: Tastes = Tastes(name) if like is None else like._tastes
        self.scan: Scan | None = None
        self.vectors: NDArray[np.float32] | None = None
        self._closed: ClosedForm | None = None
        if like is not None:
            self.scan, self.vectors, self._closed = like.scan, like.vectors, like._closed
            self._prior_means = like._prior_means
        elif isinstance(recommender, Retrieval):
            everything = catalogue.items(torch.arange(catalogue.n_known))
            if isinstance(recommender, Tabular):
                self._closed = recommender.tabulate(everything)
                self.vectors = self._closed.vectors
            else:
                self.vectors = _vectors(recommender, everything)
        self._own: NDArray[np.float32] | None = None
        self._own_closed: ClosedForm | None = None
        self._position: Rows = _NONE
        self._replaced: Rows = _NONE
        if len(catalogue.changed) and isinstance(recommender, Retrieval):
            changed = catalogue.items(torch.from_numpy(catalogue.changed))
            if isinstance(recommender, Tabular):
                self._own_closed = recommender.tabulate(changed)
                self._own = self._own_closed.vectors
            else:
                self._own = _vectors(recommender, changed)
            self._position = np.full(catalogue.n_items, -1, dtype=np.int64)
            self._position[catalogue.changed] = np.arange(len(catalogue.changed))
            self._replaced = catalogue.changed[catalogue.changed < catalogue.n_known]
        if self.vectors is not None and self.scan is None:
            # Last: to measure a scan people are adapted to.
            self.scan = ExactScan.build(self.vectors) if scanned is None else scanned(self, catalogue)

    @property
    def uncertain(self) -> bool:
        """Whether it knows how unsure it is."""
        return isinstance(self.recommender, Uncertain)

    @property
    def takes_choices(self) -> bool:
        """Whether every event counts as a choice, whatever its value."""
        return self._choices

    @property
    def method(self) -> str:
        """How the best items are found, for people."""
        return "every item scored" if self.scan is None else self.scan.method

    def taste(self, person: Person) -> Taste:
        """What the recommender makes of a person; computed once for each."""
        found = self._tastes.get(person)
        if found is None:
            found = self._adapt(person)
            self._tastes.put(person, found)
        return found

    def top(self, person: Person, k: int, skip: Rows, allowed: NDArray[np.bool_] | None = None) -> Found:
        """The k best items of the catalogue.

        Args:
            skip: rows to leave out. allowed: [n_items], False leaves an item out.
        """
        vector = self.taste(person).vector
        if self.scan is None or vector is None:
            return self._scored(person, k, skip, allowed)
        if self._own is None:
            return self.scan.top(vector, k, skip=skip, allowed=allowed)
        n, changed = self._catalogue.n_known, self._catalogue.changed
        theirs = np.unique(np.concatenate([skip[skip < n], self._replaced]))
        found = self.scan.top(vector, k, skip=theirs, allowed=None if allowed is None else allowed[:n])
        free = ~np.isin(changed, skip)
        if allowed is not None:
            free &= allowed[changed]
        scores = float64_scores(self._own[free], vector)
        rows, scores = best(
            np.concatenate([found.rows, changed[free]]), np.concatenate([found.scores, scores]), k
        )
        return Found(rows, scores, found.exact)

    def scores(self, person: Person, rows: Rows) -> Scores:
        """Scores [n] of the items at the given rows."""
        taste = self.taste(person)
        if taste.vector is not None:
            return float64_scores(self.vectors_at(rows), taste.vector)
        parts = torch.split(torch.from_numpy(rows), _BLOCK) if len(rows) else ()
        return self._score(person, [self._catalogue.items(part) for part in parts])

    def deviations(self, person: Person, rows: Rows) -> Scores:
        """Standard deviations [n] of the scores; only where it is ``uncertain``."""
        recommender = self.recommender
        assert isinstance(recommender, Uncertain)
        if self._closed is not None:
            closed, at = self._tables(np.concatenate([person.rows, rows]))
            seen = at[: len(person.rows)]
            return closed.deviation(seen, self._told(person), at[len(person.rows) :]).astype(np.float64)
        taste = self.taste(person)
        state = taste.state
        assert state is not None
        with torch.no_grad():
            found = recommender.deviation(state, self._catalogue.items(torch.from_numpy(rows)))
        return found[0].numpy().astype(np.float64)

    def reasons(self, person: Person, row: int) -> Terms:
        """What the score of an item is made of."""
        if self._closed is None:
            items = self._catalogue.items(torch.tensor([row]))
            with torch.no_grad():
                found = explain(self.recommender, self.feedback(person), items)
            added = found.contributions[0, 0].double().numpy()
            return Terms(float(found.prior[0, 0]), added, float(found.total[0, 0]), found.method)
        closed, at = self._tables(np.append(person.rows, row))
        mean = self._prior_mean(person)
        seen, of = at[:-1], at[-1:]
        prior = float64_scores(closed.vectors[of], closed.vector(_NONE, _NO_VALUES, mean))
        added = closed.contributions(seen, self._told(person), of, mean)[0]
        total = self.scores(person, np.array([row]))
        return Terms(float(prior[0]), added, float(total[0]), "exact")

    def vectors_at(self, rows: Rows) -> NDArray[np.float32]:
        """Item vectors [n, D]; only with ``Retrieval``."""
        assert self.vectors is not None
        if self._own is None:
            return self.vectors[rows]
        position = self._position[rows]
        known = np.where(position >= 0, 0, rows)
        base = (
            self.vectors[known]
            if len(self.vectors)
            else np.zeros((len(rows), self._own.shape[1]), np.float32)
        )
        return np.where((position >= 0)[:, None], self._own[position], base)

    def feedback(
        self, person: Person, rows: Rows | None = None, values: NDArray[np.float32] | None = None
    ) -> Feedback:
        """The person's events as the recommender takes them, a batch of one; or others [B, S]."""
        own = rows is None
        at = torch.from_numpy(person.rows[None] if rows is None else rows)
        told = torch.from_numpy(person.values[None] if values is None else values)
        return Feedback(
            items=self._catalogue.items(at),
            values=torch.ones_like(told) if self._choices else told,
            mask=torch.ones_like(at, dtype=torch.bool),
            times=torch.from_numpy(person.times[None]) if own and person.times is not None else None,
            user=_repeated(self._fields(person), len(at)),
        )

    def tables(self, rows: Rows) -> tuple[ClosedForm, Rows] | None:
        """The closed form with the given rows, and where in it they are; None where there is none."""
        return None if self._closed is None else self._tables(rows)

    def _score(self, person: Person, parts: Sequence[Items]) -> Scores:
        """Scores [n] of items without vectors, some at a time."""
        state = self.taste(person).state
        assert state is not None
        with torch.no_grad():
            found = [self.recommender.score(state, items)[0].numpy() for items in parts]
        return np.concatenate(found).astype(np.float64) if found else np.zeros(0)

    @cached_property
    def _everything(self) -> list[Items]:
        """The catalogue, gathered once."""
        rows = torch.split(torch.arange(self._catalogue.n_items), _BLOCK)
        return [self._catalogue.items(part) for part in rows]

    def _told(self, person: Person) -> NDArray[np.float32]:
        return np.ones_like(person.values) if self._choices else person.values

    def _adapt(self, person: Person) -> Taste:
        recommender = self.recommender
        if self._closed is not None:
            closed, at = self._tables(person.rows)
            vector = closed.vector(at, self._told(person), self._prior_mean(person))
            return Taste(_finite(vector), None)
        state = recommender.adapt(self.feedback(person))
        if isinstance(recommender, Retrieval):
            with torch.no_grad():
                vector = np.ascontiguousarray(recommender.user_vectors(state)[0].numpy(), dtype=np.float32)
            return Taste(_finite(vector), state)
        return Taste(None, state)

    def _tables(self, rows: Rows) -> tuple[ClosedForm, Rows]:
        """Tables that hold the given rows, and where in them: the model's own, unless an item was changed."""
        assert self._closed is not None
        if self._own_closed is None:
            return self._closed, rows
        position = self._position[rows]
        if not (position >= 0).any():
            return self._closed, rows
        known, own = np.where(position >= 0, 0, rows), np.maximum(position, 0)
        changed = (position >= 0)[:, None]
        theirs, ours = self._closed, self._own_closed
        part = replace(
            theirs,
            inputs=np.where(changed, ours.inputs[own], theirs.inputs[known])
            if len(theirs.inputs)
            else ours.inputs[own],
            vectors=np.where(changed, ours.vectors[own], theirs.vectors[known])
            if len(theirs.vectors)
            else ours.vectors[own],
        )
        return part, np.arange(len(rows))

    def _fields(self, person: Person) -> Mapping[str, Tensor]:
        if person.fields is not None:
            return person.fields
        if person.user < 0 or not self._data.users.schema:
            return self._nobody
        return self._data.users.gather(torch.tensor([person.user]))

    def _prior_mean(self, person: Person) -> NDArray[np.float64] | None:
        """What is expected of the person by their fields; None where none are known."""
        if person.fields is None and (person.user < 0 or not self._data.users.schema):
            return None
        if person.fields is None and person.user in self._prior_means:
            return self._prior_means[person.user]
        assert isinstance(self.recommender, Tabular)
        none = torch.zeros(1, 0, dtype=torch.int64)
        nothing = Feedback(
            self._catalogue.items(none), torch.zeros(1, 0), none.bool(), user=self._fields(person)
        )
        with torch.no_grad():
            mean: NDArray[np.float64] = self.recommender.prior_mean(nothing)[0].double().numpy()
        if person.fields is None and len(self._prior_means) < 100_000:
            self._prior_means[person.user] = mean
        return mean

    def _scored(self, person: Person, k: int, skip: Rows, allowed: NDArray[np.bool_] | None) -> Found:
        free = np.ones(self._catalogue.n_items, dtype=np.bool_) if allowed is None else allowed.copy()
        free[skip] = False
        rows = np.flatnonzero(free)
        if len(rows) * 2 > len(free):  # scoring all is cheaper than gathering nearly all
            scores = self._score(person, self._everything)[rows]
        else:
            scores = self.scores(person, rows)
        # Such scores are often equal by the thousand, which a partition of NumPy takes very long over.
        single = torch.from_numpy(scores.astype(np.float32))[None]
        at = highest(single, torch.ones_like(single, dtype=torch.bool), min(k, len(rows)))[0].numpy()
        return Found(rows[at], scores[at], exact=True)


def _finite(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(vector).all():
        raise FloatingPointError("The model makes no finite vector of these events.")
    return vector


def _vectors(recommender: Retrieval, items: Items) -> NDArray[np.float32]:
    rows = torch.arange(len(items.ids))
    with torch.no_grad():
        parts = [recommender.item_vectors(items[part]).numpy() for part in torch.split(rows, _BLOCK)]
    return np.ascontiguousarray(np.concatenate(parts), dtype=np.float32)


def _repeated(fields: Mapping[str, Tensor], n: int) -> dict[str, Any]:
    return (
        {name: column.expand(n, *column.shape[1:]) for name, column in fields.items()}
        if n != 1
        else dict(fields)
    )
