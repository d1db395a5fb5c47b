"""What a service has done so far, for metrics."""

from __future__ import annotations

import threading
from typing import Any


class Counts:
    """Numbers that only grow.

    Attributes:
        lists: recommendations made. shown: items in them. explored: items that were explored.
        degraded: answers given while the store could not be read.
        reloads: models that took over. reloads_failed: files that could not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lists = self.shown = self.explored = self.degraded = self.reloads = self.reloads_failed = 0

    def listed(self, shown: int, explored: int) -> None:
        """Counts a list."""
        with self._lock:
            self.lists += 1
            self.shown += shown
            self.explored += explored

    def told(self) -> dict[str, Any]:
        """As a dict, for answers."""
        return {
            "lists": self.lists,
            "items_shown": self.shown,
            "items_explored": self.explored,
            "degraded": self.degraded,
            "reloads": self.reloads,
            "reloads_failed": self.reloads_failed,
        }
