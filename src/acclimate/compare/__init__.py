"""compare: fits learners beside the floors, judges all on the same users, and says where learning helps."""

from acclimate.compare.comparison import Comparison
from acclimate.compare.entry import Entry
from acclimate.compare.running import Contestant, compare

__all__ = ["Comparison", "Contestant", "Entry", "compare"]
