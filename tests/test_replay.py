"""The same requests in the same order get the same bytes: of one worker, of four, and after a restart.

A log of requests of every kind, by many people, right and wrong ones, is sent one after the other, each on a
connection of its own, so that any worker may get it.
"""

import json
import random
from collections import Counter

import pytest

from postgres import database, postgres  # noqa: F401 - fixtures
from served import Server
from serving_fakes import model

ITEMS = range(100, 140)
GENRES = ("comedy", "drama", "horror", "western")


def request_log(n=420, seed=5):
    """n requests (method, path, body): what a day of a shop may bring, with a share of nonsense."""
    draw = random.Random(seed)
    # Users whom the model remembers (1 to 60), others, and sessions.
    people = [{"user": u} for u in (1, 2, 3, "4", "ann", "bob", "cem", 901)] + [
        {"session": s} for s in ("s1", "s2", "1")
    ]
    events, added, log = [], [], []

    def path_of(who):
        ((kind, name),) = who.items()
        return f"/v1/{kind}s/{name}"

    def item():
        return draw.choice([*ITEMS, *added, *added])

    def given():
        return [{"item": item(), "value": draw.randint(1, 5)} for _ in range(draw.randint(0, 4))]

    def observe():
        if events and draw.random() < 0.1:
            return "POST", "/v1/events", {"events": [draw.choice(events)]}  # a retry
        made = []
        for _ in range(draw.choice((1, 1, 1, 2, 7))):
            event = {
                "id": f"e{len(events)}",
                **draw.choice(people),
                "item": item(),
                "value": draw.randint(2, 10) / 2,
            }
            event["time"] = 1_700_000_000 + draw.randint(-500, 500)  # clocks jump; order is order of arrival
            events.append(event)
            made.append(event)
        return "POST", "/v1/events", {"events": made}

    def recommend():
        body = {**draw.choice(people), "k": draw.choice((3, 10, 25))}
        more = {
            "diversity": 0.5,
            "exploration": 0.4,
            "exclude_seen": False,
            "exclude": [item(), item()],
            "filter": {"genre": draw.sample(GENRES, 2)},
            "pin": {str(item()): 2},
            "bury": [item()],
            "deviation": True,
            "strategy": draw.choice(("popularity", "item-knn")),
            "events": given(),
            "explore": "ucb",
        }
        for name in draw.sample(sorted(more), draw.choice((0, 0, 1, 2))):
            body[name] = more[name]
        return "POST", "/v1/recommend", body

    def newcomer():
        return (
            "POST",
            "/v1/recommend",
            {"events": given(), "fields": {"group": draw.choice(("g0", "g1", "??"))}},
        )

    def undo():
        event = draw.choice(events)
        who = {k: v for k, v in event.items() if k in ("user", "session")}
        return "DELETE", f"{path_of(who)}/events/{event['id']}", None

    def add_item():
        name = f"n{len(added)}"
        added.append(name)
        fields = {"title": f"New {name}", "genre": draw.choice(GENRES), "year": 2024}
        return "PUT", "/v1/items", {"items": [{"item": name, "fields": fields}]}

    def rules():
        body = {
            "pin": {str(item()): draw.randint(1, 4)},
            "bury": [item()],
            "exploration": draw.choice((0, 0.3)),
        }
        return "PUT", "/v1/rules", body

    def nonsense():
        return draw.choice(
            (
                (
                    "POST",
                    "/v1/events",
                    {"events": [{"id": "x", "user": "ann", "item": "no such", "value": 3}]},
                ),
                ("POST", "/v1/events", {"events": [{"id": "e0", "user": "eve", "item": 100, "value": 1}]}),
                ("POST", "/v1/recommend", {"user": "ann", "k": 0}),
                ("POST", "/v1/recommend", {"user": "ann", "strategy": "best"}),
                ("POST", "/v1/rank", {"user": "ann", "items": ["nothing"]}),
                ("DELETE", "/v1/users/ann/events/never", None),
                ("GET", "/v1/nothing", None),
            )
        )

    kinds = {
        observe: 30,
        recommend: 30,
        newcomer: 6,
        undo: 6,
        lambda: ("POST", "/v1/rank", {**draw.choice(people), "items": draw.sample(ITEMS, 8)}): 6,
        lambda: ("POST", "/v1/explain", {**draw.choice(people), "item": item()}): 6,
        lambda: ("POST", "/v1/onboarding", {**draw.choice(people), "k": 5}): 5,
        lambda: ("POST", "/v1/similar", {"item": item(), "k": 5}): 4,
        lambda: ("GET", f"{path_of(draw.choice(people))}/export", None): 3,
        lambda: ("DELETE", path_of(draw.choice(people)), None): 3,
        lambda: ("GET", "/v1/items?search=new&limit=5", None): 1,
        lambda: ("GET", "/v1/rules", None): 1,
        add_item: 2,
        rules: 2,
        nonsense: 5,
    }
    log.append(observe())
    while len(log) < n:
        log.append(draw.choices(list(kinds), list(kinds.values()))[0]())
    return log


LOG = request_log()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("replay") / "model.acc"
    model("ridge").save(path)
    return path


def replayed(saved, folder, store, stages):
    """The answers to the log; a stage is how many workers answer up to which request."""
    answers, start = [], 0
    for workers, end in stages:
        with Server(saved, store, folder / "log", workers=workers, more=("--no-page",)) as server:
            answers += [server.call(*request) for request in LOG[start:end]]
        start = end
    return answers


@pytest.fixture(scope="module")
def expected(saved, tmp_path_factory):
    """What one worker answers."""
    folder = tmp_path_factory.mktemp("one")
    return replayed(saved, folder, str(folder / "events.sqlite"), [(1, len(LOG))])


def differences(answers, expected):
    return [
        (i, LOG[i], was, now)
        for i, (was, now) in enumerate(zip(expected, answers, strict=True))
        if was != now
    ][:3]


def test_the_log_asks_for_everything_and_most_of_it_is_answered(expected):
    statuses = Counter(
        (method, path.split("?")[0].split("/")[2], status)
        for (method, path, _), (status, _) in zip(LOG, expected, strict=True)
    )
    good = {kind[:2] for kind in statuses if kind[2] == 200}
    asked = {("POST", name) for name in ("events", "recommend", "rank", "similar", "explain", "onboarding")}
    asked |= {(method, who) for method in ("GET", "DELETE") for who in ("users", "sessions")}
    asked |= {("GET", "items"), ("PUT", "items"), ("GET", "rules"), ("PUT", "rules")}
    assert good >= asked
    assert max(status for _, _, status in statuses) < 500
    assert sum(n for kind, n in statuses.items() if kind[2] == 200) > 0.8 * len(LOG)
    bodies = [json.loads(body) for status, body in expected if status == 200]
    assert {"explored", "pinned"} <= {
        i.get("reason") for body in bodies for i in body.get("items", ()) if "rank" in i
    }
    assert max(body.get("events", 0) for body in bodies if "strategy" in body) > 5
    assert any(body.get("erased", 0) > 0 for body in bodies)
    assert {
        r["status"]
        for body in bodies
        if isinstance(body.get("events"), list)
        for r in body["events"]
        if "status" in r
    } == {"stored", "duplicate"}


def test_four_workers_answer_as_one(saved, expected, tmp_path):
    answers = replayed(saved, tmp_path, str(tmp_path / "events.sqlite"), [(4, len(LOG))])
    assert differences(answers, expected) == []


def test_a_restart_in_between_changes_nothing(saved, expected, tmp_path):
    stages = [(1, len(LOG) // 2), (1, len(LOG))]
    answers = replayed(saved, tmp_path, str(tmp_path / "events.sqlite"), stages)
    assert differences(answers, expected) == []


@pytest.mark.postgres
def test_two_workers_on_postgresql_answer_as_one_on_sqlite(saved, expected, tmp_path, database):  # noqa: F811
    answers = replayed(saved, tmp_path, database, [(2, len(LOG) // 3), (1, len(LOG))])
    assert differences(answers, expected) == []
