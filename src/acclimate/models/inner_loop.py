"""The inner loop: a few differentiable gradient steps for one user, batched from outside by vmap."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.errors import UserInputError

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class InnerLoop:
    """Gradient descent from slow weights to one task's fast weights:

        fast_0 = slow,   fast_{t+1} = fast_t - inner_lr * d support_loss(fast_t) / d fast_t

    Attributes:
        steps: how many. inner_lr: step size.
        first_order: treat the gradient as a constant when differentiating the result (FOMAML).
        adaptive: patterns of the weights that adapt; the others stay slow (ANIL: the last layer).

    Source: Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", ICML
    2017, eq. 1 and section 5.2 for the first-order form.
    """

    steps: int = 1
    inner_lr: float = 0.1
    first_order: bool = False
    adaptive: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.inner_lr > 0:
            raise UserInputError(
                f"An inner loop takes at least one step of a positive size; found steps={self.steps} and "
                f"inner_lr={self.inner_lr}."
            )

    def chosen(self, slow: Weights) -> Weights:
        """The weights that adapt.

        Raises:
            UserInputError: ``adaptive`` matches nothing.
        """
        chosen = {n: w for n, w in slow.items() if any(fnmatch.fnmatchcase(n, p) for p in self.adaptive)}
        if not chosen:
            raise UserInputError(
                f"adaptive={self.adaptive!r} matches no weight; this network has {', '.join(sorted(slow))}."
            )
        return chosen

    def __call__(self, support_loss: Callable[[Weights], Tensor], slow: Weights) -> Weights:
        """The fast weights of one task, differentiable in the slow ones.

        Args:
            support_loss: all weights -> scalar. slow: name -> tensor.

        Returns:
            Only the weights that adapt.
        """
        fast = self.chosen(slow)
        gradient = torch.func.grad(lambda weights: support_loss({**slow, **weights}))
        for _ in range(self.steps):
            slope = gradient(fast)
            if self.first_order:
                slope = {name: g.detach() for name, g in slope.items()}
            fast = {name: w - self.inner_lr * slope[name] for name, w in fast.items()}
        return fast
