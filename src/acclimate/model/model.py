"""Model: a recommender that speaks the caller's ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor

from acclimate.data import Dataset
from acclimate.errors import UserInputError
from acclimate.explain import explain
from acclimate.model import file
from acclimate.model.align import Lost, align
from acclimate.model.names import Names
from acclimate.model.provenance import Provenance
from acclimate.model.shown import (
    Events,
    Shelf,
    Shown,
    Unknown,
    as_frame,
    column_of,
    newcomers,
    stored,
    together,
)
from acclimate.models.base import Recommender, Retrieval, Uncertain
from acclimate.tensors import State

# Scores of a batch held at once: keeps a large catalogue from taking all memory.
_MOST_SCORES = 4_000_000
_BATCH = 256
"""Most people that are adapted to at once."""
_SAMPLE = 500
"""Most people over whom items are compared."""


@dataclass(frozen=True, eq=False)
class Model:
    """A fitted recommender with the ids, the catalogue and the histories it was trained on.

    Every method takes and gives ids in the caller's own type. Where it says ``users``, it means users of the
    training data, whose stored history is adapted to; one id or several. Where it says ``events``, it means
    what newcomers did, in order of arrival:

    - a list for one person, of item ids (implicit feedback), ``(item, value)`` or ``(item, value, time)``, or
      dicts with these keys; an empty list is the coldest start;
    - a mapping of names to such lists, or a table with a user column, for several;
    - both ``users`` and ``events`` for one stored user: the events follow the stored ones.

    An item may be named by its title where no id is meant. A dict or table may carry the fields of an item
    that the catalogue lacks; then it counts by its fields. Times are seconds since epoch or datetimes. Of an
    item that one person met twice, the last event counts. ``user`` holds fields of one newcomer, or maps
    names to fields.

    Attributes:
        recommender: what adapts and scores.
        data: vocabularies, catalogue and histories; without users if they were not kept.
        provenance: where all this came from.
        read_as: SHA-256 of the file that it was read from; None if it was not.
    """

    recommender: Recommender
    data: Dataset
    provenance: Provenance
    read_as: str | None = None

    def __repr__(self) -> str:
        came, kept = (
            self.provenance,
            f"{self.data.n_users:,} users" if self.data.n_users else "no histories kept",
        )
        return f"Model({came.learner} on {came.data!r}: {self.data.n_items:,} items, {kept})"

    @property
    def predicts_ratings(self) -> bool:
        """Whether scores are ratings in their own units; otherwise they only order items."""
        return self.recommender.scale == "rating" and self.data.explicit

    @property
    def takes_choices(self) -> bool:
        """Whether every event counts as a choice although the data holds ratings.

        So it is for what only orders items: it learned that somebody chose, not how they rated.
        """
        return self.recommender.scale == "rank" and self.data.explicit

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 that names this model: what :meth:`save` returns."""
        return self.read_as or file.digest(self.recommender, self.data, self.provenance)

    @cached_property
    def names(self) -> Names:
        """The items by id and title."""
        return Names.of(self.data)

    def recommend(
        self,
        users: object = None,
        events: object = None,
        *,
        k: int = 10,
        exclude_seen: bool = True,
        items: object = None,
        user: Mapping[str, Any] | None = None,
        unknown: Unknown = "error",
    ) -> pl.DataFrame:
        """The k best items for each person.

        Args:
            users, events, user: for whom, see the class.
            k: most items a person gets; fewer where fewer are left.
            exclude_seen: leave out what the person's events are about.
            items: the candidates: ids, or a table of items with their fields, which need not be in the
                catalogue; default the whole catalogue.
            unknown: ``error`` refuses unknown users and items; ``prior`` treats an unknown user as a newcomer
                who did nothing and an event on an unknown item as one on an item without fields.

        Returns:
            ``user_id`` (null for one person without a name), ``item_id``, ``score``, ``rank`` from 1, and
            ``deviation``, the score's standard deviation, where the recommender knows it. A predicted rating
            is clipped to the range of ratings. Equal scores stand in the order of the catalogue.

        Raises:
            UserInputError: unknown users, items or fields, values out of range, or a k below 1.
        """
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise UserInputError(f"k must be a whole number from 1 on; found {k!r}.")
        shown = self._shown(users, events, user, unknown)
        shelf, rows = self._candidates(items, shown.shelf)
        n = min(k, len(rows))
        place = torch.full((len(shelf.table) + 1,), -1)  # the last entry stands for -1
        place[rows] = torch.arange(len(rows))
        parts = []
        for people, state, scores in self._scored(shown, shelf, rows):
            allowed = torch.ones_like(scores, dtype=torch.bool)
            if exclude_seen:
                seen = place[shown.events.rows[shown.events.of(people)]]
                lengths = shown.events.offsets[people + 1] - shown.events.offsets[people]
                who = torch.arange(len(people)).repeat_interleave(lengths)
                allowed[who[seen >= 0], seen[seen >= 0]] = False
            at = best(scores, allowed, n)
            chosen = {"score": scores.gather(1, at)}
            if isinstance(self.recommender, Uncertain):
                with torch.no_grad():
                    chosen["deviation"] = self.recommender.deviation(state, shelf.items(rows[at]))
            parts.append((people, rows[at], allowed.gather(1, at), chosen))
        return self._frame(shown, shelf, parts, ranked=True)

    def score(
        self,
        users: object = None,
        events: object = None,
        *,
        items: object = None,
        user: Mapping[str, Any] | None = None,
        unknown: Unknown = "error",
    ) -> pl.DataFrame:
        """Scores of the given items for each person, in the given order; arguments as in :meth:`recommend`.

        Returns:
            ``user_id``, ``item_id``, ``score``, and ``deviation`` where the recommender knows it.
        """
        shown = self._shown(users, events, user, unknown)
        shelf, rows = self._candidates(items, shown.shelf)
        parts = []
        for people, state, scores in self._scored(shown, shelf, rows):
            chosen = {"score": scores}
            if isinstance(self.recommender, Uncertain):
                with torch.no_grad():
                    chosen["deviation"] = self.recommender.deviation(state, shelf.items(rows))
            everywhere = torch.ones_like(scores, dtype=torch.bool)
            parts.append((people, rows.expand(len(people), -1), everywhere, chosen))
        return self._frame(shown, shelf, parts, ranked=False)

    def explain(
        self,
        *,
        item: Any,
        users: object = None,
        events: object = None,
        user: Mapping[str, Any] | None = None,
        unknown: Unknown = "error",
    ) -> pl.DataFrame:
        """Why an item scores what it scores for one person: what each event added.

        Args:
            item: the item, by id or title. users, events, user, unknown: for whom, as in :meth:`recommend`.

        Returns:
            A row ``prior`` (the score with no event at all), a row ``event`` for each event, a row ``rest``
            (what no single event accounts for) and a row ``total``, the score before any clipping: the sum of
            the others. Columns ``part``, ``item_id`` (of the event), ``value``, ``contribution``, and
            ``method``: ``exact``, or ``leave-one-out``, where a contribution is what the score loses without
            that event.
        """
        shown = self._shown(users, events, user, unknown)
        if len(shown) != 1:
            raise UserInputError(
                f"An explanation is one person's; found {len(shown)}. Explain one after the other."
            )
        shelf, rows = self._candidates([item], shown.shelf)
        found = explain(self.recommender, shown.feedback(torch.arange(1)), shelf.items(rows))
        given = [None if v is None else float(v) for v in shown.events.values.tolist()]
        n = len(given)
        parts = found.contributions[0, 0].tolist()
        return pl.DataFrame(
            {
                "part": ["prior", *["event"] * n, "rest", "total"],
                "item_id": pl.concat([_blank(shelf, 1), shelf.ids(shown.events.rows), _blank(shelf, 2)]),
                "value": pl.Series([None, *given, None, None], dtype=pl.Float64),
                "contribution": pl.Series(
                    [float(found.prior[0, 0]), *parts, float(found.rest[0, 0]), float(found.total[0, 0])],
                    dtype=pl.Float64,
                ),
                "method": [found.method] * (n + 3),
            }
        )

    def similar_items(self, item: Any, k: int = 10) -> pl.DataFrame:
        """The k items most like an item, by what the recommender makes of them.

        The score is the correlation of two items' scores over the people whose histories are stored (500 of
        them at most), less each person's mean: alike is what the same people would like. Without histories,
        it is what one event on the item, of the highest value, adds to the score of each other.

        Returns:
            ``item_id``, ``score``, ``rank``.
        """
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise UserInputError(f"k must be a whole number from 1 on; found {k!r}.")
        rows = self.names.known_rows([item])
        target = int(rows[0])
        scores = self._correlations(target) if self.data.n_users > 1 else self._effects(target)
        others = torch.ones(1, len(scores), dtype=torch.bool)
        others[0, target] = False
        at = best(scores[None], others, min(k, self.data.n_items))
        at = at[others.gather(1, at)]
        return pl.DataFrame(
            {
                "item_id": self._shelf.ids(at),
                "score": scores[at].numpy(),
                "rank": pl.Series(range(1, len(at) + 1), dtype=pl.Int64),
            }
        )

    def titles(self, ids: Iterable[Any]) -> list[str]:
        """What to show people: the title of each item, or its id as text where it has none."""
        given = ids if isinstance(ids, pl.Series) else list(ids)
        return self.names.labels(self.data.item_ids.encode(given, "item id"))

    def align(self, data: Dataset) -> tuple[Dataset, Lost]:
        """Another dataset in terms of this model's catalogue and fields, to be evaluated on.

        Events on items that the model does not know are left out, and with them users who have no others.

        Returns:
            The dataset, and what it lost.

        Raises:
            UserInputError: ratings where the model has implicit events or the reverse, or not one known item.
        """
        return align(self.data, data)

    def without_histories(self) -> Model:
        """The same model without its users: smaller, and holding nothing personal beyond what was learned."""
        return Model(self.recommender, self.data.select_users(torch.arange(0)), self.provenance)

    def save(self, path: str | Path, *, histories: bool = True) -> str:
        """Writes one file, atomically: the whole new file, or what stood there before.

        Args:
            histories: False leaves out the users: their ids, fields and events.

        Returns:
            The SHA-256 that names the model.

        Raises:
            UserInputError: the file cannot be written.
        """
        model = self if histories else self.without_histories()
        return file.save(Path(path), model.recommender, model.data, model.provenance)

    def _correlations(self, target: int) -> Tensor:
        """Correlations [n_items] of every item's scores with the target's, over stored users."""
        n = self.data.n_users
        users = torch.arange(0, n, max(1, -(-n // _SAMPLE)))
        ids = self.data.user_ids.decode(users)
        shown = stored(ids, self.data, users, self._shelf, self.takes_choices)
        # Sums of s, s^2 and s t over users, in double precision: differences of large numbers follow.
        sums = torch.zeros(3, self.data.n_items, dtype=torch.float64)
        for _, _, scores in self._scored(shown, self._shelf, torch.arange(self.data.n_items)):
            s = scores.double() - scores.double().mean(1, keepdim=True)
            sums += torch.stack([s.sum(0), s.square().sum(0), (s * s[:, [target]]).sum(0)])
        mean, square, product = sums / len(users)
        variance = (square - mean.square()).clamp(min=0)
        spread = (variance * variance[target]).sqrt()
        # Who gives everybody the same score says nothing about likeness.
        told = variance > 1e-12 * square.clamp(min=1e-12)
        covariance = product - mean * mean[target]
        return torch.where(told & told[target], covariance / spread.clamp(min=1e-30), 0.0).float()

    def _effects(self, target: int) -> Tensor:
        """What one event on the target adds to every item's score, [n_items]."""
        value = torch.tensor([self.data.value_range[1]])
        events = Events(torch.tensor([0, 1, 1]), torch.tensor([target]), value, None)
        nobody = self.data.users.gather(torch.full((2,), -1))
        shown = Shown(pl.Series([0, 1]), events, self._shelf, nobody, self.takes_choices)
        state = self.recommender.adapt(shown.feedback(torch.arange(2)))
        with torch.no_grad():
            after, before = self.recommender.score(state, self.data.catalogue())
        effect: Tensor = after - before
        return effect

    @cached_property
    def _shelf(self) -> Shelf:
        return Shelf(self.names, self.data.items)

    @cached_property
    def _item_vectors(self) -> Tensor:
        assert isinstance(self.recommender, Retrieval)
        with torch.no_grad():
            return self.recommender.item_vectors(self.data.catalogue())

    def _shown(
        self, users: object, events: object, user: Mapping[str, Any] | None, unknown: Unknown
    ) -> Shown:
        if unknown not in ("error", "prior"):
            raise UserInputError(f"unknown= is 'error' or 'prior'; found {unknown!r}.")
        if users is None:
            if events is None and user is None:
                raise UserInputError(
                    "Say for whom: users=, events= or user=; events=[] is somebody of whom nothing is known."
                )
            return newcomers(events, user, self.data, self._shelf, self.takes_choices, unknown)
        if user is not None:
            raise UserInputError(
                "user= describes newcomers; the fields of stored users are known. Pass one of them."
            )
        known = self._stored(users, unknown)
        if events is None:
            return known
        if len(known) != 1 or isinstance(events, Mapping):
            raise UserInputError(
                "users= together with events= is for one stored user and the list of what they did since; "
                "ask for several one after the other."
            )
        fresh = newcomers(events, None, self.data, self._shelf, self.takes_choices, unknown)
        return together(known, fresh)

    def _stored(self, users: object, unknown: Unknown) -> Shown:
        given = [users] if isinstance(users, str | bytes) or not isinstance(users, Iterable) else users
        vocabulary = self.data.user_ids
        ids = vocabulary.cast(given if isinstance(given, pl.Series) else list(given), "user id")
        rows = vocabulary.encode(ids, "user id")
        lost = (rows < 0).nonzero().flatten().tolist()
        if lost and unknown == "error":
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            who = (
                f"the {len(vocabulary):,} users it was trained on"
                if len(vocabulary)
                else "its users (it kept no histories)"
            )
            raise UserInputError(
                f"Unknown user {ids[lost[0]]!r}{more}: not among {who}. For somebody new pass what they did, "
                'events=[...], or unknown="prior" for the answer to somebody of whom nothing is known.'
            )
        return stored(ids, self.data, rows, self._shelf, self.takes_choices)

    def _candidates(self, items: object, shelf: Shelf) -> tuple[Shelf, Tensor]:
        """The shelf with the caller's own items, and the rows [N] of the candidates, each once."""
        if items is None:
            return shelf, torch.arange(shelf.n_known)
        frame = as_frame(items)
        if frame is not None:
            column = column_of(frame, "item") or ("id" if "id" in frame.columns else None)
            if column is None:
                raise UserInputError(
                    f"items= has no column of item ids; it has {', '.join(frame.columns)}. Call it 'item_id'."
                )
            ids = frame[column].to_list()
            shelf = shelf.bring(ids, frame.drop(column))
        elif isinstance(items, str | bytes) or not isinstance(items, Iterable):
            raise UserInputError(f"items= takes a list of item ids or a table of items; found {items!r}.")
        else:
            ids = list(items)
        rows = shelf.known_rows(ids)
        if len(rows) == 0:
            raise UserInputError(
                "items= is empty: there is nothing to choose from. Leave it out for the whole catalogue."
            )
        first = pl.Series(rows.numpy()).is_first_distinct()
        return shelf, rows[torch.from_numpy(first.to_numpy().copy())]

    def _scored(self, shown: Shown, shelf: Shelf, rows: Tensor) -> Iterator[tuple[Tensor, State, Tensor]]:
        """People [b], their states and their scores [b, N] of the candidates at ``rows``, batch after "
        "batch."""
        catalogue = (
            len(rows) == shelf.n_known and shelf.n_known > 0 and bool((rows == torch.arange(len(rows))).all())
        )
        candidates = shelf.items(rows)
        vectors: Tensor | None = None
        if isinstance(self.recommender, Retrieval):
            with torch.no_grad():
                vectors = self._item_vectors if catalogue else self.recommender.item_vectors(candidates)
        size = max(1, min(_BATCH, _MOST_SCORES // max(1, len(rows))))
        # People with histories of like length together: little of a batch is padding.
        order = (shown.events.offsets[1:] - shown.events.offsets[:-1]).argsort(stable=True)
        for people in torch.split(order, size) if len(shown) else ():
            state = self.recommender.adapt(shown.feedback(people))
            with torch.no_grad():
                if vectors is not None and isinstance(self.recommender, Retrieval):
                    scores = self.recommender.user_vectors(state) @ vectors.T
                else:
                    scores = self.recommender.score(state, candidates)
            yield people, state, scores.float()

    def _frame(
        self,
        shown: Shown,
        shelf: Shelf,
        parts: Sequence[tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]],
        *,
        ranked: bool,
    ) -> pl.DataFrame:
        """A row for each person and item where the third of a part, [b, n] bool, is True."""
        low, high = self.data.value_range
        frames = []
        for people, rows, kept, columns in parts:
            who = people[:, None].expand_as(rows)[kept].numpy()
            out: dict[str, pl.Series] = {
                "person": pl.Series(who),
                "user_id": shown.names.gather(who),
                "item_id": shelf.ids(rows[kept]),
            }
            for name, values in columns.items():
                clipped = values.clamp(low, high) if name == "score" and self.predicts_ratings else values
                out[name] = pl.Series(clipped[kept].numpy())
            if ranked:
                out["rank"] = pl.Series(kept.cumsum(1)[kept].numpy())
            frames.append(pl.DataFrame(out))
        order = ["user_id", "item_id", "score", *(["rank"] if ranked else [])]
        if isinstance(self.recommender, Uncertain):
            order.append("deviation")
        if not frames:
            kinds: dict[str, pl.DataType] = {
                "user_id": shown.names.dtype,
                "item_id": self.data.item_ids.ids.dtype,
            }
            return pl.DataFrame(
                schema={n: kinds.get(n, pl.Int64() if n == "rank" else pl.Float32()) for n in order}
            )
        whole = pl.concat(frames)
        # One batch of one person, the common case, is in order already.
        ordered = whole if len(shown) == 1 else whole.sort("person", maintain_order=True)
        return ordered.select(order)


def best(scores: Tensor, allowed: Tensor, k: int) -> Tensor:
    """Columns [B, k] of the highest allowed scores, best first; equal scores in the order of the columns.

    Where fewer than k are allowed, columns that are not follow.
    """
    n = scores.shape[1]
    bits = (torch.where(allowed, scores, -torch.inf) + 0.0).view(torch.int32)  # adding 0 makes -0 and 0 one
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()  # integers in the order of the floats
    return (ordered * 2**32 + torch.arange(n - 1, -1, -1)).topk(k, dim=1).indices


def _blank(shelf: Shelf, n: int) -> pl.Series:
    return shelf.ids(torch.full((n,), -1))
