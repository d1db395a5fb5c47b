"""compare: fits learners beside the floors, judges all on the same users, and says where learning helps."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from acclimate.data import Dataset, Split
from acclimate.errors import AcclimateError, UserInputError
from acclimate.evaluation.candidates import Candidates
from acclimate.evaluation.evaluate import Report, Shots, applies, evaluate, refusal, shortfalls, shots_label
from acclimate.evaluation.metrics import Metric, as_metrics
from acclimate.evaluation.protocols import PROTOCOLS, Protocol
from acclimate.evaluation.protocols import protocol as protocol_named
from acclimate.evaluation.statistics import Array, Paired, holm, paired, per_user, summarise
from acclimate.learners.base import Learner, Run
from acclimate.models.base import Recommender
from acclimate.progress import track

Contestant = Learner | Recommender | str
"""A recipe to fit, something already fitted, or a name."""


@dataclass(frozen=True)
class Entry:
    """A row of the comparison.

    Attributes:
        name: unique in the comparison. floor: whether it is one of the simple methods that anything must
            beat.
        fit_seconds: mean over seeds; None for a recommender that came fitted.
        evaluate_seconds: mean over seeds of adapting, scoring and judging all tasks at all shots.
        error: why it has no numbers, or None.
    """

    name: str
    floor: bool
    fit_seconds: float | None = None
    evaluate_seconds: float | None = None
    error: str | None = None


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
        return self._paired(self._values(self._metric(metric)), a, b, shots)

    def tests(self, metric: str | None = None, *, alpha: float = 0.05) -> pl.DataFrame:
        """Every learner against the floor that is best at the same number of shots.

        The best floor is chosen on the test users themselves, which favours the floors. p-values are
        corrected by Holm's rule over all rows of the result.

        Returns:
            ``learner``, ``shots``, ``floor`` (the best), ``difference`` (learner minus floor), ``low``,
            ``high``, ``p``, ``p_holm``, ``n`` and ``verdict``: ``better``, ``level`` or ``worse``.
        """
        chosen = self._metric(metric)
        values = self._values(chosen)
        sign = 1 if chosen.higher_is_better else -1
        floors = [e.name for e in self.entries if e.floor]
        bars = {k: self._best(values, floors, k, sign) for k in self.shots}
        pairs = [
            (entry.name, k, bar, self._paired(values, entry.name, bar, k))
            for entry in self.entries
            for k, bar in bars.items()
            if bar is not None and not entry.floor and _has(values, entry.name, k)
        ]
        rows = []
        for (name, k, bar, test), p in zip(pairs, holm([test.p for *_, test in pairs]), strict=True):
            side = "better" if sign * test.difference > 0 else "worse"
            verdict = side if p < alpha else "level"
            rows.append(
                {"learner": name, "shots": k, "floor": bar, **vars(test), "p_holm": p, "verdict": verdict}
            )
        return pl.DataFrame(rows, schema=_TESTS).with_columns(pl.col(pl.Float64).fill_nan(None))

    def verdict(self, metric: str | None = None) -> str:
        """In sentences: who beats the best floor where, and where nobody does."""
        chosen = self._metric(metric)
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
                for verdict, words in (("better", "better"), ("level", "no different"), ("worse", "worse"))
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
                f"Learning to adapt does not help at {where} shots: there the best floor is as good."
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
        direction = "higher" if chosen.higher_is_better else "lower"
        title = f"{chosen.name} ({direction} is better) by support events shown"
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
        for k in self.shots:
            # Two places for marks keep the digits of a column under one another.
            table.add_column(f"{shots_label(k)}  ", justify="right", no_wrap=True)
        table.add_column("fit", justify="right", no_wrap=True, style="dim")
        cells = {
            (r["learner"], r["shots"]): r for r in self.summary().to_dicts() if r["metric"] == chosen.name
        }
        verdicts = {(r["learner"], r["shots"]): r["verdict"] for r in self.tests(chosen.name).to_dicts()}
        pick = max if chosen.higher_is_better else min
        tops = {
            k: pick(
                (c["mean"] for (_, s), c in cells.items() if s == k and c["mean"] is not None), default=None
            )
            for k in self.shots
        }
        entries = sorted(self.entries, key=lambda e: e.floor)
        for i, entry in enumerate(entries):
            if i and entry.floor and not entries[i - 1].floor:
                table.add_section()
            row = [Text(entry.name, style="dim" if entry.floor else "")]
            for k in self.shots:
                cell = cells.get((entry.name, k), {})
                mean, low, high = (cell.get(part) for part in ("mean", "low", "high"))
                half = None if low is None or high is None else (high - low) / 2
                mark = {"better": "+", "worse": "-"}.get(verdicts.get((entry.name, k), ""), " ")
                row.append(_cell(mean, half, mark=mark, best=mean == tops[k], entry=entry))
            row.append(Text(_seconds(entry)))
            table.add_row(*row)
        return table

    def legend(self) -> str:
        """What the table's marks mean, what was ranked for whom, and what to beware of."""
        seeds = f"{len(self.seeds)} seeds" if len(self.seeds) > 1 else f"seed {self.seeds[0]}"
        lines = [
            "* best of its column; + (-) significantly better (worse) than the best floor: paired t-test "
            "over users, Holm-corrected over the table, 5 %. Second lines: half a 95 % bootstrap interval.",
            f"{self.data_name}, {self.protocol}: {self.n_users:,} test users, {seeds}; "
            f"ranked: {self.candidates}; split {self.split_hashes[0][:12]}, data {self.data_hash[:12]}.",
        ]
        lines += [f"{e.name} failed: {e.error}" for e in self.entries if e.error]
        return "\n".join([*lines, *self.notes])

    def caption(self) -> str:
        """One line for a plot: whose numbers these are."""
        seeds = f"{len(self.seeds)} seeds" if len(self.seeds) > 1 else f"seed {self.seeds[0]}"
        return (
            f"{self.data_name}, {self.protocol}: {self.n_users:,} users, {self.candidates}, {seeds}, "
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

    def _metric(self, name: str | None) -> Metric:
        known = {m.name: m for m in self.metrics}
        if name is None:
            return self.metrics[0]
        if name not in known:
            raise UserInputError(f"{name!r} was not measured; this comparison has {', '.join(known)}.")
        return known[name]

    def _values(self, metric: Metric) -> dict[tuple[str, int | None], Array]:
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

    def _paired(
        self, values: Mapping[tuple[str, int | None], Array], a: str, b: str, shots: int | None
    ) -> Paired:
        for name in (a, b):
            if (name, shots) not in values:
                names = ", ".join(dict.fromkeys(learner for learner, _ in values))
                raise UserInputError(
                    f"There are no numbers of {name!r} at {shots_label(shots)} shots; there are of {names} "
                    f"at {_list(shots_label(k) for k in self.shots)} shots."
                )
        return paired(values[a, shots], values[b, shots], seed=self.seeds[0])

    def _best(
        self,
        values: Mapping[tuple[str, int | None], Array],
        names: Sequence[str],
        shots: int | None,
        sign: int,
    ) -> str | None:
        """The name with the best mean among those that have one."""
        means = {
            name: sign * float(np.nanmean(values[name, shots])) for name in names if _has(values, name, shots)
        }
        return max(means, key=means.__getitem__) if means else None


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


def compare(
    learners: Sequence[Contestant] | Mapping[str, Contestant],
    data: Dataset | Split,
    protocol: str | Protocol = "new-users",
    *,
    shots: Shots = None,
    metrics: Iterable[Metric | str] | None = None,
    candidates: Candidates | None = None,
    seeds: Sequence[int] = (0,),
    run: Run = Run(),  # noqa: B008
    floors: bool | Sequence[Learner] = True,
) -> Comparison:
    """Fits learners and floors on the same training data and judges them on the same held-out tasks.

    A learner that fails with an error of ours becomes a row that says why; the others go on.

    Args:
        learners: recipes, fitted recommenders or names; a mapping gives them names of your own. A fitted
            recommender is judged as it is: nobody can check what it was trained on.
        data: a dataset, split anew for each seed, or a ready split, the same for all seeds.
        protocol: how to split, what to show and what to measure; for a ready split only the latter two.
        shots: instead of the protocol's; (None,) shows the whole support. metrics: instead of its.
        candidates: instead of its.
        seeds: one split (of a dataset), fit and order of ties for each.
        run: the environment of the fits; its seed gives way to ``seeds``.
        floors: whether the simple methods stand in the table as well, or which.

    Raises:
        UserInputError: nothing to compare, a name nobody knows, or data that the protocol cannot split.
    """
    if not seeds:
        raise UserInputError("compare needs at least one seed, such as seeds=(0,).")
    train = data.train if isinstance(data, Split) else data
    chosen = _protocol(protocol, data, shots, metrics, candidates)
    measured = chosen.metrics_for(train)
    contestants = _contestants(learners, train, floors)
    ledger = {name: _Ledger() for name in contestants}
    notes: dict[str, None] = {}
    frames, split_hashes = [], []
    described = chosen.candidates.describe()
    with track("Comparing", len(contestants) * len(seeds), run.progress) as advance:
        for seed in seeds:
            split = data if isinstance(data, Split) else chosen.split(data, seed)
            split_hashes.append(split.test.hash())
            notes.update(dict.fromkeys(_warnings(split, chosen.name)))
            for name, (contestant, _) in contestants.items():
                advance(0, name)
                try:
                    report = _judge(
                        contestant,
                        name,
                        split=split,
                        protocol=chosen,
                        metrics=measured,
                        run=replace(run, seed=seed),
                        ledger=ledger[name],
                    )
                except AcclimateError as error:
                    ledger[name].error = str(error)
                else:
                    frames.append(_labelled(report, name, seed, measured))
                advance(1, name)
    failed = [name for name, book in ledger.items() if book.error]
    frame = _joined(frames, train, measured).filter(~pl.col("learner").is_in(failed))
    anybody = frame.filter(pl.col("learner") == frame["learner"][0]) if frame.height else frame
    return Comparison(
        frame=frame,
        entries=tuple(ledger[name].entry(name, floor) for name, (_, floor) in contestants.items()),
        metrics=measured,
        shots=chosen.shots,
        seeds=tuple(seeds),
        protocol=chosen.name,
        candidates=described,
        data_name=train.name,
        data_hash=train.hash(),
        split_hashes=tuple(split_hashes),
        notes=(*notes, *shortfalls(anybody)),
    )


class _Ledger:
    """What happened to one contestant so far."""

    def __init__(self) -> None:
        self.fits: list[float] = []
        self.evaluations: list[float] = []
        self.error: str | None = None

    def entry(self, name: str, floor: bool) -> Entry:
        fit = sum(self.fits) / len(self.fits) if self.fits else None
        judged = sum(self.evaluations) / len(self.evaluations) if self.evaluations else None
        return Entry(name, floor, fit, judged, self.error)


def _judge(
    contestant: Learner | Recommender,
    name: str,
    *,
    split: Split,
    protocol: Protocol,
    metrics: tuple[Metric, ...],
    run: Run,
    ledger: _Ledger,
) -> Report:
    if isinstance(contestant, Recommender):
        recommender = contestant
    else:
        start = time.perf_counter()
        recommender = contestant.fit(split.train, run=run)
        ledger.fits.append(time.perf_counter() - start)
    usable = [m for m in metrics if applies(m, recommender, split.test.dataset)]
    if not usable:
        raise UserInputError(refusal(metrics, name, recommender, split.test.dataset))
    report = evaluate(
        recommender,
        split.test,
        metrics=usable,
        candidates=protocol.candidates,
        shots=protocol.shots,
        seed=run.seed,
        name=name,
    )
    ledger.evaluations.append(report.seconds)
    return report


def _protocol(
    given: str | Protocol,
    data: Dataset | Split,
    shots: Shots,
    metrics: Iterable[Metric | str] | None,
    candidates: Candidates | None,
) -> Protocol:
    """The protocol with what the caller wants otherwise, and the name of a ready split."""
    if isinstance(given, str):
        # The splits themselves are cut for the shots, so that they must be known when the protocol is made.
        known = given if isinstance(data, Dataset) or data.name not in PROTOCOLS else data.name
        chosen = protocol_named(known, shots=shots, metrics=metrics, candidates=candidates)
    else:
        chosen = replace(
            given,
            shots=given.shots if shots is None else tuple(shots),
            metrics=given.metrics if metrics is None else as_metrics(metrics),
            candidates=candidates or given.candidates,
        )
    return replace(chosen, name=data.name) if isinstance(data, Split) else chosen


def _contestants(
    learners: Sequence[Contestant] | Mapping[str, Contestant],
    dataset: Dataset,
    floors: bool | Sequence[Learner],
) -> dict[str, tuple[Learner | Recommender, bool]]:
    """Everybody by a unique name, and whether it is a floor: those given, then the floors not among them."""
    # The floors are models of their own; whoever compares without them should not pay for importing all.
    bars: list[Learner]
    if floors is True:
        from acclimate.learners.names import floors as floors_for

        bars = list(floors_for(dataset))
    else:
        bars = list(floors or ())
    if isinstance(learners, str) or not isinstance(learners, Sequence | Mapping):
        raise UserInputError("compare takes a list of learners, such as compare([ac.ridge(), 'als'], data).")
    named = learners.items() if isinstance(learners, Mapping) else [(None, learner) for learner in learners]
    out: dict[str, tuple[Learner | Recommender, bool]] = {}
    for label, given in named:
        contestant, own = _resolve(given)
        out[_unique(label or own, out)] = (contestant, any(_same(contestant, bar) for bar in bars))
    for bar in bars:
        if not any(_same(contestant, bar) for contestant, _ in out.values()):
            out[_unique(bar.name, out, "floor")] = (bar, True)
    if not out:
        raise UserInputError("There is nothing to compare: give at least one learner, or leave floors on.")
    return out


def _resolve(given: Contestant) -> tuple[Learner | Recommender, str]:
    """The contestant and its own name."""
    if isinstance(given, str):
        from acclimate.learners.names import by_name

        learner = by_name(given)
        return learner, learner.name
    if isinstance(given, Recommender):
        return given, type(given).__name__
    if not callable(getattr(given, "fit", None)):
        raise UserInputError(
            "compare takes learners (with fit), recommenders (with adapt and score) or names; "
            f"found {given!r}."
        )
    return given, given.name


def _same(a: Learner | Recommender, b: Learner) -> bool:
    """Whether two recipes are the same; recipes are frozen dataclasses, fitted recommenders are never one."""
    return type(a) is type(b) and (a is b or bool(a == b))


def _unique(name: str, taken: Mapping[str, object], extra: str | None = None) -> str:
    if name not in taken:
        return name
    if extra and f"{name} ({extra})" not in taken:
        return f"{name} ({extra})"
    return next(f"{name} ({i})" for i in range(2, len(taken) + 3) if f"{name} ({i})" not in taken)


def _warnings(split: Split, protocol: str) -> Iterator[str]:
    tested = split.test.dataset.user_ids.decode(split.test.users)
    rows = split.train.user_ids.encode(tested)
    trained = (rows >= 0) & (split.train.interactions.counts()[rows.clamp(min=0)] > 0)
    n = int(trained.sum())
    if n:
        yield f"{n:,} of {len(rows):,} test users have other events in the training data ({protocol})."
    if len(split.test) < 30:
        yield f"With only {len(split.test)} test tasks, intervals and tests are rough."


def _labelled(report: Report, name: str, seed: int, metrics: tuple[Metric, ...]) -> pl.DataFrame:
    frame = report.frame
    absent = [pl.lit(None, pl.Float64).alias(m.name) for m in metrics if m.name not in frame.columns]
    frame = frame.with_columns(pl.lit(name).alias("learner"), pl.lit(seed, pl.Int64).alias("seed"), *absent)
    return frame.select(*_KEYS, *(m.name for m in metrics))


_KEYS = ("learner", "seed", "shots", "task", "user", "n_support", "n_query")


def _joined(frames: Sequence[pl.DataFrame], dataset: Dataset, metrics: tuple[Metric, ...]) -> pl.DataFrame:
    if frames:
        return pl.concat(frames)
    types = {
        key: pl.String if key == "learner" else dataset.user_ids.ids.dtype if key == "user" else pl.Int64
        for key in _KEYS
    }
    return pl.DataFrame(schema={**types, **{m.name: pl.Float64() for m in metrics}})


def _has(values: Mapping[tuple[str, int | None], Array], name: str, shots: int | None) -> bool:
    return (name, shots) in values and bool(np.isfinite(values[name, shots]).any())


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
        return "" if entry.error else "fitted"
    return f"{entry.fit_seconds:.1f}s" if entry.fit_seconds < 100 else f"{entry.fit_seconds:.0f}s"


def _list(words: Iterable[str]) -> str:
    """a, b and c."""
    *head, last = list(words) or [""]
    return f"{', '.join(head)} and {last}" if head else last
