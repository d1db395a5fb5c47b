"""A branch: one model as one tenant has it, with the items they added and the rules they set."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from acclimate.model import Model
from acclimate.serving.events import Rules
from acclimate.serving.retrieval.base import Found
from acclimate.serving.service.alike import Alikeness
from acclimate.serving.service.approximation import Approximation
from acclimate.serving.service.catalogue.catalogue import Catalogue
from acclimate.serving.service.diversity import field_units
from acclimate.serving.service.engine import Engine
from acclimate.serving.service.first_stage import ALL_SCORED, FirstStage
from acclimate.serving.service.people.person import Person
from acclimate.serving.service.strategies import DEFAULT, fitted
from acclimate.serving.store.base import Settings

_NOTHING = Settings(0, (), Rules())


class Branch:
    """Safe for several threads.

    Attributes:
        settings: what the tenant added and ruled. revision: of that. catalogue: what there is to recommend.
        engine: the model's recommender over it. rules: as they were set.
        pins: row -> rank. buried: rows. exploration: share of every list. notes: rules that cannot be kept.
    """

    def __init__(
        self,
        model: Model,
        catalogue: Catalogue,
        first_stage: FirstStage | None,
        *,
        settings: Settings = _NOTHING,
        base: Branch | None = None,
        approximation: Approximation | None = None,
    ) -> None:
        """
        Args:
            base: the same model without a tenant's changes; what it prepared is used.
            approximation: of the model's own scan, where there is no ``base`` that has one; other strategies
                are exact.
        """
        self.model, self.catalogue = model, catalogue
        self._first_stage = first_stage
        self._base = base
        self._lock = threading.RLock()
        like: Engine | None = None if base is None else base.engine
        self.engine: Engine = Engine(
            DEFAULT,
            model.recommender,
            model.data,
            catalogue,
            like=like,
            scanned=None if approximation is None else approximation.scan,
        )
        self._engines: dict[str, Engine] = {DEFAULT: self.engine}
        self._alikeness: Alikeness | None = None
        self.settings = settings
        self.revision, self.rules = settings.revision, settings.rules
        self.exploration = self.rules.exploration
        pinned = {item: catalogue.row(item) for item in self.rules.pin}
        self.pins: Mapping[int, int] = {row: self.rules.pin[item] for item, row in pinned.items() if row >= 0}
        buried = [catalogue.row(item) for item in self.rules.bury]
        self.buried: NDArray[np.int64] = np.array([row for row in buried if row >= 0], dtype=np.int64)
        gone = [item for item, row in pinned.items() if row < 0]
        self.notes: tuple[str, ...] = (
            (f"{len(gone)} pinned items, such as {gone[0]!r}, are not in the catalogue",) if gone else ()
        )

    def engine_for(self, strategy: str) -> Engine:
        """Who ranks; made when somebody first asks.

        Raises:
            RequestError: the strategy needs histories, and the model kept none.
        """
        found = self._engines.get(strategy)
        if found is not None:
            return found
        with self._lock:
            if strategy not in self._engines:
                base = None if self._base is None else self._base.engine_for(strategy)
                recommender = fitted(strategy, self.model.data) if base is None else base.recommender
                self._engines[strategy] = Engine(
                    strategy, recommender, self.model.data, self.catalogue, like=base
                )
            return self._engines[strategy]

    def prepared(self, strategy: str, diverse: bool) -> bool:
        """Whether such lists can be made at once, because what they need was made before."""
        if strategy not in self._engines:
            return False
        likeness = self.engine.vectors is not None and self.model.data.n_users >= 2
        known = self if self._base is None else self._base
        return not diverse or not likeness or known._alikeness is not None

    def top(
        self,
        engine: Engine,
        person: Person,
        k: int,
        skip: NDArray[np.int64],
        allowed: NDArray[np.bool_] | None,
    ) -> Found:
        """The k best items by an engine."""
        stage = self._first_stage
        needed = engine.scan is None and self.catalogue.n_items > ALL_SCORED
        if stage is not None and needed and engine is self.engine:
            return stage.top(engine, self.catalogue, person, k, skip, allowed)
        return engine.top(person, k, skip, allowed)

    @property
    def method(self) -> str:
        """How the best items are found, for people."""
        if self._first_stage is not None and self.engine.scan is None and self.catalogue.n_items > ALL_SCORED:
            return self._first_stage.method
        return self.engine.method

    def alikeness(self) -> Alikeness | None:
        """Which items are alike; None where the model kept the histories of fewer than two users."""
        if self.model.data.n_users < 2:
            return None
        if self._alikeness is not None:
            return self._alikeness
        with self._lock:
            if self._alikeness is None:
                like = None if self._base is None else self._base.alikeness()
                if like is None or len(self.catalogue.changed):
                    like = Alikeness(self.model, self.engine, self.catalogue, like)
                self._alikeness = like
            return self._alikeness

    def units(self, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Unit vectors [n, d] of items, alike where people's tastes or the items' labels are; None if neither
        is known."""
        if self.engine.vectors is None:
            return field_units(self.catalogue, rows)
        alikeness = self.alikeness()
        if alikeness is not None:
            return alikeness.units(rows)
        vectors = self.engine.vectors_at(rows)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        units: NDArray[np.float32] = vectors / np.maximum(lengths, np.float32(1e-12))
        return units
