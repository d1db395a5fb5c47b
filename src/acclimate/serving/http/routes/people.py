"""People: all that is kept of one, and nothing any more."""

from __future__ import annotations

from concurrent.futures import Future

from acclimate.serving.http import schemas
from acclimate.serving.http.operations import Call, Operation
from acclimate.serving.service.answers import Export


def export_user(call: Call) -> Export:
    """All that is kept of a user: stored events, and the history that the model holds."""
    return call.service.export(call.tenant, user=call.path["user"])


def export_session(call: Call) -> Export:
    """All that is kept of a session."""
    return call.service.export(call.tenant, session=call.path["session"])


def erase_user(call: Call) -> Future[int]:
    """Removes all events of a user, and what the model remembers of them is no longer used.

    From then on every answer is as for somebody never seen. What the model's parameters learned stays.
    """
    return call.service.submit_erase(call.tenant, user=call.path["user"])


def erase_session(call: Call) -> Future[int]:
    """Removes all events of a session."""
    return call.service.submit_erase(call.tenant, session=call.path["session"])


def _erased(call: Call, n: int) -> dict[str, int]:
    return {"erased": n}


OPERATIONS = (
    *(
        Operation(
            "GET", f"/v1/{kind}s/{{{kind}}}/export", "admin", export, "people", schemas.ExportOut, Export
        )
        for kind, export in (("user", export_user), ("session", export_session))
    ),
    *(
        Operation(
            "DELETE",
            f"/v1/{kind}s/{{{kind}}}",
            "erase",
            erase,
            "people",
            schemas.ErasedOut,
            dict[str, int],
            finish=_erased,
            quick=True,
        )
        for kind, erase in (("user", erase_user), ("session", erase_session))
    ),
)
