"""Who may ask: keys and scopes; and where there are no keys, only this machine's own programs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from acclimate.errors import UserInputError
from acclimate.serving.http.keys import SCOPES, KeyRing, Scope
from acclimate.serving.http.problems import Problem
from acclimate.serving.http.settings import Settings, is_loopback
from acclimate.serving.store.base import Store, StoredKey

TENANT = "default"
_EVERYTHING = StoredKey(id="", digest="", tenant=TENANT, scopes=SCOPES, name="", created=0.0)
_BEARER = ((b"www-authenticate", b'Bearer realm="acclimate"'),)
_PROXIED = frozenset(
    b"forwarded via x-real-ip x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto "
    b"x-forwarded-scheme x-forwarded-server".split()
)
"""Headers by which a proxy gives itself away."""
_ONCE = (b"authorization", b"content-type", b"host", b"origin", b"sec-fetch-site")
"""Headers that decide who may do what: of two, a proxy and this server might not believe the same."""
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?")
_HOSTS = 1000


class Access:
    """Whether keys are asked for, and whether a request may be answered.

    Without a key, a server on loopback is open. Then a web page must not reach it through its visitor's
    browser: neither under a name that was made to lead here (DNS rebinding), nor from another origin.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self.ring = KeyRing(store)
        self._store, self._settings = store, settings
        self._origins = frozenset(origin.encode() for origin in settings.allow_origins)
        self._hosts: set[bytes] = set()
        self.keyed = settings.keyed or not settings.loopback or bool(store.keys())

    def look(self) -> None:
        """Asks for keys from now on, if there is one by now. It never stops doing so."""
        if not self.keyed and self._store.keys():
            self.keyed = True

    def allowed_origin(self, origin: bytes | None) -> bool:
        """Whether a page of that origin may ask."""
        return origin is not None and origin in self._origins

    def check_open(self, headers: Mapping[bytes, bytes], *, interface: bool) -> None:
        """Whether an open server may answer this.

        Args:
            interface: whether it is asked for data, rather than for a page.

        Raises:
            Problem: it came from elsewhere.
        """
        host = headers.get(b"host", b"")
        if host not in self._hosts:
            named = _HOST.fullmatch(host)
            if named is None or not is_loopback(named[1].decode()):
                raise Problem(
                    403,
                    "forbidden",
                    "Without keys this server answers to localhost alone, and the request names another "
                    "host. Make a key: acclimate keys add.",
                )
            if len(self._hosts) < _HOSTS:
                self._hosts.add(host)
        if not _PROXIED.isdisjoint(headers):
            raise Problem(
                403,
                "forbidden",
                "Without keys this server does not answer through a proxy. Make a key: acclimate keys add.",
            )
        origin = headers.get(b"origin")
        if origin is None and b"sec-fetch-site" not in headers:
            return
        if self.allowed_origin(origin) or not interface:
            return
        site = headers.get(b"sec-fetch-site", b"same-origin")
        if site not in (b"same-origin", b"none") or (origin is not None and origin != b"http://" + host):
            raise Problem(
                403,
                "forbidden",
                "A web page of another origin may not ask. Allow it: --allow-origin.",
            )

    @staticmethod
    def check_once(headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Whether headers that decide something are there once.

        Raises:
            Problem: one is there twice.
        """
        names = [name for name, _ in headers]
        for name in _ONCE:
            if names.count(name) > 1:
                raise Problem(
                    422,
                    "invalid_input",
                    f"The request has two headers {name.decode()}. Send one.",
                    field=name.decode(),
                )

    def key_of(self, headers: Mapping[bytes, bytes]) -> str:
        """The key that a request carries.

        Raises:
            Problem: none, or something else.
        """
        given = headers.get(b"authorization")
        if given is None:
            raise refused("This needs a key: Authorization: Bearer acc_...")
        kind, _, text = given.strip().partition(b" ")
        if kind.lower() != b"bearer" or not text.strip():
            raise refused("A key is given as Authorization: Bearer acc_...")
        return text.strip().decode("latin-1")

    @staticmethod
    def everything() -> StoredKey:
        """What somebody may who needs no key."""
        return _EVERYTHING

    @staticmethod
    def check_scope(key: StoredKey, scope: Scope) -> None:
        """Whether a key may do that.

        Raises:
            Problem: it may not.
        """
        if scope not in key.scopes:
            raise Problem(403, "forbidden", f"This key lacks the scope {scope!r}.")


def refused(message: str) -> Problem:
    """No key, or none that is one."""
    return Problem(401, "unauthenticated", message, headers=_BEARER)


def check_reachable(store: Store, settings: Settings) -> None:
    """Whether the server may listen where it is told to.

    Raises:
        UserInputError: others can reach it, and there is no key.
    """
    if not settings.loopback and not store.keys():
        raise UserInputError(
            f"Others can reach {settings.host}, and {settings.shown} holds no key, so anybody could read and "
            f"write. Make a key first: acclimate keys add --store {settings.shown}"
        )
