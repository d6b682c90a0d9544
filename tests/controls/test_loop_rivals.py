"""The rules of others act in the benchmark where their descriptions say that they act."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.bench.loops.agents import agents
from tests.bench.loops.anchors import HARD, NUDGE, Detector, chanting
from tests.bench.loops.corpus import Run, Step
from tests.bench.loops.rivals import ANCHORS


def step(number: int, name: str = "read", args: dict[str, Any] | None = None, **given: Any) -> Step:
    made: dict[str, Any] = {"agent": "a", "kind": "tool", "text": "", "result": "the same page", "err": False}
    return Step(i=number, name=name, args={"path": "a.py"} if args is None else args, **{**made, **given})


def first(detector: Detector, steps: list[Step]) -> tuple[int | None, int | None]:
    """Number of the step, from 1, at which it first did anything, and at which it first acted hard."""
    levels = [detector.see(each) for each in steps]
    at = {level: next((n for n, found in enumerate(levels, 1) if found >= level), None) for level in (NUDGE, HARD)}
    return at[NUDGE], at[HARD]


SAME = [step(number) for number in range(60)]
TURNS = [step(number, ("read", "edit")[number % 2]) for number in range(60)]
FAILING = [step(number, err=True, result=f"error {number}") for number in range(60)]


@pytest.mark.parametrize(
    ("name", "same", "in_turn"),
    [
        ("gemini-cli", (5, 5), (10, 10)),
        ("qwen-code", (5, 5), (None, None)),
        ("qwen-code, opt-in", (5, 5), (6, 6)),
        ("OpenHands SDK", (4, 4), (6, 6)),
        ("Roo-Code", (4, 4), (None, None)),
        ("cline", (3, 5), (None, None)),
        ("opencode, as meant", (3, 3), (None, None)),
        ("opencode, goose", (None, None), (None, None)),
        ("goose, wired, 5", (6, 6), (None, None)),
        ("CrewAI, 2nd call", (2, 2), (None, None)),
        ("deer-flow", (3, 5), (5, 9)),
        ("openclaw, on", (10, 21), (10, 20)),
        ("browser-use", (5, None), (5, None)),
        ("LangGraph, limit 25", (13, 13), (13, 13)),
        ("LangGraph, limit 10,007", (None, None), (None, None)),
        ("OpenAI Agents, 10", (11, 11), (11, 11)),
        ("smolagents, 20", (21, 21), (21, 21)),
    ],
)
def test_each_rule_acts_at_its_thresholds(
    name: str, same: tuple[int | None, int | None], in_turn: tuple[int | None, int | None]
) -> None:
    assert same == first(ANCHORS[name](), SAME)
    assert in_turn == first(ANCHORS[name](), TURNS)


def test_a_failure_repeated_is_told_at_three_and_ends_at_four_for_openhands() -> None:
    assert (3, 4) == first(ANCHORS["OpenHands SDK"](), FAILING)


def test_a_reworded_thought_hides_the_loop_from_openhands_alone() -> None:
    reworded = [replace(each, text=f"attempt {each.i}") for each in SAME]

    assert (None, None) == first(ANCHORS["OpenHands SDK"](), reworded)
    assert (4, 4) == first(ANCHORS["OpenHands, no thought"](), reworded)


def test_three_messages_in_a_row_end_a_run_of_openhands_whatever_they_say() -> None:
    messages = [step(number, kind="model", text=f"part {number} is done", result=None) for number in range(5)]

    assert (3, 3) == first(ANCHORS["OpenHands SDK"](), messages)


def test_a_handoff_between_two_calls_breaks_what_must_be_consecutive() -> None:
    mixed = [each for n in range(20) for each in (step(2 * n), step(2 * n + 1, "B", {"task": f"t{n}"}, kind="handoff"))]

    assert (None, None) == first(ANCHORS["Roo-Code"](), mixed)


def test_gemini_hears_a_chant_in_prose_and_none_in_code_lists_or_tables() -> None:
    sentence = "I will now look at the file again and see whether it is there. "

    assert chanting(sentence * 12)
    assert not chanting(sentence * 8)
    assert not chanting(f"```\n{sentence * 40}\n```")
    assert not chanting("".join(f"- {sentence}\n" for _ in range(40)))
    assert not chanting("".join(f"{sentence}\n# Part {n}\n" for n in range(40)))
    assert not chanting(" ".join(str(number * number) for number in range(2_000)))


def test_an_agent_that_obeys_ends_by_itself_and_one_that_ignores_is_stopped() -> None:
    run = Run(group="constructed", source="s", cls="c", loop=True, onset=1, steps=tuple(SAME[:40]))

    found = agents([run])

    assert (1, 1, 0) == (found["obeys"]["told"], found["obeys"]["itself"], found["obeys"]["stopped"])
    assert (1, 0, 1) == (found["ignores"]["told"], found["ignores"]["itself"], found["ignores"]["stopped"])
    spent = [found[name]["billed tokens from onset"] for name in ("obeys", "ignores", "unwatched")]
    assert spent == sorted(spent)
    assert spent[1] < spent[2]
