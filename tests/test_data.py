"""The data nouns: ragged tables, vocabularies, features, tasks, and splits that cannot leak."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.data import (
    Dataset,
    FeatureTable,
    Field,
    Interactions,
    TaskSampler,
    Vocabulary,
    by_time,
    four_states,
    infer_field,
    leave_last_out,
    new_items,
    new_users,
    new_users_and_items,
    read,
    sample_tasks,
    synthetic_world,
    user_tasks,
)
from acclimate.errors import DataError, UserInputError

quick = settings(max_examples=40, deadline=None)  # a busy machine must not fail a property
events = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 8), st.integers(1, 5), st.integers(0, 20)),
    min_size=1,
    max_size=60,
)


def table(rows: list[tuple[int, int, int, int]]) -> Interactions:
    u, i, v, t = (torch.tensor(column) for column in zip(*rows, strict=True))
    return Interactions.from_columns(u, i, v.float(), t, n_users=7, n_items=9)


def triples(inter: Interactions) -> list[tuple[int, int, float, int]]:
    assert inter.times is not None
    columns = (inter.users(), inter.items, inter.values, inter.times)
    return list(zip(*(c.tolist() for c in columns), strict=True))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def world() -> Dataset:
    return synthetic_world(120, 60, events=(4, 30), seed=2).dataset


@pytest.fixture(scope="module")
def big_items() -> Dataset:
    return synthetic_world(150, 40, events=(10, 30), seed=3).dataset


class TestInteractions:
    @given(events)
    @quick
    def test_grouping_keeps_every_event_and_orders_a_user_by_time(self, rows):
        inter = table(rows)
        assert sorted(triples(inter)) == sorted((u, i, float(v), t) for u, i, v, t in rows)
        assert inter.users().tolist() == sorted(u for u, *_ in rows)
        for start, end in zip(inter.offsets[:-1].tolist(), inter.offsets[1:].tolist(), strict=True):
            times = inter.times[start:end].tolist()
            assert times == sorted(times)

    def test_ties_in_time_keep_the_order_of_the_file(self):
        inter = Interactions.from_columns(
            torch.tensor([1, 0, 1, 1, 0]), torch.tensor([5, 4, 3, 2, 1]), times=torch.tensor([7, 7, 7, 3, 7])
        )
        assert inter.items.tolist() == [4, 1, 2, 5, 3]

    def test_without_times_the_order_of_the_file_counts_and_values_are_one(self):
        inter = Interactions.from_columns(torch.tensor([1, 0, 1]), torch.tensor([2, 1, 0]))
        assert inter.items.tolist() == [1, 2, 0]
        assert inter.values.tolist() == [1.0, 1.0, 1.0]
        assert inter.times is None
        assert (inter.n_users, inter.n_items) == (2, 3)

    @given(events)
    @quick
    def test_transposing_twice_gives_the_same_events(self, rows):
        inter = table(rows)
        there = inter.transposed()
        assert (there.n_users, there.n_items) == (inter.n_items, inter.n_users)
        assert sorted((i, u, v, t) for u, i, v, t in triples(there)) == sorted(triples(inter))
        assert sorted(triples(there.transposed())) == sorted(triples(inter))

    @given(events, st.permutations(range(7)))
    @quick
    def test_selecting_users_renumbers_them_and_brings_their_events_along(self, rows, order):
        inter = table(rows)
        chosen = order[:3]
        part = inter.select_users(torch.tensor(chosen))
        assert part.n_items == inter.n_items
        expected = [
            (new, i, v, t) for new, old in enumerate(chosen) for u, i, v, t in triples(inter) if u == old
        ]
        assert triples(part) == expected

    @given(events)
    @quick
    def test_keeping_a_mask_drops_exactly_the_others_and_renumbers_nobody(self, rows):
        inter = table(rows)
        mask = inter.values > 2
        assert triples(inter.keep(mask)) == [row for row in triples(inter) if row[2] > 2]
        assert inter.keep(mask).n_users == inter.n_users

    def test_counts_and_matrix_agree_with_numpy(self):
        rows = [(0, 1, 2, 0), (0, 1, 3, 1), (2, 0, 5, 2), (6, 8, 1, 3)]
        inter = table(rows)
        matrix = np.zeros((7, 9))
        for u, i, v, _ in rows:
            matrix[u, i] += v
        assert np.array_equal(inter.to_csr().toarray(), matrix)
        assert inter.counts().tolist() == [2, 0, 1, 0, 0, 0, 1]
        assert inter.item_counts().tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 1]

    def test_the_hash_tells_any_change_apart(self):
        inter = table([(0, 1, 2, 5), (3, 1, 4, 6)])
        assert inter.hash() == table([(0, 1, 2, 5), (3, 1, 4, 6)]).hash()
        for other in (
            [(0, 1, 2, 5), (3, 1, 4, 7)],
            [(0, 1, 2, 5), (3, 2, 4, 6)],
            [(0, 1, 3, 5), (3, 1, 4, 6)],
        ):
            assert table(other).hash() != inter.hash()
        assert inter.with_values(torch.tensor([9.0, 9.0])).hash() != inter.hash()


class TestVocabulary:
    @given(st.sets(st.text(max_size=8), min_size=1, max_size=20))
    @quick
    def test_text_ids_come_back_as_they_came(self, ids):
        words = sorted(ids)
        vocabulary = Vocabulary(pl.Series(words, dtype=pl.String))
        assert vocabulary.decode(vocabulary.encode(words)).to_list() == words

    @pytest.mark.parametrize("dtype", [pl.UInt16, pl.Int8, pl.Int64, pl.Date])
    def test_ids_keep_their_type(self, dtype):
        ids = pl.Series([3, 1, 2]).cast(dtype)
        back = Vocabulary(ids).decode(torch.tensor([2, 0]))
        assert back.dtype == dtype
        assert back.to_list() == [ids[2], ids[0]]

    def test_an_id_that_is_not_there_is_minus_one(self):
        vocabulary = Vocabulary(pl.Series([10, 20], dtype=pl.UInt8))
        assert vocabulary.encode([20, 30, 70_000, -1]).tolist() == [1, -1, -1, -1]

    def test_an_id_that_must_be_there_is_named_with_what_is_known(self):
        with pytest.raises(UserInputError, match=r"Unknown item 30 and 1 more: not among the 2"):
            Vocabulary(pl.Series([10, 20])).encode_known([20, 30, 40], "item")

    @pytest.mark.parametrize(("known", "asked"), [([1, 2], ["1"]), (["1"], [1]), ([1], [1.5])])
    def test_an_id_of_another_type_is_an_error_that_shows_both_types(self, known, asked):
        with pytest.raises(UserInputError, match="Pass the ids in the type they came in"):
            Vocabulary(pl.Series(known)).encode(asked)

    def test_ids_of_several_types_in_one_call_are_an_error(self):
        with pytest.raises(UserInputError, match="of one type"):
            Vocabulary(pl.Series(["a"])).encode(["a", 1])
        with pytest.raises(UserInputError, match=r"such as \['a', 1\]"):
            Vocabulary(pl.Series(["a"])).encode(id_ for id_ in ["a", 1])

    def test_ids_that_repeat_or_are_missing_are_an_error(self):
        with pytest.raises(UserInputError, match="'a' occurs more than once"):
            Vocabulary(pl.Series(["a", "a"]))
        with pytest.raises(UserInputError, match="1 of 2 ids are missing"):
            Vocabulary(pl.Series(["a", None]))

    def test_typed_text_is_read_as_the_ids_are(self):
        assert Vocabulary(pl.Series([1, 2])).parse(["2"]) == [2]
        assert Vocabulary(pl.Series(["007"])).parse(["007"]) == ["007"]
        assert Vocabulary(pl.Series([True, False])).parse(["false"]) == [False]
        assert Vocabulary(pl.Series([date(2020, 1, 2)])).parse(["2020-01-02"]) == [date(2020, 1, 2)]
        with pytest.raises(UserInputError, match="'yesterday' cannot be read as Date"):
            Vocabulary(pl.Series([date(2020, 1, 2)])).parse(["yesterday"])
        with pytest.raises(UserInputError, match="'x' cannot be read as Int64"):
            Vocabulary(pl.Series([1, 2])).parse(["x"])


class TestFeatures:
    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ([1, 2, 1, 2], "categorical"),
            (list(range(40)), "numeric"),
            ([0.5, 1.5, 0.5, 1.5], "numeric"),
            ([True, False, None, True], "categorical"),
            (["a", "b", "a", "b"], "categorical"),
            (["Heat", "Alien", "Jaws", "Rope"], "text"),
            (["a|b", "c", "b", "a"], "multi"),
            ([["a"], ["a", "b"], [], None], "multi"),
            ([date(2020, 1, 1), date(2021, 1, 1), None, None], "time"),
            ([f"{'long words ' * 10}{i} | and more" for i in range(4)], "text"),
            (["a", "b", "a", "b", None], "categorical"),
            ([], "text"),
        ],
    )
    def test_the_kind_of_a_column_follows_from_its_values(self, values, kind):
        dtype = None if values else pl.String
        assert infer_field(pl.Series("x", values, dtype=dtype)).kind == kind

    def test_codes_start_at_one_and_zero_means_missing_or_never_seen(self):
        features = FeatureTable.from_frame(
            pl.DataFrame({"g": ["b", "a", None, " a ", ""]}), {"g": "categorical"}
        )
        assert features.schema[0].values == ("a", "b")
        assert features.columns["g"].tolist() == [2, 1, 0, 1, 0]
        later = FeatureTable.encode(pl.DataFrame({"g": ["c", "b"]}), features.schema)
        assert later.columns["g"].tolist() == [0, 2]

    def test_several_values_are_padded_with_zero_to_the_longest(self):
        features = FeatureTable.from_frame(pl.DataFrame({"t": ["x|y", "y", None, "z|x|y"]}), {"t": "multi"})
        assert features.columns["t"].tolist() == [[1, 2, 0], [2, 0, 0], [0, 0, 0], [3, 1, 2]]
        later = FeatureTable.encode(pl.DataFrame({"t": ["w|z", "x|y|z|x"]}), features.schema)
        assert later.columns["t"].tolist() == [[3, 0, 0], [1, 2, 3]]

    def test_the_values_of_a_list_are_trimmed_and_counted_once(self):
        lists = pl.DataFrame({"t": [["a", None, "a", " b", ""], None, []]})
        features = FeatureTable.from_frame(lists)
        assert features.schema[0].values == ("a", "b")
        assert features.columns["t"].tolist() == [[1, 2], [0, 0], [0, 0]]
        written = FeatureTable.from_frame(pl.DataFrame({"t": ["a||a| b|", None, " "]}), {"t": "multi"})
        assert torch.equal(written.columns["t"], features.columns["t"])

    def test_whole_numbers_stored_as_floats_are_the_same_labels(self):
        whole = FeatureTable.from_frame(pl.DataFrame({"age": [25, 1, 25]}), {"age": "categorical"})
        floats = pl.DataFrame({"age": [25.0, float("nan"), 1.0, 1.5]})
        assert FeatureTable.encode(floats, whole.schema).columns["age"].tolist() == [2, 0, 1, 0]
        assert FeatureTable.from_frame(floats, {"age": "categorical"}).schema[0].values == ("1", "1.5", "25")

    def test_the_separator_of_a_field_is_the_one_that_parts_it(self):
        spec = Field("t", "multi", values=("x", "y"), separator=";", width=2)
        assert FeatureTable.encode(pl.DataFrame({"t": ["y;x", "x|y"]}), [spec]).columns["t"].tolist() == [
            [2, 1],
            [0, 0],
        ]

    def test_numbers_are_standardised_and_missing_ones_are_nan(self):
        features = FeatureTable.from_frame(pl.DataFrame({"x": [1.0, 3.0, None, float("inf")]}))
        x = features.columns["x"]
        assert x[:2].tolist() == [-1.0, 1.0]
        assert x[2:].isnan().all()

    def test_equal_numbers_are_all_zero_and_too_large_ones_missing(self):
        features = FeatureTable.from_frame(
            pl.DataFrame({"x": [0.1] * 10, "y": [1e300, 1.0, 3.0] + [2.0] * 7})
        )
        assert features.columns["x"].tolist() == [0.0] * 10
        assert features.columns["y"][0].isnan()
        assert features.schema[1].mean == 2.0

    def test_times_are_seconds_whether_dates_or_written_dates(self):
        days = [date(1970, 1, 1), date(1970, 1, 3)]
        typed = FeatureTable.from_frame(pl.DataFrame({"d": days}))
        written = FeatureTable.from_frame(pl.DataFrame({"d": [str(d) for d in days]}), {"d": "time"})
        assert typed.schema[0].mean == written.schema[0].mean == 86_400
        assert torch.equal(typed.columns["d"], written.columns["d"])

    def test_words_in_a_column_said_to_be_numbers_are_an_error(self):
        with pytest.raises(UserInputError, match="'x' cannot be numeric: 'tall'"):
            FeatureTable.from_frame(pl.DataFrame({"x": ["tall", "small"]}), {"x": "numeric"})

    def test_text_is_carried_and_not_encoded(self):
        features = FeatureTable.from_frame(pl.DataFrame({"title": ["Heat", None, "Jaws"]}), {"title": "text"})
        assert features.texts == {"title": ("Heat", "", "Jaws")}
        assert features.columns == {}
        assert features.select(torch.tensor([2, 0])).texts == {"title": ("Jaws", "Heat")}

    def test_a_row_outside_the_table_has_every_field_missing(self):
        frame = pl.DataFrame({"g": ["a", "b"], "x": [1.0, 2.0], "t": ["p|q", "q"]})
        features = FeatureTable.from_frame(frame, {"g": "categorical", "t": "multi"})
        fields = features.gather(torch.tensor([[1, -1]]))
        assert fields["g"].tolist() == [[2, 0]]
        assert fields["t"].tolist() == [[[2, 0], [0, 0]]]
        assert fields["x"][0, 1].isnan()
        assert not fields["x"][0, 0].isnan()

    def test_a_table_without_rows_still_answers(self):
        features = FeatureTable.from_frame(
            pl.DataFrame({"g": pl.Series([], dtype=pl.String)}), {"g": "categorical"}
        )
        assert features.gather(torch.tensor([-1]))["g"].tolist() == [0]

    def test_a_kind_for_a_column_that_is_not_there_is_an_error(self):
        with pytest.raises(UserInputError, match="kinds names 'y'; the table has x"):
            FeatureTable.from_frame(pl.DataFrame({"x": [1]}), {"y": "numeric"})
        with pytest.raises(UserInputError, match="Unknown kind 'colour'"):
            FeatureTable.from_frame(pl.DataFrame({"x": [1]}), {"x": "colour"})

    def test_a_column_of_another_type_than_the_schema_is_an_error(self):
        schema = FeatureTable.from_frame(pl.DataFrame({"x": [1.5, 2.5]})).schema
        with pytest.raises(DataError, match="'x' should hold numbers"):
            FeatureTable.encode(pl.DataFrame({"x": [["a"], ["b"]]}), schema)
        with pytest.raises(UserInputError, match="'x' cannot be a field: it is of type Struct"):
            FeatureTable.from_frame(pl.DataFrame({"x": [{"a": 1}]}))


class TestDataset:
    def test_selected_users_keep_their_ids_and_fields(self, world):
        rows = torch.tensor([7, 3])
        part = world.select_users(rows)
        assert part.user_ids.ids.to_list() == ["u7", "u3"]
        assert part.n_items == world.n_items
        assert part.users.columns["group"].tolist() == world.users.columns["group"][rows].tolist()

    def test_transposing_exchanges_users_and_items_with_all_that_belongs_to_them(self, world):
        there = world.transposed()
        assert (there.n_users, there.n_items) == (world.n_items, world.n_users)
        assert there.user_ids is world.item_ids
        assert there.users is world.items
        assert there.transposed().hash() == world.hash()

    def test_an_implicit_view_counts_every_event_once(self, world):
        implicit = world.implicit()
        assert not implicit.explicit
        assert implicit.value_range == (1.0, 1.0)
        assert (implicit.interactions.values == 1).all()
        assert torch.equal(implicit.interactions.items, world.interactions.items)

    def test_an_unknown_item_has_no_fields(self, world):
        items = world.items_at(torch.tensor([0, -1]))
        assert items.fields["genre"][1] == 0
        assert items.fields["length"][1].isnan()
        assert items[1:].ids.tolist() == [-1]


class TestTasks:
    @given(st.integers(0, 10_000), st.integers(0, 6), st.integers(1, 12))
    @quick
    def test_support_and_query_never_share_an_event_and_belong_to_the_user(self, seed, least, query):
        data = synthetic_world(20, 15, events=(2, 12), seed=1).dataset
        users = torch.arange(20)
        tasks = sample_tasks(data, users, support=(least, least + 3), query=query, generator=generator(seed))
        owner = data.interactions.users()
        for t in range(len(tasks)):
            support = tasks.support[tasks.support_offsets[t] : tasks.support_offsets[t + 1]]
            asked = tasks.query[tasks.query_offsets[t] : tasks.query_offsets[t + 1]]
            assert not set(support.tolist()) & set(asked.tolist())
            assert set(owner[torch.cat([support, asked])].tolist()) == {t}
            assert 1 <= len(asked) <= query
            assert len(support) <= least + 3

    def test_fewer_shots_are_the_first_of_more(self, world):
        tasks = user_tasks(world, torch.arange(world.n_users), query=3, generator=generator())
        one, three = tasks.with_shots(1), tasks.with_shots(3)
        assert (one.support_sizes() == 1).all()
        assert torch.equal(one.support, three.support[three.support_offsets[:-1]])
        assert torch.equal(one.query, tasks.query)
        assert torch.equal(three.with_shots(1).support, one.support)
        assert len(tasks.with_shots(0).support) == 0

    def test_a_batch_holds_the_events_of_its_tasks_and_padding_elsewhere(self, world):
        tasks = user_tasks(world, torch.arange(world.n_users), query=3, max_support=6, generator=generator())
        rows = torch.tensor([5, 0, 9])
        batch = tasks.batch(rows)
        assert batch.support.mask.shape == batch.support.items.ids.shape
        assert (batch.support.items.ids[~batch.support.mask] == -1).all()
        for b, row in enumerate(rows.tolist()):
            at = tasks.support[tasks.support_offsets[row] : tasks.support_offsets[row + 1]]
            real = batch.support.mask[b]
            assert batch.support.items.ids[b, real].tolist() == world.interactions.items[at].tolist()
            assert batch.support.values[b, real].tolist() == world.interactions.values[at].tolist()
            assert batch.support.times[b, real].tolist() == world.interactions.times[at].tolist()
        groups = world.users.columns["group"][tasks.users[rows]]
        assert torch.equal(batch.support.user["group"], groups)
        assert torch.equal(batch.query.user["group"], groups)

    def test_selecting_tasks_is_the_same_as_batching_them(self, world):
        tasks = user_tasks(world, torch.arange(world.n_users), query=3, generator=generator())
        rows = torch.tensor([4, 2])
        chosen = tasks.select(rows)
        assert torch.equal(chosen.users, tasks.users[rows])
        a, b = chosen.batch(torch.arange(2)), tasks.batch(rows)
        assert torch.equal(a.support.items.ids, b.support.items.ids)
        assert torch.equal(a.query.values, b.query.values)

    def test_batches_cover_every_task_once_in_order(self, world):
        tasks = user_tasks(world, torch.arange(world.n_users), query=2, generator=generator())
        rows = torch.cat([rows for rows, _ in tasks.batches(17)])
        assert rows.tolist() == list(range(len(tasks)))

    def test_an_epoch_visits_every_eligible_user_once(self, world):
        sampler = TaskSampler(support=(1, 5), query=4, batch_size=16, min_events=6)
        eligible = int((world.interactions.counts() >= 6).sum())
        batches = list(sampler.epoch(world, generator()))
        assert sum(batch.support.n_users for batch in batches) == eligible
        assert len(batches) == sampler.steps(world)

    def test_one_seed_gives_one_epoch_and_another_seed_another(self, world):
        def first(seed: int) -> torch.Tensor:
            return next(TaskSampler(batch_size=8).epoch(world, generator(seed))).query.items.ids

        assert torch.equal(first(1), first(1))
        assert first(1).shape != first(2).shape or not torch.equal(first(1), first(2))

    def test_sampling_does_not_touch_the_global_generator(self, world):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        list(TaskSampler().epoch(world, generator()))
        new_users(world)
        assert torch.equal(before, torch.get_rng_state())

    def test_support_sizes_cover_the_whole_asked_range(self):
        data = synthetic_world(300, 60, events=(40, 50), seed=0).dataset
        tasks = sample_tasks(data, torch.arange(300), support=(2, 5), query=100, generator=generator())
        assert set(tasks.support_sizes().tolist()) == {2, 3, 4, 5}
        assert torch.equal(tasks.query_sizes(), data.interactions.counts() - tasks.support_sizes())

    def test_item_tasks_are_user_tasks_of_the_transposed_data(self, world):
        there = world.transposed()
        tasks = sample_tasks(
            there, torch.arange(there.n_users), support=(1, 3), query=5, generator=generator()
        )
        batch = tasks.batch(torch.arange(4))
        raters = {
            item: set(world.interactions.users()[world.interactions.items == item].tolist())
            for item in range(4)
        }
        for item in range(4):
            shown = batch.support.items.ids[item][batch.support.mask[item]].tolist()
            assert shown
            assert set(shown) <= raters[item]
        assert "genre" in batch.support.user
        assert "group" in batch.support.items.fields

    def test_time_order_shows_the_past_and_asks_about_the_future(self, world):
        tasks = user_tasks(world, torch.arange(world.n_users), query=2, order="time", generator=generator())
        times = world.interactions.times
        for t in range(len(tasks)):
            past = times[tasks.support[tasks.support_offsets[t] : tasks.support_offsets[t + 1]]]
            future = times[tasks.query[tasks.query_offsets[t] : tasks.query_offsets[t + 1]]]
            assert past.max() < future.min()

    def test_users_with_too_few_or_too_many_events_are_left_out(self, world):
        counts = world.interactions.counts()
        tasks = user_tasks(
            world, torch.arange(world.n_users), query=2, min_events=8, max_events=20, generator=generator()
        )
        assert set(tasks.users.tolist()) == set(((counts >= 8) & (counts <= 20)).nonzero().flatten().tolist())

    def test_all_that_is_left_can_be_the_query(self, world):
        tasks = user_tasks(
            world, torch.arange(world.n_users), query=None, max_support=3, generator=generator()
        )
        assert (tasks.support_sizes() == 3).all()
        assert torch.equal(tasks.query_sizes(), world.interactions.counts()[tasks.users] - 3)
        with pytest.raises(UserInputError, match="needs max_support"):
            user_tasks(world, torch.arange(3), query=None, generator=generator())

    def test_a_task_always_asks_for_something(self, world):
        everyone = torch.arange(world.n_users)
        rest = user_tasks(world, everyone, query=None, max_support=10, min_events=1, generator=generator())
        assert set(rest.users.tolist()) == set(
            (world.interactions.counts() > 10).nonzero().flatten().tolist()
        )
        assert (rest.query_sizes() >= 1).all()
        with pytest.raises(UserInputError, match="query=0 leaves nothing to ask about"):
            user_tasks(world, everyone, query=0, generator=generator())


def pairs(dataset: Dataset) -> set[tuple[str, str]]:
    """(user, item) of every event, in the caller's ids."""
    inter = dataset.interactions
    users = dataset.user_ids.decode(inter.users()).to_list()
    return set(zip(users, dataset.item_ids.decode(inter.items).to_list(), strict=True))


def asked(tasks) -> set[tuple[str, str]]:
    """(user, item) of every query event."""
    owner = tasks.users.repeat_interleave(tasks.query_sizes())
    users = tasks.dataset.user_ids.decode(owner).to_list()
    items = tasks.dataset.item_ids.decode(tasks.dataset.interactions.items[tasks.query]).to_list()
    return set(zip(users, items, strict=True))


class TestSplits:
    @pytest.mark.parametrize("split", [new_users, new_items, new_users_and_items, by_time, leave_last_out])
    def test_training_lacks_every_event_that_is_asked_for(self, world, split):
        parts = split(world)
        train = pairs(parts.train)
        assert train
        assert asked(parts.test)
        assert not train & asked(parts.test)
        assert not train & asked(parts.validation)
        assert not asked(parts.validation) & asked(parts.test)
        assert parts.train.n_items == world.n_items  # the catalogue stays whole

    @given(st.integers(0, 10_000))
    @quick
    def test_new_users_are_nowhere_in_training(self, seed):
        data = synthetic_world(40, 30, events=(12, 20), seed=0).dataset
        parts = new_users(data, test=0.3, validation=0.2, seed=seed)
        train = set(parts.train.user_ids.ids)
        validation = set(parts.validation.dataset.user_ids.ids)
        test = set(parts.test.dataset.user_ids.ids)
        assert train | validation | test == set(data.user_ids.ids)
        assert len(train) + len(validation) + len(test) == 40
        assert (len(validation), len(test)) == (8, 12)

    @given(st.integers(0, 10_000))
    @quick
    def test_new_items_have_no_event_in_training_nor_in_a_support(self, seed):
        data = synthetic_world(40, 30, events=(12, 20), seed=0).dataset
        parts = new_items(data, seed=seed)
        touched = set(parts.train.interactions.items.tolist())
        for tasks in (parts.validation, parts.test):
            inter = tasks.dataset.interactions
            new = set(inter.items[tasks.query].tolist())
            assert not new & touched
            assert not new & set(inter.items[tasks.support].tolist())

    @pytest.mark.parametrize("split", [new_items, new_users_and_items, by_time])
    def test_nothing_that_is_held_out_is_shown(self, world, split):
        """A test's support holds no event that the test or, but for the clock, the validation asks for."""
        parts = split(world)
        for tasks in (parts.validation, parts.test):
            inter = tasks.dataset.interactions
            shown = set(inter.items[tasks.support].tolist())
            if split is by_time:
                assert inter.times[tasks.support].max() < inter.times[tasks.query].min()
            else:
                assert shown <= set(parts.train.interactions.items.tolist())
                for other in (parts.validation, parts.test):
                    assert not shown & set(other.dataset.interactions.items[other.query].tolist())

    @pytest.mark.parametrize("split", [new_users, new_items, new_users_and_items, by_time])
    def test_a_split_may_do_without_validation(self, world, split):
        parts = split(world, validation=0)
        assert len(parts.validation) == 0
        assert len(parts.test) > 0

    def test_both_new_means_neither_the_user_nor_the_item_was_seen(self, big_items):
        parts = new_users_and_items(big_items)
        train = pairs(parts.train)
        users, items = {u for u, _ in train}, {i for _, i in train}
        for user, item in asked(parts.test):
            assert user not in users
            assert item not in items
        shown = parts.test.dataset.interactions.items[parts.test.support]
        assert set(shown.tolist()) <= set(parts.train.interactions.items.tolist())

    def test_one_clock_cuts_the_events_of_everybody(self, world):
        parts = by_time(world, test=0.2, validation=0.1)
        times = world.interactions.times
        n = len(world.interactions)
        assert len(parts.train.interactions) == pytest.approx(0.7 * n, abs=2)
        assert parts.train.interactions.times.max() < times[parts.validation.query].min()
        assert times[parts.validation.query].max() < times[parts.test.query].min()
        assert times[parts.test.support].max() < times[parts.test.query].min()
        assert len(parts.test.query) == pytest.approx(0.2 * n, abs=2)

    def test_the_last_event_is_asked_for_and_the_one_before_validates(self, world):
        parts = leave_last_out(world)
        inter = world.interactions
        last = inter.offsets[1:][parts.test.users] - 1
        assert torch.equal(parts.test.query, last)
        assert torch.equal(parts.validation.query, last - 1)
        assert torch.equal(parts.test.support_sizes(), inter.counts()[parts.test.users] - 1)

    def test_users_with_two_events_only_train(self):
        data = Dataset(
            Interactions.from_columns(torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 1, 0, 1, 2])),
            FeatureTable.empty(2),
            FeatureTable.empty(3),
            Vocabulary(pl.Series(["a", "b"])),
            Vocabulary(pl.Series(["x", "y", "z"])),
            explicit=False,
            value_range=(1.0, 1.0),
        )
        parts = leave_last_out(data)
        assert parts.test.users.tolist() == [1]
        assert pairs(parts.train) == {("a", "x"), ("a", "y"), ("b", "x")}

    def test_the_four_states_hold_every_event_exactly_once(self, world):
        cold_users, cold_items = torch.arange(0, 120, 5), torch.arange(40, 60)
        train, states = four_states(world, cold_users, cold_items, query=2, min_events=3, max_events=100)
        assert sum(len(tasks.dataset.interactions) for tasks in states.values()) == len(world.interactions)
        assert train.n_users == 96
        assert set(train.interactions.items.tolist()) <= set(range(40))
        for name, tasks in states.items():
            inter = tasks.dataset.interactions
            used = torch.cat([tasks.support, tasks.query])
            new_user = torch.isin(inter.users()[used], cold_users)
            new_item = torch.isin(inter.items[used], cold_items)
            assert (new_user == (name in ("UC", "UIC"))).all()
            assert (new_item == (name in ("IC", "UIC"))).all()
            assert (tasks.query_sizes() == 2).all()
            assert (tasks.support_sizes() >= 1).all()

    @pytest.mark.parametrize("split", [new_users, new_items, new_users_and_items])
    def test_one_seed_gives_one_split_and_another_seed_another(self, world, split):
        assert split(world, seed=1).test.hash() == split(world, seed=1).test.hash()
        assert split(world, seed=1).test.hash() != split(world, seed=2).test.hash()

    def test_shares_that_leave_nothing_are_an_error(self, world):
        with pytest.raises(UserInputError, match="leave something to train on"):
            new_users(world, test=0.8, validation=0.3)
        with pytest.raises(UserInputError, match="too few to hold out"):
            new_users(world.select_users(torch.arange(2)), test=0.4, validation=0.4)
        with pytest.raises(UserInputError, match="leave something to train on"):
            by_time(world, test=0.8, validation=0.5)

    def test_one_time_for_all_cannot_be_cut(self, world):
        inter = replace(world.interactions, times=torch.ones(len(world.interactions), dtype=torch.int64))
        with pytest.raises(UserInputError, match=r"leaves no validation task.*carry one time"):
            by_time(replace(world, interactions=inter))

    def test_too_few_events_are_an_error_that_says_what_to_ask_for(self, world):
        with pytest.raises(UserInputError, match=r"new-users split .* leaves no .* task.*smaller query"):
            new_users(world, query=50)

    def test_a_split_by_time_needs_times(self, world):
        inter = world.interactions
        timeless = Interactions(inter.offsets, inter.items, inter.values, None, inter.n_items)
        with pytest.raises(UserInputError, match="needs times"):
            by_time(Dataset(**{**vars(world), "interactions": timeless}))


@pytest.mark.data
def test_melus_four_states_of_movielens_1m_have_the_sizes_of_the_paper(real_data):
    """Pairs and tasks of Lee et al., KDD 2019, as their published state files hold them."""
    about = json.loads((real_data / "ml-1m" / "melu_split.json").read_text())
    data = read(real_data / "ml-1m")
    merged = {int(old): new for old, new in about["merged_items"].items()}
    old, new = (data.item_ids.encode_known(ids) for ids in (list(merged), list(merged.values())))
    items = data.interactions.items.clone()
    for a, b in zip(old, new, strict=True):
        items[items == a] = b
    data = replace(data, interactions=replace(data.interactions, items=items))
    year = data.items.columns["year"] * data.items.schema[1].std + data.items.schema[1].mean
    cold_items = (year.round() >= about["cold_item_first_year"]).nonzero().flatten()
    _, states = four_states(data, data.user_ids.encode_known(about["cold_users"]), cold_items)
    pairs = [len(tasks.dataset.interactions) for tasks in states.values()]
    assert pairs == [640_448, 163_702, 157_456, 38_603]
    assert [len(tasks) for tasks in states.values()] == [2_653, 668, 2_863, 723]
