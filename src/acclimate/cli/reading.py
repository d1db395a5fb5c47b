"""From what was typed to a dataset: the options of ``acclimate.read``, and what to type against an error."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acclimate.cli.options import pairs
from acclimate.cli.output import Output
from acclimate.errors import DataError, UnknownNameError, UserInputError

if TYPE_CHECKING:
    from acclimate.data import Dataset
    from acclimate.data.readers import ReadReport


def _option(flag: str, help_: str, metavar: str | None = None) -> Any:
    return typer.Option(flag, help=help_, metavar=metavar, rich_help_panel="How to read", show_default=False)


@dataclass(frozen=True)
class Reading:
    """How to read a table, as :func:`acclimate.read` takes it; None where nothing was typed."""

    items: Annotated[Path | None, _option("--items", "A table of items: titles, genres, ...", "FILE")] = None
    users: Annotated[Path | None, _option("--users", "A table of users.", "FILE")] = None
    columns: Annotated[
        str | None,
        _option(
            "--columns",
            "Columns that are not found by name: user=uid,item=sku,value=stars,time=when. 'time=' for none.",
            "ROLE=NAME,...",
        ),
    ] = None
    item_id: Annotated[str | None, _option("--item-id", "The id column of the items.", "NAME")] = None
    user_id: Annotated[str | None, _option("--user-id", "The id column of the users.", "NAME")] = None
    item_kinds: Annotated[
        str | None,
        _option(
            "--item-kinds",
            "Kinds of item columns: categorical, numeric, multi, text, time or none.",
            "NAME=KIND,...",
        ),
    ] = None
    user_kinds: Annotated[str | None, _option("--user-kinds", "Likewise for users.", "NAME=KIND,...")] = None
    explicit: Annotated[
        bool | None,
        _option("--explicit/--no-explicit", "Values are ratings, or strengths of implicit events."),
    ] = None
    duplicates: Annotated[
        str | None,
        _option("--duplicates", "Of several events of one user and item: last, first, mean, sum or error."),
    ] = None
    on_bad_rows: Annotated[
        str | None, _option("--on-bad-rows", "Rows that cannot be used: error or drop.")
    ] = None
    missing_value: Annotated[float | None, _option("--missing-value", "What an empty value means.")] = None
    event_values: Annotated[
        str | None,
        _option("--event-values", "Strength of each kind of event: view=1,buy=5.", "KIND=NUMBER,..."),
    ] = None
    ids: Annotated[str | None, _option("--ids", "'text' keeps ids as text even where all are numbers.")] = (
        None
    )
    time_unit: Annotated[
        str | None, _option("--time-unit", "Unit of times that are numbers: s, ms, us, ns.")
    ] = None
    time_format: Annotated[
        str | None, _option("--time-format", "How times are written: '%d.%m.%Y %H:%M'.")
    ] = None
    delimiter: Annotated[
        str | None, _option("--delimiter", "What parts the fields of a text file, or 'tab'.")
    ] = None
    header: Annotated[
        bool | None, _option("--header/--no-header", "Whether the first line of a text file names columns.")
    ] = None
    encoding: Annotated[str | None, _option("--encoding", "Of a text file; UTF-8 unless said.")] = None
    name: Annotated[str | None, _option("--name", "What reports call the data.")] = None

    def options(self) -> dict[str, Any]:
        """The keyword arguments of :func:`acclimate.read` that were typed.

        Raises:
            UserInputError: text that is no mapping where one is needed.
        """
        typed = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        given = {name: value for name, value in typed.items() if value is not None}
        if "columns" in given:
            given["columns"] = {
                role: name or None for role, name in pairs(given["columns"], "--columns").items()
            }
        for which in ("item_kinds", "user_kinds"):
            if which in given:
                kinds = pairs(given[which], _flag(which))
                given[which] = {name: None if kind in ("", "none") else kind for name, kind in kinds.items()}
        if "event_values" in given:
            given["event_values"] = _numbers(given["event_values"])
        if given.get("delimiter") in ("tab", "\\t"):
            given["delimiter"] = "\t"
        return given

    def place(self, source: str, out: Output) -> str | Path:
        """The file or folder that was named, or that of the public set of this name, got first if need be.

        Raises:
            UserInputError: nothing is called so.
            DownloadError: the public set cannot be had.
        """
        from acclimate.data import catalog

        if Path(source).exists():
            return source
        known = [one.name for one in catalog.available()]
        if source in known:
            return catalog.get(source, progress=out.progress, tell=out.say)
        if not Path(source).suffix and len(Path(source).parts) == 1:
            raise UnknownNameError("file or public data set", source, known)
        return source

    def dataset(self, source: str, out: Output) -> Dataset:
        """Reads a file or folder, or loads a public set by name.

        Raises:
            DataError: the table cannot be used; the message says what to type.
            UserInputError: options that make no sense, or nothing is called so.
        """
        from acclimate.data.readers import inspect as inspect_table

        inspection = inspect_table(self.place(source, out), **{"name": _name(source), **self.options()})
        for problem in inspection.report.problems:
            if problem.severity == "warning":
                out.say(f"Note: {problem}")
        if inspection.dataset is None or inspection.report.errors:
            raise DataError(explained(inspection.report))
        return inspection.dataset


def with_reading(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command every option of :class:`Reading`, which it takes as one argument ``how``."""
    shared = inspect.signature(Reading, eval_str=True).parameters
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "how"]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        how = Reading(**{name: given.pop(name) for name in shared})
        command(**given, how=how)

    parameters = [*own, *shared.values()]
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    vars(run)["__signature__"] = inspect.Signature(keyword, return_annotation=None)
    run.__annotations__ = {p.name: p.annotation for p in keyword}
    return run


def explained(report: ReadReport) -> str:
    """The errors of a report, with what to type against the first."""
    flags = as_typed(report.errors[0].arguments)
    return f"{report.message()}\nOn the command line: {flags}" if flags else report.message()


def as_typed(arguments: Mapping[str, Any]) -> str:
    """Keyword arguments of :func:`acclimate.read` as options of a command."""
    words = []
    for name, value in arguments.items():
        if isinstance(value, bool):
            words.append(_flag(name) if value else f"--no-{_flag(name)[2:]}")
            continue
        text = str(value)
        if isinstance(value, Mapping):
            text = ",".join(f"{key}={'' if one is None else one}" for key, one in value.items())
        words.append(f"{_flag(name)} {shlex.quote(text)}")
    return " ".join(words)


def _name(source: str) -> str | None:
    """Public sets keep their name wherever they lie; files are called as reading calls them."""
    return None if Path(source).exists() else source


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _numbers(text: str) -> dict[str, float]:
    try:
        return {name: float(value) for name, value in pairs(text, "--event-values").items()}
    except ValueError:
        raise UserInputError(f"--event-values takes numbers, such as view=1,buy=5; found {text!r}.") from None
