"""The service: every question that can be asked, answered from a model and a store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from acclimate.errors import AcclimateError
from acclimate.model import Model, load
from acclimate.serving.events import NewItem, Rules
from acclimate.serving.problems import RequestError
from acclimate.serving.retrieval.plain import best
from acclimate.serving.service import card
from acclimate.serving.service.answers import (
    Export,
    Kept,
    Match,
    Question,
    Questions,
    Ranked,
    Ranking,
    Reasons,
    Receipt,
)
from acclimate.serving.service.approximation import MakeIndex
from acclimate.serving.service.catalogue.catalogue import Catalogue
from acclimate.serving.service.catalogue.fields import named, told
from acclimate.serving.service.checks import listed, mapped, share, shown, text_id, truth, whole
from acclimate.serving.service.checks import text as written_text
from acclimate.serving.service.counting import Counts
from acclimate.serving.service.deployment import Deployment
from acclimate.serving.service.exploration import check_method, seed
from acclimate.serving.service.limits import MOST_ITEMS, MOST_K
from acclimate.serving.service.listing import Wish, listing
from acclimate.serving.service.observing import Given, Observation, observed
from acclimate.serving.service.onboarding import questions
from acclimate.serving.service.people.person import Person
from acclimate.serving.service.people.states import States
from acclimate.serving.service.rankings import left_out, ordered, pinned, ranking, written
from acclimate.serving.service.reasons import reasons
from acclimate.serving.service.rules import MOST_EXPLORED, read_rules
from acclimate.serving.service.scenes import Scene, Scenes
from acclimate.serving.service.strategies import DEFAULT, check_strategy
from acclimate.serving.service.watching import Watch, signature
from acclimate.serving.service.whom import Whom, somebody
from acclimate.serving.store.base import Status, Store

_LOG = logging.getLogger("acclimate.serving")
_A = TypeVar("_A")
_B = TypeVar("_B")
_NONE: Final[NDArray[np.int64]] = np.zeros(0, dtype=np.int64)

Item = str | int
Who = str | int | None


class Service:
    """Answers requests; safe for several threads. Made by :meth:`open`.

    Every method takes the tenant first. A person is a ``user`` by id, a visitor by ``session``, or whoever
    did the ``events`` of the request, of whom nothing is stored; with a user or session the ``events`` follow
    what is stored. ``fields`` tells fields of a user, in place of those that the model knows. Items are ids,
    in the caller's type or as text, or titles where no id is meant. What a caller can mend is a
    :class:`~acclimate.serving.problems.RequestError` that names the place.

    Attributes:
        store: where events are kept. counts: what has been done so far, for metrics.
    """

    def __init__(
        self,
        deployment: Deployment,
        store: Store,
        *,
        path: Path | None = None,
        first_stage: Model | None = None,
        approximate: MakeIndex | None = None,
        classes: Iterable[type] = (),
        histories_tenant: str | None = "default",
        remembered: int = 10_000,
        watch_seconds: float = 1.0,
        read_as: tuple[int, int, int] | None = None,
    ) -> None:
        self.store = store
        self.counts = Counts()
        self._deployment = deployment
        self._path = path
        self._first_stage = first_stage
        self._approximate = approximate
        self._classes = tuple(classes)
        self._states = States(remembered)
        self._scenes = Scenes(store, self._states, self.counts, histories_tenant)
        self._failure: str | None = None
        self._reloading = threading.Lock()
        self._closed = False
        self._watch: Watch | None = None
        if path is not None and watch_seconds > 0:
            self._watch = Watch(path, self.reload, watch_seconds, read_as)

    @classmethod
    def open(
        cls,
        model: str | Path | Model,
        store: Store,
        *,
        first_stage: str | Path | Model | None = None,
        approximate: MakeIndex | None = None,
        classes: Iterable[type] = (),
        histories_tenant: str | None = "default",
        remembered: int = 10_000,
        watch_seconds: float = 1.0,
    ) -> Service:
        """Builds and tries the model, then answers.

        Args:
            model: a model, or its file, which is then watched: another good model at its place takes over.
            store: where events are kept; it stays the caller's to close.
            first_stage: a model with vectors over the same ids, for a recommender without any and a catalogue
                too large to score whole.
            approximate: what makes an index of item vectors, such as
                :class:`~acclimate.serving.retrieval.FaissIndex`, for a catalogue of millions; None for the
                exact scan. Its recall is measured on people whom the model remembers.
            classes: of your own recommenders that a file may hold.
            histories_tenant: whose users the model's histories are; None for nobody's.
            remembered: people whose state is kept at hand.
            watch_seconds: between two looks at the file; 0 for none.

        Raises:
            ModelFileError: the model is damaged or does not answer.
            UserInputError: the first stage or approximate search does not fit the model, or what it needs is
                not installed.
        """
        path = None if isinstance(model, Model) else Path(model)
        read_as = None if path is None else signature(path)
        classes = tuple(classes)
        chosen = model if isinstance(model, Model) else load(model, classes=classes)
        first = load(first_stage, classes=classes) if isinstance(first_stage, str | Path) else first_stage
        return cls(
            Deployment.build(chosen, first, approximate),
            store,
            path=path,
            first_stage=first,
            approximate=approximate,
            classes=classes,
            histories_tenant=histories_tenant,
            remembered=remembered,
            watch_seconds=watch_seconds,
            read_as=read_as,
        )

    # -- writing ---------------------------------------------------------------------------------------------

    def observe(
        self,
        tenant: str,
        events: Sequence[Mapping[str, Any] | Observation],
        *,
        unknown_items: str = "error",
    ) -> list[Receipt]:
        """Stores what people did, all of it or nothing; returns when it is on disk.

        Args:
            events: each ``{"user" or "session", "item", "value"?, "time"?, "id"?}``. An ``id`` makes a retry
                harmless; one is made where there is none. ``value`` is needed where ratings are predicted.
            unknown_items: ``error``, or ``store`` to keep events on items that the catalogue lacks; they
                count once the item is added.

        Raises:
            RequestError: an event that is not as it should be. ConflictError: an id used for another event.
            StoreError: nothing was stored.
        """
        return self.submit(tenant, events, unknown_items=unknown_items).result()

    def submit(
        self,
        tenant: str,
        events: Sequence[Mapping[str, Any] | Observation],
        *,
        unknown_items: str = "error",
    ) -> Future[list[Receipt]]:
        """As :meth:`observe`, without waiting; what is wrong with the events is raised at once."""
        deployment = self._deployment
        branch = deployment.branch(tenant)
        try:
            stored, known = observed(events, branch.catalogue, deployment.values, unknown_items)
            doubtful: RequestError | None = None
        except RequestError as error:
            if error.code != "unknown_item":
                raise
            doubtful, known = error, [False]
        if not all(known):
            # Another worker may have added the item a moment ago.
            newer = self._scenes.branch(deployment, tenant)
            if newer is not branch:
                stored, known = observed(events, newer.catalogue, deployment.values, unknown_items)
            elif doubtful is not None:
                raise doubtful
        if not stored:
            nothing: Future[list[Receipt]] = Future()
            nothing.set_result([])
            return nothing

        def receipts(statuses: list[Status]) -> list[Receipt]:
            told = zip(stored, statuses, known, strict=True)
            return [Receipt(event.id, status, there) for event, status, there in told]

        return _then(self.store.append(tenant, stored), receipts)

    def undo(self, tenant: str, event_id: str | int, *, user: Who = None, session: Who = None) -> bool:
        """Takes back one event of a person; False if they have none of that id. On disk when it returns."""
        return self.submit_undo(tenant, event_id, user=user, session=session).result()

    def submit_undo(
        self, tenant: str, event_id: str | int, *, user: Who = None, session: Who = None
    ) -> Future[bool]:
        """As :meth:`undo`, without waiting."""
        who = somebody(user, session)
        return self.store.undo(tenant, who.key, text_id(event_id, "id", "event's id"))

    def erase(self, tenant: str, *, user: Who = None, session: Who = None) -> int:
        """Removes everything about a person; how many events that were.

        From then on they are somebody never seen, on every worker: what the model remembers of them is not
        used either. What the model learned from everybody together stays as it is.
        """
        return self.submit_erase(tenant, user=user, session=session).result()

    def submit_erase(self, tenant: str, *, user: Who = None, session: Who = None) -> Future[int]:
        """As :meth:`erase`, without waiting."""
        who = somebody(user, session)

        def forget(n: int) -> int:
            self._states.erase(tenant, who.key)
            return n

        return _then(self.store.erase(tenant, who.key), forget)

    def add_items(self, tenant: str, items: Sequence[Mapping[str, Any] | NewItem]) -> int:
        """Adds items, each ``{"item", "fields"}``, or replaces their fields; the tenant's new revision.

        A new item is scored by its fields at once. Of an item of the model, the given fields replace the
        model's, and the others stay.

        Raises:
            RequestError: an unknown field, or a value that does not fit it.
        """
        catalogue = self._deployment.branch(tenant).catalogue
        new = []
        for i, one in enumerate(listed(items, "items", MOST_ITEMS)):
            place = f"items.{i}"
            said = {"item": one.item, "fields": one.fields} if isinstance(one, NewItem) else one
            if not isinstance(said, Mapping) or not set(said) <= {"item", "fields"} or "item" not in said:
                raise RequestError(
                    "invalid_input",
                    f"An item is {{'item': id, 'fields': {{...}}}}; found {shown(one)}.",
                    field=place,
                )
            text = text_id(said["item"], f"{place}.item", "item")
            fields: dict[str, Any] = {}
            given = {} if said.get("fields") is None else said["fields"]
            for name, value in mapped(given, f"{place}.fields", 256).items():
                at = f"{place}.fields.{str(name)[:60]}"
                kept = told(named(catalogue.known.data.items.schema, name, at), value, at)
                fields[str(name)] = list(kept) if isinstance(kept, tuple) else kept
            new.append(NewItem(text, fields))
        if not new:
            raise RequestError("invalid_input", "There are no items to add.", field="items")
        return self._settled(tenant, self.store.add_items(tenant, new))

    def set_rules(self, tenant: str, rules: Rules | Mapping[str, Any]) -> int:
        """Replaces the rules; the tenant's new revision.

        Args:
            rules: ``{"pin": {item: rank}, "bury": [item], "exploration": share}``; what is left out is none.
        """
        catalogue = self._scenes.branch(self._deployment, tenant).catalogue
        return self._settled(tenant, self.store.set_rules(tenant, read_rules(rules, catalogue)))

    # -- answering -------------------------------------------------------------------------------------------

    def recommend(
        self,
        tenant: str,
        *,
        user: Who = None,
        session: Who = None,
        events: Sequence[Mapping[str, Any]] | None = None,
        fields: Mapping[str, Any] | None = None,
        k: int = 10,
        exclude_seen: bool = True,
        exclude: Sequence[Item] = (),
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - what a request calls it
        diversity: float = 0.0,
        exploration: float | None = None,
        explore: str = "thompson",
        pin: Mapping[Item, int] | None = None,
        bury: Sequence[Item] = (),
        strategy: str = DEFAULT,
        deviation: bool = False,
    ) -> Ranking:
        """The k best items for a person, who may be somebody of whom nothing is known.

        Args:
            exclude_seen: leave out what the person met. exclude: leave these out, whether known or not.
            filter: item field -> a value, a list of values, or ``{"min": x, "max": y}``.
            diversity: 0 for the best items, up to 1 for items that are unlike each other.
            exploration: share of the places, up to 0.5, for items of which little is known; None for the
                tenant's rule. explore: ``thompson`` or ``ucb``.
            pin: item -> the rank at which it stands, besides the tenant's rule. bury: never shown.
            strategy: who ranks: ``default``, ``popularity``, ``item-knn``.
            deviation: whether to tell the standard deviation of each score.
        """
        k = whole(k, "k", 1, MOST_K)
        scene = self._scene(tenant, user, session, events, fields)
        branch, person = scene.branch, scene.person
        engine = branch.engine if strategy == DEFAULT else branch.engine_for(check_strategy(strategy))
        wish = Wish(
            k=k,
            skip=left_out(branch, exclude, bury),
            seen=person.seen if truth(exclude_seen, "exclude_seen") else _NONE,
            allowed=None if filter is None else branch.catalogue.filters.mask(filter),
            diversity=0.0 if diversity == 0 else share(diversity, "diversity", 1.0),
            share=branch.exploration
            if exploration is None
            else share(exploration, "exploration", MOST_EXPLORED),
            explore=check_method(explore),
            pins=pinned(branch, pin),
        )
        random = seed(tenant, scene.key, person, scene.deployment.sha256) if wish.share else None
        found = listing(branch, engine, person, wish, random)
        self.counts.listed(len(found.rows), sum(why == "explored" for why in found.reasons.values()))
        return ranking(scene, engine, found, truth(deviation, "deviation"))

    def rank(
        self,
        tenant: str,
        *,
        items: Sequence[Item],
        user: Who = None,
        session: Who = None,
        events: Sequence[Mapping[str, Any]] | None = None,
        fields: Mapping[str, Any] | None = None,
        k: int | None = None,
        exclude_seen: bool = False,
        exclude: Sequence[Item] = (),
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - what a request calls it
        diversity: float = 0.0,
        pin: Mapping[Item, int] | None = None,
        bury: Sequence[Item] = (),
        strategy: str = DEFAULT,
        deviation: bool = False,
    ) -> Ranking:
        """The given items in the best order for a person; arguments as in :meth:`recommend`.

        Args:
            items: the candidates; one that is given twice counts once. k: default all of them.
        """
        if k is not None:
            k = whole(k, "k", 1, MOST_K)
        scene = self._scene(tenant, user, session, events, fields)
        branch, person = scene.branch, scene.person
        engine = branch.engine if strategy == DEFAULT else branch.engine_for(check_strategy(strategy))
        given = branch.catalogue.rows(listed(items, "items", MOST_ITEMS), "items", known=True)
        if not given:
            raise RequestError("invalid_input", "items is empty: there is nothing to rank.", field="items")
        candidates = np.array(given, dtype=np.int64)
        skip = left_out(branch, exclude, bury)
        if truth(exclude_seen, "exclude_seen"):
            skip = np.concatenate([skip, person.seen])
        candidates = candidates[~np.isin(candidates, skip)]
        if filter is not None:
            candidates = candidates[branch.catalogue.filters.mask(filter)[candidates]]
        n = len(candidates) if k is None else min(k, len(candidates))
        found = ordered(
            branch,
            engine,
            person,
            candidates,
            n,
            0.0 if diversity == 0 else share(diversity, "diversity", 1.0),
            pinned(branch, pin),
        )
        return ranking(scene, engine, found, truth(deviation, "deviation"))

    def similar(
        self,
        tenant: str,
        *,
        item: Item,
        k: int = 10,
        exclude: Sequence[Item] = (),
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - what a request calls it
    ) -> Ranking:
        """The k items most like an item.

        The score is the correlation of the scores of two items over the people whom the model remembers (500
        of them at most), less each person's mean; without histories, what one event on the item, of the
        highest value, adds to the score of each other.
        """
        k = whole(k, "k", 1, MOST_K)
        scene = self._scene(tenant, None, None, None, None)
        branch, catalogue = scene.branch, scene.branch.catalogue
        row = catalogue.find(item, "item")
        skip = np.append(left_out(branch, exclude, ()), row)
        allowed = None if filter is None else catalogue.filters.mask(filter)
        alikeness = branch.alikeness()
        if alikeness is not None:
            found = alikeness.top(row, k, skip, allowed)
            rows, scores, exact = found.rows, found.scores, found.exact
        else:
            values = scene.deployment.values
            after = Person(catalogue, values, given=[Given(row, values.counted(values.high), None)])
            everything = np.arange(catalogue.n_items)
            effect = branch.engine.scores(after, everything) - branch.engine.scores(scene.person, everything)
            free = np.ones(catalogue.n_items, dtype=np.bool_) if allowed is None else allowed.copy()
            free[skip] = False
            rows, scores = best(everything[free], effect[free], k)
            exact = True
        return Ranking(
            items=tuple(
                Ranked(catalogue.item(at), catalogue.title(at), written(score), place)
                for place, (at, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True), 1)
            ),
            model=scene.deployment.sha256,
            scale="rank",
            strategy=DEFAULT,
            events=0,
            exact=exact,
            degraded=scene.degraded,
        )

    def explain(
        self,
        tenant: str,
        *,
        item: Item,
        user: Who = None,
        session: Who = None,
        events: Sequence[Mapping[str, Any]] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> Reasons:
        """Why an item scores what it scores for a person: what each event added. Scores are not clipped."""
        scene = self._scene(tenant, user, session, events, fields)
        row = scene.branch.catalogue.find(item, "item")
        return reasons(scene.branch, scene.person, row, scene.deployment.sha256, scene.degraded)

    def onboarding(
        self,
        tenant: str,
        *,
        k: int = 10,
        user: Who = None,
        session: Who = None,
        events: Sequence[Mapping[str, Any]] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> Questions:
        """The k items to ask a newcomer about first, most informative first."""
        k = whole(k, "k", 1, MOST_K)
        scene = self._scene(tenant, user, session, events, fields)
        asked = questions(scene.branch, scene.person, k)
        catalogue = scene.branch.catalogue
        method = "information" if asked.information is not None else "popularity and diversity"
        if not asked.rows and scene.branch.engine.uncertain:
            method = "information"
        return Questions(
            items=tuple(
                Question(
                    item=catalogue.item(row),
                    title=catalogue.title(row),
                    rank=i + 1,
                    information=None if asked.information is None else written(asked.information[i]),
                    deviation=None if asked.deviations is None else written(asked.deviations[i]),
                    popularity=written(catalogue.popularity(row)),
                )
                for i, row in enumerate(asked.rows)
            ),
            method=method,
            model=scene.deployment.sha256,
            degraded=(*scene.degraded, *asked.notes),
        )

    def export(self, tenant: str, *, user: Who = None, session: Who = None) -> Export:
        """Everything that is kept about a person."""
        who = somebody(user, session)
        deployment = self._deployment
        view = self.store.view(tenant, who.key, 1)
        catalogue = self._scenes.current(deployment, tenant, view.revision).catalogue
        history = () if view.erased else self._history(deployment, tenant, who)
        events = []
        for event in self.store.export(tenant, who.key):
            row = catalogue.row(event.item)
            item = event.item if row < 0 else catalogue.item(row)
            events.append(Kept(item, event.value, event.time, event.id, row >= 0))
        return Export(tuple(events), history)

    def search(self, tenant: str, text: str, limit: int = 10) -> list[Match]:
        """Items whose title holds the text, the likeliest first; for no text the most popular.

        Where there are no titles, ids are searched; the item with exactly this id is always found.
        """
        limit = whole(limit, "limit", 1, MOST_K)
        catalogue = self._scenes.branch(self._deployment, tenant).catalogue
        rows = catalogue.search(written_text(text, "search"), limit)
        return [Match(catalogue.item(row), catalogue.title(row)) for row in rows]

    def rules(self, tenant: str) -> Rules:
        """The rules as they were set."""
        return self._scenes.branch(self._deployment, tenant).rules

    # -- the service itself ----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether it can answer: a model is in use, and it is not closed."""
        return not self._closed

    def prepared(self, tenant: str, *, strategy: str = DEFAULT, diversity: float = 0.0) -> bool:
        """Whether a list takes no longer than any other: some make tables for themselves when first asked."""
        return self._deployment.branch(tenant).prepared(strategy, diversity != 0)

    @property
    def model_sha256(self) -> str:
        """Of the model in use."""
        return self._deployment.sha256

    @property
    def model_failure(self) -> str | None:
        """Why the file that stands at the model's place is not in use; None if it is."""
        return self._failure

    def model_card(self) -> dict[str, Any]:
        """What the model in use is, and what it takes."""
        return card.model_card(self._deployment)

    def status(self) -> dict[str, Any]:
        """How the service is: model, store, and what it has done; never an error."""
        try:
            self.store.check()
            store: dict[str, Any] = {"ok": True, "local": self.store.local, "events": self.store.count()}
        except AcclimateError as error:
            store = {"ok": False, "local": self.store.local, "error": str(error)}
        deployment = self._deployment
        return {
            "ready": self.ready,
            "model": {
                "sha256": deployment.sha256,
                "file": None if self._path is None else str(self._path),
                "failure": self._failure,
                "method": deployment.base.method,
            },
            "store": store,
            "people": {
                "at_hand": len(self._states),
                "hits": self._states.hits,
                "misses": self._states.misses,
            },
            **self.counts.told(),
        }

    def reload(self) -> bool:
        """Reads the model's file again; whether another model is in use now.

        The new one is built and tried while the old one answers, and takes over at once.

        Raises:
            ModelFileError: the file is damaged; the model in use stays, and :attr:`model_failure` says why.
            RequestError: the service was given a model, not a file.
        """
        if self._path is None:
            raise RequestError("not_supported", "This service was given a model, not a file to read again.")
        with self._reloading:
            try:
                model = load(self._path, classes=self._classes)
                if model.sha256 == self._deployment.sha256:
                    self._failure = None
                    return False
                built = Deployment.build(
                    model, self._first_stage, self._approximate, self._deployment.settings
                )
            except Exception as error:
                self._failure = str(error) or type(error).__name__
                self.counts.reloads_failed += 1
                raise
            self._deployment = built
            self._failure = None
            self.counts.reloads += 1
            _LOG.info("Another model is in use: %s", built.sha256)
            return True

    def close(self) -> None:
        """Stops watching the file. The store is its owner's to close."""
        self._closed = True
        if self._watch is not None:
            self._watch.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- inside ----------------------------------------------------------------------------------------------

    def _scene(
        self,
        tenant: str,
        user: Who = None,
        session: Who = None,
        events: Sequence[Mapping[str, Any]] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> Scene:
        return self._scenes.scene(
            self._deployment, tenant, user, session, events, fields, failed=self._failure is not None
        )

    def _settled(self, tenant: str, done: Future[int]) -> int:
        """The revision that was written, once answers here reflect it."""
        revision = done.result()
        self._deployment.renew(tenant, self.store.settings(tenant))
        return revision

    def _history(self, deployment: Deployment, tenant: str, who: Whom) -> tuple[Kept, ...]:
        history = self._scenes.history(deployment, tenant, who)
        if history is None:
            return ()
        catalogue: Catalogue = deployment.base.catalogue
        times: Sequence[float | None] = history.times or [None] * len(history.rows)
        return tuple(
            Kept(catalogue.item(row), value, None if when is None else float(when))
            for row, value, when in zip(history.rows, history.values, times, strict=True)
        )


def _then(first: Future[_A], change: Callable[[_A], _B]) -> Future[_B]:
    """A future of what ``change`` makes of another's result; its error is the other's.

    What was submitted cannot be called off, so the future cannot be cancelled.
    """
    second: Future[_B] = Future()
    second.set_running_or_notify_cancel()

    def done(finished: Future[_A]) -> None:
        try:
            second.set_result(change(finished.result()))
        except BaseException as error:  # whoever waits is to hear of it
            second.set_exception(error)

    first.add_done_callback(done)
    return second
