"""From fields and histories to vectors."""

from acclimate.encoders.fields import FieldRows, embed
from acclimate.encoders.rows import RowEncoder
from acclimate.encoders.spectral import spectral_vectors

__all__ = ["FieldRows", "RowEncoder", "embed", "spectral_vectors"]
