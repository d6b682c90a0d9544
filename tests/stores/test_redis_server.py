"""The server that tests of Redis stand on: it keeps what it was told to keep, and nothing else."""

from pathlib import Path

import pytest
from redis import Redis

from tests.redis_server import private

pytestmark = pytest.mark.redis


@pytest.mark.parametrize(("aof", "kept"), [("", None), ("always", b"1")])
def test_a_killed_server_comes_back_at_its_address_with_what_its_file_holds(
    tmp_path: Path, aof: str, kept: bytes | None
) -> None:
    with private(tmp_path, aof="always" if aof else "") as server:
        before = server.url
        with Redis.from_url(before) as client:
            client.set("key", "1")
        server.kill()
        server.start()
        with Redis.from_url(server.url) as client:
            found = client.get("key")

    assert (before, kept) == (server.url, found)


def test_a_wiped_server_comes_back_empty(tmp_path: Path) -> None:
    with private(tmp_path, aof="always") as server:
        with Redis.from_url(server.url) as client:
            client.set("key", "1")
        server.kill()
        server.wipe()
        server.start()
        with Redis.from_url(server.url) as client:
            found = client.get("key")

    assert found is None
