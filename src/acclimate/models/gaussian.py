"""The closed-form head: a Gaussian prior over a user's weights, a linear likelihood, an exact posterior.

With item vectors ``phi``, targets ``y`` and noise precisions ``t``,

    w ~ N(m, P^-1),   y_s = phi_s . w + N(0, 1 / t_s)
    A = P + sum_s t_s phi_s phi_s^T
    w = m + A^-1 sum_s t_s phi_s (y_s - phi_s . m)

Source: Bishop, "Pattern Recognition and Machine Learning", 2006, eqs. 3.49-3.54; as a differentiable base
learner: Bertinetto et al., "Meta-learning with differentiable closed-form solvers", ICLR 2019.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from acclimate.data import Feedback, Items
from acclimate.models.closed_form import ClosedForm, Evidence
from acclimate.tensors import State

_CHUNK = 2048
"""Items whose deviation is solved for at once; a whole large catalogue would fill the memory."""

_TABLE_CHUNK = 65536
"""Items encoded at once for a table."""


class Encoded(NamedTuple):
    """Items as a Gaussian head sees them.

    Attributes:
        inputs: [..., D] what a support item tells about the weights.
        outputs: [..., D] whose dot product with the weights is the personal part of the score.
        base: [...] the part of the score that is the same for everybody.
    """

    inputs: Tensor
    outputs: Tensor
    base: Tensor

    def at(self, index: Tensor) -> Encoded:
        """Gathers encoded items [n] at ``index`` [...]."""
        return Encoded(self.inputs[index], self.outputs[index], self.base[index])


class GaussianHead(ABC):
    """Everything that follows from an exact Gaussian posterior, given how items and users are encoded.

    Gives the two verbs and the capabilities ``Retrieval``, ``Incremental``, ``Uncertain``, ``Attributable``
    and ``Tabular``. A State holds ``precision`` A [B, D, D], ``shift`` (the sum in the formula) [B, D],
    ``mean`` m [B, D] and ``weights`` w [B, D].
    """

    @abstractmethod
    def encode(self, items: Items) -> Encoded:
        """Encodes items, differentiable in the head's parameters."""

    @abstractmethod
    def prior_mean(self, support: Feedback) -> Tensor:
        """m, [B, D], from the fields of the users."""

    @abstractmethod
    def prior_precision(self) -> Tensor:
        """P, [D, D], positive definite."""

    @abstractmethod
    def evidence(self, encoded: Encoded, support: Feedback) -> tuple[Tensor, Tensor]:
        """Targets y and noise precisions t of the support, [B, S] each."""

    @abstractmethod
    def evidence_rule(self) -> Evidence:
        """The same for one person, from base scores and values, without tensors."""

    def posterior(self, encoded: Encoded, support: Feedback) -> State:
        """State of the users whose support items are ``encoded`` [B, S], differentiable."""
        mean, precision = self.prior_mean(support), self.prior_precision()
        state = {
            "precision": precision.expand(len(mean), *precision.shape),
            "shift": torch.zeros_like(mean),
            "mean": mean,
        }
        return self._observe(state, encoded, support)

    def predict(self, state: State, encoded: Encoded) -> Tensor:
        """Scores [B, N] of encoded items [N] or [B, N], differentiable."""
        return _dot(state["weights"], encoded.outputs) + encoded.base

    @torch.no_grad()
    def adapt(self, support: Feedback) -> State:
        return self.posterior(self.encode(support.items), support)

    @torch.no_grad()
    def update(self, state: State, feedback: Feedback) -> State:
        return self._observe(state, self.encode(feedback.items), feedback)

    @torch.no_grad()
    def score(self, state: State, items: Items) -> Tensor:
        return self.predict(state, self.encode(items))

    @torch.no_grad()
    def user_vectors(self, state: State) -> Tensor:
        weights = state["weights"]
        return torch.cat([weights, torch.ones_like(weights[:, :1])], 1)

    @torch.no_grad()
    def item_vectors(self, items: Items) -> Tensor:
        encoded = self.encode(items)
        return torch.cat([encoded.outputs, encoded.base[..., None]], -1)

    @torch.no_grad()
    def deviation(self, state: State, items: Items) -> Tensor:
        outputs = self.encode(items).outputs
        factor = torch.linalg.cholesky(state["precision"])
        parts = []
        for part in torch.split(outputs, _CHUNK, dim=-2):
            columns = part.expand(len(factor), *part.shape[-2:]).transpose(1, 2)  # [B, D, N]
            whitened: Tensor = torch.linalg.solve_triangular(factor, columns, upper=False)
            parts.append(whitened.square().sum(1).sqrt())
        return torch.cat(parts, 1)

    @torch.no_grad()
    def contributions(self, support: Feedback, items: Items) -> Tensor:
        encoded = self.encode(support.items)
        state = self.posterior(encoded, support)
        events = self._weighted_errors(state, encoded, support)[0].transpose(1, 2)  # [B, D, S]
        solved = torch.cholesky_solve(events, torch.linalg.cholesky(state["precision"]))
        return self.encode(items).outputs @ solved

    @torch.no_grad()
    def tabulate(self, items: Items) -> ClosedForm:
        parts = [self.encode(items[rows]) for rows in torch.split(torch.arange(len(items.ids)), _TABLE_CHUNK)]
        parts = parts or [self.encode(items)]
        vectors = np.concatenate([torch.cat([p.outputs, p.base[..., None]], -1).numpy() for p in parts])
        shared = all(p.inputs is p.outputs for p in parts)
        nobody = Feedback(
            items[torch.zeros(1, 0, dtype=torch.int64)],
            torch.zeros(1, 0),
            torch.zeros(1, 0, dtype=torch.bool),
        )
        return ClosedForm.create(
            inputs=vectors[:, :-1] if shared else np.concatenate([p.inputs.numpy() for p in parts]),
            vectors=vectors,
            precision=self.prior_precision().double().numpy(),
            prior=self.prior_mean(nobody)[0].double().numpy(),
            evidence=self.evidence_rule(),
        )

    def _weighted_errors(
        self, state: State, encoded: Encoded, support: Feedback
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``t_s phi_s (y_s - phi_s . m)``, ``phi_s`` and ``t_s phi_s``, each [B, S, D], zero where masked."""
        mask = support.mask
        target, noise = self.evidence(encoded, support)
        phi = torch.where(mask[..., None], encoded.inputs, 0.0)
        error = torch.where(mask, target, 0.0) - torch.einsum("bsd,bd->bs", phi, state["mean"])
        weighted = phi * torch.where(mask, noise, 0.0)[..., None]
        return weighted * error[..., None], phi, weighted

    def _observe(self, state: State, encoded: Encoded, support: Feedback) -> State:
        errors, phi, weighted = self._weighted_errors(state, encoded, support)
        precision = state["precision"] + weighted.transpose(1, 2) @ phi
        shift = state["shift"] + errors.sum(1)
        solved = torch.cholesky_solve(shift[..., None], torch.linalg.cholesky(precision))[..., 0]
        return {
            "precision": precision,
            "shift": shift,
            "mean": state["mean"],
            "weights": state["mean"] + solved,
        }


def _dot(weights: Tensor, vectors: Tensor) -> Tensor:
    """[B, N] dot products of [B, D] with [N, D] or [B, N, D]."""
    if vectors.dim() == 2:
        return weights @ vectors.T
    return torch.einsum("bd,bnd->bn", weights, vectors)
