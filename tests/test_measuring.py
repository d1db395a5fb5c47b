"""The instruments of the serving benchmarks measure what they say: load, percentiles, and exactness."""

import socket
import threading
import time

import numpy as np
import pytest

import load
import serving_latency
from served import bootstrapped, interval, made_model
from serving_latency import K, People, exact_scores, tables, wrong_answers


class Slow:
    """A server that answers one request after the other, and once stands still for a while."""

    def __init__(self, stall_at=None, stall=0.0, status=200):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.stall_at, self.stall, self.status, self.n = stall_at, stall, status, 0
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            while (data := connection.recv(65_536)) and self.answer(connection, data):
                pass

    def answer(self, connection, data):
        with self.lock:
            self.n += 1
            if self.n == self.stall_at:
                time.sleep(self.stall)
            if self.status == 0:
                return False
            body = data.split(b"\r\n\r\n", 1)[1]
            head = f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            return True


@pytest.fixture
def serve():
    servers = []

    def start(**how):
        servers.append(Slow(**how))
        return servers[-1].listener.getsockname()

    yield start
    for server in servers:
        server.listener.close()


def asked(n):
    return [load.request("POST", "/x", {"n": i}) for i in range(n)]


def test_an_open_loop_counts_the_time_for_which_requests_were_held_up(serve):
    stall = 0.5
    closed, _ = load.run(serve(stall_at=50, stall=stall), asked(1), connections=1, seconds=1.0)
    opened, _ = load.run(serve(stall_at=50, stall=stall), asked(1), connections=1, seconds=1.0, rate=200)
    # At 200 a second, half a second's stall holds up a hundred requests, on average by half of it.
    assert closed.latency.max() > stall
    assert (closed.latency > 0.05).sum() <= 3
    assert (opened.latency > 0.05).sum() > 60
    assert len(opened.latency) == 200
    assert opened.unsent == 0
    assert opened.percentile(100) >= stall
    assert (opened.service > 0.05).sum() <= 3


def test_every_answer_comes_back_with_its_request(serve):
    outcome, bodies = load.run(serve(), asked(300), connections=7, seconds=30, once=True, keep_bodies=True)
    assert sorted(outcome.order.tolist()) == list(range(300))
    assert all(body == b'{"n": %d}' % i for i, body in zip(outcome.order.tolist(), bodies, strict=True))
    assert outcome.statuses == {200: 300}
    assert outcome.failed == 0
    assert outcome.rate == pytest.approx(300 / outcome.elapsed)


@pytest.mark.parametrize("status", [503, 0])
def test_refusals_and_broken_connections_are_failures(serve, status):
    outcome, _ = load.run(serve(status=status), asked(20), connections=2, seconds=30, once=True)
    assert outcome.statuses == {status: 20}
    assert outcome.failed == 20
    assert outcome.rate == 0


def test_a_generator_that_reaches_nobody_says_so():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    with pytest.raises(RuntimeError, match="refused"):
        load.run(address, asked(1), connections=1, seconds=0.1)


@pytest.fixture(scope="module")
def found():
    """Vectors, people, and their ten best by sorting exact scores of everything."""
    closed = tables(made_model(300, n_users=5))
    people = People.drawn(closed, 4, 5, seed=1)
    best = []
    for met, vector in zip(people.met, people.vectors, strict=True):
        scores = exact_scores(closed.vectors, vector)
        order = sorted(set(range(300)) - set(met.tolist()), key=lambda row: (-scores[row], row))
        best.append(order[: K + 1])
    return closed.vectors, people, np.array(best)


def test_the_ten_best_are_right(found):
    vectors, people, best = found
    assert wrong_answers(vectors, people, best[:, :K]) == []


@pytest.mark.parametrize("wrong", ["swapped", "one missing", "one twice", "one met", "nothing"])
def test_anything_but_the_ten_best_is_wrong(found, wrong):
    vectors, people, best = found
    answers = best[:, :K].copy()
    answers[2] = {
        "swapped": [*best[2, :8], best[2, 9], best[2, 8]],
        "one missing": [*best[2, :9], best[2, 10]],
        "one twice": [*best[2, :9], best[2, 8]],
        "one met": [*best[2, :9], people.met[2, 0]],
        "nothing": [-1] * K,
    }[wrong]
    assert wrong_answers(vectors, people, answers) == [2]


def test_equal_scores_must_stand_in_the_order_of_rows(found):
    vectors, people, best = found
    twin = np.concatenate([vectors, vectors[best[0, 0]][None]])  # row 300 equals the best of person 0
    one = People(people.met[:1], people.vectors[:1])
    right = [best[0, 0], 300, *best[0, 1:9]]
    assert wrong_answers(twin, one, np.array([right])) == []
    assert wrong_answers(twin, one, np.array([[300, best[0, 0], *best[0, 1:9]]])) == [0]
    assert wrong_answers(twin, one, best[:1, :K]) == [0]


def test_every_contestant_finds_the_ten_best_of_a_small_catalogue(found):
    closed = tables(made_model(300, n_users=5))
    for name in ("ours", "ours, NumPy", "faiss flat"):
        solve = serving_latency.solvers(name, closed)
        for met, best in zip(found[1].met, found[2], strict=True):
            assert solve(met).tolist() == best[:K].tolist(), name


def test_implicit_is_asked_for_ten_items_that_the_person_did_not_meet(found):
    pytest.importorskip("implicit")
    solve = serving_latency.solvers("implicit", tables(made_model(300, n_users=5)))
    items = set(solve(found[1].met[0]).tolist())
    assert len(items) == K
    assert items.isdisjoint(found[1].met[0].tolist())


def test_intervals_hold_their_value():
    assert interval([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    values = np.random.default_rng(0).exponential(size=5000)
    value, low, high = bootstrapped(values, 99)
    assert low < value < high
    assert value == pytest.approx(np.log(100), rel=0.1)
    assert low < np.log(100) < high
