"""The gate: every request passes here, once, from its head to the last byte of its answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import Future
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from acclimate.errors import StoreError
from acclimate.serving.http.access import Access, refused
from acclimate.serving.http.body import HungUpError, Receive, read_json, receive_body
from acclimate.serving.http.limits import Rate, network
from acclimate.serving.http.logs import LOGGER, told
from acclimate.serving.http.metrics import Metrics
from acclimate.serving.http.operations import Call, Operation, Raw, Table, path_ids
from acclimate.serving.http.problems import Problem, problem_of
from acclimate.serving.http.settings import Settings
from acclimate.serving.http.work import Work
from acclimate.serving.store.base import Store, StoredKey

if TYPE_CHECKING:
    from acclimate.serving.service.service import Service

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_JSON: Final = b"application/json"
_ALWAYS: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
]
_COLD: Final = "It is warming up."
_DAMAGED: Final = "Another model was published, but its file cannot be used; an older one answers."
_ID = re.compile(rb"[0-9a-fA-F-]{8,64}")
_TYPE = re.compile(rb"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?", re.IGNORECASE)
_EXPOSED: Final = (b"access-control-expose-headers", b"x-request-id, server-timing, retry-after")

log = logging.getLogger(LOGGER)


class Exchange:
    """A request and what is answered to it."""

    __slots__ = (
        "body",
        "code",
        "encoded",
        "extra",
        "headers",
        "media_type",
        "operation",
        "scope",
        "seconds",
        "started",
        "status",
    )

    def __init__(self, scope: Message) -> None:
        self.started = perf_counter()
        self.scope = scope
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.operation: Operation | None = None
        self.encoded: list[bytes] = []
        self.status, self.body, self.media_type = 500, b"", _JSON
        self.code: str | None = None
        self.extra: Headers = []
        self.seconds = 0.0

    def since(self) -> float:
        """Seconds since its head arrived."""
        return perf_counter() - self.started


class Gate:
    """Finds the operation, checks who asks and how much, does it, answers, counts and logs.

    Args:
        inner: answers what is no operation: pages, and paths that do not exist.
    """

    def __init__(
        self,
        inner: App,
        *,
        table: Table,
        settings: Settings,
        access: Access,
        store: Store,
        service: Service,
        metrics: Metrics,
        health: Health,
    ) -> None:
        self._inner, self._table, self._settings, self._access = inner, table, settings, access
        self._service, self._metrics, self._health = service, metrics, health
        self._limits = limits = settings.limits
        self.work = Work(limits.threads, local=store.local)
        self._local = store.local
        self._keys, self._people = Rate(limits.key_rate), Rate(limits.user_rate)
        self._addresses, self._guesses = Rate(limits.address_rate), Rate(limits.guess_rate)
        self._prefix, self._count = secrets.token_hex(4), 0
        self._running = 0
        self._deadlines: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._counters: dict[tuple[str, str, int], Any] = {}
        self._log_from = {"all": 0, "errors": 400, "none": 1000}[settings.log]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._inner(scope, receive, send)
            return
        exchange = Exchange(scope)
        task = asyncio.current_task()
        assert task is not None
        self._deadlines[task] = exchange.started + self._limits.timeout
        self._running += 1
        try:
            if not await self._handled(exchange, receive, task):
                await self._pass_on(exchange, receive, send)
                return
        except HungUpError:
            return
        finally:
            self._running -= 1
            del self._deadlines[task]
            self._late.discard(task)
        await self._send(exchange, send)
        self._record(exchange)

    async def _handled(self, exchange: Exchange, receive: Receive, task: asyncio.Task[Any]) -> bool:
        """Finds the answer; False if the path is none of the interface's."""
        try:
            try:
                found = self._table.find(_raw_path(exchange.scope))
                if not self._access.keyed:
                    self._access.check_open(exchange.headers, interface=found is not None)
                if found is None:
                    return False
                methods, exchange.encoded = found
                asked: str = exchange.scope["method"]
                exchange.operation = methods.get("GET" if asked == "HEAD" else asked)
                if exchange.operation is None:
                    exchange.extra = self._options(asked, methods, exchange.headers)
                    exchange.status = 204
                else:
                    await self._answer(exchange.operation, exchange, receive)
            except asyncio.CancelledError:
                if task not in self._late:
                    raise
                task.uncancel()
                raise Problem(
                    503,
                    "timeout",
                    f"This took longer than {self._limits.timeout:g} seconds. It may still be done; the same "
                    "event ids make trying again harmless.",
                    retry_after=2,
                ) from None
        except HungUpError:
            raise
        except Exception as error:
            self._refuse(exchange, error)
        return True

    def _refuse(self, exchange: Exchange, error: Exception) -> None:
        """Answers with an error."""
        problem = problem_of(error, exchange.operation.known if exchange.operation is not None else ())
        if problem is None:
            self._fault(error, exchange)
            problem = Problem(500, "internal", "A fault of the server's; its log says where.")
        exchange.status, exchange.code, exchange.body = problem.status, problem.code, problem.body()
        exchange.media_type = _JSON
        exchange.extra.extend(problem.headers)
        if problem.retry_after is not None:
            exchange.extra.append((b"retry-after", b"%d" % max(1, math.ceil(problem.retry_after))))

    async def _send(self, exchange: Exchange, send: Send) -> None:
        headers = exchange.headers
        exchange.seconds = exchange.since()
        answer: Headers = [
            *_ALWAYS,
            (b"x-request-id", self._request_id(headers)),
            (b"server-timing", b"total;dur=%.3f" % (exchange.seconds * 1e3)),
            *exchange.extra,
        ]
        if exchange.status != 204:
            length = b"%d" % len(exchange.body)
            answer += [(b"content-type", exchange.media_type), (b"content-length", length)]
        origin = headers.get(b"origin")
        if origin is not None and self._access.allowed_origin(origin):
            answer += [(b"access-control-allow-origin", origin), (b"vary", b"origin"), _EXPOSED]
        await send({"type": "http.response.start", "status": exchange.status, "headers": answer})
        head = exchange.scope["method"] == "HEAD"
        await send({"type": "http.response.body", "body": b"" if head else exchange.body})

    async def _answer(self, operation: Operation, exchange: Exchange, receive: Receive) -> None:
        """Does what is asked, if it may be done."""
        scope, headers, encoded = exchange.scope, exchange.headers, exchange.encoded
        limits = self._limits
        key = self._access.everything()
        if operation.scope is not None:
            if len(headers) < len(scope["headers"]):
                self._access.check_once(scope["headers"])
            if self._running > limits.concurrency:
                raise Problem(503, "overloaded", "Too many requests at once. Try again.", retry_after=1)
            if self._access.keyed:
                key = await self._authenticate(headers, scope)
                self._access.check_scope(key, operation.scope)
                self._limit("key", self._keys, key.id)
            if not operation.early and not self._health.warm:
                raise Problem(503, "not_ready", "The server is warming up. Try again.", retry_after=1)
        path = path_ids(operation, encoded) if encoded else {}
        raw_query: bytes = scope["query_string"]
        query = operation.read_query(raw_query) if raw_query or operation.query is not None else {}
        body = None
        if operation.body is not None:
            body = await self._read(operation, headers, receive)
        if self._access.keyed and limits.user_rate:
            self._limit_people(key.tenant, path, body)
        call = Call(
            self._service,
            self._metrics,
            key.tenant,
            path,
            query,
            body,
            exchange.since,
            self._health.problems,
            self._health.notes,
        )
        run = operation.run
        value = await self.work.run(
            (operation.name, operation.kind(call)),
            operation.quick and not operation.heavy(call),
            lambda: run(call),
        )
        if isinstance(value, Future):
            value = await self.work.result(value)
        value = operation.finish(call, value)
        if isinstance(value, Raw):
            exchange.status, exchange.body, exchange.media_type = value.status, value.body, value.media_type
            if value.status == 503:
                exchange.extra.append((b"retry-after", b"1"))
        else:
            exchange.status, exchange.body = 200, operation.writer.dump_json(value, exclude_none=True)

    async def _authenticate(self, headers: dict[bytes, bytes], scope: Message) -> StoredKey:
        """The key of a request.

        Raises:
            Problem: none, none that is one, too many attempts, or nobody can tell.
        """
        client = scope.get("client")
        address = network(client[0]) if client else ""
        self._limit("address", self._addresses, address)
        text = self._access.key_of(headers)
        ring = self._access.ring
        # A key that was good before is looked up however many others were guessed, from whatever address.
        if not ring.familiar(text):
            self._limit("guess", self._guesses, address, tokens=0.0)
        try:
            if self._local or ring.fresh(text):
                key = ring.check(text)
            else:
                key = await self.work.in_thread(lambda: ring.check(text))
        except StoreError:
            # Where the store is, and what it lacks, is nothing for whoever may not even have a key.
            raise Problem(
                503, "store_unavailable", "Keys cannot be looked up now. Try again.", retry_after=2
            ) from None
        if key is None:
            self._limit("guess", self._guesses, address)
            raise refused("This key is unknown, wrong or removed.")
        return key

    async def _read(self, operation: Operation, headers: dict[bytes, bytes], receive: Receive) -> Any:
        """The body, as its schema says."""
        limits = self._limits
        kind = headers.get(b"content-type", b"")
        if kind != _JSON and not _TYPE.fullmatch(kind.strip()):
            raise Problem(415, "unsupported_media_type", "Send JSON, as Content-Type: application/json.")
        if b"content-encoding" in headers:
            raise Problem(415, "unsupported_media_type", "Send the body as it is, not compressed.")
        length = headers.get(b"content-length", b"")
        announced = int(length) if length.isdigit() and len(length) < 20 else None
        raw = await receive_body(receive, announced, limits.body)
        body = read_json(operation.reader, raw)
        if len(body.get("events", ())) > limits.batch:
            raise Problem(422, "too_many", f"A request holds at most {limits.batch} events.", field="events")
        if body.get("k", 0) > limits.k:
            raise Problem(422, "too_many", f"k goes up to {limits.k}.", field="k")
        return body

    def _limit(self, by: str, rate: Rate, name: object, tokens: float = 1.0) -> None:
        wait = rate.take(name, tokens) if tokens else rate.wait(name)
        if wait:
            self._metrics.limited.labels(by).inc()
            whose = {"key": "this key", "user": "this person"}.get(by, "this address")
            raise Problem(
                429,
                "rate_limited",
                f"Too many requests of {whose}: at most {rate.rate:g} a second.",
                retry_after=wait,
            )

    def _limit_people(self, tenant: str, path: dict[str, str], body: Any) -> None:
        people: dict[tuple[str, str, str], int] = {}
        for where in (path, body or {}, *((body or {}).get("events", ()))):
            for kind in ("user", "session"):
                if kind in where:
                    person = (tenant, kind, str(where[kind]))
                    people[person] = people.get(person, 0) + 1
        for person, n in people.items():
            self._limit("user", self._people, person, n)

    def _options(self, asked: str, methods: dict[str, Operation], headers: dict[bytes, bytes]) -> Headers:
        """Headers of the answer to OPTIONS.

        Raises:
            Problem: another method.
        """
        names = [*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"]
        allow = (b"allow", ", ".join(sorted(names)).encode())
        if asked != "OPTIONS":
            raise Problem(405, "method_not_allowed", f"Here are only {allow[1].decode()}.", headers=(allow,))
        if not self._access.allowed_origin(headers.get(b"origin")):
            return [allow]
        return [
            allow,
            (b"access-control-allow-methods", allow[1]),
            (b"access-control-allow-headers", b"authorization, content-type, x-request-id"),
            (b"access-control-max-age", b"600"),
        ]

    async def _pass_on(self, exchange: Exchange, receive: Receive, send: Send) -> None:
        """Lets the rest of the application answer, with the headers that every answer has."""
        request_id = self._request_id(exchange.headers)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                given = {name.lower() for name, _ in message.get("headers", ())}
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name, value) for name, value in _ALWAYS if name not in given),
                    (b"x-request-id", request_id),
                ]
            await send(message)

        try:
            await self._inner(exchange.scope, receive, with_headers)
        finally:
            exchange.seconds = exchange.since()
            self._record(exchange)

    def _request_id(self, headers: dict[bytes, bytes]) -> bytes:
        given = headers.get(b"x-request-id")
        if given is not None and _ID.fullmatch(given):
            return given
        self._count += 1
        made = b"%s-%x" % (self._prefix.encode(), self._count)
        headers[b"x-request-id"] = made.rjust(10, b"0")
        return headers[b"x-request-id"]

    def _record(self, exchange: Exchange) -> None:
        operation, status = exchange.operation, exchange.status
        route, verb = (operation.path, operation.method) if operation is not None else ("none", "none")
        counted = self._counters.get((route, verb, status))
        if counted is None:
            counted = self._counters[route, verb, status] = (
                self._metrics.requests.labels(route, verb, str(status)),
                self._metrics.seconds.labels(route, verb),
            )
        counter, timer = counted
        counter.inc()
        timer.observe(exchange.seconds)
        if status >= self._log_from:
            log.log(
                logging.ERROR if status >= 500 else logging.INFO,
                "request",
                extra={
                    "request_id": self._request_id(exchange.headers).decode(),
                    "method": verb,
                    "route": route,
                    "status": status,
                    "ms": round(exchange.seconds * 1e3, 3),
                    "worker": os.getpid(),
                    **({} if exchange.code is None else {"code": exchange.code}),
                },
            )

    def _fault(self, error: Exception, exchange: Exchange) -> None:
        log.error(
            "fault",
            extra={
                "request_id": self._request_id(exchange.headers).decode(),
                "route": exchange.operation.path if exchange.operation is not None else "none",
                "worker": os.getpid(),
                **told(error),
            },
        )

    def sweep(self) -> None:
        """Ends requests that took too long; called a few times a second."""
        now = perf_counter()
        self._metrics.running.set(self._running)
        for task, deadline in list(self._deadlines.items()):
            # All have the same time, so the first that has some left is followed by none that has not.
            if deadline > now:
                break
            if task not in self._late:
                self._late.add(task)
                task.cancel()


class Health:
    """Whether requests should be sent here.

    Attributes:
        warm: whether what is compiled and built on first use has been.
        problems: why not; empty if they should. notes: what is wrong, but no reason to send them elsewhere.
    """

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self.warm = not settings.warm_up
        self.problems: tuple[str, ...] = () if self.warm else (_COLD,)
        self.notes: tuple[str, ...] = ()

    def warm_up(self) -> None:
        """Computes a list for nobody, which compiles the scan and touches the catalogue."""
        with contextlib.suppress(StoreError):
            self._service.recommend("default", events=[], k=10)
        self.warm = True
        self.look()

    def look(self) -> Mapping[str, Any]:
        """Finds out anew; the service's status."""
        status: Mapping[str, Any] = self._service.status()
        problems = [] if self.warm else [_COLD]
        if not status["store"]["ok"]:
            problems.append("The event store cannot be used.")
            log.error("the event store cannot be used", extra={"worker": os.getpid()})
        if not status["ready"]:
            problems.append("The service is not ready.")
        self.problems = tuple(problems)
        damaged = status["model"].get("failure") is not None
        self.notes = (_DAMAGED,) if damaged else ()
        return status


def _raw_path(scope: Message) -> bytes:
    """The path as it was sent, without what follows the question mark."""
    raw: bytes | None = scope.get("raw_path")
    return scope["path"].encode() if raw is None else raw.partition(b"?")[0]
