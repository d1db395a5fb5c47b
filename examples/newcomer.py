"""Somebody new: how the list and the confidence change event by event, and why.

    python examples/newcomer.py

The world is synthetic, so the truth is known: below each list stands how much the person really likes it.
"""

import torch

import acclimate as ac
from acclimate.data import synthetic_world

torch.set_num_threads(1)
world = synthetic_world(600, 150, events=(10, 60), seed=8)

# The last user is the newcomer: not in the training data, only their events are used, one after the other.
newcomer = 599
data = world.dataset.select_users(torch.arange(newcomer))
model = ac.fit(data, ac.ridge(embedding_size=8))
print(model)

inter = world.dataset.interactions
own = inter.events_of(torch.tensor([newcomer]))[:6]
events = list(zip(data.item_ids.decode(inter.items[own]), inter.values[own].tolist(), strict=True))
truth = dict(zip(data.item_ids.ids, world.truth[newcomer].tolist(), strict=True))
genre = dict(zip(data.item_ids.ids, data.items.to_frame()["genre"], strict=True))
unseen = [item for item in truth if item not in dict(events)]
possible = sum(sorted((truth[item] for item in unseen), reverse=True)[:5]) / 5
print(f"\nThe mean true rating is {sum(truth.values()) / len(truth):.2f}; a perfect list has {possible:.2f}.")

before: set[str] = set()
for n in range(len(events) + 1):
    if n == 0:
        print("\nBefore the first event: what is known of everybody")
    else:
        item, value = events[n - 1]
        print(f"\nEvent {n}: {item} ({genre[item]}) gets {value:g}")
    # Candidates are the films that none of the six events is about, so that the lists can be compared.
    top = model.recommend(events=events[:n], items=unseen, k=5)
    liked = sum(truth[item] for item in top["item_id"]) / 5
    shown = [f"{'+' if n and item not in before else ' '}{item} {genre[item]}" for item in top["item_id"]]
    print(f"   {'  '.join(shown)}")
    print(f"   true mean {liked:.2f}, unsure by ±{top['deviation'].mean():.2f}")
    before = set(top["item_id"])

best = top["item_id"][0]
print(f"\nWhy {best} ({genre[best]}) comes first: the score is the sum of these.")
print(model.explain(events=events, item=best).select("part", "item_id", "value", "contribution"))
