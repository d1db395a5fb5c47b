"""``acclimate evaluate`` and ``acclimate compare``: how good, honestly."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from acclimate.cli.options import Device, Json, Quiet, Seed, Source, whole_numbers
from acclimate.cli.output import Output
from acclimate.cli.reading import Reading, with_reading
from acclimate.cli.train import described, environment, recipe
from acclimate.errors import UnknownNameError, UserInputError

if TYPE_CHECKING:
    from acclimate.data import Dataset, Tasks
    from acclimate.evaluation import Candidates, Metric, Report
    from acclimate.model import Model
    from acclimate.models.base import Recommender

Shots = Annotated[
    str | None,
    typer.Option(
        "--shots", metavar="N,...", help="How many events to show: 0,1,3,5,10,20; 'all' for everything."
    ),
]
Metrics = Annotated[
    str | None,
    typer.Option("--metrics", metavar="NAME,...", help="What to measure: mae,rmse,ndcg@10,recall@20, ..."),
]
Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        metavar="NAME",
        help="new-users, new-items, new-users-and-items, known-users, by-time or leave-last-out.",
    ),
]
Ranked = Annotated[
    str | None,
    typer.Option(
        "--candidates",
        metavar="NAME",
        help="Which items are ranked: all (default), query (a user's own query items), or sampled:N.",
    ),
]


@with_reading
def evaluate(
    what: Annotated[
        str, typer.Argument(metavar="MODEL|DATA", help="A model file, or data.", show_default=False)
    ],
    how: Reading,
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="Data of people new to the model.", show_default=False),
    ] = None,
    learner: Annotated[
        str | None,
        typer.Option(
            "--learner", "-l", metavar="NAME", help="Without a model: which recipe; default a good one."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyperparameter of the learner.")
    ] = None,
    protocol: Protocol = "new-users",
    shots: Shots = None,
    metrics: Metrics = None,
    candidates: Ranked = None,
    query: Annotated[
        int,
        typer.Option(
            "--query", min=1, help="With a model: events of each user that are held out and asked for."
        ),
    ] = 10,
    order: Annotated[
        str, typer.Option("--order", help="With a model: show events at 'random', or the first by 'time'.")
    ] = "random",
    everybody_is_new: Annotated[
        bool,
        typer.Option("--everybody-is-new", help="User ids that the model knows stand for other people here."),
    ] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measures a model on people it has never seen, or a learner on people held out from data.

    acclimate evaluate MODEL DATA: the users of DATA show their first events and are asked about others; users
    whom the model was trained on are left out.

    acclimate evaluate DATA --learner NAME: DATA is split by the protocol, the learner sees only the training
    part.
    """
    from acclimate.evaluation import evaluate as judge
    from acclimate.evaluation import protocol as protocol_named

    screen = Output(json, quiet)
    run = environment(seed, device, screen)
    wanted, pool, asked = levels(shots), ranked(candidates, seed), measures(metrics)
    rule = protocol_named(protocol, shots=wanted, candidates=pool)
    facts: dict[str, Any] = {}
    if data is not None:
        if learner is not None or settings:
            raise UserInputError("A model file is already fitted: leave out --learner, or give data alone.")
        if is_model(data) and not is_model(what):
            raise UserInputError(f"The model comes first: acclimate evaluate {data} {what}.")
        from acclimate.model import load

        model = load(what)
        tasks, facts = newcomers(
            model, how.dataset(data, screen), query, order, wanted, seed, screen, trusting=everybody_is_new
        )
        recommender, name = model.recommender, model.provenance.learner
    else:
        if is_model(what):
            raise UserInputError(
                f"A model is evaluated on data of people it has never seen: acclimate evaluate {what} DATA."
            )
        from acclimate.learners.default import default

        dataset = how.dataset(what, screen)
        chosen = recipe(learner, settings) or default(dataset)
        split = rule.split(dataset, seed)
        screen.say(f"Split {described(dataset)} by {protocol}; fitting {chosen.name}.")
        recommender, name = chosen.fit(split.train, run=run), chosen.name
        if recommender.scale == "rank" and dataset.explicit:
            screen.say(f"Note: {name} only orders items; every rating counts as a choice.")
            split = rule.split(dataset.implicit(), seed)
        tasks, facts = split.test, {"protocol": protocol, "trained_on_users": split.train.n_users}
    report = judge(
        recommender,
        tasks,
        metrics=asked or defaults(recommender, tasks.dataset),
        candidates=pool,
        shots=wanted or (_curve() if data is not None else rule.shots),
        seed=seed,
        name=name,
    )
    screen.give({**facts, **report.to_dict(), "n_users": report.frame["user"].n_unique()})
    screen.show(Text(f"{report.recommender} by support events shown", style="bold"), table(report))
    screen.show(Text(remarks(report), style="dim"))


@with_reading
def compare(
    data: Source,
    how: Reading,
    learners: Annotated[
        str | None,
        typer.Option(
            "--learners", "-l", metavar="NAME,...", help="What to compare; default: the default learner."
        ),
    ] = None,
    protocol: Protocol = "new-users",
    shots: Shots = None,
    metrics: Metrics = None,
    candidates: Ranked = None,
    floors: Annotated[
        bool,
        typer.Option("--floors/--no-floors", help="Whether the simple methods stand in the table as well."),
    ] = True,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", metavar="N,...", help="Several splits and fits: 0,1,2. Default: --seed."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Results as JSON.")] = None,
    rows: Annotated[
        Path | None, typer.Option("--rows", metavar="FILE", help="One row per user: .csv or .parquet.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Learning curves: .png, .svg or .pdf.")
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fits learners and the simple methods beside them, and judges all on the same people."""
    from acclimate import persist
    from acclimate.compare import compare as contest
    from acclimate.learners.default import default

    screen = Output(json, quiet)
    for path in (out, rows, plot):
        if path is not None:
            persist.check_target(path)
    if rows is not None and rows.suffix not in (".csv", ".parquet"):
        raise UserInputError(f"--rows writes .csv or .parquet; found {rows.name!r}.")
    if plot is not None and plot.suffix not in (".png", ".svg", ".pdf"):
        raise UserInputError(f"--plot writes .png, .svg or .pdf; found {plot.name!r}.")
    if plot is not None and find_spec("matplotlib") is None:
        raise UserInputError(
            "--plot needs matplotlib, which is not installed: pip install 'acclimate[plot]'."
        )
    run = environment(seed, device, screen)
    names = [name.strip() for name in learners.split(",") if name.strip()] if learners else []
    chosen = [found for found in (recipe(name, None) for name in names) if found is not None]
    dataset = how.dataset(data, screen)
    found = contest(
        chosen or [default(dataset)],
        dataset,
        protocol,
        shots=levels(shots),
        metrics=measures(metrics),
        candidates=ranked(candidates, seed),
        seeds=[n for n in whole_numbers(seeds, "--seeds") if n is not None] if seeds else [seed],
        run=run,
        floors=floors,
    )
    if out is not None:
        with persist.publish(out) as file:
            file.write(found.to_json().encode())
    if rows is not None:
        with persist.publish(rows) as file:
            found.frame.write_csv(file) if rows.suffix == ".csv" else found.frame.write_parquet(file)
    if plot is not None:
        from acclimate.evaluation import learning_curve

        learning_curve(found, plot)
    screen.give(found.to_dict())
    screen.show(found)
    for path in (out, rows, plot):
        if path is not None:
            screen.say(f"Wrote {path}.")


def newcomers(
    model: Model,
    other: Dataset,
    query: int,
    order: str,
    shots: tuple[int | None, ...] | None,
    seed: int,
    screen: Output,
    *,
    trusting: bool,
) -> tuple[Tasks, dict[str, Any]]:
    """Tasks of the people of ``other`` whom the model has not seen, and what became of the rest.

    Raises:
        UserInputError: the model was trained on this very data, or on all of its people; or nobody has enough
        events.
    """
    import torch

    from acclimate.data import user_tasks
    from acclimate.model import acquainted

    if order not in ("random", "time"):
        raise UserInputError(f"--order is random or time; found {order!r}.")
    if other.hash() == model.provenance.data_hash:
        raise UserInputError(
            f"The model was trained on this very data ({other.name!r}): what it scores here says nothing "
            "about new "
            f"people. Give data of others, or hold people out first: acclimate evaluate DATA --learner "
            f"{model.provenance.learner}."
        )
    aligned, lost = model.align(other)
    if model.takes_choices:
        aligned = aligned.implicit()
    known = acquainted(model.data, aligned)
    met = 0 if trusting else int(known.sum())
    if met == aligned.n_users:
        raise UserInputError(
            f"All {met:,} users of {other.name!r} were in the model's training data; a model is judged on "
            "people it "
            "has never seen. Give data of others, hold people out first (acclimate evaluate DATA --learner "
            "NAME), or, "
            "if the ids stand for other people here, say --everybody-is-new."
        )
    if met:
        screen.say(
            f"Note: {met:,} of {aligned.n_users:,} users were in the model's training data and are left out."
        )
    if model.data.n_users == 0:
        screen.say("Note: the model kept no histories, so nobody can check that these people are new to it.")
    if lost.events:
        screen.say(
            f"Note: {lost.events:,} events on {lost.items:,} items that the model does not know are left "
            "out, "
            f"and {lost.users:,} users who have no others."
        )
    users = torch.arange(aligned.n_users) if trusting else (~known).nonzero().flatten()
    longest = None if shots is not None and None in shots else max(k or 0 for k in shots or _curve())
    tasks = user_tasks(
        aligned,
        users,
        query=query,
        max_support=longest,
        order="time" if order == "time" else "random",
        generator=torch.Generator().manual_seed(seed),
    )
    if len(tasks) == 0:
        most = int(aligned.interactions.counts()[users].max())
        raise UserInputError(
            f"None of {len(users):,} users has {query + 1} events on items of the model ({query} to be asked "
            "for, one "
            f"to show); the most is {most}. Lower --query."
        )
    facts = {
        "trained_on_users": model.provenance.n_users,
        "left_out": {
            "users_seen_in_training": met,
            "unknown_items": lost.items,
            "events_on_them": lost.events,
        },
        "checked_that_users_are_new": model.data.n_users > 0 and not trusting,
    }
    return tasks, facts


def levels(shots: str | None) -> tuple[int | None, ...] | None:
    """``0,1,5,all`` as numbers of shots."""
    return None if shots is None else whole_numbers(shots, "--shots", none="all")


def measures(names: str | None) -> tuple[Metric, ...] | None:
    """``mae,ndcg@10`` as metrics."""
    from acclimate.evaluation import as_metrics

    return None if names is None else as_metrics(name.strip() for name in names.split(",") if name.strip())


def defaults(recommender: Recommender, dataset: Dataset) -> list[Metric]:
    """The default metrics that mean something for this recommender."""
    from acclimate.evaluation import applies, default_metrics

    return [metric for metric in default_metrics(dataset) if applies(metric, recommender, dataset)]


def ranked(name: str | None, seed: int) -> Candidates | None:
    """The candidates of that name.

    Raises:
        UnknownNameError: no candidates are called so.
    """
    from acclimate.evaluation import Catalogue, QueryOnly, Sampled

    if name is None or name == "all":
        return Catalogue() if name else None
    if name == "query":
        return QueryOnly()
    kind, _, number = name.partition(":")
    if kind == "sampled" and number.isdecimal() and int(number) > 0:
        return Sampled(int(number), seed=seed)
    raise UnknownNameError("set of candidates", name, ("all", "query", "sampled:100"))


def table(report: Report) -> Table:
    """Metrics by shots, with half widths of 95 % intervals."""
    from acclimate.evaluation import shots_label

    cells = {(row["metric"], row["shots"]): row for row in report.summary().to_dicts()}
    shots = list(dict.fromkeys(row["shots"] for row in report.summary().to_dicts()))
    out = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    out.add_column("", no_wrap=True)
    for k in shots:
        out.add_column(shots_label(k), justify="right", no_wrap=True)
    for metric in report.metrics:
        row: list[Text] = []
        for k in shots:
            cell = cells[metric.name, k]
            half = "" if cell["low"] is None else f"\n±{(cell['high'] - cell['low']) / 2:.3f}"
            row.append(Text("-" if cell["mean"] is None else f"{cell['mean']:.4f}") + Text(half, style="dim"))
        out.add_row(metric.name, *row)
    return out


def remarks(report: Report) -> str:
    """Who was judged on what, and what to beware of."""
    users = report.frame["user"].n_unique()
    lines = [
        f"{users:,} users; ranked: {report.candidates}; split {report.split_hash[:12]}, data "
        f"{report.data_hash[:12]}; "
        f"{report.seconds:.1f} s. Second lines: half a 95 % bootstrap interval."
    ]
    return "\n".join([*lines, *report.notes])


def _curve() -> tuple[int, ...]:
    from acclimate.evaluation import CURVE

    return CURVE


def is_model(name: str) -> bool:
    """Whether a file starts like a model file."""
    path = Path(name)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(9)
    # A header of less than 2^56 bytes, then the brace that opens it.
    return len(head) == 9 and head[7] == 0 and head[8:] == b"{"
