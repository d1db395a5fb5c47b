"""``acclimate fit``: from a table to a model file."""

from __future__ import annotations

import inspect
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from acclimate.cli.options import Device, Json, Quiet, Seed, Source, literal, pair
from acclimate.cli.output import Output
from acclimate.cli.reading import Reading, with_reading
from acclimate.errors import UnknownNameError, UserInputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from acclimate.data import Dataset
    from acclimate.learners.base import Learner, Run


@with_reading
def fit(
    data: Source,
    how: Reading,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where the model goes.")] = Path(
        "model.acc"
    ),
    learner: Annotated[
        str | None,
        typer.Option(
            "--learner", "-l", metavar="NAME", help="Which recipe; default: a good one for the data."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A hyperparameter of the learner: epochs=5. Repeatable."
        ),
    ] = None,
    histories: Annotated[
        bool,
        typer.Option(
            "--histories/--no-histories", help="Whether the file holds the users: ids, fields and events."
        ),
    ] = True,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learns from a table of events and writes a model file."""
    from acclimate import persist

    screen = Output(json, quiet)
    persist.check_target(out)
    chosen, run = recipe(learner, settings), environment(seed, device, screen)
    dataset = how.dataset(data, screen)
    screen.say(f"Read {described(dataset)}.")

    from acclimate.model import fit as fit_model

    start = time.perf_counter()
    model = fit_model(dataset, chosen, run=run)
    seconds = time.perf_counter() - start
    digest = model.save(out, histories=histories)
    size = out.stat().st_size
    screen.give(
        {
            "model": str(out),
            "sha256": digest,
            "bytes": size,
            "seconds": round(seconds, 3),
            "learner": model.provenance.learner,
            "recipe": model.provenance.recipe,
            "data": model.provenance.data,
            "data_hash": model.provenance.data_hash,
            "events": model.provenance.n_events,
            "users": model.provenance.n_users,
            "items": model.provenance.n_items,
            "seed": seed,
            "histories": histories,
        }
    )
    screen.show(
        f"Saved {out} ({size / 1e6:.1f} MB, SHA-256 {digest[:12]}): {model.provenance.learner}, fitted in "
        f"{seconds:.1f} s to {described(dataset)}."
    )
    popular = dataset.interactions.item_counts().argmax().reshape(1)
    value = f"={dataset.value_range[1]:g}" if dataset.explicit else ""
    event = shlex.quote(model.names.labels(popular)[0] + value)
    screen.say(f"Try: acclimate recommend {shlex.quote(str(out))} --event {event}")


def recipe(name: str | None, settings: list[str] | None) -> Learner | None:
    """The learner of that name with the given hyperparameters; None for the default.

    Raises:
        UserInputError: settings without a name, or a hyperparameter that the learner does not have.
    """
    if name is None:
        if settings:
            raise UserInputError("--set gives hyperparameters of a learner; name it with --learner.")
        return None
    from acclimate.learners.names import NAMES, by_name

    learner = by_name(name)
    if not settings:
        return learner
    values = {key: literal(value) for key, value in (pair(text, "--set") for text in settings)}
    make = NAMES[name.strip().lower().replace("_", "-")]
    known = [parameter for parameter in inspect.signature(make).parameters if parameter != "name"]
    for key, value in values.items():
        if key not in known:
            raise UnknownNameError(f"setting of {learner.name}", key, known)
        _check_setting(learner.name, key, value, inspect.signature(make).parameters[key].default)
    # NAMES promises only to be callable with nothing; the signature has just said what else it takes.
    return cast("Callable[..., Learner]", make)(**values)


def described(dataset: Dataset) -> str:
    """``100,000 ratings of 943 users on 1,682 items (ml-100k)``."""
    what = "ratings" if dataset.explicit else "events"
    return (
        f"{len(dataset.interactions):,} {what} of {dataset.n_users:,} users on {dataset.n_items:,} items "
        f"({dataset.name})"
    )


def _check_setting(learner: str, key: str, value: object, default: object) -> None:
    """Refuses a word where the learner has a number, and the like."""
    fits = True
    if isinstance(default, bool):
        fits = isinstance(value, bool)
    elif isinstance(default, int):
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(default, float):
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    elif isinstance(default, tuple):
        fits = isinstance(value, tuple)
    if not fits:
        shown = ",".join(str(one) for one in default) if isinstance(default, tuple) else default
        raise UserInputError(
            f"--set {key}= of {learner} takes a value like its default, {shown}; found {value!r}."
        )


def environment(seed: int, device: str, screen: Output) -> Run:
    """The run that a command's options describe.

    Raises:
        UserInputError: there is no such device.
    """
    import torch

    from acclimate.learners.base import Run

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserInputError(f"--device {device} is not there: {reason}") from None
    return Run(seed=seed, device=device, progress=screen.progress)
