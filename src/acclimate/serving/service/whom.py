"""Whom: the person that a request is about, as the key under which the store keeps their events."""

from __future__ import annotations

from dataclasses import dataclass

from acclimate.serving.problems import RequestError
from acclimate.serving.service.checks import text_id


@dataclass(frozen=True, slots=True)
class Whom:
    """A user by id, or a visitor without a name by session.

    Attributes:
        key: what the store knows them by; ``u:`` and ``s:`` keep users and sessions apart.
        user: the user's id as text; None for a session.
    """

    key: str
    user: str | None


def whom(user: object, session: object) -> Whom | None:
    """The person meant; None where neither is given.

    Raises:
        RequestError: both are given, or an id that is none.
    """
    if user is not None:
        if session is not None:
            raise RequestError("invalid_input", "Name a user or a session, not both.", field="session")
        text = text_id(user, "user", "user's id")
        return Whom("u:" + text, text)
    if session is not None:
        return Whom("s:" + text_id(session, "session", "session's id"), None)
    return None


def somebody(user: object, session: object) -> Whom:
    """As :func:`whom`, but there has to be one."""
    found = whom(user, session)
    if found is None:
        raise RequestError("invalid_input", "Say who: a user or a session.", field="user")
    return found
