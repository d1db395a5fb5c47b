"""A load generator for HTTP in a process of its own: closed loop, or open loop at a fixed rate.

In a closed loop each connection sends its next request when the answer to the last one is there; that
measures how much a server can do, and flatters its latency, because a slow answer delays the requests that
would have shown it (coordinated omission). In an open loop, request i is meant to leave at ``i / rate``
whatever happened to those before it, and its latency is counted from that moment: time spent waiting for a
free connection counts.

It is one thread with raw keep-alive sockets and one epoll, costs some 35 microseconds a request, and says
what share of a core it took itself, so that nobody mistakes its limit for the server's.

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
from dataclasses import asdict, dataclass, field
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
        late: seconds by which the generator itself was late, with a connection at hand, 99th percentile.
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
            *address,
            str(sent),
            connections,
            seconds,
            rate,
            once,
            str(answers) if keep_bodies else None,
            warmup,
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


class Generator:
    """Sends the requests of a plan over its connections, and writes down what comes back."""

    def __init__(self, plan: Plan, messages: Sequence[bytes]) -> None:
        self.plan, self.messages = plan, messages
        self.epoll = select.epoll()
        self.by_fd: dict[int, Connection] = {}
        self.free = [Connection(plan) for _ in range(plan.connections)]
        for connection in self.free:
            self.watch(connection)

    def watch(self, connection: Connection) -> None:
        self.by_fd[connection.fd] = connection
        self.epoll.register(connection.fd, select.EPOLLIN)

    def run(self, rate: float | None, seconds: float) -> Log:
        """Sends for so long, and waits for the last answers."""
        once, clock = self.plan.once, time.perf_counter
        total = len(self.messages) if once else sys.maxsize
        if rate is not None:
            total = min(total, int(rate * seconds))
        log = Log(start=clock())
        end = log.start + seconds + (30.0 if once or rate is not None else 0.0)
        while True:
            now = clock()
            may_send = log.sent < total and now < end
            if may_send:
                self.send(log, rate, total)
                may_send = log.sent < total
            if not may_send and log.answered == log.sent:
                break
            if now > end + 30:
                raise RuntimeError(f"{log.sent - log.answered} requests were not answered within 30 seconds")
            if rate is not None and may_send and self.free:
                # epoll counts in milliseconds; select in microseconds, and an epoll can be selected.
                select.select([self.epoll], [], [], max(0.0, log.start + log.sent / rate - now))
                ready = self.epoll.poll(0)
            else:
                ready = self.epoll.poll(1.0)
            for fd, _ in ready:
                self.receive(self.by_fd[fd], log)
        log.unsent = 0 if rate is None and not once else total - log.sent
        return log

    def send(self, log: Log, rate: float | None, total: int) -> None:
        """Sends what is due, as far as connections are free."""
        while self.free and log.sent < total:
            now = time.perf_counter()
            intended = now if rate is None else log.start + log.sent / rate
            if intended > now:
                break
            connection, index = self.free.pop(), log.sent % len(self.messages)
            if rate is not None and not log.waited:
                log.late.append(now - intended)
            connection.send(self.messages[index], index, intended)
            if rate is None:
                connection.intended = connection.sent
            log.sent, log.waited = log.sent + 1, False
        log.waited = not self.free

    def receive(self, connection: Connection, log: Log) -> None:
        """Takes what has come on a connection; opens a new one if it broke."""
        answer = connection.receive()
        if answer is None:
            return
        status, body = answer
        if connection.index >= 0:
            log.add(connection, status, body if self.plan.bodies is not None else None)
            connection.index = -1
            self.free.append(connection)
        if status == 0:
            self.epoll.unregister(connection.fd)
            del self.by_fd[connection.fd]
            connection.socket.close()
            connection.open()
            self.watch(connection)


@dataclass
class Log:
    """What happened so far; see :class:`Outcome`. ``waited``: whether no connection was free for the next."""

    start: float
    last: float = 0.0
    sent: int = 0
    answered: int = 0
    unsent: int = 0
    waited: bool = False
    latency: list[float] = field(default_factory=list)
    service: list[float] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def add(self, connection: Connection, status: int, body: bytes | None) -> None:
        self.last = time.perf_counter()
        self.answered += 1
        self.statuses[status] += 1
        self.latency.append(self.last - connection.intended)
        self.service.append(self.last - connection.sent)
        self.order.append(connection.index)
        if body is not None:
            self.bodies.append(body)

    def arrays(self) -> dict[str, object]:
        return {
            "latency": np.array(self.latency),
            "service": np.array(self.service),
            "order": np.array(self.order, dtype=np.int64),
            "statuses": np.array(sorted(self.statuses.items()), dtype=np.int64).reshape(-1, 2),
            "elapsed": max(self.last - self.start, 1e-9),
            "late": float(np.percentile(self.late, 99)) if self.late else 0.0,
            "unsent": self.unsent,
        }


def generate(plan: Plan, messages: Sequence[bytes]) -> tuple[dict[str, object], list[bytes]]:
    """Sends as planned; arrays and figures of an :class:`Outcome`, and the bodies."""
    _sharpen_timers()
    generator = Generator(plan, messages)
    if plan.warmup > 0 and not plan.once:
        generator.run(None, plan.warmup)
    before = time.process_time()
    log = generator.run(plan.rate, plan.seconds)
    return {**log.arrays(), "cpu": time.process_time() - before}, log.bodies


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


HEAD = (
    f"{'':<17}{'req/s':>9}" + "".join(f"{f'p{p:g} ms':>9}" for p in PERCENTILES[:-1]) + "   max ms ratio  gen"
)


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
