"""After an erase every route answers as for somebody never seen, on both stores, whoever is asked."""

import json
import re
import time

import pytest

from postgres import database, postgres  # noqa: F401 - fixtures
from served import Server
from serving_fakes import model

ITEMS = [100, 105, 110, 115, 120, 125]
ROUNDS = 8
"""Askings, each on a connection of its own: with two workers, both are very likely asked."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("erase") / "model.acc"
    model("ridge").save(path)
    return path


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def server(request, saved, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    store = (
        str(folder / "events.sqlite")
        if request.param == "sqlite"
        else request.getfixturevalue("postgres").new_database()
    )
    with Server(saved, store, folder / "log", workers=2, more=("--no-page",)) as server:
        # An item of which nothing is known, so that lists have something to explore.
        added = [{"item": f"n{i}", "fields": {"title": f"New {i}", "genre": "drama"}} for i in range(4)]
        server.ask("PUT", "/v1/items", {"items": added})
        yield server


def questions(kind, name):
    """Everything that can be asked about a person and changes nothing.

    Exploration by Thompson sampling is not: it draws by the person's name, and so differs between strangers.
    """
    who = {kind: name}
    extra = [{"item": 130, "value": 4}]
    lists = [
        {},
        {"k": 30, "deviation": True},
        {"exclude_seen": False, "diversity": 0.4},
        {"exploration": 0.5, "explore": "ucb", "events": extra},
        {"strategy": "item-knn"},
        {"strategy": "popularity", "filter": {"genre": "drama"}},
        {"events": extra, "pin": {"131": 1}, "bury": [132]},
        {"fields": {"group": "g1"}},
    ]
    asked = [("POST", "/v1/recommend", {**who, **more}) for more in lists]
    asked += [
        ("POST", "/v1/rank", {**who, "items": ITEMS}),
        ("POST", "/v1/rank", {**who, "items": ITEMS, "exclude_seen": True, "deviation": True}),
        *(("POST", "/v1/explain", {**who, "item": item}) for item in ITEMS[:3]),
        ("POST", "/v1/onboarding", {**who, "k": 6}),
        ("POST", "/v1/onboarding", {**who, "k": 6, "events": extra}),
        ("GET", f"/v1/{kind}s/{name}/export", None),
        ("DELETE", f"/v1/{kind}s/{name}/events/{kind}-{name}-0", None),
        ("DELETE", f"/v1/{kind}s/{name}", None),
    ]
    return asked


def answers(server, kind, name):
    """The answers to all questions, the person's name made the same for everybody."""
    whole = re.compile(rb"(?<![\w.-])%s(?![\w.])" % re.escape(str(name).encode()))
    return [
        (status, whole.sub(b"SOMEBODY", body))
        for status, body in (server.call(*question) for question in questions(kind, name))
    ]


def differences(server, kind, name, expected):
    found = zip(questions(kind, name), expected, answers(server, kind, name), strict=True)
    return [(question, was, now) for question, was, now in found if was != now]


def observe(server, kind, name, n=5):
    events = [
        {"id": f"{kind}-{name}-{i}", kind: name, "item": item, "value": 5 - i % 3, "time": i}
        for i, item in enumerate(ITEMS[:n])
    ]
    return server.ask("POST", "/v1/events", {"events": events})


def forgotten(server, kind, name, expected):
    """Erases somebody; from a second later at the latest, nothing differs from somebody never seen."""
    erased = server.ask("DELETE", f"/v1/{kind}s/{name}")["erased"]
    end = time.monotonic() + 1.0
    while differences(server, kind, name, expected) and time.monotonic() < end:
        time.sleep(0.01)
    for _ in range(ROUNDS):
        assert differences(server, kind, name, expected) == []
    return erased


@pytest.mark.parametrize("kind", ["user", "session"])
def test_somebody_erased_is_as_somebody_never_seen(server, kind):
    name = f"visitor-{kind}"
    never_seen = answers(server, kind, name)
    explored = server.call("POST", "/v1/recommend", {kind: name, "exploration": 0.5})
    observe(server, kind, name)
    remembered = differences(server, kind, name, never_seen)
    assert len(remembered) > 8  # the events changed the answers, so there is something to forget
    observe(server, kind, name)
    assert forgotten(server, kind, name, never_seen) == 5
    assert server.call("POST", "/v1/recommend", {kind: name, "exploration": 0.5}) == explored


@pytest.mark.parametrize("user", [57, "59"])
def test_a_user_whom_the_model_remembers_is_forgotten_too(server, user):
    never_seen = answers(server, "user", "stranger")
    assert len(server.ask("GET", f"/v1/users/{user}/export")["history"]) > 3
    remembered = server.ask("POST", "/v1/recommend", {"user": user})
    assert remembered["items"] != json.loads(never_seen[0][1])["items"]
    forgotten(server, "user", user, never_seen)


def test_who_comes_back_after_an_erase_begins_anew(server):
    name = "returns"
    observe(server, "user", name, 3)
    before = server.ask("POST", "/v1/recommend", {"user": name, "k": 20})
    never_seen = server.ask("POST", "/v1/recommend", {"user": "nobody", "k": 20})
    assert before["items"] != never_seen["items"]
    server.ask("DELETE", f"/v1/users/{name}")
    assert server.ask("POST", "/v1/recommend", {"user": name, "k": 20}) == never_seen
    receipts = observe(server, "user", name, 3)["events"]
    assert [receipt["status"] for receipt in receipts] == ["stored"] * 3
    for _ in range(ROUNDS):
        assert server.ask("POST", "/v1/recommend", {"user": name, "k": 20}) == before


def test_an_erase_touches_nobody_else(server):
    observe(server, "user", "stays")
    observe(server, "session", "stays", 2)
    before = [server.call(*q) for q in questions("user", "stays")[:15]]
    session = server.call("GET", "/v1/sessions/stays/export")
    observe(server, "user", "goes")
    server.ask("DELETE", "/v1/users/goes")
    assert [server.call(*q) for q in questions("user", "stays")[:15]] == before
    server.ask("DELETE", "/v1/users/stays")
    assert server.call("GET", "/v1/sessions/stays/export") == session
    assert len(json.loads(session[1])["events"]) == 2
