"""What is done about a loop in real graphs, response by response: to what the model reads, to what runs, to what is kept."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from governor_langgraph import govern, report_of, watch
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Calls, Streaming, Whole
from tests.langgraph.looping import GIVEN, NOTE, PAGE, answered, ending, notes, rules, stubborn, unanswered
from tests.langgraph.test_enforcement import Bodies

THREAD: Any = {"configurable": {"thread_id": "t"}}
FOUR = ["invoke", "stream", "ainvoke", "astream"]
ROOT = Path(__file__).parents[2]


def looping(model: Any, bodies: Bodies, saver: Any = None, store: str | None = None, **loops: Any) -> Any:
    options: dict[str, Any] = {"store": store} if store else {}
    return govern(graphs.agent(model, [bodies.tool], checkpointer=saver), rules(**loops), **options)


def sent(model: Whole) -> list[list[Any]]:
    """What each request held, ids of messages apart."""
    return [
        [(each.type, each.text, getattr(each, "tool_calls", None)) for each in messages]
        for _, messages, _ in model.calls.seen
    ]


# --- nudge


@pytest.mark.parametrize("mode", FOUR)
async def test_a_nudge_stands_at_the_tail_of_one_request_and_what_stands_before_it_is_unchanged(mode: str) -> None:
    model = Streaming(rule=stubborn())
    app = looping(model, Bodies(), respond=["nudge", "stop"])

    await modes.ALL_MODES[mode](app, GIVEN, {})

    requests = [messages for _, messages, _ in model.calls.seen]
    assert 3 == next(at for at, messages in enumerate(requests) if notes(messages))
    assert {(len(messages) - 1,) for messages in requests if notes(messages)} == {
        tuple(notes(messages)) for messages in requests if notes(messages)
    }
    for before, after in itertools.pairwise(sent(model)):
        kept = before[:-1] if NOTE in before[-1][1] else before
        assert kept == after[: len(kept)]


def test_a_nudge_edits_no_message_of_the_model_and_is_kept_nowhere() -> None:
    model = Streaming(rule=ending(stubborn()))
    app = looping(model, Bodies(), saver := InMemorySaver())

    app.invoke(GIVEN, THREAD)

    del saver
    kept = app.get_state(THREAD).values["messages"]
    said = [message for message in kept if isinstance(message, AIMessage)]
    assert [*(f"Thought {n}." for n in range(3)), "what I have"] == [message.text for message in said]
    assert [] == notes(kept)
    assert "search, period 1, x3" in model.calls.seen[-1][1][-1].text


# --- block, stop


@pytest.mark.parametrize("mode", FOUR)
async def test_a_blocked_call_has_an_answer_under_its_own_id_and_never_ran(mode: str) -> None:
    bodies, model = Bodies(), Streaming(rule=ending(stubborn(), "search was not run"))
    app = looping(model, bodies, InMemorySaver(), respond=["block", "stop"])

    await modes.ALL_MODES[mode](app, GIVEN, THREAD)

    kept = app.get_state(THREAD).values["messages"]
    blocked = answered(kept)[-1]
    assert 3 == len(bodies.ran)
    assert ("c3", "error") == (blocked.tool_call_id, blocked.status)
    assert "found the same" in blocked.text
    assert set() == unanswered(kept)
    assert "what I have" == kept[-1].text


@pytest.mark.parametrize("mode", FOUR)
async def test_a_stopped_run_keeps_what_it_has_and_every_call_is_answered(mode: str) -> None:
    bodies, model = Bodies(), Streaming(rule=stubborn())
    app = looping(model, bodies, InMemorySaver())

    await modes.ALL_MODES[mode](app, GIVEN, THREAD)

    kept = app.get_state(THREAD).values["messages"]
    report: Any = report_of(app, THREAD)
    assert "loop.stop" == report.stopped.code
    assert "search, period 1" in report.stopped.text
    assert 3 == len(bodies.ran)
    assert ["found the same"] * 3 == [message.text for message in answered(kept)[:3]]
    assert set() == unanswered(kept)
    for _, messages, _ in model.calls.seen:
        assert set() == unanswered(messages)


def test_observe_changes_nothing_and_tells_of_everything() -> None:
    def rule(messages: list[Any]) -> Any:
        return "the end" if len(answered(messages)) == 12 else again(messages)

    again, bodies = stubborn(), Bodies()
    model = Streaming(rule=rule)

    with watch() as runs:
        looping(model, bodies, respond="observe").invoke(GIVEN)

    assert 12 == len(bodies.ran)
    assert [] == [at for _, messages, _ in model.calls.seen for at in notes(messages)]
    assert runs[0].stopped is None


# --- kill


def cli(store: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from governor.cli import main; main()", *arguments],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "integrations")]),
            "GOVERNOR_STORE": f"sqlite:///{store}",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


def test_a_killed_thread_is_refused_by_every_process_until_an_operator_lets_it_go_on(tmp_path: Path) -> None:
    store, saver = tmp_path / "governor.db", InMemorySaver()
    looping(Whole(rule=stubborn()), Bodies(), saver, str(store), respond=["block", "kill"]).invoke(GIVEN, THREAD)
    shown = cli(store, "halts")
    other = Whole(rule=lambda messages: "at last")
    again = looping(other, Bodies(), saver, str(store), respond=["block", "kill"])

    again.invoke({"messages": [("user", "go on")]}, THREAD)
    refused, report = len(other.calls), report_of(again, THREAD)
    cli(store, "resume", "thread=t", "--why", "looked at")
    result = again.invoke({"messages": [("user", "go on, please")]}, THREAD)

    assert "thread=t" in shown
    assert (0, "halted") == (refused, report.stopped.code if report and report.stopped else None)
    assert "at last" == result["messages"][-1].text


def test_a_stopped_thread_is_not_killed(tmp_path: Path) -> None:
    store = tmp_path / "governor.db"
    looping(Whole(rule=stubborn()), Bodies(), InMemorySaver(), str(store)).invoke(GIVEN, THREAD)

    assert "thread=t" not in cli(store, "halts")


# --- compact, escalate


def test_compact_makes_the_next_request_shorter_and_leaves_the_state_whole() -> None:
    @tool
    def fetch(q: str) -> str:
        """Fetch."""
        return PAGE * 40

    model = Streaming(rule=stubborn("fetch"))
    own = rules(respond=["compact", "stop"]) | {
        "context": {"compact": {"strategy": "ledger", "keep_tail": "1k", "ledger": "1k"}}
    }
    app = govern(graphs.tool_loop(model, [fetch], checkpointer=InMemorySaver()), own)

    app.invoke(GIVEN, THREAD)

    sizes = [sum(len(message.text) for message in messages) for _, messages, _ in model.calls.seen]
    shorter = [at for at, (before, after) in enumerate(itertools.pairwise(sizes), 1) if after < before]
    assert shorter
    assert sizes[shorter[0]] < sizes[shorter[0] - 1] * 0.6
    for _, messages, _ in model.calls.seen:
        assert set() == unanswered(messages)
    kept = [message for message in app.get_state(THREAD).values["messages"] if isinstance(message, ToolMessage)]
    assert PAGE * 40 == kept[0].text


def test_a_loop_is_given_to_a_stronger_tier_for_a_turn() -> None:
    calls, rule = Calls(), stubborn()
    tiers: dict[str, Any] = {
        name: {"model": f"fake:{name}", "price": {"input": 1, "output": 2}, "max_output_tokens": 400}
        for name in ("big", "small")
    }
    clients = {name: Whole(rule=rule, model_name=name, calls=calls) for name in tiers}
    routing = {"default": "small", "escalate": {"after": ["loop"], "for": "1 step", "at_most": "1 per run"}}
    own = rules(respond=["nudge", "escalate", "stop"]) | {"tiers": tiers, "routing": routing}
    app = govern(graphs.agent(Whole(rule=rule, calls=calls), [Bodies().tool]), own, clients=clients)

    app.invoke(GIVEN)

    at = calls.models.index("big")
    assert ["small"] * at == calls.models[:at]
    assert {"small"} == {*calls.models[at + 1 :]}
    assert 4 == at
