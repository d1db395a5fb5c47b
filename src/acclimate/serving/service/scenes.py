"""Scenes: what one answer rests on, one model and one moment of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from acclimate.errors import StoreError
from acclimate.model import Model
from acclimate.serving.service.branch import Branch
from acclimate.serving.service.catalogue.fields import encoded, named, told
from acclimate.serving.service.checks import mapped
from acclimate.serving.service.counting import Counts
from acclimate.serving.service.deployment import Deployment
from acclimate.serving.service.limits import REMEMBERED
from acclimate.serving.service.observing import Given, brought
from acclimate.serving.service.people.histories import History
from acclimate.serving.service.people.person import Person
from acclimate.serving.service.people.states import States
from acclimate.serving.service.whom import Whom, whom
from acclimate.serving.store.base import Store, View

_NOBODY: Final = "-"
"""A key that no person has: what is read under it is the tenant's revision alone."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What one answer rests on.

    Attributes:
        key: the person's in the store. degraded: what is not as it should be, in words.
    """

    deployment: Deployment
    branch: Branch
    person: Person
    key: str
    degraded: tuple[str, ...]


class Scenes:
    """Derives people from a store, and keeps those who were asked about last; safe for several threads.

    Args:
        histories_tenant: whose users the histories of a model are.
    """

    def __init__(self, store: Store, states: States, counts: Counts, histories_tenant: str | None) -> None:
        self._store, self._states, self._counts = store, states, counts
        self._histories_tenant = histories_tenant

    def scene(
        self,
        deployment: Deployment,
        tenant: str,
        user: object,
        session: object,
        events: Sequence[Mapping[str, Any]] | None,
        fields: Mapping[str, Any] | None,
        *,
        failed: bool = False,
    ) -> Scene:
        """The person of a request as the store knows them at this moment.

        Args:
            failed: whether a newer model was published that cannot be used.
        """
        who = whom(user, session)
        key = _NOBODY if who is None else who.key
        degraded: tuple[str, ...] = ()
        if failed:
            degraded = ("another model was published, but its file cannot be used; this one is older",)
        view: View | None
        try:
            view = self._store.view(tenant, key, REMEMBERED)
            branch = deployment.branch(tenant)
            if view.revision > branch.revision:
                branch = deployment.renew(tenant, self._store.settings(tenant))
        except StoreError as error:
            view, branch = None, deployment.branch(tenant)
            self._counts.degraded += 1
            degraded = (*degraded, f"the event store cannot be read: {error}")
        if branch.notes:
            degraded = (*degraded, *branch.notes)
        if events is None and fields is None and who is not None and view is not None:
            version = (deployment.sha256, branch.revision, view.last, view.erased)
            person = self._states.get(tenant, key, version)
            if person is None:
                person = self._person(deployment, branch, tenant, who, view)
                self._states.put(tenant, key, version, person)
        elif events is None and fields is None and view is None and who is not None:
            person, note = self._last_known(deployment, branch, tenant, who)
            degraded = (*degraded, note)
        else:
            given = () if events is None else brought(events, branch.catalogue, deployment.values)
            told_ = None if fields is None else _user_fields(fields, deployment.model)
            person = self._person(deployment, branch, tenant, who, view, given, told_)
        if person.notes:
            degraded = (*degraded, *person.notes)
        return Scene(deployment, branch, person, key, degraded)

    def _person(
        self,
        deployment: Deployment,
        branch: Branch,
        tenant: str,
        who: Whom | None,
        view: View | None,
        given: Sequence[Given] = (),
        fields: dict[str, Tensor] | None = None,
    ) -> Person:
        # Whether somebody was erased is not known while the store cannot be read.
        remembered = view is not None and not view.erased
        history = self.history(deployment, tenant, who) if who is not None and remembered else None
        return Person(
            branch.catalogue,
            deployment.values,
            history,
            () if view is None or who is None else view.events,
            given,
            fields,
        )

    def _last_known(
        self, deployment: Deployment, branch: Branch, tenant: str, who: Whom
    ) -> tuple[Person, str]:
        """The person as last derived, and what to say of it, while the store cannot be read."""
        found = self._states.latest(tenant, who.key)
        if found is not None and found.version[:2] == (deployment.sha256, branch.revision):
            return found.person, "the answer reflects what was last known of this person"
        return Person(branch.catalogue, deployment.values), "the answer is the one to somebody new"

    def branch(self, deployment: Deployment, tenant: str) -> Branch:
        """The tenant's branch as of now, or as last known while the store cannot be read."""
        try:
            return self.current(deployment, tenant, self._store.view(tenant, _NOBODY, 1).revision)
        except StoreError:
            return deployment.branch(tenant)

    def current(self, deployment: Deployment, tenant: str, revision: int) -> Branch:
        """The tenant's branch as of a revision, or of a later one."""
        branch = deployment.branch(tenant)
        if revision > branch.revision:
            return deployment.renew(tenant, self._store.settings(tenant))
        return branch

    def history(self, deployment: Deployment, tenant: str, who: Whom) -> History | None:
        """What the model remembers of a person of this tenant."""
        if who.user is None or tenant != self._histories_tenant:
            return None
        return deployment.histories.of(who.user)


def _user_fields(given: object, model: Model) -> dict[str, Tensor]:
    schema = model.data.users.schema
    said = {}
    for name, value in mapped(given, "fields", 256).items():
        place = f"fields.{str(name)[:60]}"
        spec = named(schema, name, place, of="users")
        said[spec.name] = told(spec, value, place)
    return encoded(schema, [said]).gather(torch.arange(1))
