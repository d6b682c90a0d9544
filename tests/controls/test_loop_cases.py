"""What single steps add to suspicion or take from it, and a case for each rule that no kind of loop depends on alone."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from governor.controls.loop.chant import Chant
from governor.controls.loop.periods import NO_RUNS, strongest
from governor.runs import RunState
from tests.controls.loop_kinds import page, sentence
from tests.controls.strategies_loop import LONG, Run, loop, message

if TYPE_CHECKING:
    from collections.abc import Mapping

ALLOW, DENY, STOP = "allow", "deny", "stop"
Step = tuple[str | None, "Mapping[str, object]", str]


def levels(*steps: Step, **loops: Any) -> list[int]:
    """Suspicion after each step, in hundredths of a repetition, while nothing is refused."""
    run, found = Run(loop(respond="nudge", **loops)), list[int]()
    for name, args, text in steps:
        run.turn(name, dict(args), text) if name else run.model(text)
        found.append(run.state.loop.suspicion.level)
    return found


def read(path: str) -> Step:
    return "read", {"path": path}, f"{path} holds this. {LONG}"


EDIT: Step = ("edit", {"new": "river"}, "Edited.")
MANY = "the tenant whose invoice went missing says that voyage tickets, camera parcels, island letters, column reports, kernel"
OTHER = "matrix sockets, thread widgets, harbor bridges, planet engines, garden tunnels, packet signals, rocket markets, valley"


# --- what a step adds


def test_a_repetition_counts_one_and_no_more_than_one_beyond_the_stop() -> None:
    assert [0, 100, 200, 300, 400, 500, 600, 700, 800, 800, 800] == levels(*[read("a")] * 11)


def test_a_second_round_of_a_cycle_counts_once_beside_its_steps() -> None:
    a, b, c = map(read, "abc")

    assert [0, 0, 100, 320, 420, 520, 620] == levels(*[a, b] * 3, a)
    assert [0, 0, 0, 100, 200, 420, 520] == levels(*[a, b, c] * 2, a)


def test_a_look_beside_a_poll_is_no_second_round() -> None:
    poll: Step = ("status", {}, '{"state": "running"}')

    assert [0, 0, 8, 108, 116, 216] == levels(*[poll, read("a")] * 3)


def test_a_cycle_of_a_few_calls_is_nudged_before_it_is_refused_as_its_third_round_begins() -> None:
    for period in (2, 3, 4):
        run, steps = Run(loop()), [read(name) for name in "abcd"[:period]]
        said = [run.turn(name or "", dict(args), text) for name, args, text in [*steps * 2, steps[0]]]

        assert [False] * (2 * period) + [True] == [each == DENY for each in said]
        assert [2 * period - (period == 4)] == [at for _, at in run.state.loop.nudged]


def test_news_takes_one_and_a_half_back() -> None:
    assert [0, 100, 200, 300, 150] == levels(*[read("a")] * 4, ("read", {"path": "b"}, page(Random(1))))


def test_little_news_takes_nothing_back() -> None:
    lines = page(Random(1), 15).split("\n")

    assert [0, 100, 200, 200] == levels(
        *[("read", {"path": "a"}, "\n".join(lines))] * 3,
        ("read", {"path": "a", "all": True}, "\n".join([*lines, sentence(Random(2))])),
    )


def test_looking_again_after_an_effect_is_verification() -> None:
    steps = [read("a"), read("b"), read("c"), EDIT]

    assert [0, 0, 0, 0, 30, 60, 90, 190] == levels(*steps, *steps[:3], read("a"))


def test_what_is_done_over_after_something_else_counts_a_little() -> None:
    on, off = (("set", {"value": value}, f"It is {value}") for value in ("on", "off"))

    assert [0, 0, 60, 160] == levels(on, off, on, off)  # the second time round nothing new was done in between


def test_a_failure_is_worth_a_third_and_the_same_transient_one_less_than_a_repetition() -> None:
    down: Step = ("get", {"url": "a"}, "Error: 503 Service Unavailable")

    assert [35, 115, 195] == levels(down, down, down)


def test_a_failure_in_other_words_counts_more_than_a_repetition() -> None:
    def asked(q: str) -> Step:
        return "find", {"q": q}, f"Error: bad query {sentence(Random(q))}"

    assert [35, 145, 255] == levels(*(asked(f"river ledger garden {q}") for q in ("harbor", "window", "planet")))


def test_the_same_failure_of_a_large_attempt_counts_half() -> None:
    failed = "Error: it does not compile"

    assert [35, 125, 175] == levels(
        *(("run", {"code": code}, failed) for code in ("river ledger", "garden harbor", MANY + OTHER))
    )


def test_known_lines_for_another_call_count_nearly_one() -> None:
    lines = page(Random(1), 6).split("\n")

    assert [0, 90] == levels(
        ("search", {"q": "river"}, "\n".join(lines)), ("search", {"q": "letters"}, "\n".join(lines[1:]))
    )


def test_lines_are_known_over_hundreds_of_others() -> None:
    lines = page(Random(1), 6).split("\n")
    others = [("read", {"path": f"f{n}"}, page(Random(n + 2))) for n in range(30)]

    assert (
        90
        == levels(("search", {"q": "a"}, "\n".join(lines)), *others, ("search", {"q": "b"}, "\n".join(lines[1:])))[-1]
    )


def test_answers_that_say_the_same_count_one_each_other_answers_take_a_little_back() -> None:
    said = [
        "The river report moves to the garden ledger.",
        "Moving the report about the river to the garden's ledger.",
        "The river report moves past every planet market.",
        "Kernel threads hold matrix sockets and widget parcels.",
    ]

    assert [0, 100, 200, 170] == levels(*((None, {}, text) for text in said))


def test_what_the_policy_says_of_a_tool_weighs_its_repetition() -> None:
    weighed = {as_: levels(*[read("a")] * 3, tools=[{"tool": "read", "as": as_}]) for as_ in ("batch", "strict")}

    assert {"batch": [0, 50, 100], "strict": [0, 150, 300]} == weighed


# --- what does not count


def test_siblings_may_say_the_same_in_other_words() -> None:
    run = Run(loop(respond="nudge"), state=RunState(open_steps=tuple(f"reviewer:{n}" for n in range(6))))
    prompt = list(run.history)
    for n, how in enumerate(("now", "quickly", "again", "today", "fully", "soon")):
        run.history = list(prompt)
        run.model(f"The change of the river report is fine, approved {how}.", ns=f"reviewer:{n}")

    assert 0 == run.state.loop.suspicion.level


def test_an_answer_to_another_question_is_news_though_its_words_are_not() -> None:
    run = Run(loop(respond="nudge"))
    for n, noun in enumerate(("river", "ledger", "garden", "harbor", "window")):
        run.history = [message("assistant", "Next.", key=f"k{n}"), message("tool", f"A review of the {noun}")]
        run.model("The customer is satisfied with the product overall.", depth=1)

    assert 0 == run.state.loop.suspicion.level


# --- what is counted, and for how long


def test_polls_whose_refusals_are_ignored_end_the_run_though_waiting_alone_never_would() -> None:
    run = Run(loop())
    verdicts = [run.turn("status", {"id": 7}, '{"status": "running"}') for _ in range(40)]

    assert [DENY, DENY, DENY, DENY, STOP] == verdicts[31:36]


def test_failures_that_quote_their_arguments_are_one_failure() -> None:
    run = Run(loop())
    names = ("river", "ledger", "garden", "harbor", "window", "planet", "market")

    assert DENY in [run.turn("open", {"path": f"{name}.py"}, f"Error: no such file: {name}.py") for name in names]


def test_an_id_in_the_arguments_makes_no_other_call_of_the_same_long_result() -> None:
    run = Run(loop())
    report = "the quarterly report of the river and the ledger"
    ids = (f"{n:08x}-aaaa-4aaa-8aaa-aaaaaaaaaaaa" for n in range(4))

    assert [ALLOW, ALLOW, ALLOW, DENY] == [run.turn("read", {"of": report, "session": each}, LONG) for each in ids]


def test_a_fresh_nonce_makes_no_other_call() -> None:
    run = Run(loop())

    assert [ALLOW, ALLOW, ALLOW, DENY] == [
        run.turn("delete", {"id": 7, "request_id": str(n), "attempt": n}, "Deleted.") for n in range(4)
    ]


def test_a_cycle_of_sixteen_is_named() -> None:
    run = Run(loop(respond="nudge"))
    for n in range(33):
        run.turn(f"tool{n % 16}", {}, f"tool {n % 16} says: {LONG}")

    cycle = strongest(run.state.loop.runs)
    assert cycle is not None
    assert (16, 2) == (cycle.period, cycle.reps)


def test_a_part_of_a_repetition_is_no_cycle() -> None:
    assert strongest((0, 1, *NO_RUNS[2:])) is None


# --- handoffs


def tasks(*given: str) -> str:
    """The last thing that is said when a supervisor hands out these tasks, each of which brings up something new."""
    run, said = Run(loop()), ""
    for n, task in enumerate(given):
        said = run.turn("transfer_to_writer", {"task": task}, "Transferred.")
        run.turn("read", {"path": f"f{n}"}, page(Random(n)))
    return said


def test_the_same_task_again_is_refused_though_something_new_comes_up() -> None:
    assert DENY == tasks(*["Write the chapter about the river and the ledger"] * 6)


def test_a_reworded_task_is_refused_though_something_new_comes_up() -> None:
    words = ("carefully", "again", "thoroughly", "quickly", "properly", "fully", "nicely", "briefly", "kindly")

    assert DENY == tasks(
        *(f"Write the chapter about the river and the ledger {' '.join(words[: n + 1])}" for n in range(9))
    )


def test_tasks_of_their_own_are_work() -> None:
    assert ALLOW == tasks(*(f"Write chapter {n}: {sentence(Random(n))}" for n in range(12)))


# --- chants


def test_a_chant_is_heard_within_some_three_thousand_characters() -> None:
    chant = Chant()
    heard = next((n for n in range(1, 100) if chant.add("I will look at the report again in a moment. ")), 0)

    assert 3_000 <= 45 * heard <= 3_600


def test_prose_and_code_are_no_chants() -> None:
    code = "```\n" + "    total += values[index]\n" * 400 + "```\n"

    assert not Chant().add_whole(page(Random(1), 400))
    assert not Chant().add_whole(code)


def branch(n: int, superstep: int) -> dict[str, tuple[str, int, int]]:
    """The root graph's superstep with so many branches."""
    return {"": (f"checkpoint {superstep}", superstep, n)}


def test_branches_of_one_superstep_are_beside_each_other_though_each_has_ended() -> None:
    run = Run(loop())
    said: list[str] = []
    for n in range(8):
        run.state = replace(run.state, open_steps=(f"worker:{n}",), fans=branch(n + 1, 3))
        said.append(str(run.tool("read", {"path": "a.py"}, LONG, ns=f"worker:{n}|tools:{n}").decision.verdict))

    assert {ALLOW} == set(said)


def test_the_same_branch_in_the_next_superstep_is_not() -> None:
    run = Run(loop())
    said: list[str] = []
    for n in range(5):
        run.state = replace(run.state, open_steps=(f"worker:{n}",), fans=branch(1, n))
        said.append(str(run.tool("read", {"path": "a.py"}, LONG, ns=f"worker:{n}|tools:{n}").decision.verdict))

    assert [ALLOW, ALLOW, ALLOW, DENY, DENY] == said
