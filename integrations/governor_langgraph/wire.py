"""What a provider really sent on a streaming connection, read by its reader or not: the evidence of what a broken stream costs.

A reader that breaks off has seen less than has arrived: its client reads ahead, and the operating system holds what the client has not
read. So the body of a streamed answer passes through a `Tap` that keeps its bytes. When the reader leaves, the connection is closed for
reading, which makes a socket give what it holds and then end without waiting; the rest is kept as well, and only then is it closed.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["AsyncTap", "EventsTap", "Tap", "Wire", "tap_events", "tap_response", "wire_var"]


class Wire:
    """The streamed answers of one attempt; a client that sends again by itself has several."""

    __slots__ = ("taps",)

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self.taps: list[Tap | AsyncTap | EventsTap] = []

    @property
    def whole(self) -> bool:
        """Whether all that arrived was kept: exactly one answer, which the client streamed over a connection of its own."""
        return len(self.taps) == 1 and self.taps[0].drained

    @property
    def kept(self) -> bytes:
        """The bytes that arrived."""
        return b"".join(self.taps[0].kept) if self.taps else b""

    @property
    def framed(self) -> bool:
        """Whether they are AWS's event frames; else they are server-sent events."""
        return bool(self.taps) and isinstance(self.taps[0], EventsTap)

    def leave(self) -> None:
        """Keep what has arrived, then close the connection."""
        for tap in self.taps:
            if not isinstance(tap, AsyncTap):
                with suppress(
                    Exception
                ):  # it is closed; what a library says about the way it ended is nobody's concern any more
                    tap.close()

    async def aleave(self) -> None:
        """The async twin of `leave`."""
        for tap in self.taps:
            with suppress(Exception):  # as in `leave`
                if isinstance(tap, AsyncTap):
                    await tap.aclose()
                else:
                    tap.close()


wire_var: ContextVar[Wire | None] = ContextVar("governor_wire", default=None)
"""Where the streamed answers of the attempt that runs here are noted."""


class _Kept:
    """Bytes of a body, in the order of their arrival."""

    def __init__(self, connection: Callable[[], Any], *, plain: bool) -> None:
        self.kept: list[bytes] = []
        self.ended = False
        self.interrupted = False
        self.closed = False
        self.drained = False
        """Whether `kept` is all that arrived, to the end or to the moment the reader left."""
        self._connection = connection
        self._plain = plain
        """Whether its bytes can be read as they are, and nothing else uses its connection."""

    def _shut(self) -> bool:
        """Close the connection for reading, so that what it holds can be read without waiting. False when it cannot be reached."""
        if self.interrupted:
            return False
        if self.ended:
            return self._plain
        if sys.platform != "linux":  # BSD's systems throw away what a socket holds when it is closed for reading
            return False
        held = self._connection() if self._plain else None
        if held is None:
            return False
        try:
            # A twin of the descriptor: an SSLSocket's own `shutdown` would forget how to decrypt what is still to be read.
            with socket.socket(fileno=os.dup(held.fileno())) as twin:
                twin.shutdown(socket.SHUT_RD)
        except (OSError, ValueError):  # the peer has closed it: reading ends by itself
            return True
        return True


class Tap(_Kept):
    """The body of a blocking client of httpx. An iterator of its own, so that an abandoned reader does not end it."""

    def __init__(self, body: Any, connection: Callable[[], Any], *, plain: bool) -> None:
        """`connection` gives the socket when it is asked for."""
        super().__init__(connection, plain=plain)
        self._body = body
        self._blocks: Iterator[bytes] = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        """Itself: whoever reads on, reads on here."""
        return self

    def __next__(self) -> bytes:
        """The next block, kept as it passes."""
        try:
            block = next(self._blocks)
        except BaseException:
            self.ended = True
            raise
        self.kept.append(block)
        return block

    def close(self) -> None:
        """Keep the rest of what has arrived, then close, whoever asks for it: the client's library may be faster than we are."""
        if not self.closed:
            self.closed = True
            self.drained = self._shut()
            if self.drained:
                with suppress(Exception):  # an answer that ends in the middle is an error to the client's library
                    for _ in self:
                        pass
        self._body.close()


class AsyncTap(_Kept):
    """The async twin of `Tap`."""

    def __init__(self, body: Any, connection: Callable[[], Any], *, plain: bool) -> None:
        """As `Tap`."""
        super().__init__(connection, plain=plain)
        self._body = body
        self._blocks: AsyncIterator[bytes] = aiter(body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself, as in `Tap`."""
        return self

    async def __anext__(self) -> bytes:
        """The next block, kept as it passes."""
        try:
            block = await anext(self._blocks)
        except BaseException as error:
            # Interrupted in the middle of a read, the client's reader is gone, and with it what has arrived meanwhile.
            self.ended, self.interrupted = True, not isinstance(error, Exception)
            raise
        self.kept.append(block)
        return block

    async def aclose(self) -> None:
        """As `Tap.close`."""
        if not self.closed:
            self.closed = True
            self.drained = self._shut()
            if self.drained:
                with suppress(Exception):  # as in Tap
                    async for _ in self:
                        pass
        await self._body.aclose()


class EventsTap(_Kept):
    """The body under one of botocore's event streams."""

    def __init__(self, body: Any) -> None:
        """`body` is urllib3's response."""
        super().__init__(lambda: getattr(getattr(body, "_connection", None), "sock", None), plain=True)
        self._body = body
        self._blocks: Any = None

    def stream(self, *given: Any, **named: Any) -> Iterator[bytes]:
        """As urllib3's: blocks as they come."""
        self._blocks = self._blocks or self._body.stream(*given, **named)
        return self

    def __iter__(self) -> Iterator[bytes]:
        """Itself, as in `Tap`."""
        return self

    def __next__(self) -> bytes:
        """The next block, kept as it passes."""
        try:
            if self._blocks is None:
                self._blocks = self._body.stream()
            block = next(self._blocks)
        except BaseException:
            self.ended = True
            raise
        self.kept.append(block)
        return block

    def close(self) -> None:
        """As `Tap.close`."""
        if not self.closed:
            self.closed = True
            self.drained = self._shut()
            if self.drained:
                try:
                    for _ in self.stream():
                        pass
                except ValueError:  # another thread reads it at this moment and keeps what it gets
                    self.drained = False
                except Exception:  # noqa: BLE001, S110 - as in Tap
                    pass
        self._body.close()

    def __getattr__(self, name: str) -> Any:
        """All else is the response's own."""
        return getattr(self._body, name)


def tap_response(response: Any, library: Any) -> Any:
    """Put a tap into a streamed response of httpx, if an attempt is under way here; answers the response."""
    wire = wire_var.get()
    if wire is None or response.is_closed or response.is_stream_consumed or response.status_code >= 400:
        return response
    body = response.stream
    sync = isinstance(body, library.SyncByteStream)
    if not (sync or isinstance(body, library.AsyncByteStream)):
        return response
    extensions = response.extensions
    network = extensions.get("network_stream")
    own = network is not None and extensions.get("http_version") in (b"HTTP/1.1", b"HTTP/1.0")
    plain = own and response.headers.get("content-encoding", "identity") == "identity"
    kind, base = (Tap, library.SyncByteStream) if sync else (AsyncTap, library.AsyncByteStream)
    tap = _of(kind, base)(body, partial(_socket_of, network), plain=plain)
    response.stream = tap
    wire.taps.append(tap)
    return response


def _socket_of(network: Any) -> Any:
    return network.get_extra_info("socket")


_made: dict[tuple[type, type], type] = {}


def _of(kind: type[Any], base: type[Any]) -> Any:
    """The tap as a subclass of the library's own class of bodies: httpx asks for one."""
    key = (kind, base)
    if key not in _made:
        _made[key] = type(kind.__name__, (kind, base), {})
    return _made[key]


def tap_events(original: Callable[..., None]) -> Callable[..., None]:
    """For botocore's event stream: its body passes through a tap, if an attempt is under way here."""

    def __init__(self: Any, raw_stream: Any, *given: Any, **named: Any) -> None:
        wire = wire_var.get()
        if wire is not None:
            tap = EventsTap(raw_stream)
            wire.taps.append(tap)
            raw_stream = cast("Any", tap)
        original(self, raw_stream, *given, **named)

    return __init__
