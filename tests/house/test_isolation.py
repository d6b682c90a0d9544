"""What a test may lean on: nothing outside this machine, nothing of the developer's, and the same luck every time."""

import asyncio
import os
import socket

import pytest
from hypothesis import settings
from pytest_socket import SocketConnectBlockedError

CREDENTIALS = ("ANTHROPIC_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "LANGSMITH_API_KEY", "OPENAI_API_KEY")


def test_no_test_connects_beyond_loopback() -> None:
    # The guard warns, then raises; warnings are errors here. A name that cannot exist: nothing leaves even without a guard.
    with socket.socket() as client, pytest.raises((SocketConnectBlockedError, UserWarning), match=r"provider\.invalid"):
        client.connect(("provider.invalid", 443))


async def test_an_async_test_runs_on_asyncio_and_may_use_loopback() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert b"hello\n" == answer


def test_no_credential_or_tracing_of_the_developer_reaches_a_test() -> None:
    assert [] == [name for name in CREDENTIALS if name in os.environ]
    assert "true" == os.environ["AWS_EC2_METADATA_DISABLED"]
    assert "false" == os.environ["LANGSMITH_TRACING"]


@pytest.mark.skipif("HYPOTHESIS_PROFILE" in os.environ, reason="another profile was asked for")
def test_properties_are_the_same_every_time_unless_another_profile_is_asked_for() -> None:
    assert settings.default is not None
    assert settings.default.derandomize
