"""Vocabulary: the caller's ids, in the caller's own type, beside the rows that tensors speak."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from acclimate.errors import UserInputError


class Vocabulary:
    """A one-to-one map between ids of any scalar type and rows 0 .. n-1.

    Args:
        ids: [n] distinct ids; row k holds ``ids[k]``.

    Raises:
        UserInputError: ids repeat or are missing.
    """

    def __init__(self, ids: pl.Series) -> None:
        if ids.null_count():
            raise UserInputError(
                f"{ids.null_count()} of {len(ids)} ids are missing; drop or fill them first."
            )
        self.ids = ids.rename("id")
        if ids.n_unique() != len(ids):
            repeated = ids.filter(ids.is_duplicated())[0]
            raise UserInputError(f"Ids must be distinct; {repeated!r} occurs more than once.")

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} ids of type {self.ids.dtype})"

    @cached_property
    def _rows(self) -> pl.DataFrame:
        return pl.DataFrame({"id": self.ids, "row": np.arange(len(self.ids), dtype=np.int64)})

    def cast(self, ids: Iterable[Any], what: str = "id") -> pl.Series:
        """The given ids as a series of this vocabulary's type.

        Raises:
            UserInputError: an id is of another type (text where the ids are numbers, say).
        """
        dtype = self.ids.dtype
        listed = ids if isinstance(ids, pl.Series) else list(ids)
        try:
            given = pl.Series("id", listed)
        except (TypeError, pl.exceptions.PolarsError):
            raise UserInputError(
                f"Every {what} of one call must be of one type; found a mixture such as {listed[:3]!r}."
            ) from None
        if len(given) == 0 or given.dtype == dtype:
            return given.rename("id").cast(dtype)
        comparable = (given.dtype.is_integer() and dtype.is_integer()) or (
            given.dtype in (pl.String, pl.Categorical, pl.Enum)
            and dtype in (pl.String, pl.Categorical, pl.Enum)
        )
        if not comparable:
            raise UserInputError(
                f"The {what} {given[0]!r} is of type {given.dtype}, but this data has ids of type {dtype}, "
                f"such as {self.ids[0]!r}. Pass the ids in the type they came in."
            )
        # Out-of-range integers become null: unknown, not an error.
        return given.rename("id").cast(dtype, strict=False)

    def encode(self, ids: Iterable[Any], what: str = "id") -> Tensor:
        """Rows [len(ids)] int64 of the given ids; -1 for an id that is not here."""
        given = pl.DataFrame({"id": self.cast(ids, what)})
        joined = given.join(self._rows, on="id", how="left", maintain_order="left")
        return torch.from_numpy(joined["row"].fill_null(-1).to_numpy().copy())

    def encode_known(self, ids: Iterable[Any], what: str = "id") -> Tensor:
        """As :meth:`encode`, but an id that is not here is an error that names it."""
        given = self.cast(ids, what)
        rows = self.encode(given, what)
        if (rows < 0).any():
            missing = [given[int(i)] for i in (rows < 0).nonzero().flatten()]
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise UserInputError(
                f"Unknown {what} {missing[0]!r}{more}: not among the {len(self)} this data knows "
                f"(such as {', '.join(repr(i) for i in self.ids[:3])})."
            )
        return rows

    def parse(self, texts: Iterable[str], what: str = "id") -> list[Any]:
        """Ids typed as text (on a command line, in a URL) in this vocabulary's own type."""
        texts = list(texts)
        if self.ids.dtype == pl.String:
            return texts
        written = self.ids.cast(pl.String)
        if self.ids.dtype.is_integer():
            parsed = pl.Series(texts, dtype=pl.String).cast(self.ids.dtype, strict=False).to_list()
        else:  # dates and truth values, as they are shown
            known = dict(zip(written, self.ids, strict=True))
            parsed = [known.get(text) for text in texts]
        if None in parsed:
            raise UserInputError(
                f"The {what} {texts[parsed.index(None)]!r} cannot be read as {self.ids.dtype}; this data has "
                f"ids such as {written[0]}."
            )
        return parsed

    def decode(self, rows: Tensor) -> pl.Series:
        """The ids of the given rows, in the caller's own type."""
        return self.ids[rows.detach().cpu().numpy()]

    def select(self, rows: Tensor) -> Vocabulary:
        """The vocabulary of the chosen rows, renumbered in that order."""
        return Vocabulary(self.decode(rows))
