import dataclasses
import itertools
import threading
from concurrent.futures import Future

import numpy as np
import pytest
import torch

from acclimate.errors import ConflictError, ModelFileError, StoreError, UserInputError
from acclimate.model import Model, load
from acclimate.model.shown import stored
from acclimate.serving.problems import RequestError
from acclimate.serving.service import Observation, Service, alike
from acclimate.serving.service import first_stage as stages
from acclimate.serving.service.beliefs import AnyBelief, GaussianBelief, believed
from acclimate.serving.service.people import tastes
from acclimate.serving.service.people.person import Person
from acclimate.serving.service.service import _then as then
from acclimate.serving.store.opening import open_store
from serving_fakes import Flaky, model, rows_of, serve, toy

KINDS = [
    "ridge",
    "implicit-ridge",
    "popularity",
    "knn",
    "rated-knn",
    "chosen-knn",
    "als",
    "ials",
    "maml",
    "blend",
    "bias",
    "content",
]
LIKED = [(100, 5.0), (107, 1.0), (120, 4.0)]
T = "default"


def events(pairs, value=True):
    return [{"item": item, "value": v} if value else {"item": item} for item, v in pairs]


def rated(kind: str) -> bool:
    return model(kind).data.explicit and not model(kind).takes_choices


def watched(service: Service, who: dict, pairs=LIKED, value=True) -> None:
    service.observe(T, [{**who, **event} for event in events(pairs, value)])


def everything(service: Service, who: dict, tenant: str = T) -> list:
    """What every question about a person is answered."""
    return [
        service.recommend(tenant, **who, k=40),
        service.recommend(tenant, **who, k=5, deviation=True, diversity=0.4),
        service.recommend(tenant, **who, k=5, strategy="item-knn"),
        service.rank(tenant, **who, items=[101, 102, 103, 104]),
        service.explain(tenant, **who, item=105),
        service.onboarding(tenant, **who, k=4),
        service.export(tenant, **who),
    ]


# -- the same answers as the model -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_newcomer_is_answered_as_by_the_model_itself(kind):
    service, pairs = serve(kind), LIKED if rated(kind) else [(item, 1.0) for item, _ in LIKED]
    given = pairs if model(kind).data.explicit else [item for item, _ in pairs]
    if model(kind).takes_choices:
        pairs = [(item, 5.0) for item, _ in pairs]
    wanted = model(kind).recommend(events=given, k=40)
    for answer in (
        service.recommend(T, events=events(pairs, model(kind).data.explicit), k=40),
        service.recommend(T, session="s", k=40)
        if watched(service, {"session": "s"}, pairs) is None
        else None,
    ):
        assert rows_of(answer) == wanted["item_id"].to_list()
        assert [one.score for one in answer.items] == pytest.approx(wanted["score"].to_list(), abs=2e-5)
        assert [one.rank for one in answer.items] == wanted["rank"].to_list()
        assert answer.events == 3
        assert answer.exact
        assert answer.degraded == ()
        assert answer.model == model(kind).sha256


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_of_the_training_data_is_answered_with_their_history(kind):
    service = serve(kind)
    for user in (1, 17, 60):
        wanted = model(kind).recommend(users=user, k=40)
        assert rows_of(service.recommend(T, user=user, k=40)) == wanted["item_id"].to_list()
    more = model(kind).recommend(
        users=17, events=LIKED if model(kind).data.explicit else [100, 107, 120], k=40
    )
    watched(service, {"user": "17"}, LIKED if model(kind).data.explicit else [(i, 1.0) for i, _ in LIKED])
    assert rows_of(service.recommend(T, user=17, k=40)) == more["item_id"].to_list()


@pytest.mark.parametrize("kind", ["ridge", "implicit-ridge", "als", "rated-knn", "blend"])
def test_similar_items_are_those_of_the_model(kind):
    wanted = model(kind).similar_items(103, 8)
    answer = serve(kind).similar(T, item=103, k=8)
    assert [one.score for one in answer.items] == pytest.approx(wanted["score"].to_list(), abs=2e-4)
    assert rows_of(answer)[:4] == wanted["item_id"].to_list()[:4]


@pytest.mark.parametrize("kind", ["ridge", "implicit-ridge", "knn"])
def test_without_histories_items_are_similar_by_what_an_event_changes(kind):
    bare = model(kind).without_histories()
    wanted = bare.similar_items(103, 8)
    answer = serve(bare).similar(T, item=103, k=8)
    assert [one.score for one in answer.items] == pytest.approx(wanted["score"].to_list(), abs=2e-5)
    assert 103 not in rows_of(answer)


def test_the_deviation_is_the_recommenders():
    wanted = model().recommend(events=LIKED, k=10)
    answer = serve().recommend(T, events=events(LIKED), k=10, deviation=True)
    assert [one.deviation for one in answer.items] == pytest.approx(wanted["deviation"].to_list(), rel=1e-4)
    assert serve().recommend(T, k=2).items[0].deviation is None


def test_a_model_that_does_not_know_how_unsure_it_is_says_so():
    answer = serve("knn").recommend(T, k=2, deviation=True)
    assert answer.degraded == ("this model does not know how unsure it is",)


def test_a_first_stage_brings_the_candidates_of_a_large_catalogue(monkeypatch):
    monkeypatch.setattr(stages, "CANDIDATES", 12)
    monkeypatch.setattr("acclimate.serving.service.branch.ALL_SCORED", 20)
    whole = serve("maml").recommend(T, events=events(LIKED), k=40)
    service = serve("maml", first_stage=model("ridge"))
    answer = service.recommend(T, events=events(LIKED), k=6)
    first = rows_of(serve("ridge").recommend(T, events=events(LIKED), k=12))
    assert not answer.exact
    assert rows_of(answer) == [item for item in rows_of(whole) if item in first][:6]
    service.add_items(T, [{"item": "new", "fields": {"genre": "drama"}}])
    assert "new" in rows_of(service.recommend(T, k=40))
    with pytest.raises(UserInputError, match="no vectors to retrieve by"):
        serve("maml", first_stage=model("knn"))


# -- reading one's own writes ------------------------------------------------------------------------------


def test_two_services_on_one_store_read_each_others_writes(tmp_path):
    one, two = (serve("ridge", open_store(tmp_path / "events.sqlite")) for _ in range(2))
    for i, item in enumerate(range(100, 112)):
        writer, reader = (one, two) if i % 2 else (two, one)
        writer.observe(T, [{"user": "new", "item": item, "value": 1 + i % 5}])
        answer = reader.recommend(T, user="new", k=40)
        assert answer.events == i + 1
        assert item not in rows_of(answer)
        assert answer == writer.recommend(T, user="new", k=40)


def test_settings_made_on_one_worker_count_on_the_other(tmp_path):
    one, two = (serve("ridge", open_store(tmp_path / "events.sqlite")) for _ in range(2))
    assert two.recommend(T, k=1).items[0].reason is None
    one.add_items(T, [{"item": "new", "fields": {"genre": "drama", "title": "Fresh"}}])
    one.set_rules(T, {"pin": {"new": 1}, "bury": [100]})
    answer = two.recommend(T, k=40)
    assert (answer.items[0].item, answer.items[0].title, answer.items[0].reason) == ("new", "Fresh", "pinned")
    assert 100 not in rows_of(answer)
    assert two.observe(T, [{"user": "u", "item": "Fresh", "value": 3}])[0].known
    assert two.rules(T) == one.rules(T)
    assert rows_of(two.recommend("other", k=40)) == rows_of(serve().recommend(T, k=40))


def test_an_item_added_by_another_worker_may_be_observed_at_once(tmp_path):
    one, two = (serve("ridge", open_store(tmp_path / "events.sqlite")) for _ in range(2))
    one.add_items(T, [{"item": "new", "fields": {"genre": "drama"}}])
    assert two.observe(T, [{"user": "u", "item": "new", "value": 3}])[0].known


def test_the_same_event_said_again_changes_nothing():
    service = serve()
    event = {"user": "a", "item": 100, "value": 4, "id": "e1"}
    assert service.observe(T, [event])[0].status == "stored"
    before = service.recommend(T, user="a")
    assert service.observe(T, [event])[0].status == "duplicate"
    assert service.recommend(T, user="a") == before
    with pytest.raises(ConflictError):
        service.observe(T, [{**event, "item": 101}])


def test_of_an_item_met_twice_the_last_event_counts():
    service = serve()
    watched(service, {"user": "a"}, [(100, 1.0), (101, 3.0), (100, 5.0)])
    assert service.recommend(T, user="a") == service.recommend(T, events=events([(101, 3.0), (100, 5.0)]))


def test_order_is_arrival_whatever_the_clock_says():
    service = serve()
    service.observe(T, [{"user": "a", "item": 100, "value": 1, "time": 2e9}])
    service.observe(T, [{"user": "a", "item": 100, "value": 5, "time": 1}])
    assert service.explain(T, user="a", item=101).parts[1].value == 5


def test_events_of_a_request_follow_the_stored_ones_and_are_not_stored():
    service = serve()
    watched(service, {"user": "a"}, LIKED[:2])
    more = service.recommend(T, user="a", events=events(LIKED[2:]), k=40)
    assert more.events == 3
    assert rows_of(more) == rows_of(service.recommend(T, events=events(LIKED), k=40))
    assert service.recommend(T, user="a").events == 2


def test_only_the_newest_events_make_a_state_but_all_count_as_seen(monkeypatch):
    monkeypatch.setattr("acclimate.serving.service.people.person.NEWEST", 2)
    service = serve()
    watched(service, {"user": "a"})
    answer = service.recommend(T, user="a", k=40)
    assert answer.events == 2
    assert not {100, 107, 120} & set(rows_of(answer))
    scores = {one.item: one.score for one in service.recommend(T, events=events(LIKED[1:]), k=40).items}
    assert {one.item: one.score for one in answer.items}.items() <= scores.items()


def test_sessions_and_users_of_one_name_are_two_people():
    service = serve()
    watched(service, {"session": "x"})
    assert service.recommend(T, user="x").events == 0
    assert service.recommend(T, session="x").events == 3


# -- undo and erase ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ridge", "rated-knn"])
def test_undoing_an_event_gives_back_the_answer_from_before(kind):
    service = serve(kind)
    service.set_rules(T, {"exploration": 0.3})
    watched(service, {"user": "a"}, LIKED[:2])
    before = everything(service, {"user": "a"})
    service.observe(T, [{"user": "a", "item": 120, "value": 4.0, "id": "oops"}])
    assert everything(service, {"user": "a"})[0] != before[0]
    assert not service.undo(T, "oops", user="b")
    assert service.undo(T, "oops", user="a")
    assert repr(everything(service, {"user": "a"})) == repr(before)
    assert not service.undo(T, "oops", user="a")


def test_undoing_the_second_event_on_an_item_brings_back_the_first():
    service = serve()
    watched(service, {"user": "a"}, LIKED[:1])
    before = everything(service, {"user": "a"})
    service.observe(T, [{"user": "a", "item": 100, "value": 1.0, "id": "second"}])
    service.undo(T, "second", user="a")
    assert repr(everything(service, {"user": "a"})) == repr(before)


@pytest.mark.parametrize("kind", ["ridge", "implicit-ridge", "rated-knn"])
@pytest.mark.parametrize("user", ["newcomer", 17])
def test_after_erase_every_question_is_answered_as_for_somebody_never_seen(kind, user):
    service = serve(kind)
    watched(service, {"user": user}, LIKED if rated(kind) else [(i, 1.0) for i, _ in LIKED])
    watched(service, {"user": "bystander"}, LIKED[:1] if rated(kind) else [(100, 1.0)])
    assert everything(service, {"user": user}) != everything(service, {"user": "stranger"})
    beside = everything(service, {"user": "bystander"})
    assert service.erase(T, user=user) == 3
    assert repr(everything(service, {"user": user})) == repr(everything(service, {"user": "stranger"}))
    assert everything(service, {"user": "bystander"}) == beside
    assert service.erase(T, user=user) == 0


def test_erase_counts_on_every_worker_and_after_a_restart(tmp_path):
    one, two = (serve("ridge", open_store(tmp_path / "events.sqlite")) for _ in range(2))
    watched(one, {"user": 17})
    assert two.recommend(T, user=17).events > 3
    one.erase(T, user="17")
    stranger = two.recommend(T, user="stranger")
    assert two.recommend(T, user=17) == stranger
    assert serve("ridge", open_store(tmp_path / "events.sqlite")).recommend(T, user=17) == stranger
    watched(two, {"user": 17}, LIKED[:1])
    assert one.recommend(T, user=17).events == 1


def test_tenants_know_nothing_of_each_other():
    service = serve()
    watched(service, {"user": 17})
    service.set_rules(T, {"bury": [101]})
    service.add_items(T, [{"item": "new", "fields": {}}])
    other = everything(service, {"user": 17}, "other")
    assert repr(other) == repr(everything(serve(), {"user": "stranger"}))
    assert service.search("other", "new") == []
    service.observe("other", [{"user": 17, "item": 100, "value": 1, "id": "e"}])
    before = everything(service, {"user": 17})
    assert not service.undo(T, "e", user=17)
    assert service.erase("other", user=17) == 1
    assert everything(service, {"user": 17}) == before


def test_nobodys_histories_are_served_where_no_tenant_has_them():
    assert serve(histories_tenant=None).recommend(T, user=17).events == 0
    assert serve(histories_tenant="shop").recommend("shop", user=17).events > 0


def test_an_export_holds_the_events_and_the_history():
    service = serve()
    service.observe(T, [{"user": 17, "item": 100, "value": 4.5, "time": 12.5, "id": "e"}])
    service.observe(T, [{"user": 17, "item": "gone", "value": 2}], unknown_items="store")
    found = service.export(T, user=17)
    assert [(one.item, one.value, one.known) for one in found.events] == [
        (100, 4.5, True),
        ("gone", 2.0, False),
    ]
    assert (found.events[0].id, found.events[0].time) == ("e", 12.5)
    inter, row = model().data.interactions, model().data.user_ids.encode([17])
    assert [one.item - 100 for one in found.history] == inter.items[inter.events_of(row)].tolist()


# -- determinism -------------------------------------------------------------------------------------------


def test_answers_depend_on_nothing_but_the_events_and_the_request(tmp_path):
    log = [(f"u{i % 5}", 100 + (i * 7) % 40, 1 + i % 5) for i in range(40)]

    def replay(service, order):
        service.set_rules(T, {"exploration": 0.4, "pin": {"109": 3}})
        for user, item, value in order:
            service.observe(T, [{"user": user, "item": item, "value": value}])
            service.recommend(T, user=user)
        return [repr(everything(service, {"user": f"u{i}"})[:6]) for i in range(5)]

    store = open_store(tmp_path / "a.sqlite")
    first = replay(serve("ridge", store), log)
    by_user = sorted(log, key=lambda event: event[0])
    assert [text.replace("'", "") for text in replay(serve(), by_user)] != []
    second = serve()
    replay(second, by_user)
    # Ids of events are made up by whoever stores them; all else is equal.
    for i, user in enumerate(f"u{i}" for i in range(5)):
        ours = everything(second, {"user": user})
        theirs = everything(serve("ridge", store), {"user": user})
        assert repr(ours[:4]) == repr(theirs[:4])
        assert repr(theirs[:6]) == first[i]


def test_many_threads_get_the_answers_that_one_gets():
    service = serve()
    for i in range(8):
        watched(service, {"user": f"u{i}"}, [(100 + i, 5.0), (110 + i, 1.0)])
    wanted = {i: service.recommend(T, user=f"u{i}", exploration=0.3) for i in range(8)}
    fresh = Service.open(model(), service.store, remembered=3)
    wrong = []

    def ask(start):
        for i in itertools.chain(range(start, 8), range(start)):
            if fresh.recommend(T, user=f"u{i}", exploration=0.3) != wanted[i]:
                wrong.append(i)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- explanations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_explanation_sums_to_the_score_and_names_the_events(kind):
    service = serve(kind)
    pairs = LIKED if rated(kind) else [(item, 1.0) for item, _ in LIKED]
    service.observe(T, [{"user": "a", "id": f"e{i}", **event} for i, event in enumerate(events(pairs))])
    found = service.explain(T, user="a", item="Alien (1979)")
    assert (found.item, found.title) == (101, "Alien (1979)")
    *parts, total = found.parts
    assert total.part == "total"
    assert sum(part.contribution for part in parts) == pytest.approx(total.contribution, abs=1e-9)
    named = [part for part in parts if part.part == "event"]
    assert [(part.event, part.item) for part in named] == [("e0", 100), ("e1", 107), ("e2", 120)]
    score = service.rank(T, user="a", items=[101]).items[0].score
    low, high = model(kind).data.value_range
    clipped = min(max(total.contribution, low), high) if model(kind).predicts_ratings else total.contribution
    assert score == pytest.approx(clipped, abs=2e-5)


def test_events_of_a_request_and_of_a_history_have_no_id():
    found = serve().explain(T, user=17, events=events(LIKED), item=101)
    assert {part.event for part in found.parts} == {None}


# -- onboarding --------------------------------------------------------------------------------------------


def test_the_information_of_a_question_is_that_of_a_gaussian_answer():
    service = serve()
    branch = service._deployment.base
    person = Person(branch.catalogue, service._deployment.values)
    rows = np.arange(40)
    belief = believed(branch, person, rows)
    assert isinstance(belief, GaussianBelief)
    head = model().recommender
    encoded = head.encode(model().data.catalogue())
    phi = encoded.inputs.double()
    covariance = torch.linalg.inv(head.prior_precision().double())
    noise = float(head.log_noise.exp())
    expected = 0.5 * torch.log(1 + noise * torch.einsum("nd,de,ne->n", phi, covariance, phi))
    assert belief.gains() == pytest.approx(expected.numpy(), rel=1e-4)


@pytest.mark.parametrize("kind", ["ridge", "implicit-ridge"])
def test_beliefs_by_algebra_and_by_adapting_agree(kind):
    service = serve(kind)
    branch = service._deployment.base
    given = Person(branch.catalogue, service._deployment.values)
    rows = np.arange(0, 40, 3)
    fast = believed(branch, given, rows)
    answers = np.full(len(rows), 3.0 if kind == "ridge" else 1.0, dtype=np.float32)
    slow = AnyBelief(branch, given, rows, answers)
    for asked in (2, 7, 0):
        assert fast.deviations() == pytest.approx(slow.deviations(), rel=1e-3)
        assert fast.gains() == pytest.approx(slow.gains(), rel=5e-3, abs=1e-5)
        fast.ask(asked)
        slow.ask(asked)


def test_questions_are_the_greedy_choice_of_the_most_expected_information():
    service = serve()
    found = service.onboarding(T, k=5, events=events(LIKED))
    assert found.method == "information"
    recommender, data = model().recommender, model().data
    counts = np.array(service._deployment.known.popularity) * 60
    known = (counts + 0.5) / 61
    support = [(item - 100, value) for item, value in LIKED]
    asked: list[int] = []

    def deviation(pairs, row):
        rows = torch.tensor([[row_ for row_, _ in pairs]])
        feedback = dataclasses.replace(
            model()._shown(None, [], None, "error").feedback(torch.arange(1)),
            items=data.items_at(rows),
            values=torch.tensor([[value for _, value in pairs]]),
            mask=torch.ones_like(rows, dtype=torch.bool),
        )
        return float(recommender.deviation(recommender.adapt(feedback), data.items_at(torch.tensor([row]))))

    for _ in range(5):
        pairs = support + [(row, 3.0) for row in asked]
        free = [row for row in range(40) if row not in [row_ for row_, _ in pairs]]
        gains = {
            row: known[row] * np.log(deviation(pairs, row) / deviation([*pairs, (row, 3.0)], row))
            for row in free
        }
        best = max(gains, key=gains.get)
        one = found.items[len(asked)]
        assert one.item - 100 == best
        assert one.information == pytest.approx(gains[best], rel=1e-2)
        asked.append(best)
    assert found.items[0].popularity == pytest.approx(counts[asked[0]] / 60)


@pytest.mark.parametrize("kind", ["knn", "blend", "popularity"])
def test_a_recommender_that_is_never_unsure_asks_for_what_is_popular_and_diverse(kind):
    found = serve(kind).onboarding(T, k=6)
    assert found.method == "popularity and diversity"
    shares = model(kind).data.interactions.item_counts()
    assert found.items[0].item - 100 == int(shares.argmax())
    assert len({one.item for one in found.items}) == 6
    assert all(one.information is None and one.deviation is None for one in found.items)


def test_who_has_met_everything_is_asked_nothing():
    service = serve()
    watched(service, {"user": "a"}, [(item, 3.0) for item in range(100, 140)])
    assert service.onboarding(T, user="a").items == ()
    assert service.recommend(T, user="a").items == ()


def test_without_histories_questions_say_that_nobody_knows_what_people_know():
    found = serve(model().without_histories()).onboarding(T, k=3)
    assert len(found.items) == 3
    assert "kept no histories" in found.degraded[0]
    assert found.items[0].popularity is None


# -- faults ------------------------------------------------------------------------------------------------


def test_while_the_store_is_unreadable_answers_reflect_what_was_last_known():
    store = Flaky(open_store(":memory:"))
    service = serve("ridge", store)
    watched(service, {"user": "a"})
    before = service.recommend(T, user="a")
    store.broken = True
    answer = service.recommend(T, user="a")
    assert answer.items == before.items
    assert answer.degraded[0] == "the event store cannot be read: the disk is gone"
    assert "last known" in answer.degraded[1]
    stranger = service.recommend(T, user=17)
    assert stranger.events == 0
    assert "somebody new" in stranger.degraded[1]
    assert service.recommend(T, events=events(LIKED)).items == before.items
    assert service.search(T, "heat")[0].item == 100
    for call in (
        lambda: service.observe(T, [{"user": "a", "item": 101, "value": 1}]),
        lambda: service.undo(T, "e", user="a"),
        lambda: service.erase(T, user="a"),
        lambda: service.export(T, user="a"),
        lambda: service.set_rules(T, {}),
    ):
        with pytest.raises(StoreError):
            call()
    assert service.status()["store"] == {"ok": False, "local": True, "error": "the disk is gone"}
    store.broken = False
    assert service.recommend(T, user="a") == before
    assert service.status()["store"]["ok"]


def test_after_an_erase_nothing_is_remembered_even_while_the_store_is_unreadable():
    store = Flaky(open_store(":memory:"))
    service = serve("ridge", store)
    watched(service, {"user": "a"})
    service.recommend(T, user="a")
    service.erase(T, user="a")
    store.broken = True
    assert service.recommend(T, user="a").events == 0


# -- another model takes over ------------------------------------------------------------------------------


def test_a_damaged_file_is_refused_and_seen_and_a_good_one_takes_over(tmp_path):
    path = tmp_path / "model.acc"
    first = model("ridge").save(path)
    service = serve_file(path)
    watched(service, {"user": "a"})
    before = service.recommend(T, user="a")
    assert not service.reload()
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    with pytest.raises(ModelFileError):
        service.reload()
    answer = service.recommend(T, user="a")
    assert answer.items == before.items
    assert answer.model == first
    assert "cannot be used" in answer.degraded[0]
    assert "torn" in service.status()["model"]["failure"]
    second = model("ridge", seed=4).save(path)
    assert service.reload()
    answer = service.recommend(T, user="a")
    assert (answer.model, answer.events, answer.degraded) == (second, 3, ())
    assert service.model_failure is None
    assert answer == serve_like(service, model("ridge", seed=4)).recommend(T, user="a")


def test_rules_and_items_hold_when_a_model_takes_over_while_the_store_is_unreadable(tmp_path):
    path, store = tmp_path / "model.acc", Flaky(open_store(":memory:"))
    model("ridge").save(path)
    service = Service.open(path, store, watch_seconds=0)
    best = rows_of(service.recommend(T, k=1))
    service.set_rules(T, {"bury": best})
    service.add_items(T, [{"item": "new", "fields": {"genre": "drama"}}])
    model("als").save(path)
    store.broken = True
    assert service.reload()
    found = rows_of(service.recommend(T, k=50))
    assert "new" in found
    assert not set(best) & set(found)


def test_whatever_a_new_model_breaks_on_the_old_one_stays_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "model.acc"
    first = model("ridge").save(path)
    service = serve_file(path)
    model("als").save(path)
    monkeypatch.setattr("acclimate.serving.service.deployment.Known", lambda model: [].nothing)
    with pytest.raises(AttributeError):
        service.reload()
    assert service.model_failure
    answer = service.recommend(T)
    assert answer.model == first
    assert "cannot be used" in answer.degraded[0]


def serve_file(path, **options) -> Service:
    return Service.open(path, open_store(":memory:"), **{"watch_seconds": 0, **options})


def serve_like(service: Service, other: Model) -> Service:
    return Service.open(other, service.store)


def test_a_model_whose_scores_are_not_finite_is_refused(tmp_path):
    path = tmp_path / "model.acc"
    model("als").save(path)
    service = serve_file(path)
    good = service.recommend(T, events=events(LIKED))
    broken = dataclasses.replace(model("popularity").recommender, logits=torch.full((40,), float("nan")))
    bad = dataclasses.replace(model("popularity"), recommender=broken, read_as=None)
    with pytest.raises(ModelFileError, match="finite"):
        serve(bad)
    bad.save(path)
    with pytest.raises(ModelFileError):
        service.reload()
    assert service.recommend(T, events=events(LIKED)).items == good.items


def test_events_stay_when_a_model_of_another_catalogue_takes_over():
    service = serve(toy(["a", "b", "c", "d"]))
    service.observe(T, [{"user": "u", "item": "b"}, {"user": "u", "item": "d"}])
    other = serve_like(service, toy(["d", "e", "f", "a"]))
    assert rows_of(other.recommend(T, user="u")) == ["e", "f", "a"]
    assert other.recommend(T, user="u").events == 1
    assert [(one.item, one.known) for one in other.export(T, user="u").events] == [("b", False), ("d", True)]
    assert rows_of(serve_like(service, toy(["b", "x"])).recommend(T, user="u")) == ["x"]


def test_events_that_another_model_cannot_read_do_not_count_and_it_says_so():
    service = serve("knn")
    service.observe(T, [{"user": "u", "item": 100}, {"user": "u", "item": 101, "value": 400}])
    service.observe(T, [{"user": "u", "item": 102, "value": 4}])
    answer = serve_like(service, model("ridge")).recommend(T, user="u", k=40)
    assert answer.events == 1
    assert answer.degraded == ("2 stored events do not count: this model takes ratings of 1 to 5",)
    assert not {100, 101, 102} & set(rows_of(answer))


def test_a_file_that_changes_is_noticed(tmp_path):
    path = tmp_path / "model.acc"
    model("ridge").save(path)
    with serve_file(path, watch_seconds=0.02) as service:
        second = model("ridge", seed=4).save(path)
        wait(lambda: service.model_sha256 == second)
        path.write_bytes(b"not a model")
        wait(lambda: service.model_failure is not None)
        assert service.model_sha256 == second
        path.unlink()
        model("ridge").save(path)
        wait(lambda: service.model_sha256 == model("ridge").sha256)
        wait(lambda: service.model_failure is None)


def wait(condition, seconds=20.0):
    passed = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        passed.wait(0.02)
    raise AssertionError("it did not happen")


def test_answers_are_always_those_of_the_model_they_name_while_models_are_swapped(tmp_path):
    path = tmp_path / "model.acc"
    models = [model("ridge"), model("ridge", seed=4)]
    models[0].save(path)
    service = serve_file(path)
    watched(service, {"user": "a"})
    wanted = {}
    for one in models:
        alone = serve_like(service, one)
        wanted[one.sha256] = (alone.recommend(T, user="a"), alone.explain(T, user="a", item=101))
    wrong, seen, stop = [], set(), threading.Event()

    def ask():
        while not stop.is_set():
            answer, why = service.recommend(T, user="a"), service.explain(T, user="a", item=101)
            seen.add(answer.model)
            if answer != wanted[answer.model][0] or why != wanted[why.model][1]:
                wrong.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(1, 9):
        models[turn % 2].save(path)
        assert service.reload()
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(seen) == 2


def test_two_items_that_are_written_alike_are_no_catalogue_for_a_server():
    ids = toy(["1", "2"]).data
    clashing = toy(["1", "2"])

    class Odd:
        def __init__(self, text):
            self.text = text

        def __str__(self):
            return "same"

    from acclimate.serving.service.catalogue.known import Known

    class Ids:
        ids = type("S", (), {"to_list": staticmethod(lambda: [Odd("a"), Odd("b")])})

    odd = dataclasses.replace(clashing, data=dataclasses.replace(ids, item_ids=Ids()))
    object.__setattr__(odd, "names", clashing.names)
    with pytest.raises(ModelFileError, match="written alike"):
        Known(odd)


def test_an_observation_may_be_an_object():
    service = serve()
    receipts = service.observe(T, [Observation(item=100, user="a", value=3, id="x")])
    assert (receipts[0].id, receipts[0].status, receipts[0].known) == ("x", "stored", True)
    assert service.submit(T, [Observation(item=101, session=5, value=3)]).result()[0].known
    assert service.observe(T, []) == []


def test_what_cannot_be_had_without_a_file_is_said():
    with pytest.raises(RequestError, match="not a file"):
        serve().reload()


def test_the_card_and_the_status_are_plain_json():
    import json

    for kind in KINDS:
        service = serve(kind)
        card = json.loads(json.dumps(service.model_card()))
        assert card["sha256"] == model(kind).sha256
        assert card["value"]["needed"] == rated(kind)
        assert {field["name"] for field in card["item_fields"]} == {
            "genre",
            "tags",
            "length",
            "title",
            "year",
        }
        status = json.loads(json.dumps(service.status()))
        assert status["ready"]
        assert status["store"]["ok"]


def test_the_hash_of_a_model_is_what_its_file_says(tmp_path):
    path = tmp_path / "model.acc"
    for kind in ("ridge", "knn"):
        saved = model(kind).save(path)
        again = load(path)
        assert saved == model(kind).sha256 == again.sha256 == again.save(tmp_path / "copy.acc")
        assert again.without_histories().sha256 == again.save(tmp_path / "bare.acc", histories=False)
        assert again.without_histories().sha256 != saved


def test_what_was_being_derived_while_somebody_was_erased_is_not_kept():
    service = serve()
    states, person = service._states, service._scene(T, events=[]).person
    states.put(T, "u:a", ("model", 0, 1, False), person)
    states.erase(T, "u:a")
    states.put(T, "u:a", ("model", 0, 1, False), person)
    assert states.latest(T, "u:a") is None
    states.put(T, "u:a", ("model", 0, 1, True), person)
    assert states.get(T, "u:a", ("model", 0, 1, True)) is person


def test_large_states_are_kept_for_those_asked_about_last_only(monkeypatch):
    monkeypatch.setattr(tastes, "_SMALL", 100)
    monkeypatch.setattr(tastes, "_MOST", 400)
    service = serve("knn")  # its state is a number for every item
    engine, people = service._deployment.base.engine, [service._scene(T, user=u).person for u in (1, 2, 3, 4)]
    first = [engine.taste(person) for person in people]
    assert first[0].nbytes == 160
    assert engine.taste(people[3]) is first[3]
    assert engine.taste(people[2]) is first[2]
    assert engine.taste(people[0]) is not first[0]
    assert all(not person.tastes for person in people)
    engine = serve("ridge")._deployment.base.engine
    assert engine.taste(people[0]) is engine.taste(people[0])


def test_people_are_compared_over_once_however_often_items_are_added(monkeypatch):
    calls = []
    monkeypatch.setattr(alike, "stored", lambda *given: calls.append(1) or stored(*given))
    service = serve()
    before = service.similar(T, item=103, k=5)
    for i in range(3):
        service.add_items(T, [{"item": f"new{i}", "fields": {"genre": "drama"}}])
        assert len(rows_of(service.similar(T, item=f"new{i}", k=42 + i))) == 40 + i
    assert len(calls) == 1
    assert service.similar("another", item=103, k=5) == before


def test_a_future_passes_on_whatever_goes_wrong_and_cannot_be_called_off():
    first: Future[int] = Future()
    second = then(first, lambda n: [][n])
    assert not second.cancel()
    first.set_result(3)
    with pytest.raises(IndexError):
        second.result(timeout=1)


def test_a_catalogue_too_large_to_compare_every_pair_has_no_such_strategy(monkeypatch):
    monkeypatch.setattr("acclimate.serving.service.strategies.MOST_COMPARED", 39)
    service = serve()
    assert service.model_card()["strategies"] == ["default", "popularity"]
    with pytest.raises(RequestError, match="every pair"):
        service.recommend(T, strategy="item-knn")


def test_a_recommender_of_ones_own_is_served_from_its_file(tmp_path):
    mine = dataclasses.make_dataclass(
        "Mine",
        [("logits", torch.Tensor)],
        namespace={
            "scale": "rank",
            "adapt": lambda self, support: {"n": support.mask.sum(1)},
            "score": lambda self, state, items: self.logits[items.ids].expand(len(state["n"]), -1),
        },
        frozen=True,
        eq=False,
    )
    own = dataclasses.replace(toy(["a", "b", "c"]), recommender=mine(torch.tensor([1.0, 3.0, 2.0])))
    own.save(tmp_path / "mine.acc")
    service = Service.open(tmp_path / "mine.acc", open_store(":memory:"), classes=[mine], watch_seconds=0)
    assert rows_of(service.recommend(T)) == ["b", "c", "a"]
    assert service.reload() is False
