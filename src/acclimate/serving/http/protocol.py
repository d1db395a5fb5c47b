"""HTTP/1.1 as uvicorn reads it, with heads that end: not too long, not too slow, no other protocol's."""

from __future__ import annotations

from asyncio import BaseTransport, Transport
from asyncio.events import TimerHandle
from typing import Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD: Final = 65_536
"""Bytes that the line and the headers of a request may have, not counted what came with its first byte."""
MOST_HEADERS: Final = 200
SLOWEST_HEAD: Final = 15.0
"""Seconds that a head may take at least, and half of what it may take at most."""
_TOO_LARGE: Final = (b"431 Request Header Fields Too Large", "The head of this request is too large.")


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself waits for a head for ever, and keeps whatever comes of it.

    It also takes what follows a head that offers to upgrade for the other protocol's. As no upgrade is ever
    accepted here, that is the body of a request, or the next request: such a head is read once more, without
    the offer.
    """

    _size = 0
    _whole = True
    _before: object = None
    _clock: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(cast(Transport, transport))
        self._clock = self.loop.call_later(SLOWEST_HEAD, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._clock is not None:
            self._clock.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        before = self.headers
        try:
            self._feed(data)
        except httptools.HttpParserError:
            if not self.transport.is_closing():
                self._refuse(b"400 Bad Request", "Invalid HTTP request received.")
            return
        # Of the read in which a head begins, most may be what came before it.
        self._size = self._size + len(data) if self.headers is before and not self._whole else 0
        if self._size > LONGEST_HEAD:
            self._refuse(*_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._whole = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._whole = True
        if len(self.headers) > MOST_HEADERS:
            self._refuse(*_TOO_LARGE)
            raise ValueError
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            # What comes after the body is no part of the head: a proxy has not looked at it.
            self.headers = []

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _feed(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                self.parser.feed_data(left)
                return
            except httptools.HttpParserUpgrade as stopped:
                left = left[stopped.args[0] :]
            method, version = self.parser.get_method(), self.parser.get_http_version().encode()
            if method == b"CONNECT":
                raise httptools.HttpParserError("This is no proxy.")
            head = [b"%s %s HTTP/%s\r\n" % (method, self.url, version)]
            head += [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
            self.parser.feed_data(b"".join(head) + b"\r\n")

    def _look(self) -> None:
        """Closes a connection that has kept a head back since the last look, or has said nothing at all."""
        done = self.cycle is None or self.cycle.response_complete
        waits = done and self.timeout_keep_alive_task is None
        now = (self.cycle,) if waits else None
        if now is not None and now == self._before:
            self.transport.close()
            return
        self._before = now
        self._clock = self.loop.call_later(SLOWEST_HEAD, self._look)

    def _refuse(self, status: bytes, said: str) -> None:
        """Answers before there is a request, and closes."""
        text = said.encode()
        head = b"HTTP/1.1 %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
        self.transport.write(head % (status, len(text)) + b"connection: close\r\n\r\n" + text)
        self.transport.close()
