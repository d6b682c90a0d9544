"""A store that does not answer: before a call the policy decides, after it the answer and its charge are kept."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN

from governor.calls import ToolResult
from governor.drive import drive
from governor.effects import Extend, Keep
from governor.errors import LeaseConflict, RunStopped
from governor.losing import WAITING, Losses, lost
from governor.pipeline import step_entry, step_exit
from governor.stores.memory import MemoryStore
from governor.stores.slices import SlicedStore
from governor.values import replace
from tests.core.lossy import GONE, Lossy, Path
from tests.core.test_pipeline import BAD, GOOD, RUN, STEP
from tests.core.test_telemetry import Recorded, recorded

__all__ = ["recorded"]

FOUND = ToolResult(text="found")
TWINS = pytest.mark.parametrize("alone", [False, True], ids=["sync", "async"])


def after(operations: int) -> Any:
    return lambda number: number >= operations


def only(*operations: int) -> Any:
    return lambda number: number in operations


@TWINS
@pytest.mark.parametrize("at", [0, 1])
def test_a_call_that_cannot_be_admitted_is_not_sent_and_its_run_stops_with_a_reason(at: int, *, alone: bool) -> None:
    path = Path(Lossy(after(at)), alone=alone)

    with pytest.raises(RunStopped) as caught:
        path.model()

    reason = caught.value.reason
    assert [] == path.sent
    assert ("store.lost", "on_store_loss", "refuse", GONE) == (reason.code, reason.rule, reason.limit, reason.seen)
    assert "Bring the store back" in str(reason.remedy)
    assert ["store.lost"] == [code for code, _, _ in path.trace.decided]


@TWINS
def test_without_budgets_too_a_halt_that_cannot_be_seen_stops_the_run(*, alone: bool) -> None:
    path = Path(Lossy(after(1)), alone=alone, budgets=[])

    with pytest.raises(RunStopped):
        path.model()

    assert [] == path.sent


@TWINS
@pytest.mark.parametrize("at", [2, 3])
def test_a_paid_answer_is_returned_and_its_charge_follows_when_the_store_is_back(at: int, *, alone: bool) -> None:
    path = Path(Lossy(after(at)), alone=alone)

    answer = path.model()
    held = path.spent()
    path.store.lost = after(10**9)
    path.model()

    assert GOOD == answer
    assert (held[0] == 0 and held[1] > 110) if at == 2 else (110, 0) == held
    assert (220, 0) == path.spent()
    assert 0 == path.trace.waiting


@TWINS
def test_a_tools_result_is_returned_and_its_charge_follows(*, alone: bool) -> None:
    path = Path(Lossy(after(2)), alone=alone)

    result = path.tool(FOUND)
    waiting = path.trace.waiting
    path.store.lost = after(10**9)
    path.tool(FOUND, {"q": "other"})

    assert FOUND == result
    assert (1, 0) == (waiting, path.trace.waiting)
    assert (2, 0) == path.spent("tool_calls")


@TWINS
def test_the_error_of_a_failed_call_is_not_hidden_by_that_of_the_store(*, alone: bool) -> None:
    path = Path(Lossy(after(2)), alone=alone)

    with pytest.raises(TimeoutError):
        path.model(TimeoutError("slow"))

    assert 1 == path.trace.waiting


@TWINS
def test_a_charge_that_cannot_be_told_at_once_is_told_at_the_next_operation(*, alone: bool) -> None:
    path = Path(Lossy(only(2, 4)), alone=alone)  # the settlement, and its second telling

    path.model()
    waiting = path.trace.waiting
    path.model()

    assert (1, 0) == (waiting, path.trace.waiting)
    assert (220, 0) == path.spent()


def test_of_what_is_owed_only_so_much_is_kept_and_the_rest_is_forfeit_in_the_store() -> None:
    path = Path(Lossy(after(2)))
    losses = path.runtime.losses
    path.model()
    (owed,) = losses.unsettled

    for _ in range(WAITING + 5):
        losses.owe(owed)

    assert WAITING == len(losses.unsettled)
    assert WAITING == path.trace.waiting


def test_a_better_answer_that_cannot_be_reserved_does_not_undo_the_one_that_was_paid() -> None:
    policy: dict[str, Any] = {"routing": {"default": "small", "escalate": {"after": ["empty"]}}}
    whole = Path(Lossy(), **policy)
    whole.model(BAD)

    for at in range(2, 7):
        path = Path(Lossy(after(at)), **policy)
        assert BAD == path.model(BAD), at
    assert 2 == len(whole.sent)


@TWINS
def test_a_call_goes_on_unmetered_with_an_alarm_where_the_policy_says_open(*, alone: bool) -> None:
    path = Path(Lossy(after(0)), alone=alone, on_store_loss="open")

    answers = [path.model(), path.model()]

    assert [GOOD, GOOD] == answers
    assert [("store.open", STEP.path, True)] * 2 == path.trace.decided
    assert 2 == path.trace.lost.count("reserve")
    assert (0, 0) == path.spent()


def test_a_policy_that_only_observes_stops_nobody_whose_store_is_lost() -> None:
    path = Path(Lossy(after(0)), mode="observe")

    assert GOOD == path.model()
    assert [("store.open", STEP.path, True)] == path.trace.decided


def test_other_rules_hold_without_a_store() -> None:
    path = Path(Lossy(after(0)), on_store_loss="open", tools={"default": "deny"})

    result = path.tool(FOUND)

    assert [] == path.sent
    assert result.failed


def repeat(path: Path) -> None:
    for _ in range(12):
        path.tool(FOUND)


def test_a_loop_is_seen_without_a_store_and_told_when_it_is_back() -> None:
    whole, open_ = Path(Lossy()), Path(Lossy(after(0)), on_store_loss="open")
    for path in (whole, open_):
        with pytest.raises(RunStopped):
            repeat(path)

    open_.store.lost = after(10**9)

    assert whole.sent == open_.sent
    assert len(whole.sent) < 12
    with pytest.raises(RunStopped) as again:
        open_.model()
    assert again.value.reason.code.startswith("loop")


def test_steps_are_counted_without_a_store() -> None:
    path = Path(Lossy(after(0)), on_store_loss="open", limits={"steps": 1})
    perform = path.runtime.performer(INVALID_SPAN, lambda effect: None)
    drive(step_entry(STEP, path.runtime.controls), perform)
    second = step_entry(replace(STEP, ns="agent:2"), path.runtime.controls)
    with pytest.raises(RunStopped) as caught:
        drive(second, perform)

    assert "limits.steps" == caught.value.reason.rule


def test_a_node_that_has_ended_keeps_its_result() -> None:
    path = Path(Lossy(after(0)))
    drive(step_exit(STEP, path.runtime.controls), path.runtime.performer(INVALID_SPAN, lambda effect: None))

    assert ["change"] == path.trace.lost


@TWINS
def test_a_heartbeat_that_nobody_hears_ends_no_stream(*, alone: bool) -> None:
    path, beat = Path(Lossy(after(0))), Extend("lease", 1_000, 0)

    async def none(effect: Any) -> Any:
        return effect

    if alone:
        heard = asyncio.run(path.runtime.perform_async(beat, INVALID_SPAN, none))
    else:
        heard = path.runtime.perform(beat, INVALID_SPAN, lambda effect: effect)

    assert not heard


def test_a_text_that_cannot_be_kept_is_not_shown_shortened_unless_calls_go_on() -> None:
    keep = Keep(RUN, "h", "the whole text")
    closed, open_ = Path(Lossy(after(0))), Path(Lossy(after(0)), on_store_loss="open")

    with pytest.raises(RunStopped):
        closed.runtime.perform(keep, INVALID_SPAN, lambda effect: effect)
    open_.runtime.perform(keep, INVALID_SPAN, lambda effect: effect)

    assert ["keep"] == open_.trace.lost


def test_a_conflict_of_leases_is_no_loss() -> None:
    path = Path(MemoryStore())
    losses: Losses = path.runtime.losses

    with pytest.raises(LeaseConflict):
        losses.refused(LeaseConflict("l"), RUN, INVALID_SPAN)

    assert [] == path.trace.lost


def test_what_is_decided_says_what_the_store_said() -> None:
    refused, opened = lost(GONE, opens=False), lost(GONE, opens=True)

    assert (True, False) == (refused.refuses, opened.refuses)
    assert all(each.reason is not None and GONE in each.reason.text for each in (refused, opened))


def call_on(path: Path) -> None:
    for _ in range(50):
        path.model()


def test_a_leased_slice_is_spent_without_the_store_and_then_the_policy_decides() -> None:
    inner = Lossy()
    path = Path(SlicedStore(inner, share_permille=300, floor_permille=300))
    path.model()
    inner.lost = after(0)

    with pytest.raises(RunStopped) as caught:
        call_on(path)
    alone = len(path.sent)
    inner.lost = after(10**9)
    path.model()
    path.store.close()

    sent = len(path.sent)
    assert "store.lost" == caught.value.reason.code
    assert 2 < alone < 50
    assert (sent * 110, 0) == path.spent()


def test_what_is_owed_under_one_policy_is_told_by_a_run_under_another() -> None:
    path = Path(Lossy(after(2)))
    path.model()
    path.store.lost = after(10**9)

    other = path.runtime.under(path.runtime.policy)
    drive(step_exit(STEP, other.controls), other.performer(INVALID_SPAN, lambda effect: effect))

    assert (110, 0) == path.spent()


def test_losses_and_what_waits_are_counted(recorded: Recorded) -> None:
    path = Path(Lossy(after(2)))
    losses = path.runtime.losses = Losses(path.runtime.policy.policy, recorded.telemetry)

    path.model()
    waiting = recorded.points("governor.unsettled")
    path.store.lost = after(10**9)
    path.model()

    assert [({}, 1)] == waiting
    assert [({}, 0)] == recorded.points("governor.unsettled")
    assert [({"operation": "settle"}, 1), ({"operation": "change"}, 1)] == recorded.points("governor.store_lost")
    assert not losses.unsettled


@TWINS
@given(failing=st.sets(st.integers(0, 30), max_size=12), opens=st.booleans(), kinds=st.lists(st.booleans(), max_size=6))
def test_lost_at_any_point_no_paid_answer_is_lost_and_no_charge_is_forgotten(
    failing: set[int], kinds: list[bool], *, opens: bool, alone: bool
) -> None:
    path = Path(
        Lossy(failing.__contains__), alone=alone, on_store_loss="open" if opens else "refuse", loops={"mode": "observe"}
    )
    returned, refused, codes = 0, 0, set[str]()
    for number, model in zip(count(), kinds, strict=False):
        try:
            path.model() if model else path.tool(FOUND, {"q": number})
            returned += 1
        except RunStopped as stopped:
            refused += 1
            codes.add(stopped.reason.code)
    unmetered = sum(code == "store.open" for code, _, _ in path.trace.decided)
    path.store.lost = after(10**9)
    path.model()

    metered = len(path.sent) - unmetered
    calls = path.sent[:-1].count("InvokeModel") + 1
    assert len(kinds) == returned + refused
    assert returned == len(path.sent) - 1
    assert 0 == path.trace.waiting
    assert codes <= (set() if opens else {"store.lost"})
    spent = path.spent()
    assert 0 == spent[1] or unmetered or refused
    assert spent[0] == 110 * calls if not unmetered else spent[0] <= 110 * calls
    assert metered * 110 >= spent[0]
