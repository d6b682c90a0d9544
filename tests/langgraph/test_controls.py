"""The controls at work in real graphs: loops, tiers, shortened results, compaction."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from governor_langgraph import GovernorMiddleware, govern, watch
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Calls, Streaming, Whole, calling, once, policy, times
from tests.langgraph.test_enforcement import GIVEN, Bodies

# --- loops --------------------------------------------------------------------------------------------------------------


def stuck(bodies: Bodies, **loops: Any) -> tuple[Any, Streaming]:
    model = Streaming(rule=times("search", 99, lambda n: {"q": "the same"}))
    app = govern(graphs.agent(model, [bodies.tool]), policy(loops={"mode": "enforce", **loops}))
    return app, model


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
async def test_a_loop_is_nudged_then_blocked_then_stopped(mode: str) -> None:
    bodies = Bodies()
    app, model = stuck(bodies)

    with watch() as runs:
        await modes.ALL_MODES[mode](app, GIVEN, {})

    assert runs[0].stopped is not None
    assert runs[0].stopped.code.startswith("loop.")
    assert 3 <= len(bodies.ran) < 7
    assert len(model.calls) < 15


def test_a_nudge_is_the_last_thing_the_model_reads_and_is_not_kept_in_the_state() -> None:
    bodies = Bodies()
    app, model = stuck(bodies)

    result = app.invoke(GIVEN)

    nudged = [
        messages for _, messages, _ in model.calls.seen if isinstance(messages[-1], HumanMessage) and len(messages) > 1
    ]
    assert nudged
    texts = {message.text for message in result["messages"]}
    assert all(messages[-1].text not in texts for messages in nudged)


def test_a_blocked_call_is_answered_with_the_result_already_held() -> None:
    bodies = Bodies()
    app, _ = stuck(bodies)

    result = app.invoke(GIVEN)

    answers = [message for message in result["messages"] if isinstance(message, ToolMessage)]
    blocked = answers[len(bodies.ran) :]
    assert blocked
    assert "found the same" in blocked[0].text


def test_work_that_gets_on_is_no_loop() -> None:
    bodies, model = Bodies(), Streaming(rule=times("search", 30, lambda n: {"q": f"topic {n}"}))
    app = govern(graphs.agent(model, [bodies.tool]), policy(loops={"mode": "enforce"}))

    with watch() as runs:
        app.invoke(GIVEN)

    assert runs[0].stopped is None
    assert 30 == len(bodies.ran)


# --- tiers --------------------------------------------------------------------------------------------------------------

TIERS: dict[str, Any] = {
    "big": {
        "model": "fake:big-1",
        "price": {"input": 3, "output": 15},
        "context_window": "100k",
        "max_output_tokens": 400,
    },
    "small": {
        "model": "fake:small-1",
        "price": {"input": 1, "output": 2},
        "context_window": "100k",
        "max_output_tokens": 200,
    },
}


class Tiers:
    """Clients of both tiers and the model of user code, all writing into one list."""

    def __init__(self, kind: type[Whole], rule: Any) -> None:
        self.calls = Calls()
        self.own = kind(rule=rule, model_name="own", calls=self.calls, tags=["mine"])
        self.clients = {
            name: kind(rule=rule, model_name=name, max_tokens=9, calls=self.calls) for name in ("big", "small")
        }


@pytest.mark.parametrize("kind", [Whole, Streaming])
@pytest.mark.parametrize("mode", list(modes.ALL_MODES))
async def test_the_tier_that_the_policy_names_answers_with_the_tools_that_user_code_bound(
    mode: str, kind: type[Whole]
) -> None:
    tiers = Tiers(kind, once("search", {"q": "x"}))
    rules = policy(tiers=TIERS, routing={"default": "small"})
    app = govern(graphs.tool_loop(tiers.own), rules, clients=tiers.clients)

    await modes.ALL_MODES[mode](app, GIVEN, {})

    assert {"small"} == set(tiers.calls.models)
    for _, _, kwargs in tiers.calls.seen:
        assert "search" == kwargs["tools"][0]["function"]["name"]
        assert 200 == kwargs["max_tokens"]


def test_rules_choose_a_tier_by_node() -> None:
    tiers = Tiers(Streaming, once("search", {"q": "x"}))
    routing = {"default": "small", "rules": [{"id": "plan", "when": {"node": "agent"}, "tier": "big"}]}
    app = govern(graphs.tool_loop(tiers.own), policy(tiers=TIERS, routing=routing), clients=tiers.clients)

    app.invoke(GIVEN)

    assert {"big"} == set(tiers.calls.models)


def test_a_tier_keeps_the_tags_of_the_model_it_stands_in_for() -> None:
    tiers = Tiers(Streaming, lambda messages: "an answer")
    app = govern(
        graphs.function_node(tiers.own), policy(tiers=TIERS, routing={"default": "small"}), clients=tiers.clients
    )

    (_, about), *_ = app.stream(GIVEN, stream_mode="messages")

    assert "mine" in about["tags"]
    assert tiers.clients["small"].tags is None


def test_tools_that_only_their_provider_knows_keep_the_call_with_its_own_model() -> None:
    class Other(Streaming):
        pass

    tiers = Tiers(Streaming, lambda messages: "an answer")
    clients = {
        name: Other(rule=lambda messages: "other", model_name=name, calls=tiers.calls) for name in ("big", "small")
    }
    own = tiers.own.bind(tools=[{"type": "web_search_20250305", "name": "web_search"}])
    app = govern(graphs.function_node(own), policy(tiers=TIERS, routing={"default": "small"}), clients=clients)  # pyright: ignore[reportArgumentType] - a binding

    app.invoke(GIVEN)

    assert ["own"] == tiers.calls.models


def test_an_unusable_answer_is_asked_for_once_more_one_tier_up() -> None:
    calls = Calls()
    clients = {
        "big": Whole(rule=lambda messages: "a good answer", model_name="big", calls=calls),
        "small": Whole(rule=lambda messages: "", model_name="small", calls=calls),
    }
    routing = {"default": "small", "escalate": {"after": ["empty"], "for": "2 steps", "at_most": "1 per run"}}
    app = govern(
        graphs.function_node(Whole(rule=None, calls=calls)), policy(tiers=TIERS, routing=routing), clients=clients
    )

    result = app.invoke(GIVEN)

    assert ["small", "big"] == calls.models
    assert "a good answer" == result["messages"][-1].text


# --- shortened results and recall -----------------------------------------------------------------------------------------

LONG = "\n".join(f"line {n}: nothing to see here" for n in range(2000))
CAPPED = policy(context={"tool_results": {"cap": "400"}})


@tool
def fetch(page: str) -> str:
    """Fetch a page."""
    return LONG


def reading(messages: list[BaseMessage]) -> AIMessage | str:
    """Fetch, then recall what was left out, then answer."""
    answers = [message for message in messages if isinstance(message, ToolMessage)]
    if not answers:
        return calling("fetch", {"page": "1"}, call_id="c0")
    if len(answers) == 1:
        handle = answers[0].text.split('recall(handle="')[1].split('"')[0]
        return calling("recall", {"handle": handle}, call_id="c1")
    return "the end"


@pytest.mark.parametrize("mode", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("name", ["tool_loop", "agent", "react"])
async def test_a_long_result_is_shown_shortened_kept_whole_and_read_back(name: str, mode: str) -> None:
    model = Streaming(rule=reading)
    app = govern(getattr(graphs, name)(model, [fetch], checkpointer=InMemorySaver()), CAPPED)
    thread: Any = {"configurable": {"thread_id": "t"}}

    await modes.ALL_MODES[mode](app, GIVEN, thread)

    shown = model.calls.seen[1][1][-1]
    assert len(shown.text) < len(LONG) / 5
    recalled = model.calls.seen[2][1][-1]
    assert ("recall", "success") == (recalled.name, recalled.status)
    assert recalled.text.startswith("line 0: nothing to see here")
    kept = app.get_state(thread).values["messages"]
    assert LONG == kept[2].text
    assert "the end" == kept[-1].text


def test_the_recall_tool_is_offered_from_the_first_turn_on_and_only_beside_other_tools() -> None:
    with_tools, without = Streaming(rule=reading), Streaming(rule=lambda messages: "an answer")

    govern(graphs.tool_loop(with_tools, [fetch]), CAPPED).invoke(GIVEN)
    govern(graphs.function_node(without), CAPPED).invoke(GIVEN)

    offered = [[each["function"]["name"] for each in kwargs["tools"]] for _, _, kwargs in with_tools.calls.seen]
    assert [["fetch", "recall"]] * 3 == offered
    assert "tools" not in without.calls.seen[0][2]


def test_results_are_not_shortened_where_nobody_can_read_them_back() -> None:
    model = Streaming(rule=lambda messages: "an answer")
    history = [HumanMessage("x"), calling("fetch", {}, call_id="c0"), ToolMessage(LONG, tool_call_id="c0")]

    govern(graphs.function_node(model), CAPPED).invoke({"messages": history})

    assert LONG == model.calls.seen[0][1][-1].text


def test_middleware_brings_the_recall_tool_along() -> None:
    model = Streaming(rule=reading)
    app = create_agent(model, [fetch], middleware=[GovernorMiddleware(CAPPED)])

    result = app.invoke(GIVEN)

    assert result["messages"][-2].text.startswith("line 0: nothing to see here")
    assert "the end" == result["messages"][-1].text


# --- compaction -----------------------------------------------------------------------------------------------------------


def test_a_long_history_is_cut_in_what_the_model_sees_and_nowhere_else() -> None:
    turns = iter(range(12))

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        turn = next(turns, None)  # what it sees is cut, so it cannot count its turns there
        return "the end" if turn is None else calling("chapter", {"page": str(turn)}, call_id=f"c{turn}")

    @tool
    def chapter(page: str) -> str:
        """Fetch a page that is like no other."""
        return LONG.replace("nothing", f"nothing {page}")

    model = Streaming(rule=rule)
    rules = policy(context={"compact": {"strategy": "ledger", "keep_tail": "2k"}, "max_input_tokens": "40k"})
    app = govern(graphs.tool_loop(model, [chapter], checkpointer=InMemorySaver()), rules)
    thread: Any = {"configurable": {"thread_id": "t"}}

    result = app.invoke({"messages": [SystemMessage("be brief"), *GIVEN["messages"]]}, thread)

    assert 26 + 1 == len(result["messages"])
    last = model.calls.seen[-1][1]
    assert len(last) < 15
    assert ["be brief", "what is x?"] == [message.text for message in last[:2]]
    asked = {call["id"] for message in last for call in getattr(message, "tool_calls", ())}
    answered = {message.tool_call_id for message in last if isinstance(message, ToolMessage)}
    assert asked == answered


def test_what_is_sent_extends_what_was_sent_before() -> None:
    model = Streaming(rule=times("search", 20, lambda n: {"q": str(n)}))
    app = govern(graphs.tool_loop(model), policy(context={"order": "auto", "cache": {"ttl": "5m"}}))

    app.invoke(GIVEN)

    sent = [
        [(m.type, m.text, json.dumps(getattr(m, "tool_calls", None))) for m in messages]
        for _, messages, _ in model.calls.seen
    ]
    for before, after in itertools.pairwise(sent):
        assert before == after[: len(before)]


def test_a_call_costs_the_same_work_however_long_the_run_is() -> None:
    """Counted in conversions of messages, not in time: each message is read once in a run."""
    from governor_langgraph import model_path

    count, convert = 0, model_path.convert

    def counting(source: object) -> Any:
        nonlocal count
        count += 1
        return convert(source)

    model = Streaming(rule=times("search", 40, lambda n: {"q": str(n)}))
    app = govern(graphs.tool_loop(model), policy())
    model_path.convert = counting
    try:
        result = app.invoke(GIVEN)
    finally:
        model_path.convert = convert

    assert count == len(result["messages"]) - 1
