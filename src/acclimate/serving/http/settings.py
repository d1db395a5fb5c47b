"""What a server is told: one frozen value that travels to every worker as JSON."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from acclimate.errors import UserInputError
from acclimate.serving.retrieval import FaissIndex, UsearchIndex
from acclimate.serving.service.approximation import MakeIndex
from acclimate.serving.service.limits import MOST_EVENTS, MOST_K

INDEXES: Final[Mapping[str, MakeIndex]] = {FaissIndex.name: FaissIndex, UsearchIndex.name: UsearchIndex}
"""What can search approximately, by the name that travels to the workers."""


@dataclass(frozen=True)
class Limits:
    """What one worker lets others do. A rate of 0 means no limit; a bucket holds five seconds of its rate.

    Attributes:
        body: bytes of a request. batch: events of a request. k: items of a list.
        concurrency: requests answered at once. threads: of them, those that compute or wait beside the loop.
        timeout: seconds that a request may take, its body included.
        key_rate, address_rate: requests a second of one key and of one address.
        user_rate: requests and events a second of one person; only where keys are asked for.
        guess_rate: refused keys a second of one address.
    """

    body: int = 1_000_000
    batch: int = MOST_EVENTS
    k: int = MOST_K
    concurrency: int = 1000
    threads: int = 8
    timeout: float = 10.0
    key_rate: float = 20_000.0
    address_rate: float = 20_000.0
    user_rate: float = 100.0
    guess_rate: float = 20.0


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Attributes:
        model: the model file. store: a path of an SQLite file, or ``postgresql://...``; None means next to
            the model. first_stage: a model that finds candidates for one that cannot scan its catalogue.
        approximate: the index that searches the catalogue, ``faiss`` or ``usearch``; None scans it exactly.
        host, port: where to listen; port 0 takes any free one. workers: processes.
        page: whether the playground is served. docs: whether the interface describes itself.
        allow_origins: web pages of other origins that browsers let ask.
        proxies: addresses whose ``X-Forwarded-For`` is believed.
        log: which requests are logged: ``all``, ``errors`` (status 400 and above) or ``none``.
        warm_up: whether to compute one list before calling itself ready.
        parent: process id of a supervisor; a worker whose supervisor is gone ends.
        keyed: whether keys are asked for whatever the store holds.
    """

    model: str
    store: str | None = None
    first_stage: str | None = None
    approximate: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    page: bool = True
    docs: bool = True
    allow_origins: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ()
    log: str = "errors"
    warm_up: bool = True
    parent: int | None = None
    keyed: bool = False
    limits: Limits = Limits()

    @property
    def where(self) -> str:
        """The store, said or by default."""
        return self.store or f"{self.model}.events.sqlite"

    @property
    def index(self) -> MakeIndex | None:
        """What makes the index of approximate search, by its name."""
        return None if self.approximate is None else INDEXES[self.approximate]

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)

    def to_json(self) -> str:
        """For an environment variable."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The inverse of :meth:`to_json`."""
        told = json.loads(text)
        told["limits"] = Limits(**told["limits"])
        for name in ("allow_origins", "proxies"):
            told[name] = tuple(told[name])
        return cls(**told)

    def checked(self) -> Settings:
        """Itself.

        Raises:
            UserInputError: a value that cannot be.
        """
        if not 0 <= self.port <= 65535:
            raise UserInputError(f"A port goes from 0 to 65535; found {self.port}.")
        if self.workers < 1:
            raise UserInputError(f"There is at least 1 worker; found {self.workers}.")
        if self.approximate is not None and self.approximate not in INDEXES:
            raise UserInputError(f"Approximate search is by faiss or usearch; found {self.approximate!r}.")
        if self.log not in ("all", "errors", "none"):
            raise UserInputError(f"Requests are logged: all, errors or none; found {self.log!r}.")
        for origin in self.allow_origins:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest or "*" in rest:
                raise UserInputError(
                    f"An origin is a scheme and a host, such as https://shop.example; found {origin!r}. "
                    "There is no origin for everybody."
                )
        for name, lowest in (("body", 100), ("batch", 1), ("k", 1), ("concurrency", 1), ("threads", 1)):
            if getattr(self.limits, name) < lowest:
                raise UserInputError(f"The limit {name} is at least {lowest}.")
        if self.limits.timeout <= 0:
            raise UserInputError(f"The timeout is above 0 seconds; found {self.limits.timeout:g}.")
        for name in ("key_rate", "address_rate", "user_rate", "guess_rate"):
            if getattr(self.limits, name) < 0:
                raise UserInputError(f"The limit {name} is 0 (none) or more requests a second.")
        return self


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own: ``localhost``, ``127.0.0.0/8``, ``::1``."""
    bare = host.strip("[]").rstrip(".").lower()
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
