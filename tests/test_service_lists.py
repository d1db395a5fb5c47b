"""What a list holds: filters, rules, diversity, exploration, items added while serving."""

import numpy as np
import pytest

from acclimate.serving.problems import RequestError
from acclimate.serving.service.diversity import diversified
from serving_fakes import model, rows_of, serve, toy, wrong

T = "default"
LIKED = [{"item": 100, "value": 5.0}, {"item": 107, "value": 1.0}]
GENRES = dict(zip(range(100, 140), model().data.items.to_frame()["genre"], strict=True))
FRAME = model().data.items.to_frame()


def listed(service, **options):
    return rows_of(service.recommend(T, k=60, **options))


# -- filters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ({"genre": "drama"}, lambda row: row["genre"] == "drama"),
        ({"genre": ["drama", "horror"]}, lambda row: row["genre"] in ("drama", "horror")),
        ({"tags": "western"}, lambda row: "western" in row["tags"]),
        ({"tags": ["western", "comedy"]}, lambda row: {"western", "comedy"} & set(row["tags"])),
        (
            {"genre": "drama", "tags": "western"},
            lambda row: row["genre"] == "drama" and "western" in row["tags"],
        ),
        ({"year": 1960}, lambda row: row["year"] == 1960),
        ({"year": [1960, 1961.0]}, lambda row: row["year"] in (1960, 1961)),
        ({"year": {"min": 1960, "max": 1964}}, lambda row: 1960 <= row["year"] <= 1964),
        ({"year": {"min": 1985}}, lambda row: row["year"] >= 1985),
        ({"year": {"max": 1950}}, lambda row: row["year"] <= 1950),
        ({"title": "Heat (1995)"}, lambda row: row["title"] == "Heat (1995)"),
        ({"title": "heat"}, lambda row: False),
        ({}, lambda row: True),
    ],
)
@pytest.mark.parametrize("kind", ["ridge", "rated-knn"])
def test_a_filter_leaves_exactly_the_items_that_satisfy_it(kind, condition, fits):
    wanted = [
        100 + i
        for i, row in enumerate(FRAME.iter_rows(named=True))
        if fits({**row, "year": round(row["year"])})
    ]
    service = serve(kind)
    assert sorted(listed(service, filter=condition)) == wanted
    assert sorted(rows_of(service.rank(T, items=range(100, 140), filter=condition))) == wanted
    assert listed(service, filter=condition) == [item for item in listed(service) if item in wanted]
    assert set(rows_of(service.similar(T, item=100, k=60, filter=condition))) == {*wanted} - {100}


@pytest.mark.parametrize(
    ("condition", "code", "field", "says"),
    [
        ({"gerne": "drama"}, "unknown_field", "filter.gerne", "Did you mean 'genre'"),
        ({"genre": "dramma"}, "invalid_input", "filter.genre", "Did you mean 'drama'"),
        ({"genre": {"min": 1}}, "invalid_input", "filter.genre", "holds labels"),
        ({"genre": []}, "invalid_input", "filter.genre", "empty"),
        ({"genre": None}, "invalid_input", "filter.genre", "label"),
        ({"genre": [["drama"]]}, "invalid_input", "filter.genre", "label"),
        ({"genre": ["drama"] * 1001}, "too_many", "filter.genre", "1001"),
        ({"year": "old"}, "invalid_input", "filter.year", "finite number"),
        ({"year": True}, "invalid_input", "filter.year", "finite number"),
        ({"year": {"min": float("nan")}}, "invalid_input", "filter.year.min", "finite number"),
        ({"year": {"min": 10**400}}, "invalid_input", "filter.year.min", "bits"),
        ({"year": {"from": 3}}, "invalid_input", "filter.year", "'from'"),
        ({"year": {}}, "invalid_input", "filter.year", "min, max"),
        ({"year": {"min": 5, "max": 4}}, "invalid_input", "filter.year", "above max"),
        ([], "invalid_input", "filter", "object"),
        ("drama", "invalid_input", "filter", "object"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_with_its_place(condition, code, field, says):
    wrong(lambda: serve().recommend(T, filter=condition), code, field, says)


def test_without_fields_there_is_nothing_to_filter_by():
    wrong(
        lambda: serve(toy(["a", "b"])).recommend(T, filter={"x": 1}), "unknown_field", "filter.x", "no fields"
    )


# -- exclusion and rules -----------------------------------------------------------------------------------


def test_what_is_excluded_buried_or_seen_is_not_listed():
    service = serve()
    whole = listed(service)
    assert listed(service, exclude=[100, "101", "Sabrina (1954)", 99999]) == [
        item for item in whole if item not in (100, 101, 102)
    ]
    assert listed(service, bury=[105]) == [item for item in whole if item != 105]
    seen = service.recommend(T, events=LIKED, k=60)
    assert not {100, 107} & set(rows_of(seen))
    assert {100, 107} <= set(rows_of(service.recommend(T, events=LIKED, k=60, exclude_seen=False)))
    assert len(listed(service)) == 40


def test_pins_stand_at_their_rank_and_say_so():
    service = serve()
    last = listed(service)[-1]
    answer = service.recommend(T, k=5, pin={last: 2, 100: 4})
    assert [(one.item, one.rank, one.reason) for one in answer.items if one.reason] == [
        (last, 2, "pinned"),
        (100, 4, "pinned"),
    ]
    others = [item for item in listed(service) if item not in (last, 100)]
    assert [one.item for one in answer.items if not one.reason] == others[:3]
    assert answer.items[1].score == pytest.approx(service.rank(T, items=[last]).items[0].score)


def test_pins_beyond_the_list_or_what_it_may_hold_do_not_stand():
    service = serve()
    whole = listed(service)
    assert rows_of(service.recommend(T, k=3, pin={139: 4})) == whole[:3]
    assert 139 not in rows_of(service.recommend(T, k=40, pin={139: 1}, exclude=[139]))
    assert 139 not in rows_of(service.recommend(T, k=40, pin={139: 1}, bury=[139]))
    other = "drama" if GENRES[139] != "drama" else "horror"
    assert 139 not in rows_of(service.recommend(T, k=40, pin={139: 1}, filter={"genre": other}))
    seen = service.recommend(T, events=[{"item": 139, "value": 3}], pin={139: 1}, k=2)
    assert (seen.items[0].item, seen.items[0].reason) == (139, "pinned")
    assert rows_of(service.recommend(T, k=1, pin={139: 1})) == [139]


def test_rules_of_a_tenant_hold_in_every_list():
    service = serve()
    service.set_rules(T, {"pin": {"Heat (1995)": 1, 101: 3}, "bury": [110]})
    assert (service.rules(T).pin, service.rules(T).bury) == ({"100": 1, "101": 3}, ("110",))
    for answer in (service.recommend(T, k=5), service.rank(T, items=[101, 102, 100, 110, 109])):
        assert (answer.items[0].item, answer.items[2].item) == (100, 101)
        assert 110 not in rows_of(answer)
    assert 110 not in rows_of(service.similar(T, item=100, k=60))
    assert 110 not in [one.item for one in service.onboarding(T, k=40).items]
    answer = service.recommend(T, k=5, pin={102: 1})
    assert (answer.items[0].item, answer.items[2].item) == (102, 101)
    service.set_rules(T, {})
    assert 110 in listed(service)


@pytest.mark.parametrize(
    ("rules", "field", "says"),
    [
        ({"pin": {"nobody": 1}}, "rules.pin.nobody", "Unknown item"),
        ({"pin": {"100": 0}}, "rules.pin.100", "from 1"),
        ({"pin": {"100": True}}, "rules.pin.100", "whole number"),
        ({"pin": {"100": 1, "101": 1}}, "rules.pin.101", "rank 1"),
        ({"pin": {"100": 1}, "bury": ["100"]}, "rules.bury", "both pinned and buried"),
        ({"bury": "100"}, "rules.bury", "list"),
        ({"exploration": 0.6}, "rules.exploration", "0 to 0.5"),
        ({"explore": 0.1}, "rules.explore", "pin, bury, exploration"),
        ([], "rules", "object"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(rules, field, says):
    with pytest.raises(RequestError, match=says) as caught:
        serve().set_rules(T, rules)
    assert caught.value.field == field


def test_a_rule_about_an_item_that_another_model_lacks_is_said():
    service = serve(toy(["a", "b", "c"]))
    service.set_rules(T, {"pin": {"a": 2}, "bury": ["b"]})
    answer = serve(toy(["b", "c", "d"]), service.store).recommend(T, k=5)
    assert rows_of(answer) == ["c", "d"]
    assert answer.degraded == ("1 pinned items, such as 'a', are not in the catalogue",)


def test_given_items_are_ranked_and_nothing_else():
    service = serve()
    answer = service.rank(T, items=[105, "Alien (1979)", 105, "103"], events=LIKED)
    assert sorted(rows_of(answer)) == [101, 103, 105]
    assert rows_of(answer) == [
        item for item in rows_of(service.recommend(T, events=LIKED, k=60)) if item in (101, 103, 105)
    ]
    assert 100 in rows_of(service.rank(T, items=[100], events=LIKED))
    assert rows_of(service.rank(T, items=[100, 101], events=LIKED, exclude_seen=True)) == [101]
    assert rows_of(service.rank(T, items=[105, 101, 103], events=LIKED, k=1)) == rows_of(answer)[:1]
    assert len(service.rank(T, items=range(100, 140), diversity=0.5).items) == 40
    wrong(lambda: service.rank(T, items=[]), "invalid_input", "items")
    wrong(lambda: service.rank(T, items=[100, 999]), "unknown_item", "items.1")


# -- diversity ---------------------------------------------------------------------------------------------


def test_the_next_item_is_always_the_most_relevant_that_is_unlike_the_others():
    scores = np.array([1.0, 0.9, 0.8, 0.0])
    units = np.array([[1, 0], [1, 0], [0, 1], [0, -1]], dtype=np.float32)
    assert diversified(scores, units, 4, 0.0).tolist() == [0, 1, 2, 3]
    assert diversified(scores, units, 3, 0.1).tolist() == [0, 2, 1]
    assert diversified(scores, units, 3, 0.5).tolist() == [0, 2, 3]
    assert diversified(scores, units, 3, 1.0).tolist() == [0, 2, 3]
    assert diversified(scores[:0], units[:0], 3, 0.5).tolist() == []


@pytest.mark.parametrize("kind", ["ridge", "als", "rated-knn", "blend"])
def test_diversity_makes_a_list_less_alike(kind):
    service = serve(kind)
    branch = service._deployment.base

    def alike(items):
        units = branch.units(np.array(items) - 100).astype(np.float64)
        return (units @ units.T)[np.triu_indices(len(items), 1)].mean()

    plain = rows_of(service.recommend(T, k=8))
    mixed = rows_of(service.recommend(T, k=8, diversity=0.7))
    assert len(set(mixed)) == 8
    assert mixed[0] == plain[0]
    assert alike(mixed) < alike(plain)


def test_where_likeness_is_not_known_the_answer_says_so():
    answer = serve(toy(["a", "b", "c"])).recommend(T, k=2, diversity=0.5)
    assert rows_of(answer) == ["a", "b"]
    assert "diversity is not known" in answer.degraded[0]


# -- exploration -------------------------------------------------------------------------------------------


def test_exploration_is_bounded_marked_and_at_the_end():
    service = serve()
    service.add_items(T, [{"item": f"new{i}", "fields": {"genre": "drama"}} for i in range(20)])
    known = service._deployment.branch(T).catalogue.little_known
    for k, share, most in ((10, 0.5, 5), (10, 0.2, 2), (1, 0.5, 0), (3, 0.5, 1), (7, 0.5, 3), (4, 0.0, 0)):
        for user in range(20):
            answer = service.recommend(T, user=f"x{user}", k=k, exploration=share)
            reasons = [one.reason for one in answer.items]
            assert len(answer.items) == k
            n = reasons.count("explored")
            assert n <= most
            assert reasons == [None] * (k - n) + ["explored"] * n
            rows = [service._deployment.branch(T).catalogue.row(str(one.item)) for one in answer.items]
            assert all(known[row] for row, one in zip(rows, answer.items, strict=True) if one.reason)
    assert [one.reason for one in service.recommend(T, user="x", k=10, exploration=0.5).items].count(
        "explored"
    ) == 5
    assert service.status()["items_explored"] > 0


@pytest.mark.parametrize(("k", "n"), [(8, 2), (10, 1), (12, 0), (20, 0)])
def test_a_list_is_full_where_what_is_little_known_is_liked_anyway(k, n):
    service = serve()
    best = listed(service)
    catalogue = service._deployment.base.catalogue
    known = np.zeros(40, dtype=bool)
    known[[item - 100 for item in best[:6]]] = True
    catalogue.__dict__["little_known"] = known
    answer = service.recommend(T, k=k, exploration=0.5)
    own = [one.item for one in answer.items if one.reason is None]
    assert [one.reason for one in answer.items] == [None] * (k - n) + ["explored"] * n
    explored = [one.item for one in answer.items if one.reason]
    assert set(explored) <= set(best[k // 2 : 6])
    assert own == [item for item in best if item not in explored][: k - n]


def test_many_places_to_explore_are_filled_from_many_items():
    service = serve()
    service.add_items(T, [{"item": f"new{i}", "fields": {}} for i in range(1100)])
    answer = service.recommend(T, k=1000, exploration=0.5)
    assert len(answer.items) == len(set(rows_of(answer))) == 1000
    assert sum(one.reason == "explored" for one in answer.items) == 500


def test_the_share_holds_on_average_where_it_is_no_whole_number():
    service = serve()
    service.add_items(T, [{"item": f"new{i}", "fields": {}} for i in range(20)])
    found = [
        sum(
            one.reason == "explored"
            for one in service.recommend(T, user=f"x{i}", k=10, exploration=0.05).items
        )
        for i in range(400)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("how", ["thompson", "ucb"])
def test_exploring_is_the_same_for_the_same_person_and_moment(how):
    one, two = serve(), serve()
    for service in (one, two):
        service.add_items(
            T, [{"item": f"new{i}", "fields": {"genre": g}} for i, g in enumerate(["drama", "horror"] * 8)]
        )
    lists = [
        [rows_of(s.recommend(T, user=f"x{i}", k=6, exploration=0.5, explore=how)) for i in range(30)]
        for s in (one, two)
    ]
    assert lists[0] == lists[1]
    assert (len({tuple(found) for found in lists[0]}) > 1) == (how == "thompson")


def test_the_upper_bound_takes_what_is_best_and_least_known():
    service = serve()
    service.add_items(
        T, [{"item": f"new{i}", "fields": {"genre": g}} for i, g in enumerate(["drama", "horror"])]
    )
    branch = service._deployment.branch(T)
    rows = np.flatnonzero(branch.catalogue.little_known)
    person = service._scene(T).person
    bounds = branch.engine.scores(person, rows) + branch.engine.deviations(person, rows)
    order = [branch.catalogue.item(row) for row in rows[np.argsort(-bounds, kind="stable")].tolist()]
    answer = service.recommend(T, k=6, exploration=0.5, explore="ucb")
    own = [one.item for one in answer.items if one.reason is None]
    assert [one.item for one in answer.items if one.reason] == [item for item in order if item not in own][:3]


def test_what_never_is_unsure_explores_evenly_and_says_so():
    service = serve("knn")
    service.add_items(T, [{"item": f"new{i}", "fields": {}} for i in range(6)])
    found = [service.recommend(T, user=f"x{i}", k=4, exploration=0.5) for i in range(60)]
    drawn = {one.item for answer in found for one in answer.items if one.reason}
    assert {f"new{i}" for i in range(6)} <= drawn
    assert "drawn evenly" in found[0].degraded[0]


def test_exploration_respects_everything_else():
    service = serve()
    service.add_items(T, [{"item": f"new{i}", "fields": {"genre": "drama"}} for i in range(6)])
    answer = service.recommend(
        T, k=8, exploration=0.5, exclude=["new0"], bury=["new1"], pin={"new2": 1}, filter={"genre": "drama"}
    )
    assert answer.items[0].item == "new2"
    assert not {"new0", "new1"} & set(rows_of(answer))
    assert len(set(rows_of(answer))) == len(answer.items)
    service.set_rules(T, {"exploration": 0.5})
    assert any(one.reason for one in service.recommend(T, k=4).items)
    assert not any(one.reason for one in service.recommend(T, k=4, exploration=0).items)


def test_a_great_many_little_known_items_are_sampled(monkeypatch):
    monkeypatch.setattr("acclimate.serving.service.exploration.CANDIDATES", 6)
    service = serve()
    service.add_items(T, [{"item": f"new{i}", "fields": {"genre": "drama"}} for i in range(50)])
    answer = service.recommend(T, k=6, exploration=0.5)
    assert [one.reason for one in answer.items].count("explored") == 3


# -- items added while serving -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ridge", "als", "maml", "content", "rated-knn"])
def test_a_new_item_is_scored_by_its_fields_at_once(kind):
    service = serve(kind)
    fields = {"genre": "horror", "tags": ["horror", "drama"], "length": 95.5, "title": "Fresh", "year": 1999}
    service.add_items(T, [{"item": 900, "fields": fields}])
    wanted = model(kind).score(
        events=[(100, 5.0), (107, 1.0)],
        items=__import__("polars").DataFrame({"item_id": [900], **{k: [v] for k, v in fields.items()}}),
    )
    answer = service.rank(T, items=["Fresh"], events=LIKED)
    assert (answer.items[0].item, answer.items[0].title) == (900, "Fresh")
    assert answer.items[0].score == pytest.approx(wanted["score"][0], abs=2e-5)
    whole = service.recommend(T, events=LIKED, k=60)
    assert len(whole.items) == 39
    assert [one.score for one in whole.items] == sorted((one.score for one in whole.items), reverse=True)
    assert 900 in rows_of(service.recommend(T, k=60, filter={"year": 1999, "genre": "horror"}))
    assert service.search(T, "fre")[0].item == 900
    assert 900 in rows_of(service.similar(T, item=100, k=60))
    assert len(service.similar(T, item=900, k=60).items) == 40
    assert service.explain(T, item=900, events=LIKED).item == 900


@pytest.mark.parametrize("kind", ["ridge", "implicit-ridge", "maml", "knn"])
def test_an_event_on_a_new_item_counts(kind):
    service = serve(kind)
    value = {"value": 5.0} if model(kind).data.explicit else {}
    service.observe(
        T, [{"user": "a", "item": "new", **value}, {"user": "a", "item": 100, **value}], unknown_items="store"
    )
    assert service.recommend(T, user="a").events == 1
    service.add_items(T, [{"item": "new", "fields": {"genre": "horror"}}])
    answer = service.recommend(T, user="a", k=60)
    assert answer.events == 2
    assert "new" not in rows_of(answer)
    parts = service.explain(T, user="a", item=101).parts
    assert [part.item for part in parts if part.part == "event"] == ["new", 100]
    brought = [{"item": "new", **value}, {"item": 100, **value}]
    assert rows_of(service.recommend(T, events=brought, k=60)) == rows_of(answer)
    score = service.rank(T, user="a", items=[101]).items[0].score
    if kind != "ridge":
        assert score == pytest.approx(parts[-1].contribution, abs=2e-5)


def test_new_fields_of_a_known_item_replace_the_old_ones_and_leave_the_others():
    service = serve()
    other = "drama" if GENRES[100] != "drama" else "horror"
    before = {one.item: one.score for one in service.recommend(T, k=60).items}
    service.add_items(T, [{"item": 100, "fields": {"genre": other, "title": "Heat, restored"}}])
    after = {one.item: one for one in service.recommend(T, k=60).items}
    assert after.keys() == before.keys()
    assert after[100].title == "Heat, restored"
    assert after[100].score != pytest.approx(before[100], abs=1e-6)
    assert {item: one.score for item, one in after.items() if item != 100} == {
        item: score for item, score in before.items() if item != 100
    }
    assert 100 in rows_of(service.recommend(T, k=60, filter={"genre": other}))
    assert 100 in rows_of(service.recommend(T, k=60, filter={"year": 1950}))
    assert service.search(T, "restored")[0].item == 100
    service.add_items(T, [{"item": 100, "fields": {}}])
    assert {one.item: one.score for one in service.recommend(T, k=60).items} == pytest.approx(
        before, abs=1e-5
    )


def test_a_label_that_the_model_never_met_can_be_filtered_by():
    service = serve()
    service.add_items(T, [{"item": "new", "fields": {"genre": "anime", "tags": "anime|drama"}}])
    assert listed(service, filter={"genre": "anime"}) == ["new"]
    assert "new" in listed(service, filter={"tags": ["anime"]})


@pytest.mark.parametrize(
    ("items", "code", "field", "says"),
    [
        ([{"item": "x", "fields": {"gnere": "drama"}}], "unknown_field", "items.0.fields.gnere", "genre"),
        ([{"item": "x", "fields": {"year": "soon"}}], "invalid_input", "items.0.fields.year", "finite"),
        ([{"item": "x", "fields": {"genre": {}}}], "invalid_input", "items.0.fields.genre", "label"),
        ([{"item": "x", "fields": {"title": "a" * 3000}}], "too_many", "items.0.fields.title", "3000"),
        ([{"item": "x"}, {"item": ""}], "invalid_input", "items.1.item", "empty"),
        ([{"item": None}], "invalid_input", "items.0.item", "whole number"),
        ([{"fields": {}}], "invalid_input", "items.0", "An item is"),
        ([{"item": "x", "price": 3}], "invalid_input", "items.0", "An item is"),
        ([], "invalid_input", "items", "no items"),
        ("x", "invalid_input", "items", "list"),
    ],
)
def test_an_item_that_cannot_be_added_is_refused_with_its_place(items, code, field, says):
    wrong(lambda: serve().add_items(T, items), code, field, says)


# -- finding -----------------------------------------------------------------------------------------------


def test_items_are_found_by_id_in_either_type_and_by_title():
    service = serve()
    for given in (100, "100", "Heat (1995)", "heat", "HEAT"):
        assert service.rank(T, items=[given]).items[0].item == 100
    assert service.rank(T, items=["the matrix"]).items[0].item == 104
    wrong(lambda: service.rank(T, items=["Sabrina"]), "unknown_item", "items.0", "title of 2 items")
    wrong(lambda: service.rank(T, items=["Hate"]), "unknown_item", "items.0", "Unknown item 'Hate'")
    wrong(lambda: service.explain(T, item="amelia"), "unknown_item", "item", "Amélie")


def test_search_finds_without_case_and_accents_the_likeliest_first():
    service = serve()
    assert [one.title for one in service.search(T, "amelie")] == ["Amélie"]
    assert {one.title for one in service.search(T, "SABRINA")} == {"Sabrina (1954)", "Sabrina (1995)"}
    assert service.search(T, "100")[0].item == 100
    assert service.search(T, "no such film") == []
    counts = model().data.interactions.item_counts()
    assert service.search(T, " ", 1)[0].item == 100 + int(counts.argmax())
    assert len(service.search(T, "film", 3)) == 3
    assert [one.item for one in serve(toy(["apple", "pear", "ape"])).search(T, "ap")] == ["apple", "ape"]


@pytest.mark.parametrize("ids", [["1", "2", "x"], [1, 2, 3], ["a b", "ü", "'; --"]])
def test_ids_come_back_in_their_own_type(ids):
    service = serve(toy(ids))
    assert rows_of(service.recommend(T, k=9)) == ids
    service.observe(T, [{"user": 1, "item": str(ids[1])}])
    assert rows_of(service.recommend(T, user="1", k=9)) == [ids[0], ids[2]]


def test_an_id_comes_before_a_title_that_is_written_alike():
    service = serve(toy([1, 2, 3], ["2", "3", "1"]))
    assert service.rank(T, items=["2"]).items[0].item == 2
    service.add_items(T, [{"item": "4", "fields": {"title": "1"}}])
    assert service.rank(T, items=["4"]).items[0].item == 4


def test_a_title_that_was_replaced_finds_nothing_any_more():
    service = serve()
    service.add_items(
        T, [{"item": 100, "fields": {"title": "Warm"}}, {"item": "n", "fields": {"title": "Heat (1995)"}}]
    )
    assert rows_of(service.rank(T, items=["Warm"])) == [100]
    assert rows_of(service.rank(T, items=["Heat"])) == ["n"]


def test_a_new_item_whose_title_another_has_is_not_guessed():
    service = serve()
    service.add_items(T, [{"item": "new", "fields": {"title": "Heat"}}])
    wrong(lambda: service.rank(T, items=["heat"]), "unknown_item", "items.0", "title of 2 items")
