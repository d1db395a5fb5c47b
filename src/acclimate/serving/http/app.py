"""The application: the routes around a service, as ASGI."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import HTTPException
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from acclimate.errors import AcclimateError
from acclimate.serving.http import describe, openapi
from acclimate.serving.http.access import Access, check_reachable
from acclimate.serving.http.gate import Gate, Health
from acclimate.serving.http.logs import LOGGER, told
from acclimate.serving.http.metrics import Metrics
from acclimate.serving.http.operations import Operation, Table
from acclimate.serving.http.problems import Problem
from acclimate.serving.http.routes import events, items, lists, people, server
from acclimate.serving.http.settings import Settings
from acclimate.serving.store.base import Store
from acclimate.serving.store.opening import open_store

if TYPE_CHECKING:
    from acclimate.serving.service.service import Service

OPERATIONS: tuple[Operation, ...] = (
    *events.OPERATIONS,
    *lists.OPERATIONS,
    *people.OPERATIONS,
    *items.OPERATIONS,
    *server.OPERATIONS,
)
"""Every route of the interface."""

_TICK = 0.25
_LOOK = 1.0

log = logging.getLogger(LOGGER)


class Application(FastAPI):
    """FastAPI for pages and documents, behind a gate that answers the interface itself.

    The gate stands before everything that a framework does for a request, which would cost it more than the
    answer.
    """

    gate: Gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.gate(scope, receive, send)

    async def rest(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What is none of the interface's."""
        await super().__call__(scope, receive, send)


def create(settings: Settings) -> Application:
    """Opens the store and the model, and makes an application of them, which closes both when it ends.

    Raises:
        UserInputError: a model, a store or a setting that cannot be, or a server that others can reach
            without a key. StoreError: the store cannot be opened.
    """
    from acclimate.model import load
    from acclimate.serving.service.service import Service

    settings.checked()
    store = open_store(settings.where)
    try:
        check_reachable(store, settings)
        first = load(settings.first_stage) if settings.first_stage else None
        service = Service.open(settings.model, store, first_stage=first, approximate=settings.index)
    except BaseException:
        store.close()
        raise
    # What stands for as long as the server does need not be searched for garbage; a catalogue of a million
    # titles would take the collector a good part of a second each time.
    gc.collect()
    gc.freeze()
    return application(service, store, settings)


def application(service: Service, store: Store, settings: Settings) -> Application:
    """An application around a service that is open; it closes the service and the store when it ends."""
    metrics = Metrics()
    access = Access(store, settings)
    health = Health(service, settings)

    @contextlib.asynccontextmanager
    async def lifespan(made: Application) -> AsyncIterator[None]:
        minder = Minder(metrics, access, health, settings)
        minder.start()
        sweeping = asyncio.create_task(_sweep(made.gate))
        try:
            yield
        finally:
            sweeping.cancel()
            minder.stop()
            made.gate.work.close()
            await asyncio.get_running_loop().run_in_executor(None, service.close)
            with contextlib.suppress(AcclimateError):
                store.close()
            metrics.close()

    app = Application(
        title="acclimate",
        lifespan=lifespan,
        # A redirect would name whatever host the request names.
        redirect_slashes=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.health, app.state.access, app.state.metrics = health, access, metrics
    app.gate = Gate(
        app.rest,
        table=Table(OPERATIONS),
        settings=settings,
        access=access,
        store=store,
        service=service,
        metrics=metrics,
        health=health,
    )
    app.add_exception_handler(HTTPException, _not_found)
    app.add_exception_handler(404, _not_found)
    app.add_exception_handler(405, _not_found)
    if settings.docs:
        _describe(app)
    if settings.page:
        from acclimate.serving.page import router

        app.include_router(router)
    return app


def _describe(app: FastAPI) -> None:
    document = openapi.document(OPERATIONS)
    as_json, as_html = to_json(document), describe.page(document)
    policy = (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"content-security-policy": policy, "cache-control": "no-cache"}

    @app.api_route("/openapi.json", methods=["GET", "HEAD"], include_in_schema=False)
    async def for_programs() -> Response:
        return Response(as_json, media_type="application/json")

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    async def for_people() -> Response:
        return Response(as_html, media_type="text/html", headers=headers)

    @app.api_route("/docs/style.css", methods=["GET", "HEAD"], include_in_schema=False)
    async def style() -> Response:
        return Response(describe.STYLE, media_type="text/css", headers=headers)


async def _not_found(request: Request, error: Exception) -> Response:
    """Paths that do not exist, and methods that they do not take."""
    status = getattr(error, "status_code", 404)
    if status == 405:
        problem = Problem(405, "method_not_allowed", "This path does not take that method.")
    else:
        problem = Problem(404, "not_found", "There is nothing here. /docs says what there is.")
    headers = dict(getattr(error, "headers", None) or {})
    return Response(problem.body(), problem.status, headers, "application/json")


async def _sweep(gate: Gate) -> None:
    while True:
        await asyncio.sleep(_TICK)
        gate.sweep()


class Minder:
    """A thread that warms up, then looks after the store, the keys and the numbers once a second."""

    def __init__(self, metrics: Metrics, access: Access, health: Health, settings: Settings) -> None:
        self._metrics, self._access, self._health = metrics, access, health
        self._parent = settings.parent
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="acclimate-minder", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends, once what it is doing is done."""
        self._end.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        wait = 0.0
        while not self._end.wait(wait):
            wait = _LOOK
            if self._parent is not None and os.getppid() != self._parent:
                log.error("the supervisor is gone", extra={"worker": os.getpid()})
                os.kill(os.getpid(), signal.SIGTERM)
                return
            # Whatever goes wrong must be seen, and must not end the looking after.
            try:
                if not self._health.warm:
                    self._health.warm_up()
                    log.info("ready", extra={"worker": os.getpid()})
                self._access.look()
                self._metrics.told(self._health.look(), not self._health.problems)
            except Exception as error:
                log.error("looking after failed", extra={"worker": os.getpid(), **told(error)})
