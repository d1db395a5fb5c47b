"""Group commit: one thread writes, and whatever waits shares one transaction and its one fsync."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from acclimate.errors import ConflictError, OverloadedError, StoreError
from acclimate.serving.store.base import Status
from acclimate.serving.store.ledger import Ledger, LostError
from acclimate.serving.store.rows import Known, Row

T = TypeVar("T")
log = logging.getLogger(__name__)

WAITING = 200_000
"""Events that may wait at most: two seconds' worth at the speed of a disk that keeps up."""
GROUP = 16_384
"""Events in one transaction at most, so that the first of them does not wait for all."""


class Append:
    """Events of one call."""

    __slots__ = ("future", "rows", "weight")

    def __init__(self, rows: Sequence[Row], future: Future[list[Status]]) -> None:
        self.rows, self.future, self.weight = rows, future, len(rows) or 1


class Change:
    """Anything else that is written."""

    __slots__ = ("apply", "future", "weight")

    def __init__(self, apply: Callable[[Ledger], Any], future: Future[Any]) -> None:
        self.apply, self.future, self.weight = apply, future, 1


Outcome = tuple["Future[Any]", Any]


class _KeyUsedError(Exception):
    """A key of this group was used before: what is a repetition and what a conflict has to be found out."""


class Writer:
    """Takes writes from any thread; futures resolve after the commit that holds them has returned."""

    def __init__(self, ledger: Ledger, *, waiting: int = WAITING, group: int = GROUP) -> None:
        self._ledger, self._limit, self._group = ledger, waiting, group
        self._queue: deque[Append | Change] = deque()
        self._weight = 0
        self._broken: BaseException | None = None
        self._closed = self._idle = False
        self._wake = threading.Condition(threading.Lock())
        self._thread = threading.Thread(target=self._run, name="acclimate-writer", daemon=True)
        self._thread.start()

    def append(self, rows: Sequence[Row]) -> Future[list[Status]]:
        future: Future[list[Status]] = Future()
        self._put(Append(rows, future))
        return future

    def submit(self, apply: Callable[[Ledger], T]) -> Future[T]:
        future: Future[T] = Future()
        self._put(Change(apply, future))
        return future

    def close(self) -> None:
        """Writes what waits, and ends the thread."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _put(self, job: Append | Change) -> None:
        # A write that waits in the queue cannot be cancelled: whether it happened must not be left open.
        job.future.set_running_or_notify_cancel()
        with self._wake:
            if self._broken is not None:
                raise _stopped(self._broken, "Nothing of this call was stored.")
            if self._closed:
                raise StoreError("The event store is closed; nothing was written.")
            if self._weight and self._weight + job.weight > self._limit:
                raise OverloadedError(
                    f"{self._weight:,} events wait to be written, as many as may. Try again in a second."
                )
            self._weight += job.weight
            self._queue.append(job)
            if self._idle:
                self._idle = False
                self._wake.notify()

    def _take(self) -> list[Append | Change]:
        """What waits, in order, up to the size of a group; empty when all is done and closed."""
        with self._wake:
            while not self._queue:
                if self._closed:
                    return []
                self._idle = True
                self._wake.wait()
            self._idle = False
            if self._weight <= self._group:
                jobs = list(self._queue)
                self._queue.clear()
                self._weight = 0
                return jobs
            jobs, weight = [], 0
            while self._queue and (not jobs or weight + self._queue[0].weight <= self._group):
                job = self._queue.popleft()
                weight += job.weight
                jobs.append(job)
            self._weight -= weight
            return jobs

    def _run(self) -> None:
        jobs: list[Append | Change] = []
        try:
            while jobs := self._take():
                self._write(jobs)
                jobs = []
                self._ledger.tidy()
        except BaseException as error:
            # A fault of our own. Nobody is to wait for what will not happen, and nobody is to be told a lie.
            log.critical("the event store has stopped writing: restart the server", exc_info=error)
            with self._wake:
                self._broken = error
                waiting, self._weight = list(self._queue), 0
                self._queue.clear()
            for job in jobs:
                if not job.future.done():
                    job.future.set_exception(
                        _stopped(error, "It may be stored or not: send it again with the same ids.")
                    )
            for job in waiting:
                job.future.set_exception(_stopped(error, "Nothing of this call was stored."))
        finally:
            self._ledger.close()

    def _write(self, jobs: list[Append | Change]) -> None:
        try:
            outcomes = self._transact(jobs)
        except StoreError as error:
            self._roll_back()
            for job in jobs:
                job.future.set_exception(type(error)(*error.args))
        except Exception as error:
            # Not the disk: something in one of the calls. The others are not to suffer for it.
            self._roll_back()
            if len(jobs) > 1:
                for job in jobs:
                    self._write([job])
                return
            log.exception("a write failed")
            jobs[0].future.set_exception(StoreError(f"This could not be written ({error!r}). Nothing was."))
        else:
            for future, outcome in outcomes:
                if isinstance(outcome, StoreError):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    def _roll_back(self) -> None:
        # Where it fails the connection was dropped, and its transaction with it.
        with contextlib.suppress(StoreError):
            self._ledger.rollback()

    def _transact(self, jobs: list[Append | Change]) -> list[Outcome]:
        """One transaction; tried once more where the connection was lost before the commit."""
        try:
            return self._attempt(jobs)
        except LostError:
            return self._attempt(jobs)

    def _attempt(self, jobs: list[Append | Change]) -> list[Outcome]:
        try:
            return self._in_order(jobs, _insert_new)
        except _KeyUsedError:
            self._ledger.rollback()
            return self._in_order(jobs, _insert_carefully)

    def _in_order(
        self, jobs: list[Append | Change], insert: Callable[[Ledger, list[Append]], list[Outcome]]
    ) -> list[Outcome]:
        ledger = self._ledger
        ledger.begin()
        outcomes: list[Outcome] = []
        together: list[Append] = []
        for job in jobs:
            if isinstance(job, Append):
                together.append(job)
                continue
            outcomes += insert(ledger, together)
            together = []
            outcomes.append((job.future, job.apply(ledger)))
        outcomes += insert(ledger, together)
        ledger.commit()
        return outcomes


def _insert_new(ledger: Ledger, jobs: list[Append]) -> list[Outcome]:
    """As if no id had ever been used, which is nearly always so."""
    if not jobs:
        return []
    rows = jobs[0].rows if len(jobs) == 1 else [row for job in jobs for row in job.rows]
    if not ledger.insert(rows):
        raise _KeyUsedError
    return [(job.future, ["stored"] * len(job.rows)) for job in jobs]


def _insert_carefully(ledger: Ledger, jobs: list[Append]) -> list[Outcome]:
    if not jobs:
        return []
    known = ledger.find(list({row[0] for job in jobs for row in job.rows}))
    outcomes: list[Outcome] = []
    new: list[Row] = []
    for job in jobs:
        fresh: dict[bytes, Known] = {}
        rows: list[Row] = []
        statuses: list[Status] = []
        for row in job.rows:
            key, person, _, _, event_id, item, value, _ = row
            before = fresh.get(key) or known.get(key)
            if before is None:
                fresh[key] = Known(0, person, item, value, None)
                rows.append(row)
                statuses.append("stored")
            elif before.same(person, item, value):
                statuses.append("duplicate")
            else:
                outcomes.append((job.future, _conflict(event_id)))
                break
        else:
            known |= fresh
            new += rows
            outcomes.append((job.future, statuses))
    if new and not ledger.insert(new, checked=True):
        raise StoreError(
            "An event id was used by a writer that did not wait for its turn. Nothing was written."
        )
    return outcomes


def _stopped(error: BaseException, what: str) -> StoreError:
    return StoreError(f"The event store has stopped writing ({error!r}). {what} Restart the server.")


def _conflict(event_id: str) -> ConflictError:
    return ConflictError(
        f"The event id {event_id!r} was used before, for another event (another user, item or value). "
        "Nothing of this call was stored. Give every event an id of its own."
    )
