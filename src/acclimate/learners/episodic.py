"""The one outer loop: meta-training by gradient descent on the query loss of sampled tasks."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from acclimate.data import Dataset, TaskBatch, TaskSampler
from acclimate.errors import NotConvergedError, UserInputError
from acclimate.learners.base import Run
from acclimate.progress import track
from acclimate.tensors import map_tensors, named_tensors

log = logging.getLogger("acclimate")

R = TypeVar("R")


@dataclass(frozen=True)
class Episodic:
    """How to meta-train: which tasks, how many, and how to step.

    AdamW with a one-cycle learning rate, gradients clipped to a norm. The loss of a batch is the mean over
    its query events, not the mean of task means: tasks with more queries say more.

    Attributes:
        sampler: draws the tasks.
        epochs: how often every training user becomes a task.
        outer_lr: peak learning rate.
        decay: decoupled weight decay by pattern of the parameter's path, first match wins.
        clip: largest norm of the gradient.

    Source: Vinyals et al., "Matching Networks for One Shot Learning", NeurIPS 2016, section 2.2, for
    episodes.
    """

    sampler: TaskSampler = TaskSampler()
    epochs: int = 20
    outer_lr: float = 5e-3
    decay: Mapping[str, float] = field(default_factory=lambda: {"*.ids": 0.5, "*": 0.01})
    clip: float = 1.0

    def train(
        self,
        initial: R,
        trainable: tuple[str, ...],
        loss: Callable[[R, TaskBatch, torch.Generator], Tensor],
        dataset: Dataset,
        run: Run,
        what: str,
    ) -> R:
        """Trains the tensors of a recommender.

        Args:
            initial: a dataclass of tensors, the starting point; not changed.
            trainable: patterns of the paths of the tensors to train, such as ``*.ids``.
            loss: (recommender, batch, generator) -> scalar, differentiable in its tensors.
            dataset: where tasks are drawn from. what: label of the progress bar.

        Returns:
            The trained recommender, detached, on the CPU.

        Raises:
            NotConvergedError: the loss is no longer finite.
            UserInputError: no user has enough events for a task.
        """
        steps = self.epochs * self.sampler.steps(dataset)
        if steps == 0:
            raise UserInputError(
                f"No user of {dataset.name!r} has the {self.sampler.min_events} events "
                "that a training task needs."
            )
        device = torch.device(run.device)
        model = map_tensors(initial, lambda x: x.detach().clone().to(device))
        chosen = {
            name: x.requires_grad_()
            for name, x in named_tensors(model)
            if x.is_floating_point() and any(fnmatch.fnmatchcase(name, p) for p in trainable)
        }
        groups = [{"params": [x], "weight_decay": self._decay_of(name)} for name, x in chosen.items()]
        optimiser = torch.optim.AdamW(groups, lr=self.outer_lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=self.outer_lr, total_steps=steps + 1)
        generator = run.generator()
        step, last = 0, None
        with track(what, steps, run.progress) as advance:
            for epoch in range(self.epochs):
                for batch in self.sampler.epoch(dataset, generator):
                    optimiser.zero_grad(set_to_none=True)
                    try:
                        value = loss(model, batch.to(device), generator)
                    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # torch does not declare it
                        raise NotConvergedError(step, last) from None
                    torch.autograd.backward(value)
                    norm = torch.nn.utils.clip_grad_norm_(list(chosen.values()), self.clip)
                    now = float(value.detach())
                    if not (torch.isfinite(norm) and torch.isfinite(value)):
                        raise NotConvergedError(step, last)
                    optimiser.step()
                    schedule.step()
                    step, last = step + 1, now
                    advance(1, f"loss {now:.3f}")
                log.info("%s: epoch %d of %d, loss %.4f", what, epoch + 1, self.epochs, last or 0.0)
        return map_tensors(model, lambda x: x.detach().cpu())

    def _decay_of(self, name: str) -> float:
        return next((d for pattern, d in self.decay.items() if fnmatch.fnmatchcase(name, pattern)), 0.0)
