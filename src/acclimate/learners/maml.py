"""Meta-trains a network to adapt by gradient steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from acclimate.data import Dataset, Items, TaskBatch, TaskSampler
from acclimate.encoders import FieldRows, RowEncoder
from acclimate.learners.base import Run
from acclimate.learners.composed import refuse_start
from acclimate.learners.episodic import Episodic
from acclimate.models.base import Recommender, Scale
from acclimate.models.fast_weights import FastWeights
from acclimate.models.inner_loop import InnerLoop
from acclimate.models.network import Network


@dataclass(frozen=True)
class Maml:
    """Learns :class:`~acclimate.models.fast_weights.FastWeights` by the query loss after the inner loop.

    Ratings are learned with smooth L1 on the query; choices with the cross-entropy of each query item
    against a fresh uniform sample of the catalogue.

    Attributes:
        inner: the inner loop: steps, step size, order, which layers adapt.
        embedding_size: D of item and user vectors. hidden: widths of the hidden layers.
        contrast: how many items choices are contrasted with in the inner loop (fixed) and outer loop (fresh).
        support, query, epochs, batch_size, outer_lr, id_decay, decay, id_dropout: as in
            :class:`~acclimate.learners.ridge.Ridge`.
    """

    inner: InnerLoop = InnerLoop(steps=3, inner_lr=0.05)
    embedding_size: int = 32
    hidden: tuple[int, ...] = (64, 64)
    contrast: int = 256
    support: tuple[int, int] = (1, 40)
    query: int = 50
    epochs: int = 20
    batch_size: int = 64
    outer_lr: float = 5e-3
    id_decay: float = 0.5
    decay: float = 0.01
    id_dropout: float = 0.1
    name: str = "maml"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> FastWeights:
        refuse_start(self.name, start)
        unit = dataset.unit if dataset.explicit else 1.0
        dataset = dataset.with_values(dataset.interactions.values / unit)
        generator = run.generator()
        initial = self._initial(dataset, generator)
        catalogue = dataset.catalogue().to(run.device)

        def loss(model: FastWeights, batch: TaskBatch, generator: torch.Generator) -> Tensor:
            contrast = (
                self._contrast(dataset, generator).to(run.device)
                if not dataset.explicit
                else model.contrast.ids
            )
            ids = torch.cat(
                [
                    batch.support.items.ids.flatten(),
                    batch.query.items.ids.flatten(),
                    model.contrast.ids,
                    contrast,
                ]
            )
            used, where = torch.unique(ids.clamp(min=0), return_inverse=True)
            items = catalogue[used]
            dropped = torch.rand(len(used), generator=generator).to(used.device) < self.id_dropout
            vectors, base = model.network.encode(replace(items, ids=torch.where(dropped, -1, items.ids)))
            sizes = [
                batch.support.mask.numel(),
                batch.query.mask.numel(),
                len(model.contrast.ids),
                len(contrast),
            ]
            shown, asked, inner, outer = where.split(sizes)
            shown, asked = shown.view(batch.support.mask.shape), asked.view(batch.query.mask.shape)
            users, fast = model.fast(
                batch.support, (vectors[shown], base[shown]), (vectors[inner], base[inner])
            )
            scores = model.predict(users, fast, (vectors[asked], base[asked]))
            mask = batch.query.mask
            if model.scale == "rating":
                return F.smooth_l1_loss(scores[mask], batch.query.values[mask])
            against = model.predict(users, fast, (vectors[outer], base[outer])).logsumexp(1, keepdim=True)
            return (torch.logaddexp(scores, against) - scores)[mask].mean()

        model = Episodic(
            sampler=TaskSampler(self.support, self.query, self.batch_size),
            epochs=self.epochs,
            outer_lr=self.outer_lr,
            decay={"*bias.*": 0.0, "*.ids": self.id_decay, "*": self.decay},
        ).train(initial, ("network.*",), loss, dataset, run, self.name)
        return replace(model, unit=unit)

    def _contrast(self, dataset: Dataset, generator: torch.Generator) -> Tensor:
        return torch.randint(dataset.n_items, (min(self.contrast, dataset.n_items),), generator=generator)

    def _initial(self, dataset: Dataset, generator: torch.Generator) -> FastWeights:
        items, users = FieldRows(dataset.items.schema), FieldRows(dataset.users.schema)
        n, width = dataset.n_items, self.embedding_size
        bias = RowEncoder.create(items, n, 1, 0.0)
        scale: Scale = "rating" if dataset.explicit else "rank"
        contrast: Items = dataset.items_at(torch.zeros(0, dtype=torch.int64))
        if dataset.explicit:
            bias.fields[0] = dataset.interactions.values.mean()
        else:
            counts = dataset.interactions.item_counts().float()
            bias.ids[:, 0] = torch.log1p(counts) - torch.log1p(counts).mean()
            contrast = dataset.items_at(self._contrast(dataset, generator))
        network = Network.create(
            RowEncoder.create(items, n, width, 0.1, generator),
            RowEncoder.create(users, 0, width, 0.1, generator),
            bias,
            self.hidden,
            generator,
        )
        return FastWeights(network, self.inner, scale, contrast)
