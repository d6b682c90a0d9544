"""The server under load, and at its beginning and end."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import governor_sandbox
from governor_sandbox import Conversation, Fault, Message, Sandbox, SandboxError, Scenario
from governor_sandbox.wire import route
from tests.sandbox.clients import SONNET, Build, aclose, bedrock, openai, post
from tests.sandbox.conftest import Serve


def test_concurrent_clients_each_get_their_own_answer(serve: Serve) -> None:
    box = serve(lambda talk: f"echo {talk.last.text}")
    model = openai(box)

    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda i: model.invoke(f"number {i}").text, range(300)))

    assert [f"echo number {i}" for i in range(300)] == answers
    assert list(range(1, 301)) == [record.seq for record in box.meter.records]


async def test_concurrent_streams_do_not_mix(serve: Serve, build: Build) -> None:
    box = serve(lambda talk: f"echo {talk.last.text} " * 5)
    model = build(box)
    texts: dict[int, str] = {}

    async def read(i: int) -> None:
        texts[i] = "".join([chunk.text async for chunk in model.astream(f"number {i}")])

    async with anyio.create_task_group() as group:
        for i in range(20):
            group.start_soon(read, i)
    await aclose(model)

    assert {i: f"echo number {i} " * 5 for i in range(20)} == texts


def test_identical_prompts_in_flight_together_all_pay_to_write(serve: Serve) -> None:
    """None can read what the others have not begun to answer."""
    box = serve()
    box.fault(Fault(kind="timeout"))
    body = {
        "system": [{"text": " word" * 2000}, {"cachePoint": {"type": "default"}}],
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
    }
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(post, box, f"/model/{SONNET}/converse", body) for _ in range(5)]
        assert box.wait_held(5)
        box.release()
        written = [answer.result(20)[2]["usage"]["cacheWriteInputTokens"] for answer in answers]

    assert [2000] * 5 == written


def test_one_connection_serves_many_requests(box: Sandbox) -> None:
    connection = HTTPConnection("127.0.0.1", box.port, timeout=10)
    connection.connect()
    mine = connection.sock.getsockname()
    for stream in (False, True, False):
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": "Bearer x"})
        assert b"ok" in connection.getresponse().read()

    assert mine == connection.sock.getsockname()
    connection.close()


def test_a_taken_port_is_named_with_the_remedy() -> None:
    with (
        Sandbox() as box,
        pytest.raises(SandboxError, match=f"port {box.port} on 127.0.0.1 .*--port"),
        Sandbox(port=box.port),
    ):
        pass


def test_the_url_of_a_stopped_sandbox_is_an_error() -> None:
    with pytest.raises(SandboxError, match="not running"):
        _ = Sandbox().url


def test_stopping_ends_idle_connections_and_held_requests() -> None:
    box = Sandbox()
    box.start()
    box.fault(Fault(kind="timeout"))
    with socket.create_connection(("127.0.0.1", box.port)) as idle, ThreadPoolExecutor(1) as pool:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
        held = pool.submit(post, box, "/v1/chat/completions", body)
        assert box.wait_held(1)
        box.stop()
        box.stop()

        assert held.exception(timeout=10) is not None
        assert b"" == idle.recv(1)


def test_two_sandboxes_keep_separate_bills() -> None:
    with Sandbox() as one, Sandbox() as other:
        bedrock(one).invoke("hi")

        assert (1, 0) == (len(one.meter.records), len(other.meter.records))


def test_a_scenario_can_serve_again_after_a_reset(serve: Serve) -> None:
    box = serve("rules: [{times: 1, reply: once}]\ndefault: later")
    model = openai(box)

    said = [model.invoke("hi").text for _ in range(2)]
    box.reset()

    assert ["once", "later"] == said
    assert "once" == model.invoke("hi").text


def test_a_failing_scenario_function_is_reported_to_the_client(serve: Serve) -> None:
    def broken(talk: Conversation) -> str:
        raise RuntimeError(f"no answer to {talk.last.text}")

    box = serve(broken)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}

    status, _, answer = post(box, "/v1/chat/completions", body)

    assert 400 == status
    assert "no answer to hi" in answer["error"]["message"]
    assert "rejected" == box.meter.records[0].outcome


def test_it_imports_nothing_of_governor() -> None:
    """Its bill is independent evidence only as long as it shares no code with what it measures."""
    root = Path(governor_sandbox.__file__).parent
    for source in root.rglob("*.py"):
        lines = [line for line in source.read_text().splitlines() if line.lstrip().startswith(("import ", "from "))]
        strangers = [line for line in lines if "governor" in line and "governor_sandbox" not in line]
        assert [] == strangers, source


def test_the_default_scenario_says_ok() -> None:
    assert "ok" == Scenario.always().behaviour.answer(_talk()).reply.text


def _talk() -> Conversation:
    return Conversation(provider="openai", model="m", messages=(Message(role="user", text="hi"),))


@given(st.text(max_size=40))
def test_any_model_id_survives_the_url(model: str) -> None:
    target = route(f"/model/{quote(model, safe='')}/converse")

    assert target is not None
    assert model == target.model
