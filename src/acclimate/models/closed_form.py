"""The closed form: a Gaussian head over one fixed list of items, as tables that answer one person at a time.

Tensors are made for batches; for one person with a few events most of the time goes into calling them. Here
the items are encoded once, and a posterior costs a few small products in double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Evidence = Callable[
    [NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]
]
"""From base scores [S] and values [S] of some events to their targets y [S] and noise precisions t [S]."""

_CHUNK = 2048
"""Items whose deviation is solved for at once."""


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """What a Gaussian head knows about N items, and the posterior of a person who met some of them.

    With ``phi`` the inputs of a person's events, targets ``y``, noise precisions ``t``, prior mean ``m`` and
    prior precision ``P``, the weights are

        w = m + P^-1 X^T (I + X P^-1 X^T)^-1 t^1/2 (y - phi m),   X = t^1/2 phi

    which is the solution of :class:`~acclimate.models.gaussian.GaussianHead` by the identity of Woodbury: a
    system as large as the number of events, not as an item vector. With more events than half the dimensions
    the other form costs less and is used.

    Safe for several threads. Rows are positions in the list of items that was tabulated.

    Attributes:
        inputs: [N, D] float32, what an event on an item tells.
        vectors: [N, D + 1] float32, outputs and base, the ``item_vectors`` of the items.
        precision: [D, D] float64, P. covariance: [D, D] float64, its inverse.
        prior: [D] float64, m for a person of whom no fields are known.
        evidence: what a value says.
    """

    inputs: NDArray[np.float32]
    vectors: NDArray[np.float32]
    precision: NDArray[np.float64]
    covariance: NDArray[np.float64]
    prior: NDArray[np.float64]
    evidence: Evidence

    @classmethod
    def create(
        cls,
        inputs: NDArray[np.float32],
        vectors: NDArray[np.float32],
        precision: NDArray[np.float64],
        prior: NDArray[np.float64],
        evidence: Evidence,
    ) -> ClosedForm:
        """Inverts the prior precision; arguments as the attributes."""
        factor = scipy.linalg.cho_factor(precision, lower=True)
        covariance = scipy.linalg.cho_solve(factor, np.eye(len(precision)))
        return cls(inputs, vectors, precision, (covariance + covariance.T) / 2, prior, evidence)

    @property
    def n_items(self) -> int:
        return len(self.vectors)

    def vector(
        self,
        rows: NDArray[np.int64],
        values: NDArray[np.float32],
        prior_mean: NDArray[np.float32] | NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """The vector [D + 1] float32 whose dot products with ``vectors`` are a person's scores.

        Args:
            rows: [S] which items they met. values: [S] ratings or strengths.
            prior_mean: [D] from the person's fields; None where none are known.
        """
        mean = self.prior if prior_mean is None else prior_mean
        out = np.ones(len(mean) + 1, dtype=np.float32)
        out[:-1] = self._weights(rows, values, mean) if len(rows) else mean
        return out

    def deviation(
        self, rows: NDArray[np.int64], values: NDArray[np.float32], of: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Posterior standard deviation [n] float32 of the scores of the items ``of`` [n], after some events.

        Args:
            rows: [S] which items the person met. values: [S] ratings or strengths.
        """
        _, posterior = self._normal_equations(rows, values, self.prior)
        factor = scipy.linalg.cholesky(posterior, lower=True)
        out = np.empty(len(of), dtype=np.float32)
        for start in range(0, len(of), _CHUNK):
            outputs = self.vectors[of[start : start + _CHUNK], :-1].astype(np.float64)
            whitened = scipy.linalg.solve_triangular(factor, outputs.T, lower=True)
            out[start : start + _CHUNK] = np.sqrt(np.square(whitened).sum(0))
        return out

    def contributions(
        self,
        rows: NDArray[np.int64],
        values: NDArray[np.float32],
        of: NDArray[np.int64],
        prior_mean: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """What each event adds to the scores of the items ``of``: ``psi . A^-1 t_s phi_s (y_s - phi_s m)``
        with the outputs ``psi`` of an item and the posterior precision A, [n, S] float64.

        Args:
            rows, values, prior_mean: as in :meth:`vector`.
        """
        mean = self.prior if prior_mean is None else prior_mean
        phi, errors, noise = self._errors(rows, values, mean)
        weighted = phi.T * noise
        factor = scipy.linalg.cho_factor(self.precision + weighted @ phi, lower=True)
        outputs = self.vectors[of, :-1].astype(np.float64)
        found: NDArray[np.float64] = outputs @ scipy.linalg.cho_solve(factor, weighted * errors)
        return found

    def _weights(
        self,
        rows: NDArray[np.int64],
        values: NDArray[np.float32],
        mean: NDArray[np.float32] | NDArray[np.float64],
    ) -> NDArray[np.float64]:
        if 2 * len(rows) > len(mean):
            shift, posterior = self._normal_equations(rows, values, mean)
            _, solved, failed = scipy.linalg.lapack.dposv(posterior, shift, lower=1, overwrite_a=1)
            weights: NDArray[np.float64] = mean + solved
        else:
            phi, errors, noise = self._errors(rows, values, mean)
            root = np.sqrt(noise)
            scaled = phi * root[:, None]
            reach = scaled @ self.covariance
            system = reach @ scaled.T
            system.reshape(-1)[:: len(rows) + 1] += 1.0
            _, solved, failed = scipy.linalg.lapack.dposv(system, errors * root, lower=1, overwrite_a=1)
            weights = mean + solved @ reach
        if failed:
            raise np.linalg.LinAlgError("The posterior precision is not positive definite.")
        return weights

    def _errors(
        self,
        rows: NDArray[np.int64],
        values: NDArray[np.float32],
        mean: NDArray[np.float32] | NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """``phi`` [S, D], ``y - phi m`` [S] and ``t`` [S]."""
        phi = self.inputs[rows].astype(np.float64)
        base = self.vectors[rows, -1].astype(np.float64)
        target, noise = self.evidence(base, values.astype(np.float64))
        return phi, target - phi @ mean, noise

    def _normal_equations(
        self,
        rows: NDArray[np.int64],
        values: NDArray[np.float32],
        mean: NDArray[np.float32] | NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``phi^T t (y - phi m)`` [D] and the posterior precision [D, D]."""
        phi, errors, noise = self._errors(rows, values, mean)
        weighted = (phi * noise[:, None]).T
        return weighted @ errors, self.precision + weighted @ phi
