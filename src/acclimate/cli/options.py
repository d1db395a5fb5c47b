"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from acclimate.errors import UserInputError

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No remarks and no progress.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of every random draw: one seed, one result.")]
Device = Annotated[str, typer.Option("--device", help="Where to train: cpu, cuda, cuda:1, mps.")]

Source = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A CSV, Parquet or Arrow file, a folder in a known layout, or the name of a public set.",
        show_default=False,
    ),
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file.", show_default=False)]
Event = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        "-e",
        metavar="ITEM[=VALUE]",
        help="What a newcomer did, by id or title: 'Heat=5'. Repeatable, in order.",
    ),
]
Field = Annotated[
    list[str] | None,
    typer.Option("--field", metavar="NAME=VALUE", help="What is known about a newcomer: age=30. Repeatable."),
]
Unknown = Annotated[
    bool, typer.Option("--allow-unknown", help="Treat unknown users as newcomers of whom nothing is known.")
]


def pairs(text: str, option: str) -> dict[str, str]:
    """``a=1,b=2`` as a mapping.

    Raises:
        UserInputError: a part without an equals sign, or a name that repeats.
    """
    out: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise UserInputError(
                f"{option} takes name=value, separated by commas; found {part!r} in {text!r}."
            )
        if name.strip() in out:
            raise UserInputError(f"{option} names {name.strip()!r} twice.")
        out[name.strip()] = value.strip()
    return out


def pair(text: str, option: str) -> tuple[str, str]:
    """``a=1`` as a pair."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UserInputError(f"{option} takes name=value; found {text!r}.")
    return name.strip(), value.strip()


def literal(text: str) -> Any:
    """A number, true, false, none, several of them separated by commas, or else the text itself."""
    if "," in text:
        return tuple(literal(part) for part in text.split(","))
    plain = text.strip()
    if plain.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[plain.lower()]
    for kind in (int, float):
        try:
            return kind(plain)
        except ValueError:
            continue
    return plain


def whole_numbers(text: str, option: str, *, none: str | None = None) -> tuple[int | None, ...]:
    """``0,1,5`` as numbers; the word ``none`` stands for None.

    Raises:
        UserInputError: a part is no whole number from 0 on.
    """
    out: list[int | None] = []
    for part in text.split(","):
        if none is not None and part.strip().lower() == none:
            out.append(None)
        elif part.strip().isdecimal():
            out.append(int(part))
        else:
            also = f" or {none!r}" if none else ""
            raise UserInputError(
                f"{option} takes whole numbers{also}, separated by commas; found {part!r} in {text!r}."
            )
    return tuple(out)
