"""``acclimate demo``: real ratings, an honest comparison, and a newcomer's list changing choice by choice."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from acclimate.cli.options import Json, Quiet, Seed
from acclimate.cli.output import Output
from acclimate.cli.train import environment
from acclimate.errors import ModelFileError, UserInputError

if TYPE_CHECKING:
    from torch import Tensor

    from acclimate.compare import Comparison
    from acclimate.data import Dataset, Split
    from acclimate.learners.base import Run
    from acclimate.model import Model

SHOWN = 4
"""Choices that the newcomer makes."""
LIST = 5
"""Items of the newcomer's list that are shown."""
LIKED = 4.0
"""The newcomer's choices are what they rated at least this high."""


def demo(
    folder: Annotated[
        Path, typer.Option("--folder", metavar="FOLDER", help="Where models and plots go.")
    ] = Path("demo"),
    data: Annotated[
        str, typer.Option("--data", metavar="NAME", help="Which public set of ratings.")
    ] = "ml-100k",
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Gets MovieLens 100K, meta-learns from it, compares with the simple methods, and shows a newcomer's
    list.

    Takes about two minutes the first time; a second run reuses the models.
    """
    from acclimate.data import catalog

    start = time.perf_counter()
    screen = Output(json, quiet)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserInputError(
            f"The folder {folder} cannot be made: {error.strerror}. Name another: --folder."
        ) from None
    run = environment(seed, "cpu", screen)

    ratings = catalog.load(data, progress=screen.progress)
    if not ratings.explicit:
        raise UserInputError(f"The demo needs ratings; {data} holds implicit events.")
    screen.show(Rule(f"{data}: what people choose", style="dim"))
    choices = ratings.implicit()
    chosen = _act(choices, folder / "choices.acc", folder / "choices.png", run, screen)
    screen.show(Rule(f"{data}: how people rate", style="dim"))
    rated = _act(ratings, folder / "ratings.acc", folder / "ratings.png", run, screen)

    screen.show(Rule("A newcomer", style="dim"))
    story = newcomer(chosen[0], chosen[1], ratings)
    screen.show(*tell(story))
    seconds = time.perf_counter() - start
    screen.give(
        {
            "seconds": round(seconds, 1),
            "choices": {"model": str(folder / "choices.acc"), "comparison": chosen[2].to_dict()},
            "ratings": {"model": str(folder / "ratings.acc"), "comparison": rated[2].to_dict()},
            "newcomer": story,
        }
    )
    # Commands are to be copied: not one line of them may be broken.
    screen.show(Rule("What next", style="dim"), Text(_next(folder, data, story), no_wrap=True))
    screen.say(f"Done in {seconds:.0f} s; models and plots are in {folder}{'/' if folder.name else ''}.")
    screen.show(
        Rule("See it in a browser", style="dim"),
        Text(f"{_program()} serve {quote(str(folder / 'choices.acc'))}", style="bold", no_wrap=True),
    )


def newcomer(model: Model, split: Split, ratings: Dataset) -> dict[str, Any]:
    """One test user, of whom the model has seen nothing: the list after nothing and after each of a few
    choices.

    The first test user with enough films liked is taken, not the one that looks best.

    Returns:
        ``user``: what is known of them. ``steps``: for each the ``event`` (None at first), the ``list`` with
        titles, scores, the ``move`` since the step before (None if new) and ``why``: the choice that adds
        most, and how much.
        ``held_out``: how many films of theirs nobody saw; ``found``: how many of those are in the first 20
        after each step.
    """
    task = _somebody(split, ratings)
    events = split.test.support[split.test.support_offsets[task] : split.test.support_offsets[task + 1]]
    values = _original(split, ratings, events)
    liked = events[values >= LIKED][:SHOWN]
    items = split.test.dataset.item_ids.decode(split.test.dataset.interactions.items[liked]).to_list()
    query = split.test.query[split.test.query_offsets[task] : split.test.query_offsets[task + 1]]
    wanted = set(split.test.dataset.item_ids.decode(split.test.dataset.interactions.items[query]).to_list())
    who = split.test.dataset.users.select(split.test.users[task].reshape(1)).to_frame().to_dicts()
    fields = {name: value for name, value in (who[0] if who else {}).items() if value is not None}
    steps: list[dict[str, Any]] = []
    places: dict[Any, int] = {}
    for n in range(len(items) + 1):
        known = items[:n]
        answer = model.recommend(events=known, user=fields, k=model.data.n_items)
        order = answer["item_id"].to_list()
        top = []
        for rank, (item, score) in enumerate(zip(order[:LIST], answer["score"].to_list(), strict=False), 1):
            before = places.get(item)
            why = model.explain(events=known, user=fields, item=item) if known else None
            top.append(
                {
                    "item_id": item,
                    "title": model.titles([item])[0],
                    "score": score,
                    "rank": rank,
                    "before": before,
                    "move": None if before is None else before - rank,
                    "why": None if why is None else _strongest(why, model),
                }
            )
        found = len(wanted & set(order[:20]))
        event = {"item_id": items[n - 1], "title": model.titles([items[n - 1]])[0]} if n else None
        steps.append({"event": event, "list": top, "found": found})
        places = {item: rank for rank, item in enumerate(order, 1)}
    shown = {name: value for name, value in fields.items() if name in ("age", "gender", "occupation")}
    return {
        "user": shown,
        "steps": steps,
        "held_out": len(wanted),
        "method": model.explain(events=[], item=items[0])["method"][0],
    }


def tell(story: dict[str, Any]) -> list[Table | Text]:
    """The story as tables of at most 80 columns."""
    about = ", ".join(f"{name} {_short(value)}" for name, value in story["user"].items())
    out: list[Table | Text] = [
        Text(
            "Somebody from the test set, of whom training has seen nothing"
            + (f": {about}." if about else ".")
            + " Their first choices, one by one:"
        )
    ]
    for step in story["steps"]:
        event = step["event"]
        heading = f"+ chose {event['title']}" if event else "Before any choice"
        out.append(Text(f"\n{heading}", style="bold"))
        table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
        table.add_column(justify="right", width=3, style="dim")
        table.add_column(width=5, no_wrap=True)
        table.add_column(width=35, no_wrap=True, overflow="ellipsis")
        table.add_column(width=32, no_wrap=True, overflow="ellipsis", style="dim")
        for one in step["list"]:
            why = one["why"]
            because = f"{why['contribution']:+.2f} by {brief(why['title'])}" if why else ""
            table.add_row(f"{one['rank']}", _arrow(one["move"], first=event is None), one["title"], because)
        out.append(table)
    found = [step["found"] for step in story["steps"]]
    out.append(
        Text(
            f"\nOf {story['held_out']} other films this person chose, which nobody showed the model, the "
            "first 20 held "
            f"{found[0]} before any choice and {found[-1]} after {len(found) - 1}. One person proves "
            "nothing; the "
            "tables above do. Reasons are "
            f"{'exact' if story['method'] == 'exact' else 'by leaving each choice out'}: "
            "what the choice adds to the score.",
            style="dim",
        )
    )
    return out


def _act(data: Dataset, path: Path, plot: Path, run: Run, screen: Output) -> tuple[Model, Split, Comparison]:
    """Fits (or finds) the default model for the data without the test users, and compares it with the "
    "floors."""
    from acclimate import persist
    from acclimate.compare import compare
    from acclimate.evaluation import learning_curve, new_users

    rule = new_users()
    split = rule.split(data, run.seed)
    model = _model(split, path, run, screen)
    found = compare({model.provenance.learner: model.recommender}, split, rule, seeds=[run.seed], run=run)
    screen.show(found)
    with persist.publish(path.with_suffix(".json")) as file:
        file.write(found.to_json().encode())
    try:
        learning_curve(found, plot)
        screen.say(f"Plot: {plot}")
    except UserInputError as error:
        # A demo without its picture is better than none: matplotlib is an extra.
        screen.say(f"No plot: {error}")
    return model, split, found


def _model(split: Split, path: Path, run: Run, screen: Output) -> Model:
    """The saved model if it is what fitting now would give, else a new one, saved."""
    from acclimate.learners.default import default
    from acclimate.model import fit, load, version

    learner = default(split.train)
    if path.exists():
        try:
            old = load(path)
        except ModelFileError as error:
            screen.say(f"{error} Fitting anew.")
        else:
            came = old.provenance
            wanted = (split.train.hash(), repr(learner), run.seed, version())
            if (came.data_hash, came.recipe, came.seed, came.version) == wanted:
                screen.say(f"Reusing {path}: same data, same recipe, same seed.")
                return old
    screen.say(
        f"Meta-learning {learner.name} from {split.train.n_users:,} people; {len(split.test):,} others are "
        "kept for "
        "the test ..."
    )
    start = time.perf_counter()
    model = fit(split.train, learner, run=run)
    model.save(path)
    screen.say(f"Fitted in {time.perf_counter() - start:.0f} s; saved {path}.")
    return model


def _somebody(split: Split, ratings: Dataset) -> int:
    """The first test task with enough liked films among what is shown."""
    tasks = split.test
    for task in range(len(tasks)):
        events = tasks.support[tasks.support_offsets[task] : tasks.support_offsets[task + 1]]
        if int((_original(split, ratings, events) >= LIKED).sum()) >= SHOWN:
            return task
    raise UserInputError("No test user has liked enough films to be shown; use another --seed.")


def _original(split: Split, ratings: Dataset, events: Tensor) -> Tensor:
    """What the events' users really rated: the split of choices keeps the order of the ratings."""
    held = split.test.dataset
    rows = ratings.user_ids.encode(held.user_ids.ids)
    return ratings.interactions.select_users(rows).values[events]


def _strongest(told: Any, model: Model) -> dict[str, Any]:
    events = told.filter(told["part"] == "event").to_dicts()
    most = max(events, key=lambda row: abs(row["contribution"]))
    return {
        "item_id": most["item_id"],
        "title": model.titles([most["item_id"]])[0],
        "contribution": most["contribution"],
    }


def _arrow(move: int | None, *, first: bool) -> Text:
    if first:
        return Text("")
    plain = "▲▼=".encode(sys.stdout.encoding or "ascii", "ignore") == b"="
    up, down = ("+", "-") if plain else ("▲", "▼")
    if move is None:
        return Text("new", style="green")
    if move == 0:
        return Text("=", style="dim")
    return Text(f"{up}{move}", style="green") if move > 0 else Text(f"{down}{-move}", style="red")


def brief(title: str) -> str:
    """A title without its year, for where room is short; commands understand it."""
    return re.sub(r"\s*\(\d{4}\)$", "", title)


def _short(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _next(folder: Path, data: str, story: dict[str, Any]) -> str:
    first = brief(story["steps"][1]["event"]["title"])
    last = brief(story["steps"][-1]["list"][0]["title"])
    us = _program()
    return "\n".join(
        (
            f"{us} recommend {folder}/choices.acc -e {quote(first)}",
            f"{us} recommend {folder}/ratings.acc -e {quote(first + '=5')} -e {quote(last + '=2')}",
            f"{us} explain {folder}/ratings.acc -e {quote(first + '=5')} -i {quote(last)}",
            f"{us} compare {data} --learners ridge,maml,als --shots 0,1,5",
            f"{us} doctor YOUR.csv",
            f"{us} fit YOUR.csv --out model.acc",
        )
    )


def _program() -> str:
    """What to type for this program: its name if the shell would find this very one, else its path."""
    here = Path(sys.argv[0])
    found = shutil.which("acclimate")
    if here.name != "acclimate" or (found is not None and Path(found).resolve() == here.resolve()):
        return "acclimate"
    near = here.absolute()
    return quote(str(near.relative_to(Path.cwd()) if near.is_relative_to(Path.cwd()) else near))
