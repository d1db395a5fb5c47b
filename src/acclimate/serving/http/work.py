"""Where work is done: on the event loop if it takes microseconds, in a thread if not."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_LONGEST = 0.02
"""Seconds that a kind of work may take on average to be done on the loop."""


class Mailbox:
    """Awaits futures that other threads complete, many of them with one wake-up of the loop.

    A disk acknowledges hundreds of writes at one moment; telling the loop once for each would cost it more
    than answering them.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done: deque[tuple[Future[Any], asyncio.Future[None]]] = deque()
        self._told = False

    async def result(self, future: Future[T]) -> T:
        """The result of a future, or what it raises."""
        if not future.done():
            waiter: asyncio.Future[None] = self._loop.create_future()
            future.add_done_callback(lambda done: self._put(done, waiter))
            await waiter
        return future.result()

    def _put(self, future: Future[Any], waiter: asyncio.Future[None]) -> None:
        self._done.append((future, waiter))
        # Told twice is harmless; told never cannot happen: the loop resets the flag before it looks.
        if not self._told:
            self._told = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._told = False

    def _deliver(self) -> None:
        self._told = False
        while self._done:
            _, waiter = self._done.popleft()
            if not waiter.done():
                waiter.set_result(None)


class Pace(Generic[T]):
    """How long a kind of work takes, as it was the last times."""

    __slots__ = ("inline", "seconds")

    def __init__(self, inline: bool) -> None:
        self.inline = inline
        self.seconds = 0.0 if inline else _LONGEST

    def told(self, seconds: float) -> None:
        self.seconds += 0.2 * (min(seconds, 0.5) - self.seconds)


class Work:
    """Runs what handlers do.

    What is quick stays on the loop, because handing it to a thread costs more than doing it; what turns out
    slow (a model that scores every item, a strategy that is built on first use) moves to threads, so that
    nobody else waits for it.
    """

    def __init__(self, threads: int, *, local: bool) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="acclimate-http")
        self._local = local
        self._paces: dict[object, Pace[Any]] = {}
        self._mailbox: Mailbox | None = None

    async def run(self, kind: object, quick: bool, work: Callable[[], T]) -> T:
        """Does it.

        Args:
            kind: what sort of work, of which the duration is remembered. quick: whether it may be quick.
        """
        if quick and self._local:
            pace = self._paces.get(kind)
            if pace is None:
                pace = self._paces[kind] = Pace(True)
            started = perf_counter()
            if pace.seconds < _LONGEST:
                try:
                    return work()
                finally:
                    pace.told(perf_counter() - started)
            try:
                return await self.in_thread(work)
            finally:
                pace.told(perf_counter() - started)
        return await self.in_thread(work)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Does it in a thread, whatever it is."""
        future = self._pool.submit(work)
        try:
            return await self.result(future)
        except asyncio.CancelledError:
            # Nobody waits for it any more: what has not begun need not.
            future.cancel()
            raise

    async def result(self, future: Future[T]) -> T:
        """Awaits a future of another thread."""
        if self._mailbox is None:
            self._mailbox = Mailbox(asyncio.get_running_loop())
        return await self._mailbox.result(future)

    def close(self) -> None:
        """Finishes what runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)
