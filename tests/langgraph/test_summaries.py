"""Summaries in real graphs: asked of a tier's own client, unseen by whoever reads the graph, kept for every later turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from governor.controls.compact.summary import ALONE
from governor.policy.load import load
from governor.runtime import Runtime
from governor.stores.sqlite import SqliteStore
from governor.telemetry import Telemetry
from governor_langgraph import GovernorMiddleware, govern, watch
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Calls, Runs, Streaming, Whole, calling, policy
from tests.langgraph.test_enforcement import GIVEN

SUMMARY = "Chapters up to now were dull, says SUMMARISER."
TIERS: dict[str, Any] = {
    "big": {
        "model": "fake:big-1",
        "price": {"input": 3, "output": 15},
        "context_window": "14k",
        "max_output_tokens": 400,
    },
    "small": {"model": "fake:small-1", "price": {"input": 1, "output": 2}, "context_window": "100k"},
}
RULES = policy(
    tiers=TIERS,
    routing={"default": "big"},
    context={"compact": {"strategy": "summarise", "keep_tail": "2k", "ledger": "300"}},
    budgets=[{"id": "run", "scope": "run", "limit": {"model_calls": 90, "usd": 9}}],
)


@tool
def chapter(page: str) -> str:
    """Fetch a page that is like no other."""
    return "\n".join(f"page {page}, line {n}: nothing to see here" for n in range(100))


class Reader:
    """Reads page after page; answers who asks for a summary."""

    def __init__(self, kind: type[Whole], pages: int = 9, summary: Any = SUMMARY) -> None:
        self.calls, self.pages, self.summary = Calls(), iter(range(pages)), summary
        self.own = kind(rule=self.rule, model_name="own", calls=self.calls)
        self.clients = {name: kind(rule=self.rule, model_name=name, calls=self.calls) for name in TIERS}

    def rule(self, messages: list[BaseMessage]) -> AIMessage | str:
        if isinstance(messages[0], SystemMessage) and messages[0].text == ALONE:
            if isinstance(self.summary, Exception):
                raise self.summary
            return self.summary
        page = next(self.pages, None)
        return "the end" if page is None else calling("chapter", {"page": str(page)}, call_id=f"c{page}")

    def asked(self) -> list[tuple[str, list[BaseMessage], dict[str, Any]]]:
        return [each for each in self.calls.seen if each[1][0].text == ALONE]

    def app(self, name: str = "tool_loop", rules: Any = RULES, **options: Any) -> Any:
        graph = getattr(graphs, name)(self.own, [chapter], checkpointer=InMemorySaver())
        return govern(graph, rules, clients=self.clients, **options)


THREAD: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 99}


@pytest.mark.parametrize("kind", [Whole, Streaming])
@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("name", ["tool_loop", "agent"])
async def test_a_tier_writes_a_summary_that_the_model_sees_and_the_graph_does_not(
    name: str, mode: str, kind: type[Whole]
) -> None:
    reader = Reader(kind)
    app = reader.app(name)

    with watch() as runs:
        seen = await modes.ALL_MODES[mode](app, GIVEN, THREAD)

    asked = reader.asked()
    assert asked
    assert {"small"} == {model for model, _, _ in asked}
    assert all("tools" not in kwargs and kwargs["max_tokens"] == 2_000 for _, _, kwargs in asked)
    assert "page 0, line 99" in asked[0][1][1].text
    last = reader.calls.seen[-1][1]
    assert ["what is x?", True] == [last[0].text, last[1].text.endswith(SUMMARY)]
    assert SUMMARY not in str(seen)
    assert SUMMARY not in str(app.get_state(THREAD).values)
    spent = {str(each.unit): each.spent for each in runs[0].budgets}
    assert len(reader.calls) == spent["model_calls"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_no_token_of_it_reaches_a_stream_of_messages_an_event_or_a_handler(asynchronous: bool) -> None:
    reader, handler = Reader(Streaming), Runs()
    app, config = reader.app("agent"), {**THREAD, "callbacks": [handler]}
    if asynchronous:
        read = [str(chunk) async for chunk in app.astream(GIVEN, config, stream_mode=["messages", "updates"])]
        read += [str(event) async for event in reader.app("agent").astream_events(GIVEN, THREAD, version="v2")]
    else:
        read = [str(chunk) for chunk in app.stream(GIVEN, config, stream_mode=["messages", "updates"])]

    assert reader.asked()
    assert not any("SUMMARISER" in each for each in read)
    assert not any("SUMMARISER" in each for each in handler.tokens)
    assert handler.ends == len(reader.calls) - len(reader.asked()) or asynchronous


@pytest.mark.parametrize("mode", ["invoke", "astream"])
async def test_a_summary_that_fails_leaves_the_ledger_and_the_run_goes_on(mode: str) -> None:
    reader = Reader(Streaming, summary=TimeoutError("slow"))
    app = reader.app()

    await modes.ALL_MODES[mode](app, GIVEN, THREAD)

    assert reader.asked()
    last = reader.calls.seen[-1][1]
    assert "earlier messages are left out" in last[1].text
    assert "the end" == app.get_state(THREAD).values["messages"][-1].text


def test_the_next_turn_and_another_process_see_the_same_bytes(tmp_path: Path) -> None:
    saver, prompts = InMemorySaver(), list[list[tuple[str, str]]]()
    for turn in range(2):
        reader = Reader(Streaming, pages=0 if turn else 9)
        graph = graphs.tool_loop(reader.own, [chapter], checkpointer=saver)
        app = govern(graph, RULES, clients=reader.clients, store=f"sqlite:///{tmp_path / 'g.db'}")
        app.invoke({"messages": [HumanMessage(f"turn {turn}")]}, THREAD)
        prompts.append([(m.type, m.text) for m in reader.calls.seen[-1][1]])
        assert bool(reader.asked()) is (turn == 0)

    assert prompts[0] == prompts[1][: len(prompts[0])]


def test_time_travel_to_before_the_cut_shows_the_history_and_to_after_it_the_same_summary() -> None:
    reader = Reader(Streaming)
    app = reader.app()
    app.invoke(GIVEN, THREAD)
    shown = [[(m.type, m.text) for m in messages] for _, messages, _ in reader.calls.seen if messages[0].text != ALONE]
    states = [state for state in app.get_state_history(THREAD) if state.next == ("agent",)]
    before = len(reader.asked())

    early = next(state for state in states if len(state.values["messages"]) == 3)
    app.invoke(None, early.config)
    assert shown[1] == [(m.type, m.text) for m in reader.calls.seen[-1][1]]
    late = max(states, key=lambda state: len(state.values["messages"]))
    app.invoke(None, late.config)
    assert shown[-1] == [(m.type, m.text) for m in reader.calls.seen[-1][1]]
    assert before == len(reader.asked())


def test_it_is_a_span_of_its_own_under_the_call() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    reader, loaded = Reader(Whole), load(RULES)
    runtime = Runtime(loaded, telemetry=Telemetry(loaded, tracer=provider.get_tracer("test")))
    graph = graphs.tool_loop(reader.own, [chapter])
    govern(graph, loaded, runtime=runtime, clients=reader.clients).invoke(GIVEN, {"recursion_limit": 99})

    spans = {span.context.span_id: span for span in exporter.get_finished_spans() if span.context}
    beside = [span for span in spans.values() if (span.attributes or {}).get("governor.purpose") == "summary"]
    assert len(reader.asked()) == len(beside)
    for span in beside:
        attributes = span.attributes or {}
        assert ("small", "small-1") == (attributes["governor.tier"], attributes["gen_ai.request.model"])
        assert span.parent is not None
        around = spans[span.parent.span_id]
        assert "big" == (around.attributes or {})["governor.tier"]
        decided = [event.attributes or {} for event in around.events]
        assert any("wrote a summary" in str(each.get("governor.reason")) for each in decided)


def test_middleware_asks_as_well() -> None:
    reader = Reader(Streaming)
    middleware = GovernorMiddleware(RULES, clients=reader.clients)

    result = create_agent(reader.own, [chapter], middleware=[middleware]).invoke(GIVEN, {"recursion_limit": 99})

    assert reader.asked()
    assert "the end" == result["messages"][-1].text


def test_another_governor_around_counts_it_too() -> None:
    reader = Reader(Streaming)
    inner = reader.app()

    def node(state: Any) -> Any:
        return {"messages": inner.invoke({"messages": state["messages"]}, THREAD)["messages"][-1:]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    rules = policy(budgets=[{"id": "outer", "scope": "run", "limit": {"model_calls": 90}}])
    with watch() as runs:
        govern(graph.compile(), rules).invoke(GIVEN, {"recursion_limit": 99})

    assert reader.asked()
    outer = next(report for report in runs if any(each.budget == "outer" for each in report.budgets))
    assert [len(reader.calls)] == [each.spent for each in outer.budgets if each.budget == "outer"]


class Dying(SqliteStore):
    """A store whose process dies when it is told to charge what `dies` is true of."""

    dies: Any = staticmethod(lambda: False)

    def settle(self, charge: Any) -> None:
        if self.dies():
            raise KeyboardInterrupt
        super().settle(charge)


def test_a_run_that_dies_before_the_summary_is_charged_is_resumed_with_it_and_pays_for_one(tmp_path: Path) -> None:
    saver, first, second = InMemorySaver(), Reader(Whole), Reader(Whole, pages=1)
    store = Dying(tmp_path / "g.db")
    store.dies = lambda: bool(first.asked())
    graph = graphs.tool_loop(first.own, [chapter], checkpointer=saver)
    with pytest.raises(KeyboardInterrupt):
        govern(graph, RULES, clients=first.clients, store=store).invoke(GIVEN, THREAD)
    store.close()

    graph = graphs.tool_loop(second.own, [chapter], checkpointer=saver)
    store = SqliteStore(tmp_path / "g.db")
    govern(graph, RULES, clients=second.clients, store=store).invoke(None, THREAD)

    assert [1, 0] == [len(first.asked()), len(second.asked())]
    assert any(m.text.endswith(SUMMARY) for m in second.calls.seen[0][1])
    assert not any(isinstance(m, ToolMessage) and m.status == "error" for m in second.calls.seen[-1][1])
    (held,) = [balance for balance in store.balances("run/") if balance.unit == "model_calls"]
    assert len(first.calls) + len(second.calls) == held.spent + held.reserved
