"""What people call the algorithms: each name makes a learner, with that learner's documented settings."""

from __future__ import annotations

from acclimate.learners.classical import (
    ALS,
    EASE,
    IALS,
    Bias,
    Content,
    ItemKNN,
    ItemMean,
    Popularity,
    UserKNN,
)
from acclimate.learners.composed import Blend, Fallback, Residual
from acclimate.learners.implicit_ridge import ImplicitRidge
from acclimate.learners.maml import Maml
from acclimate.learners.ridge import Ridge
from acclimate.learners.tuned import Tuned
from acclimate.models.inner_loop import InnerLoop

popularity = Popularity
item_mean = ItemMean
bias = Bias
content = Content
user_knn = UserKNN
item_knn = ItemKNN
ease = EASE
als = ALS
ials = IALS
ridge = Ridge
implicit_ridge = ImplicitRidge
residual = Residual
fallback = Fallback
blend = Blend
tuned = Tuned


def maml(*, steps: int = 3, inner_lr: float = 0.05, name: str = "maml") -> Maml:
    """Model-agnostic meta-learning: all layers of the network adapt, gradients of the second order.

    Differs from the paper in what stays slow: the embeddings of ids and fields do not adapt, the layers above
    them do; and in the query loss, smooth L1 pooled over the query events of a batch.

    Args:
        steps: gradient steps on the support. inner_lr: their size.

    Source: Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", ICML
    2017, algorithm 2.
    """
    return Maml(inner=InnerLoop(steps=steps, inner_lr=inner_lr), name=name)


def fomaml(*, steps: int = 3, inner_lr: float = 0.05, name: str = "fomaml") -> Maml:
    """MAML with first-order gradients: the inner gradients count as constants.

    Source: Finn, Abbeel, Levine, ICML 2017, section 5.2.
    """
    return Maml(inner=InnerLoop(steps=steps, inner_lr=inner_lr, first_order=True), name=name)


def anil(*, steps: int = 3, inner_lr: float = 0.05, name: str = "anil") -> Maml:
    """Almost no inner loop: only the last layer adapts, as in MAML otherwise.

    Source: Raghu et al., "Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of MAML",
    ICLR 2020, section 4.
    """
    hidden = Maml().hidden
    last = (f"weight{len(hidden)}", f"bias{len(hidden)}")
    return Maml(inner=InnerLoop(steps=steps, inner_lr=inner_lr, adaptive=last), name=name)


__all__ = [
    "als",
    "anil",
    "bias",
    "blend",
    "content",
    "ease",
    "fallback",
    "fomaml",
    "ials",
    "implicit_ridge",
    "item_knn",
    "item_mean",
    "maml",
    "popularity",
    "residual",
    "ridge",
    "tuned",
    "user_knn",
]
