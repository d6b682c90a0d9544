"""Calls by unusual ways: through the event protocol, past the hooks, several questions to a person at once."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command

from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor_langgraph import govern, watch
from tests.langgraph.fakes import Runs, Streaming, calling, policy
from tests.langgraph.test_enforcement import GIVEN, calls


def one_node(node: Any, **options: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile(**options)


# --- the event protocol -------------------------------------------------------------------------------------------------


class Slow(AsyncCallbackHandler):
    """Keeps the producer of an event stream busy while the reader of its last event has long gone on."""

    async def on_stream_event(self, event: Any, **kwargs: Any) -> None:
        for _ in range(50):
            await asyncio.sleep(0)


@pytest.mark.filterwarnings("ignore:.*v3.*")
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
async def test_a_model_streamed_by_events_is_governed_and_made_once() -> None:
    store, model, seen = MemoryStore(), Streaming(rule=lambda messages: "one two three"), Runs()

    def node(state: MessagesState) -> dict[str, Any]:
        stream = model.stream_events(state["messages"], {"callbacks": [seen]}, version="v3")
        texts = list(stream.text)
        assert stream.output.text == "".join(texts)  # read to its end, and so settled
        return {"messages": [("ai", "".join(texts))]}

    async def anode(state: MessagesState) -> dict[str, Any]:
        stream = await model.astream_events(state["messages"], {"callbacks": [seen, Slow()]}, version="v3")
        texts = [text async for text in stream.text]
        await stream.output  # its producer is a task of its own; the call is settled all the same
        return {"messages": [("ai", "".join(texts))]}

    for build, mode in ((node, "invoke"), (anode, "ainvoke")):
        app = govern(one_node(build), policy(budgets=calls(5)), store=store)
        with watch() as runs:
            result = app.invoke(GIVEN) if mode == "invoke" else await app.ainvoke(GIVEN)
        assert "one two three" == result["messages"][-1].text
        assert 1 == runs[0].state.model_calls

    assert 2 == len(model.calls) == len(seen.starts)
    assert [1, 1] == [balance.spent for balance in store.balances()]
    assert [0, 0] == [balance.reserved for balance in store.balances()]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_a_model_streamed_by_events_is_refused_like_any_other() -> None:
    model = Streaming(rule=lambda messages: "an answer")

    def node(state: MessagesState) -> dict[str, Any]:
        texts = ["".join(model.stream_events(state["messages"], version="v3").text) for _ in range(3)]
        return {"messages": texts}

    with watch() as runs:
        govern(one_node(node), policy(budgets=calls(1))).invoke(GIVEN)

    assert 1 == len(model.calls)
    assert runs[0].stopped is not None


# --- several questions at once ------------------------------------------------------------------------------------------


class Transfers:
    """A tool with consequences, and a graph that asks for several of them in one turn."""

    def __init__(self, count: int) -> None:
        self.done: list[int] = []

        @tool
        def transfer(amount: int) -> str:
            """Move money."""
            self.done.append(amount)
            return f"moved {amount}"

        wanted = [{"name": "transfer", "args": {"amount": n}, "id": f"c{n}", "type": "tool_call"} for n in range(count)]
        self.given = {"messages": [HumanMessage("move it"), AIMessage("", tool_calls=wanted)]}
        self.graph = StateGraph(MessagesState)
        self.graph.add_node("tools", ToolNode([transfer]))
        self.graph.add_edge(START, "tools")


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    "verdicts", [(True, False, True, False), (False, True, True, True), (False, False, False, True)]
)
async def test_each_answer_reaches_the_call_that_was_asked_about(
    verdicts: tuple[bool, ...], asynchronous: bool
) -> None:
    transfers = Transfers(len(verdicts))
    rule = {"id": "careful", "tool": "transfer", "decide": "ask"}
    app = govern(
        transfers.graph.compile(checkpointer=InMemorySaver()), policy(tools={"default": "allow", "rules": [rule]})
    )
    config: Any = {"configurable": {"thread_id": "t"}}

    async def run(given: Any) -> Any:
        return await app.ainvoke(given, config) if asynchronous else app.invoke(given, config)

    result = await run(transfers.given)
    for number, verdict in enumerate(verdicts):
        (question,) = result["__interrupt__"]
        assert {"amount": number} == question.value["args"]
        result = await run(Command(resume=verdict))

    expected = [n for n, verdict in enumerate(verdicts) if verdict]
    assert expected == sorted(transfers.done)
    answers = {m.tool_call_id: m.status for m in result["messages"] if isinstance(m, ToolMessage)}
    assert {f"c{n}": "success" if verdict else "error" for n, verdict in enumerate(verdicts)} == answers


class Desk:
    """One turn with a call that nobody needs to approve between two that a person is asked about."""

    def __init__(self) -> None:
        self.ran: list[str] = []

        @tool
        def look(order: str) -> str:
            """Look an order up."""
            self.ran.append(f"look {order}")
            return "delivered"

        @tool
        def refund(order: str) -> str:
            """Give the money back."""
            self.ran.append(f"refund {order}")
            return "refunded"

        wanted = [("refund", "A"), ("look", "A"), ("refund", "B")]
        asked = [
            calling(name, {"order": order}, call_id=f"c{n}").tool_calls[0] for n, (name, order) in enumerate(wanted)
        ]
        self.given = {"messages": [HumanMessage("refund both"), AIMessage("", tool_calls=asked)]}
        self.graph = StateGraph(MessagesState)
        self.graph.add_node("tools", ToolNode([look, refund]))
        self.graph.add_edge(START, "tools")

    def app(self, saver: Any, *, store: Any = None, inner: Any = None) -> Any:
        rule = {"id": "careful", "tool": "refund", "decide": "ask"}
        rules = policy(tools={"default": "allow", "rules": [rule]})
        return govern(inner or self.graph.compile(checkpointer=saver), rules, store=store)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_nothing_of_a_turn_runs_before_every_question_is_answered_and_then_once(asynchronous: bool) -> None:
    desk = Desk()
    app, config = desk.app(InMemorySaver()), {"configurable": {"thread_id": "t"}}

    async def run(given: Any) -> Any:
        return await app.ainvoke(given, config) if asynchronous else app.invoke(given, config)

    await run(desk.given)
    await run(Command(resume=True))
    assert [] == desk.ran
    result = await run(Command(resume=True))

    assert ["look A", "refund A", "refund B"] == sorted(desk.ran)
    assert ["success"] * 3 == [message.status for message in result["messages"][2:]]


def test_a_turn_that_asks_is_resumed_in_another_process(tmp_path: Path) -> None:
    desk, saver, config = Desk(), InMemorySaver(), {"configurable": {"thread_id": "t"}}

    for given in (desk.given, Command(resume=True), Command(resume=False)):
        with closing(SqliteStore(tmp_path / "governor.db")) as store:  # nothing but the files is carried over
            result = desk.app(saver, store=store).invoke(given, config)

    assert ["look A", "refund A"] == sorted(desk.ran)
    assert ["success", "success", "error"] == [message.status for message in result["messages"][2:]]


def test_questions_of_two_policies_are_asked_before_anything_runs() -> None:
    desk = Desk()
    child = desk.app(None, inner=desk.graph.compile())
    parent = StateGraph(MessagesState)
    parent.add_node("child", child)
    parent.add_edge(START, "child")
    outer = {"id": "outer", "tool": "look", "decide": "ask"}
    app = govern(parent.compile(checkpointer=InMemorySaver()), policy(tools={"default": "allow", "rules": [outer]}))
    config: Any = {"configurable": {"thread_id": "t"}}

    turns: list[Any] = [desk.given, Command(resume=True), Command(resume=True)]
    asked = [app.invoke(given, config)["__interrupt__"][0].value for given in turns]
    assert [("careful", "c0"), ("outer", "c1"), ("careful", "c2")] == [(each["rule"], each["id"]) for each in asked]
    assert [] == desk.ran
    app.invoke(Command(resume=True), config)

    assert ["look A", "refund A", "refund B"] == sorted(desk.ran)


def test_many_more_questions_than_threads_do_not_wait_for_each_other() -> None:
    transfers = Transfers(12)
    rule = {"id": "careful", "tool": "transfer", "decide": "ask"}
    app = govern(
        transfers.graph.compile(checkpointer=InMemorySaver()), policy(tools={"default": "allow", "rules": [rule]})
    )
    config: Any = {"configurable": {"thread_id": "t"}, "max_concurrency": 1}

    turns: list[Any] = [transfers.given, *[Command(resume=True)] * 12]
    for given in turns:
        app.invoke(given, config)

    assert list(range(12)) == sorted(transfers.done)


def test_the_model_of_a_graph_is_not_changed_by_being_governed() -> None:
    model = Streaming(rule=lambda messages: "an answer")
    before = dict(model.__dict__)

    govern(one_node(lambda state: {"messages": [model.invoke(state["messages"])]}), policy()).invoke(GIVEN)

    changed = {key for key, value in model.__dict__.items() if key != "_serialized" and before[key] is not value}
    assert set() == changed  # LangChain itself keeps `_serialized` once a model was traced
    assert isinstance(model, BaseChatModel)
