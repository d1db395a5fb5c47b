"""ALS: a low-rank table of ratings, and the fold-in of somebody new as one ridge regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acclimate.data import Dataset, Feedback, Items
from acclimate.models.base import Scale
from acclimate.models.checks import need_not_negative, need_positive, need_ratings
from acclimate.models.closed_form import Evidence
from acclimate.models.gaussian import Encoded, GaussianHead
from acclimate.models.half_step import Side, half_step
from acclimate.models.rows import gather_rows
from acclimate.progress import track


@dataclass(frozen=True, eq=False)
class ALS(GaussianHead):
    """Predicts ``r(u, i) = m + b_i + a_u + p_u . q_i``.

    Fitted by alternating least squares over users and items, each row with the ridge penalty

        n^e (l |p|^2 + l_b a^2)     for a row with n ratings

    so that e = 0 is plain ridge and e = 1 the weighted-lambda regularisation of the source. Somebody new is
    folded in by the same regression of their ratings on the items' vectors, with the penalty of a user of
    typical length: a Gaussian prior, so that everything that :class:`~acclimate.models.gaussian.GaussianHead`
    gives is exact, the items' own vectors taken as known.

    Attributes:
        factors: [n_items, D] q. bias: [n_items] b. mean: m.
        precision: prior precision of p, and ``bias_precision`` of a, in units of 1 / rating^2.
        noise: variance of the ratings around their predictions.

    Source: Zhou et al., "Large-scale Parallel Collaborative Filtering for the Netflix Prize", AAIM 2008,
    section 3.
    """

    factors: Tensor
    bias: Tensor
    mean: float
    precision: float
    bias_precision: float
    noise: float
    scale: ClassVar[Scale] = "rating"

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        embedding_size: int = 16,
        regularisation: float = 10.0,
        bias_regularisation: float = 5.0,
        exponent: float = 0.0,
        prior: float = 0.5,
        epochs: int = 15,
        generator: torch.Generator | None = None,
        device: str = "cpu",
        progress: bool | None = False,
    ) -> ALS:
        """Alternates ``epochs`` times between users and items.

        Args:
            embedding_size: D.
            regularisation: l. bias_regularisation: l_b. exponent: e.
            prior: how many times the penalty of a training user of typical length somebody new gets.
            generator: of the first item vectors. device: where to solve. progress: see Run.

        Raises:
            UserInputError: the data holds no ratings, or a hyperparameter is not above 0.
        """
        need_ratings(dataset, "ALS")
        need_positive(
            "ALS",
            embedding_size=embedding_size,
            regularisation=regularisation,
            bias_regularisation=bias_regularisation,
            prior=prior,
            epochs=epochs,
        )
        need_not_negative("ALS", exponent=exponent)
        inter = dataset.interactions
        users, items = Side.of(inter, device), Side.across(inter, device)
        mean = float(inter.values.double().mean())
        values = (inter.values.double() - mean).float().to(device)
        user_of, item_of = inter.users().to(device), users.columns
        penalty = torch.tensor([bias_regularisation] + [regularisation] * embedding_size)
        user_ridge, item_ridge = (
            (side.counts().clamp(min=1).float()[:, None] ** exponent * penalty).to(device)
            for side in (users, items)
        )
        # Column 0 holds the bias, the others the vector.
        x = torch.zeros(inter.n_users, 1 + embedding_size, device=device)
        y = 0.1 * torch.randn(inter.n_items, 1 + embedding_size, generator=generator)
        y[:, 0] = 0.0
        y = y.to(device)
        with track("als", epochs, progress) as advance:
            for _ in range(epochs):
                x = half_step(users, _designed(y), values - y[item_of, 0], ridge=user_ridge)
                y = half_step(items, _designed(x), values - x[user_of, 0], ridge=item_ridge)
                advance(1, "")
        fitted = y[item_of, 0] + x[user_of, 0] + torch.einsum("ed,ed->e", x[user_of, 1:], y[item_of, 1:])
        noise = max(float((values - fitted).double().square().mean()), 1e-6)
        typical = prior * float(inter.counts().clamp(min=1).double().mean()) ** exponent / noise
        y = y.cpu()
        return cls(
            factors=y[:, 1:].contiguous(),
            bias=y[:, 0].contiguous(),
            mean=mean,
            precision=regularisation * typical,
            bias_precision=bias_regularisation * typical,
            noise=noise,
        )

    def encode(self, items: Items) -> Encoded:
        q = gather_rows(self.factors, items.ids)
        phi = torch.cat([torch.ones_like(q[..., :1]), q], -1)
        return Encoded(phi, phi, self.mean + gather_rows(self.bias, items.ids))

    def prior_mean(self, support: Feedback) -> Tensor:
        return self.factors.new_zeros(support.n_users, 1 + self.factors.shape[1])

    def prior_precision(self) -> Tensor:
        d = self.factors.shape[1]
        return torch.diag(self.factors.new_tensor([self.bias_precision] + [self.precision] * d))

    def evidence(self, encoded: Encoded, support: Feedback) -> tuple[Tensor, Tensor]:
        return support.values - encoded.base, torch.full_like(support.values, 1 / self.noise)

    def evidence_rule(self) -> Evidence:
        def rule(
            base: NDArray[np.float64], values: NDArray[np.float64]
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            return values - base, np.full(len(values), 1 / self.noise)

        return rule


def _designed(rows: Tensor) -> Tensor:
    """Vectors with a 1 where the bias stands, [m, 1 + D]."""
    return torch.cat([torch.ones_like(rows[:, :1]), rows[:, 1:]], 1)
