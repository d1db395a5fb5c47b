"""Write a recommender of your own, hold it to the laws, and see what it is worth.

    python examples/own_recommender.py

It predicts a rating as the mean of the item plus how much the user likes its genre: a user has one number for
each genre, the mean of their ratings above the items' means, pulled to 0 by ``damping`` imaginary ratings.
"""

import sys
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

import acclimate as ac
from acclimate.data import Dataset, Feedback, Items, synthetic_world
from acclimate.learners import Run
from acclimate.models import Recommender, Scale
from acclimate.tensors import State
from acclimate.testing import RecommenderLaws

torch.set_num_threads(1)


@dataclass(frozen=True, eq=False)
class GenreTaste:
    """``r(u, i) = mean_i + taste_u[genre_i]``.

    Attributes:
        means: [n_items + 1] mean rating of each item; the last entry, for unknown items, of all.
        n_genres: codes that a genre can have, 0 (unknown) included.
        damping: imaginary ratings that pull a taste to 0.
    """

    means: Tensor
    n_genres: int
    damping: float
    scale: ClassVar[Scale] = "rating"

    def adapt(self, support: Feedback) -> State:
        # Whatever stands in masked entries must not matter, not even NaN: select, never multiply.
        above = torch.where(support.mask, support.values - self.means[support.items.ids], 0.0)
        genre = torch.where(support.mask, support.items.fields["genre"], 0)
        zeros = above.new_zeros(support.n_users, self.n_genres)
        total = zeros.scatter_add(1, genre, above)
        count = zeros.scatter_add(1, genre, support.mask.float())
        return {"taste": total / (count + self.damping)}  # [B, n_genres]

    def score(self, state: State, items: Items) -> Tensor:
        genre = items.fields["genre"].expand(len(state["taste"]), -1)  # [B, N]
        return self.means[items.ids] + state["taste"].gather(1, genre)


@dataclass(frozen=True)
class GenreTasteLearner:
    """The recipe: its fields are the hyperparameters."""

    damping: float = 3.0
    name: str = "genre taste"

    def fit(self, dataset: Dataset, *, start: Recommender | None = None, run: Run = Run()) -> GenreTaste:
        inter = dataset.interactions
        mean = inter.values.mean()
        total = torch.zeros(inter.n_items).index_add(0, inter.items, inter.values - mean)
        means = mean + total / (inter.item_counts() + self.damping)
        genre = next(field for field in dataset.items.schema if field.name == "genre")
        return GenreTaste(torch.cat([means, mean[None]]), len(genre.values) + 1, self.damping)


class TestGenreTaste(RecommenderLaws):
    """This is all it takes; in a project of your own it stands in a test file."""

    classes: ClassVar[dict[str, type]] = {"GenreTaste": GenreTaste}  # its file may hold this class

    def make(self, world):
        return GenreTasteLearner().fit(world.dataset)


if __name__ == "__main__":
    print("1. The laws")
    if pytest.main([__file__, "-q", "-p", "no:cacheprovider"]) != 0:
        sys.exit("The recommender breaks a law.")

    print("\n2. What it is worth, beside the floors and the ridge (a genre alone does not say much here)")
    data = synthetic_world(300, 80, events=(12, 40), seed=1).dataset
    print(ac.compare([GenreTasteLearner(), ac.ridge()], data, shots=(0, 1, 3, 5, 10)))

    print("3. It answers in your ids like any other")
    model = ac.fit(data, GenreTasteLearner())
    genres = data.items.to_frame()["genre"]
    horror = data.item_ids.ids.filter(genres == "horror")
    events = [(horror[0], 5), (horror[1], 4.5)]
    top = model.recommend(events=events, items=horror, k=3)
    print(top)
    print(model.explain(events=events, item=top["item_id"][0]))
