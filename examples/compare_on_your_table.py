"""Is learning to adapt worth it on your data? A table, a verdict in words, and a plot.

    python examples/compare_on_your_table.py                          # on a synthetic world
    python examples/compare_on_your_table.py ratings.csv movies.csv   # on your own; the items are optional

Everything is fitted to the same users and judged on the same others, after 0, 1, 3, 5 and 10 of their events.
"""

import sys

import torch

import acclimate as ac
from acclimate.data import synthetic_world

torch.set_num_threads(1)  # tensors are small here: more threads only get in each other's way

if len(sys.argv) > 1:
    data = ac.read(sys.argv[1], items=sys.argv[2] if len(sys.argv) > 2 else None, report=print)
else:
    data = synthetic_world(300, 80, events=(12, 40), seed=1).dataset
print(data)

# Ratings have a ridge head on ratings, choices one on choices. The simple methods come along by themselves.
learners = [ac.ridge()] if data.explicit else [ac.implicit_ridge()]
comparison = ac.compare(learners, data, protocol="new-users", shots=(0, 1, 3, 5, 10))
print()
print(comparison)

# Every number of the table has its interval, and every user their own row.
print(comparison.summary().head(3))
print(comparison.frame.head(3))
