"""How long an answer takes, computed and over HTTP, with 10,000 to 1,000,000 items of 64 dimensions.

Computed: from five events to the exact ten best unseen items, in this process, on one core, one thread. Over
HTTP: a real `acclimate serve` in processes of its own, asked by a load generator in another; latency at one
connection in an open loop at half of what a closed loop reaches, counted from when a request was meant to be
sent; requests a second in a closed loop of 16 connections, the generator on the same two cores. Every answer
of the run is checked against a scan in double precision: `mismatches` counts those that are not exactly its
ten best, in its order.

    python benchmarks/serving_latency.py                     all of it, about five minutes
    python benchmarks/serving_latency.py --sizes 10k --quick
"""

from __future__ import annotations

import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import load
from acclimate.model import Model
from acclimate.models.base import Tabular
from acclimate.models.closed_form import ClosedForm
from acclimate.serving.retrieval import ExactScan
from harness import Result, Row, machine, options
from served import Server, bootstrapped, interval, made_model, pinned_to

SIZES = {"10k": 10_000, "100k": 100_000, "1M": 1_000_000}
COMPUTED = ("ours", "ours, NumPy", "faiss flat", "implicit")
OVER_HTTP = ("ours",)
EVENTS, K = 5, 10
QUERIES = {"10k": 3000, "100k": 1500, "1M": 400}
"""Different people a seed."""
CONNECTIONS = 16
WORKERS = (1, 2)
TARGETS = {
    "compute_ms": {"10k": 0.1, "100k": 0.4, "1M": 4.0},
    "http_p50_ms": {"10k": 0.6, "100k": 1.5, "1M": 6.0},
    "requests/s": {"10k": 1500.0},
    "mismatches": dict.fromkeys(SIZES, 0.0),
}
Rows = NDArray[np.int64]
Answer = tuple[Rows, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class People:
    """Newcomers: what each met, [n, EVENTS] rows, and the vector that follows, [n, D] float32."""

    met: Rows
    vectors: NDArray[np.float32]

    @classmethod
    def drawn(cls, closed: ClosedForm, n: int, events: int, seed: int) -> People:
        generator = np.random.default_rng(seed)
        met = np.stack([generator.choice(closed.n_items, events, replace=False) for _ in range(n)])
        ones = np.ones(events, dtype=np.float32)
        return cls(met, np.stack([closed.vector(rows, ones) for rows in met]))


@dataclass
class Checked:
    """Answers counted, and how many were not the ten best."""

    n: int = 0
    wrong: int = 0
    examples: list[str] = field(default_factory=list)

    def row(self, name: str, size: str) -> Row:
        kind, target = ("ours", 0.0) if name.startswith("ours") else ("floor", None)
        wrong = float(self.wrong)
        return Row(name, kind, size, None, "mismatches", wrong, wrong, wrong, n=self.n, target=target)


def exact_scores(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> list[float]:
    """Dot products of float32 vectors without any error but the last rounding.

    The product of two float32 numbers is exact in float64, and `math.fsum` adds exactly.
    """
    wide = query.astype(np.float64)
    return [math.fsum(row) for row in (vectors.astype(np.float64) * wide).tolist()]


def wrong_answers(vectors: NDArray[np.float32], people: People, answers: Rows) -> list[int]:
    """People [n] whose list [n, K] is not exactly the K items of highest score among those they did not meet.

    Scores come from a product in double precision; where that product cannot tell two items apart, from sums
    without error. Equal scores must stand in the order of rows.
    """
    n, bad = len(answers), set()
    floors, best = np.empty(n), []
    for i in range(n):
        rows, met = answers[i].tolist(), set(people.met[i].tolist())
        if len(set(rows)) < K or min(rows) < 0 or max(rows) >= len(vectors) or met & set(rows):
            bad.add(i)
            rows = list(range(K))
        scores = exact_scores(vectors[rows], people.vectors[i])
        order = sorted(range(K), key=lambda at: (-scores[at], rows[at]))
        if order != list(range(K)):
            bad.add(i)
        floors[i] = min(scores)
        best.append(met | set(rows))
    queries = people.vectors[:n].astype(np.float64).T
    # Sums of 65 products in float64, in whatever order, are off by less than this.
    slack = 1e-12 * np.maximum(np.abs(queries).sum(0) * float(np.abs(vectors).max()), 1.0)
    for start in range(0, len(vectors), 50_000):
        scores_ = vectors[start : start + 50_000].astype(np.float64) @ queries
        for at, i in np.argwhere(scores_ >= floors - slack).tolist():
            row = start + at
            if row in best[i] or i in bad:
                continue
            score = exact_scores(vectors[row : row + 1], people.vectors[i])[0]
            if score > floors[i] or (score == floors[i] and row < answers[i][-1]):
                bad.add(i)
    return sorted(bad)


def solvers(name: str, closed: ClosedForm) -> Callable[[Rows], Rows]:
    """From the rows that somebody met to the ten best, as one of the contestants does it."""
    ones = np.ones(EVENTS, dtype=np.float32)
    if name.startswith("ours"):
        scan = ExactScan.build(closed.vectors, compiled=name == "ours")
        return lambda met: scan.top(closed.vector(met, ones), K, skip=met).rows
    if name == "faiss flat":
        import faiss

        faiss.omp_set_num_threads(1)
        index = faiss.IndexFlatIP(closed.vectors.shape[1])
        index.add(closed.vectors)

        def search(met: Rows) -> Rows:
            found = index.search(closed.vector(met, ones)[None], K + EVENTS)[1][0]
            unseen: Rows = found[~np.isin(found, met)][:K]
            return unseen

        return search
    return _implicit(closed)


def _implicit(closed: ClosedForm) -> Callable[[Rows], Rows]:
    """implicit's own fold-in and search, over factors of the same size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about threads of BLAS, which are limited here
        from implicit.cpu.als import AlternatingLeastSquares

        als = AlternatingLeastSquares(factors=closed.vectors.shape[1] - 1, num_threads=1)
    als.item_factors = np.ascontiguousarray(closed.vectors[:, :-1])
    als.user_factors = np.zeros((1, closed.vectors.shape[1] - 1), dtype=np.float32)
    ones, ends = np.ones(EVENTS, dtype=np.float32), np.array([0, EVENTS], dtype=np.int32)

    def recommend(met: Rows) -> Rows:
        shown = scipy.sparse.csr_matrix((ones, met.astype(np.int32), ends), shape=(1, closed.n_items))
        found: Rows = als.recommend(0, shown, N=K, recalculate_user=True)[0]
        return found

    return recommend


def compute(name: str, size: str, closed: ClosedForm, people: Sequence[People]) -> list[Row]:
    """Milliseconds from five events to ten items, one seed after the other, and what was wrong."""
    solve = solvers(name, closed)
    medians, tails, checked = [], [], Checked()
    n = min(len(people[0].met), 300 if size == "1M" else len(people[0].met))
    with pinned_to(0):
        for group in people:
            for met in group.met[:20]:
                solve(met)
            taken, answers = np.empty(n), []
            for i in range(n):
                start = time.perf_counter()
                rows = solve(group.met[i])
                taken[i] = time.perf_counter() - start
                answers.append(rows)
            medians.append(1e3 * float(np.median(taken)))
            tails.append(1e3 * float(np.percentile(taken, 99)))
            if name != "implicit":  # it solves another problem
                checked.n += n
                checked.wrong += len(wrong_answers(closed.vectors, group, np.stack(answers)))
    kind = "ours" if name.startswith("ours") else "floor"
    target = TARGETS["compute_ms"][size] if name == "ours" else None
    total = n * len(people)
    rows_ = [
        Row(name, kind, size, None, "compute_ms", *interval(medians), n=total, target=target),
        Row(name, kind, size, None, "compute_p99_ms", *interval(tails), n=total),
    ]
    return rows_ if name == "implicit" else [*rows_, checked.row(name, size)]


def question(met: Rows) -> bytes:
    """A request for the ten best after some events, nothing of which is stored."""
    events = [{"item": row} for row in met.tolist()]
    return load.request("POST", "/v1/recommend", {"events": events, "k": K})


class Judge:
    """Checks every answer: each different request once by a full scan, its repetitions by their bytes."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors, self.checked = vectors, Checked()

    def judge(self, people: People, outcome: load.Outcome, bodies: Sequence[bytes]) -> None:
        """The answers of one run to ``question`` of each of ``people``, in whatever order they came."""
        first: dict[int, bytes] = {}
        self.checked.n += len(bodies)
        self.checked.wrong += outcome.failed
        for index, body in zip(outcome.order.tolist(), bodies, strict=True):
            if first.setdefault(index, body) != body:
                self._wrong(f"two answers to one question: {body[:200]!r}")
        some = sorted(first)
        rows = np.full((len(some), K), -1, dtype=np.int64)
        for at, index in enumerate(some):
            answer = _read(first[index])
            if answer is not None and answer[0] == people.met.shape[1]:
                rows[at] = answer[1]
        asked = People(people.met[some], people.vectors[some])
        for at in wrong_answers(self.vectors, asked, rows):
            self._wrong(f"not the ten best: {first[some[at]][:200]!r}")

    def _wrong(self, why: str) -> None:
        self.checked.wrong += 1
        self.checked.examples.append(why)


def _read(body: bytes) -> tuple[int, list[int]] | None:
    """How many events an answer reflects, and its items; None if it is not whole or not exact."""
    try:
        answer: dict[str, Any] = json.loads(body)
        items = [int(one["item"]) for one in answer["items"]]
        whole = answer["exact"] is True and not answer["degraded"] and len(items) == K
        return (int(answer["events"]), items) if whole else None
    except (ValueError, KeyError, TypeError):
        return None


def over_http(
    size: str, model: Path, closed: ClosedForm, people: Sequence[People], seeds: Sequence[int], quick: bool
) -> list[Row]:
    """Latency at one connection, requests a second with one worker and with two, and what was wrong."""
    seconds = 0.5 if quick else 2.0
    rows: list[Row] = []
    judge, rates = Judge(closed.vectors), {}
    with tempfile.TemporaryDirectory(prefix="latency-") as name:
        for workers in WORKERS:
            store = Path(name) / f"{workers}.sqlite"
            with Server(
                model, str(store), Path(name) / "log", workers=workers, more=("--no-page",)
            ) as server:
                if workers == 1:
                    rows += latency(size, server, people, judge, seconds)
                    rows += round_trip(size, server, closed, judge, seeds, 50 if quick else 200)
                    rows += bare(size, server, seconds)
                found = []
                for group in people:
                    asked = [question(met) for met in group.met]
                    outcome, bodies = load.run(
                        server.address,
                        asked,
                        connections=CONNECTIONS,
                        seconds=seconds,
                        warmup=0.5,
                        keep_bodies=True,
                    )
                    judge.judge(group, outcome, bodies)
                    found.append(outcome.rate)
                rates[workers] = found
    for workers, found in rates.items():
        plural = "s" if workers > 1 else ""
        rows.append(
            Row(f"ours, {workers} worker{plural}", "ours", size, None, "requests/s", *interval(found))
        )
    best = max(rates.values(), key=np.median)
    target = TARGETS["requests/s"].get(size)
    rows.append(Row("ours", "ours", size, None, "requests/s", *interval(best), target=target))
    rows.append(judge.checked.row("ours, over HTTP", size))
    for example in judge.checked.examples[:3]:
        print(f"  {example}")
    return rows


def latency(size: str, server: Server, people: Sequence[People], judge: Judge, seconds: float) -> list[Row]:
    """One connection: how fast it can go, and how long answers take at half of that."""
    closed_loop, open_loop = [], []
    for group in people:
        asked = [question(met) for met in group.met]
        fast, bodies = load.run(
            server.address, asked, connections=1, seconds=seconds / 2, warmup=0.5, keep_bodies=True
        )
        judge.judge(group, fast, bodies)
        closed_loop.append(fast.latency)
        steady, bodies = load.run(
            server.address,
            asked,
            connections=1,
            seconds=2 * seconds,
            rate=fast.rate / 2,
            warmup=0.2,
            keep_bodies=True,
        )
        judge.judge(group, steady, bodies)
        open_loop.append(steady.latency)
    return [
        *_percentiles("ours", size, open_loop, TARGETS["http_p50_ms"][size]),
        *_percentiles("ours, closed loop", size, closed_loop),
    ]


def round_trip(
    size: str, server: Server, closed: ClosedForm, judge: Judge, seeds: Sequence[int], n: int
) -> list[Row]:
    """A visitor nobody has seen clicks, on disk, and gets a list that reflects it: both requests together."""
    taken = []
    for seed in seeds:
        people = People.drawn(closed, n, 1, 1000 + seed)
        messages = []
        for i, (row,) in enumerate(people.met.tolist()):
            event = {"id": f"{seed}-{i}", "session": f"visitor-{seed}-{i}", "item": row}
            messages.append(load.request("POST", "/v1/events", {"events": [event]}))
            asked = {"session": event["session"], "k": K}
            messages.append(load.request("POST", "/v1/recommend", asked))
        outcome, bodies = load.run(
            server.address, messages, connections=1, seconds=120, once=True, keep_bodies=True
        )
        taken.append(outcome.service[0::2] + outcome.service[1::2])
        answers = load.Outcome(
            latency=outcome.latency[1::2],
            service=outcome.service[1::2],
            order=np.arange(len(bodies) // 2),
            statuses=outcome.statuses,
            elapsed=outcome.elapsed,
            cpu=outcome.cpu,
            late=outcome.late,
            unsent=outcome.unsent,
        )
        judge.judge(people, answers, bodies[1::2])
    return _percentiles("ours, click then list", size, taken)


def bare(size: str, server: Server, seconds: float) -> list[Row]:
    """What the server does when there is nothing to do: the lower bound of any answer."""
    nothing = [load.request("GET", "/healthz")]
    one, _ = load.run(server.address, nothing, connections=1, seconds=seconds / 2, warmup=0.2)
    many, _ = load.run(server.address, nothing, connections=CONNECTIONS, seconds=seconds / 2, warmup=0.2)
    rows = _percentiles("nothing to do", size, [one.latency])
    rows.append(Row("nothing to do", "ours", size, None, "requests/s", many.rate, many.rate, many.rate))
    return rows


def _percentiles(
    name: str, size: str, seconds: Sequence[NDArray[np.float64]], target: float | None = None
) -> list[Row]:
    """p50 and p99 over all seeds, with a bootstrap interval over requests, milliseconds."""
    taken = 1e3 * np.concatenate(seconds)
    return [
        Row(name, "ours", size, None, "http_p50_ms", *bootstrapped(taken, 50), n=len(taken), target=target),
        Row(name, "ours", size, None, "http_p99_ms", *bootstrapped(taken, 99), n=len(taken)),
    ]


def tables(model: Model) -> ClosedForm:
    """The closed form over the model's own catalogue, as the server has it."""
    assert isinstance(model.recommender, Tabular)
    return model.recommender.tabulate(model.data.catalogue())


def main() -> None:
    rows = (*COMPUTED, "over HTTP")
    given = options(__doc__, seeds=(0, 1, 2), rows=rows, more={"sizes": tuple(SIZES)})
    result = Result("serving_latency", {}, "", given.seeds, machine("cpu"))
    result.settings["data"] = "made_model(n_items, seed=0); people of five random events, a seed each"
    with threadpool_limits(1), tempfile.TemporaryDirectory(prefix="latency-") as folder:
        for size in given.sizes:
            start, model = time.perf_counter(), made_model(SIZES[size])
            closed = tables(model)
            n = QUERIES[size] // (10 if given.quick else 1)
            people = [People.drawn(closed, n, EVENTS, seed) for seed in given.seeds]
            for name in COMPUTED:
                if name in given.rows:
                    result.rows += compute(name, size, closed, people)
            if "over HTTP" in given.rows:
                path = Path(folder) / "model.acc"
                model.save(path)
                del model
                result.rows += over_http(size, path, closed, people, given.seeds, given.quick)
            print(f"{size}: {time.perf_counter() - start:.0f} s", flush=True)
    print_table(result)
    if not given.quick:
        print(f"\nwritten: {result.write()}")


METRICS = ("compute_ms", "compute_p99_ms", "http_p50_ms", "http_p99_ms", "requests/s", "mismatches")


def print_table(result: Result) -> None:
    """80 columns: a row a contestant, a column a size, what is to be reached behind the figure."""
    console = Console(width=80)
    sizes = list(dict.fromkeys(r.setting for r in result.rows))
    for metric in METRICS:
        cells = {(r.row, r.setting): r for r in result.rows if r.metric == metric}
        if not cells:
            continue
        table = Table(title=metric, title_justify="left")
        table.add_column("")
        for size in sizes:
            table.add_column(size, justify="right")
            table.add_column("target", justify="right", style="dim")
        digits = 0 if metric in ("requests/s", "mismatches") else 3
        for name in dict.fromkeys(name for name, _ in cells):
            row = []
            for size in sizes:
                one = cells.get((name, size))
                row.append("" if one is None else f"{one.value:,.{digits}f}")
                row.append("" if one is None or one.target is None else f"{one.target:g}")
            table.add_row(name, *row)
        console.print(table)


if __name__ == "__main__":
    main()
