"""What a server is told: one frozen value that travels to every worker as JSON."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from acclimate.errors import UserInputError
from acclimate.serving.retrieval import FaissIndex, UsearchIndex
from acclimate.serving.service.approximation import MakeIndex
from acclimate.serving.service.limits import MOST_EVENTS, MOST_K
from acclimate.serving.store.opening import TEMPORARY

INDEXES: Final[Mapping[str, MakeIndex]] = {FaissIndex.name: FaissIndex, UsearchIndex.name: UsearchIndex}
"""What can search approximately, by the name that travels to the workers."""

_ORIGIN: Final = re.compile(
    r"(?!http:.*:80\Z|https:.*:443\Z)https?://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?"
)


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

    def check(self) -> None:
        """Whether each can be.

        Raises:
            UserInputError: one cannot.
        """
        whole = (
            *(("body", 100, None), ("batch", 1, MOST_EVENTS), ("k", 1, MOST_K)),
            *(("concurrency", 1, None), ("threads", 1, None)),
        )
        for name, lowest, highest in whole:
            found = getattr(self, name)
            if found < lowest:
                raise UserInputError(f"The limit {name} is at least {lowest}; found {found}.")
            if highest is not None and found > highest:
                raise UserInputError(f"The limit {name} is at most {highest}; found {found}.")
        if not 0 < self.timeout < math.inf:
            raise UserInputError(f"The timeout is above 0 seconds; found {self.timeout:g}.")
        for name in ("key_rate", "address_rate", "user_rate", "guess_rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserInputError(f"The limit {name} is 0 (none) or more requests a second.")


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
    def shown(self) -> str:
        """The store, for people to read: see :func:`without_password`."""
        return without_password(self.where)

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
        if self.workers > 1 and self.where == TEMPORARY:
            raise UserInputError(
                f"Every worker would have a {TEMPORARY} store of its own. Keep events in a file, or take one "
                "worker."
            )
        for origin in self.allow_origins:
            # Compared with what browsers write: lower case, and no port that goes without saying.
            if not _ORIGIN.fullmatch(origin):
                raise UserInputError(
                    "An origin is a scheme and a host as browsers write them, such as https://shop.example "
                    f"or http://localhost:3000; found {origin!r}. There is no origin for everybody."
                )
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise UserInputError(
                    f"A proxy is an address, such as 10.0.0.2 or 10.0.0.0/24; found {proxy!r}."
                ) from None
        self.limits.check()
        return self


def without_password(where: str) -> str:
    """A store's address for people to read: of a database, without password and options."""
    scheme, sep, rest = where.partition("://")
    if not sep:
        return where
    login, at, host = rest.rpartition("@")
    user = login.partition(":")[0]
    shown = f"{user}@{host}" if at else host
    return f"{scheme}://{shown.partition('?')[0]}"


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own: ``localhost``, ``127.0.0.0/8``, ``::1``."""
    bare = host.strip("[]").rstrip(".").lower()
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
