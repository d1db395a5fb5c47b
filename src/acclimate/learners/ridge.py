"""Meta-trains the ridge head on ratings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.data import Dataset, TaskBatch, TaskSampler
from acclimate.encoders import FieldRows, RowEncoder
from acclimate.errors import UserInputError
from acclimate.learners.base import Run
from acclimate.learners.composed import refuse_start
from acclimate.learners.episodic import Episodic
from acclimate.models.base import Recommender
from acclimate.models.ridge import RidgeHead


@dataclass(frozen=True)
class Ridge:
    """Learns :class:`~acclimate.models.ridge.RidgeHead` so that the posterior after a few ratings predicts
    the rest.

    Attributes:
        embedding_size: D, width of the item vectors without the constant.
        support: smallest and largest support of a training task. query: most query ratings of one.
        epochs, batch_size, outer_lr: of :class:`~acclimate.learners.episodic.Episodic`.
        id_decay: weight decay of id embeddings and item biases. With little of it every item is memorised
            and new users gain nothing. decay: of what is learned about fields, the base line apart.
        id_dropout: share of items that lose their id in a training batch, so that a new item is nothing
            special.
        damping: item biases start at the item means, as if every item had this many more average ratings.
        beta: the query loss is quadratic below this error and linear above (smooth L1), in units of
            :attr:`~acclimate.data.dataset.Dataset.unit`.
    """

    embedding_size: int = 32
    support: tuple[int, int] = (1, 80)
    query: int = 100
    epochs: int = 20
    batch_size: int = 64
    outer_lr: float = 5e-3
    id_decay: float = 0.5
    decay: float = 0.3
    id_dropout: float = 0.1
    damping: float = 10.0
    beta: float = 0.5
    name: str = "ridge"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> RidgeHead:
        refuse_start(self.name, start)
        if not dataset.explicit:
            raise UserInputError(
                f"{self.name} predicts ratings; {dataset.name!r} has none. Use implicit_ridge."
            )
        unit = dataset.unit
        dataset = dataset.with_values(dataset.interactions.values / unit)
        generator = run.generator()
        initial = self._initial(dataset, generator)
        catalogue = dataset.catalogue().to(run.device)

        def loss(head: RidgeHead, batch: TaskBatch, generator: torch.Generator) -> Tensor:
            ids = torch.cat([batch.support.items.ids, batch.query.items.ids], 1)
            used, where = torch.unique(ids.clamp(min=0), return_inverse=True)
            items = catalogue[used]
            dropped = torch.rand(len(used), generator=generator).to(used.device) < self.id_dropout
            encoded = head.encode(replace(items, ids=torch.where(dropped, -1, items.ids)))
            cut = batch.support.items.ids.shape[1]
            state = head.posterior(encoded.at(where[:, :cut]), batch.support)
            predicted = head.predict(state, encoded.at(where[:, cut:]))
            mask = batch.query.mask
            return F.smooth_l1_loss(predicted[mask], batch.query.values[mask], beta=self.beta)

        sampler = TaskSampler(self.support, self.query, self.batch_size)
        head = Episodic(
            sampler=sampler,
            epochs=self.epochs,
            outer_lr=self.outer_lr,
            decay={"*.ids": self.id_decay, "bias.fields": 0.0, "log_*": 0.0, "*": self.decay},
        ).train(initial, ("*.ids", "*.fields", "log_*"), loss, dataset, run, self.name)
        return _in_units(_calibrated(head, sampler, dataset, generator), unit)

    def _initial(self, dataset: Dataset, generator: torch.Generator) -> RidgeHead:
        items, users = FieldRows(dataset.items.schema), FieldRows(dataset.users.schema)
        n, width = dataset.n_items, self.embedding_size
        bias = RowEncoder.create(items, n, 1, 0.0)
        ratings, item = dataset.interactions.values, dataset.interactions.items
        bias.fields[0] = ratings.mean()
        above = torch.zeros(n).index_add(0, item, ratings - ratings.mean())
        bias.ids[:, 0] = above / (dataset.interactions.item_counts() + self.damping)
        return RidgeHead(
            vectors=RowEncoder.create(items, n, width, 0.1, generator),
            bias=bias,
            prior=RowEncoder.create(users, 0, width + 1, 0.0),
            log_precision=torch.full((width + 1,), 1.5),
            log_noise=torch.zeros(1),
        )


def _calibrated(
    head: RidgeHead, sampler: TaskSampler, dataset: Dataset, generator: torch.Generator, batches: int = 16
) -> RidgeHead:
    """Scales prior and noise so that squared query errors match what the posterior expects of them.

    The query loss sees only the posterior mean, which depends on the ratio of the two: their common scale is
    left open by training and would make the deviation meaningless. The mean stays the same.
    """
    total, n = 0.0, 0
    for batch, _ in zip(sampler.epoch(dataset, generator), range(batches), strict=False):
        state, mask = head.adapt(batch.support), batch.query.mask
        error = head.score(state, batch.query.items) - batch.query.values
        expected = head.deviation(state, batch.query.items).square() + torch.exp(-head.log_noise)
        total += float((error.square() / expected)[mask].sum())
        n += int(mask.sum())
    shift = math.log(max(total / n, 1e-6))
    return replace(head, log_precision=head.log_precision - shift, log_noise=head.log_noise - shift)


def _in_units(head: RidgeHead, unit: float) -> RidgeHead:
    """The head for ratings ``unit`` times as large as those it was trained on."""
    shift = 2 * math.log(unit)
    return replace(
        head,
        bias=replace(head.bias, ids=head.bias.ids * unit, fields=head.bias.fields * unit),
        prior=replace(head.prior, ids=head.prior.ids * unit, fields=head.prior.fields * unit),
        log_precision=head.log_precision - shift,
        log_noise=head.log_noise - shift,
    )
