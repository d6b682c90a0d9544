"""Masked tool results in real graphs: what the model sees, what it can read back, what the graph keeps."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from governor_langgraph import GovernorMiddleware, govern
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Streaming, calling, policy
from tests.langgraph.test_enforcement import GIVEN

MASKING = policy(context={"compact": {"strategy": "mask", "keep_tail": "2k"}, "max_input_tokens": "12k"})
HANDLE = re.compile(r'recall\(handle="(r-[0-9a-f]+)"\)')


def page_of(number: str) -> str:
    return "\n".join(f"page {number}, line {n}: nothing to see here" for n in range(100))


@tool
def chapter(page: str) -> str:
    """Fetch a page that is like no other."""
    return page_of(page)


def reader(pages: int, *, recalls: bool = False) -> Any:
    """Reads page after page; at last reads back the first placeholder it sees."""

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        done = [message for message in messages if isinstance(message, ToolMessage)]
        if len(done) < pages:
            return calling("chapter", {"page": str(len(done))}, call_id=f"c{len(done)}", text=f"Now page {len(done)}.")
        handle = next((found[1] for message in done if (found := HANDLE.search(message.text))), None)
        if recalls and handle and done[-1].name != "recall":
            return calling("recall", {"handle": handle}, call_id="r")
        return "the end"

    return rule


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("name", ["tool_loop", "agent", "react"])
async def test_old_results_are_placeholders_that_recall_reads_and_the_state_keeps_all(name: str, mode: str) -> None:
    model = Streaming(rule=reader(8, recalls=True))
    app = govern(getattr(graphs, name)(model, [chapter], checkpointer=InMemorySaver()), MASKING)
    thread: Any = {"configurable": {"thread_id": "t"}}

    await modes.ALL_MODES[mode](app, GIVEN, thread)

    kept = app.get_state(thread).values["messages"]
    assert [page_of(str(n)) for n in range(8)] == [m.text for m in kept if isinstance(m, ToolMessage)][:8]
    sent = model.calls.seen[-1][1]
    masked = [m for m in sent if HANDLE.search(m.text)]
    assert len(masked) >= 3
    assert all(isinstance(m, ToolMessage) and m.name == "chapter" and len(m.text) < 120 for m in masked)
    assert [m.text for m in kept if isinstance(m, AIMessage)][:9] == [m.text for m in sent if isinstance(m, AIMessage)]
    recalled = sent[-1]
    assert ("recall", "success") == (getattr(recalled, "name", ""), getattr(recalled, "status", ""))
    assert recalled.text.startswith("page 0, line 0: nothing to see here")


def test_between_masks_every_request_extends_the_one_before() -> None:
    model = Streaming(rule=reader(16))
    govern(graphs.tool_loop(model, [chapter]), MASKING).invoke(GIVEN, {"recursion_limit": 99})

    sent = [[(m.type, m.text) for m in messages] for _, messages, _ in model.calls.seen]
    moved = [i for i, (before, after) in enumerate(pairwise(sent)) if before != after[: len(before)]]
    assert moved
    assert len(moved) < len(sent) / 3


def test_middleware_masks_and_recalls() -> None:
    model = Streaming(rule=reader(8, recalls=True))
    app = create_agent(model, [chapter], middleware=[GovernorMiddleware(MASKING)])

    result = app.invoke(GIVEN)

    assert result["messages"][-2].text.startswith("page 0, line 0: nothing to see here")


def test_the_next_turn_of_the_thread_in_another_process_sees_the_same_bytes_and_can_recall(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'governor.db'}"
    last: BaseMessage = HumanMessage("")
    thread: Any = {"configurable": {"thread_id": "t"}}
    prompts: list[list[BaseMessage]] = []
    with SqliteSaver.from_conn_string(str(tmp_path / "graph.db")) as saver:
        for number, rule in enumerate((reader(8), reader(8, recalls=True))):
            model = Streaming(rule=rule)
            app = govern(graphs.tool_loop(model, [chapter], checkpointer=saver), MASKING, store=store)
            app.invoke({"messages": [HumanMessage("And now?" if number else "what is x?")]}, thread)
            prompts.append(model.calls.seen[-1 if not number else 0][1])
            last = model.calls.seen[-1][1][-1]

    before, after = ([(m.type, m.text) for m in messages] for messages in prompts)
    assert before == after[: len(before)]
    assert last.text.startswith("page 0, line 0: nothing to see here")


def test_a_pinned_message_outlives_every_cut() -> None:
    rules = policy(context={"compact": {"strategy": "ledger", "keep_tail": "2k"}, "max_input_tokens": "12k"})
    pinned = HumanMessage("Never pay twice.", additional_kwargs={"governor_pin": True})
    calls = iter(range(12))

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        turn = next(calls, None)
        return "the end" if turn is None else calling("chapter", {"page": str(turn)}, call_id=f"c{turn}")

    model = Streaming(rule=rule)
    history = [HumanMessage("what is x?"), AIMessage("Hm."), pinned, AIMessage("Noted."), HumanMessage("Go on.")]
    govern(graphs.tool_loop(model, [chapter]), rules).invoke({"messages": history}, {"recursion_limit": 99})

    last = model.calls.seen[-1][1]
    assert any("earlier messages are left out" in m.text for m in last)
    assert ["what is x?", "Never pay twice.", "Go on."] == [m.text for m in last[:3]]
    assert "Hm." not in json.dumps([m.text for m in last])
