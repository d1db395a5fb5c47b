"""Turns at writing one file, among processes, in a fair order."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Protocol


class Turns(Protocol):
    """A lock that is held while one process writes."""

    def take(self) -> None: ...

    def give(self) -> None: ...

    def close(self) -> None: ...


if sys.platform != "win32":
    import fcntl

    class FileTurns:
        """Two locked files beside the store: one for who writes, one for who is next.

        SQLite's own lock is asked for again and again by whoever waits, and whoever just had it gets it more
        easily than the others. With a lock for the place at the head of the queue, a process that has written
        cannot come back before the one that waited. The operating system gives both up when a process dies.
        """

        def __init__(self, store: Path) -> None:
            names = [store.with_name(f"{store.name}-{role}") for role in ("next", "lock")]
            self._next, self._lock = (
                os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in names
            )

        def take(self) -> None:
            fcntl.flock(self._next, fcntl.LOCK_EX)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            fcntl.flock(self._next, fcntl.LOCK_UN)

        def give(self) -> None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

        def close(self) -> None:
            os.close(self._next)
            os.close(self._lock)

else:

    class FileTurns:
        """Where files cannot be locked this way SQLite's own lock has to do; it is safe, but not fair."""

        def __init__(self, store: Path) -> None: ...

        def take(self) -> None: ...

        def give(self) -> None: ...

        def close(self) -> None: ...
