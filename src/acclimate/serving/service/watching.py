"""Watching a model file: whether another one stands there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from acclimate.errors import AcclimateError

_LOG = logging.getLogger("acclimate.serving")

Signature = tuple[int, int, int]


def signature(path: Path) -> Signature | None:
    """Time of change, size and number of a file; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Watch:
    """Calls ``changed`` whenever a file is not the one that was there, until closed.

    Args:
        seconds: between two looks. last: of the file that was read.
    """

    def __init__(
        self, path: Path, changed: Callable[[], object], seconds: float, last: Signature | None
    ) -> None:
        self._path, self._changed, self._seconds = path, changed, seconds
        self._last = last
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="acclimate-model-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            now = signature(self._path)
            if now is None or now == self._last:
                continue
            self._last = now
            try:
                self._changed()
            except AcclimateError as error:
                _LOG.warning("The model in use stays: %s", error)
            # A thread that ends would leave a server that never sees another model.
            except Exception:
                _LOG.exception("The model in use stays: reading the file failed")
