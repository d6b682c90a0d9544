"""What stands between a client and its server in tests: counts what the client sends, and loses answers when told."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread


class Proxy:
    """A TCP proxy on loopback. `trips` counts the times a client sent something and waited."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self.trips = 0
        self.drop = 0
        self.truncate = 0
        """Of the next answer so many bytes pass before the connection breaks."""
        self.silent = False
        self._open: list[socket.socket] = []
        Thread(target=self._accept, daemon=True).start()

    def lose(self, answers: int) -> None:
        """Break the connection instead of giving the next so many answers."""
        self.drop = answers

    def switch(self, port: int) -> None:
        """Lead to another server from now on, as after a failover: what is open breaks."""
        self._target = port
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop, and close what is open."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for each in (self._listener, *self._open):
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
                Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """Requests are small and answered before the next is sent, so that one turn of this loop is one round trip."""
        with suppress(OSError), client, server:
            Thread(target=self._back, args=(client, server), daemon=True).start()
            while data := client.recv(1 << 20):
                if b"EVAL" in data or b"GET" in data:
                    self.trips += 1
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 20):
                if self.silent:
                    continue
                if self.drop and b"redis_version" not in data and not data.startswith((b"%", b"+")):
                    self.drop -= 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                if self.truncate and data.startswith(b"-NOSCRIPT"):
                    client.sendall(data[: data.index(b"\n") + 1 + self.truncate])
                    self.truncate = 0
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
