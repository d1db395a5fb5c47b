"""A small network from a user's fields and an item's vector to a score."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.data import Items
from acclimate.encoders import RowEncoder


@dataclass(frozen=True, eq=False)
class Network:
    """``score(u, i) = head([user vector, item vector]) + base_i``: hidden layers with ReLU, one output.

    Attributes:
        items: item vectors, D wide. users: user vectors from fields alone, D wide. bias: base line, 1 wide.
        layers: ``weight0`` [H, 2D], ``bias0`` [H], ``weight1`` ..., the last one with one output row.
    """

    items: RowEncoder
    users: RowEncoder
    bias: RowEncoder
    layers: dict[str, Tensor]

    @classmethod
    def create(
        cls,
        items: RowEncoder,
        users: RowEncoder,
        bias: RowEncoder,
        hidden: tuple[int, ...],
        generator: torch.Generator,
    ) -> Network:
        """Layers with Kaiming initialisation; the last starts small, near the base line."""
        widths = (items.fields.shape[1] + users.fields.shape[1], *hidden, 1)
        layers = {}
        for k, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
            std = (2 / n_in) ** 0.5 if k < len(hidden) else 0.1 * n_in**-0.5
            layers[f"weight{k}"] = torch.randn(n_out, n_in, generator=generator) * std
            layers[f"bias{k}"] = torch.zeros(n_out)
        return cls(items, users, bias, layers)

    def encode(self, items: Items) -> tuple[Tensor, Tensor]:
        """``(vectors [..., D], base [...])`` of items."""
        return self.items(items.ids, items.fields), self.bias(items.ids, items.fields)[..., 0]


def forward(layers: dict[str, Tensor], user: Tensor, vectors: Tensor, base: Tensor) -> Tensor:
    """Scores [N] of one user's items.

    Args:
        layers: of :class:`Network`, possibly adapted to this user.
        user: [D]. vectors: [N, D]. base: [N].
    """
    depth = len(layers) // 2
    # The first layer is linear in [user, item]: the user's half is computed once, not once an item.
    weight = layers["weight0"]
    width = vectors.shape[-1]
    x = vectors @ weight[:, -width:].T + weight[:, :-width] @ user + layers["bias0"]
    for k in range(1, depth):
        x = F.linear(F.relu(x), layers[f"weight{k}"], layers[f"bias{k}"])
    return x[:, 0] + base
