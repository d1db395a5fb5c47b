"""A model, stores that fail when told to, and servers: in a thread of this process, or as a command."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import uvicorn

from acclimate.data import synthetic_world
from acclimate.errors import StoreError
from acclimate.learners.names import by_name
from acclimate.learners.ridge import Ridge
from acclimate.model import Model, fit
from acclimate.serving.http import server
from acclimate.serving.http.app import application
from acclimate.serving.http.keys import make_key
from acclimate.serving.http.settings import Settings
from acclimate.serving.service import Service
from acclimate.serving.store.opening import open_store

SCOPES = ("ingest", "recommend", "admin", "erase")


def small_model(seed: int = 0) -> Model:
    """A quickly fitted model of 60 items (i0 to i59) and 80 users, of ratings from 1 to 5."""
    data = synthetic_world(80, 60, events=(8, 15), seed=1).dataset
    return fit(data, replace(by_name("ridge"), epochs=1) if seed == 0 else Ridge(epochs=1, embedding_size=4))


class FailingStore:
    """A store that refuses reads or writes while it is told to, and says what it took."""

    def __init__(self, store):
        self._store = store
        self.reads_fail = self.writes_fail = False
        self.slow = 0.0
        self.calls: list[str] = []

    def __getattr__(self, name):
        method = getattr(self._store, name)
        if name in ("view", "settings", "export", "key", "keys", "count"):
            return self._failing(method, lambda: self.reads_fail)
        if name in ("append", "undo", "erase", "add_items", "set_rules", "check"):
            return self._failing(method, lambda: self.writes_fail or (name == "check" and self.reads_fail))
        return method

    def _failing(self, method, fails):
        def call(*args, **kwargs):
            self.calls.append(method.__name__)
            if self.slow:
                time.sleep(self.slow)
            if fails():
                raise StoreError("The disk is gone.")
            return method(*args, **kwargs)

        return call

    @property
    def local(self):
        return self._store.local


@dataclass
class Here:
    """A server in a thread of this process."""

    http: httpx.Client
    url: str
    store: FailingStore
    service: Service
    app: object

    def post(self, path, body, **more):
        return self.http.post(path, json=body, **more)

    def key(self, *scopes, tenant="default", name=""):
        """A new key's headers."""
        text, key = make_key(tenant, scopes or SCOPES, name)
        self.store.add_key(key)
        return {"authorization": f"Bearer {text}"}


@contextlib.contextmanager
def here(model, *, limits=None, **settings) -> Iterator[Here]:
    """A server in a thread of this process, ready."""
    store = FailingStore(open_store(":memory:"))
    told = Settings(model="-", page=False, **settings)
    if limits:
        told = replace(told, limits=replace(told.limits, **limits))
    service = Service.open(model, store)
    app = application(service, store, told)
    with in_thread(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        yield Here(http, url, store, service, app)


@contextlib.contextmanager
def in_thread(app) -> Iterator[str]:
    """A real server in a thread; its url."""
    settings = Settings(model="-", port=0)
    listener = server.bind(settings)
    running = uvicorn.Server(server._config(app, settings))
    # Signals are the main thread's.
    running.capture_signals = contextlib.nullcontext
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = server.url(settings, listener)
    try:
        until(lambda: httpx.get(f"{url}/readyz", trust_env=False).status_code == 200)
        yield url
    finally:
        running.should_exit = True
        thread.join(30)
        listener.close()


def until(true, seconds: float = 60.0, every: float = 0.02):
    """Waits for something to become so."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.TransportError):
            if found := true():
                return found
        assert time.monotonic() < end, "it did not happen"
        time.sleep(every)


@dataclass
class Command:
    """``acclimate serve``, running."""

    process: subprocess.Popen
    log: Path
    url: str = ""
    said: dict = field(default_factory=dict)

    def end(self, kind=signal.SIGTERM, seconds=60) -> int:
        """Sends a signal and waits; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(kind)
        return self.process.wait(seconds)


def command(*words) -> list[str]:
    return [sys.executable, "-m", "acclimate", *(str(word) for word in words)]


@contextlib.contextmanager
def serving(folder: Path, model: Path, *words, ready: bool = True, **env) -> Iterator[Command]:
    """``acclimate serve`` on a free port."""
    log = folder / f"serve-{time.monotonic_ns()}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command("serve", model, "--port", 0, "--json", *words),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        )
    running = Command(process, log)
    try:
        out = ""
        while not out.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, f"it ended: {log.read_text()}"
            out += line
        running.said = json.loads(out)
        running.url = running.said["url"]
        if ready:
            until(lambda: httpx.get(f"{running.url}/readyz", trust_env=False).status_code == 200)
        yield running
    finally:
        running.end()
        process.stdout.close()


def metric(text: str, name: str, **labels) -> float:
    """The value of a metric in an exposition; 0 if it is not there."""
    for line in text.splitlines():
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if found and found[1] == name:
            has = dict(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
            if all(has.get(key) == value for key, value in labels.items()):
                return float(found[3])
    return 0.0
