"""The implicit ridge: closed-form fold-in with whole-catalogue weighting, all of it learned end to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acclimate.data import Feedback, Items
from acclimate.encoders import RowEncoder
from acclimate.models.base import Scale
from acclimate.models.closed_form import Evidence
from acclimate.models.gaussian import Encoded, GaussianHead


@dataclass(frozen=True, eq=False)
class ImplicitRidge(GaussianHead):
    """Ranks by ``base_i + psi_i . w_u``, where ``w_u`` minimises, over the support S and the whole catalogue,

        c sum_{s in S} v_s (1 - phi_s . w)^2 + (w - m)^T (diag(p) + a G) (w - m),   G = mean_j phi_j phi_j^T

    The term with the catalogue's Gram matrix G says that the items a user did not choose count against them,
    as in iALS; here its weight ``a``, the confidence ``c``, the prior precision ``p``, the prior mean ``m``
    (linear in the user's fields), the input vectors ``phi``, the output vectors ``psi`` and the popularity
    logits ``base`` are all meta-learned by the ranking of held-out choices.

    Attributes:
        inputs: phi, D wide. outputs: psi, D wide. bias: base, 1 wide.
        prior: user fields to the prior mean, D wide.
        gram: [D, D], G over the catalogue it was trained on.
        log_precision: [D]. log_gram: [1], log a. log_confidence: [1], log c.
        weighted: whether v_s follows the value of the event, a strength: itself up to 1, 1 + its logarithm
            above, so that a thousand plays do not drown everything else; if not, every event counts once.

    Source: Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008, eqs.
    3-4, for the weighting; the separate output vectors and the end-to-end training are ours.
    """

    inputs: RowEncoder
    outputs: RowEncoder
    bias: RowEncoder
    prior: RowEncoder
    gram: Tensor
    log_precision: Tensor
    log_gram: Tensor
    log_confidence: Tensor
    weighted: bool
    scale: ClassVar[Scale] = "rank"

    def encode(self, items: Items) -> Encoded:
        return Encoded(
            self.inputs(items.ids, items.fields),
            self.outputs(items.ids, items.fields),
            self.bias(items.ids, items.fields)[..., 0],
        )

    def prior_mean(self, support: Feedback) -> Tensor:
        return self.prior(support.mask.new_zeros(support.n_users, dtype=torch.int64), support.user)

    def prior_precision(self) -> Tensor:
        return torch.diag(self.log_precision.exp()) + self.log_gram.exp() * self.gram

    def evidence(self, encoded: Encoded, support: Feedback) -> tuple[Tensor, Tensor]:
        confidence = self.log_confidence.exp().expand(support.values.shape)
        ones = torch.ones_like(support.values)
        if not self.weighted:
            return ones, confidence
        strength = support.values.clamp(min=0)
        return ones, confidence * torch.where(strength > 1, 1 + strength.clamp(min=1).log(), strength)

    def evidence_rule(self) -> Evidence:
        confidence = float(self.log_confidence.double().exp())

        def every_event_once(
            base: NDArray[np.float64], values: NDArray[np.float64]
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            return np.ones(len(values)), np.full(len(values), confidence)

        def by_strength(
            base: NDArray[np.float64], values: NDArray[np.float64]
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            above = 1 + np.log(np.maximum(values, 1))
            return np.ones(len(values)), confidence * np.where(values > 1, above, np.maximum(values, 0))

        return by_strength if self.weighted else every_event_once
