"""The context benchmark against the sandbox's bill, on made-up runs: `make bench-context-wire` does the same with recorded ones."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from governor_sandbox import Conversation
from governor_sandbox.prompt import Message, ToolCall, ToolResult
from tests.bench.context.corpus import Run, Sizes, run_of
from tests.bench.context.replayed import UNPARSED, Script, Studio, sound
from tests.bench.context.wire import FAMILIES, chosen, compared, summed

pytestmark = pytest.mark.filterwarnings(
    "ignore:The model 'claude-sonnet-4-5' is deprecated"
)  # its prices are the benchmark's

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Does what {name} says.",
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
        },
    }
    for name in ("look", "fetch")
]
RULES = "Answer from the files alone, and say which ones.\n" * 120
"""Above every minimum for caching."""
CLOCK = "The current time is 2026-05-15 15:00:00 EST."


def call(id_: str, arguments: str, name: str = "look") -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def asked(*calls: dict[str, Any], text: str = "") -> dict[str, Any]:
    return {"role": "assistant", "content": text, "tool_calls": list(calls)}


def told(id_: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "name": "look", "content": text}


def made(messages: list[dict[str, Any]], *, source: str = "made", id_: str = "run") -> Run:
    row = {"id": id_, "source": source, "system": RULES + CLOCK, "tools": TOOLS, "messages": messages}
    return run_of(row, Sizes(len))


def lines(page: int, count: int) -> str:
    return "\n".join(f"src/part_{page}/file_{n}.py: line {n} of page {page} says nothing new" for n in range(count))


def long_run() -> Run:
    """Results beyond the cap and many more that lead to a cut; ids are used again, and the last calls are never answered."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Which file holds the handler?"}]
    for page in range(24):
        path = json.dumps({"path": f"src/part_{page}"})
        messages += [asked(call(f"c{page % 5}", path), text=f"Page {page}."), told(f"c{page % 5}", lines(page, 60))]
    messages += [asked(call("big", '{"path": "all"}')), told("big", lines(99, 400))]
    return made([*messages, asked(call("end", "{}"))])


def odd_run() -> Run:
    """Calls side by side, arguments that are no object, an empty result, a user who speaks after results and twice in a row."""
    return made(
        [
            {"role": "user", "content": "What is in a and b?"},
            asked(call("a", '{"path":  "a"}'), call("b", '{"path": "b"', "fetch")),
            told("a", "ü 1 2 3"),
            told("b", ""),
            {"role": "user", "content": "Be quick."},
            {"role": "user", "content": "Please."},
            asked(call("a", "[1]"), text="Once more."),
            told("a", lines(1, 20)),
            {"role": "assistant", "content": "Nothing."},
        ]
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_simulator_splits_a_runs_tokens_as_the_sandbox_bills_them(family: str) -> None:
    with Studio(FAMILIES[family].client) as studio:
        found = [compared(studio, FAMILIES[family], run) for run in (long_run(), odd_run())]

    assert [0, 0] == [each.seen.faults for each in found]
    assert [len(each.run.calls) for each in found] == [len(each.seen.records) for each in found]
    assert not found[0].apart
    for _, metered, simulated in found[1].apart:
        assert sum(metered) == pytest.approx(sum(simulated), abs=1), "a client may write something for an empty result"
    assert 1 == pytest.approx(summed(found)["ratio"], abs=1e-3)
    prompts = [record.usage.input for record in found[0].seen.records]
    assert any(later < earlier for earlier, later in pairwise(prompts)), "a cut was made"


def test_a_refused_request_ends_the_replay_and_is_counted() -> None:
    orphan = made([{"role": "user", "content": "Go."}, told("x", "of no call"), asked(call("y", "{}"))])

    with Studio(FAMILIES["openai"].client) as studio:
        seen = studio.replay(orphan)

    assert (1, 0) == (seen.rejected, seen.unsent)
    assert seen.faults
    assert not sound(orphan)


def test_a_prompt_without_the_task_or_with_results_of_no_call_is_noticed() -> None:
    script = Script(odd_run())
    script.at = 1
    result = ToolResult(id="a", name="look", text="")
    task, calls = (
        Message(role="user", text="What is in a and b?\n\nAnd more."),
        (ToolCall(id="a", name="look", args={}),),
    )

    def sent(*messages: Message) -> tuple[int, int]:
        script(Conversation(provider="openai", model="m", messages=messages))
        return script.seen.lost, script.seen.orphans

    assert (0, 0) == sent(
        task, Message(role="assistant", tool_calls=calls), Message(role="tool", tool_results=(result,))
    )
    assert (1, 0) == sent(Message(role="user", text="Go on."))
    assert (1, 1) == sent(task, Message(role="assistant", text="I see."), Message(role="tool", tool_results=(result,)))


def test_an_answer_that_did_not_arrive_as_recorded_is_noticed() -> None:
    script = Script(odd_run())
    script.at = 6
    calls = [{"id": "a", "name": "look", "args": {UNPARSED: "[1]"}}]

    script.compare(AIMessage("Once more.", tool_calls=calls))
    assert not script.seen.faults
    script.compare(AIMessage("Once", tool_calls=calls))
    assert 1 == script.seen.faults


@pytest.mark.parametrize(
    "spoilt",
    [
        [asked(call("a", "{}")), {"role": "user", "content": "Well?"}],
        [asked(call("a", "{}"), call("a", "{}")), told("a", "x"), told("a", "y")],
        [{"role": "assistant", "content": "  "}, {"role": "user", "content": "Well?"}],
        [{"role": "assistant", "content": "I"}],
        [asked(call("a", "{}")), told("b", "x")],
    ],
    ids=["unanswered", "twice", "blank", "two answers", "orphan"],
)
def test_runs_whose_own_prompts_would_be_refused_are_left_out(spoilt: list[dict[str, Any]]) -> None:
    end = {"role": "assistant", "content": "Done."}

    assert sound(made([{"role": "user", "content": "Go."}, end]))
    assert not sound(made([{"role": "user", "content": "Go."}, *spoilt, end]))


def test_runs_are_chosen_evenly_from_every_source_and_length() -> None:
    def talk(turns: int, source: str) -> Run:
        each = [{"role": "user", "content": "Go."}, {"role": "assistant", "content": "Done."}]
        return made(each * turns, source=source, id_=f"{source}{turns:02}")

    runs = [talk(turns, source) for source in ("b", "a") for turns in range(1, 21)] + [talk(1, "c")]

    picked = chosen(runs, 9)

    assert ["a03", "a08", "a13", "a18", "b03", "b08", "b13", "b18", "c01"] == [run.id for run in picked]
    assert [run.id for run in picked] == [run.id for run in chosen(runs[::-1], 9)]
    assert len(runs) == len(chosen(runs, 99))
