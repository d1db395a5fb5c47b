import datetime as dt
import random
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.data import Dataset, FeatureTable, Feedback, Interactions, Items, Vocabulary, synthetic_world
from acclimate.errors import ModelFileError, UnknownNameError, UserInputError
from acclimate.model import Model, Provenance, load
from acclimate.model.model import best
from acclimate.model.names import simplified
from acclimate.models import ItemKNN, Popularity
from acclimate.tensors import masked_sum


@dataclass(frozen=True, eq=False)
class Table:
    """Scores from a table: score(u, i) = base[i] + sum over the support of value * pull[item, i].

    Time adds its last digit, the field ``age`` (standardised) its value, an unknown item ``genre`` code /
    100.
    """

    base: torch.Tensor
    pull: torch.Tensor
    scale: ClassVar[str] = "rating"

    def adapt(self, support: Feedback) -> dict[str, torch.Tensor]:
        known = support.mask & (support.items.ids >= 0)
        rows = self.pull[torch.where(known, support.items.ids, 0)]  # [B, S, n]
        values = torch.where(known, support.values, 0.0)
        total = (values[..., None] * rows).sum(1)
        if support.times is not None:
            total = total + masked_sum((support.times % 10).float(), support.mask, 1)[:, None]
        if "age" in support.user:
            total = total + torch.nan_to_num(support.user["age"])[:, None]
        if "genre" in support.items.fields:
            strange = support.mask & (support.items.ids < 0)
            codes = support.items.fields["genre"].float() / 100
            total = total + masked_sum(codes, strange, 1)[:, None]
        return {"total": total}

    def score(self, state: dict[str, torch.Tensor], items: Items) -> torch.Tensor:
        known = items.ids >= 0
        at = torch.where(known, items.ids, 0)
        base = torch.where(known, self.base[at], -0.5)
        if "genre" in items.fields:
            base = torch.where(known, base, items.fields["genre"].float() - 10)
        pulled = state["total"][:, at] if at.dim() == 1 else state["total"].gather(1, at)
        return base + torch.where(known, pulled, 0.0)


@dataclass(frozen=True, eq=False)
class RankTable(Table):
    scale: ClassVar[str] = "rank"


TITLES = ["Heat (1995)", "Alien (1979)", "Sabrina (1954)", "Sabrina (1995)", "Matrix, The (1999)", None]


def dataset(explicit=True, ids=None, times=False, range_=(1.0, 5.0)) -> Dataset:
    """Three users, six items; user 10 has items 0 and 1, user 20 has item 2, user 30 nothing."""
    items = pl.DataFrame({"title": TITLES, "genre": ["crime", "scifi", "love", "love", "scifi", "crime"]})
    users = pl.DataFrame({"age": [20.0, 30.0, 40.0], "job": ["cook", "clerk", None]})
    return Dataset(
        interactions=Interactions.from_columns(
            torch.tensor([0, 0, 1]),
            torch.tensor([0, 1, 2]),
            torch.tensor([5.0, 1.0, 3.0]) if explicit else None,
            torch.tensor([1_000_000_001, 1_000_000_002, 1_000_000_003]) if times else None,
            n_users=3,
            n_items=6,
        ),
        users=FeatureTable.from_frame(users, {"age": "numeric", "job": "categorical"}),
        items=FeatureTable.from_frame(items, {"title": "text", "genre": "categorical"}),
        user_ids=Vocabulary(pl.Series([10, 20, 30])),
        item_ids=Vocabulary(pl.Series([100, 101, 102, 103, 104, 105] if ids is None else ids)),
        explicit=explicit,
        value_range=range_ if explicit else (1.0, 1.0),
        name="tiny",
    )


def model(explicit=True, scale="rating", **options) -> Model:
    data = dataset(explicit, **options)
    base = torch.tensor([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    pull = torch.zeros(6, 6)
    pull[0, 5] = 0.2  # Heat speaks for the item without a title
    pull[1, 4] = 0.1  # Alien for The Matrix
    recommender = (Table if scale == "rating" else RankTable)(base, pull)
    provenance = Provenance("table", "Table()", data.name, data.hash(), 3, 6, 3, 0, "0")
    return Model(recommender, data, provenance)


WIDE = {"range_": (-99.0, 99.0)}  # no clipping: scores are as tabled


def ids(frame: pl.DataFrame) -> list:
    return frame["item_id"].to_list()


# -- recommend
# ------------------------------------------------------------------------------------------------------


def test_a_newcomer_without_events_gets_the_prior():
    answer = model(**WIDE).recommend(events=[], k=3)
    assert answer.columns == ["user_id", "item_id", "score", "rank"]
    assert answer["user_id"].to_list() == [None] * 3
    assert ids(answer) == [100, 101, 102]
    assert answer["score"].to_list() == pytest.approx([0.6, 0.5, 0.4])
    assert answer["rank"].to_list() == [1, 2, 3]


def test_events_move_the_list_and_what_was_seen_is_left_out():
    answer = model(**WIDE).recommend(events=[(100, 5)], k=2)
    assert ids(answer) == [105, 101]
    assert answer["score"].to_list() == pytest.approx([1.1, 0.5])


def test_what_was_seen_can_be_kept():
    assert ids(model(**WIDE).recommend(events=[(100, 5)], k=2, exclude_seen=False)) == [105, 100]


def test_stored_users_are_adapted_to_their_history_and_their_fields():
    answer = model(**WIDE).recommend(users=[20, 10], k=2)
    assert answer["user_id"].to_list() == [20, 20, 10, 10]
    # User 20 is of average age; item 102 is seen. User 10 rated 100 with 5 and 101 with 1: both are seen.
    assert ids(answer) == [100, 101, 105, 102]
    younger = -10 / (200 / 3) ** 0.5
    assert answer["score"].to_list() == pytest.approx([0.6, 0.5, 1.1 + younger, 0.4 + younger])


def test_one_stored_user_needs_no_list_and_may_have_done_more_since():
    assert model(**WIDE).recommend(20, k=1).equals(model(**WIDE).recommend(users=[20], k=1))
    since = model(**WIDE).recommend(20, events=[(101, 9)], k=2)
    assert since["user_id"].to_list() == [20, 20]
    assert ids(since) == [104, 100]


def test_a_later_event_on_the_same_item_replaces_the_earlier_one():
    once = model(**WIDE).score(events=[(100, 2)], items=[105])["score"].item()
    assert model(**WIDE).score(events=[(100, 5), (100, 2)], items=[105])["score"].item() == once
    assert model(**WIDE).score(10, events=[(100, 2)], items=[105])["score"].item() == pytest.approx(
        once - 10 / (200 / 3) ** 0.5
    )


def test_several_newcomers_answer_under_their_names():
    expected = model(**WIDE).recommend(events={"ann": [(100, 5)], "bob": []}, k=1)
    assert expected["user_id"].to_list() == ["ann", "bob"]
    assert ids(expected) == [105, 100]
    frame = pl.DataFrame({"user_id": ["ann"], "item_id": [100], "rating": [5.0]})
    assert ids(model(**WIDE).recommend(events=frame, k=1)) == [105]


@pytest.mark.parametrize(
    "events",
    [
        [(100, 5)],
        [[100, 5]],
        ((100, 5.0),),
        [{"item": 100, "value": 5}],
        [{"item_id": 100, "rating": 5}],
        [{"movieId": 100, "stars": 5}],
        [("Heat (1995)", 5)],
        [("heat", 5)],
        pl.DataFrame({"item_id": [100], "rating": [5]}),
        pl.DataFrame({"movieId": [100], "rating": [5]}).lazy(),
        pd.DataFrame({"item_id": [100], "rating": [5]}),
        pa.table({"item_id": [100], "rating": [5]}),
    ],
    ids=lambda e: type(e).__name__,
)
def test_events_may_be_written_in_many_ways(events):
    assert model(**WIDE).recommend(events=events, k=3).equals(model(**WIDE).recommend(events=[(100, 5)], k=3))


def test_times_reach_the_recommender_in_seconds():
    plain = model(**WIDE).score(events=[(102, 1)], items=[105])["score"].item()
    for time in (
        1_000_000_007,
        1_000_000_007.0,
        dt.datetime(2001, 9, 9, 1, 46, 47),
        dt.datetime(2001, 9, 9, 3, 46, 47, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    ):
        assert model(**WIDE).score(events=[(102, 1, time)], items=[105])["score"].item() == pytest.approx(
            plain + 7
        )


def test_events_with_times_are_put_in_order():
    # The later rating of the item counts, wherever it stands.
    both = [(100, 5, 1_000_000_010), (100, 2, 1_000_000_000)]
    score = model(**WIDE).score(events=both, items=[105])["score"].item()
    assert score == pytest.approx(0.1 + 5 * 0.2)


def test_fields_of_newcomers_are_encoded_like_those_of_users():
    old = model(**WIDE).score(user={"age": 40, "job": "astronaut"}, items=[100])["score"].item()
    assert old == pytest.approx(0.6 + 10 / (200 / 3) ** 0.5)
    text = model(**WIDE).score(user={"age": "40"}, items=[100])["score"].item()
    assert text == pytest.approx(old)
    two = (
        model(**WIDE)
        .score(events={"a": [], "b": []}, user={"b": {"age": 40}}, items=[100])["score"]
        .to_list()
    )
    assert two == pytest.approx([0.6, old])


def test_candidates_can_be_restricted_and_count_once():
    answer = model(**WIDE).recommend(events=[], items=[105, 102, "Alien (1979)", 102], k=9)
    assert ids(answer) == [101, 102, 105]


def test_a_new_item_is_recommended_by_its_fields():
    new = pl.DataFrame({"item_id": [900, 105, 901], "genre": ["scifi", None, "crime"]})
    answer = model(**WIDE).recommend(events=[], items=new, k=3)
    # Codes by the alphabet: crime 1, love 2, scifi 3; a new item scores its code less ten.
    assert ids(answer) == [105, 900, 901]
    assert answer["score"].to_list() == pytest.approx([0.1, -7.0, -9.0])
    assert answer["item_id"].dtype == pl.Int64


def test_an_event_on_a_new_item_counts_by_its_fields_and_is_not_recommended_again():
    m = model(**WIDE)
    event = {"item": 900, "value": 1, "genre": "scifi"}
    assert m.score(events=[event], items=[100])["score"].item() == pytest.approx(0.63)
    new = pl.DataFrame({"item_id": [900, 901], "genre": ["scifi", "crime"]})
    assert ids(m.recommend(events=[event], items=new)) == [901]


def test_ids_of_any_type_come_back_in_that_type():
    for own in (list("abcdef"), [dt.date(2020, 1, d) for d in range(1, 7)], [bytes([d]) for d in range(6)]):
        answer = model(ids=own, **WIDE).recommend(events=[(own[0], 5)], k=1)
        assert ids(answer) == [own[5]]


def test_more_than_there_are_gives_all_there_are():
    assert model().recommend(events=[(100, 5)], k=99).height == 5
    assert model().recommend(users=[10, 20], k=99).height == 4 + 5
    everything = [(i, 3) for i in range(100, 106)]
    assert model().recommend(events=everything).height == 0


def test_predicted_ratings_are_clipped_but_ranked_before():
    answer = model().recommend(users=10, events=[("Alien", 5), ("Heat", 5)], k=6, exclude_seen=False)
    assert answer["score"].min() >= 1.0
    high = replace(
        model(), recommender=Table(torch.tensor([9.0, 8.0, 10.0, 1.0, 1.0, 1.0]), torch.zeros(6, 6))
    )
    answer = high.recommend(events=[], k=3)
    assert ids(answer) == [102, 100, 101]
    assert answer["score"].to_list() == [5.0, 5.0, 5.0]


def test_what_only_orders_items_takes_ratings_as_choices():
    ranker = model(scale="rank")
    choice = ranker.score(events=[100], items=[105])["score"].item()
    assert choice == pytest.approx(0.3)
    assert ranker.score(events=[(100, 5)], items=[105])["score"].item() == choice
    assert ranker.score(10, items=[105])["score"].item() == pytest.approx(0.3 - 10 / (200 / 3) ** 0.5)


def test_implicit_events_need_no_value():
    m = model(explicit=False, scale="rank")
    assert m.recommend(events=[100], k=2).equals(m.recommend(events=[(100, 1)], k=2))
    assert ids(m.recommend(events=["Heat", "Alien"], k=2)) == [102, 103]
    assert m.score(events=[(100, 3)], items=[105])["score"].item() == pytest.approx(0.1 + 3 * 0.2)


def test_batches_of_users_give_what_single_users_get(monkeypatch):
    world = synthetic_world(40, 30).dataset
    m = replace(model(), data=world, recommender=Popularity.fit(world))
    alone = pl.concat([m.recommend(user, k=4) for user in world.user_ids.ids])
    monkeypatch.setattr("acclimate.model.model._MOST_SCORES", 30 * 7)
    assert m.recommend(world.user_ids.ids, k=4).equals(alone)


def test_nobody_asked_gives_an_empty_frame_of_the_same_columns():
    some, none = model().recommend(users=[10]), model().recommend(users=[])
    assert none.height == 0
    assert none.schema == some.schema


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 12))
def test_best_is_a_stable_sort(seed, k, n):
    g = torch.Generator().manual_seed(seed)
    scores = torch.randint(-2, 3, (3, n), generator=g).float() * torch.tensor([0.0, 1.0, 1e30])[:, None]
    allowed = torch.rand(3, n, generator=g) < 0.8
    k = min(k, n)
    at = best(scores, allowed, k)
    for row, ok, found in zip(scores.tolist(), allowed.tolist(), at.tolist(), strict=True):
        expected = sorted((i for i in range(n) if ok[i]), key=lambda i: (-row[i], i))[:k]
        assert found[: len(expected)] == expected


# -- score, explain, similar
# ----------------------------------------------------------------------------------------


def test_scores_come_in_the_given_order():
    answer = model(**WIDE).score(users=[20, 30], items=[105, 100])
    assert answer.columns == ["user_id", "item_id", "score"]
    assert answer["user_id"].to_list() == [20, 20, 30, 30]
    assert ids(answer) == [105, 100, 105, 100]
    older = 10 / (200 / 3) ** 0.5
    assert answer["score"].to_list() == pytest.approx([0.1, 0.6, 0.1 + older, 0.6 + older])


def test_an_explanation_adds_up_to_the_score_in_the_callers_ids():
    m = model(**WIDE)
    told = m.explain(events=[(100, 5), (102, 3)], item=105)
    assert told.columns == ["part", "item_id", "value", "contribution", "method"]
    assert told["part"].to_list() == ["prior", "event", "event", "rest", "total"]
    assert told["item_id"].to_list() == [None, 100, 102, None, None]
    assert told["value"].to_list() == [None, 5.0, 3.0, None, None]
    assert told["contribution"].to_list() == pytest.approx([0.1, 1.0, 0.0, 0.0, 1.1], abs=1e-6)
    assert set(told["method"]) == {"leave-one-out"}
    assert told["contribution"][:-1].sum() == pytest.approx(told["contribution"][-1])
    assert m.score(events=[(100, 5), (102, 3)], items=[105])["score"].item() == pytest.approx(
        told["contribution"][-1]
    )


def test_a_stored_user_can_be_explained():
    told = model(**WIDE).explain(users=10, item=105)
    assert told["item_id"].to_list() == [None, 100, 101, None, None]
    with pytest.raises(UserInputError, match="An explanation is one person's; found 2"):
        model().explain(users=[10, 20], item=105)


def test_without_histories_an_item_is_similar_to_what_it_speaks_for():
    similar = model(explicit=False, scale="rank").without_histories().similar_items("Heat (1995)", k=2)
    assert ids(similar) == [105, 101]
    assert similar["score"].to_list() == pytest.approx([0.2, 0.0], abs=1e-6)
    assert similar["rank"].to_list() == [1, 2]


@dataclass(frozen=True, eq=False)
class Vectors(RankTable):
    vectors: torch.Tensor

    def user_vectors(self, state):
        return torch.ones(len(state["total"]), self.vectors.shape[1])

    def item_vectors(self, items):
        return self.vectors[items.ids]


def test_items_are_similar_whose_scores_rise_and_fall_together_over_people():
    world = synthetic_world(60, 20, seed=3)
    m = replace(model(), data=world.dataset, recommender=ItemKNN.fit(world.dataset, neighbours=20))
    scores = (
        m.score(world.dataset.user_ids.ids, items=world.dataset.item_ids.ids)["score"]
        .to_numpy()
        .reshape(60, 20)
    )
    expected = np.corrcoef(scores - scores.mean(1, keepdims=True), rowvar=False)[7]
    similar = m.similar_items("i7", k=99)
    assert ids(similar) == [f"i{i}" for i in np.argsort(-expected) if i != 7]
    found = similar["score"].to_numpy()
    assert found == pytest.approx(np.delete(np.sort(expected)[::-1], 0), abs=1e-5)


def test_who_gives_everybody_the_same_finds_nothing_similar():
    world = synthetic_world(60, 20, seed=3).dataset
    similar = replace(model(), data=world, recommender=Popularity.fit(world)).similar_items("i7", k=3)
    assert similar["score"].to_list() == [0.0, 0.0, 0.0]


def test_with_vectors_the_catalogue_is_scanned_by_a_matrix_product():
    vectors = torch.tensor([[11.0, 0.0], [12.0, 0.0], [9.0, 0.0], [10.0, 1.0], [10.0, -1.0], [8.0, 0.0]])
    m = model(scale="rank")
    m = replace(m, recommender=Vectors(m.recommender.base, m.recommender.pull, vectors))
    assert m.recommend(events=[], k=1)["score"].item() == 12.0
    assert ids(m.recommend(events=[], k=1, items=[105, 103])) == [103]


def test_a_recommender_that_knows_its_doubt_says_so():
    @dataclass(frozen=True, eq=False)
    class Unsure(Table):
        def deviation(self, state, items):
            return items.ids.float().expand(len(state["total"]), -1)

    m = replace(model(**WIDE), recommender=Unsure(model().recommender.base, model().recommender.pull))
    answer = m.recommend(events=[(100, 5)], k=2)
    assert answer.columns == ["user_id", "item_id", "score", "rank", "deviation"]
    assert answer["deviation"].to_list() == [5.0, 1.0]
    assert m.score(events=[], items=[103])["deviation"].item() == 3.0


def test_titles_are_there_to_be_shown():
    assert model().titles([104, 105, 999]) == ["Matrix, The (1999)", "105", "(unknown)"]


# -- names
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "short"),
    [
        ("Matrix, The (1999)", "matrix"),
        ("  The   Matrix ", "matrix"),
        ("Misérables, Les (1995)", "misérables"),
        ("Postino, Il (Postman, The) (1994)", "postino (postman)"),
        ("The The", "the"),
        ("1984", "1984"),
        ("", ""),
    ],
)
def test_titles_are_compared_without_case_year_and_article(title, short):
    assert simplified(title) == short


def test_a_title_that_several_items_share_is_refused_with_their_ids():
    with pytest.raises(
        UserInputError, match=r"'sabrina' is the title of 2 items: 'Sabrina \(1954\)' \(id 102\)"
    ):
        model().recommend(events=[("sabrina", 5)])
    assert ids(model().score(events=[], items=["Sabrina (1995)"])) == [103]


def test_an_id_comes_before_a_title():
    m = model(ids=["Alien", "b", "c", "d", "e", "f"], **WIDE)
    assert ids(m.score(events=[], items=["Alien"])) == ["Alien"]  # not the item titled Alien (1979)
    assert ids(m.score(events=[], items=["Heat"])) == ["Alien"]


def test_typed_text_is_an_id_first_and_a_title_second():
    assert model().names.typed(["104", "heat"]) == [104, 100]
    with pytest.raises(UserInputError, match="Unknown item '999': neither an id nor a title of the 6 items"):
        model().names.typed(["999"])


def test_near_misses_are_suggested():
    with pytest.raises(UserInputError, match=r"Near: 'Alien \(1979\)' \(id 101\)"):
        model().recommend(events=[("Aliens", 5)])
    with pytest.raises(UserInputError, match=r"Near: 'Matrix, The \(1999\)'"):
        model().explain(events=[], item="matr")


# -- bad input
# ------------------------------------------------------------------------------------------------------

BAD = {
    "unknown user": (lambda m: m.recommend(99), "Unknown user 99: not among the 3 users it was trained on"),
    "user of another type": (
        lambda m: m.recommend("u1"),
        "user id 'u1' is of type String, but this data has ids",
    ),
    "mixed ids": (lambda m: m.recommend([10, "x"]), "one type"),
    "nobody": (lambda m: m.recommend(), "Say for whom"),
    "k of nothing": (lambda m: m.recommend(10, k=0), "k must be a whole number from 1 on; found 0"),
    "k with a fraction": (lambda m: m.recommend(10, k=2.5), "found 2.5"),
    "unknown item": (lambda m: m.recommend(events=[(999, 5)]), "Unknown item 999: neither an id nor a title"),
    "unknown candidate": (lambda m: m.recommend(10, items=[999]), "Unknown item 999"),
    "no candidates": (lambda m: m.recommend(10, items=[]), "items= is empty"),
    "one candidate without a list": (lambda m: m.recommend(10, items="Heat"), "items= takes a list"),
    "no rating": (
        lambda m: m.recommend(events=[100]),
        r"has no rating, and this model learned from ratings of 1 to 5",
    ),
    "rating out of range": (
        lambda m: m.recommend(events=[(100, 6)]),
        "rating 6; this model's ratings go from 1 to 5",
    ),
    "rating not a number": (
        lambda m: m.recommend(events=[(100, "good")]),
        "value 'good'; it must be a finite number",
    ),
    "NaN": (lambda m: m.recommend(events=[(100, float("nan"))]), "finite"),
    "infinite": (lambda m: m.recommend(events=[(100, float("inf"))]), "finite"),
    "milliseconds": (lambda m: m.recommend(events=[(100, 5, 1_600_000_000_000)]), "looks like milliseconds"),
    "time in words": (
        lambda m: m.recommend(events=[(100, 5, "today")]),
        "neither seconds since 1970 nor a datetime",
    ),
    "some times": (lambda m: m.recommend(events=[(100, 5, 1), (101, 5)]), "1 of 2 events have a time"),
    "too long an event": (lambda m: m.recommend(events=[(100, 5, 1, 2)]), "An event is item"),
    "event without item": (lambda m: m.recommend(events=[{"value": 5}]), "needs an item"),
    "event None": (lambda m: m.recommend(events=[None]), "no item"),
    "events as text": (lambda m: m.recommend(events="Heat"), "events= takes a list"),
    "events as a number": (lambda m: m.recommend(events=5), "events= takes a list"),
    "item to value": (lambda m: m.recommend(events={"Heat": 5}), "For one person pass a list"),
    "table without items": (lambda m: m.recommend(events=pl.DataFrame({"a": [1]})), "no column of items"),
    "candidates without ids": (
        lambda m: m.recommend(10, items=pl.DataFrame({"a": [1]})),
        "no column of item ids",
    ),
    "users and a mapping": (lambda m: m.recommend(10, events={"a": []}), "one stored user"),
    "users and fields": (lambda m: m.recommend(10, user={"age": 3}), "user= describes newcomers"),
    "field that is none": (lambda m: m.recommend(user={"agee": 3}), "Did you mean 'age'"),
    "field not a number": (
        lambda m: m.recommend(user={"age": "old"}),
        "'age' should be a number; found 'old'",
    ),
    "field NaN": (lambda m: m.recommend(user={"age": float("nan")}), "should be a number"),
    "fields of a stranger": (
        lambda m: m.recommend(events={"a": []}, user={"b": {"age": 1}}),
        "'b' is none of 'a'",
    ),
    "fields not a mapping": (lambda m: m.recommend(events={"a": []}, user={"a": 30}), "user= takes fields"),
    "unknown=": (lambda m: m.recommend(99, unknown="ignore"), "unknown= is 'error' or 'prior'"),
    "explain nothing": (lambda m: m.explain(events=[], item=999), "Unknown item 999"),
    "similar to nothing": (lambda m: m.similar_items(999), "Unknown item 999"),
    "similar k": (lambda m: m.similar_items(100, k=0), "found 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_was_wrong(case):
    call, message = BAD[case]
    with pytest.raises(UserInputError, match=message):
        call(model())


def test_a_strength_must_be_above_zero():
    with pytest.raises(UserInputError, match="strength 0; it must be above 0"):
        model(explicit=False, scale="rank").recommend(events=[(100, 0)])


def test_fields_are_refused_where_the_model_knows_none():
    m = model()
    m = replace(m, data=replace(m.data, users=FeatureTable.empty(3)))
    with pytest.raises(UserInputError, match="knows no fields of users"):
        m.recommend(user={"age": 3})


def test_unknown_users_and_items_can_count_as_the_prior():
    m = model(**WIDE)
    answer = m.recommend([99, 10], k=1, unknown="prior")
    assert answer["user_id"].to_list() == [99, 10]
    assert ids(answer) == [100, 105]
    assert m.recommend(events=[(999, 5), (998, 5), (100, 5)], k=1, unknown="prior")["item_id"].item() == 105
    with pytest.raises(UserInputError):
        m.recommend(10, items=[999], unknown="prior")


def test_an_id_of_a_million_letters_is_not_shown_whole():
    with pytest.raises(UserInputError) as caught:
        model(ids=list("abcdef")).recommend(events=[("x" * 10**6, 5)])
    assert len(str(caught.value)) < 500


# -- the file
# -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("explicit", [True, False])
def test_a_loaded_model_answers_the_same(tmp_path, explicit):
    m = model(explicit, times=True)
    digest = m.save(tmp_path / "m.acc")
    back = load(str(tmp_path / "m.acc"), classes=[Table])
    assert len(digest) == 64
    assert back.provenance == m.provenance
    assert back.data.hash() == m.data.hash()
    assert (back.data.explicit, back.data.value_range, back.data.name) == (
        explicit,
        m.data.value_range,
        "tiny",
    )
    assert back.recommend([10, 20, 30], k=6).equals(m.recommend([10, 20, 30], k=6))
    assert back.recommend(user={"age": 33}, k=6).equals(m.recommend(user={"age": 33}, k=6))
    assert back.titles([104]) == ["Matrix, The (1999)"]
    assert back.save(tmp_path / "again.acc") == digest


def test_ids_of_any_type_survive_the_file(tmp_path):
    for own in (list("abcdéf"), [dt.date(2020, 1, d) for d in range(1, 7)], [2**60 + i for i in range(6)]):
        m = model(ids=own)
        m.save(tmp_path / "m.acc")
        back = load(tmp_path / "m.acc", classes=[Table])
        assert back.data.item_ids.ids.equals(m.data.item_ids.ids)
        assert ids(back.recommend(events=[], k=1)) == own[:1]


def test_histories_can_be_left_out(tmp_path):
    model(times=True).save(tmp_path / "m.acc", histories=False)
    back = load(tmp_path / "m.acc", classes=[Table])
    assert back.data.n_users == 0
    assert (
        b"clerk" in (tmp_path / "m.acc").read_bytes()
    )  # what a field may say is the schema's, not a person's
    assert back.recommend(events=[(100, 5)], user={"job": "clerk", "age": 40}).equals(
        model().recommend(events=[(100, 5)], user={"job": "clerk", "age": 40})
    )
    with pytest.raises(UserInputError, match="it kept no histories"):
        back.recommend(10)


def test_a_recommender_of_ones_own_must_be_named_to_be_loaded(tmp_path):
    model().save(tmp_path / "m.acc")
    with pytest.raises(ModelFileError, match="holds a 'Table', which this installation does not know"):
        load(tmp_path / "m.acc")


def test_saving_over_a_model_replaces_it_whole(tmp_path):
    model(explicit=False).save(tmp_path / "m.acc")
    model(explicit=True).save(tmp_path / "m.acc")
    assert load(tmp_path / "m.acc", classes=[Table]).data.explicit
    assert [path.name for path in tmp_path.iterdir()] == ["m.acc"]


# -- align
# ----------------------------------------------------------------------------------------------------------


def test_other_data_is_told_in_the_models_terms():
    other = Dataset(
        interactions=Interactions.from_columns(
            torch.tensor([0, 0, 1, 2]),
            torch.tensor([2, 0, 1, 1]),
            torch.tensor([4.0, 2.0, 3.0, 1.0]),
            n_users=4,
            n_items=3,
        ),
        users=FeatureTable.from_frame(
            pl.DataFrame({"job": ["clerk", "cook", "cook", "x"]}), {"job": "categorical"}
        ),
        items=FeatureTable.empty(3),
        user_ids=Vocabulary(pl.Series(["a", "b", "c", "d"])),
        item_ids=Vocabulary(pl.Series([105, 999, 100])),
        explicit=True,
        value_range=(1.0, 4.0),
        name="later",
    )
    found, lost = model().align(other)
    assert found.user_ids.ids.to_list() == ["a"]
    assert sorted(found.interactions.items.tolist()) == [0, 5]
    assert (found.n_items, found.name, found.value_range) == (6, "later", (1.0, 5.0))
    clerk = 1 + model().data.users.schema[1].values.index("clerk")
    assert found.users.columns["job"].tolist() == [clerk]
    assert found.users.columns["age"].isnan().all()
    assert (lost.items, lost.events, lost.users) == (1, 2, 2)


def test_data_that_cannot_be_told_in_the_models_terms_is_refused():
    m = model()
    with pytest.raises(UserInputError, match="learned from ratings, but 'tiny' holds implicit events"):
        m.align(dataset(explicit=False))
    with pytest.raises(UserInputError, match="from 1 to 5; those of 'tiny' from 0 to 10"):
        m.align(dataset(range_=(0.0, 10.0)))
    with pytest.raises(UserInputError, match=r"None of the items of 'tiny' \(such as 7\)"):
        m.align(replace(dataset(), item_ids=Vocabulary(pl.Series([7, 8, 9, 10, 11, 12]))))
    with pytest.raises(UserInputError, match="is of type String"):
        m.align(replace(dataset(), item_ids=Vocabulary(pl.Series(list("abcdef")))))


def test_an_unknown_field_of_a_user_names_the_known_ones():
    with pytest.raises(UnknownNameError, match="Known: age, job"):
        model().recommend(user={"zip": random.random()})
