"""A deployment: one model, built and tried before anybody is answered by it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from acclimate.errors import ModelFileError
from acclimate.model import Model
from acclimate.serving.service.approximation import Approximation, MakeIndex
from acclimate.serving.service.branch import Branch
from acclimate.serving.service.catalogue.catalogue import Catalogue
from acclimate.serving.service.catalogue.known import Known
from acclimate.serving.service.first_stage import FirstStage
from acclimate.serving.service.observing import Given
from acclimate.serving.service.people.histories import Histories
from acclimate.serving.service.people.person import Person
from acclimate.serving.service.values import Values
from acclimate.serving.store.base import Settings


@dataclass(frozen=True, eq=False)
class Deployment:
    """Everything that follows from a model; replaced as a whole when another model comes.

    Attributes:
        model: what answers. sha256: its name. known: its items. values: what events have to say.
        histories: what it remembers of people. base: the branch of tenants who changed nothing.
    """

    model: Model
    sha256: str
    known: Known
    values: Values
    histories: Histories
    base: Branch
    first_stage: FirstStage | None
    _branches: dict[str, Branch] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def build(
        cls,
        model: Model,
        first_stage: Model | None = None,
        index: MakeIndex | None = None,
        settings: Mapping[str, Settings] | None = None,
    ) -> Deployment:
        """Prepares a model, and tries it.

        Args:
            index: makes the index in front of its scan; None for the exact scan.
            settings: of tenants, whose branches are then there from the start.

        Raises:
            ModelFileError: it does not answer, or its answers are not finite.
            UserInputError: the first stage does not fit it, or no index does.
        """
        known = Known(model)
        stage = None if first_stage is None else FirstStage(first_stage, known)
        approximation = None if index is None or not len(known) else Approximation(index, model)
        try:
            base = Branch(model, Catalogue(known), stage, approximation=approximation)
            built = cls(model, model.sha256, known, Values.of(model), Histories(model.data), base, stage)
            built.probe()
            for tenant, theirs in (settings or {}).items():
                built.renew(tenant, theirs)
            # What the first request by title or search would wait for.
            model.names.by_title("")
            _ = known.folded
        except ModelFileError:
            raise
        # Whatever a damaged model breaks on is its fault: the one in use is to stay.
        except Exception as error:
            raise ModelFileError(f"The model does not answer: {error} Fit it again.") from error
        return built

    def probe(self) -> None:
        """Asks for a few lists, as requests will.

        Raises:
            ModelFileError: they are not what they have to be.
        """
        if not len(self.known):
            raise ModelFileError("The model has no items; there is nothing to recommend.")
        n = len(self.known)
        shown = sorted({0, n // 2, n - 1})
        nothing = np.zeros(0, dtype=np.int64)
        for rows in ([], shown[:1], shown):
            given = [Given(row, self.values.counted(self.values.high), None) for row in rows]
            person = Person(self.base.catalogue, self.values, given=given)
            found = self.base.top(self.base.engine, person, min(10, n), nothing, None)
            if len(found.rows) != min(10, n) or not np.isfinite(found.scores).all():
                raise ModelFileError("The model's scores are not finite. Fit it again.")
            again = self.base.engine.scores(person, found.rows)
            if not np.allclose(found.scores, again, rtol=1e-5, atol=1e-5):
                raise ModelFileError("The model's scores depend on what else is asked. Fit it again.")

    @property
    def settings(self) -> dict[str, Settings]:
        """What tenants added and ruled, as last seen."""
        with self._lock:
            return {tenant: branch.settings for tenant, branch in self._branches.items()}

    def branch(self, tenant: str) -> Branch:
        """The tenant's branch as it was last seen."""
        return self._branches.get(tenant, self.base)

    def renew(self, tenant: str, settings: Settings) -> Branch:
        """The tenant's branch with these settings."""
        with self._lock:
            known = self._branches.get(tenant)
            if known is not None and known.revision >= settings.revision:
                return known
            catalogue = Catalogue(self.known, settings.items) if settings.items else self.base.catalogue
            made = Branch(self.model, catalogue, self.first_stage, settings=settings, base=self.base)
            self._branches[tenant] = made
            return made
