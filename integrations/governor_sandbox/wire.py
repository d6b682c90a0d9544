"""HTTP on loopback: routes, keep-alive, chunked streams, and noticing when a client hangs up."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from governor_sandbox.dialect import Answered, Target
from governor_sandbox.errors import ClientGone, Rejection
from governor_sandbox.exchange import Exchange

_BEDROCK: Mapping[str, Target] = {
    "converse": Target(provider="bedrock", operation="complete", stream=False),
    "converse-stream": Target(provider="bedrock", operation="complete", stream=True),
    "count-tokens": Target(provider="bedrock", operation="count_tokens"),
}
_FIXED: Mapping[str, Target] = {
    "/v1/chat/completions": Target(provider="openai", operation="complete"),
    "/v1/messages": Target(provider="anthropic", operation="complete"),
    "/v1/messages/count_tokens": Target(provider="anthropic", operation="count_tokens"),
}
_JOIN_SECONDS = 5.0
_CHECK_SECONDS = 0.01
"""How often a held request looks whether its client is still there."""


def route(path: str) -> Target | None:
    """What a POST to this path asks for; None when no provider has such a path."""
    path = path.partition("?")[0]
    if path in _FIXED:
        return _FIXED[path]
    match path.split("/"):
        case ["", "cloudflare", "v1", _account, _gateway, *rest]:
            return _at_cloudflare("/".join(rest))
        case ["", "litellm" | "portkey" as gateway, *rest] if rest[:1] == ["v1"] or gateway == "litellm":
            found = route("/" + "/".join(rest if rest[0] == "v1" else ["v1", *rest]))
            return None if found is None else replace(found, gateway=gateway, compat=found.provider == "openai")
        case ["", "model", model, action] if action in _BEDROCK:
            return replace(_BEDROCK[action], model=unquote(model))
        case _:
            return None


def _at_cloudflare(path: str) -> Target | None:
    """What stands behind a gateway's name: `/compat`, or a provider's own API without its version where that has one."""
    if path == "compat/chat/completions":
        return replace(_FIXED["/v1/chat/completions"], gateway="cloudflare", compat=True)
    vendor, _, rest = path.partition("/")
    if vendor == "aws-bedrock":
        service, _, rest = rest.partition("/")
        _region, _, rest = rest.partition("/") if service == "bedrock-runtime" else ("", "", "")
    native = {"openai": f"/v1/{rest}", "anthropic": f"/{rest}", "aws-bedrock": f"/{rest}"}.get(vendor, "")
    found = route(native)
    return None if found is None or found.gateway else replace(found, gateway="cloudflare")


class Holds:
    """Requests that wait to be released; tests wait for them instead of sleeping."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._changed = threading.Condition()
        self._waiting = 0
        self._round = 0
        self._closed = False

    def wait(self, gone: Any, seconds: float | None = None) -> None:
        """Wait for `release`, or for ``seconds`` to pass.

        Raises:
            ClientGone: ``gone()`` meanwhile, or the sandbox closes, which hangs up on everyone.
        """
        held = seconds is None
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            mine = self._round
            self._waiting += held
            self._changed.notify_all()
            try:
                while not (held and self._round != mine):
                    left = _CHECK_SECONDS if deadline is None else min(_CHECK_SECONDS, deadline - time.monotonic())
                    if left <= 0:
                        return
                    self._changed.wait(left)
                    if self._closed or gone():
                        raise ClientGone("hung up while waiting")
            finally:
                self._waiting -= held
                self._changed.notify_all()

    def wait_for(self, count: int, timeout_s: float) -> bool:
        """Wait until that many requests are held; False on timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting >= count, timeout_s)

    def release(self) -> None:
        """Let every held request go on; later ones wait again."""
        with self._changed:
            self._round += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class LoopbackServer(ThreadingHTTPServer):
    """A thread per connection; many clients may connect at once."""

    daemon_threads = True  # a program that forgets to stop the sandbox still exits
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], exchange: Exchange, control: Any) -> None:
        """Bind. ``control`` answers the sandbox's own routes."""
        self.exchange = exchange
        self.control = control
        self.holds = Holds()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._open_lock = threading.Lock()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection on its own thread, and remember both."""
        work = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._open_lock:
            self._open[request] = work
        work.start()

    def shutdown_request(self, request: Any) -> None:
        """Close the connection and forget it."""
        super().shutdown_request(request)
        with self._open_lock:
            self._open.pop(request, None)

    def hang_up(self) -> None:
        """End every connection, idle or not, and wait for their threads: a test leaves nothing running behind it."""
        self.holds.close()
        with self._open_lock:
            left = dict(self._open)
        for connection, work in left.items():
            with contextlib.suppress(OSError):  # the peer may be faster
                connection.shutdown(socket.SHUT_RDWR)
            work.join(_JOIN_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is business as usual; anything else is a bug and is shown."""
        if not isinstance(sys.exception(), ConnectionError | ClientGone | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection; is the `Line` of the request it is serving."""

    server: LoopbackServer  # pyright: ignore[reportIncompatibleVariableOverride] - the one server it is made by
    protocol_version = "HTTP/1.1"
    server_version = "governor-sandbox"
    disable_nagle_algorithm = True
    wbufsize = 65536

    def do_POST(self) -> None:
        """A provider's route, or one of the sandbox's own."""
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/_sandbox/"):
            self.send(self.server.control(self.path, _loads(raw)))
        elif target := route(self.path):
            self.server.exchange.serve(
                target, {name.lower(): value for name, value in self.headers.items()}, lambda: _body(raw), self
            )
        else:
            self.send(_no_such_path(self.path))

    def do_GET(self) -> None:
        """The sandbox's own routes."""
        self.send(
            self.server.control(self.path, None) if self.path.startswith("/_sandbox/") else _no_such_path(self.path)
        )

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Silence: the meter is the log."""

    def send(self, answer: Answered) -> None:
        """Send a whole answer in one write."""
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._push(answer.body)

    def begin(self, content_type: str, headers: Mapping[str, str] | None = None) -> None:
        """Send the head of a chunked stream; it travels with the first chunk."""
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def write(self, data: bytes) -> None:
        """Send one chunk, unless the client has hung up."""
        if self._gone():
            raise ClientGone("the client hung up in mid-stream")
        self._push(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Complete the stream; a client that has read its last event need not wait for this."""
        try:
            self._push(b"0\r\n\r\n")
        except ClientGone:
            self.close_connection = True

    def drop(self) -> None:
        """Cut the connection without completing anything."""
        self.close_connection = True
        try:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already cut from the other side

    def wait(self, seconds: float) -> None:
        """Let time pass, unless the client leaves or the sandbox closes."""
        if seconds > 0:
            self.server.holds.wait(self._gone, seconds)

    def hold(self) -> None:
        """Wait until released."""
        self.server.holds.wait(self._gone)

    def _push(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError as error:
            self.close_connection = True
            raise ClientGone("the client hung up") from error

    def _gone(self) -> bool:
        """Whether the client has closed its end: there is an end of file to read."""
        try:
            left = self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            left = True
        self.close_connection = self.close_connection or left
        return left


def _loads(raw: bytes) -> Any:
    try:
        return json.loads(raw or b"{}")
    except ValueError:
        return None


def _body(raw: bytes) -> Mapping[str, Any]:
    body = _loads(raw)
    if not isinstance(body, dict):
        raise Rejection("invalid", "We could not parse the JSON body of your request.")
    return body  # pyright: ignore[reportUnknownVariableType] - any JSON object


def _no_such_path(path: str) -> Answered:
    return Answered(status=404, body=json.dumps({"message": f"the sandbox serves no {path}"}).encode())
