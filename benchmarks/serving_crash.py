"""Kills the server at random moments, hundreds of times, and counts what it had acknowledged and lost.

Several lanes run beside each other, each a server with a store of its own. Clients send events with ids of
their own, one request after the other for each person, and repeat a request until it is acknowledged.
Meanwhile all processes of the server get SIGKILL at once, some while it serves, some while it still starts
and recovers; after some of the kills the end of the write-ahead log is torn besides, as a power cut would:
what follows the last commit is cut or overwritten with noise, and, where nobody was told of it, the last
commit itself. In the end the store is read: every acknowledged event must be in it, once, as it was sent, in
the order of its person, and no event that was acknowledged as taken back.

    python benchmarks/serving_crash.py            at least 200 kills
    python benchmarks/serving_crash.py --quick    a few
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import random
import shutil
import sqlite3
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from acclimate.serving.events import Event
from acclimate.serving.store.opening import open_store
from harness import Result, Row, machine, options
from served import Server, fsync_ms, made_model

KILLS = {"sqlite, one worker": 160, "sqlite, two workers": 44}
LANES = 2
CLIENTS = 4
N_ITEMS = 500


@dataclass
class Told:
    """What one person's client sent, and what it was told.

    Attributes:
        sent: every event ever sent, in order. acknowledged: ids that were. undone: ids whose undo was.
        maybe_undone: ids whose undo was sent. repeats: requests that had to be sent again.
        duplicates: events that were acknowledged as ``duplicate``: an earlier attempt had stored them.
        refused: answers that no client deserves.
    """

    user: str
    sent: list[Event] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
    maybe_undone: set[str] = field(default_factory=set)
    repeats: int = 0
    duplicates: int = 0
    refused: list[str] = field(default_factory=list)


class Client(threading.Thread):
    """Acts for one person: sends events, now and then takes one back, repeats both until told."""

    def __init__(self, address: tuple[str, int], user: str, stop: threading.Event, seed: int) -> None:
        super().__init__(name=user, daemon=True)
        self.address, self.stop, self.draw = address, stop, random.Random(seed)
        self.told = Told(user)
        self.connection: http.client.HTTPConnection | None = None
        self.failed = threading.Event()

    def wait_until_failing(self) -> None:
        """Waits until a request fails from now on: then nothing that was on its way is still to be heard."""
        self.failed.clear()
        if not self.failed.wait(30):
            raise RuntimeError(f"{self.name} goes on although the server is dead")

    def run(self) -> None:
        while not self.stop.is_set():
            candidates = self.told.acknowledged - self.told.maybe_undone
            if candidates and self.draw.random() < 0.05:
                self.undo(self.draw.choice(sorted(candidates)))
            else:
                self.observe(1 if self.draw.random() < 0.7 else self.draw.randint(2, 30))
        if self.connection is not None:
            self.connection.close()

    def observe(self, n: int) -> None:
        told, start = self.told, len(self.told.sent)
        events = [
            Event(f"{told.user}-{start + i}", told.user, str(self.draw.randrange(N_ITEMS)), 1.0 + i, 0.0)
            for i in range(n)
        ]
        told.sent += events
        body = {
            "events": [{"id": e.id, "user": e.user, "item": int(e.item), "value": e.value} for e in events]
        }
        answer = self.until_answered("POST", "/v1/events", body)
        if answer is None:
            return
        status, content = answer
        if status != 200:
            told.refused.append(f"{status} {content[:200]!r}")
            return
        receipts = json.loads(content)["events"]
        told.acknowledged.update(receipt["id"] for receipt in receipts)
        told.duplicates += sum(receipt["status"] == "duplicate" for receipt in receipts)

    def undo(self, event_id: str) -> None:
        told = self.told
        told.maybe_undone.add(event_id)
        answer = self.until_answered("DELETE", f"/v1/users/{told.user}/events/{event_id}", None)
        if answer is None:
            return
        # After an attempt whose answer was lost, it may be gone already.
        if answer[0] in (200, 404):
            told.undone.add(event_id)
        else:
            told.refused.append(f"undo: {answer[0]} {answer[1][:200]!r}")

    def until_answered(self, method: str, path: str, body: object) -> tuple[int, bytes] | None:
        """The answer to a request that is repeated through every failure; None once all is over."""
        content = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if content else {}
        first = True
        while first or not self.stop.is_set():
            if not first:
                self.told.repeats += 1
            first = False
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(*self.address, timeout=20)
                self.connection.request(method, path, content, headers)
                answer = self.connection.getresponse()
                found = answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                if self.connection is not None:
                    self.connection.close()
                self.connection = None
                self.failed.set()
                self.stop.wait(0.05)
                continue
            if found[0] not in (429, 503):
                return found
            self.stop.wait(0.05)
        return None


@dataclass
class Found:
    """What a lane came to."""

    kills: int = 0
    while_starting: int = 0
    torn: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    events_stored: int = 0
    lost: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)
    came_back: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    repeats: int = 0
    recognised: int = 0
    seconds: float = 0.0

    def add(self, other: Found) -> None:
        for name, value in vars(other).items():
            mine = getattr(self, name)
            if isinstance(mine, Counter | list):
                mine += value
            else:
                setattr(self, name, max(mine, value) if name == "seconds" else mine + value)

    def wrong(self) -> dict[str, list[str]]:
        """What must be empty, by its name."""
        return {
            "lost": self.lost,
            "duplicates": self.duplicates,
            "altered": self.altered,
            "out of order": self.misplaced,
            "undone that came back": self.came_back,
            "refused": self.refused,
        }

    @property
    def sound(self) -> bool:
        """Whether nothing at all is wrong."""
        return not any(self.wrong().values())


def lane(model: Path, folder: Path, kills: int, *, workers: int, seed: int, clients: int = CLIENTS) -> Found:
    """Kills a server with a store in ``folder`` so many times, and reads the store in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    store, draw, stop = folder / "events.sqlite", random.Random(seed), threading.Event()
    server = Server(model, str(store), folder / "log", workers=workers, more=("--no-page",))
    people = [Client(server.address, f"{folder.name}-p{i}", stop, 1000 * seed + i) for i in range(clients)]
    found, start = Found(), time.perf_counter()
    starting = 2.0
    try:
        server.start()
        for person in people:
            person.start()
        while found.kills < kills:
            if draw.random() < 0.15:
                time.sleep(draw.uniform(0.0, starting))
                found.while_starting += 1
            else:
                began = time.perf_counter()
                server.wait_ready()
                starting = 0.5 * starting + 0.5 * (time.perf_counter() - began)
                time.sleep(draw.uniform(0.0, 0.4))
            server.kill()
            found.kills += 1
            for person in people:
                person.wait_until_failing()
            if (how := tear(store, draw, [person.told for person in people])) is not None:
                found.torn[how] += 1
            server.start()
        server.wait_ready()
        time.sleep(0.5)
        stop.set()
        for person in people:
            person.join(60)
            if person.is_alive():
                raise RuntimeError(f"{person.name} got no answer")
        code = server.stop()
        if code not in (0, -15, 143):
            raise RuntimeError(
                f"the server ended with {code}:\n{server.log.read_text(errors='replace')[-2000:]}"
            )
    finally:
        stop.set()
        server.kill()
    found.seconds = time.perf_counter() - start
    judge(found, store, [person.told for person in people])
    return found


def judge(found: Found, store: Path, people: Sequence[Told]) -> None:
    """Compares what people were told with what is stored."""
    opened = open_store(str(store))
    try:
        total = opened.count()
        for told in people:
            events = opened.export("default", f"u:{told.user}")
            found.events_stored += len(events)
            total -= len(events)
            times = Counter(e.id for e in events)
            sent = {e.id: e for e in told.sent}
            found.acknowledged += len(told.acknowledged)
            found.repeats += told.repeats
            found.recognised += told.duplicates
            found.refused += told.refused
            found.lost += sorted(told.acknowledged - told.maybe_undone - times.keys())
            found.duplicates += sorted(event for event, n in times.items() if n > 1)
            found.came_back += sorted(told.undone & times.keys())
            for event in events:
                said = sent.get(event.id)
                if said is None or (said.item, said.value) != (event.item, event.value):
                    found.altered.append(event.id)
            places = [int(e.id.rsplit("-", 1)[1]) for e in events]
            found.misplaced += [str(a) for a, b in itertools.pairwise(places) if a >= b]
        if total:
            found.altered.append(f"{total} events of nobody")
    finally:
        opened.close()


# The write-ahead log: https://www.sqlite.org/fileformat2.html#walformat
_HEAD, _FRAME = 32, 24


def tear(store: Path, draw: random.Random, people: Sequence[Told]) -> str | None:
    """Damages the end of the log of a store that nobody has open, as a power cut may; how, or None for not.

    Only what was never acknowledged may be damaged: bytes after the last commit, and the last commit itself
    if none of its events was acknowledged.
    """
    log = store.with_name(store.name + "-wal")
    if draw.random() < 0.4 or not log.exists() or log.stat().st_size <= _HEAD:
        return None
    with contextlib.suppress(FileNotFoundError):
        if draw.random() < 0.5:
            store.with_name(store.name + "-shm").unlink()
    size, commits = log.stat().st_size, _commits(log)
    if not commits:
        return None
    secrets = _secrets_of_last_commit(store, commits[-2]) if len(commits) > 1 else None
    if secrets is not None and all(secrets.isdisjoint(told.acknowledged) for told in people):
        end, how = draw.randrange(commits[-2], commits[-1]), "last commit torn"
    else:
        end, how = commits[-1], draw.choice(("noise after the last commit", "cut after the last commit"))
    with log.open("r+b") as file:
        head = file.read(_HEAD)
        file.seek(end)
        if how != "cut after the last commit":
            page = struct.unpack_from(">I", head, 8)[0]
            # A frame that looks like this log's, but for its checksum, cut somewhere.
            frame = struct.pack(">II", draw.randint(1, 50), draw.randint(0, 50)) + head[16:24]
            noise = frame + draw.randbytes(8 + page)
            file.write(noise[: draw.randint(1, len(noise))])
            if draw.random() < 0.5:
                file.truncate()
        else:
            file.truncate(draw.randint(end, size))
        os.fsync(file.fileno())
    return how


def _commits(log: Path) -> list[int]:
    """Ends, in bytes, of the commits of a write-ahead log, as far as its salts reach."""
    raw = log.read_bytes()
    page = struct.unpack_from(">I", raw, 8)[0]
    salts, ends, at = raw[16:24], [], _HEAD
    while at + _FRAME + page <= len(raw) and raw[at + 8 : at + 16] == salts:
        at_end = at + _FRAME + page
        if struct.unpack_from(">I", raw, at + 4)[0]:
            ends.append(at_end)
        at = at_end
    return ends


def _secrets_of_last_commit(store: Path, before: int) -> set[str] | None:
    """Ids of the events in the log after byte ``before``; None if something else was done there too."""
    rows: list[list[tuple[int, str | None]]] = []
    log = store.with_name(store.name + "-wal")
    for length in (before, None):
        with tempfile.TemporaryDirectory(prefix="torn-") as folder:
            copy = Path(folder) / "copy"
            shutil.copy(store, copy)
            shutil.copy(log, f"{copy}-wal")
            if length is not None:
                os.truncate(f"{copy}-wal", length)
            with contextlib.closing(sqlite3.connect(copy)) as database:
                rows.append(database.execute(_NEWEST).fetchall())
    last = rows[0][0][0] if rows[0] else 0
    new = [(seq, event) for seq, event in rows[1] if seq > last]
    if not new or len(new) == len(rows[1]) or any(event is None for _, event in new):
        return None
    return {event for _, event in new if event is not None}


_NEWEST = "SELECT seq, id FROM events ORDER BY seq DESC LIMIT 2000"


def measure(row: str, kills: int, seed: int) -> Found:
    """All lanes of one row, beside each other."""
    workers = 2 if "two" in row else 1
    found = Found()
    with tempfile.TemporaryDirectory(prefix="crash-") as name:
        folder = Path(name)
        model = folder / "model.acc"
        made_model(N_ITEMS).save(model)
        with ThreadPoolExecutor(LANES) as pool:
            lanes = [
                pool.submit(
                    lane,
                    model,
                    folder / f"lane{i}",
                    -(-kills // LANES),
                    workers=workers,
                    seed=seed * LANES + i,
                )
                for i in range(LANES)
            ]
            for one in lanes:
                found.add(one.result())
    return found


def rows_of(row: str, found: Found) -> list[Row]:
    """The figures of one row."""
    counts = {
        "kills": found.kills,
        "kills while starting": found.while_starting,
        "logs torn": found.torn.total(),
        "acknowledged": found.acknowledged,
        "stored": found.events_stored,
        "requests repeated": found.repeats,
        "repeats recognised": found.recognised,
        "seconds": found.seconds,
    }
    rows = [Row(row, "ours", "crash", None, name, float(n), float(n), float(n)) for name, n in counts.items()]
    for name, events in found.wrong().items():
        n = float(len(events))
        rows.append(Row(row, "ours", "crash", None, name, n, n, n, n=found.acknowledged, target=0.0))
    return rows


def main() -> None:
    given = options(__doc__, seeds=(0,), rows=tuple(KILLS))
    folder = Path(tempfile.gettempdir())
    result = Result("serving_crash", {}, "", given.seeds, machine("cpu") | {"fsync_ms": fsync_ms(folder)})
    result.settings["data"] = (
        f"made_model({N_ITEMS}); events drawn by {CLIENTS} clients a lane, {LANES} lanes"
    )
    sound = True
    for row in given.rows:
        found, kills = Found(), 4 if given.quick else KILLS[row]
        for seed in given.seeds:
            found.add(measure(row, -(-kills // len(given.seeds)), seed))
        result.settings[row] = (
            ", ".join(f"{how}: {n}" for how, n in sorted(found.torn.items())) or "no log torn"
        )
        result.rows.extend(rows_of(row, found))
        sound = sound and found.sound
        print(
            f"{row}: {found.kills} kills in {found.seconds:.0f} s; torn: {result.settings[row]}", flush=True
        )
        for name, what in found.wrong().items():
            if what:
                print(f"  {name}: {what[:5]}")
    print_table(result)
    if not given.quick:
        print(f"\nwritten: {result.write()}")
    if not sound:
        raise SystemExit(1)


def print_table(result: Result) -> None:
    table = Table(title="Kills of the server under load, and what became of acknowledged events")
    table.add_column("")
    names = list(dict.fromkeys(r.row for r in result.rows))
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("target", justify="right")
    for metric in dict.fromkeys(r.metric for r in result.rows):
        cells = [r for r in result.rows if r.metric == metric]
        target = "" if cells[0].target is None else f"{cells[0].target:.0f}"
        table.add_row(metric, *(f"{c.value:,.0f}" for c in cells), target)
    Console(width=80).print(table)


if __name__ == "__main__":
    main()
