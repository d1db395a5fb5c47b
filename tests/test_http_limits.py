"""How much one may ask for, how often, and for how long."""

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import Future

import pytest
from pydantic import ValidationError

from acclimate.errors import OverloadedError
from acclimate.serving.http import protocol
from acclimate.serving.http.app import OPERATIONS
from acclimate.serving.http.body import read_json
from acclimate.serving.http.limits import Rate, network
from acclimate.serving.http.operations import Table
from acclimate.serving.http.work import Work
from http_server import here, metric, small_model, until


@pytest.fixture(scope="module")
def model():
    return small_model()


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def refused(answer, status, code):
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
    if status in (429, 503):
        assert int(answer.headers["retry-after"]) >= 1
    return answer.json()["error"]


# -- rates
# ------------------------------------------------------------------------------------------------------------


def test_a_bucket_holds_five_seconds_and_fills_at_its_rate():
    clock = Clock()
    rate = Rate(2.0, clock=clock)
    assert [rate.take("a") for _ in range(10)] == [0.0] * 10
    assert rate.take("a") == pytest.approx(0.5)
    assert rate.take("b") == 0.0
    clock.now += 0.5
    assert rate.take("a") == 0.0
    assert rate.take("a") > 0
    clock.now += 1000
    assert [rate.take("a") for _ in range(10)] == [0.0] * 10
    assert rate.take("a") > 0


def test_what_was_spent_is_not_forgotten_while_it_matters():
    clock = Clock()
    rate = Rate(1.0, clock=clock)
    rate.take("a", 5)
    for _ in range(20):
        # Others come and go; generations turn.
        clock.now += 0.2
        rate.take(object())
        waited = clock.now - 100.0
        assert rate.wait("a") == pytest.approx(max(0.0, 1.0 - waited))


def test_names_are_not_kept_for_ever():
    clock = Clock()
    rate = Rate(10.0, clock=clock)
    for i in range(250_000):
        rate.take(i)
    assert len(rate._young) + len(rate._old) <= 200_000
    for _ in range(3):
        clock.now += 6
        rate.take("x")
    assert len(rate._young) + len(rate._old) <= 2


def test_more_than_a_bucket_holds_can_still_be_had():
    rate = Rate(1.0, clock=Clock())
    assert rate.take("a", 100) == 0.0
    assert rate.take("a", 100) == pytest.approx(5.0)


def test_a_rate_of_zero_is_none():
    rate = Rate(0.0)
    assert all(rate.take("a", 1e9) == 0 for _ in range(3))


def test_a_key_that_asks_too_often_is_told_when_to_come_back(model):
    with here(model, keyed=True, limits={"key_rate": 2.0}) as running:
        ours, theirs = running.key("recommend"), running.key("recommend")
        statuses = [running.post("/v1/recommend", {}, headers=ours).status_code for _ in range(14)]
        assert statuses[:10] == [200] * 10
        error = refused(running.post("/v1/recommend", {}, headers=ours), 429, "rate_limited")
        assert "at most 2 a second" in error["message"]
        assert running.post("/v1/recommend", {}, headers=theirs).status_code == 200
        admin = running.key("admin")
        text = running.http.get("/metrics", headers=admin).text
        assert metric(text, "acclimate_limited_requests_total", by="key") >= 1


def test_a_person_about_whom_too_much_is_said_is_limited_alone(model):
    with here(model, keyed=True, limits={"user_rate": 2.0}) as running:
        key = running.key()
        events = [{"user": "ann", "item": f"i{i}", "value": 3} for i in range(10)]
        assert running.post("/v1/events", {"events": events}, headers=key).status_code == 200
        refused(running.post("/v1/recommend", {"user": "ann"}, headers=key), 429, "rate_limited")
        refused(running.http.get("/v1/users/ann/export", headers=key), 429, "rate_limited")
        assert running.post("/v1/recommend", {"user": "bob"}, headers=key).status_code == 200
        assert running.post("/v1/recommend", {"session": "ann"}, headers=key).status_code == 200


def test_an_address_is_limited_over_all_its_keys(model):
    with here(model, keyed=True, limits={"address_rate": 1.0}) as running:
        one, two = running.key("recommend"), running.key("recommend")
        for _ in range(5):
            running.post("/v1/recommend", {}, headers=one)
        refused(running.post("/v1/recommend", {}, headers=two), 429, "rate_limited")
        assert running.http.get("/healthz").status_code == 200


def test_who_guesses_keys_is_stopped_and_locks_nobody_out(model):
    with here(model, keyed=True, limits={"guess_rate": 1.0}) as running:
        good = running.key("recommend")
        assert running.post("/v1/recommend", {}, headers=good).status_code == 200
        guesses = [{"authorization": f"Bearer acc_{i:012d}_guess"} for i in range(12)]
        statuses = [running.post("/v1/recommend", {}, headers=guess).status_code for guess in guesses]
        assert statuses[:5] == [401] * 5
        assert statuses[-1] == 429
        looked_up = running.store.calls.count("key")
        running.post("/v1/recommend", {}, headers=guesses[-1])
        assert running.store.calls.count("key") == looked_up
        assert running.post("/v1/recommend", {}, headers=good).status_code == 200


# -- sizes
# ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(model):
    with here(model, limits={"body": 2000, "batch": 3, "k": 20}) as running:
        yield running


def test_a_body_over_the_limit_is_refused_whether_or_not_it_says_so(small):
    long = json.dumps({"user": "x", "exclude": ["i1"] * 1000}).encode()
    kind = {"content-type": "application/json"}
    refused(small.http.post("/v1/recommend", content=long, headers=kind), 413, "too_large")

    def parts():
        for start in range(0, len(long), 500):
            yield long[start : start + 500]

    refused(small.http.post("/v1/recommend", content=parts(), headers=kind), 413, "too_large")
    just = b'{"user":"x"' + b" " * (2000 - 12) + b"}"
    assert small.http.post("/v1/recommend", content=just, headers=kind).status_code == 200
    refused(small.http.post("/v1/recommend", content=just + b" ", headers=kind), 413, "too_large")


def test_a_body_without_end_is_cut_off(small):
    host, port = small.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST /v1/recommend HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        connection.sendall(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        with pytest.raises(OSError, match=r"reset|pipe"):
            connection.sendall(chunk * 2000)


def test_a_batch_and_a_list_have_a_longest(small):
    event = {"user": "x", "item": "i1", "value": 3}
    assert small.post("/v1/events", {"events": [event] * 3}).status_code == 200
    error = refused(small.post("/v1/events", {"events": [event] * 4}), 422, "too_many")
    assert error["field"] == "events"
    assert small.post("/v1/recommend", {"k": 20}).status_code == 200
    error = refused(small.post("/v1/recommend", {"k": 21}), 422, "too_many")
    assert error["field"] == "k"


def test_more_than_anybody_may_ask_for_is_too_many(model):
    with here(model) as running:
        event = {"user": "x", "item": "i1", "value": 3}
        refused(running.post("/v1/events", {"events": [event] * 1001}), 422, "too_many")
        given = [{"item": "i1", "value": 3}] * 501
        refused(running.post("/v1/recommend", {"events": given}), 422, "too_many")
        refused(running.post("/v1/rank", {"items": ["i1"] * 10_001}), 422, "too_many")
        refused(running.post("/v1/recommend", {"filter": {"genre": ["a"] * 1001}}), 422, "invalid_input")


# -- heads
# ------------------------------------------------------------------------------------------------------------


def raw(running, *parts, pause=0.05):
    """What a server answers to bytes, until it closes the connection or half a second passes."""
    host, port = running.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=0.5) as connection:
        said = b""
        try:
            # A server that has heard enough closes, whatever else is sent.
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause)
            while more := connection.recv(65_536):
                said += more
        except TimeoutError:
            said += b"<open>"
        except ConnectionError:
            pass
    return said


@pytest.mark.parametrize(
    "head",
    [
        b"x-a: " + b"a" * 100_000 + b"\r\n",
        b"x-a: b\r\n" * 300,
        b"x-a: " + b"a" * 100_000,
    ],
)
def test_a_head_that_is_too_long_is_refused_when_it_is(small, head):
    parts = [head[start : start + 20_000] for start in range(0, len(head), 20_000)]
    said = raw(small, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n", *parts, b"\r\n")
    assert said.startswith(b"HTTP/1.1 431")
    assert said.count(b"HTTP/1.1 ") == 1
    assert small.http.get("/healthz", headers={"x-a": "a" * 20_000}).status_code == 200


def test_a_head_that_does_not_come_is_not_waited_for(model, monkeypatch):
    monkeypatch.setattr(protocol, "SLOWEST_HEAD", 0.2)
    with here(model) as running:
        ask = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
        assert raw(running) == b""
        assert raw(running, ask, pause=0.4) == b""
        after_an_answer = raw(running, ask + b"\r\n", ask, pause=0.45)
        assert after_an_answer.startswith(b"HTTP/1.1 200")
        assert not after_an_answer.endswith(b"<open>")
        # Between two requests a connection may rest.
        assert raw(running, ask + b"\r\n", b"", b"", pause=0.4).endswith(b"<open>")


UPGRADE = b"host: localhost\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"


@pytest.mark.parametrize("together", [False, True])
def test_a_body_behind_an_offer_to_upgrade_is_a_body(model, together):
    with here(model) as running:
        inner = b"DELETE /v1/users/ann HTTP/1.1\r\nhost: localhost\r\n\r\n"
        head = b"POST /v1/recommend HTTP/1.1\r\ncontent-type: application/json\r\n" + UPGRADE
        for body, status in ((inner, b"422"), (b'{"k": 3}', b"200")):
            parts = head + b"content-length: %d\r\n\r\n" % len(body), body
            said = raw(running, b"".join(parts)) if together else raw(running, *parts)
            assert said.startswith(b"HTTP/1.1 " + status)
            assert said.count(b"HTTP/1.1 ") == 1
            assert said.endswith(b"<open>")


def test_many_offers_at_once_are_so_many_requests(small):
    said = raw(small, (b"GET /healthz HTTP/1.1\r\n" + UPGRADE + b"\r\n") * 1500)
    assert said.count(b"HTTP/1.1 200") == 1500
    assert raw(small, b"CONNECT shop.example:443 HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_what_follows_a_body_is_no_part_of_its_head(model):
    with here(model, keyed=True) as running:
        key = running.key("recommend")["authorization"].encode()
        said = raw(
            running,
            b"POST /v1/recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nauthorization: " + key + b"\r\n\r\n",
        )
        assert said.startswith(b"HTTP/1.1 401")


def test_what_callers_make_up_does_not_pile_up(model):
    with here(model) as running:
        for i in range(50):
            refused(running.post("/v1/recommend", {"strategy": f"s{i}"}), 422, "unknown_strategy")
        assert len(running.app.gate.work._paces) < 10


def test_a_list_is_read_until_something_in_it_is_wrong():
    (rank,) = [one for one in OPERATIONS if one.name == "rank"]
    with pytest.raises(ValidationError) as wrong:
        read_json(rank.reader, b'{"items": [' + b"[]," * 5000 + b"[]]}")
    assert wrong.value.error_count() == 1


def test_an_address_of_ipv6_counts_as_its_network():
    assert network("203.0.113.9") == "203.0.113.9"
    assert network("2001:db8::1") == network("2001:db8::2:3") != network("2001:db8:0:1::1")
    assert network("fe80::1%eth0")
    assert network("a:b") == "a:b"


# -- time, and how many at once
# ------------------------------------------------------------------------------------------------------------


def test_what_takes_too_long_is_given_up(model, monkeypatch):
    with here(model, limits={"timeout": 0.4}) as running:
        end = threading.Event()
        monkeypatch.setattr(running.service, "explain", lambda *a, **k: end.wait(20))
        began = time.monotonic()
        refused(running.post("/v1/explain", {"item": "i1"}), 503, "timeout")
        assert 0.3 < time.monotonic() - began < 5
        never: Future = Future()
        monkeypatch.setattr(running.service, "submit", lambda *a, **k: never)
        refused(running.post("/v1/events", {"events": [{"user": "a", "item": "i1"}]}), 503, "timeout")
        end.set()
        assert running.post("/v1/recommend", {}).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(model):
    with here(model, limits={"timeout": 0.4}) as running:
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = f"POST /v1/recommend HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
            connection.sendall(head.encode() + b"content-length: 100\r\n\r\n{")
            said = connection.recv(10_000)
        assert said.startswith(b"HTTP/1.1 503")
        assert b"retry-after" in said


def test_more_at_once_than_can_be_is_refused_and_health_is_not(model, monkeypatch):
    with here(model, limits={"concurrency": 2, "threads": 4}) as running:
        end = threading.Event()
        slow = running.service.similar
        monkeypatch.setattr(running.service, "similar", lambda *a, **k: end.wait(20) and slow(*a, **k))
        answers = []

        def ask():
            answers.append(running.post("/v1/similar", {"item": "i1"}).status_code)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: running.app.gate._running == 2, 10)
        refused(running.post("/v1/recommend", {}), 503, "overloaded")
        assert running.http.get("/healthz").status_code == 200
        end.set()
        for thread in threads:
            thread.join(20)
        assert answers == [200, 200]
        assert running.post("/v1/recommend", {}).status_code == 200


def test_a_store_with_too_much_waiting_asks_to_come_back(model, monkeypatch):
    with here(model) as running:

        def full(*args, **kwargs):
            raise OverloadedError("200,000 events wait to be written.")

        monkeypatch.setattr(running.service, "submit", full)
        refused(running.post("/v1/events", {"events": [{"user": "a", "item": "i1"}]}), 503, "overloaded")


def test_slow_work_leaves_the_loop_to_others(model, monkeypatch):
    with here(model) as running:
        quick = running.service.recommend

        def sometimes(*args, **kwargs):
            if kwargs.get("strategy") == "popularity":
                time.sleep(0.3)
            return quick(*args, **kwargs)

        monkeypatch.setattr(running.service, "recommend", sometimes)
        # Once it has been slow it is no longer done where it holds up everybody.
        for _ in range(2):
            running.post("/v1/recommend", {"strategy": "popularity"})
        thread = threading.Thread(target=running.post, args=("/v1/recommend", {"strategy": "popularity"}))
        thread.start()
        time.sleep(0.05)
        began = time.monotonic()
        assert running.post("/v1/recommend", {}).status_code == 200
        assert time.monotonic() - began < 0.2
        thread.join()


def test_work_in_threads_raises_where_it_is_awaited():
    import asyncio

    async def main():
        work = Work(2, local=False)
        assert await work.run("a", True, lambda: 1) == 1
        results = await asyncio.gather(*(work.in_thread(lambda i=i: i) for i in range(500)))
        assert results == list(range(500))
        with pytest.raises(ZeroDivisionError):
            await work.run("a", True, lambda: 1 / 0)
        never: Future = Future()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work.result(never), 0.05)
        never.set_result(1)
        work.close()

    asyncio.run(main())


def test_names_that_repeat_are_found_however_a_body_is_written():
    from pydantic import TypeAdapter

    from acclimate.serving.http.problems import Problem
    from acclimate.serving.http.schemas import EventsIn

    reader = TypeAdapter(EventsIn)
    good = '{"events" :[ {"item": "a:b" , "user":"\\":"}, {"item":1,"session":"x"}]}'
    assert len(read_json(reader, good.encode())["events"]) == 2
    for bad in (good.replace('"user"', '"item"'), good.replace("}]}", '}], "events": []}')):
        with pytest.raises((Problem, ValueError)):
            read_json(reader, bad.encode())


def test_a_path_is_found_by_its_parts():
    table = Table(OPERATIONS)
    found, ids = table.find(b"/v1/users/a%2Fb/events/c")
    assert (list(found), ids) == (["DELETE"], [b"a%2Fb", b"c"])
    assert table.find(b"/v1/users/a/b/events/c") is None
    assert table.find(b"/v1/users") is None
    assert set(table.find(b"/v1/rules")[0]) == {"GET", "PUT"}
