"""How often: token buckets for keys, people and addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from time import monotonic

_MOST = 100_000
"""Buckets of one kind that are kept at once."""


class Rate:
    """A token bucket for each name: ``rate`` tokens a second, and as many as five seconds of them saved up.

    A bucket that nobody touched for as long as it takes to fill is full, so it need not be kept: buckets live
    in two generations, and the older one is dropped whole.
    """

    def __init__(self, rate: float, *, clock: Callable[[], float] = monotonic) -> None:
        self.rate, self.most = rate, max(1.0, 5.0 * rate)
        self._clock = clock
        self._fill = self.most / rate if rate else 0.0
        self._young: dict[object, tuple[float, float]] = {}
        self._old: dict[object, tuple[float, float]] = {}
        self._turned = clock()

    def take(self, name: object, tokens: float = 1.0) -> float:
        """Takes tokens; 0 if they were there, else the seconds after which they will be."""
        if not self.rate:
            return 0.0
        now = self._clock()
        if now - self._turned > self._fill or len(self._young) >= _MOST:
            self._old, self._young, self._turned = self._young, {}, now
        left, stamp = self._young.get(name) or self._old.get(name) or (self.most, now)
        left = min(self.most, left + (now - stamp) * self.rate)
        # More than a bucket can ever hold is taken from a full one, or it could never be had.
        wanted = min(tokens, self.most)
        if left < wanted:
            self._young[name] = (left, now)
            return (wanted - left) / self.rate
        self._young[name] = (left - wanted, now)
        return 0.0

    def wait(self, name: object) -> float:
        """Seconds until there is a token; takes none."""
        if not self.rate:
            return 0.0
        now = self._clock()
        left, stamp = self._young.get(name) or self._old.get(name) or (self.most, now)
        left = min(self.most, left + (now - stamp) * self.rate)
        return 0.0 if left >= 1.0 else (1.0 - left) / self.rate


@lru_cache(10_000)
def network(address: str) -> str:
    """Whose an address is: of IPv6, where everybody has very many, the network that they are in."""
    try:
        return str(ipaddress.IPv6Network((address, 64), strict=False)) if ":" in address else address
    except ValueError:
        return address
