"""Synthetic worlds: small data with a known answer, for tests, examples and the laws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from acclimate.data.dataset import Dataset
from acclimate.data.features import FeatureTable
from acclimate.data.interactions import Interactions
from acclimate.data.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class World:
    """A dataset and the truth it was drawn from.

    Attributes:
        dataset: what learners may see.
        truth: [U, N] float32, the noise-free rating (explicit) or log-odds of a choice (implicit).
    """

    dataset: Dataset
    truth: Tensor


def synthetic_world(
    n_users: int = 200,
    n_items: int = 80,
    *,
    rank: int = 3,
    events: tuple[int, int] = (5, 40),
    noise: float = 0.3,
    explicit: bool = True,
    seed: int = 0,
) -> World:
    """A low-rank world: ``truth[u, i] = mu + a_u + b_i + p_u . q_i``.

    An item's vector is its genre's plus noise of its own, a user's is its group's plus noise, so that fields
    inform about both. Explicit values are the truth plus Gaussian noise, clipped to 1 .. 5 and rounded to
    halves. In an implicit world users choose without replacement in proportion to ``exp(2 truth)``.

    Args:
        events: fewest and most events of a user, drawn uniformly; never more than there are items.
        noise: standard deviation of the noise on ratings.
    """
    g = torch.Generator().manual_seed(seed)
    genres, groups = 4, 3
    genre = torch.randint(genres, (n_items,), generator=g)
    group = torch.randint(groups, (n_users,), generator=g)
    q = torch.randn(genres, rank, generator=g)[genre] + 0.5 * torch.randn(n_items, rank, generator=g)
    p = 0.5 * torch.randn(groups, rank, generator=g)[group] + 0.6 * torch.randn(n_users, rank, generator=g)
    a = 0.4 * torch.randn(n_users, generator=g)
    b = 0.5 * torch.randn(n_items, generator=g)
    truth = a[:, None] + b + 0.6 * p @ q.T
    truth = truth + 3.0 if explicit else truth

    fewest, most = (min(n, n_items) for n in events)
    counts = torch.randint(fewest, most + 1, (n_users,), generator=g)
    gumbel = -torch.log(-torch.log(torch.rand(truth.shape, generator=g).clamp(1e-9, 1 - 1e-7)))
    appeal = gumbel if explicit else 2 * truth + gumbel
    chosen = appeal.argsort(dim=1, descending=True)  # [U, N], a draw without replacement
    users = torch.arange(n_users).repeat_interleave(counts)
    items = torch.cat([chosen[u, : int(counts[u])] for u in range(n_users)])
    values = torch.ones(len(users))
    if explicit:
        drawn = truth[users, items] + noise * torch.randn(len(users), generator=g)
        values = (drawn * 2).round().div(2).clamp(1.0, 5.0)
    times = 1_600_000_000 + 60 * torch.arange(len(users))

    names = np.array(["comedy", "drama", "horror", "western"])
    other = torch.randint(genres, (n_items,), generator=g)
    item_frame = pl.DataFrame(
        {
            "genre": names[genre.numpy()],
            "tags": [f"{names[i]}|{names[j]}" for i, j in zip(genre.tolist(), other.tolist(), strict=True)],
            "length": (90 + 10 * q[:, 0]).numpy(),
        }
    )
    user_frame = pl.DataFrame({"group": [f"g{i}" for i in group.tolist()]})
    dataset = Dataset(
        interactions=Interactions.from_columns(users, items, values, times, n_users=n_users, n_items=n_items),
        users=FeatureTable.from_frame(user_frame, {"group": "categorical"}),
        items=FeatureTable.from_frame(
            item_frame, {"genre": "categorical", "tags": "multi", "length": "numeric"}
        ),
        user_ids=Vocabulary(pl.Series([f"u{i}" for i in range(n_users)])),
        item_ids=Vocabulary(pl.Series([f"i{i}" for i in range(n_items)])),
        explicit=explicit,
        value_range=(1.0, 5.0) if explicit else (1.0, 1.0),
        name="synthetic",
    )
    return World(dataset, truth)
