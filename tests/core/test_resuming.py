"""A question about a run as a whole is answered once, and its answer adds to that run's limits alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from governor.resuming import answered, asked, moved
from governor.runs import Question, RunState

NOON = 1_785_000_000_000
QUESTION = Question(id="q", kind="budget", rule="b", ledger="b/run=r/life/usd", asked_ms=NOON)


def waiting(*, started_ms: int = 0) -> RunState:
    state, _ = asked(RunState(started_ms=started_ms), QUESTION)
    return state


def test_of_two_answers_to_one_question_only_the_first_counts() -> None:
    state, first = answered(waiting(), "q", {"l": 5}, NOON)
    state, second = answered(state, "q", {"l": 7}, NOON)

    assert (True, False) == (first, second)
    assert {"l": 5} == state.grants
    assert state.question is None


def test_an_answer_to_an_older_question_changes_nothing() -> None:
    state = waiting()

    assert (state, False) == answered(state, "older", {"l": 5}, NOON)


def test_a_new_question_takes_the_place_of_an_unanswered_one() -> None:
    newer = Question(id="newer", kind="policy", rule="sha256:1", asked_ms=NOON)
    state, _ = asked(waiting(), newer)

    assert newer == state.question


def test_waiting_for_a_person_is_not_the_runs_time() -> None:
    state, _ = answered(waiting(started_ms=NOON - 1_000), "q", {}, NOON + 60_000)

    assert NOON + 59_000 == state.started_ms


@given(st.lists(st.integers(1, 10**15), max_size=5))
def test_grants_add_up_exactly(amounts: list[int]) -> None:
    state = RunState()
    for amount in amounts:
        state, _ = asked(state, QUESTION)
        state, _ = answered(state, "q", {"l": amount}, NOON)

    assert sum(amounts) == state.grants.get("l", 0)


def test_a_run_that_stays_under_its_policy_is_not_written_anew() -> None:
    state = RunState(policy="sha256:1")

    assert state is moved(state, "sha256:1")
    assert "sha256:2" == moved(state, "sha256:2").policy
