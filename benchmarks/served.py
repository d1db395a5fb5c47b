"""What the serving benchmarks share: models of any size, and a server of one's own in its own processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import polars as pl
import torch

from acclimate.data import Dataset, FeatureTable, Interactions, Vocabulary
from acclimate.encoders import FieldRows, RowEncoder
from acclimate.model import Model, Provenance, version
from acclimate.models import ImplicitRidge

WIDTH = 64
N_USERS = 1_000
GENRES = ("comedy", "drama", "horror", "western", "musical", "crime", "war", "family")
_READY = re.compile(rb'"message": "ready", "worker": (\d+)')


def made_model(n_items: int, seed: int = 0, n_users: int = N_USERS) -> Model:
    """An implicit ridge of 64 dimensions with random tables that look as if they had been trained.

    Training takes hours at a million items and changes nothing about speed. What does matter to a scan is
    the shape of the tables: their spectrum decays as ``1 / sqrt(j)`` along axes that are not those of the
    coordinates, norms of items vary by a third, and popularity falls off as Zipf says. Items have an id, a
    title and a genre; the users have 20 events each.
    """
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator)).Q
    axes = torch.diag(torch.arange(1, WIDTH + 1).float().rsqrt()) @ rotation
    norms = torch.exp(0.3 * torch.randn(n_items, 1, generator=generator))
    inputs = (torch.randn(n_items, WIDTH, generator=generator) @ axes) * norms
    outputs = 0.8 * inputs + 0.2 * (torch.randn(n_items, WIDTH, generator=generator) @ axes)
    ranks = torch.randperm(n_items, generator=generator) + 1
    popularity = -0.5 * (ranks.float() / n_items).log()
    genre = torch.randint(len(GENRES), (n_items,), generator=generator)
    items = FeatureTable.from_frame(
        pl.DataFrame(
            {
                "title": pl.Series([f"Item {i}" for i in range(n_items)]),
                "genre": pl.Series([GENRES[g] for g in genre.tolist()]),
            }
        ),
        {"title": "text", "genre": "categorical"},
    )
    n_users = min(n_users, n_items)
    chosen = torch.randint(n_items, (n_users * 20,), generator=generator)
    interactions = Interactions.from_columns(
        torch.arange(n_users).repeat_interleave(20), chosen, n_users=n_users, n_items=n_items
    )
    data = Dataset(
        interactions=interactions,
        users=FeatureTable.empty(n_users),
        items=items,
        user_ids=Vocabulary(pl.Series([f"u{i}" for i in range(n_users)])),
        item_ids=Vocabulary(pl.Series(range(n_items), dtype=pl.Int64)),
        explicit=False,
        value_range=(1.0, 1.0),
        name=f"made-{n_items}",
    )
    rows = FieldRows(items.schema)
    nobody = RowEncoder(
        FieldRows(()), torch.zeros(0, WIDTH), 0.1 * torch.randn(1, WIDTH, generator=generator)
    )

    def encoder(table: torch.Tensor, std: float) -> RowEncoder:
        fields = torch.randn(rows.n_features, table.shape[1], generator=generator) * std
        return RowEncoder(rows, table, fields)

    head = ImplicitRidge(
        inputs=encoder(inputs, 0.1),
        outputs=encoder(outputs, 0.1),
        bias=encoder(popularity[:, None], 0.1),
        prior=nobody,
        gram=inputs.T @ inputs / n_items,
        log_precision=torch.zeros(WIDTH),
        log_gram=torch.zeros(1),
        log_confidence=torch.zeros(1),
        weighted=True,
    )
    came = Provenance(
        learner="made",
        recipe=f"made_model({n_items}, seed={seed})",
        data=data.name,
        data_hash=data.hash(),
        n_users=n_users,
        n_items=n_items,
        n_events=len(interactions),
        seed=seed,
        version=version(),
    )
    return Model(head, data, came)


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """``acclimate serve`` in a process group of its own, so that all of it can be ended at once.

    Attributes:
        model: the file. store: a path or an address. workers: processes that answer.
        log: file that takes what it prints. more: further options. env: further environment variables.
    """

    model: Path
    store: str
    log: Path
    workers: int = 1
    more: Sequence[str] = ()
    env: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    _logged: int = 0

    def __enter__(self) -> Server:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def start(self) -> None:
        """Starts it, and does not wait."""
        command = [sys.executable, "-m", "acclimate", "serve", str(self.model)]
        command += [
            "--port",
            str(self.port),
            "--store",
            self.store,
            "--workers",
            str(self.workers),
            *self.more,
        ]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with self.log.open("ab") as log:
            self._logged = log.tell()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **threads, **self.env},
            )

    def wait_ready(self, seconds: float = 120.0) -> None:
        """Waits until every worker has said that it is ready, and ``/readyz`` says so too.

        Raises:
            RuntimeError: it ended, or took too long; with the end of its log.
        """
        assert self.process is not None
        end = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None or time.monotonic() > end:
                tail = self.log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"the server is not ready ({self.process.poll()}):\n{tail}")
            if self.workers == 1 or len(self._ready()) >= self.workers:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if self.call("GET", "/readyz", timeout=5.0)[0] == 200:
                        return
            time.sleep(0.02)

    def _ready(self) -> set[int]:
        """Process ids of the workers that said they are ready since the start."""
        with self.log.open("rb") as log:
            log.seek(self._logged)
            return {int(pid) for pid in _READY.findall(log.read())}

    def call(
        self, method: str, path: str, body: object = None, *, key: str | None = None, timeout: float = 30.0
    ) -> tuple[int, bytes]:
        """One request on a connection of its own; status and body."""
        connection = http.client.HTTPConnection(*self.address, timeout=timeout)
        try:
            headers = {"content-type": "application/json"} if body is not None else {}
            if key:
                headers["authorization"] = f"Bearer {key}"
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of an answer that must be a success.

        Raises:
            RuntimeError: any other answer.
        """
        status, content = self.call(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path} was answered {status}: {content[:500]!r}")
        return json.loads(content)

    def kill(self) -> None:
        """SIGKILL to every process of it at once, and waits until they are gone."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._gone(10.0)

    def stop(self, seconds: float = 20.0) -> int:
        """SIGTERM to its first process, and SIGKILL to whatever is left after some time; its exit code."""
        if self.process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.kill()
        return int(self.process.returncode)

    def cpu_seconds(self) -> float:
        """CPU seconds that its processes have taken so far, those that live."""
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parts = stat.read_text().rsplit(")", 1)[1].split()
                if self.process is not None and int(parts[2]) == self.process.pid:
                    total += int(parts[11]) + int(parts[12])
        return total / os.sysconf("SC_CLK_TCK")

    def _gone(self, seconds: float) -> None:
        """Waits until no process of the group is left: only then is its port free and its store at rest."""
        assert self.process is not None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not _living(self.process.pid):
                return
            time.sleep(0.005)


def _living(group: int) -> bool:
    """Whether a process of the group still runs; one that is dead but not yet collected does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parts = stat.read_text().rsplit(")", 1)[1].split()
            if int(parts[2]) == group and parts[0] not in "ZX":
                return True
    return False


def fsync_ms(folder: Path, n: int = 200) -> float:
    """Median milliseconds that this disk takes to have 4 kB written at the end of a file for good."""
    path, taken = folder / "fsync-probe", []
    handle = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        for _ in range(n):
            os.write(handle, b"x" * 4096)
            start = time.perf_counter()
            os.fsync(handle)
            taken.append(time.perf_counter() - start)
    finally:
        os.close(handle)
        path.unlink()
    return float(np.median(taken)) * 1e3


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and most of the repetitions."""
    return float(np.median(values)), float(min(values)), float(max(values))


def bootstrapped(
    values: np.ndarray[Any, np.dtype[np.float64]], percent: float, seed: int = 0, draws: int = 200
) -> tuple[float, float, float]:
    """A percentile and its 95 % bootstrap interval over the requests."""
    generator = np.random.default_rng(seed)
    # The count of the sample below a quantile is binomial: drawing ranks needs no resampling of the values.
    ordered = np.sort(values)
    ranks = generator.binomial(len(ordered), percent / 100, draws) / len(ordered) * 100
    low, high = np.percentile(ranks, [2.5, 97.5])
    value = float(np.percentile(ordered, percent, method="higher"))
    below = float(np.percentile(ordered, min(low, 100), method="lower"))
    return (
        value,
        min(below, value),
        max(value, float(np.percentile(ordered, min(high, 100), method="higher"))),
    )


@contextlib.contextmanager
def pinned_to(core: int) -> Iterator[None]:
    """Keeps this process on one core, so that its timings are of one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core} & before or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
