"""From fields and histories to vectors."""

from acclimate.encoders.fields import FieldRows, embed

__all__ = ["FieldRows", "embed"]
