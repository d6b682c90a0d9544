"""A real redis-server for tests: started on a free port of loopback, stopped at the end."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import BusyLoadingError

PROGRAM = shutil.which("redis-server")


class RedisServer:
    """One server with its own folder. It may be killed and started again on the same port."""

    def __init__(self, folder: Path, *options: str) -> None:
        if PROGRAM is None:
            pytest.skip("no redis-server program: install Redis 7.0 or later to run these tests")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.options = folder, options
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client: Any = redis.Redis(port=self.port)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            str(PROGRAM),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(self.folder),
        ]
        self.process = subprocess.Popen([*command, *self.options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with suppress(redis.ConnectionError, BusyLoadingError):
                if self.client.ping():
                    return
            self.process.poll()
        raise TimeoutError(self.port)

    def kill(self) -> None:
        """As a crash would."""
        self.client.close()
        self.process.kill()
        self.process.wait()
