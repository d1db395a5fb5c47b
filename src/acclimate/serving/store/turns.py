"""Turns at writing one file, among processes, in a fair order."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from acclimate.errors import StoreError

PATIENCE_SECONDS = 30.0
"""Longer than any process that is at work needs for its turn: one that takes longer was stopped, or hangs."""
LONGEST_PAUSE_SECONDS = 0.001


if sys.platform != "win32":
    import fcntl

    class FileTurns:
        """Two locked files beside the store: one for who writes, one for who is next.

        SQLite's own lock is asked for again and again by whoever waits, and whoever just had it gets it more
        easily than the others. With a lock for the place at the head of the queue, a process that has written
        cannot come back before the one that waited. The operating system gives both up when a process dies.
        """

        def __init__(self, store: Path) -> None:
            self._store = store
            self._hung = False
            self._next = _opened(store, "next")
            try:
                self._lock = _opened(store, "lock")
            except BaseException:
                os.close(self._next)
                raise

        def take(self) -> None:
            """Waits for a turn.

            Raises:
                StoreError: another process does not give its turn back.
            """
            # Once it is known to hang, who waits is told soon.
            deadline = time.monotonic() + PATIENCE_SECONDS / (30 if self._hung else 1)
            self._wait_for(self._next, deadline)
            try:
                self._wait_for(self._lock, deadline)
            finally:
                fcntl.flock(self._next, fcntl.LOCK_UN)
            self._hung = False

        def give(self) -> None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

        def close(self) -> None:
            os.close(self._next)
            os.close(self._lock)

        def _wait_for(self, descriptor: int, deadline: float) -> None:
            # Asked for again and again, since waiting in the system's queue has no end that can be set.
            pause = LONGEST_PAUSE_SECONDS / 16
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        break
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            self._hung = True
            raise StoreError(
                f"Another process has held the event store {self._store} for {PATIENCE_SECONDS:.0f} seconds: "
                "it was stopped, or its disk hangs. Nothing of this call was stored. "
                "End that process, or let it go on."
            )

    def _opened(store: Path, role: str) -> int:
        name = store.with_name(f"{store.name}-{role}")
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

else:

    class FileTurns:
        """Where files cannot be locked this way SQLite's own lock has to do; it is safe, but not fair."""

        def __init__(self, store: Path) -> None: ...

        def take(self) -> None: ...

        def give(self) -> None: ...

        def close(self) -> None: ...
