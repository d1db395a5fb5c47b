"""What a recommender is: two verbs, and the capabilities it may have besides."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from acclimate.data import Feedback, Items
from acclimate.models.closed_form import ClosedForm
from acclimate.tensors import State

Scale = Literal["rating", "rank"]


@runtime_checkable
class Recommender(Protocol):
    """Fitted and immutable: adapts to users it has never seen, and scores items for them.

    ``scale`` says what a score means: ``rating`` predicts the value itself, in its own units; ``rank`` only
    orders items.
    """

    @property
    def scale(self) -> Scale: ...

    def adapt(self, support: Feedback) -> State:
        """What the support tells about its B users; detached, and total: an empty support is the prior.

        Returns:
            Tensors whose first dimension is B; at least one.
        """
        ...

    def score(self, state: State, items: Items) -> Tensor:
        """Scores [B, N] float32, finite, higher is better.

        Args:
            state: of B users. items: ``ids`` [N], shared by all users, or [B, N], a list for each.
        """
        ...


@runtime_checkable
class Retrieval(Protocol):
    """Scores are dot products, so that a catalogue can be scanned or indexed.

    Law: ``score(state, items) == user_vectors(state) @ item_vectors(items).T``.
    """

    def user_vectors(self, state: State) -> Tensor:
        """[B, D]."""
        ...

    def item_vectors(self, items: Items) -> Tensor:
        """[N, D], or [B, N, D] for a list of items for each user."""
        ...


@runtime_checkable
class Incremental(Protocol):
    """One more event does not need the earlier ones.

    Law: ``update(adapt(a), b) == adapt(a and b)``.
    """

    def update(self, state: State, feedback: Feedback) -> State:
        """The state after the events of ``feedback`` [B, S] as well."""
        ...


@runtime_checkable
class Uncertain(Protocol):
    """Knows how unsure it is.

    Law: never negative, and more events never make it larger.
    """

    def deviation(self, state: State, items: Items) -> Tensor:
        """Posterior standard deviation of the score, [B, N], in the units of the score."""
        ...


@runtime_checkable
class Attributable(Protocol):
    """The score is the prior's plus one term for each support event, exactly.

    Law: ``score(adapt(s)) == score(adapt(nothing)) + contributions(s, items).sum(-1)``.
    """

    def contributions(self, support: Feedback, items: Items) -> Tensor:
        """[B, N, S], what each support event adds to each item's score; 0 where the support is masked."""
        ...


@runtime_checkable
class Tabular(Protocol):
    """Has a closed form over a fixed list of items, for one person at a time and without tensors.

    Law: ``tabulate(items).vector(rows, values, prior_mean(s)) == user_vectors(adapt(s))``, where ``s`` shows
    ``values`` of the items at ``rows``.
    """

    def tabulate(self, items: Items) -> ClosedForm:
        """Tables of the items ``ids`` [N]."""
        ...

    def prior_mean(self, support: Feedback) -> Tensor:
        """[B, D], what is expected of the users by their fields alone."""
        ...
