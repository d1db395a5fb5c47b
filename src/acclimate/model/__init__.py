"""Models: a recommender with the vocabularies and the catalogue it speaks, in the caller's own ids."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from acclimate.model import file
from acclimate.model.align import Lost, acquainted
from acclimate.model.fitting import fit, version
from acclimate.model.model import Model
from acclimate.model.names import Names
from acclimate.model.provenance import Provenance


def load(path: str | Path, *, classes: Iterable[type] = ()) -> Model:
    """Reads a model file and checks its hash; nothing in it is executed.

    Args:
        classes: of your own recommenders that the file may hold, beyond acclimate's.

    Raises:
        ModelFileError: missing, damaged, foreign, newer, or holding a class that was not allowed.
    """
    return Model(*file.load(Path(path), classes))


__all__ = ["Lost", "Model", "Names", "Provenance", "acquainted", "fit", "load", "version"]
