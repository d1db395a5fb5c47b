"""Beliefs: how unsure a recommender is about some items, and what an answer to each would change."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from acclimate.models.base import Uncertain
from acclimate.serving.service.branch import Branch
from acclimate.serving.service.people.person import Person

Numbers = NDArray[np.float64]
_SMALLEST = 1e-12


class Belief(Protocol):
    """About n items; changes with every question asked."""

    def deviations(self) -> Numbers:
        """Standard deviation [n] of each item's score."""
        ...

    def gains(self) -> Numbers:
        """Logarithm [n] of what the answer to an item divides the deviation of its score by."""
        ...

    def ask(self, at: int) -> None:
        """Counts an answer to the item at a position."""
        ...


def believed(branch: Branch, person: Person, rows: NDArray[np.int64]) -> Belief:
    """What is believed about the items at ``rows`` after a person's events."""
    data = branch.model.data
    if branch.model.predicts_ratings:
        expected = branch.engine.scores(person, rows).clip(*data.value_range)
    else:
        expected = np.full(len(rows), data.value_range[1] if data.explicit else 1.0)
    answers = expected.astype(np.float32)
    tables = branch.engine.tables(np.concatenate([person.rows, rows]))
    if tables is None:
        return AnyBelief(branch, person, rows, answers)
    closed, at = tables
    values = np.concatenate([person.values, answers])
    if branch.engine.takes_choices:
        values = np.ones_like(values)
    inputs = closed.inputs[at].astype(np.float64)
    base = closed.vectors[at, -1].astype(np.float64)
    _, noise = closed.evidence(base, values.astype(np.float64))
    n = len(person.rows)
    precision = closed.precision + (inputs[:n] * noise[:n, None]).T @ inputs[:n]
    outputs = closed.vectors[at[n:], :-1].astype(np.float64)
    covariance = np.linalg.inv(precision).astype(np.float64)
    return GaussianBelief(covariance, inputs[n:], outputs, noise[n:])


class GaussianBelief:
    """By the posterior covariance C of the weights.

    An answer to item i, of noise precision t, makes it ``C - t C f f^T C / (1 + t f^T C f)`` with its inputs
    f, whatever is answered. The variance of a score is ``g^T C g`` with its outputs g.

    Attributes:
        covariance: [D, D]. inputs, outputs: [n, D]. noise: [n] precisions of an answer.
    """

    def __init__(self, covariance: Numbers, inputs: Numbers, outputs: Numbers, noise: Numbers) -> None:
        self.covariance, self.inputs, self.outputs, self.noise = covariance, inputs, outputs, noise

    def deviations(self) -> Numbers:
        spread: Numbers = np.sqrt(self._variances(self.outputs))
        return spread

    def gains(self) -> Numbers:
        reach = self.inputs @ self.covariance
        told = self.noise * np.square((reach * self.outputs).sum(1))
        before = self._variances(self.outputs)
        after = before - told / (1 + self.noise * (reach * self.inputs).sum(1))
        gained: Numbers = 0.5 * np.log(before / np.maximum(after, _SMALLEST))
        return gained

    def ask(self, at: int) -> None:
        reach = self.covariance @ self.inputs[at]
        scale = self.noise[at] / (1 + self.noise[at] * float(reach @ self.inputs[at]))
        self.covariance = self.covariance - scale * np.outer(reach, reach)

    def _variances(self, of: Numbers) -> Numbers:
        found: Numbers = np.maximum(((of @ self.covariance) * of).sum(1), _SMALLEST)
        return found


class AnyBelief:
    """By adapting to each answer in turn, all turns in one batch.

    Args:
        answers: [n] the values that answers are expected to have.
    """

    def __init__(
        self, branch: Branch, person: Person, rows: NDArray[np.int64], answers: NDArray[np.float32]
    ) -> None:
        recommender = branch.engine.recommender
        assert isinstance(recommender, Uncertain)
        self._uncertain: Uncertain = recommender
        self._branch, self._person, self._rows, self._answers = branch, person, rows, answers
        self._asked: list[int] = []
        self._deviations: Numbers | None = None

    def deviations(self) -> Numbers:
        if self._deviations is None:
            self._deviations = self._after(self._events()[None], self._values()[None], self._rows)[0]
        return self._deviations

    def gains(self) -> Numbers:
        n = len(self._rows)
        every = np.column_stack([np.tile(self._events(), (n, 1)), self._rows])
        values = np.column_stack([np.tile(self._values(), (n, 1)), self._answers])
        after = self._after(every, values, self._rows[:, None])[:, 0]
        before = np.maximum(self.deviations(), _SMALLEST)
        gained: Numbers = np.log(before / np.maximum(after, _SMALLEST))
        return gained

    def ask(self, at: int) -> None:
        self._asked.append(at)
        self._deviations = None

    def _events(self) -> NDArray[np.int64]:
        return np.concatenate([self._person.rows, self._rows[self._asked]]).astype(np.int64)

    def _values(self) -> NDArray[np.float32]:
        return np.concatenate([self._person.values, self._answers[self._asked]]).astype(np.float32)

    def _after(
        self, events: NDArray[np.int64], values: NDArray[np.float32], of: NDArray[np.int64]
    ) -> Numbers:
        feedback = self._branch.engine.feedback(self._person, events, values.astype(np.float32))
        with torch.no_grad():
            state = self._branch.engine.recommender.adapt(feedback)
            items = self._branch.catalogue.items(torch.from_numpy(of))
            found: Numbers = self._uncertain.deviation(state, items).double().numpy()
        return found
