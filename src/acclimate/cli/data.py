"""``acclimate data`` and ``acclimate doctor``: getting data, and knowing what is wrong with it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from acclimate.cli.options import Json, Quiet
from acclimate.cli.output import Output
from acclimate.cli.reading import Reading, with_reading

app = typer.Typer(help="Public data sets: list them, get one.", no_args_is_help=True)


@app.command("list")
def list_(json: Json = False, quiet: Quiet = False) -> None:
    """The public data sets that can be got by name."""
    from acclimate.data import catalog

    screen = Output(json, quiet)
    sets = catalog.available()
    screen.give({"folder": str(catalog.data_folder()), "sets": [one.to_dict() for one in sets]})
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("name", no_wrap=True)
    for name in ("ratings", "users", "items"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("terms")
    for one in sets:
        counts = (f"{n:,}" for n in (one.ratings, one.users, one.items))
        table.add_row(one.name + (" *" if one.cached else ""), *counts, one.licence)
    where = f"* is on this machine, in {catalog.data_folder()} (ACCLIMATE_DATA names another folder)."
    screen.show(table, Text(where, style="dim"))


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="Its name, such as ml-100k.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Get it anew even if it is here.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Downloads a public data set, checks its hash and shows its terms."""
    from acclimate.data import catalog

    screen = Output(json, quiet)
    # The terms are not a remark: --quiet does not hide what one agrees to.
    loud = Output(json)
    folder = catalog.get(name, progress=screen.progress, force=force, tell=loud.say)
    screen.give({"name": name, "folder": str(folder)})
    screen.show(f"{name} is in {folder}.")
    screen.say(f"Try: acclimate doctor {name}")


@with_reading
def doctor(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A table of events, a folder in a known layout, or the name of a public set.",
            show_default=False,
        ),
    ],
    how: Reading,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Says what a table holds, what is wrong with it and what to do. Exit code 2 if it cannot be used
    as it is.
    """
    from acclimate.data.doctor import diagnose

    screen = Output(json, quiet)
    found = diagnose(how.place(data, screen), **how.options())
    screen.give(found.to_dict())
    screen.show(Text(found.render(), no_wrap=True))
    if not found.ok:
        raise typer.Exit(2)
