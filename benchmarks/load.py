"""A load generator for HTTP in a process of its own: closed loop, or open loop at a fixed rate.

In a closed loop each connection sends its next request when the answer to the last one is there; that
measures how much a server can do, and flatters its latency, because a slow answer delays the requests that
would have shown it (coordinated omission). In an open loop, request i is meant to leave at ``i / rate``
whatever happened to those before it, and its latency is counted from that moment: time spent waiting for a
free connection counts.

It is one thread with raw keep-alive sockets and one epoll, costs some 15 microseconds a request, and says what
share of a core it took itself, so that nobody mistakes its limit for the server's.

    python benchmarks/load.py http://127.0.0.1:8000/v1/recommend --body '{"events": [{"item": 7}], "k": 10}' \
        --connections 1 8 --rate 500
"""

from __future__ import annotations

import argparse
import ctypes
import json
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Plan:
    """What to send.

    Attributes:
        host, port: where to.
        requests: file of requests, see :func:`write_messages`; begun again at its end unless ``once``.
        connections: kept open, at most so many requests are under way.
        seconds: how long requests are sent.
        rate: requests a second, for an open loop; None for a closed one.
        once: stop when every request was sent.
        bodies: file to write the bodies of the answers to, in the order of ``order``; None keeps none.
        warmup: seconds of closed loop before, of which nothing is reported; not with ``once``.
    """

    host: str
    port: int
    requests: str
    connections: int
    seconds: float
    rate: float | None = None
    once: bool = False
    bodies: str | None = None
    warmup: float = 0.0


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came back.

    Attributes:
        latency: [n] seconds from when a request was meant to be sent to the last byte of its answer.
        service: [n] seconds from when it was sent.
        order: [n] which request of the file each answer belongs to.
        statuses: how many answers had which status; status 0 is a connection that broke.
        elapsed: seconds from the first request to the last answer. cpu: CPU seconds of the generator.
        late: seconds by which the generator itself was late at the 99th percentile, a free connection at hand.
        unsent: requests of the schedule that were never sent, because the server had fallen behind.
    """

    latency: NDArray[np.float64]
    service: NDArray[np.float64]
    order: NDArray[np.int64]
    statuses: Mapping[int, int]
    elapsed: float
    cpu: float
    late: float
    unsent: int

    @property
    def rate(self) -> float:
        """Answers with a status below 400, a second."""
        return sum(n for status, n in self.statuses.items() if 200 <= status < 400) / self.elapsed

    @property
    def failed(self) -> int:
        """Answers with any other status, broken connections and requests never sent."""
        good = sum(n for status, n in self.statuses.items() if 200 <= status < 400)
        return sum(self.statuses.values()) - good + self.unsent

    def percentile(self, percent: float) -> float:
        """Latency in seconds that ``percent`` of the requests stayed within; of all of them, no buckets."""
        return float(np.percentile(self.latency, percent, method="higher")) if len(self.latency) else np.nan


def request(
    method: str, path: str, body: object = None, *, host: str = "localhost", key: str | None = None
) -> bytes:
    """One HTTP/1.1 request, ready to be sent; ``body`` is JSON, or bytes."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", f"content-length: {len(content)}"]
    if content:
        lines.append("content-type: application/json")
    if key:
        lines.append(f"authorization: Bearer {key}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def write_messages(path: Path, messages: Iterable[bytes]) -> None:
    """Messages of any length as one file."""
    with path.open("wb") as file:
        for message in messages:
            file.write(_LENGTH.pack(len(message)))
            file.write(message)


def read_messages(path: Path) -> list[bytes]:
    """What :func:`write_messages` wrote."""
    raw, at, out = path.read_bytes(), 0, []
    while at < len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        out.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return out


def run(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    rate: float | None = None,
    once: bool = False,
    warmup: float = 0.0,
    keep_bodies: bool = False,
) -> tuple[Outcome, list[bytes]]:
    """Sends requests from a process of its own; see :class:`Plan`. Bodies are empty unless they are kept.

    Raises:
        RuntimeError: the generator failed, say because nobody listens there.
    """
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        sent, answers, result = (Path(folder) / name for name in ("requests", "answers", "result.npz"))
        write_messages(sent, requests)
        plan = Plan(
            *address, str(sent), connections, seconds, rate, once, str(answers) if keep_bodies else None, warmup
        )
        command = [sys.executable, str(Path(__file__).resolve()), "--plan", json.dumps(asdict(plan))]
        done = subprocess.run(
            [*command, "--result", str(result)],
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * (seconds + warmup) + 120,
        )
        if done.returncode:
            raise RuntimeError(f"the load generator failed:\n{done.stderr.strip()}")
        with np.load(result, allow_pickle=False) as found:
            outcome = Outcome(
                latency=found["latency"],
                service=found["service"],
                order=found["order"],
                statuses=dict(found["statuses"].tolist()),
                elapsed=float(found["elapsed"]),
                cpu=float(found["cpu"]),
                late=float(found["late"]),
                unsent=int(found["unsent"]),
            )
        return outcome, read_messages(answers) if keep_bodies else []


class Connection:
    """One keep-alive connection, with at most one request under way."""

    def __init__(self, plan: Plan) -> None:
        self.address = (plan.host, plan.port)
        self.index, self.intended, self.sent = -1, 0.0, 0.0
        self.open()

    def open(self) -> None:
        self.socket = socket.create_connection(self.address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.fd, self.buffer, self.needed = self.socket.fileno(), b"", -1

    def send(self, message: bytes, index: int, intended: float) -> None:
        self.index, self.intended = index, intended
        self.sent = time.perf_counter()
        try:
            n = self.socket.send(message)
            if n < len(message):  # a long request: rare, so simple
                self.socket.setblocking(True)
                self.socket.sendall(message[n:])
                self.socket.setblocking(False)
        except OSError:
            self.socket.shutdown(socket.SHUT_RDWR)  # shows as a broken answer

    def receive(self) -> tuple[int, bytes] | None:
        """Status and body of the answer once it is whole; status 0 where the connection broke."""
        try:
            data = self.socket.recv(262_144)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            return 0, b""
        buffer = self.buffer + data if self.buffer else data
        if self.needed < 0:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self.buffer = buffer
                return None
            head = buffer[:end].lower()
            at = head.find(b"content-length:")
            if at < 0:
                raise RuntimeError(f"an answer without content-length: {head!r}")
            self.head = end + 4
            self.needed = self.head + int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(buffer) < self.needed:
            self.buffer = buffer
            return None
        found = int(buffer[9:12]), buffer[self.head : self.needed]
        self.buffer, self.needed = b"", -1
        return found


def generate(plan: Plan, messages: Sequence[bytes]) -> tuple[dict[str, object], list[bytes]]:
    """Sends as planned; arrays and figures of an :class:`Outcome`, and the bodies."""
    _sharpen_timers()
    connections = [Connection(plan) for _ in range(plan.connections)]
    epoll = select.epoll()
    by_fd = {}
    for connection in connections:
        epoll.register(connection.fd, select.EPOLLIN)
        by_fd[connection.fd] = connection
    if plan.warmup > 0 and not plan.once:
        _loop(plan, messages, epoll, by_fd, connections, None, plan.warmup, [])
    bodies: list[bytes] = []
    before = time.process_time()
    found = _loop(plan, messages, epoll, by_fd, connections, plan.rate, plan.seconds, bodies)
    return {**found, "cpu": time.process_time() - before}, bodies


def _loop(
    plan: Plan,
    messages: Sequence[bytes],
    epoll: select.epoll,
    by_fd: dict[int, Connection],
    connections: Sequence[Connection],
    rate: float | None,
    seconds: float,
    bodies: list[bytes],
) -> dict[str, object]:
    clock = time.perf_counter
    total = len(messages) if plan.once else sys.maxsize
    if rate is not None:
        total = min(total, int(rate * seconds))
    latency: list[float] = []
    service: list[float] = []
    order: list[int] = []
    late: list[float] = []
    statuses: Counter[int] = Counter()
    free = list(connections)
    waited = False  # whether the next request has been waiting for a connection
    n, under_way, start = 0, 0, clock()
    last, limit = start, start + seconds + (30.0 if plan.once or rate is not None else 0.0)
    while True:
        now = clock()
        sending = n < total and (now < start + seconds if rate is None and not plan.once else now < limit)
        while sending and free:
            intended = now if rate is None else start + n / rate
            if intended > now:
                break
            connection = free.pop()
            if rate is not None and not waited:
                late.append(now - intended)
            connection.send(messages[n % len(messages)], n % len(messages), intended)
            if rate is None:
                connection.intended = connection.sent
            n, under_way, waited = n + 1, under_way + 1, False
            now = clock()
            sending = n < total
        waited = sending and not free
        if not sending and not under_way:
            break
        if now > limit + 30:
            raise RuntimeError(f"{under_way} requests were not answered within 30 seconds")
        if rate is not None and sending and free:
            # epoll counts in milliseconds; select in microseconds, and an epoll can be selected.
            select.select([epoll], [], [], max(0.0, start + n / rate - now))
            ready = epoll.poll(0)
        else:
            ready = epoll.poll(1.0)
        for fd, _ in ready:
            connection = by_fd[fd]
            answer = connection.receive()
            if answer is None:
                continue
            last = clock()
            status, body = answer
            if connection.index >= 0:
                statuses[status] += 1
                latency.append(last - connection.intended)
                service.append(last - connection.sent)
                order.append(connection.index)
                if plan.bodies is not None:
                    bodies.append(body)
                under_way -= 1
                free.append(connection)
                connection.index = -1
            if status == 0:
                epoll.unregister(fd)
                connection.socket.close()
                del by_fd[fd]
                connection.open()
                by_fd[connection.fd] = connection
                epoll.register(connection.fd, select.EPOLLIN)
    return {
        "latency": np.array(latency),
        "service": np.array(service),
        "order": np.array(order, dtype=np.int64),
        "statuses": np.array(sorted(statuses.items()), dtype=np.int64).reshape(-1, 2),
        "elapsed": max(last - start, 1e-9),
        "late": float(np.percentile(late, 99)) if late else 0.0,
        "unsent": 0 if rate is None and not plan.once else total - n,
    }


def _sharpen_timers() -> None:
    """Lets this thread sleep for microseconds: Linux otherwise rounds up by 50 of them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(29, 1, 0, 0, 0)  # PR_SET_TIMERSLACK, nanoseconds


def line(name: str, outcome: Outcome, base: Outcome | None = None) -> str:
    """A row for people, with the ratio of its rate to another's."""
    quantiles = "".join(f"{outcome.percentile(p) * 1e3:9.2f}" for p in PERCENTILES)
    ratio = f"{outcome.rate / base.rate:6.2f}" if base is not None else "     -"
    return f"{name:<17}{outcome.rate:9.0f}{quantiles}{ratio}{100 * outcome.cpu / outcome.elapsed:5.0f}%"


HEAD = f"{'':<17}{'req/s':>9}" + "".join(f"{f'p{p:g} ms':>9}" for p in PERCENTILES[:-1]) + "   max ms ratio  gen"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", nargs="?", help="where to send to")
    parser.add_argument("--method", default="POST")
    parser.add_argument("--body", help="JSON; default none")
    parser.add_argument("--key", help="bearer key")
    parser.add_argument("--connections", nargs="+", type=int, default=[1])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, help="requests a second, for an open loop")
    parser.add_argument("--plan", help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plan:
        plan = Plan(**json.loads(given.plan))
        found, bodies = generate(plan, read_messages(Path(plan.requests)))
        with Path(given.result).open("wb") as file:
            np.savez(file, **found)  # type: ignore[arg-type]
        if plan.bodies is not None:
            write_messages(Path(plan.bodies), bodies)
        return
    if not given.url:
        parser.error("say where to send to, such as http://127.0.0.1:8000/healthz")
    url = urlsplit(given.url)
    path = url.path + (f"?{url.query}" if url.query else "")
    content = given.body.encode() if given.body else None
    message = request(given.method, path or "/", content, host=url.netloc, key=given.key)
    print(HEAD)
    base = None
    for connections in given.connections:
        outcome, _ = run(
            (url.hostname or "127.0.0.1", url.port or 80),
            [message],
            connections=connections,
            seconds=given.seconds,
            rate=given.rate,
            warmup=min(1.0, given.seconds / 4),
        )
        print(line(f"{connections} connections", outcome, base))
        if outcome.failed:
            print(f"  failed: {outcome.failed}; statuses {dict(outcome.statuses)}; unsent {outcome.unsent}")
        base = base or outcome


if __name__ == "__main__":
    main()
