"""``acclimate recommend`` and ``acclimate explain``: asking a model."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from acclimate.cli.options import Event, Field, Json, Model, Quiet, Unknown, pair
from acclimate.cli.output import Output
from acclimate.errors import UserInputError

if TYPE_CHECKING:
    import polars as pl

    from acclimate.model import Model as Answers

_SHOWN = 20
"""People whose lists are shown on the screen; the rest is in the JSON."""


def recommend(
    model: Model,
    user: Annotated[
        list[str] | None,
        typer.Option("--user", "-u", metavar="ID", help="A user of the training data. Repeatable."),
    ] = None,
    event: Event = None,
    field: Field = None,
    k: Annotated[int, typer.Option("-k", "--top", min=1, help="Items a person gets.")] = 10,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="ITEM",
            help="A candidate, by id or title; default the whole catalogue. Repeatable.",
        ),
    ] = None,
    keep_seen: Annotated[
        bool, typer.Option("--keep-seen", help="Recommend also what the person has seen.")
    ] = False,
    allow_unknown: Unknown = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The best items for users of the training data, or for somebody new by what they did.

    With neither --user nor --event it answers for somebody of whom nothing is known.
    """
    from acclimate.model import load

    screen = Output(json, quiet)
    answers = load(model)
    asked = question(answers, user, event, field, allow_unknown=allow_unknown)
    found = answers.recommend(
        **asked,
        k=k,
        items=answers.names.typed(only) if only else None,
        exclude_seen=not keep_seen,
        unknown="prior" if allow_unknown else "error",
    ).with_columns(title=_titles(answers))
    people = [_rounded(part) for part in found.partition_by("user_id", maintain_order=True)]
    screen.give(
        {
            "model": str(model),
            "scale": answers.recommender.scale,
            "lists": [
                {"user_id": part["user_id"][0], "items": part.drop("user_id").to_dicts()} for part in people
            ],
        }
    )
    if found.height == 0:
        screen.say("Nothing is left to recommend.")
        return
    for part in people[:_SHOWN]:
        screen.show(Text(_heading(part["user_id"][0], answers, asked), style="bold"), _list(part, answers))
    if len(people) > _SHOWN:
        screen.say(f"And {len(people) - _SHOWN:,} more people: see --json.")


def explain(
    model: Model,
    item: Annotated[
        str,
        typer.Option("--item", "-i", metavar="ITEM", help="The item, by id or title.", show_default=False),
    ],
    user: Annotated[
        str | None, typer.Option("--user", "-u", metavar="ID", help="A user of the training data.")
    ] = None,
    event: Event = None,
    field: Field = None,
    allow_unknown: Unknown = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Why an item scores what it scores for one person: what each event added."""
    from acclimate.model import load

    screen = Output(json, quiet)
    answers = load(model)
    asked = question(answers, None if user is None else [user], event, field, allow_unknown=allow_unknown)
    (target,) = answers.names.typed([item])
    told = answers.explain(item=target, **asked, unknown="prior" if allow_unknown else "error")
    title = answers.titles([target])[0]
    parts = told.filter(told["part"] == "event").with_columns(title=_titles(answers, told))
    screen.give(
        {
            "model": str(model),
            "item_id": target,
            "title": title,
            "method": told["method"][0],
            "prior": _of(told, "prior"),
            "events": parts.select("item_id", "title", "value", "contribution").to_dicts(),
            "rest": _of(told, "rest"),
            "total": _of(told, "total"),
        }
    )
    screen.show(*explanation(told, answers, title))


def question(
    answers: Answers,
    users: list[str] | None,
    events: list[str] | None,
    fields: list[str] | None,
    *,
    allow_unknown: bool = False,
) -> dict[str, Any]:
    """What was typed as arguments of :meth:`acclimate.Model.recommend`.

    Raises:
        UserInputError: an id, a title, a value or a field that cannot be read.
    """
    asked: dict[str, Any] = {}
    if users:
        if len(answers.data.user_ids) == 0:
            raise UserInputError(
                "This model kept no histories, so it knows no users. Say what the person did: --event "
                "'ITEM=VALUE'."
            )
        asked["users"] = answers.data.user_ids.parse(users, "user id")
        rows = answers.data.user_ids.encode(asked["users"], "user id").tolist()
        lost = [user for user, row in zip(users, rows, strict=True) if row < 0]
        if lost and not allow_unknown:
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            raise UserInputError(
                f"Unknown user {lost[0][:80]!r}{more}: not among the {len(answers.data.user_ids):,} users "
                "the model was "
                "trained on. For somebody new say what they did, --event 'ITEM=VALUE', or --allow-unknown "
                "for the answer "
                "to somebody of whom nothing is known."
            )
    if events or not users:
        asked["events"] = typed_events(answers, events or [])
    if fields:
        asked["user"] = dict(pair(text, "--field") for text in fields)
    return asked


def typed_events(answers: Answers, texts: list[str]) -> list[tuple[Any, float] | tuple[Any]]:
    """``Heat=5`` as an id and a value; a whole text that names an item is one without a value.

    Raises:
        UserInputError: an item that does not exist, or a value that is not a number.
    """
    out: list[tuple[Any, float] | tuple[Any]] = []
    for text in texts:
        item, equals, value = text.rpartition("=")
        if not equals or _names_an_item(answers, text):
            (found,) = answers.names.typed([text])
            if answers.data.explicit and answers.predicts_ratings:
                low, high = answers.data.value_range
                raise UserInputError(
                    f"This model learned from ratings of {low:g} to {high:g}; say how {text!r} was rated: "
                    f"--event {shlex.quote(f'{text}={high:g}')}."
                )
            out.append((found,))
            continue
        try:
            number = float(value)
        except ValueError:
            raise UserInputError(
                f"--event takes ITEM=VALUE with a number; found {value!r} in {text!r}."
            ) from None
        out.append((answers.names.typed([item])[0], number))
    return out


def explanation(told: pl.DataFrame, answers: Answers, title: str) -> list[Table | Text]:
    """An explanation as a table with a heading and a line on how it was made."""
    unit = "predicted rating" if answers.predicts_ratings else "score"
    exact = told["method"][0] == "exact"
    rows = told.filter(told["part"] == "event").to_dicts()
    labels = answers.titles([row["item_id"] for row in rows]) if rows else []
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    table.add_row(f"{_of(told, 'prior'):.3f}", "with no event at all")
    order = sorted(range(len(rows)), key=lambda i: -abs(rows[i]["contribution"]))
    for i in order:
        value = f" = {rows[i]['value']:g}" if answers.data.explicit else ""
        table.add_row(f"{rows[i]['contribution']:+.3f}", f"{labels[i]}{value}")
    rest = _of(told, "rest")
    if abs(rest) >= 5e-4:
        table.add_row(f"{rest:+.3f}", "what no single event accounts for")
    table.add_row(Text(f"{_of(told, 'total'):.3f}", style="bold"), Text(unit, style="bold"))
    how = (
        "Exact: the parts add up to the score."
        if exact
        else "By leaving each event out in turn: what the score loses without it."
    )
    return [Text(f"Why {title}?", style="bold"), table, Text(how, style="dim")]


def _names_an_item(answers: Answers, text: str) -> bool:
    try:
        answers.names.typed([text])
    except UserInputError:
        return False
    return True


def _titles(answers: Answers, told: pl.DataFrame | None = None) -> Any:
    import polars as pl

    if told is not None:
        rows = told.filter(told["part"] == "event")
        return pl.Series("title", answers.titles(rows["item_id"]), dtype=pl.String)
    return pl.col("item_id").map_batches(
        lambda ids: pl.Series("title", answers.titles(ids), dtype=pl.String), return_dtype=pl.String
    )


def _rounded(part: pl.DataFrame) -> pl.DataFrame:
    """Scores without the digits that single precision does not have."""
    import polars as pl

    return part.with_columns(pl.col(pl.Float32).cast(pl.Float64).round(6))


def _of(told: pl.DataFrame, part: str) -> float:
    return float(told.filter(told["part"] == part)["contribution"][0])


def _heading(user: Any, answers: Answers, asked: dict[str, Any]) -> str:
    if user is not None:
        return f"For user {user}"
    n = len(asked.get("events", []))
    known = "of whom nothing is known" if not asked.get("user") else "known by fields alone"
    return f"For a newcomer after {n} event{'s' if n > 1 else ''}" if n else f"For a newcomer {known}"


def _list(part: pl.DataFrame, answers: Answers) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", justify="right", no_wrap=True, style="dim")
    table.add_column(
        "title" if answers.names.titles is not None else "item", overflow="ellipsis", no_wrap=True
    )
    with_ids = answers.names.titles is not None
    if with_ids:
        table.add_column("id", overflow="ellipsis", no_wrap=True, max_width=20, style="dim")
    table.add_column("rating" if answers.predicts_ratings else "score", justify="right", no_wrap=True)
    unsure = "deviation" in part.columns
    if unsure:
        table.add_column("±", justify="right", no_wrap=True, style="dim")
    for row in part.to_dicts():
        cells = [
            str(row["rank"]),
            row["title"],
            *([str(row["item_id"])] if with_ids else []),
            f"{row['score']:.2f}",
        ]
        table.add_row(*cells, *([f"{row['deviation']:.2f}"] if unsure else []))
    return table
