"""The ridge head: ratings as a learned base line plus Bayesian linear regression on learned item vectors."""

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
class RidgeHead(GaussianHead):
    """Predicts ``r(u, i) = base_i + phi_i . w_u`` with ``w_u`` the posterior mean given the user's support.

    ``phi_i`` comes from the item's id and fields, with a constant 1 appended so that the user's offset is
    one of the weights; ``base_i`` is a global mean, an item bias and a linear bias of the fields. The prior
    mean of ``w_u`` is linear in the user's fields, its precision diagonal. All of it is learned end to end
    through the solve of :class:`~acclimate.models.gaussian.GaussianHead`; the target of an event is its
    rating less ``base``.

    Attributes:
        vectors: item vectors, D wide. bias: base line, 1 wide.
        prior: user fields to the prior mean, D + 1 wide.
        log_precision: [D + 1] logarithm of the diagonal of the prior precision.
        log_noise: [1] logarithm of the precision of a rating.
    """

    vectors: RowEncoder
    bias: RowEncoder
    prior: RowEncoder
    log_precision: Tensor
    log_noise: Tensor
    scale: ClassVar[Scale] = "rating"

    def encode(self, items: Items) -> Encoded:
        phi = self.vectors(items.ids, items.fields)
        phi = torch.cat([phi, torch.ones_like(phi[..., :1])], -1)
        return Encoded(phi, phi, self.bias(items.ids, items.fields)[..., 0])

    def prior_mean(self, support: Feedback) -> Tensor:
        return self.prior(support.mask.new_zeros(support.n_users, dtype=torch.int64), support.user)

    def prior_precision(self) -> Tensor:
        return torch.diag(self.log_precision.exp())

    def evidence(self, encoded: Encoded, support: Feedback) -> tuple[Tensor, Tensor]:
        return support.values - encoded.base, self.log_noise.exp().expand(support.values.shape)

    def evidence_rule(self) -> Evidence:
        noise = float(self.log_noise.double().exp())

        def rule(
            base: NDArray[np.float64], values: NDArray[np.float64]
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            return values - base, np.full(len(values), noise)

        return rule
