"""Writes events from a process of its own, and says on its output what was acknowledged. Run by tests.

    python store_writer.py STORE NAME CALLS EVENTS_A_CALL

Prints the ids of a call on one line, in one write, once its future has resolved; calls overlap, as they do in
a server.
CALLS may be 0: until killed.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading

from acclimate.errors import StoreError
from acclimate.serving.events import Event
from acclimate.serving.store import sqlite
from acclimate.serving.store.opening import open_store


def main() -> None:
    if "FOLD" in os.environ:
        sqlite.FOLD = int(os.environ["FOLD"])
    where, name, calls, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    store = open_store(where)
    free = threading.Semaphore(32)
    os.write(1, b"ready\n")
    for call in range(calls) if calls else itertools.count():
        ids = [f"{name}-{call}-{n}" for n in range(size)]
        events = [Event(i, f"u:{name}", f"item{n}", float(call), 0.0) for n, i in enumerate(ids)]

        def said(future, ids=ids):
            line = (
                " ".join(ids) if future.exception() is None else f"failed {type(future.exception()).__name__}"
            )
            os.write(1, f"{line}\n".encode())
            free.release()

        free.acquire()
        try:
            store.append("t", events).add_done_callback(said)
        except StoreError as error:
            os.write(1, f"failed {type(error).__name__}\n".encode())
            free.release()
    store.close()


if __name__ == "__main__":
    main()
