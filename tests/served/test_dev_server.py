"""A governed graph behind LangGraph's own server behaves as the bare one does, and every run is metered by itself."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Set
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}|run-[0-9a-f-]+")
PASSING = frozenset(
    {
        "created_at",
        "checkpoint_id",
        "ts",
        "timestamp",
        "parent_ids",
        "run_attempt",
        "assistant_id",
        "graph_id",
        "__request_start_time_ms__",
    }
)


@pytest.fixture
async def client(url: str) -> AsyncIterator[LangGraphClient]:
    async with httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(retries=8)
    ) as first:  # it says it started, then listens
        assert {"ok": True} == {"ok": (await first.get(f"{url}/ok")).json()["ok"]}
    async with get_client(url=url, api_key=None) as made:
        yield made


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


async def books(client: LangGraphClient) -> Any:
    return await client.runs.wait(None, "books", input={})


async def of_thread(client: LangGraphClient, thread: str) -> list[dict[str, Any]]:
    """What governor reports of a thread's runs."""
    return [report for report in (await books(client))["reports"] if report["thread"] == thread]


def plain(value: Any, known: dict[str, str], passing: Set[str] = frozenset()) -> Any:
    """A value of a server with its identifiers numbered in order of appearance, and without times."""
    if isinstance(value, dict):
        return {
            plain(key, known): plain(each, known, passing)
            for key, each in value.items()
            if key not in PASSING and key not in passing and not key.startswith("langgraph_api")
        }
    if isinstance(value, list):
        return [plain(each, known, passing) for each in value]
    if isinstance(value, str):
        text = IDS.sub(lambda found: known.setdefault(found[0], f"id{len(known)}"), value)
        return text.replace("bare_agent", "agent")
    return value


async def streamed(client: LangGraphClient, graph: str, mode: Any, given: Any) -> list[Any]:
    thread = (await client.threads.create())["thread_id"]
    known: dict[str, str] = {}
    # A tool's message gets its id while its event is being written: whether it is in there is a matter of luck, bare or governed.
    passing = {"id"} if mode == "events" else set[str]()
    parts = [
        part async for part in client.runs.stream(thread, graph, input=given, stream_mode=mode, stream_subgraphs=True)
    ]
    return [(part.event, plain(part.data, known, passing)) for part in parts if part.event != "metadata"]


async def test_a_run_that_is_waited_for_answers_and_is_metered(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]

    result: Any = await client.runs.wait(thread, "agent", input=said("look 1"))

    (report,) = await of_thread(client, thread)
    assert "that was look 1 and here are some words" == result["messages"][-1]["content"]
    assert (2, 1, None) == (report["model_calls"], report["tool_calls"], report["stopped"])
    asked = [texts for texts in (await books(client))["asked"] if texts[0] == "look 1"]
    assert 2 <= len(asked)


@pytest.mark.parametrize(
    "mode",
    [
        "values",
        "updates",
        "messages-tuple",
        "messages",
        "custom",
        "tasks",
        "checkpoints",
        "debug",
        "events",
        ["values", "updates", "custom"],
    ],
    ids=str,
)
async def test_a_stream_is_the_bare_graphs_part_by_part(client: LangGraphClient, mode: Any) -> None:
    async with asyncio.TaskGroup() as group:
        both = [group.create_task(streamed(client, graph, mode, said("look 2"))) for graph in ("bare_agent", "agent")]
    bare, governed = (task.result() for task in both)

    assert len(bare) > 1
    assert [event for event, _ in bare] == [event for event, _ in governed]
    assert bare == governed


async def test_a_question_is_answered_in_a_later_request_and_the_run_goes_on(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]
    topic = f"topic {uuid.uuid4()}"

    await client.runs.wait(thread, "steps", input={"topic": topic})
    waiting = await client.threads.get_state(thread)
    result: Any = await client.runs.wait(thread, "steps", command={"resume": f"yes to {topic}"})

    assert [{"about": topic}] == [each["value"] for each in waiting["interrupts"]]
    assert ["ask"] == waiting["next"]
    assert f"that was yes to {topic} and here are some words" == result["last"]
    asked = [texts[0] for texts in (await books(client))["asked"] if topic in texts[0]]
    assert [topic, f"yes to {topic}"] == asked
    reports = await of_thread(client, thread)
    assert [1, 2] == [report["model_calls"] for report in reports]
    assert 1 == len({report["run"] for report in reports})


@pytest.mark.parametrize(("answer", "outcome"), [("approve", "paid 5"), ("no", None)])
async def test_what_the_policy_asks_a_person_is_an_interrupt_of_the_thread(
    client: LangGraphClient, answer: str, outcome: str | None
) -> None:
    thread = (await client.threads.create())["thread_id"]

    await client.runs.wait(thread, "agent", input=said("pay 5"))
    waiting = await client.threads.get(thread)
    (asked,) = list(waiting["interrupts"].values())
    result: Any = await client.runs.wait(thread, "agent", command={"resume": answer})

    assert "interrupted" == waiting["status"]
    assert ("pay", {"amount": 5}, "money") == (
        asked[0]["value"]["tool"],
        asked[0]["value"]["args"],
        asked[0]["value"]["rule"],
    )
    tools = [message["content"] for message in result["messages"] if message["type"] == "tool"]
    assert 1 == len(tools)
    assert (tools == [outcome]) is (outcome is not None)


async def test_a_run_past_its_budget_ends_well_and_its_thread_goes_on(client: LangGraphClient) -> None:
    thread = (await client.threads.create())["thread_id"]

    stopped: Any = await client.runs.wait(thread, "agent", input=said("look 9"))
    later: Any = await client.runs.wait(thread, "agent", input=said("hello"))

    first, second = await of_thread(client, thread)
    assert "budget.exhausted" == first["stopped"]
    asked = [texts for texts in (await books(client))["asked"] if texts[0] == "look 9"]
    assert 4 == len([texts for texts in asked if texts[-1] != "hello"])
    assert "success" == (await client.runs.list(thread))[0]["status"]
    calls = [call["id"] for message in stopped["messages"] for call in message.get("tool_calls") or ()]
    assert set(calls) <= {message.get("tool_call_id") for message in stopped["messages"]}
    assert "that was hello and here are some words" == later["messages"][-1]["content"]
    assert second["stopped"] is None


async def test_a_threads_history_and_a_fork_are_the_bare_graphs(client: LangGraphClient) -> None:
    seen: dict[str, Any] = {}
    for graph in ("bare_agent", "agent"):
        thread = (await client.threads.create())["thread_id"]
        await client.runs.wait(thread, graph, input=said("look 1"))
        history = await client.threads.get_history(thread)
        start = next(state for state in history if state["next"] == ["model"])
        forked: Any = await client.runs.wait(thread, graph, input=None, checkpoint=start["checkpoint"])
        known: dict[str, str] = {}
        seen[graph] = (
            [(state["next"], plain(state["values"], known)) for state in history],
            plain(forked["messages"], {}),
        )

    assert seen["bare_agent"] == seen["agent"]


async def test_the_server_describes_a_governed_graph_as_it_does_the_bare_one(client: LangGraphClient) -> None:
    known = {each["graph_id"]: each["assistant_id"] for each in await client.assistants.search(limit=50)}
    drawn = [await client.assistants.get_graph(known[name], xray=True) for name in ("bare_agent", "agent")]
    shaped = [await client.assistants.get_schemas(known[name]) for name in ("bare_agent", "agent")]

    assert drawn[0] == drawn[1]
    assert plain(dict(shaped[0]), {}) == plain(dict(shaped[1]), {})


async def test_two_runs_at_once_are_metered_apart(client: LangGraphClient) -> None:
    threads = [(await client.threads.create())["thread_id"] for _ in range(2)]

    async with asyncio.TaskGroup() as group:
        for thread in threads:
            group.create_task(client.runs.wait(thread, "pair", input=said(f"to {thread}")))

    reports = [await of_thread(client, thread) for thread in threads]
    assert [[2], [2]] == [[report["model_calls"] for report in of] for of in reports]
    assert 2 == len({of[0]["run"] for of in reports})
    asked = [texts[0] for texts in (await books(client))["asked"] if texts[0].startswith("to ")]
    assert sorted(f"to {thread}" for thread in threads for _ in range(2)) == sorted(asked)
