"""Approximate search in the service: its recall is what people get, and no rule or new item is forgotten."""

import sys
from dataclasses import replace
from functools import partial

import httpx
import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

import acclimate as ac
from acclimate.cli import app as cli
from acclimate.data import FeatureTable, synthetic_world
from acclimate.errors import AcclimateError, UserInputError
from acclimate.model import fit
from acclimate.serving.http.app import create
from acclimate.serving.http.settings import Settings
from acclimate.serving.retrieval import FaissIndex, UsearchIndex
from http_server import in_thread, serving
from serving_fakes import model as small_model
from serving_fakes import rows_of, serve

T = "default"
N_USERS, N_ITEMS = 700, 5000
LIKED = [{"item": "i3", "value": 5.0}, {"item": "i1999", "value": 1.0}, {"item": "i42", "value": 4.0}]


@pytest.fixture(scope="module")
def model():
    return fitted(ac.ridge())


def fitted(learner, *, explicit=True, seed=1):
    data = synthetic_world(N_USERS, N_ITEMS, events=(5, 20), explicit=explicit, seed=seed).dataset
    return fit(data, replace(learner, embedding_size=16, epochs=1))


@pytest.fixture(scope="module")
def exact(model):
    return serve(model)


@pytest.fixture(params=[FaissIndex, UsearchIndex])
def index(request):
    return request.param


@pytest.fixture(scope="module", params=[FaissIndex, UsearchIndex])
def quick(request, model):
    return serve(model, approximate=request.param)


def lists(service, people, k=10, **asked):
    return [rows_of(service.recommend(T, user=who, k=k, exclude_seen=False, **asked)) for who in people]


def overlap(found, wanted):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, wanted, strict=True)])


def ids(model):
    return model.data.user_ids.ids.to_list()


# -- what it says of itself --------------------------------------------------------------------------------


def test_the_recall_it_reports_is_counted_over_stored_people(quick, exact, model):
    told = quick.model_card()["approximate"]
    # Of 700 people every third is asked: at most 300.
    people = ids(model)[::3]
    assert told["recall"] == pytest.approx(overlap(lists(quick, people), lists(exact, people)), abs=1e-4)
    assert 0.9 < told["recall"] < 1
    assert told["k"] == 10


def test_the_recall_it_reports_is_what_other_people_get(quick, exact, model):
    people = [who for i, who in enumerate(ids(model)) if i % 3][:150]
    found = overlap(lists(quick, people), lists(exact, people))
    assert abs(quick.model_card()["approximate"]["recall"] - found) < 0.03


def test_card_and_status_name_index_and_recall(model, index):
    service = serve(model, approximate=index)
    card = service.model_card()
    said = f"{index.name}, recall@10 {card['approximate']['recall']:.2f}"
    assert card["approximate"]["index"] == index.name
    assert card["retrieval"] == service.status()["model"]["method"] == said


def test_an_exact_service_reports_no_recall(exact):
    assert exact.model_card()["approximate"] is None
    assert exact.recommend(T, events=LIKED).exact


def test_a_model_without_histories_is_measured_on_people_who_are_made_up(model, index):
    bare = model.without_histories()
    service, whole = serve(bare, approximate=index), serve(bare)
    told = service.model_card()["approximate"]["recall"]
    rng, hits = np.random.default_rng(5), []
    for _ in range(80):
        n = int(rng.integers(0, 20))
        events = [
            {"item": f"i{i}", "value": float(rng.uniform(1, 5))}
            for i in rng.choice(N_ITEMS, n, replace=False).tolist()
        ]
        answers = [one.recommend(T, events=events, exclude_seen=False) for one in (service, whole)]
        assert [one.exact for one in answers] == [False, True]
        hits.append(overlap([rows_of(answers[0])], [rows_of(answers[1])]))
    assert told > 0.85
    assert abs(np.mean(hits) - told) < 0.08


@pytest.mark.parametrize("learner", [ac.implicit_ridge(), ac.ials()], ids=["closed form", "states"])
def test_models_of_choices_are_searched_too(learner, index):
    data = synthetic_world(120, 600, events=(5, 20), explicit=False, seed=2).dataset
    learner = replace(learner, epochs=1) if hasattr(learner, "epochs") else learner
    chosen = fit(data, learner)
    service, whole = serve(chosen, approximate=index), serve(chosen)
    people = ids(chosen)[:40]
    assert overlap(lists(service, people), lists(whole, people)) > 0.85
    assert not service.recommend(T, user=people[0]).exact


# -- answers -----------------------------------------------------------------------------------------------


def test_answers_say_that_they_are_not_exact_and_their_scores_are(quick, exact):
    answer = quick.recommend(T, events=LIKED, k=20)
    assert not answer.exact
    assert answer.degraded == ()
    ranked = exact.rank(T, items=rows_of(answer), events=LIKED)
    assert rows_of(ranked) == rows_of(answer)
    assert [one.score for one in ranked.items] == [one.score for one in answer.items]


def test_only_the_default_lists_are_approximate(quick):
    assert quick.rank(T, items=["i1", "i2"], events=LIKED).exact
    assert quick.similar(T, item="i1").exact
    for strategy in ("popularity", "item-knn"):
        assert quick.recommend(T, events=LIKED, strategy=strategy).exact
    assert not quick.recommend(T, events=LIKED, diversity=0.5).exact


def test_every_worker_gives_the_same_answers(model, quick):
    other = serve(model, approximate=type(quick._deployment.base.engine.scan.index))
    people = ids(model)[:30]
    assert [quick.recommend(T, user=who) for who in people] == [
        other.recommend(T, user=who) for who in people
    ]


def test_what_was_seen_excluded_buried_or_pinned_is_honoured(quick, exact):
    first = rows_of(exact.recommend(T, events=LIKED, k=30))
    asked = {"exclude": first[:10], "bury": first[10:15], "pin": {"i7": 2}}
    found = rows_of(quick.recommend(T, events=LIKED, k=12, **asked))
    wanted = rows_of(exact.recommend(T, events=LIKED, k=12, **asked))
    assert len(found) == len(set(found)) == 12
    assert found[1] == "i7"
    assert not set(found) & set(first[:15])
    assert overlap([found], [wanted]) >= 0.75
    met = [{"item": item, "value": 5.0} for item in first]
    assert not set(rows_of(quick.recommend(T, events=met, k=50))) & set(first)


def test_a_filter_is_honoured_and_a_narrow_one_is_answered_exactly(quick, exact, model):
    genre = model.data.items.to_frame()["genre"].to_list()
    wanted = genre[3]
    answer = quick.recommend(T, events=LIKED, k=25, filter={"genre": wanted})
    assert len(answer.items) == 25
    assert {genre[int(item[1:])] for item in rows_of(answer)} == {wanted}
    length = model.data.items.to_frame()["length"].sort().to_list()
    few = {"length": {"min": length[100], "max": length[104]}}
    answers = [one.recommend(T, events=LIKED, k=10, filter=few) for one in (quick, exact)]
    assert answers[0] == answers[1]
    assert 1 <= len(answers[0].items) <= 10


# -- items that came after the model -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def fond():
    """A model of people who love the one item in eighty whose genre is jazz, and so what is new of it."""
    data = synthetic_world(200, 2000, events=(10, 30), seed=6).dataset
    genre = ["jazz" if i % 80 == 0 else "rock" for i in range(2000)]
    items = FeatureTable.from_frame(pl.DataFrame({"genre": genre}), {"genre": "categorical"})
    events = data.interactions
    values = torch.where(events.items % 80 == 0, 5.0, 2.0 + 0.25 * (events.items % 3))
    loved = replace(data, items=items, interactions=replace(events, values=values))
    return fit(loved, replace(ac.ridge(), embedding_size=16, epochs=60))


# A small cluster may hold less than a list; then the exact scan answers, which is not what is tried here.
@pytest.mark.parametrize("index", [partial(FaissIndex, clusters=1), UsearchIndex], ids=["faiss", "usearch"])
def test_added_items_are_found_wherever_the_exact_scan_finds_them(fond, index):
    service, whole = serve(fond, approximate=index), serve(fond)
    new = [{"item": f"new{i}", "fields": {"genre": "jazz" if i % 2 else "rock"}} for i in range(40)]
    before = service.model_card()["approximate"]
    for one in (service, whole):
        one.add_items(T, new)
    for who in ids(fond)[:60]:
        answer = service.recommend(T, user=who, k=40)
        wanted = {item for item in rows_of(whole.recommend(T, user=who, k=40)) if item.startswith("new")}
        assert len(wanted) >= 5
        assert {item for item in rows_of(answer) if item.startswith("new")} >= wanted
        assert not answer.exact
    assert service.model_card()["approximate"] == before
    assert not service.recommend("another", user="u1").items[0].item.startswith("new")


def test_an_item_whose_fields_changed_stands_where_its_new_fields_put_it(model, index):
    service = serve(model, approximate=index)
    before = service.recommend(T, events=LIKED, k=1).items[0]
    genre = model.data.items.to_frame()["genre"].to_list()
    other = next(label for label in genre if label not in (None, genre[int(before.item[1:])]))
    service.add_items(T, [{"item": before.item, "fields": {"genre": other}}])
    answer = service.recommend(T, events=LIKED, k=1000)
    assert rows_of(answer).count(before.item) <= 1
    [now] = service.rank(T, events=LIKED, items=[before.item]).items
    assert now.score != before.score
    shown = {one.item: one.score for one in answer.items}
    assert shown.get(before.item, now.score) == now.score
    assert before.item in shown or now.score <= answer.items[-1].score


# -- another model -----------------------------------------------------------------------------------------


def test_another_model_gets_an_index_of_its_own(model, index, tmp_path):
    path = tmp_path / "m.acc"
    model.save(path)
    service = serve(path, approximate=index, watch_seconds=0)
    before = service.model_card()
    other = fitted(ac.ridge(), seed=4)
    other.save(path)
    assert service.reload()
    after = service.model_card()
    assert (before["sha256"], after["sha256"]) == (model.sha256, other.sha256)
    assert after["approximate"] == serve(other, approximate=index).model_card()["approximate"]
    answer = service.recommend(T, user=ids(other)[5])
    assert not answer.exact
    assert answer.model == other.sha256
    people = ids(other)[:60]
    assert overlap(lists(service, people), lists(serve(other), people)) > 0.9


def test_a_model_that_cannot_be_searched_does_not_take_over(model, tmp_path):
    path = tmp_path / "m.acc"
    model.save(path)
    service = serve(path, approximate=FaissIndex, watch_seconds=0)
    small_model("popularity").save(path)
    with pytest.raises(AcclimateError, match="no item vectors"):
        service.reload()
    assert service.model_sha256 == model.sha256
    assert "no item vectors" in service.model_failure
    assert "no item vectors" in service.status()["model"]["failure"]
    assert not service.recommend(T, events=LIKED).exact


# -- what cannot be ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["popularity", "knn", "blend", "maml"])
def test_a_recommender_without_vectors_is_refused(kind):
    with pytest.raises(UserInputError, match=r"no item vectors to search approximately\. Serve it without"):
        serve(kind, approximate=FaissIndex)


def test_a_missing_package_is_named_before_anything_is_prepared(model, index, monkeypatch):
    for name in ("faiss", "usearch.index"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserInputError) as caught:
        serve(model, approximate=index)
    assert (
        str(caught.value)
        == f"Approximate search needs {index.name}. Install it: pip install 'acclimate[ann]'."
    )
    assert serve(model).recommend(T, events=LIKED).exact


def test_the_command_refuses_what_cannot_be_in_a_line(model, tmp_path, monkeypatch):
    good, bad = tmp_path / "m.acc", tmp_path / "popular.acc"
    model.save(good)
    small_model("popularity").save(bad)

    def said(*words):
        answer = CliRunner().invoke(cli, ["serve", *map(str, words), "--port", "0"])
        assert answer.exit_code == 2
        return " ".join(answer.output.split())

    assert "Approximate search is by faiss or usearch; found 'hnsw'." in said(good, "--approximate", "hnsw")
    for workers in (1, 2):
        assert "no item vectors" in said(bad, "--approximate", "usearch", "--workers", workers)
    monkeypatch.setitem(sys.modules, "faiss", None)
    for workers in (1, 2):
        words = (good, "--approximate", "faiss", "--workers", workers)
        assert "pip install 'acclimate[ann]'" in said(*words)


# -- over HTTP ---------------------------------------------------------------------------------------------


def test_settings_carry_the_choice_to_every_worker():
    told = Settings("m.acc", approximate="usearch")
    assert Settings.from_json(told.to_json()).index is UsearchIndex
    assert Settings("m.acc").index is None


def test_a_server_searches_approximately_if_told_to(model, tmp_path, index):
    model.save(tmp_path / "m.acc")
    where = str(tmp_path / "events")
    app = create(Settings(str(tmp_path / "m.acc"), store=where, page=False, approximate=index.name))
    with in_thread(app) as url, httpx.Client(base_url=url, trust_env=False) as http:
        assert not http.post("/v1/recommend", json={"events": LIKED}).json()["exact"]
        assert http.get("/v1/model").json()["approximate"]["index"] == index.name
        assert http.get("/v1/status").json()["model"]["method"].startswith(f"{index.name}, recall@10")


def test_the_command_serves_with_several_workers(model, tmp_path):
    path = tmp_path / "m.acc"
    model.save(path)
    with serving(tmp_path, path, "--approximate", "faiss", "--workers", 2) as running:
        answers = [
            httpx.post(f"{running.url}/v1/recommend", json={"events": LIKED}, trust_env=False).json()
            for _ in range(6)
        ]
    assert not answers[0]["exact"]
    assert all(one == answers[0] for one in answers)
