"""The command line: the only place where strings become classes.

Exit codes: 0 done; 2 something the caller can fix (a message of one screen says what and how, on standard
error); 1 any other error; 130 interrupted by Ctrl-C; 143 terminated. Nothing is ever left half written.

Results go to standard output, everything else to standard error. ``ACCLIMATE_DEBUG=1`` shows tracebacks;
``OMP_NUM_THREADS`` sets how many threads compute, one unless said.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import metadata
from typing import Annotated, NoReturn

import typer

from acclimate.cli import answer, data, demo, judge, serve, train
from acclimate.cli.output import Commands, complain

app = typer.Typer(
    cls=Commands,
    name="acclimate",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("acclimate"))
        raise typer.Exit


@app.callback()
def _everything(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Recommendations that are good from the first few clicks, and an honest measure of how good."""


app.command("demo")(demo.demo)
app.add_typer(data.app, name="data")
app.command("doctor")(data.doctor)
app.command("fit")(train.fit)
app.command("evaluate")(judge.evaluate)
app.command("compare")(judge.compare)
app.command("recommend")(answer.recommend)
app.command("explain")(answer.explain)
app.command("serve")(serve.serve)
app.add_typer(serve.app, name="keys")


def main() -> NoReturn:
    """What the ``acclimate`` script runs."""
    # Steps are small: more threads than one are no faster on idle cores, and many times slower on busy ones.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Ending by exception, not at once, lets half-written files be removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        app(prog_name="acclimate")
    except KeyboardInterrupt:
        sys.exit(130)
    # Whatever arrives here is a fault of ours; whoever hits it needs a line that says so, not a page of
    # frames.
    except Exception as error:
        if os.environ.get("ACCLIMATE_DEBUG"):
            raise
        complain(
            f"{type(error).__name__}: {error}\n"
            "This is a fault of acclimate. ACCLIMATE_DEBUG=1 shows where; please report it with that."
        )
        sys.exit(1)
    sys.exit(0)


__all__ = ["app", "main"]
