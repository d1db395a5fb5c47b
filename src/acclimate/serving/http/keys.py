"""Keys: ``acc_<id>_<secret>``, of which the store keeps only a hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal, get_args

from acclimate.errors import StoreError, UserInputError
from acclimate.serving.store.base import Store, StoredKey

Scope = Literal["ingest", "recommend", "admin", "erase"]
SCOPES: Final[tuple[str, ...]] = get_args(Scope)

_FRESH = 0.8
"""Seconds that what the store said of a key is believed: a removed key is refused within one second."""
_STALE = 60.0
"""Seconds that it is believed where the store cannot be read."""
_MOST = 10_000
_NOBODY = hashlib.sha256(b"nobody").hexdigest()


def make_key(tenant: str, scopes: Iterable[str], name: str) -> tuple[str, StoredKey]:
    """A new key: its text, which is shown once, and what is stored.

    Raises:
        UserInputError: no scope, or an unknown one; a tenant or a name that cannot be.
    """
    wanted = tuple(scope for scope in SCOPES if scope in set(scopes))
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not wanted:
        found = repr(unknown[0]) if unknown else "none"
        raise UserInputError(f"Scopes are {', '.join(SCOPES)}; found {found}.")
    if not tenant or len(tenant) > 100 or not tenant.isprintable():
        raise UserInputError("A tenant is a name of 1 to 100 printable characters.")
    if len(name) > 100 or not name.isprintable():
        raise UserInputError("The name of a key has at most 100 printable characters.")
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    stored = StoredKey(
        id=key_id, digest=_digest(secret), tenant=tenant, scopes=wanted, name=name, created=time.time()
    )
    return f"acc_{key_id}_{secret}", stored


@dataclass(frozen=True, slots=True)
class _Known:
    key: StoredKey | None
    when: float


class KeyRing:
    """The keys of a store, remembered for less than a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, _Known] = {}

    def fresh(self, text: str) -> bool:
        """Whether :meth:`check` answers without asking the store."""
        known = self._known.get(_parts(text)[0])
        return known is not None and monotonic() - known.when < _FRESH

    def familiar(self, text: str) -> bool:
        """Whether there was such a key when it was last looked for."""
        known = self._known.get(_parts(text)[0])
        return known is not None and known.key is not None

    def check(self, text: str) -> StoredKey | None:
        """The key that a text is, if it is one; takes as long for a wrong secret as for a wrong id.

        Raises:
            StoreError: the store cannot be read, and has not been for a minute.
        """
        key_id, secret = _parts(text)
        key = self._lookup(key_id) if key_id else None
        digest = key.digest if key is not None else _NOBODY
        same = hmac.compare_digest(_digest(secret).encode(), digest.encode())
        return key if same else None

    def _lookup(self, key_id: str) -> StoredKey | None:
        now = monotonic()
        known = self._known.get(key_id)
        if known is not None and now - known.when < _FRESH:
            return known.key
        try:
            key = self._store.key(key_id)
        except StoreError:
            if known is not None and known.key is not None and now - known.when < _STALE:
                return known.key
            raise
        if len(self._known) >= _MOST:
            # Whoever guesses ids must not make it forget those that are.
            self._known = {one: known for one, known in list(self._known.items()) if known.key is not None}
        self._known[key_id] = _Known(key, now)
        return key


def _parts(text: str) -> tuple[str, str]:
    """Id and secret; an empty id if it does not look like a key."""
    start, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    looks = start == "acc" and len(key_id) == 12 and key_id.isalnum() and key_id.isascii() and secret
    return (key_id, secret) if looks else ("", text)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
