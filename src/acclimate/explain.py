"""Why an item scores what it scores: what each event of a user added."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from acclimate.data import Feedback, Items
from acclimate.models.base import Attributable, Recommender

Method = Literal["exact", "leave-one-out"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Scores of N items for B users, taken apart by the S events of each user.

    Attributes:
        prior: [B, N] the score with no event at all (user fields still count).
        contributions: [B, N, S] what each event adds; 0 where the support is masked.
        total: [B, N] the score with all events.
        method: ``exact`` where ``prior + contributions.sum(-1) == total``; ``leave-one-out`` where a
            contribution is what the score loses without that event, and :attr:`rest` is what remains.
    """

    prior: Tensor
    contributions: Tensor
    total: Tensor
    method: Method

    @property
    def rest(self) -> Tensor:
        """[B, N], what no single event accounts for; zero, up to rounding, for an exact explanation."""
        return self.total - self.prior - self.contributions.sum(-1)


def explain(
    recommender: Recommender, support: Feedback, items: Items, *, batch_size: int = 256
) -> Explanation:
    """Takes the scores of ``items`` apart by the events of ``support``.

    A recommender that is ``Attributable`` says so itself, exactly. For every other one each event is left out
    in turn, all turns in one batch: the contribution of event s is ``score(all) - score(all but s)``.

    Args:
        support: of B users. items: ``ids`` [N], shared by all users.
        batch_size: most supports that are adapted to at once when events are left out.
    """
    nobody = replace(support, mask=torch.zeros_like(support.mask))
    prior = recommender.score(recommender.adapt(nobody), items)
    total = recommender.score(recommender.adapt(support), items)
    if isinstance(recommender, Attributable):
        return Explanation(prior, recommender.contributions(support, items), total, "exact")

    users, events = support.mask.nonzero(as_tuple=True)
    contributions = total.new_zeros(*total.shape, support.mask.shape[1])
    turns = torch.split(torch.arange(len(users)), batch_size) if len(users) else ()
    for left_out in turns:
        who, event = users[left_out], events[left_out]
        mask = support.mask[who].clone()
        mask[torch.arange(len(who)), event] = False
        without = recommender.score(recommender.adapt(replace(support[who], mask=mask)), items)
        contributions[who, :, event] = total[who] - without
    return Explanation(prior, contributions, total, "leave-one-out")
