"""Logs: one JSON object a line on standard error; no keys, no ids of people or items, no bodies."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any, Final, TextIO

LOGGER: Final = "acclimate.http"

_EXTRA: Final = ("request_id", "method", "route", "status", "ms", "code", "worker", "error", "at")


class JsonFormatter(logging.Formatter):
    """A record as JSON.

    Of an exception it says the kind and where it was raised, not its message, which may hold what people
    sent.
    """

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        out: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            # The first line says what; others may hold what it was about.
            "message": record.getMessage().partition("\n")[0],
        }
        for name in _EXTRA:
            if name in record.__dict__:
                out[name] = record.__dict__[name]
        if record.exc_info and record.exc_info[1] is not None:
            out.update(told(record.exc_info[1]))
        return json.dumps(out, ensure_ascii=True)


def told(error: BaseException) -> dict[str, Any]:
    """Kind and place of an exception."""
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    return {
        "error": type(error).__name__,
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def configure(stream: TextIO | None = None) -> None:
    """Sends the logs of acclimate, of uvicorn and of the event loop to standard error as JSON."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("acclimate", "asyncio", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name != "uvicorn.error" else []
        logger.setLevel(logging.INFO)
        logger.propagate = name == "uvicorn.error"
    logging.getLogger("uvicorn.access").disabled = True
