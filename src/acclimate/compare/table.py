"""The table of a comparison, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from acclimate.compare.entry import Entry
from acclimate.evaluation.evaluate import shots_label
from acclimate.evaluation.metrics import Metric

Key = tuple[str, int | None]
"""The name of a learner, and a number of shots."""


def draw(
    metric: Metric,
    shots: Sequence[int | None],
    entries: Sequence[Entry],
    means: Mapping[Key, Mapping[str, float | None]],
    verdicts: Mapping[Key, str],
) -> Table:
    """Learners by shots, the floors below: means, half intervals, the best, and who beats the floors.

    Args:
        means: ``mean``, ``low`` and ``high`` of each cell. verdicts: ``better``, ``level`` or ``worse``.
    """
    better = {True: " (higher is better)", False: " (lower is better)", None: ""}[metric.higher_is_better]
    title = f"{metric.name}{better} by support events shown"
    table = Table(
        title=title,
        min_width=len(title),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        title_justify="left",
        title_style="bold",
    )
    table.add_column("", no_wrap=True, max_width=18, overflow="ellipsis")
    for k in shots:
        # Two places for marks keep the digits of a column under one another.
        table.add_column(f"{shots_label(k)}  ", justify="right", no_wrap=True)
    table.add_column("fit", justify="right", no_wrap=True, style="dim")
    tops = {k: _best(metric, [cell["mean"] for (_, at), cell in means.items() if at == k]) for k in shots}
    ordered = sorted(entries, key=lambda entry: entry.floor)
    for i, entry in enumerate(ordered):
        if i and entry.floor and not ordered[i - 1].floor:
            table.add_section()
        row = [Text(entry.name, style="dim" if entry.floor else "")]
        for k in shots:
            cell = means.get((entry.name, k), {})
            mean, low, high = (cell.get(part) for part in ("mean", "low", "high"))
            half = None if low is None or high is None else (high - low) / 2
            mark = {"better": "+", "worse": "-"}.get(verdicts.get((entry.name, k), ""), " ")
            row.append(_cell(mean, half, mark=mark, best=mean == tops[k], entry=entry))
        row.append(Text(_seconds(entry)))
        table.add_row(*row)
    return table


def _best(metric: Metric, means: Sequence[float | None]) -> float | None:
    known = [mean for mean in means if mean is not None]
    if metric.higher_is_better is None:
        return None
    return (max if metric.higher_is_better else min)(known, default=None)


def _cell(mean: float | None, half: float | None, *, mark: str, best: bool, entry: Entry) -> Text:
    """Mean and marks, and half the width of its interval below."""
    if mean is None:
        return Text("failed  " if entry.error else "-  ", style="dim")
    style = "bold" if best else "dim" if entry.floor else ""
    text = Text(f"{_short(mean)}{mark}{'*' if best else ' '}", style=style)
    if half is not None:
        text.append(f"\n±{_short(half)}  ", style="dim not bold")
    return text


def _short(x: float) -> str:
    """Four decimals without the zero before the point, as tables of such numbers have it."""
    text = f"{x:.4f}" if abs(x) < 100 else f"{x:.1f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def _seconds(entry: Entry) -> str:
    if entry.fit_seconds is None:
        return "" if entry.error else "-"
    return f"{entry.fit_seconds:.1f}s" if entry.fit_seconds < 100 else f"{entry.fit_seconds:.0f}s"
