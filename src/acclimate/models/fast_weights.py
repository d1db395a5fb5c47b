"""Recommenders that adapt by gradient steps: MAML, FOMAML, ANIL, which differ only in training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.data import Feedback, Items
from acclimate.models.base import Scale
from acclimate.models.inner_loop import InnerLoop, Weights
from acclimate.models.network import Network, forward
from acclimate.tensors import State, masked_mean

_ELEMENTS = 16_000_000
"""Most hidden activations that scoring holds at once; users are scored in chunks that stay below."""


@dataclass(frozen=True, eq=False)
class FastWeights:
    """A network whose layers take a few gradient steps on a user's support.

    The support loss is the mean squared error of ratings (``scale="rating"``), or the mean cross-entropy of
    each chosen item against a fixed set of contrast items (``scale="rank"``). An empty support has no
    gradient: the prior is the slow network. A State holds ``user`` [B, D] and every adapted weight, [B, ...].

    Attributes:
        network: the slow weights. inner: how they adapt. scale: what a score means.
        contrast: [M] items that choices are contrasted with; empty for ratings.
        unit: the network speaks of values divided by this.
    """

    network: Network
    inner: InnerLoop
    scale: Scale
    contrast: Items
    unit: float = 1.0

    def support_loss(
        self,
        weights: Weights,
        user: Tensor,
        support: tuple[Tensor, Tensor],
        contrast: tuple[Tensor, Tensor],
        values: Tensor,
        mask: Tensor,
    ) -> Tensor:
        """The scalar that one user's inner loop descends.

        Args:
            user: [D]. support: encoded items, vectors [S, D] and base [S]. contrast: likewise, [M, D] and
                [M].
            values: [S]. mask: [S] bool.
        """
        scores = forward(weights, user, *support)
        if self.scale == "rating":
            return masked_mean((scores - torch.where(mask, values, 0.0)).square(), mask, 0)
        against = forward(weights, user, *contrast).logsumexp(0)
        return masked_mean(torch.logaddexp(scores, against) - scores, mask, 0)

    def fast(
        self, support: Feedback, encoded: tuple[Tensor, Tensor], contrast: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Weights]:
        """User vectors [B, D] and fast weights, name -> [B, ...], differentiable in the network.

        Args:
            encoded: the support items, vectors [B, S, D] and base [B, S]. contrast: [M, D] and [M].
        """
        nobody = support.mask.new_zeros(support.n_users, dtype=torch.int64)
        users = self.network.users(nobody, support.user)
        slow = self.network.layers
        if len(users) == 0:
            return users, {name: w.new_zeros(0, *w.shape) for name, w in self.inner.chosen(slow).items()}

        def one(user: Tensor, vectors: Tensor, base: Tensor, values: Tensor, mask: Tensor) -> Weights:
            def loss(weights: Weights) -> Tensor:
                return self.support_loss(weights, user, (vectors, base), contrast, values, mask)

            return self.inner(loss, slow)

        values = torch.where(support.mask, support.values, 0.0) / self.unit
        vectors = torch.where(support.mask[..., None], encoded[0], 0.0)
        base = torch.where(support.mask, encoded[1], 0.0)
        return users, torch.func.vmap(one)(users, vectors, base, values, support.mask)

    def predict(self, users: Tensor, fast: Weights, encoded: tuple[Tensor, Tensor]) -> Tensor:
        """Scores [B, N], differentiable.

        Args:
            encoded: shared items, [N, D] and [N], or each user's, [B, N, D] and [B, N].
        """
        slow = self.network.layers
        vectors, base = encoded
        hidden = slow["weight0"].shape[0]
        per = None if vectors.dim() == 2 else 0

        def one(user: Tensor, weights: Weights, vectors: Tensor, base: Tensor) -> Tensor:
            return forward({**slow, **weights}, user, vectors, base)

        chunk = max(1, _ELEMENTS // max(1, vectors.shape[-2] * hidden))
        if len(users) == 0:
            return vectors.new_zeros(0, vectors.shape[-2])
        return torch.func.vmap(one, in_dims=(0, 0, per, per), chunk_size=chunk)(users, fast, vectors, base)

    def adapt(self, support: Feedback) -> State:
        with torch.no_grad():
            encoded, contrast = self.network.encode(support.items), self.network.encode(self.contrast)
            users, fast = self.fast(support, encoded, contrast)
        return {"user": users, **fast}

    @torch.no_grad()
    def score(self, state: State, items: Items) -> Tensor:
        fast = {name: value for name, value in state.items() if name != "user"}
        return self.predict(state["user"], fast, self.network.encode(items)) * self.unit
