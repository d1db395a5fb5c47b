"""From fields and histories to vectors."""

from acclimate.encoders.fields import FieldRows, embed
from acclimate.encoders.rows import RowEncoder

__all__ = ["FieldRows", "RowEncoder", "embed"]
