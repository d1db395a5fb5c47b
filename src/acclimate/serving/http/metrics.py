"""Metrics for Prometheus; with several workers, theirs together."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter, time
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = (
    *(0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_EFFECT = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0)
_WAITING = 10_000
"""Acknowledged events of which no answer has been seen yet that are remembered."""


class Metrics:
    """What one worker counts.

    Attributes:
        began: when, in seconds since epoch. model_since: when it was first seen to serve its present model.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        at: Any = {"registry": self.registry}
        live: Any = {"multiprocess_mode": "livesum", **at}
        self.seconds = Histogram(
            "acclimate_request_seconds",
            "From the head of a request to its answer.",
            ["route", "method"],
            buckets=_SECONDS,
            **at,
        )
        self.requests = Counter("acclimate_requests", "Answers.", ["route", "method", "status"], **at)
        self.ack = Histogram(
            "acclimate_event_ack_seconds",
            "From the head of a request to its events being on disk.",
            buckets=_SECONDS,
            **at,
        )
        self.effect = Histogram(
            "acclimate_event_to_effect_seconds",
            "From the acknowledgement of an event to the first answer to that person, which reflects it.",
            buckets=_EFFECT,
            **at,
        )
        self.events = Counter("acclimate_events", "Events acknowledged.", ["status"], **at)
        self.listed = Counter("acclimate_listed_items", "Items in lists.", ["reason"], **at)
        self.degraded = Counter("acclimate_degraded_answers", "Answers that name what is missing.", **at)
        self.limited = Counter("acclimate_limited_requests", "Requests refused by a rate.", ["by"], **at)
        self.running = Gauge("acclimate_requests_running", "Requests being answered.", **live)
        self.ready = Gauge("acclimate_ready_workers", "Workers that are ready.", **live)
        self.model = Gauge(
            "acclimate_model_info", "Workers that serve a model, by its hash.", ["sha256"], **live
        )
        self.damaged = Gauge(
            "acclimate_model_damaged", "Workers beside whose model lies another that cannot be used.", **live
        )
        self.state_hits = Gauge(
            "acclimate_state_cache_hits", "Answers to somebody whose state was at hand.", **live
        )
        self.state_misses = Gauge(
            "acclimate_state_cache_misses", "Answers to somebody whose state was computed.", **live
        )
        self.service = Gauge(
            "acclimate_service", "What the service and its store count since they started.", ["name"], **live
        )
        self._waiting: OrderedDict[object, float] = OrderedDict()
        self._model = ""
        self.began = self.model_since = time()
        self._by_reason = {name: self.listed.labels(name) for name in ("score", "explored", "pinned")}
        self._by_status = {name: self.events.labels(name) for name in ("stored", "duplicate")}

    # -- what handlers tell

    def acknowledged(self, people: Sequence[object], stored: int, duplicates: int, seconds: float) -> None:
        """Events of some people are on disk."""
        now = perf_counter()
        self.ack.observe(seconds)
        if stored:
            self._by_status["stored"].inc(stored)
        if duplicates:
            self._by_status["duplicate"].inc(duplicates)
        for person in people:
            self._waiting[person] = now
            self._waiting.move_to_end(person)
        while len(self._waiting) > _WAITING:
            self._waiting.popitem(last=False)

    def answered(self, person: object) -> None:
        """Somebody got an answer that is made from their events."""
        if self._waiting and person is not None:
            since = self._waiting.pop(person, None)
            if since is not None:
                self.effect.observe(perf_counter() - since)

    def ranked(self, reasons: Mapping[str, int], degraded: bool) -> None:
        """A list: how many items stand in it for which reason."""
        for reason, n in reasons.items():
            self._by_reason[reason].inc(n)
        if degraded:
            self.degraded.inc()

    # -- what is asked of the service now and then

    def told(self, status: Mapping[str, Any], ready: bool) -> None:
        """Numbers of the service's status, by their names; and the model it serves."""
        self.ready.set(1 if ready else 0)
        for name, value in _numbers(status):
            self.service.labels(name).set(value)
        people = status["people"]
        self.state_hits.set(people["hits"])
        self.state_misses.set(people["misses"])
        model = status["model"]
        self.damaged.set(0 if model.get("failure") is None else 1)
        self.serves(model["sha256"])

    def serves(self, sha256: str) -> None:
        """The model in service, by hash."""
        if sha256 != self._model:
            if self._model:
                self.model.labels(self._model).set(0)
                self.model_since = time()
            self._model = sha256
            self.model.labels(sha256).set(1)

    # -- what Prometheus reads

    def text(self) -> tuple[bytes, bytes]:
        """The exposition, and its media type."""
        return generate_latest(self.together()), CONTENT_TYPE_LATEST.encode()

    def together(self) -> CollectorRegistry:
        """What all workers counted."""
        folder = os.environ.get(FOLDER)
        if not folder:
            return self.registry
        _forget_the_dead(Path(folder))
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
        return registry

    def close(self) -> None:
        """This worker is about to end."""
        self.ready.set(0)
        if os.environ.get(FOLDER):
            multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


def _numbers(status: Mapping[str, Any], path: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in status.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{path}{name}.")
        elif isinstance(value, int | float) and math.isfinite(value):
            found.append((f"{path}{name}", float(value)))
    return found


def _forget_the_dead(folder: Path) -> None:
    """Gauges of workers that were killed must not be added up for ever."""
    for path in folder.glob("gauge_live*_*.db"):
        pid = re.search(r"_(\d+)\.db$", path.name)
        if pid and not _lives(int(pid[1])):
            with contextlib.suppress(OSError):
                multiprocess.mark_process_dead(int(pid[1]), str(folder))  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
