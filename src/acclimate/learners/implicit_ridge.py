"""Meta-trains the implicit ridge on choices."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acclimate import models
from acclimate.data import Dataset, Items, TaskBatch, TaskSampler
from acclimate.encoders import FieldRows, RowEncoder, spectral_vectors
from acclimate.learners.base import Run
from acclimate.learners.composed import refuse_start
from acclimate.learners.episodic import Episodic
from acclimate.models.base import Recommender
from acclimate.tensors import masked_mean


@dataclass(frozen=True)
class ImplicitRidge:
    """Learns :class:`~acclimate.models.implicit_ridge.ImplicitRidge` by the full softmax over the catalogue.

    Item vectors start at the leading singular vectors of the normalised table of choices, which spares many
    epochs. A task shows a few random choices of a user and asks for the others; the loss is the
    cross-entropy of each asked item against the whole catalogue without the shown items. In a catalogue of
    more than ``candidates`` items, each step contrasts with a fresh uniform sample of that size, weighted
    up to the whole.

    Attributes:
        embedding_size: D.
        support, query, epochs, batch_size, outer_lr, id_decay, decay, id_dropout: as in
            :class:`~acclimate.learners.ridge.Ridge`.
        candidates: items of the sample.
    """

    embedding_size: int = 64
    support: tuple[int, int] = (1, 30)
    query: int = 30
    epochs: int = 30
    batch_size: int = 64
    outer_lr: float = 5e-3
    id_decay: float = 0.5
    decay: float = 0.01
    id_dropout: float = 0.1
    candidates: int = 20_000
    name: str = "implicit-ridge"

    def fit(  # rating data is taken as choices
        self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()
    ) -> models.ImplicitRidge:
        refuse_start(self.name, start)
        weighted = not dataset.explicit
        dataset = dataset.implicit() if dataset.explicit else dataset
        catalogue = dataset.catalogue().to(run.device)

        def loss(head: models.ImplicitRidge, batch: TaskBatch, generator: torch.Generator) -> Tensor:
            support, query = batch.support, batch.query
            items, sampled, where_support, where_query = self._candidates(
                catalogue, support.items.ids, query.items.ids, generator
            )
            dropped = torch.rand(len(items.ids), generator=generator).to(items.ids.device) < self.id_dropout
            encoded = head.encode(replace(items, ids=torch.where(dropped, -1, items.ids)))
            seen = encoded.inputs[sampled]
            state = replace(head, gram=seen.T @ seen / len(seen)).posterior(
                encoded.at(where_support), support
            )
            logits = head.predict(state, encoded)  # [B, N]
            # Padding points at item 0: the marks must add up, or it could erase a real one.
            shown = torch.zeros_like(logits).scatter_add(1, where_support, support.mask.float()) > 0
            asked = logits.gather(1, where_query)
            rest = logits.masked_fill(shown | ~sampled, -torch.inf).logsumexp(1, keepdim=True)
            rest = rest + math.log(len(catalogue.ids) / len(seen))
            total = torch.where(sampled[where_query], rest, torch.logaddexp(rest, asked))
            counted = query.mask & ~shown.gather(1, where_query)
            return masked_mean((total - asked).flatten(), counted.flatten(), 0)

        head = Episodic(
            sampler=TaskSampler(self.support, self.query, self.batch_size),
            epochs=self.epochs,
            outer_lr=self.outer_lr,
            decay={"bias.*": 0.0, "*.ids": self.id_decay, "log_*": 0.0, "*": self.decay},
        ).train(
            self._initial(dataset, weighted, run.generator()),
            ("*.ids", "*.fields", "log_*"),
            loss,
            dataset,
            run,
            self.name,
        )
        with torch.no_grad():
            inputs = head.encode(dataset.catalogue()).inputs
        return replace(head, gram=inputs.T @ inputs / len(inputs))

    def _candidates(
        self, catalogue: Items, support: Tensor, query: Tensor, generator: torch.Generator
    ) -> tuple[Items, Tensor, Tensor, Tensor]:
        """The items of one softmax [N]; which of them are a fair sample of the catalogue [N]; and where the
        support [B, S] and the query [B, Q] stand among them.
        """
        n, device = len(catalogue.ids), support.device
        if n <= self.candidates:
            everything = torch.ones(n, dtype=torch.bool, device=device)
            return catalogue, everything, support.clamp(min=0), query.clamp(min=0)
        drawn = torch.randperm(n, generator=generator)[: self.candidates].to(device)
        flat = torch.cat([support.flatten(), query.flatten()]).clamp(min=0)
        used = torch.unique(torch.cat([flat, drawn]))
        fair = torch.zeros(n, dtype=torch.bool, device=device)
        fair[drawn] = True
        where = torch.searchsorted(used, flat)
        shown, asked = where[: support.numel()], where[support.numel() :]
        return catalogue[used], fair[used], shown.view(support.shape), asked.view(query.shape)

    def _initial(self, dataset: Dataset, weighted: bool, generator: torch.Generator) -> models.ImplicitRidge:
        items, users = FieldRows(dataset.items.schema), FieldRows(dataset.users.schema)
        n, width = dataset.n_items, self.embedding_size
        bias = RowEncoder.create(items, n, 1, 0.0)
        counts = dataset.interactions.item_counts().float()
        bias.ids[:, 0] = torch.log1p(counts) - torch.log1p(counts).mean()
        spectral = spectral_vectors(dataset.interactions, width)
        # A little noise, since a coordinate where both vectors are zero would never get a gradient.
        inputs, outputs = (RowEncoder.create(items, n, width, 0.01, generator) for _ in range(2))
        inputs.ids.add_(0.1 * spectral)
        outputs.ids.add_(0.1 * spectral)
        return models.ImplicitRidge(
            inputs=inputs,
            outputs=outputs,
            bias=bias,
            prior=RowEncoder.create(users, 0, width, 0.0),
            gram=torch.zeros(width, width),
            log_precision=torch.zeros(width),
            log_gram=torch.zeros(1),
            log_confidence=torch.zeros(1),
            weighted=weighted,
        )
