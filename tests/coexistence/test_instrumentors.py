"""Beside instrumentations of LangChain each call is one span and one count, whoever came first and whoever leaves first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import langchain.agents.factory
import langgraph.prebuilt.chat_agent_executor
import pytest
from langchain.agents.middleware import AgentMiddleware
from langchain_core.callbacks import BaseCallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool, tool
from langchain_openai.chat_models.base import BaseChatOpenAI
from langchain_openai.llms.base import BaseOpenAI
from langgraph.pregel import Pregel
from langgraph.types import Command

from governor_langgraph import govern, install, uninstall, watch
from governor_langgraph.hooks import installed
from governor_sandbox import Conversation, Reply, Sandbox, Scenario
from governor_sandbox.output import ScriptedCall
from tests.coexistence.instrumentors import KINDS, REMOVABLE, Instrumented
from tests.langgraph import graphs
from tests.langgraph.fakes import OPEN
from tests.langgraph.modes import plain
from tests.vendors.clients import openai

GIVEN: Any = {"messages": [("user", "look it up")]}
BODIES: list[str] = []


@tool
def search(q: str) -> str:
    """Search."""
    BODIES.append(q)
    return f"found {q}"


def looking(said: Conversation) -> Reply | str:
    if said.last.role == "user":
        return Reply(tool_calls=(ScriptedCall(name="search", args={"q": "it"}),))
    return "that is all there is"


async def invoke(app: Any) -> Any:
    return plain(app.invoke(GIVEN))


async def ainvoke(app: Any) -> Any:
    return plain(await app.ainvoke(GIVEN))


async def stream(app: Any) -> Any:
    return plain(list(app.stream(GIVEN, stream_mode="values"))[-1])


async def astream(app: Any) -> Any:
    return plain([part async for part in app.astream(GIVEN, stream_mode="values")][-1])


async def events(app: Any) -> Any:
    return [event["event"] async for event in app.astream_events(GIVEN, version="v2") if "on_chat" in event["event"]]


Way = Callable[[Any], Awaitable[Any]]
WAYS: list[Way] = [invoke, ainvoke, stream, astream, events]
HOOKED = [
    (BaseChatModel, "generate"),
    (BaseChatModel, "astream"),
    (BaseTool, "run"),
    (BaseTool, "arun"),
    (Pregel, "stream"),
    (BaseChatOpenAI, "_generate"),
    (BaseCallbackManager, "__init__"),
]
TOUCHED: list[Any] = [
    *dict.fromkeys(owner for owner, _ in HOOKED),
    BaseRetriever,
    BaseOpenAI,
    Command,
    AgentMiddleware,
    langchain.agents,
    langchain.agents.factory,
    langgraph.prebuilt,
    langgraph.prebuilt.chat_agent_executor,
]
"""Where instrumentations put their wrappers. Not all of them take them off again, and the next test starts without."""


@pytest.fixture
def box() -> Iterator[Sandbox]:
    BODIES.clear()
    with Sandbox(Scenario.from_callable(looking)) as box:
        yield box


@pytest.fixture
def clean() -> Iterator[None]:
    """Methods that nobody has replaced yet, and that are so again afterwards."""
    was_installed = installed()
    uninstall()
    before = [dict(vars(owner)) for owner in TOUCHED]
    yield
    uninstall()
    for owner, members in zip(TOUCHED, before, strict=True):
        for name, member in members.items():
            if vars(owner).get(name) is not member:
                setattr(owner, name, member)
    if was_installed:
        install()


def instrumented(name: str) -> Iterator[Instrumented]:
    made = Instrumented(name)
    try:
        yield made
    finally:
        made.off()


@pytest.fixture(params=KINDS)
def beside(request: pytest.FixtureRequest, clean: None) -> Iterator[Instrumented]:
    """An instrumentation that is off yet."""
    yield from instrumented(request.param)


@pytest.fixture(params=REMOVABLE)
def removable(request: pytest.FixtureRequest, clean: None) -> Iterator[Instrumented]:
    """One that can be taken off again."""
    yield from instrumented(request.param)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", ["instrumented", "governed"])
async def test_each_call_is_one_span_one_count_and_one_request(
    beside: Instrumented, box: Sandbox, first: str, way: Way
) -> None:
    bare = graphs.agent(openai(box), [search])
    if first == "governed":
        app = govern(bare, OPEN)
        beside.on()
    else:
        beside.on()
        app = govern(bare, OPEN)

    expected = await way(bare)
    alone, asked = beside.counts(), len(box.meter.records)
    box.reset()
    with watch() as runs:
        result = await way(app)
    together = beside.counts()

    assert expected == result
    assert (2, 1) == alone[:2]
    assert alone == together
    assert 2 == asked == len(box.meter.records)
    assert ["it", "it"] == BODIES
    assert [(2, 1)] == [(run.state.model_calls, run.state.tool_calls) for run in runs]


@pytest.mark.parametrize("first", ["instrumented", "governed"])
@pytest.mark.parametrize("leaves", ["instrumented", "governed"])
async def test_whoever_leaves_first_the_other_goes_on_and_nothing_is_left_behind(
    removable: Instrumented, box: Sandbox, first: str, leaves: str
) -> None:
    bare = graphs.agent(openai(box), [search])
    before = [getattr(owner, name) for owner, name in HOOKED]
    if first == "governed":
        install()
        removable.on()
    else:
        removable.on()
        install()

    if leaves == "instrumented":
        removable.off()
        app = govern(bare, OPEN)
        with watch() as runs:
            await invoke(app)
        assert [(2, 1)] == [(run.state.model_calls, run.state.tool_calls) for run in runs]
        assert (0, 0, []) == removable.counts()
        uninstall()
    else:
        uninstall()
        await invoke(bare)
        assert (2, 1) == removable.counts()[:2]
        removable.off()

    box.reset()
    await invoke(bare)
    assert 2 == len(box.meter.records)
    assert not installed()
    assert (0, 0, []) == removable.counts()
    if first != leaves:  # taken off in the order in which they were put on, nobody is caught between the two
        assert before == [getattr(owner, name) for owner, name in HOOKED]


@pytest.mark.parametrize("times", [1, 2])
async def test_hooks_that_another_instrumentation_holds_are_taken_up_again_and_not_put_on_twice(
    removable: Instrumented, box: Sandbox, times: int
) -> None:
    install()
    removable.on()  # wraps governor's hooks, so that they cannot be taken off
    for _ in range(times):
        uninstall()
        install()
    app = govern(graphs.agent(openai(box), [search]), OPEN)

    with watch() as runs:
        await invoke(app)
        await ainvoke(app)

    assert [(2, 1), (2, 1)] == [(run.state.model_calls, run.state.tool_calls) for run in runs]
    assert (4, 2) == removable.counts()[:2]
    assert 4 == len(box.meter.records)
