"""What a request has to build first is built in a thread: everybody else is answered meanwhile."""

import threading

import pytest

from acclimate.serving.service import alike, branch
from http_server import here, small_model

HEAVY = {
    "a strategy": ("/v1/recommend", {"strategy": "item-knn"}),
    "a strategy that ranks": ("/v1/rank", {"strategy": "item-knn", "items": ["i1", "i2"]}),
    "diversity": ("/v1/recommend", {"diversity": 0.5}),
    "likeness": ("/v1/similar", {"item": "i3"}),
}


class Held:
    """Stands in for what builds a table, and does not begin until it is let go."""

    def __init__(self, build):
        self._build = build
        self.asked, self.go, self.calls = threading.Event(), threading.Event(), 0

    def __call__(self, *args):
        self.calls += 1
        self.asked.set()
        assert self.go.wait(30)
        return self._build(*args)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.mark.parametrize("kind", HEAVY)
def test_others_are_answered_while_tables_are_built(kind, model, monkeypatch):
    path, body = HEAVY[kind]
    strategy = "strategy" in body
    held = Held(branch.fitted if strategy else alike.Alikeness)
    monkeypatch.setattr(branch, "fitted" if strategy else "Alikeness", held)
    with here(model) as running:
        answers = []
        asking = threading.Thread(target=lambda: answers.append(running.post(path, body)))
        asking.start()
        try:
            assert held.asked.wait(30)
            for _ in range(20):
                assert running.post("/v1/recommend", {"user": "u1"}, timeout=5).status_code == 200
                assert running.http.get("/healthz", timeout=5).status_code == 200
            assert not answers
        finally:
            held.go.set()
            asking.join(30)
        assert answers[0].status_code == 200
        again = running.post(path, body)
        assert again.content == answers[0].content
        assert held.calls == 1


def test_what_is_built_is_known_until_another_model_comes(model, tmp_path):
    with here(model) as running:
        service = running.service
        assert service.prepared("default")
        assert not service.prepared("default", strategy="item-knn")
        assert not service.prepared("default", diversity=0.3)
        service.recommend("default", strategy="item-knn")
        service.recommend("default", diversity=0.3)
        assert service.prepared("default", strategy="item-knn", diversity=0.3)
        assert not service.prepared("default", strategy="popularity")
        # A tenant's own items are likened to others over the same people.
        service.add_items("default", [{"item": "new", "fields": {}}])
        assert service.prepared("default", diversity=0.3)


def test_a_strategy_built_for_one_keeps_nobody_waiting_who_needs_what_is_there(model, monkeypatch):
    held = Held(branch.fitted)
    monkeypatch.setattr(branch, "fitted", held)
    with here(model) as running:
        assert running.post("/v1/recommend", {"diversity": 0.5}).status_code == 200
        asking = threading.Thread(target=running.post, args=("/v1/recommend", {"strategy": "item-knn"}))
        asking.start()
        try:
            assert held.asked.wait(30)
            assert running.post("/v1/recommend", {"diversity": 0.5}, timeout=5).status_code == 200
        finally:
            held.go.set()
            asking.join(30)
