"""Running it: a socket, one worker or several, and an end that finishes what was begun."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, cast

import uvicorn
from fastapi import FastAPI

from acclimate.errors import AcclimateError, UserInputError
from acclimate.serving.http import logs
from acclimate.serving.http.protocol import Protocol
from acclimate.serving.http.settings import Settings, is_loopback

SETTINGS: Final = "ACCLIMATE_SERVE"
"""The environment variable that tells workers how to serve."""
_METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"
_GRACE: Final = 30
_RETRY: Final = 1.0
_BACKLOG: Final = 2048
_SPREADS: Final = sys.platform == "linux"
"""Whether connections to sockets that share a port are spread over them."""

log = logging.getLogger(logs.LOGGER)


class OwnSocket:
    """Becomes, in whichever process it arrives, a socket of that worker's own on the port they all have.

    The kernel spreads connections evenly over sockets that share a port. Over the processes that share one
    socket it does not: whoever is awake first takes all that wait, and keeps them.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port

    def __reduce__(self) -> tuple[Callable[[str, int], socket.socket], tuple[str, int]]:
        return _join, (self.host, self.port)


def _join(host: str, port: int) -> socket.socket:
    """A socket on a port that other sockets of this user have too; it does not listen yet."""
    family, kind, proto, _, address = _address(host, port)
    joined = socket.socket(family, kind, proto)
    joined.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    joined.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    joined.bind(address)
    return joined


def _address(host: str, port: int) -> Any:
    return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]


def bind(settings: Settings) -> socket.socket:
    """A socket that listens, or with several workers one that keeps the port for theirs.

    Raises:
        UserInputError: there is no such host, the port is taken, or it may not be used.
    """
    host, port = settings.host.strip("[]"), settings.port
    try:
        family, kind, proto, _, address = _address(host, port)
    except (socket.gaierror, UnicodeError):
        raise UserInputError(
            f"There is no host {host!r} here. Name an address of this machine: --host 127.0.0.1."
        ) from None
    if settings.loopback and not is_loopback(address[0]):
        raise UserInputError(f"{host} is {address[0]} here, which others can reach. Name the address itself.")
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        if settings.workers > 1 and _SPREADS:
            # Only now, that nobody else has the port, may others join.
            port = listener.getsockname()[1]
            listener.close()
            return _join(host, port)
        listener.listen(_BACKLOG)
    except PermissionError:
        listener.close()
        raise UserInputError(
            f"Port {port} may not be used without more rights. Take one from 1024 on."
        ) from None
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UserInputError(
                f"Port {port} of {host} is in use. End what uses it, or take another: --port {port + 1}."
            ) from None
        raise UserInputError(
            f"{host} is no address of this machine ({error.strerror}). Name another: --host 127.0.0.1."
        ) from None
    listener.set_inheritable(True)
    return listener


def url(settings: Settings, listener: socket.socket) -> str:
    """Where to find the server."""
    port = listener.getsockname()[1]
    host = settings.host.strip("[]")
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(settings: Settings, listener: socket.socket, app: FastAPI | None = None) -> None:
    """Serves until it is told to end: SIGTERM or SIGINT.

    Args:
        app: what to serve with one worker; several make theirs from the settings.
    """
    logs.configure()
    if settings.workers == 1:
        assert app is not None
        uvicorn.Server(_config(app, settings)).run(sockets=[listener])
        return
    from uvicorn.supervisors import Multiprocess

    settings = replace(settings, parent=os.getpid())
    with tempfile.TemporaryDirectory(prefix="acclimate-metrics-") as folder:
        told = {SETTINGS: settings.to_json(), _METRICS: folder}
        before = {name: os.environ.get(name) for name in told}
        os.environ.update(told)
        try:
            config = _config("acclimate.serving.http.server:from_environment", settings)
            own = OwnSocket(settings.host, listener.getsockname()[1])
            # What arrives in a worker is a socket: see OwnSocket.
            sockets = [cast(socket.socket, own) if _SPREADS else listener]
            Multiprocess(config, sockets=sockets).run()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def from_environment() -> FastAPI:
    """What a worker serves, as its supervisor told it.

    Raises:
        UserInputError: nobody told it anything.
    """
    told = os.environ.get(SETTINGS)
    if told is None:
        raise UserInputError(f"{SETTINGS} says nothing. Start workers with `acclimate serve --workers`.")
    import torch

    torch.set_num_threads(1)
    logs.configure()
    from acclimate.serving.http.app import create

    settings = Settings.from_json(told)
    # The server has taken over what ends it, but looks only once it runs; before, there is nothing to finish.
    handlers = {kind: signal.signal(kind, signal.SIG_DFL) for kind in (signal.SIGTERM, signal.SIGINT)}
    while True:
        # Its supervisor has seen that all this can be opened. What is amiss now will be mended, or the
        # supervisor ended; a worker that gave up would only be started again.
        try:
            made = create(settings)
            break
        except AcclimateError as error:
            log.error("this worker cannot start yet", extra={"worker": os.getpid(), **logs.told(error)})
            if os.getppid() != settings.parent:
                raise SystemExit(1) from None
            time.sleep(_RETRY)
    for kind, handler in handlers.items():
        signal.signal(kind, handler)
    return made


def _config(app: FastAPI | str, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        http=Protocol,
        workers=settings.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        ws="none",
        backlog=_BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE,
        timeout_worker_healthcheck=30,
    )
