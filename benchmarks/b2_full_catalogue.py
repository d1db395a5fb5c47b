"""B2. Few-shot ranking on MovieLens-1M: every rating is a choice, the whole catalogue is ranked.

MeLU's 1,208 new users are the test users. k random choices are the support (MovieLens-1M's order of time is
an artefact of its onboarding lists), 10 others the query; all 3,706 films but the support are ranked. A user
counts at k if there are k choices besides the query. Floors are tuned on training users held out, six trials
each; ours runs with its defaults. A figure is the mean over seeds (of the draw and the training).

    ACCLIMATE_DATA=... python benchmarks/b2_full_catalogue.py
"""

from __future__ import annotations

import time

import polars as pl
import torch
from rich.console import Console
from rich.table import Table

import acclimate as ac
from acclimate.data import Dataset, Tasks, user_tasks
from acclimate.evaluation import evaluate
from acclimate.evaluation.statistics import summarise
from acclimate.learners import Learner, Run
from acclimate.learners.names import by_name
from acclimate.models import Recommender
from harness import Result, Row, data_folder, hashes, machine, options, tuned_floor
from ml1m import FILES, read

CURVE = (0, 1, 3, 5, 10, 20)
METRICS = ("ndcg@20", "recall@20")
FLOORS = ("popularity", "content", "user-knn", "item-knn", "ease", "ials")
OURS = ("implicit-ridge",)


def main() -> None:
    given = options(__doc__, seeds=(0, 1, 2, 3, 4), rows=(*FLOORS, *OURS))
    folder = data_folder("ml-1m")
    dataset, new_users, _ = read(folder, merge=False)
    dataset = dataset.implicit()
    held_out = torch.zeros(dataset.n_users, dtype=torch.bool)
    held_out[new_users] = True
    train, test = dataset.select_users((~held_out).nonzero().flatten()), dataset.select_users(new_users)
    draws = {seed: draw(test, seed) for seed in given.seeds}
    split = "+".join(tasks.hash()[:16] for tasks in draws.values())
    result = Result("b2_full_catalogue", hashes(folder, FILES), split, given.seeds, machine(given.device))
    for row in given.rows:
        learner = choose(row, train, given.quick)
        result.settings[row] = repr(learner)
        measured = measure(row, learner, train, draws, given.device)
        result.rows.extend(measured)
        figures = ", ".join(f"{r.shots}: {r.value:.4f}" for r in measured if r.metric == "ndcg@20")
        print(f"{row}: {figures}; fit {measured[0].fit_seconds:.1f} CPU s", flush=True)
    print_table(result)
    if not given.quick:
        print(f"\nwritten: {result.write()}")


def draw(test: Dataset, seed: int) -> Tasks:
    """The tasks of one seed: 10 query choices and up to 20 shown ones of each user."""
    generator = torch.Generator().manual_seed(seed)
    everyone = torch.arange(test.n_users)
    return user_tasks(test, everyone, query=10, max_support=max(CURVE), min_events=11, generator=generator)


def choose(row: str, train: Dataset, quick: bool) -> Learner:
    """The learner of a row: a tuned floor, or ours with its defaults."""
    if row in FLOORS:
        return tuned_floor(row, "rank", train, quick)
    return ac.implicit_ridge(epochs=2) if quick else by_name(row)


def measure(row: str, learner: Learner, train: Dataset, draws: dict[int, Tasks], device: str) -> list[Row]:
    """Fits and judges one row; a floor is fitted once, ours once a seed."""
    kind = "floor" if row in FLOORS else "ours"
    fitted: Recommender | None = None
    frames, seconds = [], []
    for seed, tasks in draws.items():
        if fitted is None or kind == "ours":
            start = time.process_time()
            fitted = learner.fit(train, run=Run(seed=seed, device=device, progress=False))
            seconds.append(time.process_time() - start)
        report = evaluate(fitted, tasks, metrics=METRICS, shots=CURVE, seed=seed)
        frames.append(report.frame.filter(pl.col("n_support") == pl.col("shots")))
    summary = summarise(pl.concat(frames), ["shots"], METRICS)
    return [
        Row(row, kind, "ml-1m", r["shots"], r["metric"], r["mean"], r["low"], r["high"], r["n"], min(seconds))
        for r in summary.iter_rows(named=True)
    ]


def print_table(result: Result) -> None:
    console = Console(width=100)
    for name in METRICS:
        table = Table(title=f"B2: MovieLens-1M, {name} over the whole catalogue, by choices shown")
        table.add_column("row")
        for k in CURVE:
            table.add_column(f"k={k}", justify="right")
        table.add_column("fit CPU s", justify="right")
        for row in dict.fromkeys(r.row for r in result.rows):
            cells = [r for r in result.rows if r.row == row and r.metric == name]
            best = [
                max(r.value for r in result.rows if r.metric == name and r.shots == c.shots) for c in cells
            ]
            shown = [f"{c.value:.4f}{'*' if c.value == b else ' '}" for c, b in zip(cells, best, strict=True)]
            table.add_row(row, *shown, f"{cells[0].fit_seconds:.1f}")
        console.print(table)
    print(f"* best of its column. Seeds {result.seeds}; machine {result.machine}.")


if __name__ == "__main__":
    main()
