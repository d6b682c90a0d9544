"""The degrade ladder in real graphs: a run whose budget runs out gets cheaper step by step, and ends with an answer."""

from __future__ import annotations

import random
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from governor.tokens import MESSAGE_FRAMING, REQUEST_FRAMING, TOOLS_PREAMBLE, estimate
from governor_langgraph import govern, watch
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Calls, Rule, Streaming, Whole, calling, policy, times
from tests.langgraph.test_open_calls import open_calls

GIVEN: Any = {"messages": [("user", "what is x?")]}
THREAD: Any = {"configurable": {"thread_id": "t"}}
TIERS: dict[str, Any] = {
    name: {"model": f"fake:{name}", "price": {"input": price, "output": 5 * price}, "max_output_tokens": 400}
    for name, price in (("big", 3), ("small", 1))
}
RUNGS: list[dict[str, Any]] = [
    {"at": "60%", "do": "compact"},
    {"at": "75%", "do": "lower_tier"},
    {"at": "85%", "do": {"max_output_tokens": 100}},
    {"at": "92%", "do": "last_call"},
]
LAST: list[dict[str, Any]] = RUNGS[-1:]


def rules(ladder: list[dict[str, Any]], limit: dict[str, Any], **parts: Any) -> dict[str, Any]:
    budgets = [{"id": "b", "scope": "run", "limit": limit}]
    return policy(ladder=ladder, budgets=budgets, **parts)


def told(messages: list[BaseMessage]) -> bool:
    """Whether the last thing that the model reads is governor's word that this is its last answer."""
    return isinstance(messages[-1], HumanMessage) and "last answer" in messages[-1].text


def obedient(rule: Rule) -> Rule:
    """A model that works by `rule` until it is told to end."""
    return lambda messages: "what I have" if told(messages) else rule(messages)


def working() -> Rule:
    """A model that would go on for ever."""
    return obedient(times("search", 999, lambda n: {"q": str(n)}))


def is_answer(message: Any) -> bool:
    return isinstance(message, AIMessage) and not message.tool_calls and bool(message.text)


@pytest.mark.parametrize("mode", ["invoke", "stream", "ainvoke", "astream"])
async def test_an_exhausted_run_ends_with_an_answer_and_uses_its_budget_to_the_last_call(mode: str) -> None:
    model = Streaming(rule=working(), max_tokens=10)
    app = govern(graphs.agent(model, checkpointer=InMemorySaver()), rules(LAST, {"model_calls": 6}))

    with watch() as runs:
        await modes.ALL_MODES[mode](app, GIVEN, THREAD)

    kept = app.get_state(THREAD).values["messages"]
    assert "what I have" == kept[-1].text
    assert 6 == len(model.calls)
    assert [False] * 5 + [True] == [told(messages) for _, messages, _ in model.calls.seen]
    assert runs[0].stopped is None


def test_the_wrap_up_note_is_at_the_tail_and_moves_nothing_before_it() -> None:
    model = Streaming(rule=working(), max_tokens=10)
    app = govern(graphs.agent(model), rules(LAST, {"model_calls": 4}))

    result = app.invoke(GIVEN)

    *_, (_, before, tools_before), (_, last, tools_last) = model.calls.seen
    assert [m.content for m in before] == [m.content for m in last[: len(before)]]
    assert tools_before["tools"] == tools_last["tools"]
    assert not any("last answer" in message.text for message in result["messages"])


def test_a_model_that_asks_for_tools_in_its_last_call_gets_answers_and_one_more_try() -> None:
    def stubborn(messages: list[BaseMessage]) -> AIMessage | str:
        done = sum(isinstance(message, ToolMessage) for message in messages)
        return calling("search", {"q": str(done)}, call_id=f"c{done}")

    model = Streaming(rule=stubborn, max_tokens=10)
    app = govern(graphs.agent(model, checkpointer=InMemorySaver()), rules(LAST, {"tokens": "60k"}))

    with watch() as runs:
        app.invoke(GIVEN, THREAD)

    kept = app.get_state(THREAD).values["messages"]
    answers = [message for message in kept if isinstance(message, ToolMessage)]
    assert set() == open_calls(kept)
    assert ["success", "error", "error"] == [message.status for message in answers[-3:]]
    assert 2 == sum(told(messages) for _, messages, _ in model.calls.seen)
    assert runs[0].stopped is not None
    assert "budget.exhausted" == runs[0].stopped.code


def test_without_a_ladder_the_same_run_ends_as_it_always_did() -> None:
    model = Streaming(rule=working(), max_tokens=10)
    bare = {key: value for key, value in rules(LAST, {"model_calls": 4}).items() if key != "ladder"}

    with watch() as runs:
        govern(graphs.agent(model), bare).invoke(GIVEN)

    assert 4 == len(model.calls)
    assert runs[0].stopped is not None
    assert not any(told(messages) for _, messages, _ in model.calls.seen)


def test_the_tier_goes_down_and_answers_get_shorter_as_the_money_goes() -> None:
    calls = Calls()
    clients = {name: Whole(rule=working(), model_name=name, calls=calls) for name in TIERS}
    app = govern(
        graphs.agent(Whole(rule=working(), calls=calls)),
        rules(RUNGS, {"model_calls": 20}, tiers=TIERS, routing={"default": "big"}),
        clients=clients,
    )

    result = app.invoke(GIVEN)

    assert "what I have" == result["messages"][-1].text
    assert ["big"] * 15 + ["small"] * 5 == calls.models
    assert [400] * 17 + [100] * 3 == [kwargs["max_tokens"] for _, _, kwargs in calls.seen]


def test_a_locked_tier_is_not_lowered() -> None:
    calls = Calls()
    clients = {name: Whole(rule=working(), model_name=name, calls=calls) for name in TIERS}
    locked = {"default": "small", "rules": [{"id": "keep", "when": {"node": "*"}, "tier": "big", "lock": True}]}
    app = govern(
        graphs.agent(Whole(rule=working(), calls=calls)),
        rules(RUNGS, {"model_calls": 10}, tiers=TIERS, routing=locked),
        clients=clients,
    )

    app.invoke(GIVEN)

    assert {"big"} == set(calls.models)


def test_a_tool_that_does_not_fit_any_more_leaves_the_run_its_answer() -> None:
    model = Streaming(rule=working(), max_tokens=10)
    app = govern(graphs.agent(model, checkpointer=InMemorySaver()), rules(LAST, {"tool_calls": 3}))

    with watch() as runs:
        result = app.invoke(GIVEN, THREAD)

    assert "what I have" == result["messages"][-1].text
    assert set() == open_calls(result["messages"])
    assert 5 == len(model.calls)
    assert runs[0].stopped is None


@pytest.mark.parametrize("calls", [5, 20], ids=["it did not fit", "its share was reached"])
def test_what_a_person_grants_after_the_last_answer_lets_the_run_work_again(calls: int) -> None:
    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        return calling("search", {"q": str(len(messages))}, call_id=f"c{len(messages)}")

    model = Streaming(rule=rule, max_tokens=10)
    ask = rules(LAST, {"model_calls": calls}, on_exhausted="ask")
    app = govern(graphs.agent(model, checkpointer=InMemorySaver()), ask)

    paused = app.invoke(GIVEN, THREAD)
    before = len(model.calls)
    app.invoke(Command(resume={"more": {"model_calls": 40}}), THREAD)

    assert paused.get("__interrupt__")
    assert not told(model.calls.seen[before][1])


def test_the_rung_outlives_a_pause() -> None:
    calls = Calls()
    clients = {name: Whole(rule=working(), model_name=name, calls=calls) for name in TIERS}
    app = govern(
        graphs.agent(Whole(rule=working(), calls=calls), checkpointer=InMemorySaver(), interrupt_before=["tools"]),
        rules(RUNGS[:2], {"model_calls": 8}, tiers=TIERS, routing={"default": "big"}),
        clients=clients,
    )

    app.invoke(GIVEN, THREAD)
    for _ in range(7):
        app.invoke(None, THREAD)

    assert ["big"] * 6 + ["small"] * 2 == calls.models


async def test_parallel_branches_never_pass_the_budget_and_the_last_calls_are_told_so() -> None:
    model = Streaming(rule=lambda messages: "what I have" if told(messages) else "a note", max_tokens=10)
    app = govern(graphs.fan_out(model), rules(LAST, {"model_calls": 5}))

    with watch() as runs:
        await app.ainvoke({"topics": [str(n) for n in range(20)], "notes": []})

    (balance,) = runs[0].budgets
    assert balance.spent <= 5
    assert len(model.calls) == balance.spent
    assert 0 == balance.reserved


class Counted(Whole):
    """Reports the prompt that governor's own estimator expects: the budget is used up as fast as it can be."""

    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        message = super()._answer(messages, kwargs)
        given = REQUEST_FRAMING + TOOLS_PREAMBLE + sum(MESSAGE_FRAMING + estimate(each.text) for each in messages)
        said = estimate(message.text)
        message.usage_metadata = {"input_tokens": given, "output_tokens": said, "total_tokens": given + said}
        return message


@pytest.mark.parametrize("unit", ["usd", "tokens", "model_calls"])
def test_99_of_100_exhausted_runs_end_with_an_answer(unit: str) -> None:
    dice = random.Random(f"ladder {unit}")
    answered = exhausted = 0
    for _ in range(100):
        app, model, limit = _drawn(dice, unit)
        result = app.invoke(GIVEN)
        if any(told(messages) for _, messages, _ in model.calls.seen) or not is_answer(result["messages"][-1]):
            exhausted += 1
            answered += is_answer(result["messages"][-1])
        assert model.calls.seen, limit

    assert exhausted >= 90
    assert answered >= exhausted * 99 / 100


def _drawn(dice: random.Random, unit: str) -> tuple[Any, Whole, Any]:
    """An agent that works for ever with results and answers of any length, under a budget for 2 to 12 of its first calls at their worst."""
    many = dice.randint(2, 6 if unit == "usd" else 12)  # their worst in money is that of more than twice as many
    lengths = [dice.randint(1, 150) for _ in range(400)]

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        if told(messages):
            return "what I have"
        done = sum(isinstance(message, ToolMessage) for message in messages)
        text = " ".join(["word"] * lengths[done])
        return calling("search", {"q": f"{done}"}, call_id=f"c{done}", text=text)

    calls = Calls()
    clients = {name: Counted(rule=rule, model_name=name, calls=calls) for name in TIERS}
    per_call = {"usd": f"{many * 0.009:.4f}", "tokens": many * 1_300, "model_calls": many}[unit]
    own = Counted(rule=rule, calls=calls)
    ruled = rules(RUNGS, {unit: per_call}, tiers=TIERS, routing={"default": "big"})
    return govern(graphs.agent(own), ruled, clients=clients), own, per_call
