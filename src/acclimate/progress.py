"""One progress bar with time left, on the terminal only when somebody is looking."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextlib.contextmanager
def track(what: str, total: int, show: bool | None = None) -> Iterator[Callable[[int, str], None]]:
    """A bar for ``total`` steps; the value it gives is called with (steps done now, a short note).

    Args:
        show: None shows the bar exactly when standard error is a terminal.
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda steps, note: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    note = TextColumn("{task.fields[note]}")
    with Progress(*columns, note, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, note="")
        yield lambda steps, note: bar.update(task, advance=steps, note=note)
