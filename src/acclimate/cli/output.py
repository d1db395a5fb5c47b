"""What commands print: results, remarks and complaints."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text
from typer.core import TyperGroup

from acclimate.errors import AcclimateError, UserInputError

# A message is one screen: twenty lines of eighty columns.
_LONGEST = 1500


@dataclass(frozen=True)
class Output:
    """Results on standard output, as text or as JSON and nothing else; remarks on standard error.

    Attributes:
        json: whether results are JSON. quiet: whether remarks and progress are left out.
    """

    json: bool = False
    quiet: bool = False

    @property
    def progress(self) -> bool | None:
        """What a run is told about its bar: never if quiet, else where somebody is looking."""
        return False if self.quiet else None

    def show(self, *parts: RenderableType) -> None:
        """A result for people."""
        if not self.json:
            console = Console(highlight=False)
            for part in parts:
                # What is to be copied, or is laid out already, says no_wrap.
                whole = isinstance(part, Text) and bool(part.no_wrap)
                console.print(part, markup=False, soft_wrap=whole)

    def give(self, value: Mapping[str, Any]) -> None:
        """The same result for programs."""
        if self.json:
            print(json.dumps(_plain(value), ensure_ascii=False, indent=2, allow_nan=False, default=str))

    def say(self, text: str) -> None:
        """A remark."""
        if not self.quiet:
            Console(stderr=True, highlight=False).print(Text(text, style="dim"))


class Commands(TyperGroup):
    """Turns what commands raise into one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            complain("Interrupted. Nothing was left half written.", title="")
            raise typer.Exit(130) from None
        except AcclimateError as error:
            if os.environ.get("ACCLIMATE_DEBUG"):
                raise
            complain(str(error))
            raise typer.Exit(2 if isinstance(error, UserInputError) else 1) from None


def complain(message: str, title: str = "Error: ") -> None:
    """One message on standard error, a screen at most."""
    if len(message) > _LONGEST:
        message = f"{message[: _LONGEST - 300]} … {message[-250:]}"
    sys.stdout.flush()
    Console(stderr=True, highlight=False).print(Text.assemble((title, "bold red"), message))


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for both."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
