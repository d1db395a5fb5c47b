"""The floors on MovieLens-1M, pinned to what an independent implementation reached on another draw."""

import json
from statistics import mean

import polars as pl
import pytest
import torch

from acclimate.data import Dataset, FeatureTable, Interactions, Vocabulary, four_states, user_tasks
from acclimate.evaluation import evaluate
from acclimate.learners.base import Run
from acclimate.learners.classical import ALS, EASE, IALS, Bias, Content, ItemKNN, Popularity

pytestmark = pytest.mark.data
SEEDS = (0, 1, 2)
SHOTS = (1, 3, 5, 10, 20)
RENAMED = {860: 811, 1795: 1741}


@pytest.fixture(scope="module")
def movielens(real_data):
    """The ratings, the users MeLU held out, and the items of 1998 and later."""
    folder = real_data / "ml-1m"
    ratings = pl.read_parquet(folder / "ratings.parquet").cast(pl.Int64)
    ratings = ratings.with_columns(pl.col("item_id").replace(RENAMED))
    items = pl.read_parquet(folder / "items.parquet").with_columns(pl.col("item_id", "year").cast(pl.Int64))
    items = items.filter(pl.col("item_id").is_in(ratings["item_id"].unique().to_list()))
    users = Vocabulary(pl.read_parquet(folder / "users.parquet")["user_id"].cast(pl.Int64))
    catalogue = Vocabulary(items["item_id"])
    interactions = Interactions.from_columns(
        users.encode_known(ratings["user_id"]),
        catalogue.encode_known(ratings["item_id"]),
        torch.from_numpy(ratings["rating"].to_numpy().copy()),
        torch.from_numpy(ratings["timestamp"].to_numpy().copy()),
        n_users=len(users),
        n_items=len(catalogue),
    )
    dataset = Dataset(
        interactions=interactions,
        users=FeatureTable.empty(len(users)),
        items=FeatureTable.from_frame(items.select("year", "genres"), {"year": "numeric", "genres": "multi"}),
        user_ids=users,
        item_ids=catalogue,
        explicit=True,
        value_range=(1.0, 5.0),
        name="ml-1m",
    )
    cold = json.loads((folder / "melu_split.json").read_text())["cold_users"]
    return (
        dataset,
        users.encode_known(cold),
        torch.from_numpy((items["year"] >= 1998).to_numpy()).nonzero().flatten(),
    )


@pytest.fixture(scope="module")
def states(movielens):
    return [four_states(*movielens, seed=seed) for seed in SEEDS]


def test_the_four_states_have_the_sizes_of_the_paper(states):
    train, tasks = states[0]
    assert len(train.interactions) == 640_448
    assert {name: len(t) for name, t in tasks.items()} == {"warm": 2653, "UC": 668, "IC": 2863, "UIC": 723}


@pytest.mark.parametrize(
    ("learner", "expected"),
    [
        (Bias(), {"UC": 0.730, "IC": 0.885, "UIC": 0.877}),
        (ALS(), {"UC": 0.695, "IC": 0.888, "UIC": 0.881}),
        (Content(), {"UC": 0.793, "IC": 0.883, "UIC": 0.874}),  # ours: no other implementation to pin it to
        (ItemKNN(), {"UC": 0.700, "IC": 0.892, "UIC": 0.880}),  # ours
        (EASE(), {"UC": 0.719, "IC": 0.892, "UIC": 0.880}),  # ours
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_rating_errors_of_new_users_and_new_items(states, learner, expected):
    recommender = learner.fit(states[0][0], run=Run(progress=False))
    for state, error in expected.items():
        found = mean(
            evaluate(recommender, tasks[state], metrics=["mae"]).frame["mae"].mean() for _, tasks in states
        )
        assert found == pytest.approx(error, abs=0.01)


@pytest.fixture(scope="module")
def choices(movielens):
    dataset, cold, _ = movielens
    warm = torch.ones(dataset.n_users, dtype=torch.bool)
    warm[cold] = False
    held = dataset.implicit().select_users(cold)
    tasks = [
        user_tasks(
            held,
            torch.arange(len(cold)),
            query=10,
            max_support=20,
            min_events=11,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in SEEDS
    ]
    return dataset.implicit().select_users(warm.nonzero().flatten()), tasks


@pytest.mark.parametrize(
    ("learner", "expected"),
    [
        (Popularity(), (0.0737, 0.0745, 0.0755, 0.0764, 0.0683)),
        (ItemKNN(), (0.0610, 0.0811, 0.0902, 0.1108, 0.1170)),
        (EASE(), (0.0592, 0.0852, 0.1022, 0.1295, 0.1327)),
        (IALS(), (0.0634, 0.0930, 0.1109, 0.1386, 0.1355)),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_rankings_of_the_whole_catalogue_after_a_few_choices(choices, learner, expected):
    train, draws = choices
    recommender = learner.fit(train, run=Run(progress=False))
    for k, value in zip(SHOTS, expected, strict=True):
        found = []
        for tasks in draws:
            able = tasks.select((tasks.support_sizes() >= k).nonzero().flatten())
            found.append(evaluate(recommender, able, metrics=["ndcg@20"], shots=(k,)).frame["ndcg@20"].mean())
        assert mean(found) == pytest.approx(value, rel=0.05)
