import io
import json
import logging
import signal
import socket
import threading
import time

import httpx
import pytest

from acclimate import cli
from acclimate.errors import ConflictError, OverloadedError, ServerError, StoreError, UserInputError
from acclimate.serving.client import Client
from acclimate.serving.events import Rules
from acclimate.serving.http import keys, logs, server
from acclimate.serving.http.access import check_reachable
from acclimate.serving.http.keys import KeyRing, make_key
from acclimate.serving.http.settings import Limits, Settings, is_loopback
from acclimate.serving.problems import RequestError
from acclimate.serving.service import answers
from acclimate.serving.store.opening import open_store
from http_server import FailingStore, Here, here, in_thread, metric, serving, small_model, until


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """A folder with ``m.acc`` and, of another model, ``other.acc``."""
    folder = tmp_path_factory.mktemp("served")
    model.save(folder / "m.acc")
    small_model(1).save(folder / "other.acc")
    return folder


@pytest.fixture(scope="module")
def shared(model):
    with here(model) as running:
        yield running


@pytest.fixture
def served(shared) -> Here:
    """An open server; people of each test have names of their own."""
    shared.store.reads_fail = shared.store.writes_fail = False
    return shared


def clicks(user, *items, value=5, **more):
    return {"events": [{"user": user, "item": item, "value": value, **more} for item in items]}


def items_of(answer):
    assert answer.status_code == 200, answer.text
    return [one["item"] for one in answer.json()["items"]]


# -- what it does
# ------------------------------------------------------------------------------------------------------------


def test_the_next_answer_reflects_an_acknowledged_event(served):
    before = served.post("/v1/recommend", {"user": "ann", "k": 5})
    first = items_of(before)[0]
    said = served.post("/v1/events", clicks("ann", first, value=1)).json()
    assert said["events"][0]["status"] == "stored"
    after = served.post("/v1/recommend", {"user": "ann", "k": 5})
    assert after.json()["events"] == before.json()["events"] + 1
    assert first not in items_of(after)
    assert after.json()["exact"] is True
    assert after.json()["model"] == served.service.model_sha256


def test_an_event_sent_again_changes_nothing_and_its_id_is_taken(served):
    body = clicks("bob", "i1", id="bob-1")
    assert served.post("/v1/events", body).json()["events"][0]["status"] == "stored"
    assert served.post("/v1/events", body).json()["events"][0]["status"] == "duplicate"
    other = served.post("/v1/events", clicks("bob", "i2", id="bob-1"))
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    assert len(served.http.get("/v1/users/bob/export").json()["events"]) == 1


def test_an_event_can_be_taken_back(served):
    nothing = served.post("/v1/recommend", {"session": "carl"}).content
    body = {"events": [{"session": "carl", "item": "i3", "value": 5, "id": "c1"}]}
    served.post("/v1/events", body)
    assert served.post("/v1/recommend", {"session": "carl"}).content != nothing
    assert served.http.delete("/v1/sessions/carl/events/c1").json() == {"undone": True}
    assert served.post("/v1/recommend", {"session": "carl"}).content == nothing
    again = served.http.delete("/v1/sessions/carl/events/c1")
    assert (again.status_code, again.json()["error"]["code"]) == (404, "unknown_event")


def test_somebody_erased_is_nobody(served):
    user = "u3"  # the model remembers this one
    kept = served.http.get(f"/v1/users/{user}/export").json()
    assert len(kept["history"]) > 0
    served.post("/v1/events", clicks(user, "i1", "i2"))
    assert served.http.delete(f"/v1/users/{user}").json() == {"erased": 2}
    assert served.http.get(f"/v1/users/{user}/export").json() == {"events": [], "history": []}
    body = served.post("/v1/recommend", {"user": user}).json()
    assert body == served.post("/v1/recommend", {"user": "never seen"}).json()


def test_ids_in_paths_may_be_any_text(served):
    for user in ("a/b", "ü ö", "../x", "100%", "a?b#c", "日本"):
        served.post("/v1/events", clicks(user, "i1"))
        quoted = "".join(f"%{byte:02X}" for byte in user.encode())
        assert len(served.http.get(f"/v1/users/{quoted}/export").json()["events"]) == 1, user
        assert served.http.delete(f"/v1/users/{quoted}").json() == {"erased": 1}


@pytest.mark.parametrize("path", ["/v1/users/%FF/export", "/v1/users/%00/export", "/v1/users//export"])
def test_a_path_with_an_id_that_is_none_is_refused(served, path):
    answer = served.http.get(path)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "user")


def test_items_and_rules_change_lists_at_once(served):
    try:
        rules = {"pin": {"i7": 1}, "bury": ["i8"], "exploration": 0.0}
        assert served.http.put("/v1/rules", json=rules).status_code == 200
        assert served.http.get("/v1/rules").json() == rules
        answer = served.post("/v1/recommend", {"k": 59})
        assert answer.json()["items"][0] | {"score": 0} == {
            "item": "i7",
            "score": 0,
            "rank": 1,
            "reason": "pinned",
        }
        assert "i8" not in items_of(answer)
        new = {"items": [{"item": "new/1", "fields": {"genre": "drama"}}]}
        assert served.http.put("/v1/items", json=new).json()["revision"] > 0
        assert "new/1" in items_of(served.post("/v1/recommend", {"k": 100}))
        assert items_of(served.http.get("/v1/items", params={"search": "new/1"})) == ["new/1"]
    finally:
        served.http.put("/v1/rules", json={})


def test_every_list_can_be_had(served):
    person = {"events": [{"item": "i1", "value": 5}, {"item": "i2", "value": 1}]}
    assert len(items_of(served.post("/v1/rank", {**person, "items": ["i5", "i6", "i7"]}))) == 3
    assert "i1" not in items_of(served.post("/v1/similar", {"item": "i1", "k": 4}))
    told = served.post("/v1/explain", {**person, "item": "i9"}).json()
    assert [part["part"] for part in told["parts"]] == ["prior", "event", "event", "rest", "total"]
    parts = [part["contribution"] for part in told["parts"]]
    assert sum(parts[:-1]) == pytest.approx(parts[-1], abs=1e-5)
    assert len(served.post("/v1/onboarding", {"k": 3}).json()["items"]) == 3
    assert served.post("/v1/recommend", {"strategy": "popularity"}).json()["strategy"] == "popularity"


def test_answers_hold_neither_times_nor_nulls_and_repeat_byte_for_byte(served):
    body = {"user": "dora", "k": 7, "deviation": True}
    one, two = (served.post("/v1/recommend", body) for _ in range(2))
    assert one.content == two.content
    assert b"null" not in one.content
    assert one.headers["x-request-id"] != two.headers["x-request-id"]
    assert one.headers["server-timing"].startswith("total;dur=")
    assert one.headers["x-content-type-options"] == "nosniff"


def test_a_request_id_is_kept_only_if_it_is_one(served):
    asked = "0123abcd-4567"
    assert served.http.get("/healthz", headers={"x-request-id": asked}).headers["x-request-id"] == asked
    for bad in ("me@example.org", "x" * 100):
        assert served.http.get("/healthz", headers={"x-request-id": bad}).headers["x-request-id"] != bad


# -- what is refused
# ------------------------------------------------------------------------------------------------------------

_BAD = {
    "no json": (b"{", "invalid_json", None),
    "empty": (b"", "invalid_json", None),
    "a list": (b"[]", "invalid_input", None),
    "no utf-8": (b'{"user":"\xff"}', "invalid_json", None),
    "half a character": (b'{"user":"\\ud800"}', "invalid_json", None),
    "nul": (b'{"user":"a\\u0000b"}', "invalid_input", "user"),
    "an empty id": (b'{"user":""}', "invalid_input", "user"),
    "a long id": (b'{"user":"' + b"x" * 257 + b'"}', "invalid_input", "user"),
    "an id that is true": (b'{"user":true}', "invalid_input", "user"),
    "an id with a fraction": (b'{"user":1.0}', "invalid_input", "user"),
    "a huge id": (b'{"user":' + b"9" * 30 + b"}", "invalid_input", "user"),
    "a number of 5000 digits": (b'{"user":' + b"9" * 5000 + b"}", "invalid_json", None),
    "deep": (b'{"filter":' + b"[" * 100_000, "invalid_json", None),
    "an unknown name": (b'{"usr":"a"}', "invalid_input", "usr"),
    "a name twice": (b'{"user":"a","user":"b"}', "invalid_json", "user"),
    "a name twice beside colons": (b'{"user":"a:b","k":1,"k": 2}', "invalid_json", "k"),
    "a name twice inside": (b'{"events":[{"item":"i1","value":1,"value":5}]}', "invalid_json", "value"),
    "k of 0": (b'{"k":0}', "invalid_input", "k"),
    "k too large": (b'{"k":1001}', "invalid_input", "k"),
    "k as text": (b'{"k":"5"}', "invalid_input", "k"),
    "nan": (b'{"diversity":NaN}', "invalid_input", "diversity"),
    "infinity": (b'{"events":[{"item":"i1","value":Infinity}]}', "invalid_input", "events.0.value"),
    "too large for a float": (b'{"events":[{"item":"i1","value":1e999}]}', "invalid_input", "events.0.value"),
    "an unknown item": (b'{"events":[{"item":"nope","value":1}]}', "unknown_item", "events.0.item"),
    "a rating out of range": (b'{"events":[{"item":"i1","value":9}]}', "invalid_input", "events.0.value"),
    "no rating": (b'{"events":[{"item":"i1"}]}', "invalid_input", "events.0.value"),
    "user and session": (b'{"user":"a","session":"b"}', "invalid_input", "session"),
    "an unknown strategy": (b'{"strategy":"magic"}', "unknown_strategy", "strategy"),
    "an unknown field": (b'{"filter":{"colour":"red"}}', "unknown_field", "filter.colour"),
    "a filter that is deep": (b'{"filter":{"genre":[["a"]]}}', "invalid_input", "filter.genre"),
}


@pytest.mark.parametrize("case", _BAD)
def test_what_a_caller_can_mend_is_told_with_its_place(served, case):
    body, code, field = _BAD[case]
    answer = served.http.post("/v1/recommend", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert (error["code"], error.get("field")) == (code, field), error
    assert 10 < len(error["message"]) < 1001


def test_colons_in_texts_are_no_names(served):
    for user in ('a":"b', "a:b", ":", '":'):
        assert served.post("/v1/recommend", {"user": user}).status_code == 200


def test_all_or_no_events_of_a_request_are_stored(served):
    bad = clicks("eve", "i1", "i2", "nope")
    answer = served.post("/v1/events", bad)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "events.2.item")
    assert served.http.get("/v1/users/eve/export").json()["events"] == []
    stored = served.post("/v1/events", {**bad, "unknown_items": "store"}).json()["events"]
    assert [one["known"] for one in stored] == [True, True, False]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {},
    ],
)
def test_only_plain_json_is_read(served, headers):
    answer = served.http.post("/v1/recommend", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_json_may_say_its_charset(served):
    headers = {"content-type": "Application/JSON; charset=UTF-8"}
    assert served.http.post("/v1/recommend", content=b"{}", headers=headers).status_code == 200


def test_other_methods_and_paths_are_told_apart(served):
    wrong = served.http.get("/v1/recommend")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "OPTIONS, POST")
    assert wrong.json()["error"]["code"] == "method_not_allowed"
    asked = served.http.options("/v1/items")
    assert (asked.status_code, asked.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PUT")
    head, get = served.http.head("/v1/rules"), served.http.get("/v1/rules")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    for path in ("/v1/nothing", "/v2/recommend", "/v1/recommend/", "/v1", "/nothing", "/docs/"):
        missing = served.http.get(path)
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
        assert missing.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1&limit=2", "serch=a", "search=%FF", "search=%00"]
)
def test_what_follows_the_question_mark_is_checked(served, query):
    assert served.http.get(f"/v1/items?{query}").status_code == 422


def test_the_interface_describes_itself_without_anything_from_elsewhere(served):
    page = served.http.get("/docs")
    assert page.status_code == 200
    assert "POST /v1/recommend" in page.text
    assert "http://" not in page.text.replace("http://127.0.0.1", "")
    assert "style-src 'self'" in page.headers["content-security-policy"]
    assert served.http.get("/docs/style.css").headers["content-type"].startswith("text/css")
    assert served.http.get("/openapi.json").json()["openapi"] == "3.1.0"


# -- open and keyed
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "localhost.evil.example:8000"},
        {"host": "10.0.0.1:8000"},
        {"host": "localhost:evil.example"},
        {"host": "[::1]evil.example"},
        {"host": ""},
        {"x-forwarded-host": "shop.example"},
        {"x-forwarded-proto": "https"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"x-forwarded-for": "203.0.113.9"},
        {"forwarded": "for=203.0.113.9"},
    ],
)
def test_an_open_server_answers_only_programs_of_this_machine(served, headers):
    for answer in (
        served.post("/v1/recommend", {}, headers=headers),
        served.http.get("/v1/status", headers=headers),
        served.http.delete("/v1/users/zoe", headers=headers),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000"])
def test_an_open_server_answers_under_every_name_of_this_machine(served, host):
    headers = {"host": host, "origin": f"http://{host}", "sec-fetch-site": "same-origin"}
    assert served.post("/v1/recommend", {}, headers=headers).status_code == 200


def test_pages_of_other_origins_may_ask_only_if_they_are_named(model):
    shop = "https://shop.example"
    with here(model, allow_origins=(shop,)) as running:
        said = running.post("/v1/recommend", {}, headers={"origin": shop, "sec-fetch-site": "cross-site"})
        assert (said.status_code, said.headers["access-control-allow-origin"]) == (200, shop)
        asks = {"access-control-request-method": "POST"}
        may = running.http.options("/v1/recommend", headers={"origin": shop, **asks})
        assert "content-type" in may.headers["access-control-allow-headers"]
        other = "https://evil.example"
        # A browser asks before it sends; the answer to that tells it not to.
        no = running.http.options("/v1/recommend", headers={"origin": other, **asks})
        assert "access-control-allow-origin" not in no.headers
        assert running.post("/v1/recommend", {}, headers={"origin": other}).status_code == 403


def test_a_key_made_while_an_open_server_runs_closes_it(model):
    with here(model) as running:
        assert running.post("/v1/recommend", {}).status_code == 200
        headers = running.key("recommend")
        until(lambda: running.post("/v1/recommend", {}).status_code == 401, 5)
        assert running.post("/v1/recommend", {}, headers=headers).status_code == 200


def test_keys_are_asked_for_what_they_may_do_and_forgotten_when_removed(model):
    with here(model, keyed=True) as running:
        nobody = running.post("/v1/recommend", {})
        assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "unauthenticated")
        assert nobody.headers["www-authenticate"].startswith("Bearer")
        headers = running.key("recommend", name="shop")
        assert running.post("/v1/recommend", {}, headers=headers).status_code == 200
        may_not = running.post("/v1/events", clicks("a", "i1"), headers=headers)
        assert (may_not.status_code, may_not.json()["error"]["code"]) == (403, "forbidden")
        wrong = headers["authorization"][:-1] + ("a" if headers["authorization"][-1] != "a" else "b")
        for bad in (wrong, "Bearer x", "Bearer", "Basic abc", "", f"Bearer acc_{'0' * 12}_x"):
            assert running.post("/v1/recommend", {}, headers={"authorization": bad}).status_code == 401
        assert running.store.remove_key(headers["authorization"].split("_")[1])
        began = time.monotonic()
        until(lambda: running.post("/v1/recommend", {}, headers=headers).status_code == 401, 5)
        assert time.monotonic() - began < 1.2
        assert running.http.get("/healthz").status_code == 200
        # Behind a proxy, under any name.
        there = {"host": "shop.example", "x-forwarded-for": "203.0.113.9", **running.key("recommend")}
        assert running.post("/v1/recommend", {}, headers=there).status_code == 200


@pytest.mark.parametrize("keyed", [False, True])
def test_of_two_headers_that_decide_none_is_believed(model, keyed):
    with here(model, keyed=keyed) as running:
        key, other = running.key("recommend")["authorization"], running.key("admin")["authorization"]
        kind = ("content-type", "application/json")
        for twice in (
            [("authorization", key), ("authorization", other), kind],
            [("authorization", key), ("content-type", "text/plain"), kind],
        ):
            answer = running.http.post("/v1/recommend", content=b"{}", headers=twice)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (422, "invalid_input")
            assert error["field"] in ("authorization", "content-type")
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = f"GET /v1/model HTTP/1.1\r\nhost: evil.example\r\nauthorization: {key}\r\n"
            connection.sendall(head.encode() + b"host: localhost\r\n\r\n")
            assert connection.recv(10_000).startswith(b"HTTP/1.1 422")
        again = [("authorization", key), kind, ("accept", "a/b"), ("accept", "c/d")]
        assert running.http.post("/v1/recommend", content=b"{}", headers=again).status_code == 200


def test_tenants_do_not_meet(model):
    with here(model, keyed=True) as running:
        ours, theirs = running.key(tenant="default"), running.key(tenant="other")
        running.post("/v1/events", clicks("u3", "i1", id="e1"), headers=ours)
        assert running.http.get("/v1/users/u3/export", headers=theirs).json() == {"events": [], "history": []}
        assert running.http.delete("/v1/users/u3/events/e1", headers=theirs).status_code == 404
        assert running.post("/v1/events", clicks("u3", "i2", id="e1"), headers=theirs).status_code == 200
        running.http.put("/v1/rules", json={"bury": ["i9"]}, headers=theirs)
        assert running.http.get("/v1/rules", headers=ours).json()["bury"] == []
        assert running.http.delete("/v1/users/u3", headers=theirs).json() == {"erased": 1}
        assert len(running.http.get("/v1/users/u3/export", headers=ours).json()["events"]) == 1


def test_a_good_key_stays_good_for_a_while_when_the_store_cannot_be_read(model, monkeypatch):
    with here(model, keyed=True) as running:
        headers = running.key("recommend")
        assert running.post("/v1/recommend", {}, headers=headers).status_code == 200
        running.store.reads_fail = True
        time.sleep(1)
        answer = running.post("/v1/recommend", {}, headers=headers)
        assert (answer.status_code, len(answer.json()["degraded"])) == (200, 1)
        never_seen = {"authorization": f"Bearer {make_key('default', ['recommend'], '')[0]}"}
        answer = running.post("/v1/recommend", {}, headers=never_seen)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
        # What the store says of itself is not for somebody without a key.
        assert "disk" not in answer.text
        assert int(answer.headers["retry-after"]) >= 1
        running.store.reads_fail = False


def test_a_good_key_is_good_no_longer_than_a_minute_when_the_store_cannot_be_read(monkeypatch):
    store = FailingStore(open_store(":memory:"))
    text, key = make_key("default", ["recommend"], "")
    store.add_key(key)
    now = 100.0
    monkeypatch.setattr(keys, "monotonic", lambda: now)
    ring = KeyRing(store)
    assert ring.check(text) == key
    store.reads_fail = True
    now = 159.0
    assert ring.check(text) == key
    assert ring.check(text + "x") is None
    now = 161.0
    with pytest.raises(StoreError):
        ring.check(text)
    store.close()


def test_who_guesses_keys_makes_nobody_forget_good_ones():
    store = FailingStore(open_store(":memory:"))
    text, key = make_key("default", ["recommend"], "")
    store.add_key(key)
    ring = KeyRing(store)
    assert ring.check(text) == key
    for i in range(10_010):
        assert ring.check(f"acc_{i:012d}_x") is None
    assert ring.familiar(text)
    assert len(ring._known) <= 10_000
    store.close()


def test_keys_are_stored_hashed_and_each_is_another():
    one, two = (make_key("default", ["ingest", "erase"], "a") for _ in range(2))
    assert one[0] != two[0]
    assert one[1].scopes == ("ingest", "erase")
    secret = one[0].split("_", 2)[2]
    assert secret not in repr(one[1])
    store = open_store(":memory:")
    store.add_key(one[1])
    ring = KeyRing(store)
    assert ring.check(one[0]) == one[1]
    assert ring.check(two[0]) is None
    assert ring.check(one[0] + "x") is None
    store.close()
    for scopes in ([], ["root"]):
        with pytest.raises(UserInputError, match="ingest, recommend, admin, erase"):
            make_key("default", scopes, "")


@pytest.mark.parametrize(
    ("host", "own"),
    [("localhost", True), ("127.0.0.9", True), ("[::1]", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_loopback_is_known(host, own):
    assert is_loopback(host) is own


# -- faults
# ------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_stored_is_not_acknowledged(model):
    with here(model) as running:
        running.post("/v1/events", clicks("ann", "i1", id="1"))
        running.store.writes_fail = True
        for answer in (
            running.post("/v1/events", clicks("ann", "i2", id="2")),
            running.http.delete("/v1/users/ann"),
            running.http.delete("/v1/users/ann/events/1"),
            running.http.put("/v1/rules", json={}),
            running.http.put("/v1/items", json={"items": [{"item": "n", "fields": {}}]}),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        until(lambda: running.http.get("/readyz").status_code == 503, 5)
        running.store.writes_fail = False
        until(lambda: running.http.get("/readyz").status_code == 200, 5)
        assert len(running.http.get("/v1/users/ann/export").json()["events"]) == 1


def test_a_store_that_cannot_be_read_leaves_a_list_that_says_so(model):
    with here(model) as running:
        running.post("/v1/events", clicks("ann", "i1", "i2"))
        known = running.post("/v1/recommend", {"user": "ann"}).json()
        running.store.reads_fail = True
        answer = running.post("/v1/recommend", {"user": "ann"})
        assert answer.status_code == 200
        assert "cannot be read" in answer.json()["degraded"][0]
        assert answer.json()["items"] == known["items"]
        assert running.http.get("/v1/users/ann/export").status_code == 503
        running.store.reads_fail = False
        assert running.post("/v1/recommend", {"user": "ann"}).json()["degraded"] == []


def test_a_fault_of_ours_is_a_500_that_tells_nothing(model, monkeypatch):
    with here(model) as running:
        monkeypatch.setattr(running.service, "recommend", lambda *a, **k: 1 / 0)
        answer = running.post("/v1/recommend", {"user": "ann"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        assert "division" not in answer.text


def test_logs_hold_neither_keys_nor_ids_nor_bodies(model, monkeypatch):
    stream = io.StringIO()
    loggers = [logging.getLogger(name) for name in ("acclimate", "asyncio", "uvicorn", "uvicorn.error")]
    before = [(one, one.handlers, one.level, one.propagate) for one in loggers]
    logs.configure(stream)
    try:
        with here(model, keyed=True, log="all") as running:
            headers = running.key()
            secret = headers["authorization"]
            running.post("/v1/events", clicks("secret-ann", "i1", id="secret-event"), headers=headers)
            running.post("/v1/events", clicks("secret-ann", "i2", id="secret-event"), headers=headers)
            running.post("/v1/recommend", {"user": "secret-ann", "filter": {"secret-f": 1}}, headers=headers)
            running.http.get("/v1/users/secret-ann/export", headers=headers)
            running.http.get("/v1/items?search=secret-search", headers=headers)
            running.http.get("/secret-path", headers=headers)
            running.post("/v1/recommend", {}, headers={"authorization": secret + "wrong"})

            def broken(*args, **kwargs):
                raise KeyError("secret-ann")

            monkeypatch.setattr(running.service, "explain", broken)
            running.post("/v1/explain", {"user": "secret-ann", "item": "i1"}, headers=headers)
    finally:
        for one, handlers, level, propagate in before:
            one.handlers, one.level, one.propagate = handlers, level, propagate
    text = stream.getvalue()
    assert "secret" not in text
    assert secret.removeprefix("Bearer ").split("_")[1] not in text
    lines = [json.loads(line) for line in text.splitlines()]
    asked = [line for line in lines if line["message"] == "request" and line["route"] != "/readyz"]
    assert [line["status"] for line in asked] == [200, 409, 422, 200, 200, 404, 401, 500]
    assert asked[3]["route"] == "/v1/users/{user}/export"
    assert (asked[5]["route"], asked[5]["method"]) == ("none", "none")
    (fault,) = [line for line in lines if line["message"] == "fault"]
    assert fault["error"] == "KeyError"
    assert fault["request_id"] == asked[-1]["request_id"]
    assert any("test_http" in place for place in fault["at"])


def test_metrics_count_what_happened(model):
    with here(model) as running:
        running.post("/v1/recommend", {"user": "ann"})
        running.post(
            "/v1/events",
            clicks("ann", "i1", "i2", id=None)
            | {
                "events": [
                    {"user": "ann", "item": "i1", "value": 5, "id": "1"},
                    {"user": "ann", "item": "i2", "value": 5},
                ]
            },
        )
        running.post("/v1/events", clicks("ann", "i1", id="1"))
        running.post("/v1/recommend", {"user": "ann", "k": 4, "pin": {"i9": 2}})
        running.post("/v1/recommend", {"user": "ann", "k": 4})
        running.post("/v1/recommend", {"k": 0})
        answer = running.http.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        text = answer.text
        route = {"route": "/v1/recommend", "method": "POST"}
        assert metric(text, "acclimate_requests_total", **route, status="200") == 3
        assert metric(text, "acclimate_requests_total", **route, status="422") == 1
        assert metric(text, "acclimate_request_seconds_count", **route) == 4
        assert metric(text, "acclimate_events_total", status="stored") == 2
        assert metric(text, "acclimate_events_total", status="duplicate") == 1
        assert metric(text, "acclimate_event_ack_seconds_count") == 2
        # One person waited for an effect; the first answer showed it.
        assert metric(text, "acclimate_event_to_effect_seconds_count") == 1
        assert metric(text, "acclimate_listed_items_total", reason="pinned") == 1
        assert metric(text, "acclimate_model_info", sha256=running.service.model_sha256) == 1
        assert metric(text, "acclimate_state_cache_hits") >= 1
        assert metric(text, "acclimate_ready_workers") == 1


# -- the client
# ------------------------------------------------------------------------------------------------------------


def test_the_client_speaks_the_whole_interface(model):
    with here(model, keyed=True) as running:
        key = running.key()["authorization"].removeprefix("Bearer ")
        with Client(running.url, key) as client:
            client.wait(10)
            (receipt,) = client.observe("i1", 5, user="a/b")
            assert isinstance(receipt, answers.Receipt)
            client.observe(events=[{"session": 7, "item": "i2", "value": 1, "id": "x"}])
            assert client.recommend(user="a/b", k=3) == running.service.recommend("default", user="a/b", k=3)
            assert client.rank(["i5", "i6"], session=7).events == 1
            assert len(client.similar("i1", k=3).items) == 3
            assert client.explain("i9", user="a/b") == running.service.explain(
                "default", item="i9", user="a/b"
            )
            assert client.onboarding(3) == running.service.onboarding("default", k=3)
            assert client.export(user="a/b").events[0].id == receipt.id
            assert client.undo(receipt.id, user="a/b") is True
            assert client.undo(receipt.id, user="a/b") is False
            assert client.erase(session=7) == 1
            assert [one.item for one in client.items("i59")] == ["i59"]
            assert client.add_items([{"item": "n", "fields": {"genre": "drama"}}]) > 0
            assert client.set_rules(pin={"i3": 1}) > 0
            assert client.rules() == Rules({"i3": 1}, (), 0.0)
            assert client.model()["sha256"] == client.recommend().model
            assert client.status()["store"]["ok"] is True
            with pytest.raises(RequestError, match="Unknown item") as caught:
                client.explain("nope")
            assert (caught.value.code, caught.value.field) == ("unknown_item", "item")
            with pytest.raises(RequestError, match="not a file") as caught:
                client.reload()
            assert caught.value.code == "not_supported"
            client.observe("i1", 5, user="c", id="once")
            with pytest.raises(ConflictError):
                client.observe("i2", 5, user="c", id="once")
            with pytest.raises(UserInputError, match="one of them"):
                client.export()
            with pytest.raises(UserInputError, match="JSON"):
                client.observe("i1", float("nan"), user="c")
        for bad, message in ((None, "needs a key"), ("acc_x", "unknown")):
            with Client(running.url, bad) as client, pytest.raises(UserInputError, match=message):
                client.recommend()


def mocked(*replies, attempts=5):
    """A client whose server answers so, one after the other; what it was sent, and how long it waited."""
    sent, slept, left = [], [], list(replies)

    def answer(request):
        sent.append(request)
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    client = Client("http://test", transport=httpx.MockTransport(answer), attempts=attempts)
    client._sleep = slept.append
    return client, sent, slept


def failed(status, code="x", **headers):
    body = {"error": {"code": code, "message": "No."}}
    return httpx.Response(status, json=body, headers=headers)


RECEIPT = httpx.Response(200, json={"events": [{"id": "e", "status": "stored", "known": True}]})


def test_an_event_is_tried_again_under_the_same_id():
    replies = (httpx.ConnectError("no"), httpx.ReadTimeout("late"), failed(503, "timeout"), RECEIPT)
    client, sent, slept = mocked(*replies)
    with client:
        assert client.observe("i1", user="a")[0].status == "stored"
    bodies = [json.loads(request.content) for request in sent]
    assert len(bodies) == 4
    assert all(body == bodies[0] for body in bodies)
    assert len(bodies[0]["events"][0]["id"]) == 32
    assert slept == sorted(slept)


def test_the_client_comes_back_no_sooner_than_it_is_told():
    client, _, slept = mocked(failed(429, "rate_limited", **{"retry-after": "3"}), RECEIPT)
    client.observe("i1", user="a")
    assert slept == [3.0]


@pytest.mark.parametrize(
    ("reply", "kind", "attempts"),
    [
        (failed(429, "rate_limited"), OverloadedError, 3),
        (failed(503, "overloaded"), OverloadedError, 3),
        (failed(503, "store_unavailable"), StoreError, 3),
        (failed(409, "conflict"), ConflictError, 1),
        (failed(401, "unauthenticated"), UserInputError, 1),
        (failed(413, "too_large"), UserInputError, 1),
        (failed(422, "invalid_input"), RequestError, 1),
        (failed(500, "internal"), ServerError, 1),
        (httpx.Response(502, text="<html>"), ServerError, 3),
        (httpx.ConnectError("no"), ServerError, 3),
    ],
)
def test_what_went_wrong_becomes_an_error_of_the_library(reply, kind, attempts):
    client, sent, _ = mocked(reply, attempts=3)
    with pytest.raises(kind):
        client.recommend()
    assert len(sent) == attempts


def test_a_client_is_made_with_an_url_and_a_key():
    for bad in ("localhost:8000", "http://[::1"):
        with pytest.raises(UserInputError, match="http://"):
            Client(bad)
    for bad in ("", "acc_1 acc_2", "acc_ü"):
        with pytest.raises(UserInputError, match="acc_"):
            Client(key=bad)
    sent = []

    def answer(request):
        sent.append(request.headers["authorization"])
        return RECEIPT

    with Client(key="acc_1_2\n", transport=httpx.MockTransport(answer)) as client:
        client.observe("i1", user="a")
    assert sent == ["Bearer acc_1_2"]


def test_an_id_of_dots_leads_to_nobody_else():
    client, sent, _ = mocked(httpx.Response(200, json={"undone": True, "erased": 0}))
    client.undo("..", user="ann")
    client.erase(session=".")
    client.erase(user="a/../b.c")
    assert [request.url.raw_path for request in sent] == [
        b"/v1/users/ann/events/%2E%2E",
        b"/v1/sessions/%2E",
        b"/v1/users/a%2F%2E%2E%2Fb%2Ec",
    ]


def test_to_whom_says_to_come_back_much_later_the_client_does_not():
    client, sent, slept = mocked(failed(503, "overloaded", **{"retry-after": "60"}))
    with pytest.raises(OverloadedError):
        client.recommend()
    assert (len(sent), slept) == (1, [])


@pytest.mark.parametrize("told", ["\u00b2", "soon", "-1", "1.5", ""])
def test_a_time_to_come_back_that_is_none_is_passed_over(told):
    reply = httpx.Response(503, json={}, headers=[(b"retry-after", told.encode("latin-1"))])
    client, sent, _ = mocked(reply, attempts=2)
    with pytest.raises(OverloadedError):
        client.recommend()
    assert len(sent) == 2


@pytest.mark.parametrize("reply", [httpx.Response(200, text="<html>"), httpx.Response(200, json=[1])])
def test_a_server_of_another_kind_is_found_out(reply):
    client, sent, _ = mocked(reply)
    with pytest.raises(ServerError, match="not as a server of acclimate"):
        client.recommend()
    assert len(sent) == 1


def test_what_cannot_be_said_is_not_sent():
    client, sent, _ = mocked(RECEIPT)
    for wrong in (
        lambda: client.observe(object(), user="a"),
        lambda: client.observe("i1", float("nan"), user="a"),
        lambda: client.observe("\ud800", user="a"),
        lambda: client.erase(user="\ud800"),
        lambda: client.observe("i1", user="a", events=[{"user": "b", "item": "i2"}]),
    ):
        with pytest.raises(UserInputError):
            wrong()
    assert sent == []


def test_a_server_that_is_not_there_is_not_ready():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with Client(f"http://127.0.0.1:{taken.getsockname()[1]}") as client:
            assert client.ready() is False
            with pytest.raises(ServerError, match="not ready within"):
                client.wait(0)


# -- the command
# ------------------------------------------------------------------------------------------------------------


def test_settings_travel_as_json():
    settings = Settings("m.acc", workers=3, allow_origins=("https://a.example",), limits=Limits(k=5))
    assert Settings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"port": 70000}, "65535"),
        ({"workers": 0}, "worker"),
        ({"log": "loud"}, "all, errors or none"),
        ({"allow_origins": ("*",)}, "origin"),
        ({"allow_origins": ("https://a.example/path",)}, "origin"),
        ({"allow_origins": ("https://A.example",)}, "origin"),
        ({"allow_origins": ("https://a.example:443",)}, "origin"),
        ({"allow_origins": ("http://a.example:80",)}, "origin"),
        ({"allow_origins": ("null",)}, "origin"),
        ({"proxies": ("*",)}, "proxy is an address"),
        ({"proxies": ("proxy.internal",)}, "proxy is an address"),
        ({"store": ":memory:", "workers": 2}, "store of its own"),
        ({"limits": Limits(timeout=0)}, "timeout"),
        ({"limits": Limits(timeout=float("nan"))}, "timeout"),
        ({"limits": Limits(user_rate=float("nan"))}, "user_rate"),
        ({"limits": Limits(k=1001)}, "at most 1000"),
        ({"limits": Limits(batch=1001)}, "at most 1000"),
        ({"limits": Limits(key_rate=-1)}, "key_rate"),
        ({"limits": Limits(body=1)}, "body"),
    ],
)
def test_settings_that_cannot_be_are_refused(told, message):
    with pytest.raises(UserInputError, match=message):
        Settings("m.acc", **told).checked()


def test_settings_that_can_be_are_taken():
    origins = ("https://shop.example", "http://localhost:3000", "https://a-b.example:8443", "http://[::1]:80")
    Settings("m.acc", allow_origins=origins[:3], proxies=("10.0.0.2", "10.0.0.0/24", "::1")).checked()
    with pytest.raises(UserInputError, match="origin"):
        Settings("m.acc", allow_origins=origins[3:]).checked()


def test_a_store_is_named_without_its_password(model):
    settings = Settings("m.acc", store="postgresql://ann:se@cret@db.internal/shop?password=secret", host="::")
    assert settings.shown == "postgresql://ann@db.internal/shop"
    store = open_store(":memory:")
    with pytest.raises(UserInputError, match="keys add --store postgresql://ann@db") as refused:
        check_reachable(store, settings)
    assert "cret" not in str(refused.value)
    store.close()


def test_localhost_is_believed_only_where_it_leads_here(monkeypatch):
    elsewhere = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("0.0.0.0", 0))
    monkeypatch.setattr(server, "_address", lambda host, port: elsewhere)
    with pytest.raises(UserInputError, match="others can reach"):
        server.bind(Settings("m.acc", host="localhost", port=0))


def run(*words):
    """What typing the command does: its exit code."""
    try:
        cli.app([str(word) for word in words], prog_name="acclimate")
    except SystemExit as done:
        return int(done.code or 0)
    return 0


@pytest.fixture
def complaint(capsys, monkeypatch):
    """What the command says when it refuses to start."""
    monkeypatch.setenv("COLUMNS", "80")

    def complaint(*words) -> str:
        assert run(*words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) < 12
        return " ".join(err.split())

    return complaint


def test_what_keeps_it_from_starting_is_one_clear_message(files, tmp_path, complaint):
    model = files / "m.acc"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port} of 127.0.0.1 is in use" in complaint("serve", model, "--port", port)
    said = complaint("serve", model, "--host", "no.such.host.invalid", "--port", 0)
    assert "no host 'no.such.host.invalid'" in said
    assert "no address of this machine" in complaint("serve", model, "--host", "192.0.2.1", "--port", 0)
    torn = tmp_path / "torn.acc"
    torn.write_bytes(model.read_bytes()[:5000])
    for workers in (1, 2):
        said = complaint("serve", torn, "--port", 0, "--workers", workers)
        assert "torn.acc" in said.replace(" ", "")
    store = tmp_path / "s"
    for workers in (1, 2):
        words = ("serve", model, "--host", "0.0.0.0", "--port", 0, "--store", store, "--workers", workers)
        assert "acclimate keys add --store" in complaint(*words)
    assert "redis:// is no kind of store" in complaint("serve", model, "--port", 0, "--store", "redis://x")
    assert "65535" in complaint("serve", model, "--port", 99999)


def test_keys_are_made_listed_and_removed_on_the_command_line(tmp_path, capsys):
    def keys(*words):
        code = run("keys", *words, "--store", tmp_path / "s.sqlite")
        return code, *capsys.readouterr()

    assert keys("list")[0] == 2
    assert run("keys", "add", "--store", ":memory:") == 2
    assert "gone at once" in capsys.readouterr().err
    code, out, err = keys("add", "--scope", "admin", "--name", "ops", "--tenant", "shop")
    key = out.strip()
    assert code == 0
    assert "cannot be shown again" in err
    key_id = key.split("_")[1]
    code, out, _ = keys("list")
    assert key_id in out
    assert key.split("_", 2)[2] not in out
    assert max(map(len, out.splitlines())) <= 80
    listed = json.loads(keys("list", "--json")[1])["keys"]
    assert [(one["tenant"], one["scopes"], one["name"]) for one in listed] == [("shop", ["admin"], "ops")]
    assert "digest" not in listed[0]
    assert keys("remove", key_id)[0] == 0
    assert keys("remove", key_id)[0] == 2
    assert keys("add", "--scope", "root")[0] == 2


def test_a_server_says_where_it_is_and_ends_well(files, tmp_path):
    with serving(tmp_path, files / "m.acc", "--store", tmp_path / "s.sqlite", "--no-page") as running:
        assert running.said["keys"] is False
        assert running.said["store"].endswith("s.sqlite")
        with Client(running.url) as client:
            client.observe("i1", 5, user="ann", id="1")
        assert running.end() == 143
    with (
        serving(tmp_path, files / "m.acc", "--store", tmp_path / "s.sqlite", "--no-page") as running,
        Client(running.url) as client,
    ):
        assert [event.id for event in client.export(user="ann").events] == ["1"]
    lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    # Who asks before it is ready is told so, with 503.
    assert [line for line in lines if line["level"] != "info" and line.get("status") != 503] == []


def test_workers_read_what_others_wrote_and_their_numbers_add_up(files, tmp_path):
    with serving(
        tmp_path, files / "m.acc", "--workers", 2, "--store", tmp_path / "s", "--no-page"
    ) as running:

        def ready() -> float:
            text = httpx.get(f"{running.url}/metrics", trust_env=False).text
            return metric(text, "acclimate_ready_workers")

        until(lambda: ready() == 2, 60)
        # A connection stays with its worker: many connections reach all of them.
        clients = [Client(running.url) for _ in range(16)]
        try:
            until(lambda: all(client.ready() for client in clients))
            for i in range(60):
                user = f"u-{i}"
                clients[i % 16].observe("i1", 5, user=user, id=f"{user}-1")
                for j in (1, 5, 11):
                    answer = clients[(i + j) % 16].recommend(user=user)
                    assert answer.events == 1
                assert clients[i % 16].recommend(user=user).events == 1
            # Both took part: each counts its own lists.
            assert len({client.status()["lists"] for client in clients}) == 2
            text = httpx.get(f"{running.url}/metrics", trust_env=False).text
            assert metric(text, "acclimate_events_total", status="stored") == 60
            route = {"route": "/v1/recommend", "status": "200"}
            assert metric(text, "acclimate_requests_total", **route) == 60 * 4
        finally:
            for client in clients:
                client.close()
        assert running.end() in (0, 143)
    assert "Traceback" not in running.log.read_text()


def test_a_damaged_model_published_under_load_does_not_replace_a_good_one(files, tmp_path):
    path = tmp_path / "m.acc"
    good, other = (files / "m.acc").read_bytes(), (files / "other.acc").read_bytes()
    path.write_bytes(good)
    with serving(tmp_path, path, "--store", tmp_path / "s", "--no-page") as running:
        seen, wrong, stop = set(), [], threading.Event()

        def load():
            with Client(running.url, attempts=1) as client:
                while not stop.is_set():
                    try:
                        seen.add(client.recommend(user="ann").model)
                    except Exception as error:
                        wrong.append(repr(error))

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            with Client(running.url) as client:
                first = client.model()["sha256"]
                (tmp_path / "new").write_bytes(good[: len(good) // 2])
                (tmp_path / "new").rename(path)
                until(lambda: client.recommend(user="ann").degraded, 20)
                assert "another model was published" in client.recommend().degraded[0]
                said = httpx.get(f"{running.url}/readyz", trust_env=False)
                until(lambda: httpx.get(f"{running.url}/readyz", trust_env=False).json()["notes"], 5)
                assert said.status_code == 200
                assert (
                    metric(
                        httpx.get(f"{running.url}/metrics", trust_env=False).text, "acclimate_model_damaged"
                    )
                    == 1
                )
                with pytest.raises(UserInputError):
                    client.reload()
                assert seen == {first}
                (tmp_path / "new").write_bytes(other)
                (tmp_path / "new").rename(path)
                until(lambda: client.model()["sha256"] != first, 20)
                second = client.model()["sha256"]
                until(lambda: second in seen, 10)
                assert client.recommend().degraded == ()
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert wrong == []
        assert seen == {first, second}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_acknowledged_while_it_is_told_to_end_is_kept(files, tmp_path, workers):
    store = tmp_path / "s.sqlite"
    acknowledged: list[str] = []
    with serving(tmp_path, files / "m.acc", "--workers", workers, "--store", store, "--no-page") as running:

        def write(who):
            with Client(running.url, attempts=1, timeout=20) as client:
                for i in range(100_000):
                    name = f"{who}-{i}"
                    try:
                        client.observe(f"i{i % 60}", 3, user=f"u-{who}", id=name)
                    except (ServerError, StoreError):
                        return
                    acknowledged.append(name)

        threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(acknowledged) > 100, 30)
        running.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        assert running.end() in (0, 143)
    opened = open_store(str(store))
    kept = {event.id for who in range(4) for event in opened.export("default", f"u:u-{who}")}
    opened.close()
    assert set(acknowledged) <= kept
    assert len(kept - set(acknowledged)) <= 4  # written, but the answer was lost
    assert "Traceback" not in running.log.read_text()


def test_workers_whose_supervisor_is_killed_end(files, tmp_path):
    with serving(
        tmp_path, files / "m.acc", "--workers", 2, "--store", tmp_path / "s", "--no-page"
    ) as running:
        running.process.kill()
        running.process.wait(30)

        def gone():
            try:
                httpx.get(f"{running.url}/healthz", trust_env=False)
            except httpx.TransportError:
                return True
            return False

        until(gone, 30)


def test_workers_that_cannot_start_wait_and_can_be_ended(files, tmp_path):
    path = tmp_path / "m.acc"
    path.write_bytes((files / "m.acc").read_bytes())
    words = ("--workers", 2, "--store", tmp_path / "s", "--no-page")
    with serving(tmp_path, path, *words, ready=False) as running:
        # The supervisor has read the model; its workers find another.
        (tmp_path / "torn").write_bytes(b"torn")
        (tmp_path / "torn").rename(path)
        until(lambda: "cannot start yet" in running.log.read_text())
        assert running.end() in (0, 143)


def test_a_server_that_is_not_warm_asks_to_come_back(model):
    with here(model) as running:
        running.app.state.health.warm = False
        running.app.state.health.look()
        answer = running.post("/v1/recommend", {})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
        assert answer.headers["retry-after"] == "1"
        said = running.http.get("/readyz")
        assert (said.status_code, said.json()["problems"]) == (503, ["It is warming up."])
        assert said.headers["retry-after"] == "1"
        assert running.http.get("/healthz").status_code == 200


def test_an_application_closes_what_it_opened(files, tmp_path):
    from acclimate.serving.http.app import create

    app = create(Settings(str(files / "m.acc"), store=str(tmp_path / "s"), page=False))
    with in_thread(app) as url:
        httpx.post(f"{url}/v1/events", json=clicks("ann", "i1"), trust_env=False)
    again = open_store(str(tmp_path / "s"))
    assert again.count() == 1
    again.close()
