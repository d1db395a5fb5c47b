"""The record of a comparison: everybody's numbers on the same users, and what they allow to say."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from acclimate.compare.entry import Entry
from acclimate.compare.table import Key, draw
from acclimate.errors import UserInputError
from acclimate.evaluation.evaluate import shots_label
from acclimate.evaluation.metrics import Metric
from acclimate.evaluation.statistics import Array, Paired, holm, paired, paired_columns, per_user, summarise


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everybody's numbers on the same users, and what they allow to say.

    Attributes:
        frame: a row for each learner, seed, number of shots and task: ``learner``, ``seed``, ``shots``,
            ``task``, ``user``, ``n_support``, ``n_query``, and a column for each metric, null where it does
            not apply.
        entries: what was compared, in order; also what failed.
        metrics: what was measured, the main one first. shots: support events shown; None for all.
        seeds: of splits, fits and ties. protocol: its name. candidates: which items were ranked, in words.
        data_name: what the data is called. data_hash: of the dataset, or of the training part of a ready
            split.
        split_hashes: of the test tasks, one for each seed.
        notes: what a reader should know before believing the numbers.
    """

    frame: pl.DataFrame
    entries: tuple[Entry, ...]
    metrics: tuple[Metric, ...]
    shots: tuple[int | None, ...]
    seeds: tuple[int, ...]
    protocol: str
    candidates: str
    data_name: str
    data_hash: str
    split_hashes: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def n_users(self) -> int:
        """Distinct test users over all seeds."""
        return self.frame["user"].n_unique()

    def summary(self, *, level: float = 0.95, resamples: int = 1000) -> pl.DataFrame:
        """Means over users with bootstrap intervals.

        A user who is judged under several seeds counts once, with the mean over them.

        Returns:
            The columns ``learner``, ``floor``, ``shots``, ``metric``, ``mean``, ``low``, ``high`` and ``n``.
        """
        names = [m.name for m in self.metrics]
        if self.frame.height == 0:
            return pl.DataFrame(schema=_SUMMARY)
        means = summarise(
            self.frame, ["learner", "shots"], names, level=level, resamples=resamples, seed=self.seeds[0]
        )
        floors = [e.name for e in self.entries if e.floor]
        return means.with_columns(floor=pl.col("learner").is_in(floors)).select(list(_SUMMARY))

    def paired(self, a: str, b: str, *, shots: int | None, metric: str | None = None) -> Paired:
        """How much more learner ``a`` gives the same users than ``b``, with interval and p-value.

        Args:
            shots: one of the comparison's. metric: default the main one.

        Raises:
            UserInputError: there are no numbers under that name, or not at that number of shots.
        """
        values = self._values(self._metric(metric))
        for name in (a, b):
            if (name, shots) not in values:
                names = ", ".join(dict.fromkeys(learner for learner, _ in values))
                raise UserInputError(
                    f"There are no numbers of {name!r} at {shots_label(shots)} shots; there are of {names} "
                    f"at {_list(shots_label(k) for k in self.shots)} shots."
                )
        return paired(values[a, shots], values[b, shots], seed=self.seeds[0])

    def tests(self, metric: str | None = None, *, alpha: float = 0.05) -> pl.DataFrame:
        """Every learner against the floor that is best at the same number of shots.

        The best floor is chosen on the test users themselves, which favours the floors. p-values are
        corrected by Holm's rule over all rows of the result. There are none for a metric of which neither
        more nor less is better.

        Returns:
            ``learner``, ``shots``, ``floor`` (the best), ``difference`` (learner minus floor), ``low``,
            ``high``, ``p``, ``p_holm``, ``n`` and ``verdict``: ``better``, ``level`` or ``worse``.
        """
        chosen = self._metric(metric)
        values = self._values(chosen)
        sign = 1 if chosen.higher_is_better else -1
        floors = [e.name for e in self.entries if e.floor]
        bars = {k: _best(values, floors, k, sign) for k in self.shots}
        pairs = [
            (entry.name, k, bar)
            for entry in self.entries
            for k, bar in bars.items()
            if bar is not None and not entry.floor and _has(values, entry.name, k)
        ]
        rows = []
        if pairs and chosen.higher_is_better is not None:
            own = np.stack([values[name, k] for name, k, _ in pairs], 1)
            best = np.stack([values[bar, k] for _, k, bar in pairs], 1)
            found = paired_columns(own, best, seed=self.seeds[0])
            for (name, k, bar), test, p in zip(pairs, found, holm([t.p for t in found]), strict=True):
                side = "better" if sign * test.difference > 0 else "worse"
                verdict = side if p < alpha else "level"
                rows.append(
                    {"learner": name, "shots": k, "floor": bar, **vars(test), "p_holm": p, "verdict": verdict}
                )
        return pl.DataFrame(rows, schema=_TESTS).with_columns(pl.col(pl.Float64).fill_nan(None))

    def verdict(self, metric: str | None = None) -> str:
        """In sentences: who beats the best floor where, and where nobody does."""
        chosen = self._metric(metric)
        if chosen.higher_is_better is None:
            return f"Neither more nor less of {chosen.name} is better, so nobody is tested by it."
        if not any(e.floor for e in self.entries):
            return "No floor was compared, so nothing here says whether the learners are worth their trouble."
        rows = self.tests(chosen.name).to_dicts()
        if not rows:
            return f"No learner besides the floors has a number in {chosen.name}."
        lines = []
        for entry in self.entries:
            mine = [row for row in rows if row["learner"] == entry.name]
            parts = [
                f"{words} at {_list(shots_label(row['shots']) for row in mine if row['verdict'] == verdict)}"
                for verdict, words in (
                    ("better", "better"),
                    ("level", "no clear difference"),
                    ("worse", "worse"),
                )
                if any(row["verdict"] == verdict for row in mine)
            ]
            if parts:
                lines.append(f"{entry.name} against the best floor: {'; '.join(parts)} shots.")
        idle = [k for k in self.shots if not any(r["shots"] == k and r["verdict"] == "better" for r in rows)]
        use = {shots_label(r["shots"]): str(r["floor"]) for r in rows if r["shots"] in idle}
        if len(idle) == len(self.shots):
            lines.append(
                "Learning to adapt does not help here: at no number of shots is any learner significantly "
                f"better in {chosen.name} than the best floor ({_list(dict.fromkeys(use.values()))})."
            )
        elif idle:
            where = _list(f"{k} ({floor})" for k, floor in use.items())
            lines.append(
                f"Learning to adapt does not help at {where} shots: there no learner is significantly better "
                "than the best floor."
            )
        else:
            lines.append("Learning to adapt helps at every number of shots.")
        return "\n".join(lines)

    def table(self, metric: str | None = None) -> Table:
        """Learners by shots: means, half widths of their 95 % intervals, the best, and who beats the floors.

        Args:
            metric: default the main one.
        """
        chosen = self._metric(metric)
        means = {
            (r["learner"], r["shots"]): r for r in self.summary().to_dicts() if r["metric"] == chosen.name
        }
        verdicts = {(r["learner"], r["shots"]): r["verdict"] for r in self.tests(chosen.name).to_dicts()}
        return draw(chosen, self.shots, self.entries, means, verdicts)

    def legend(self) -> str:
        """What the table's marks mean, what was ranked for whom, and what to beware of."""
        lines = [
            "* best of its column; + (-) significantly better (worse) than the best floor: paired t-test "
            "over users, Holm-corrected over the table, 5 %. Second lines: half a 95 % bootstrap interval.",
            f"{self.data_name}, {self.protocol}: {self.n_users:,} test users, {self._seeds()}; "
            f"ranked: {self.candidates}; split {self.split_hashes[0][:12]}, data {self.data_hash[:12]}.",
        ]
        lines += [f"{e.name} failed: {e.error}" for e in self.entries if e.error]
        return "\n".join([*lines, *self.notes])

    def caption(self) -> str:
        """One line for a plot: whose numbers these are."""
        return (
            f"{self.data_name}, {self.protocol}: {self.n_users:,} users, {self.candidates}, {self._seeds()}, "
            f"split {self.split_hashes[0][:8]}"
        )

    def text(self, metric: str | None = None, *, width: int = 80) -> str:
        """The table, the verdict and the legend as plain text."""
        console = Console(
            file=io.StringIO(), width=width, no_color=True, force_terminal=False, highlight=False
        )
        with console.capture() as captured:
            console.print(*self._parts(metric), sep="\n", markup=False)
        return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n") + "\n"

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        names = ", ".join(e.name for e in self.entries)
        return f"Comparison({names} on {self.n_users:,} users of {self.data_name}, {self.protocol})"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._parts(None)

    def to_dict(self) -> dict[str, object]:
        """Everything but the rows of single users, ready for JSON."""
        return {
            "protocol": self.protocol,
            "data": {"name": self.data_name, "hash": self.data_hash},
            "split_hashes": list(self.split_hashes),
            "candidates": self.candidates,
            "seeds": list(self.seeds),
            "shots": list(self.shots),
            "metrics": [m.name for m in self.metrics],
            "n_users": self.n_users,
            "learners": [vars(e) for e in self.entries],
            "results": self.summary().to_dicts(),
            "tests": {m.name: self.tests(m.name).to_dicts() for m in self.metrics},
            "verdict": self.verdict(),
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def _parts(self, metric: str | None) -> Iterator[Table | Text]:
        yield self.table(metric)
        yield Text(f"\n{self.verdict(metric)}")
        yield Text(f"\n{self.legend()}", style="dim")

    def _seeds(self) -> str:
        return f"{len(self.seeds)} seeds" if len(self.seeds) > 1 else f"seed {self.seeds[0]}"

    def _metric(self, name: str | None) -> Metric:
        known = {m.name: m for m in self.metrics}
        if name is None:
            return self.metrics[0]
        if name not in known:
            raise UserInputError(f"{name!r} was not measured; this comparison has {', '.join(known)}.")
        return known[name]

    def _values(self, metric: Metric) -> dict[Key, Array]:
        """[n_users] values of each learner at each number of shots, users in one order, NaN where absent."""
        rows = per_user(self.frame, ["learner", "shots"], [metric.name])
        users = rows["user"].unique(maintain_order=True)
        code = pl.DataFrame({"user": users, "_row": np.arange(len(users))})
        rows = rows.join(code, on="user", how="left")
        out = {}
        for key, group in rows.group_by(["learner", "shots"], maintain_order=True):
            column = np.full(len(users), np.nan)
            column[group["_row"].to_numpy()] = group[metric.name].fill_null(float("nan")).to_numpy()
            name, k = key
            out[str(name), k if isinstance(k, int) else None] = column
        return out


_SUMMARY = {
    "learner": pl.String,
    "floor": pl.Boolean,
    "shots": pl.Int64,
    "metric": pl.String,
    "mean": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
}
_TESTS = {
    "learner": pl.String,
    "shots": pl.Int64,
    "floor": pl.String,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "p_holm": pl.Float64,
    "n": pl.Int64,
    "verdict": pl.String,
}


def _best(values: Mapping[Key, Array], names: Sequence[str], shots: int | None, sign: int) -> str | None:
    """The name with the best mean among those that have one."""
    means = {
        name: sign * float(np.nanmean(values[name, shots])) for name in names if _has(values, name, shots)
    }
    return max(means, key=means.__getitem__) if means else None


def _has(values: Mapping[Key, Array], name: str, shots: int | None) -> bool:
    return (name, shots) in values and bool(np.isfinite(values[name, shots]).any())


def _list(words: Iterable[str]) -> str:
    """a, b and c."""
    *head, last = list(words) or [""]
    return f"{', '.join(head)} and {last}" if head else last
