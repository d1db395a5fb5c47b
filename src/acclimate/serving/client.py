"""A client: the HTTP interface from Python, with the library's own answers and errors."""

from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Final, TypedDict, Unpack
from urllib.parse import quote

import httpx

from acclimate.errors import (
    AcclimateError,
    ConflictError,
    OverloadedError,
    ServerError,
    StoreError,
    UserInputError,
)
from acclimate.serving.events import Rules
from acclimate.serving.problems import RequestError
from acclimate.serving.service.answers import (
    Export,
    Kept,
    Match,
    Part,
    Question,
    Questions,
    Ranked,
    Ranking,
    Reasons,
    Receipt,
)

Id = str | int

_AGAIN: Final = (429, 502, 503, 504)
_LONGEST: Final = 10.0
"""Seconds between two attempts at most: to whoever says to come back later than that, nobody comes back."""


class Asker(TypedDict, total=False):
    """Whom a request is about: a user, a session, events that are not stored, fields; or nobody known."""

    user: Id | None
    session: Id | None
    events: Sequence[Mapping[str, Any]] | None
    fields: Mapping[str, Any] | None


class Like(TypedDict, total=False):
    """How many items like another, and which not."""

    k: int
    exclude: Sequence[Id]
    filter: Mapping[str, Any] | None


class Order(Asker, total=False):
    """How to put items in order."""

    k: int
    exclude_seen: bool
    exclude: Sequence[Id]
    filter: Mapping[str, Any] | None
    diversity: float
    pin: Mapping[Id, int] | None
    bury: Sequence[Id]
    strategy: str
    deviation: bool


class Wish(Order, total=False):
    """What a list is to be like."""

    exploration: float | None
    explore: str


@dataclass(frozen=True, slots=True)
class _Person:
    """Whom a request is about, in its path."""

    kind: str
    id: str

    @classmethod
    def of(cls, user: Id | None, session: Id | None) -> _Person:
        if (user is None) == (session is None):
            raise UserInputError("Say who: user=... or session=..., one of them.")
        return cls("users", str(user)) if user is not None else cls("sessions", str(session))

    @property
    def path(self) -> str:
        return f"/v1/{self.kind}/{_segment(self.id)}"


class Client:
    """Asks a server, and asks again where that can help.

    What cannot be reached, is overloaded or says when to come back is tried again, with growing pauses and no
    sooner than the server says; not at all if it says more than ten seconds. Events get an id before they are
    first sent, so that an attempt whose answer was lost, and the next, store one event. Several threads may
    share it.

    Args:
        url: of the server, such as ``http://127.0.0.1:8000``. key: if it asks for one.
        timeout: seconds that an attempt may take. attempts: how many there are at most.
        transport: another way to send requests, for tests.

    Every method raises :class:`~acclimate.serving.problems.RequestError` for a request that can be mended,
    :class:`~acclimate.errors.UserInputError` for a key that is missing or may not do this,
    :class:`~acclimate.errors.ConflictError` for an event id used twice,
    :class:`~acclimate.errors.OverloadedError` and :class:`~acclimate.errors.StoreError` if the server could
    not do it now, and :class:`~acclimate.errors.ServerError` if it could not be reached or is at fault.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        key: str | None = None,
        *,
        timeout: float = 5.0,
        attempts: int = 5,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UserInputError(f"A server's url starts with http:// or https://; found {url!r}.")
        if attempts < 1:
            raise UserInputError(f"There is at least 1 attempt; found {attempts}.")
        headers = {"accept": "application/json"}
        if key is not None:
            # A file that holds one ends with a line break.
            key = key.strip()
            if not re.fullmatch(r"[!-~]+", key):
                raise UserInputError("A key is acc_ and what follows it, without blanks.")
            headers["authorization"] = f"Bearer {key}"
        self._attempts = attempts
        self._sleep: Callable[[float], None] = time.sleep
        try:
            self._http = httpx.Client(
                base_url=url.rstrip("/"),
                headers=headers,
                timeout=timeout,
                transport=transport,
                trust_env=False,
            )
        except httpx.InvalidURL as wrong:
            raise UserInputError(f"{url!r} is no url of a server ({wrong}).") from None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    # -- what people do --------------------------------------------------------------------------------------

    def observe(
        self,
        item: Id | None = None,
        value: float | None = None,
        *,
        user: Id | None = None,
        session: Id | None = None,
        id: Id | None = None,  # noqa: A002 - as in the interface
        time: float | None = None,
        events: Sequence[Mapping[str, Any]] | None = None,
        unknown_items: str = "error",
    ) -> list[Receipt]:
        """Keeps one event, or several; returns when they are on disk.

        Args:
            events: several, each ``{"user" or "session", "item", "value"?, "time"?, "id"?}``.
            unknown_items: ``store`` keeps events on items that the catalogue lacks.
        """
        one = {"id": id, "user": user, "session": session, "item": item, "value": value, "time": time}
        if events is None:
            events = [one]
        elif _told(one):
            raise UserInputError(
                f"Each of the events says all about itself; beside them there is {next(iter(_told(one)))!r}."
            )
        sent = [_told(one) for one in events]
        for one in sent:
            one.setdefault("id", uuid.uuid4().hex)
        body = {"events": sent, "unknown_items": unknown_items}
        return [Receipt(**_of(Receipt, one)) for one in self._ask("POST", "/v1/events", body)["events"]]

    def undo(self, event_id: Id, *, user: Id | None = None, session: Id | None = None) -> bool:
        """Takes back one event; False if they have no such event, or have it no more."""
        path = f"{_Person.of(user, session).path}/events/{_segment(str(event_id))}"
        try:
            return bool(self._ask("DELETE", path)["undone"])
        except RequestError as error:
            if error.code == "unknown_event":
                return False
            raise

    # -- what to show ----------------------------------------------------------------------------------------

    def recommend(self, **asked: Unpack[Wish]) -> Ranking:
        """The best items; arguments as in :meth:`acclimate.serving.service.Service.recommend`."""
        return _ranking(self._ask("POST", "/v1/recommend", _told(asked)))

    def rank(self, items: Sequence[Id], **asked: Unpack[Order]) -> Ranking:
        """The given items, in order."""
        return _ranking(self._ask("POST", "/v1/rank", {"items": list(items), **_told(asked)}))

    def similar(self, item: Id, **asked: Unpack[Like]) -> Ranking:
        """Items that the same people would like."""
        return _ranking(self._ask("POST", "/v1/similar", {"item": item, **_told(asked)}))

    def explain(self, item: Id, **asked: Unpack[Asker]) -> Reasons:
        """Why an item scores what it scores for somebody."""
        said = self._ask("POST", "/v1/explain", {"item": item, **_told(asked)})
        parts = tuple(Part(**_of(Part, one)) for one in said["parts"])
        return Reasons(
            said["item"], said.get("title"), parts, said["method"], said["model"], tuple(said["degraded"])
        )

    def onboarding(self, k: int = 10, **asked: Unpack[Asker]) -> Questions:
        """Which items to ask a newcomer about first."""
        said = self._ask("POST", "/v1/onboarding", {"k": k, **_told(asked)})
        items = tuple(Question(**{"title": None, **_of(Question, one)}) for one in said["items"])
        return Questions(items, said["method"], said["model"], tuple(said["degraded"]))

    # -- people ----------------------------------------------------------------------------------------------

    def export(self, *, user: Id | None = None, session: Id | None = None) -> Export:
        """All that is kept of somebody."""
        said = self._ask("GET", _Person.of(user, session).path + "/export")
        blank: dict[str, Any] = {"value": None, "time": None}
        events, history = (
            tuple(Kept(**{**blank, **_of(Kept, one)}) for one in said[name]) for name in ("events", "history")
        )
        return Export(events, history)

    def erase(self, *, user: Id | None = None, session: Id | None = None) -> int:
        """Removes all about somebody; how many events there were at the attempt that got through."""
        return int(self._ask("DELETE", _Person.of(user, session).path)["erased"])

    # -- items and rules -------------------------------------------------------------------------------------

    def items(self, search: str = "", limit: int = 10) -> list[Match]:
        """Items by title or id."""
        said = self._ask("GET", "/v1/items", query={"search": search, "limit": limit})
        return [Match(one["item"], one.get("title")) for one in said["items"]]

    def add_items(self, items: Sequence[Mapping[str, Any]]) -> int:
        """Adds items, each ``{"item", "fields"}``; the tenant's new revision."""
        return int(self._ask("PUT", "/v1/items", {"items": [dict(one) for one in items]})["revision"])

    def rules(self) -> Rules:
        """What is ruled now."""
        said = self._ask("GET", "/v1/rules")
        return Rules(said["pin"], tuple(said["bury"]), said["exploration"])

    def set_rules(
        self, *, pin: Mapping[Id, int] | None = None, bury: Sequence[Id] = (), exploration: float = 0.0
    ) -> int:
        """Replaces the rules; the tenant's new revision."""
        body = _told({"pin": pin or {}, "bury": list(bury), "exploration": exploration})
        return int(self._ask("PUT", "/v1/rules", body)["revision"])

    # -- the server ------------------------------------------------------------------------------------------

    def model(self) -> dict[str, Any]:
        """The model in service: its hash, where it came from, what it takes."""
        return self._ask("GET", "/v1/model")

    def reload(self) -> bool:
        """Makes the server look at its model file now; whether another model took over."""
        return bool(self._ask("POST", "/v1/model/reload")["reloaded"])

    def status(self) -> dict[str, Any]:
        """How the server is doing."""
        return self._ask("GET", "/v1/status")

    def ready(self) -> bool:
        """Whether the server answers, and is ready for requests; asks once."""
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def wait(self, seconds: float = 60.0) -> None:
        """Waits until the server is ready.

        Raises:
            ServerError: it was not, all that time.
        """
        end = time.monotonic() + seconds
        while not self.ready():
            if time.monotonic() > end:
                raise ServerError(f"{self._http.base_url} was not ready within {seconds:g} seconds.")
            self._sleep(0.1)

    # -- inside ----------------------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What the server answers in the end."""
        try:
            content = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, TypeError) as wrong:
            raise UserInputError(f"That cannot be said in JSON: {wrong}.") from None
        headers = None if body is None else {"content-type": "application/json"}
        error: AcclimateError
        attempt = 0
        while True:
            attempt += 1
            pause = min(_LONGEST, 0.05 * 2**attempt) * (0.5 + random.random() / 2)
            try:
                answer = self._http.request(method, path, content=content, headers=headers, params=query)
            except httpx.RequestError as broken:
                kind = type(broken).__name__
                error = ServerError(f"{self._http.base_url} cannot be reached ({kind}). Does it run?")
            else:
                if answer.status_code == 200:
                    return _said(answer)
                error = _error(answer)
                if answer.status_code not in _AGAIN:
                    raise error
                asked = answer.headers.get("retry-after", "")
                pause = max(pause, float(asked) if asked.isdecimal() else 0.0)
            if attempt >= self._attempts or pause > _LONGEST:
                raise error
            self._sleep(pause)


def _said(answer: httpx.Response) -> dict[str, Any]:
    """What an answer holds.

    Raises:
        ServerError: it is none of a server of this kind.
    """
    try:
        said = answer.json()
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ServerError(f"{answer.url} answered, but not as a server of acclimate does.")
    return said


def _segment(text: str) -> str:
    """An id as a part of a path, also where it is ``..``, which would lead to another one."""
    try:
        return quote(text, safe="").replace(".", "%2E")
    except UnicodeEncodeError:
        raise UserInputError(f"The id {text!r} holds halves of characters.") from None


def _error(answer: httpx.Response) -> AcclimateError:
    """The error that an answer is."""
    try:
        told = answer.json()["error"]
        code, message, field = str(told["code"]), str(told["message"]), told.get("field")
    except (ValueError, KeyError, TypeError):
        code, message, field = "", f"The server answered with status {answer.status_code}.", None
    status = answer.status_code
    if code == "store_unavailable":
        return StoreError(message)
    if status in (429, 503):
        return OverloadedError(message)
    if status == 409:
        return ConflictError(message)
    if status == 422 or code == "unknown_event":
        return RequestError(code or "invalid_input", message, field=field)  # type: ignore[arg-type]
    if 400 <= status < 500:
        return UserInputError(message)
    return ServerError(message)


def _told(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is said, without what is not; names in JSON are text."""
    out = {name: value for name, value in asked.items() if value is not None}
    if "pin" in out:
        out["pin"] = {str(item): rank for item, rank in out["pin"].items()}
    return out


def _of(kind: type[Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """What a class knows of an answer: newer servers may say more."""
    known = {field.name for field in fields(kind)}
    return {name: value for name, value in said.items() if name in known}


def _ranking(said: Mapping[str, Any]) -> Ranking:
    items = tuple(Ranked(**{"title": None, **_of(Ranked, one)}) for one in said["items"])
    return Ranking(
        items=items,
        model=said["model"],
        scale=said["scale"],
        strategy=said["strategy"],
        events=said["events"],
        exact=said["exact"],
        degraded=tuple(said["degraded"]),
    )
