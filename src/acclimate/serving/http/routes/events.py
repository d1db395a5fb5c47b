"""Events: what people do."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from acclimate.serving.http import schemas
from acclimate.serving.http.operations import Call, Operation
from acclimate.serving.http.people import person_of
from acclimate.serving.problems import RequestError
from acclimate.serving.service.answers import Receipt


def observe(call: Call) -> Future[list[Receipt]]:
    """Keeps events, all or none; the answer means that they are on disk.

    The next answer to the same person reflects them. Sending an event again under the same id changes
    nothing. Of an item met twice the last event counts, in order of arrival.
    """
    body = call.body
    return call.service.submit(call.tenant, body["events"], unknown_items=body.get("unknown_items", "error"))


def _receipts(call: Call, receipts: list[Receipt]) -> dict[str, Any]:
    stored = sum([one.status == "stored" for one in receipts])
    people = [(call.tenant, person_of(event)) for event in call.body["events"]]
    call.metrics.acknowledged(people, stored, len(receipts) - stored, call.seconds())
    return {"events": receipts}


def undo_of_user(call: Call) -> Future[bool]:
    """Takes back one event of a user. Its id stays used."""
    return call.service.submit_undo(call.tenant, call.path["id"], user=call.path["user"])


def undo_of_session(call: Call) -> Future[bool]:
    """Takes back one event of a session. Its id stays used."""
    return call.service.submit_undo(call.tenant, call.path["id"], session=call.path["session"])


def _undone(call: Call, undone: bool) -> dict[str, bool]:
    if not undone:
        raise RequestError("unknown_event", "There is no such event of theirs.", field="id")
    return {"undone": True}


OPERATIONS = (
    Operation(
        "POST",
        "/v1/events",
        "ingest",
        observe,
        "events",
        schemas.EventsOut,
        dict[str, list[Receipt]],
        finish=_receipts,
        body=schemas.EventsIn,
        statuses=(409,),
        quick=True,
    ),
    *(
        Operation(
            "DELETE",
            f"/v1/{kind}s/{{{kind}}}/events/{{id}}",
            "ingest",
            undo,
            "events",
            schemas.UndoneOut,
            dict[str, bool],
            finish=_undone,
            statuses=(404,),
            quick=True,
        )
        for kind, undo in (("user", undo_of_user), ("session", undo_of_session))
    ),
)
