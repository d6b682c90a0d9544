"""What holds of the loop control for every sequence of calls, not just for those somebody thought of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from governor.controls.loop.periods import MAX_PERIOD, NO_RUNS, advance, extend, strongest
from governor.runs import dump_state, parse_state
from tests.controls.strategies_loop import LONG, Run, cycles, loop, noise, volatile, words

if TYPE_CHECKING:
    from collections.abc import Sequence

HARD = {"deny", "stop"}


def letter(value: int) -> tuple[str, dict[str, object], str]:
    """One call of an alphabet, with the result it always has."""
    return f"tool{value % 3}", {"n": value}, f"{LONG} result {value}"


def shortest_period(word: Sequence[int]) -> int:
    """The shortest period of the word said for ever."""
    return next(p for p in range(1, len(word) + 1) if list(word) * 2 == (list(word[:p]) * 32)[: 2 * len(word)])


@given(prefix=st.lists(st.integers(10, 14), max_size=20), word=cycles)
def test_any_period_up_to_sixteen_is_refused_at_its_fourth_repetition(prefix: list[int], word: list[int]) -> None:
    run = Run(loop())
    for value in prefix:
        run.turn(*letter(value))
    period = shortest_period(word)

    verdicts = [run.turn(*letter(word[n % len(word)])) for n in range(4 * period)]

    assert HARD & set(verdicts)


@given(word=cycles)
def test_a_cycle_is_refused_after_two_to_five_fruitless_calls_whatever_its_period(word: list[int]) -> None:
    run = Run(loop())
    period = shortest_period(word)
    letters = list(dict.fromkeys(word))

    verdicts = [run.turn(*letter(letters[n % len(letters)])) for n in range(len(letters) + 6)]

    assert period >= 1
    assert 2 <= next(n for n, verdict in enumerate(verdicts) if verdict in HARD) - len(letters) <= 5


@given(word=cycles, lead=st.lists(st.integers(0, 4), max_size=20))
def test_the_runs_know_every_period_whatever_came_before(word: list[int], lead: list[int]) -> None:
    window: tuple[str, ...] = ()
    runs = NO_RUNS
    # Its end may repeat within itself up to once more often than it is long.
    rounds = max(5, len(word) + 2)
    for value in [*lead, *word * rounds]:
        runs, window = advance(runs, window, str(value)), extend(window, str(value))

    cycle = strongest(runs)

    assert cycle is not None
    assert shortest_period(word) == cycle.period
    assert cycle.reps >= rounds * len(word) // cycle.period - 1
    assert len(window) <= MAX_PERIOD


@given(calls=st.lists(st.tuples(st.sampled_from(["read", "search", "page_down"]), words), max_size=30))
def test_strictly_new_results_are_never_refused(calls: list[tuple[str, str]]) -> None:
    run = Run(loop())

    verdicts = {run.turn(name, {"q": text}, f"{LONG} row {n}") for n, (name, text) in enumerate(calls)}

    assert verdicts <= {"allow"}


@given(
    steps=st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["turn", "words"])), max_size=30),
    respond=st.lists(st.sampled_from(["nudge", "block", "escalate", "stop"]), min_size=1, unique=True),
)
def test_verdicts_survive_being_written_and_read_back_after_every_step(
    steps: list[tuple[int, str]], respond: list[str]
) -> None:
    runs = [Run(loop(respond=respond), stored=stored) for stored in (False, True)]

    for value, kind in steps:
        first, second = (
            run.turn(*letter(value)) if kind == "turn" else str(run.model(f"answer {value}").decision.verdict)
            for run in runs
        )
        assert first == second
    assert runs[0].state == runs[1].state


@given(word=st.lists(st.integers(0, 2), min_size=1, max_size=3), data=st.data())
def test_volatile_noise_never_changes_a_verdict(word: list[int], data: st.DataObject) -> None:
    plain, noisy = Run(loop()), Run(loop())
    fixed = data.draw(volatile)
    for n in range(4 * len(word)):
        name, args, result = letter(word[n % len(word)])
        extra, token = data.draw(noise), data.draw(volatile)

        expected = plain.turn(name, args, f"{result} (ref {fixed}) {LONG}")
        assert expected == noisy.turn(name, args | extra, f"{result} (ref {token}) {LONG}")


@given(texts=st.lists(st.tuples(st.integers(0, 3), st.text(max_size=3_000)), max_size=40))
def test_the_state_stays_small(texts: list[tuple[int, str]]) -> None:
    run = Run(loop(respond="nudge"))
    for n, (value, text) in enumerate(texts):
        for _ in range(2):
            run.turn(f"tool{value}" * 30, {"n": n % 20}, text * 5, ns="a|" * 100 + str(n))

    assert len(dump_state(run.state)) < 64_000
    assert run.state == parse_state(dump_state(run.state))
