"""iALS: low-rank factors of who chose what, where all that was not chosen counts a little against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acclimate.data import Dataset, Feedback, Items
from acclimate.errors import UserInputError
from acclimate.models.base import Scale
from acclimate.models.checks import need_events, need_not_negative, need_positive
from acclimate.models.closed_form import Evidence
from acclimate.models.gaussian import Encoded, GaussianHead
from acclimate.models.half_step import Side, half_step
from acclimate.models.rows import gather_rows
from acclimate.progress import track


@dataclass(frozen=True, eq=False)
class IALS(GaussianHead):
    """Ranks by ``score(i) = p_u . q_i``, where p_u minimises, over the support S and the whole catalogue,

        sum_{s in S} w_s (1 - p . q_s)^2 + a sum_i (p . q_i)^2 + l (|S| + a n_items)^e |p|^2

    Fitted by alternating this regression over users and items; e scales the penalty with frequency. Somebody
    new is folded in by the same regression with the penalty of a user of typical length: a Gaussian prior, so
    that everything that :class:`~acclimate.models.gaussian.GaussianHead` gives is exact, the items' vectors
    taken as known. The deviation is that of a Gaussian model of the zeros and ones, and useful to compare
    items rather than as such.

    Attributes:
        factors: [n_items, D] q.
        prior: [D, D], the precision of p before any event, the catalogue's zeros included.
        noise: mean weighted squared error over all user-item pairs.
        weighted: whether an event weighs its value, a strength of at least 0; otherwise every event weighs 1.

    Source: Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008; in the
    form, with the frequency-scaled penalty and the initialisation of Rendle et al., "Revisiting the
    Performance of iALS on Item Recommendation Benchmarks", RecSys 2022, eqs. 1-6.
    """

    factors: Tensor
    prior: Tensor
    noise: float
    weighted: bool
    scale: ClassVar[Scale] = "rank"

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        *,
        embedding_size: int = 64,
        regularisation: float = 10.0,
        unobserved: float = 0.1,
        exponent: float = 0.0,
        prior: float = 1.0,
        epochs: int = 10,
        weighted: bool = False,
        generator: torch.Generator | None = None,
        device: str = "cpu",
        progress: bool | None = False,
    ) -> IALS:
        """Alternates ``epochs`` times between users and items.

        Args:
            embedding_size: D.
            regularisation: l. unobserved: a, the weight of a pair that did not happen beside one that did.
            exponent: e. prior: how many times the penalty of a typical training user somebody new gets.
            weighted: weigh events by their values.
            generator: of the first item vectors. device: where to solve. progress: see Run.

        Raises:
            UserInputError: there is no event, a hyperparameter is not above 0, or a strength is negative.
        """
        need_events(dataset, "iALS")
        need_positive(
            "iALS",
            embedding_size=embedding_size,
            regularisation=regularisation,
            unobserved=unobserved,
            prior=prior,
            epochs=epochs,
        )
        need_not_negative("iALS", exponent=exponent)
        inter = dataset.interactions
        if weighted and float(inter.values.min()) < 0:
            raise UserInputError(
                f"iALS weighs events by strengths of at least 0; found {float(inter.values.min()):g}. "
                "Use weighted=False, or drop the negative events."
            )
        users, items = Side.of(inter, device), Side.across(inter, device)
        ones = torch.ones(len(inter), device=device)
        weights = inter.values.to(device) if weighted else None
        user_ridge, item_ridge = (
            (regularisation * (s.counts()[:, None] + unobserved * others).float() ** exponent).to(device)
            for s, others in ((users, inter.n_items), (items, inter.n_users))
        )
        x = torch.zeros(inter.n_users, embedding_size, device=device)
        y = torch.randn(inter.n_items, embedding_size, generator=generator) * (0.1 / embedding_size**0.5)
        y = y.to(device)
        with track("ials", epochs, progress) as advance:
            for _ in range(epochs):
                x = half_step(users, y, ones, ridge=user_ridge, weights=weights, prior=unobserved * (y.T @ y))
                y = half_step(items, x, ones, ridge=item_ridge, weights=weights, prior=unobserved * (x.T @ x))
                advance(1, "")
        gram = y.T @ y
        error = 1 - torch.einsum("ed,ed->e", x[inter.users().to(device)], y[users.columns])
        seen = error.square() if weights is None else weights * error.square()
        unseen = unobserved * ((x.T @ x) * gram).sum()
        noise = max(float(seen.double().sum() + unseen) / (inter.n_users * inter.n_items), 1e-9)
        ridge = prior * regularisation * (len(inter) / inter.n_users + unobserved * inter.n_items) ** exponent
        precision = (unobserved * gram + ridge * torch.eye(embedding_size, device=device)) / noise
        return cls(y.cpu(), precision.cpu(), noise, weighted)

    def encode(self, items: Items) -> Encoded:
        q = gather_rows(self.factors, items.ids)
        return Encoded(q, q, q.new_zeros(items.ids.shape))

    def prior_mean(self, support: Feedback) -> Tensor:
        return self.factors.new_zeros(support.n_users, self.factors.shape[1])

    def prior_precision(self) -> Tensor:
        return self.prior

    def evidence(self, encoded: Encoded, support: Feedback) -> tuple[Tensor, Tensor]:
        weights = support.values.clamp(min=0) if self.weighted else torch.ones_like(support.values)
        return torch.ones_like(support.values), weights / self.noise

    def evidence_rule(self) -> Evidence:
        def rule(
            base: NDArray[np.float64], values: NDArray[np.float64]
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            ones = np.ones(len(values))
            return ones, (np.maximum(values, 0) if self.weighted else ones) / self.noise

        return rule
