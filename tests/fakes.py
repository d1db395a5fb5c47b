"""Tiny recommenders and learners with known behaviour, for tests of the referee."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl
import torch
from torch import Tensor

from acclimate.data import Dataset, FeatureTable, Feedback, Interactions, Items, Tasks, Vocabulary, make_tasks
from acclimate.errors import UserInputError
from acclimate.learners.base import Run
from acclimate.models.base import Recommender, Scale
from acclimate.tensors import State, masked_mean


def wide(scores: Tensor, n_users: int) -> Tensor:
    """[N] or [B, N] scores as [B, N]."""
    return scores.expand(n_users, *scores.shape[-1:]) if scores.dim() == 1 else scores


@dataclass(frozen=True)
class Constant:
    """The same score for everything and everybody."""

    value: float = 3.0
    scale: Scale = "rating"

    def adapt(self, support: Feedback) -> State:
        return {"n": support.mask.sum(1)}

    def score(self, state: State, items: Items) -> Tensor:
        return wide(torch.full(items.ids.shape, self.value), len(state["n"]))


@dataclass(frozen=True)
class ByItem:
    """A fixed score for each item of the catalogue."""

    scores: Tensor
    scale: Scale = "rank"

    def adapt(self, support: Feedback) -> State:
        return {"n": support.mask.sum(1)}

    def score(self, state: State, items: Items) -> Tensor:
        return wide(self.scores[items.ids.clamp(min=0)], len(state["n"]))


@dataclass(frozen=True)
class Shifted:
    """Item means plus the mean of what the support lies above them: learns from every event."""

    means: Tensor
    scale: Scale = "rating"

    def adapt(self, support: Feedback) -> State:
        above = support.values - self.means[support.items.ids.clamp(min=0)]
        n = support.mask.sum(1)
        return {"shift": masked_mean(above, support.mask, 1) * n / (n + 1)}

    def score(self, state: State, items: Items) -> Tensor:
        return wide(self.means[items.ids.clamp(min=0)], len(state["shift"])) + state["shift"][:, None]

    def deviation(self, state: State, items: Items) -> Tensor:
        return torch.full_like(self.score(state, items), 0.8)


@dataclass(frozen=True)
class Spy:
    """Writes down all that it is shown; scores by a hash of the support and the item."""

    seen: list[Feedback] = field(default_factory=list)
    given: list[Tensor] = field(default_factory=list)
    scale: Scale = "rating"

    def adapt(self, support: Feedback) -> State:
        self.seen.append(support)
        total = torch.where(support.mask, support.values * (support.items.ids + 1), 0.0).sum(1)
        return {"total": total}

    def score(self, state: State, items: Items) -> Tensor:
        scores = torch.sin(state["total"][:, None] + wide(items.ids.float(), len(state["total"])))
        self.given.append(scores)
        return scores


@dataclass(frozen=True)
class FitConstant:
    name: str = "constant"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> Constant:
        return Constant(float(dataset.interactions.values.mean()))


@dataclass(frozen=True)
class FitMeans:
    name: str = "means"
    damping: float = 2.0

    def means(self, dataset: Dataset) -> Tensor:
        inter = dataset.interactions
        mu = inter.values.mean()
        total = torch.zeros(inter.n_items).index_add(0, inter.items, inter.values - mu)
        return mu + total / (inter.item_counts() + self.damping)

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> ByItem:
        return ByItem(self.means(dataset), "rating")


@dataclass(frozen=True)
class FitShifted(FitMeans):
    name: str = "shifted"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> Shifted:  # type: ignore[override]
        return Shifted(self.means(dataset))


@dataclass(frozen=True)
class FitPopularity:
    name: str = "popularity"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> ByItem:
        return ByItem(dataset.interactions.item_counts().float())


@dataclass(frozen=True)
class Failing:
    name: str = "failing"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> Constant:
        raise UserInputError("this one wants ratings; the data holds implicit events.")


@dataclass(frozen=True)
class ByUser:
    """A fixed score for each user and item; knows users by their field ``who``."""

    scores: Tensor
    scale: Scale = "rank"

    def adapt(self, support: Feedback) -> State:
        return {"row": support.user["who"] - 1}

    def score(self, state: State, items: Items) -> Tensor:
        own = self.scores[state["row"]]
        return own[:, items.ids] if items.ids.dim() == 1 else own.gather(1, items.ids.clamp(min=0))


def asked(values: Tensor, *, explicit: bool = True, shown: Tensor | None = None) -> Tasks:
    """Tasks in which user u is asked about the items of row u that are not NaN, and shown those of ``shown``.

    Args:
        values: [U, N]. shown: [U, N], likewise.
    """
    shown = torch.full_like(values, torch.nan) if shown is None else shown
    n_users, n_items = values.shape
    support, query = ~shown.isnan(), ~values.isnan()
    users, items, entries = [], [], []
    for u in range(n_users):
        for mask, matrix in ((support, shown), (query, values)):
            own = mask[u].nonzero().flatten()
            users += [u] * len(own)
            items += own.tolist()
            entries += matrix[u, own].tolist()
    frame = pl.DataFrame({"who": [f"{u:06}" for u in range(n_users)]})
    inter = Interactions.from_columns(
        torch.tensor(users), torch.tensor(items), torch.tensor(entries), n_users=n_users, n_items=n_items
    )
    known = inter.values
    dataset = Dataset(
        interactions=inter,
        users=FeatureTable.from_frame(frame, {"who": "categorical"}),
        items=FeatureTable.empty(n_items),
        user_ids=Vocabulary(pl.Series(range(100, 100 + n_users))),
        item_ids=Vocabulary(pl.Series(range(n_items))),
        explicit=explicit,
        value_range=(float(known.min()), float(known.max())),
        name="made",
    )
    return make_tasks(
        dataset,
        torch.arange(n_users),
        torch.arange(len(inter)),
        inter.counts(),
        support=support.sum(1),
        query=query.sum(1),
    )
