"""B1. Few-shot rating on MovieLens-1M, MeLU's states: new users (UC), new items (IC), both (UIC).

A task needs 13 to 100 ratings in its state; 10 seeded random ones are the query, the others the support. MAE
and RMSE over clipped predictions, NDCG with gain 2^r - 1 over the query items, means over tasks. Everything
trains on all 640,448 warm ratings, not only on MeLU's 2,653 training tasks. Floors are tuned inside the warm
ratings, six trials each; ours run with their defaults. A figure is the mean over seeds (of the query draw
and the training).

    ACCLIMATE_DATA=... python benchmarks/b1_four_states.py
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import polars as pl
from rich.console import Console
from rich.table import Table

import acclimate as ac
from acclimate.data import Dataset, Tasks, four_states
from acclimate.evaluation import QueryOnly, applies, evaluate
from acclimate.evaluation.metrics import metric
from acclimate.evaluation.statistics import summarise
from acclimate.learners import Learner, Run
from acclimate.learners.names import by_name
from acclimate.models import Recommender
from harness import Result, Row, data_folder, hashes, machine, options, tuned_floor
from ml1m import FILES, read

STATES = ("UC", "IC", "UIC")
CURVE = (0, 1, 3, 5, 10, 20)
METRICS = ("mae", "rmse", "graded-ndcg@1", "graded-ndcg@3", "graded-ndcg@5")
FLOORS = ("popularity", "item-mean", "bias", "content", "user-knn", "item-knn", "ease", "als")
OURS = ("ridge", "maml", "fomaml", "anil")
QUOTED = (
    ("MeLU", "UC", 0.79, "Lee et al., KDD 2019, as cited second-hand"),
    ("MeLU", "IC", 0.92, "Lee et al., KDD 2019, as cited second-hand"),
    ("MeLU", "UIC", 0.92, "Lee et al., KDD 2019, as cited second-hand"),
)


def main() -> None:
    given = options(__doc__, seeds=(0, 1, 2, 3, 4), rows=(*FLOORS, *OURS))
    folder = data_folder("ml-1m")
    dataset, new_users, new_items = read(folder, merge=True)
    warm, _ = four_states(dataset, new_users, new_items)
    draws = {seed: four_states(dataset, new_users, new_items, seed=seed)[1] for seed in given.seeds}
    split = "+".join(tasks["UC"].hash()[:16] for tasks in draws.values())
    result = Result("b1_four_states", hashes(folder, FILES), split, given.seeds, machine(given.device))
    for row in given.rows:
        learner = choose(row, warm, given.quick)
        result.settings[row] = repr(learner)
        measured = measure(row, learner, warm, draws, given.device)
        result.rows.extend(measured)
        show_progress(row, measured)
    result.rows += [Row(r, "quoted", s, None, "mae", v, source=source) for r, s, v, source in QUOTED]
    print_tables(result)
    if not given.quick:
        print(f"\nwritten: {result.write()}")


def choose(row: str, warm: Dataset, quick: bool) -> Learner:
    """The learner of a row: a tuned floor, or ours with its defaults."""
    if row in FLOORS and row != "popularity":
        return tuned_floor(row, "rating", warm, quick)
    return ac.ridge(epochs=2) if quick and row == "ridge" else by_name(row)


def measure(
    row: str, learner: Learner, warm: Dataset, draws: dict[int, dict[str, Tasks]], device: str
) -> list[Row]:
    """Fits and judges one row; a floor is fitted once, ours once a seed."""
    kind = "floor" if row in FLOORS else "ours"
    fitted: Recommender | None = None
    frames, seconds = [], []
    for seed, tasks in draws.items():
        if fitted is None or kind == "ours":
            start = time.process_time()
            fitted = learner.fit(warm, run=Run(seed=seed, device=device, progress=False))
            seconds.append(time.process_time() - start)
        for state in STATES:
            wanted = [m for m in map(metric, METRICS) if applies(m, fitted, warm)]
            shots = (*CURVE, None)
            report = evaluate(
                fitted, tasks[state], metrics=wanted, candidates=QueryOnly(), shots=shots, seed=seed
            )
            frames.append(report.frame.with_columns(state=pl.lit(state)))
    frame = pl.concat(frames)
    names = [m for m in METRICS if m in frame.columns]
    summary = summarise(frame, ["state", "shots"], names)
    return [
        Row(
            row,
            kind,
            r["state"],
            r["shots"],
            r["metric"],
            r["mean"],
            r["low"],
            r["high"],
            r["n"],
            min(seconds),
        )
        for r in summary.iter_rows(named=True)
    ]


def show_progress(row: str, rows: Sequence[Row]) -> None:
    parts = [f"{r.setting} {r.value:.4f}" for r in rows if r.shots is None and r.metric == "mae"]
    print(f"{row}: {', '.join(parts) or 'ranks only'}; fit {rows[0].fit_seconds:.1f} CPU s", flush=True)


def print_tables(result: Result) -> None:
    console = Console(width=100)
    figures = {(r.row, r.setting, r.shots, r.metric): r for r in result.rows}
    names = list(dict.fromkeys(r.row for r in result.rows))
    table = Table(title="B1: MovieLens-1M, whole support (median 30), mean over tasks and seeds")
    for column in ("row", "UC MAE", "IC MAE", "UIC MAE", "UC RMSE", "UC NDCG@3", "fit CPU s"):
        table.add_column(column, justify="left" if column == "row" else "right")
    for name in names:
        cells = [figures.get((name, s, None, "mae")) for s in STATES]
        cells += [figures.get((name, "UC", None, m)) for m in ("rmse", "graded-ndcg@3")]
        seconds = next((r.fit_seconds for r in result.rows if r.row == name), None)
        shown = ["-" if c is None else _cell(c) for c in cells]
        table.add_row(name, *shown, "-" if seconds is None else f"{seconds:.1f}")
    console.print(table)
    curve = Table(title="B1: UC MAE by support ratings shown")
    curve.add_column("row")
    for k in CURVE:
        curve.add_column(str(k), justify="right")
    for name in names:
        points = [figures.get((name, "UC", k, "mae")) for k in CURVE]
        if all(points):
            curve.add_row(name, *(f"{p.value:.3f}" for p in points if p))
    console.print(curve)
    print(f"± half a 95 % bootstrap interval over users. Seeds {result.seeds}; machine {result.machine}.")


def _cell(row: Row) -> str:
    if row.low is None or row.high is None:
        return f"{row.value:.3f}"
    return f"{row.value:.4f} ±{(row.high - row.low) / 2:.3f}"


if __name__ == "__main__":
    main()
