"""How many events a second a server acknowledges once they are on disk, by one or by a hundred a request.

A real `acclimate serve` with SQLite and with PostgreSQL, both as durable as they can be (an event is
acknowledged when the sync that holds it has returned), and a load generator in a process of its own on the
same two cores. Events a second in a closed loop of many connections; latency in an open loop at half of that.
In the end the store is read, and must hold exactly what was acknowledged.

    python benchmarks/serving_ingest.py
    python benchmarks/serving_ingest.py --rows sqlite --quick
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

import load
from acclimate.serving.store.opening import open_store
from harness import Result, Row, machine, options
from served import Server, bootstrapped, fsync_ms, interval, made_model

ROWS = ("sqlite", "postgresql")
SETTINGS = {"single": (1, 128), "batch100": (100, 16)}
"""Events of a request, and connections."""
WORKERS = (1, 2)
TARGETS = {"single": 5_000.0, "batch100": 100_000.0}
N_ITEMS, N_USERS = 10_000, 20_000


def requests(setting: str, run: str, n: int, seed: int) -> list[bytes]:
    """n requests with events of their own ids, by random people on random items."""
    generator, size = np.random.default_rng(seed), SETTINGS[setting][0]
    users = generator.integers(N_USERS, size=(n, size)).tolist()
    items = generator.integers(N_ITEMS, size=(n, size)).tolist()
    out = []
    for i in range(n):
        events = ",".join(
            f'{{"id":"{run}-{i}-{j}","user":"u{user}","item":{item}}}'
            for j, (user, item) in enumerate(zip(users[i], items[i], strict=True))
        )
        out.append(load.request("POST", "/v1/events", f'{{"events":[{events}]}}'.encode()))
    return out


@contextlib.contextmanager
def store_of(row: str, folder: Path) -> Iterator[str | None]:
    """The address of an empty store; None if this machine has none of its kind."""
    if row == "sqlite":
        path = folder / "events.sqlite"
        yield str(path)
        return
    tests = str(Path(__file__).parent.parent / "tests")
    sys.path.append(tests)
    try:
        import postgres
    finally:
        sys.path.remove(tests)
    programs = postgres.binaries()
    if programs is None:
        yield None
        return
    server = postgres.Server(programs)
    try:
        yield server.new_database()
    finally:
        server.remove()


def stored(store: str) -> int:
    """How many events a store holds."""
    opened = open_store(store)
    try:
        return opened.count()
    finally:
        opened.close()


def measure(row: str, setting: str, workers: int, model: Path, seeds: list[int], seconds: float) -> list[Row]:
    """Throughput and latency of one way to send events to one kind of store."""
    size, connections = SETTINGS[setting]
    rates, latencies, acknowledged, failed = [], [], 0, 0
    # So many that a fast machine does not run out of them.
    many = int(seconds * 3 * TARGETS[setting] / size)
    with tempfile.TemporaryDirectory(prefix="ingest-") as name, store_of(row, Path(name)) as store:
        if store is None:
            print(f"skipped: no {row} on this machine")
            return []
        with Server(model, store, Path(name) / "log", workers=workers, more=("--no-page",)) as server:
            for seed in seeds:
                fast, _ = load.run(
                    server.address,
                    requests(setting, f"a{seed}", many, seed),
                    connections=connections,
                    seconds=seconds,
                )
                rates.append(size * fast.rate)
                rate = fast.rate / 2
                n = max(1, int(rate * seconds))
                steady, _ = load.run(
                    server.address,
                    requests(setting, f"b{seed}", n, seed),
                    connections=connections,
                    seconds=seconds,
                    rate=rate,
                )
                latencies.append(steady.latency)
                for outcome, given in ((fast, many), (steady, n)):
                    acknowledged += size * len(set(outcome.order.tolist()))
                    failed += outcome.failed
                    if outcome.failed:
                        print(f"  statuses {dict(outcome.statuses)}, never sent {outcome.unsent}")
                    if len(outcome.order) > given:
                        print(f"  {len(outcome.order) - given} requests of {row}, {setting} were repetitions")
        held = stored(store)
    taken = 1e3 * np.concatenate(latencies)
    who, wrong = f"{row} x{workers}", float(abs(held - acknowledged) + failed)
    return [
        Row(
            who, "ours", setting, None, "events/s", *interval(rates), n=acknowledged, target=TARGETS[setting]
        ),
        Row(who, "ours", setting, None, "p50_ms", *bootstrapped(taken, 50), n=len(taken)),
        Row(who, "ours", setting, None, "p99_ms", *bootstrapped(taken, 99), n=len(taken)),
        Row(who, "ours", setting, None, "wrong", wrong, wrong, wrong, n=acknowledged, target=0.0),
    ]


def main() -> None:
    given = options(__doc__, seeds=(0, 1, 2), rows=ROWS, more={"settings": tuple(SETTINGS)})
    about = machine("cpu") | {"fsync_ms": fsync_ms(Path(tempfile.gettempdir()))}
    result = Result("serving_ingest", {}, "", given.seeds, about)
    result.settings["data"] = f"made_model({N_ITEMS}); random events of {N_USERS} people"
    seconds = 1.0 if given.quick else 2.5
    with tempfile.TemporaryDirectory(prefix="ingest-") as folder:
        model = Path(folder) / "model.acc"
        made_model(N_ITEMS).save(model)
        for row in given.rows:
            for workers in WORKERS:
                for setting in given.settings:
                    found = measure(row, setting, workers, model, given.seeds, seconds)
                    result.rows += found
                    figures = ", ".join(f"{r.metric} {r.value:,.1f}" for r in found)
                    print(f"{row}, {workers} workers, {setting}: {figures}", flush=True)
    print_table(result)
    if not given.quick:
        print(f"\nwritten: {result.write()}")


def print_table(result: Result) -> None:
    table = Table(title=f"Events on disk; a sync takes {result.machine['fsync_ms']:.2f} ms here")
    table.add_column("store, workers")
    table.add_column("setting")
    for name in ("events/s", "target", "p50 ms", "p99 ms", "wrong"):
        table.add_column(name, justify="right")
    for who, setting in dict.fromkeys((r.row, r.setting) for r in result.rows):
        cells = {r.metric: r for r in result.rows if (r.row, r.setting) == (who, setting)}
        rate = cells["events/s"]
        others = [f"{cells[name].value:,.1f}" for name in ("p50_ms", "p99_ms")]
        wrong = f"{cells['wrong'].value:.0f}"
        table.add_row(who, setting, f"{rate.value:,.0f}", f"{rate.target:,.0f}", *others, wrong)
    Console(width=80).print(table)


if __name__ == "__main__":
    main()
