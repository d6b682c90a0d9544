"""A real Redis for tests: a private `redis-server` on a free port of loopback, that forgets everything unless told otherwise.

    def test_it(redis_server: RedisServer) -> None:   # shared by the session: a test uses keys or databases of its own
        store = RedisStore(redis_server.url)

    with private(tmp_path, aof="always") as server:   # one that a test may kill and start again
        server.kill()
        server.start()

Skipped with a reason where there is no `redis-server`; `make test` looks for it first (scripts/redis-server).
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from redis import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RedisServer", "private", "program"]

TRIES = 20
"""Free ports that are tried: another process may take one between our looking and the server's binding it."""


def program() -> str:
    """Path of `redis-server`. Skips the test where there is none."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server on PATH: `make test` installs it where it may, else install it by hand")
    return found


class RedisServer:
    """One server process. Its port stays the same from start to start, and so do its files."""

    def __init__(self, folder: Path, *, aof: Literal["", "always", "everysec"] = "", cluster: bool = False) -> None:
        """`folder` holds its files. `aof`: how its append-only file is synced; without, a restart is an empty server."""
        self._folder = folder
        self._cluster = cluster
        self._client: Any = None
        self._aof = aof
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> Any:
        """A client, for what tests look at or break beside the store."""
        self._client = self._client or Redis.from_url(self.url)
        return self._client

    @property
    def pid(self) -> int:
        """Process id, for signals."""
        assert self._process, "the server does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        assert self._process is None, "the server runs already"
        for _ in range(1 if self.port else TRIES):
            port = self.port or _free_port()
            if self._started(port):
                self.port = port
                return
        message = f"redis-server did not start: {self._said}"
        raise RuntimeError(message)

    def kill(self) -> None:
        """SIGKILL, as when its machine loses power (its files stay with what the kernel has of them)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order. Nothing when it does not run."""
        if self._process:
            self._end(signal.SIGTERM)

    def flush(self) -> None:
        """Forget everything, as between two tests. Scripts stay known."""
        with socket.create_connection(("127.0.0.1", self.port)) as talk:
            talk.sendall(b"FLUSHALL\r\n")
            assert talk.recv(5) == b"+OK\r\n"

    def wipe(self) -> None:
        """Remove its files, while it does not run: the next start is the empty server of a failed failover."""
        assert self._process is None, "the server runs"
        for entry in self._folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _started(self, port: int) -> bool:
        options = ["--port", port, "--bind", "127.0.0.1", "--dir", self._folder, "--save", "", "--daemonize", "no"]
        options += ["--appendonly", "yes" if self._aof else "no", "--appendfsync", self._aof or "no"]
        options += ["--auto-aof-rewrite-percentage", 0]  # a rewrite forks, which would be felt in a test's timing
        options += ["--cluster-enabled", "yes" if self._cluster else "no"]
        command = [program(), *map(str, options)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if "Ready to accept connections" in line:
                self._process = process
                return True
        process.wait()
        process.stdout.close()
        self._said = "".join(lines[-5:])
        return False

    def _end(self, how: signal.Signals) -> None:
        assert self._process, "the server does not run"
        if self._client:
            self._client.close()
            self._client = None
        self._process.send_signal(how)
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._process = None


@contextmanager
def private(
    folder: Path, *, aof: Literal["", "always", "everysec"] = "", cluster: bool = False
) -> Iterator[RedisServer]:
    """A server that runs, and that is ended afterwards whatever became of it."""
    server = RedisServer(folder, aof=aof, cluster=cluster)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
