"""Whatever a caller sends: a mended request is one message away, and nothing is stored by half."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import acclimate as ac
from acclimate.model import fit
from serving_fakes import dataset, model, rows_of, serve, toy, wrong

T = "default"
GOOD = {"user": "u", "item": 100, "value": 3}


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"value": None}, "value", "ratings of 1 to 5"),
        ({"value": 0.5}, "value", "outside this model's range, 1 to 5"),
        ({"value": 5.5}, "value", "outside"),
        ({"value": math.nan}, "value", "finite"),
        ({"value": math.inf}, "value", "finite"),
        ({"value": True}, "value", "finite"),
        ({"value": "4"}, "value", "finite"),
        ({"value": 10**400}, "value", "bits"),
        ({"value": [4]}, "value", "finite"),
        ({"item": ""}, "item", "empty"),
        ({"item": None}, "item", "no item"),
        ({"item": 1.5}, "item", "text or a whole number"),
        ({"item": True}, "item", "text or a whole number"),
        ({"item": ["100"]}, "item", "text or a whole number"),
        ({"item": 10**5000}, "item", "bits"),
        ({"item": "x" * 257}, "item", "257 characters"),
        ({"item": "a\x00b"}, "item", "control"),
        ({"item": "\ud800"}, "item", "halves"),
        ({"user": ""}, "user", "empty"),
        ({"user": None}, "user", "a user or a session"),
        ({"user": False}, "user", "text or a whole number"),
        ({"user": {"a": 1}}, "user", "text or a whole number"),
        ({"user": "x" * 300}, "user", "300 characters"),
        ({"user": "tab\there"}, "user", "control"),
        ({"session": "s"}, "session", "not both"),
        ({"id": ""}, "id", "empty"),
        ({"id": 1.0}, "id", "text or a whole number"),
        ({"id": "x" * 257}, "id", "257"),
        ({"time": "now"}, "time", "finite"),
        ({"time": math.nan}, "time", "finite"),
        ({"time": 1.7e12}, "time", "milliseconds"),
        ({"rating": 3}, "rating", "An event has no 'rating'"),
    ],
)
def test_an_event_that_is_not_as_it_should_be_is_refused_with_its_place(change, field, says):
    service = serve()
    wrong(lambda: service.observe(T, [GOOD, {**GOOD, **change}]), "invalid_input", f"events.1.{field}", says)
    assert service.store.count() == 0


@pytest.mark.parametrize("given", [None, "x", 5, {"item": 100}])
def test_events_are_a_list(given):
    wrong(lambda: serve().observe(T, given), "invalid_input", "events", "list")


def test_an_event_is_an_object_and_a_call_holds_a_thousand():
    wrong(lambda: serve().observe(T, ["x"]), "invalid_input", "events.0", "An event is")
    wrong(lambda: serve().observe(T, [GOOD] * 1001), "too_many", "events", "1001")
    wrong(lambda: serve().recommend(T, events=["x"]), "invalid_input", "events.0", "An event is")
    wrong(lambda: serve().recommend(T, events=[{"item": 100, "user": "x"}]), "invalid_input", "events.0.user")
    wrong(lambda: serve().recommend(T, events=[{"item": 100}] * 501), "too_many", "events")


def test_an_unknown_item_is_an_error_unless_it_is_to_be_stored():
    service = serve()
    event = {"user": "u", "item": "Heta", "value": 3}
    wrong(lambda: service.observe(T, [event]), "unknown_item", "events.0.item", 'unknown_items="store"')
    assert not service.observe(T, [event], unknown_items="store")[0].known
    wrong(lambda: service.observe(T, [event], unknown_items="drop"), "invalid_input", "unknown_items")
    wrong(
        lambda: service.recommend(T, events=[{"item": "Heta", "value": 3}]), "unknown_item", "events.0.item"
    )


@pytest.mark.parametrize("value", [0, -1, 1e10, math.inf, False])
def test_a_strength_is_above_nothing_and_below_a_billion(value):
    wrong(lambda: serve("knn").observe(T, [{**GOOD, "value": value}]), "invalid_input", "events.0.value")


def test_choices_need_no_value_and_ratings_of_choices_are_in_range():
    assert serve("knn").observe(T, [{"user": "u", "item": 100}])[0].known
    service = serve("chosen-knn")
    service.observe(T, [{"user": "u", "item": 100}, {"user": "u", "item": 101, "value": 5}])
    assert service.recommend(T, user="u").events == 2
    wrong(lambda: service.observe(T, [{**GOOD, "value": 9}]), "invalid_input", "events.0.value", "1 to 5")


def test_strengths_up_to_the_greatest_give_finite_scores():
    for kind in ("implicit-ridge", "ials", "knn"):
        answer = serve(kind).recommend(T, events=[{"item": 100, "value": 1e9}, {"item": 101, "value": 1e-9}])
        assert all(math.isfinite(one.score) for one in answer.items)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "learner", [replace(ac.ials(), weighted=True), replace(ac.implicit_ridge(), epochs=3)]
)
def test_strengths_from_the_smallest_to_the_greatest_are_explained(learner):
    data = dataset(explicit=False)
    strengths = 1 + torch.arange(len(data.interactions)) % 100.0
    data = replace(data, interactions=data.interactions.with_values(strengths))
    service = serve(fit(data, learner))
    for values in ([1e9] * 40, [1e-300, 1e9, 1, 1e-30] * 10):
        given = [{"item": 100 + i, "value": value} for i, value in enumerate(values)]
        *parts, total = service.explain(T, events=given, item=105).parts
        score = service.rank(T, events=given, items=[105]).items[0].score
        assert total.contribution == pytest.approx(score, rel=1e-6)
        assert parts[-1].part == "rest"
        assert parts[-1].contribution == pytest.approx(0, abs=1e-4)


def test_numbers_and_lists_of_numpy_are_taken():
    service = serve()
    service.observe(T, [{"user": np.int64(900), "item": np.int64(100), "value": np.float32(3)}])
    plain = service.recommend(T, user=900, k=3, exclude=[101], pin={102: 1}, diversity=0.5)
    assert plain.events == 1
    assert plain == service.recommend(
        T,
        user=np.int64(900),
        k=np.int64(3),
        exclude=np.array([101]),
        pin={np.int64(102): np.int64(1)},
        diversity=np.float32(0.5),
        filter={"year": np.arange(1950, 1990)},
    )
    assert rows_of(service.rank(T, items=np.array([100, 101]))) == rows_of(service.rank(T, items=[100, 101]))


def test_a_number_that_no_item_can_have_lets_none_through():
    assert serve().recommend(T, filter={"year": {"min": 1e308}}).items == ()


@pytest.mark.parametrize("pin", [{"Heat": []}, {"Heat": {}}, {"Heat": None}])
def test_a_rank_is_a_number(pin):
    wrong(lambda: serve().recommend(T, pin=pin), "invalid_input", "pin.Heat")
    wrong(lambda: serve().rank(T, items=[100], pin=pin), "invalid_input", "pin.Heat")


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({"k": 0}, "invalid_input", "k"),
        ({"k": -3}, "invalid_input", "k"),
        ({"k": True}, "invalid_input", "k"),
        ({"k": 2.0}, "invalid_input", "k"),
        ({"k": "5"}, "invalid_input", "k"),
        ({"k": 1001}, "too_many", "k"),
        ({"k": 10**1000}, "too_many", "k"),
        ({"user": "a", "session": "b"}, "invalid_input", "session"),
        ({"user": 1.5}, "invalid_input", "user"),
        ({"exclude": "100"}, "invalid_input", "exclude"),
        ({"exclude": [1.5]}, "invalid_input", "exclude.0"),
        ({"exclude": [1] * 10_001}, "too_many", "exclude"),
        ({"exclude_seen": 1}, "invalid_input", "exclude_seen"),
        ({"bury": [None]}, "invalid_input", "bury.0"),
        ({"pin": {"none": 1}}, "unknown_item", "pin.none"),
        ({"pin": {"100": "1"}}, "invalid_input", "pin.100"),
        ({"pin": [100]}, "invalid_input", "pin"),
        ({"diversity": 1.1}, "invalid_input", "diversity"),
        ({"diversity": -0.1}, "invalid_input", "diversity"),
        ({"diversity": math.nan}, "invalid_input", "diversity"),
        ({"diversity": True}, "invalid_input", "diversity"),
        ({"exploration": 0.51}, "invalid_input", "exploration"),
        ({"exploration": "much"}, "invalid_input", "exploration"),
        ({"explore": "dice"}, "invalid_input", "explore"),
        ({"explore": []}, "invalid_input", "explore"),
        ({"strategy": "magic"}, "unknown_strategy", "strategy"),
        ({"strategy": ["default"]}, "unknown_strategy", "strategy"),
        ({"deviation": "yes"}, "invalid_input", "deviation"),
        ({"fields": {"age": 3}}, "unknown_field", "fields.age"),
        ({"fields": {"group": []}}, "invalid_input", "fields.group"),
        ({"fields": "g1"}, "invalid_input", "fields"),
    ],
)
def test_a_request_that_is_not_as_it_should_be_is_refused_with_its_place(options, code, field):
    wrong(lambda: serve().recommend(T, **options), code, field)


def test_a_list_is_as_long_as_the_catalogue_at_most():
    assert len(serve().recommend(T, k=1000).items) == 40
    assert len(serve("knn").recommend(T, k=1000).items) == 40
    assert len(serve().similar(T, item=100, k=1000).items) == 39
    assert len(serve().onboarding(T, k=1000).items) == 40
    assert rows_of(serve().recommend(T, k=5, exclude=list(range(100, 140)))) == []


def test_the_other_questions_are_as_strict():
    service = serve()
    wrong(lambda: service.similar(T, item=999), "unknown_item", "item")
    wrong(lambda: service.similar(T, item=100, k=0), "invalid_input", "k")
    wrong(lambda: service.explain(T, item=None), "invalid_input", "item")
    wrong(lambda: service.onboarding(T, k="3"), "invalid_input", "k")
    wrong(lambda: service.erase(T), "invalid_input", "user", "Say who")
    wrong(lambda: service.export(T, user="a", session="b"), "invalid_input", "session")
    wrong(lambda: service.undo(T, "", user="a"), "invalid_input", "id")
    wrong(lambda: service.search(T, 5), "invalid_input", "search")
    wrong(lambda: service.search(T, "x" * 3000), "too_many", "search")
    wrong(lambda: service.search(T, "x", 0), "invalid_input", "limit")
    wrong(lambda: service.rank(T, items="100"), "invalid_input", "items")
    wrong(lambda: service.rank(T, items=[100] * 10_001), "too_many", "items")
    wrong(lambda: service.rank(T, items=[100], k=0), "invalid_input", "k")


def test_fields_of_a_newcomer_count_as_they_do_for_the_model():
    service = serve()
    for group in ("g0", "g2"):
        wanted = model().recommend(events=[(100, 5.0)], user={"group": group}, k=40)
        answer = service.recommend(T, events=[{"item": 100, "value": 5}], fields={"group": group}, k=40)
        assert rows_of(answer) == wanted["item_id"].to_list()
        assert [one.score for one in answer.items] == pytest.approx(wanted["score"].to_list(), abs=2e-5)
    assert service.recommend(T, fields={}).items == service.recommend(T).items
    assert service.recommend(T, fields={"group": None}).items == service.recommend(T).items
    assert rows_of(service.recommend(T, fields={"group": "never seen"})) == rows_of(service.recommend(T))


def test_strategies_without_histories_are_not_supported():
    service = serve(model().without_histories())
    wrong(lambda: service.recommend(T, strategy="popularity"), "not_supported", "strategy", "kept none")
    assert service.model_card()["strategies"] == ["default"]


def test_strategies_rank_as_their_models_do():
    data = toy(["a", "b", "c", "d"])
    service = serve(data)
    answer = service.recommend(T, strategy="popularity", k=4)
    assert (rows_of(answer), answer.strategy, answer.scale) == (["a", "b", "c", "d"], "popularity", "rank")
    from acclimate.models import ItemKNN

    knn = service._deployment.base.engine_for("item-knn").recommender
    assert isinstance(knn, ItemKNN)
    near = serve("ridge").recommend(T, strategy="item-knn", events=[{"item": 100, "value": 1}], k=40)
    assert near.items[0].score > 0


def test_a_catalogue_of_one_item_is_a_catalogue():
    service = serve(toy(["only"]))
    assert rows_of(service.recommend(T)) == ["only"]
    assert service.similar(T, item="only").items == ()
    assert len(service.onboarding(T).items) == 1
    service.observe(T, [{"user": "u", "item": "only"}])
    assert service.recommend(T, user="u").items == ()
