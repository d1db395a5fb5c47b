"""Plots as files: learning curves over the events shown, cold beside warm. Needs the extra ``plot``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from acclimate.errors import UserInputError
from acclimate.evaluation.evaluate import shots_label
from acclimate.evaluation.metrics import Metric
from acclimate.persist import publish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind eyes, in an order in which neighbours differ in
# lightness too; without yellow, which is too pale for a line on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = ((0, (5, 2)), (0, (1, 1.6)), (0, (6, 2, 1, 2)), (0, (3, 3)), (0, (8, 2, 1, 1, 1, 2)), (0, (1, 3)))
_GREY, _INK, _PALE = "#7A7A7A", "#222222", "#E6E6E6"
_ACRONYMS = frozenset(("mae", "rmse", "ndcg", "mrr", "map", "auc", "f1", "nll"))
_FORMATS = ("png", "svg", "pdf")


class Curves(Protocol):
    """What can be plotted, such as a comparison."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What was measured, the main one first."""
        ...

    def summary(self) -> pl.DataFrame:
        """Rows of ``learner``, ``floor``, ``shots``, ``metric``, ``mean``, ``low`` and ``high``."""
        ...

    def caption(self) -> str:
        """One line: whose numbers these are."""
        ...


def learning_curve(comparison: Curves, path: str | Path, metric: str | None = None) -> Path:
    """Quality over the number of support events shown, with 95 % intervals; floors grey and dashed.

    Args:
        path: a .png, .svg or .pdf file. metric: default the first that was measured.

    Returns:
        The path.

    Raises:
        UserInputError: matplotlib is not installed, the metric was not measured, there are fewer than two
            points of any curve, or the file cannot be written.
    """
    rows, chosen = _points(comparison, metric)
    figure, axes = _canvas(5.4, rows["learner"].to_list())
    levels = _levels(rows)
    ends = _draw(axes[0], rows, levels)
    _dress(axes[0], levels, chosen)
    _limits(axes, [rows])
    _label(axes[0], ends)
    _title(figure, f"{_spoken(chosen.name)} from the first events on", comparison.caption())
    return _save(figure, path)


def cold_and_warm(
    cold: Curves,
    warm: Curves,
    path: str | Path,
    metric: str | None = None,
    *,
    titles: tuple[str, str] = ("New users", "Users seen in training"),
) -> Path:
    """Two learning curves side by side on one scale, such as new users beside users seen in training.

    A learner has the same colour in both panels.

    Args:
        cold: for the left panel. warm: for the right. path: a .png, .svg or .pdf file.
        metric: default the first that was measured. titles: of the panels.

    Raises:
        UserInputError: as :func:`learning_curve`.
    """
    left, chosen = _points(cold, metric)
    right, _ = _points(warm, chosen.name)
    order = list(dict.fromkeys([*left["learner"], *right["learner"]]))
    figure, axes = _canvas(3.7, order, panels=2)
    for panel, rows, title in zip(axes, (left, right), titles, strict=True):
        levels = _levels(rows)
        ends = _draw(panel, rows, levels, order)
        _dress(panel, levels, chosen)
        panel.set_title(title, loc="left", fontsize=10.5, color=_INK, pad=8)
        _limits(axes, [left, right])
        _label(panel, ends)
    axes[1].set_ylabel("")
    captions = dict.fromkeys((cold.caption(), warm.caption()))
    _title(figure, f"{_spoken(chosen.name)}, cold beside warm", "\n".join(captions))
    return _save(figure, path)


def _points(curves: Curves, metric: str | None) -> tuple[pl.DataFrame, Metric]:
    """The rows of one metric that have a mean, and the metric."""
    known = {m.name: m for m in curves.metrics}
    name = metric or next(iter(known))
    rows = curves.summary().filter((pl.col("metric") == name) & pl.col("mean").is_not_null())
    if rows.height == 0:
        raise UserInputError(f"There is nothing to plot for {name!r}; measured were: {', '.join(known)}.")
    if rows["shots"].n_unique() < 2:
        raise UserInputError(
            "A curve needs at least two numbers of shots; this comparison has "
            f"{shots_label(rows['shots'][0])}. Compare with shots=(0, 1, 3, 5, 10, 20)."
        )
    return rows, known[name]


def _levels(rows: pl.DataFrame) -> list[int | None]:
    """Numbers of shots from left to right, the whole support last."""
    numbers = sorted(k for k in rows["shots"].unique().to_list() if k is not None)
    return [*numbers, *([None] if rows["shots"].null_count() else [])]


def _place(levels: Sequence[int | None]) -> dict[int | None, float]:
    """Where each number of shots stands: log(1 + k), so that the first events get the room they deserve."""
    at = {k: float(np.log1p(k)) for k in levels if k is not None}
    last = max(at.values(), default=0.0)
    return {k: at[k] if k is not None else last + 0.7 for k in levels}


def _canvas(width: float, names: Sequence[str], panels: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with panels of the given width in inches, and room beside each for the names of its curves."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserInputError(
            "Plots need matplotlib, which is not installed: pip install 'acclimate[plot]'."
        ) from None
    left, height, bottom = 0.78, 4.8, 0.95
    top = 0.42 if panels == 1 else 0.72
    beside = 0.40 + 0.074 * max(len(_brief(name)) for name in names)
    whole = panels * (left + width + beside)
    figure = Figure(figsize=(whole, height), dpi=180, facecolor="white")
    axes: list[Axes] = []
    for i in range(panels):
        box = (
            (i * (left + width + beside) + left) / whole,
            bottom / height,
            width / whole,
            (height - top - bottom) / height,
        )
        axes.append(figure.add_axes(box, sharey=axes[0] if axes else None))
    return figure, axes


def _brief(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"


def _draw(
    axes: Axes, rows: pl.DataFrame, levels: list[int | None], order: Sequence[str] | None = None
) -> list[tuple[str, float, float, str, bool]]:
    """Curves and bands.

    Returns:
        For each curve its name, where it ends (x, y), its colour and whether it is a floor.
    """
    place = _place(levels)
    names = list(order or rows["learner"].unique(maintain_order=True))
    floors = set(rows.filter(pl.col("floor"))["learner"])
    learners = [n for n in names if n not in floors]
    bars = [n for n in names if n in floors]
    ends = []
    for name in [*bars, *learners]:
        mine = rows.filter(pl.col("learner") == name).to_dicts()
        mine.sort(key=lambda r: place[r["shots"]])
        if not mine:
            continue
        x, y = [place[r["shots"]] for r in mine], [r["mean"] for r in mine]
        if name in floors:
            i = bars.index(name)
            colour = _GREY
            axes.plot(x, y, color=colour, lw=1.1, ls=_DASHES[i % len(_DASHES)], zorder=2)
        else:
            i = learners.index(name)
            colour = _COLOURS[i % len(_COLOURS)]
            low = [r["mean"] if r["low"] is None else r["low"] for r in mine]
            high = [r["mean"] if r["high"] is None else r["high"] for r in mine]
            axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0, zorder=3)
            marker = _MARKERS[(i + i // len(_COLOURS)) % len(_MARKERS)]
            axes.plot(x, y, color=colour, lw=2.0, marker=marker, ms=5, mec="white", mew=0.8, zorder=4)
        ends.append((name, x[-1], y[-1], colour, name in floors))
    return ends


def _dress(axes: Axes, levels: list[int | None], metric: Metric) -> None:
    place = _place(levels)
    axes.set_xticks([place[k] for k in levels], [shots_label(k) for k in levels])
    axes.set_xlabel("support events shown", color=_INK, fontsize=9.5, labelpad=6)
    better = {True: " (higher is better)", False: " (lower is better)", None: ""}[metric.higher_is_better]
    axes.set_ylabel(f"{_spoken(metric.name)}{better}", color=_INK, fontsize=9.5, labelpad=6)
    axes.grid(axis="y", color=_PALE, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, colors=_INK, labelleft=True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#BBBBBB")


def _limits(axes: Sequence[Axes], tables: Sequence[pl.DataFrame]) -> None:
    """One scale for all panels that holds every curve and the bands of the learners."""
    low, high = [], []
    for rows in tables:
        own = rows.filter(~pl.col("floor"))
        low += [*rows["mean"], *own["low"].drop_nulls()]
        high += [*rows["mean"], *own["high"].drop_nulls()]
    room = 0.06 * ((max(high) - min(low)) or abs(max(high)) or 1.0)
    for panel in axes:
        panel.set_ylim(min(low) - room, max(high) + room)


def _label(axes: Axes, ends: list[tuple[str, float, float, str, bool]]) -> None:
    """Writes each curve's name beside its end; names that would overlap are moved apart, tied by a line."""
    bottom, top = axes.get_ylim()
    right = max(x for _, x, _, _, _ in ends)
    step = (top - bottom) * min(0.052, 0.98 / len(ends))
    ends = sorted(ends, key=lambda end: end[2])
    spots = spread([y for _, _, y, _, _ in ends], step, bottom + step / 2, top - step / 2)
    width = axes.get_xlim()[1] - axes.get_xlim()[0]
    for (name, x, y, colour, floor), spot in zip(ends, spots, strict=True):
        text_x = right + 0.055 * width
        axes.plot(
            [x + 0.012 * width, text_x - 0.008 * width],
            [y, spot],
            color=colour,
            lw=0.6,
            alpha=0.7,
            clip_on=False,
            zorder=1,
        )
        axes.text(
            text_x,
            spot,
            _brief(name),
            color=colour,
            fontsize=8.5,
            va="center",
            fontweight="normal" if floor else "bold",
            clip_on=False,
        )
    axes.set_xlim(axes.get_xlim()[0], right + 0.02 * width)


def spread(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Places at least ``step`` apart, in the order of ``wanted`` (rising), near it and within low .. high.

    Overlapping neighbours are merged into blocks around their common mean, so that nothing moves further than
    it must. ``step`` times the number of places must fit.
    """
    blocks: list[tuple[float, int]] = []  # centre and size
    for y in wanted:
        centre, size = y, 1
        while True:
            half = step * (size - 1) / 2
            centre = min(max(centre, low + half), high - half)
            if not blocks or centre - half - step >= blocks[-1][0] + step * (blocks[-1][1] - 1) / 2 - 1e-12:
                break
            before, n = blocks.pop()
            centre, size = (before * n + centre * size) / (n + size), n + size
        blocks.append((centre, size))
    return [centre + step * (i - (size - 1) / 2) for centre, size in blocks for i in range(size)]


def _title(figure: Figure, title: str, caption: str) -> None:
    caption += (
        "\nBands: 95 % intervals of the mean over users. Grey, dashed: floors, the simple methods to beat."
    )
    figure.text(
        0.1 / figure.get_figwidth(), 0.985, title, fontsize=12.5, fontweight="bold", color=_INK, va="top"
    )
    figure.text(
        0.1 / figure.get_figwidth(), 0.012, caption, fontsize=7.2, color=_GREY, va="bottom", linespacing=1.4
    )


def _spoken(name: str) -> str:
    """A metric's name as a reader expects it: NDCG@20, MAE, hit rate@10."""
    base, *rest = re.split(r"(?=[@:])", name, maxsplit=1)
    words = base.split("-")
    return " ".join(w.upper() if w in _ACRONYMS else w for w in words) + "".join(rest).replace(
        ":", ", liked from "
    )


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    kind = path.suffix.lower().removeprefix(".")
    if kind not in _FORMATS:
        raise UserInputError(
            f"A plot is saved as {', '.join('.' + f for f in _FORMATS)}; found {path.name!r}."
        )
    # Without dates and random names, one comparison gives one file, byte for byte.
    metadata = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    import matplotlib

    with publish(path) as file, matplotlib.rc_context({"svg.hashsalt": "acclimate"}):
        figure.savefig(file, format=kind, metadata=metadata)
    return path
