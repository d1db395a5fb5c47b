"""Runs a comparison: fits learners beside the floors and judges all on the same users."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from acclimate.compare.comparison import Comparison
from acclimate.compare.entry import Entry
from acclimate.data import Dataset, Split
from acclimate.errors import AcclimateError, UserInputError
from acclimate.evaluation.candidates import Candidates
from acclimate.evaluation.evaluate import (
    Report,
    Shots,
    applies,
    evaluate,
    refusal,
    shortfalls,
    support_sizes,
)
from acclimate.evaluation.metrics import Metric, as_metrics
from acclimate.evaluation.protocols import PROTOCOLS, Protocol
from acclimate.evaluation.protocols import protocol as protocol_named
from acclimate.learners.base import Learner, Run
from acclimate.models.base import Recommender
from acclimate.progress import track

Contestant = Learner | Recommender | str
"""A recipe to fit, something already fitted, or a name."""

_KEYS = ("learner", "seed", "shots", "task", "user", "n_support", "n_query")


def compare(
    learners: Sequence[Contestant] | Mapping[str, Contestant],
    data: Dataset | Split,
    protocol: str | Protocol | None = None,
    *,
    shots: Shots = None,
    metrics: Iterable[Metric | str] | None = None,
    candidates: Candidates | None = None,
    seeds: Sequence[int] = (0,),
    run: Run = Run(),
    floors: bool | Sequence[Learner] = True,
) -> Comparison:
    """Fits learners and floors on the same training data and judges them on the same held-out tasks.

    A learner that fails with an error of ours becomes a row that says why; the others go on.

    Args:
        learners: recipes, fitted recommenders or names; a mapping gives them names of your own. A fitted
            recommender is judged as it is: nobody can check what it was trained on.
        data: a dataset, split anew for each seed, or a ready split, the same for all seeds.
        protocol: how to split, what to show and what to measure, for a ready split only the latter two;
            default new users, or what a ready split is called.
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
    contestants = _contestants(learners, train, floors, ranking=measured[0].needs == "ranking")
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
                if ledger[name].error is None:  # the numbers of some seeds alone would not compare
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
    failed = [name for name, book in ledger.items() if book.error is not None]
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
    given: str | Protocol | None,
    data: Dataset | Split,
    shots: Shots,
    metrics: Iterable[Metric | str] | None,
    candidates: Candidates | None,
) -> Protocol:
    """The protocol with what the caller wants otherwise, and the name of a ready split."""
    if given is None:
        given = data.name if isinstance(data, Split) and data.name in PROTOCOLS else "new-users"
    if isinstance(given, str):
        # The splits themselves are cut for the shots, so that they must be known when the protocol is made.
        chosen = protocol_named(given, shots=shots, metrics=metrics, candidates=candidates)
    else:
        chosen = replace(
            given,
            shots=given.shots if shots is None else support_sizes(shots),
            metrics=given.metrics if metrics is None else as_metrics(metrics),
            candidates=candidates or given.candidates,
        )
    return replace(chosen, name=data.name) if isinstance(data, Split) else chosen


def _contestants(
    learners: Sequence[Contestant] | Mapping[str, Contestant],
    dataset: Dataset,
    floors: bool | Sequence[Learner],
    *,
    ranking: bool,
) -> dict[str, tuple[Learner | Recommender, bool]]:
    """Everybody by a unique name, and whether it is a floor: those given, then the floors not among them."""
    # The floors are models of their own: whoever compares without them should not pay for importing all.
    bars: list[Learner]
    if floors is True:
        from acclimate.learners.names import floors as floors_for

        bars = list(floors_for(dataset, ranking=ranking))
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


def _joined(frames: Sequence[pl.DataFrame], dataset: Dataset, metrics: tuple[Metric, ...]) -> pl.DataFrame:
    if frames:
        return pl.concat(frames)
    types = {
        key: pl.String if key == "learner" else dataset.user_ids.ids.dtype if key == "user" else pl.Int64
        for key in _KEYS
    }
    return pl.DataFrame(schema={**types, **{m.name: pl.Float64() for m in metrics}})
