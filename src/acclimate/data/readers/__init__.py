"""Reading interactions, items and users from whatever form they are in.

A new file layout goes into ``layouts/`` (see there), a new column name into ``columns.py``, a rule of
cleaning into ``cleaning.py``. The rest is how they are put together: ``sources`` and ``delimited`` turn files
and frames into a ``Table``, ``pipeline`` turns tables into a Dataset.
"""

from acclimate.data.readers.pipeline import Inspection, ReadOptions, inspect, read
from acclimate.data.readers.report import Problem, ReadReport

__all__ = ["Inspection", "Problem", "ReadOptions", "ReadReport", "inspect", "read"]
