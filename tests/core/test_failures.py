"""The failures that budgets of this field are known for, one test each, named by its number in the design (F1-F17).

Each test here is the failure in its shortest form. Where it has been taken further (real processes, servers, providers), its docstring
names that test; `test_what_is_pointed_to_exists` holds the names.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path as FilePath
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from opentelemetry.trace import INVALID_SPAN

from governor.calls import ModelResponse, RunRef, StepRef
from governor.drive import drive, drive_stream
from governor.errors import Refused, RunStopped
from governor.ledger import Charge, Lease
from governor.pipeline import model_call
from governor.policy.load import load
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor.testing import FakeClock
from governor.usage import Usage
from governor.values import replace
from governor_langgraph import govern
from tests.core.lossy import Lossy
from tests.core.test_pipeline import BAD, GOOD, STEP, Path, asked, budget
from tests.langgraph import graphs
from tests.langgraph.fakes import Streaming, policy, times

ROOT = FilePath(__file__).parents[2]
DAY_MS = 86_400_000
CHEAP = {"model": "anthropic:cheap", "max_output_tokens": 500, "price": {"input": 1, "output": 5, "cache_read": 0.1}}
DEAR = {"model": "anthropic:dear", "max_output_tokens": 500, "price": {"input": 100, "output": 500}}
FREE = {**CHEAP, "price": {"input": 0, "output": 0}}
ESCALATES: dict[str, Any] = {"default": "small", "escalate": {"after": ["empty"]}}


def priced(frontier: Any = DEAR, small: Any = CHEAP, **policy: Any) -> Path:
    return Path(tiers={"frontier": frontier, "small": small}, **policy)


def of_run(name: str) -> StepRef:
    return replace(STEP, run=RunRef(id=name, thread=name, scopes={"tenant": "acme"}))


class Fleet:
    """Several runtimes of one policy, each a process as far as it knows, on what a place makes of a store."""

    def __init__(self, make: Callable[[], Any], processes: int = 1, **limit: Any) -> None:
        whole = {"governor": 1, "name": "p", "tiers": {"small": CHEAP}, "routing": {"default": "small"}}
        loaded = load({**whole, "budgets": [{"id": "team", "scope": "tenant", "limit": limit}]})
        self.runtimes = [Runtime(loaded, store=make(), clock=FakeClock()) for _ in range(processes)]
        self.sent: list[int] = []

    def call(self, number: int) -> str:
        runtime = self.runtimes[number % len(self.runtimes)]

        def invoke(effect: Any) -> ModelResponse:
            effect.meter.dispatched = True
            self.sent.append(number)
            return GOOD

        flow = model_call(asked(step=of_run(f"run-{number}")), runtime.controls)
        try:
            drive(flow, runtime.performer(INVALID_SPAN, invoke))
        except RunStopped as stopped:
            return stopped.reason.code
        return "sent"

    def storm(self, calls: int = 50) -> list[str]:
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(self.call, range(calls)))


def test_f01_fifty_parallel_calls_against_a_budget_for_ten_are_ten() -> None:
    """Check-then-call race. Further: `tests/stores/test_contention.py::test_what_fits_is_admitted_and_no_more`."""
    store = MemoryStore()
    fleet = Fleet(lambda: store, model_calls=10)

    said = fleet.storm()

    assert 10 == len(fleet.sent)
    assert {"sent", "budget.exhausted"} == set(said)


@pytest.mark.parametrize(
    "error", [ValueError("400"), TimeoutError(), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]
)
def test_f02_no_way_for_a_call_to_end_leaves_anything_reserved(error: BaseException) -> None:
    """Leaked reservation.

    Further: `tests/stores/test_kills.py::test_workers_killed_at_any_moment_leave_ledgers_that_cover_the_bill_and_hold_nothing`.
    """
    path = Path(**budget(tokens="10k"))

    with pytest.raises(type(error)):
        path.model(error)

    assert 0 == path.balance("tokens").reserved


def test_f03_a_request_that_is_replayed_holds_and_charges_once() -> None:
    """Non-idempotent replay. Further: `tests/stores/test_redis_trouble.py::test_every_script_may_be_run_twice`."""
    path = Path(**budget(tokens="10k"))
    twice: Any = path.runtime.store
    reserve, settle, charges = twice.reserve, twice.settle, list[Charge]()

    def reserve_twice(request: Any) -> Any:
        first = reserve(request)
        assert first == reserve(request)
        return first

    def settle_twice(charge: Charge) -> None:
        charges.append(charge)
        settle(charge)
        settle(charge)

    twice.reserve, twice.settle = reserve_twice, settle_twice
    path.model(GOOD)
    settle(charges[-1])

    assert (110, 0) == (path.balance("tokens").spent, path.balance("tokens").reserved)


def test_f03_a_call_of_which_the_store_forgot_the_number_is_paid_like_another() -> None:
    """The same id for another call.

    Further: `tests/langgraph/test_spent_stays.py::test_each_replay_from_an_old_checkpoint_is_paid_again`.
    """
    path = Path(**budget(tokens="10k"))
    store: Any = path.runtime.store

    path.model(GOOD)
    store.change("run", lambda state: (replace(state, model_calls=0), None))
    path.model(GOOD)

    assert 220 == path.balance("tokens").spent


def test_f04_replicas_share_one_cap(tmp_path: FilePath) -> None:
    """N replicas spend N caps. Further: `tests/stores/test_processes.py::test_four_processes_admit_exactly_what_fits`."""
    fleet = Fleet(lambda: SqliteStore(tmp_path / "governor.db"), processes=4, model_calls=10)

    fleet.storm()

    assert 10 == len(fleet.sent)
    for runtime in fleet.runtimes:
        runtime.store.close()


def test_f05_a_fallback_is_held_at_the_price_of_the_model_that_answers() -> None:
    """Fallback bypass.

    Further: `tests/core/test_pipeline.py::test_what_the_client_would_have_retried_is_another_attempt_with_a_reservation_of_its_own`.
    """
    path = priced(routing=ESCALATES, **budget(usd="0.01"))  # enough for the cheap one, not for the dear one

    path.model(BAD, GOOD)

    assert ["small"] == [sent.request.tier for sent in path.requests()]
    assert 100 * 1_000 + 10 * 5_000 == path.balance("nano_usd").spent


def test_f05_a_free_model_is_counted_all_the_same() -> None:
    """ "Free model" bypass: what costs nothing still is a call, and has tokens."""
    path = priced(small=FREE, **budget(usd="0.01", model_calls=1))
    path.model(GOOD)

    with pytest.raises(RunStopped) as caught:
        path.model(GOOD)

    assert "model_calls" == caught.value.reason.evidence["unit"]
    assert 1 == len(path.requests())


def test_f06_a_stream_that_is_broken_off_is_never_free() -> None:
    """Aborted and billed anyway.

    Further: `tests/vendors/test_broken_streams.py::test_what_is_recorded_of_a_broken_stream_is_between_its_bill_and_a_tenth_more`.
    """
    path = Path(**budget(tokens="10k"))

    class Words:
        def __iter__(self) -> Any:
            yield from ("one ", "two ", "three ")

        def response(self) -> ModelResponse:
            return GOOD

    def opened(effect: Any) -> Words:
        effect.meter.dispatched = True
        return Words()

    reading = drive_stream(
        model_call(asked(streaming=True), path.runtime.controls), path.runtime.performer(INVALID_SPAN, opened), opened
    )
    next(reading)
    reading.close()

    assert path.balance("tokens").spent >= 50 + 500
    assert 0 == path.balance("tokens").reserved


def test_f07_cached_tokens_are_charged_at_their_own_price() -> None:
    """Cache tokens mispriced. Further: `tests/vendors/test_golden.py::test_every_golden_record_costs_what_its_provider_bills`."""
    path = priced(**budget(usd=1))

    path.model(replace(GOOD, usage=Usage(input=1_000, cache_read=20_000, output=10)))

    assert 1_000 * 1_000 + 20_000 * 100 + 10 * 5_000 == path.balance("nano_usd").spent


def test_f08_reasoning_and_the_providers_own_tools_are_charged() -> None:
    """Unpriced reasoning and fees.

    Further: `tests/controls/test_budget_units.py::test_what_a_provider_charges_for_its_own_tools_is_settled_on_fees`.
    """
    path = priced(**budget(usd=1))

    path.model(replace(GOOD, usage=Usage(input=100, output=400, reasoning=390, fees=10_000_000)))

    assert 100 * 1_000 + 400 * 5_000 + 10_000_000 == path.balance("nano_usd").spent


def test_f09_what_nobody_can_price_is_refused_under_a_money_limit() -> None:
    """Unknown price as $0. Further: `tests/core/test_prices.py::test_a_price_that_nobody_knows_is_none_and_not_zero`."""
    path = Path(tiers={}, routing={}, **budget(usd=1))

    path.model(GOOD)  # gpt-4o is priced
    with pytest.raises(Refused) as caught:
        path.model(GOOD, model=replace(asked().model, model="made-up"))

    assert "budget.unknown_price" == caught.value.reason.code
    assert 1 == len(path.requests())


def test_f10_a_window_begins_anew_at_its_end_and_not_before() -> None:
    """Windows that never reset, or too often.

    Further: `tests/controls/test_budget_windows.py::test_calendar_windows_of_a_zone_follow_each_other_without_gap_or_overlap`.
    """
    day = {"id": "day", "scope": "tenant", "per": "day", "limit": {"model_calls": 1}}
    path = Path(identity={"tenant": "config.tenant"}, budgets=[day])
    clock: Any = path.runtime.clock
    start, said = (clock.now_ms // DAY_MS + 1) * DAY_MS, list[str]()

    for moment in (0, 1, DAY_MS - 1, DAY_MS, DAY_MS + 1):
        clock.now_ms = start + moment
        try:
            path.model(GOOD, step=of_run(f"run-{moment}"))
            said.append("sent")
        except RunStopped as stopped:
            said.append(stopped.reason.code)

    assert ["sent", "budget.exhausted", "budget.exhausted", "sent", "budget.exhausted"] == said


def test_f11_a_subgraph_spends_the_budget_of_the_run_it_is_in() -> None:
    """Subagents escape. Further: `tests/langgraph/test_matrix.py`, `tests/langgraph/test_stop_matrix.py::test_a_stop_ends_the_run`."""
    model = Streaming(rule=times("search", 9, lambda turn: {"q": str(turn)}))
    outer = StateGraph(MessagesState)
    for name in ("first", "second"):
        outer.add_node(name, graphs.agent(model))
    outer.add_edge(START, "first")
    outer.add_edge("first", "second")
    limit = [{"id": "run", "scope": "run", "limit": {"model_calls": 3}}]

    given: Any = {"messages": [("user", "work")]}
    govern(outer.compile(), policy(budgets=limit)).invoke(given)

    assert 3 == len(model.calls)


def test_f12_a_paid_answer_is_returned_though_nothing_is_left_for_a_better_one() -> None:
    """A hard stop that throws paid work away. Further: `tests/langgraph/test_enforcement.py::test_finish_returns_what_the_run_had`."""
    path = Path(routing=ESCALATES, **budget(model_calls=1))

    answer = path.model(BAD, GOOD)

    assert BAD == answer
    with pytest.raises(RunStopped):
        path.model(GOOD)


def test_f13_a_spent_budget_refuses_at_once_and_says_so_every_time() -> None:
    """Hangs, loops. Further: `governor/testing/ledgers.py::test_a_repeated_id_is_answered_before_the_limit_is_looked_at`."""
    path = Path(**budget(model_calls=1))
    path.model(GOOD)
    path.effects.clear()

    for _ in range(3):
        with pytest.raises(RunStopped):
            path.model(GOOD)

    assert path.names().count("Reserve") <= 2  # as it is, and once shorter; later calls are not even tried
    assert [] == path.requests()


def test_f13_a_replay_at_the_limit_is_answered_with_its_lease() -> None:
    path = Path(**budget(model_calls=1))
    store: Any = path.runtime.store
    reserve, answers = store.reserve, list[Any]()
    store.reserve = lambda request: answers.extend((reserve(request), reserve(request))) or answers[-1]

    path.model(GOOD)

    assert isinstance(answers[-1], Lease)
    assert answers[0] == answers[1]


def test_f14_an_answer_without_a_limit_gets_one_and_parks_no_budget() -> None:
    """Over-reservation.

    Further: `tests/controls/test_budget_properties.py::test_parallel_calls_that_nobody_limited_leave_each_other_room`.
    """
    unlimited = {key: value for key, value in CHEAP.items() if key != "max_output_tokens"}
    path = priced(small=unlimited, **budget(tokens="20k"))

    for _ in range(20):
        path.model(GOOD)

    limits = [sent.request.max_output_tokens for sent in path.requests()]
    assert all(limit is not None and limit <= 20_000 for limit in limits)
    assert (2_200, 0) == (path.balance("tokens").spent, path.balance("tokens").reserved)


def test_f15_a_token_budget_counts_tokens_and_not_requests() -> None:
    """One unit per request.

    Further: `tests/controls/test_budget_units.py::test_weighted_tokens_are_held_at_the_dearest_kind_and_settled_by_kind`.
    """
    path = Path(**budget(tokens="10k", input_tokens="10k", output_tokens="10k", model_calls=5))

    path.model(replace(GOOD, usage=Usage(input=4_000, output=300)))

    spent = [path.balance(unit).spent for unit in ("tokens", "input_tokens", "output_tokens", "model_calls")]
    assert [4_300, 4_000, 300, 1] == spent


def test_f16_without_its_store_a_budget_lets_nothing_through() -> None:
    """Silent fail-open. Further: `tests/core/test_losing.py::test_a_call_goes_on_unmetered_with_an_alarm_where_the_policy_says_open`."""
    fleet = Fleet(lambda: Lossy(lambda _: True), model_calls=10)

    said = fleet.storm(5)

    assert ["store.lost"] * 5 == said
    assert [] == fleet.sent


def test_f17_what_is_left_of_a_budget_is_told_at_the_tail_and_never_before_it() -> None:
    """A changing prefix. Further: `tests/langgraph/test_ladder.py::test_the_wrap_up_note_is_at_the_tail_and_moves_nothing_before_it`."""
    path = Path(ladder=[{"at": "90%", "do": "last_call"}], **budget(model_calls=10))
    for _ in range(10):
        path.model(GOOD)

    *before, last = [sent.request for sent in path.requests()]
    assert last.view.notes
    assert not any(request.view.notes for request in before)
    assert {True} == {replace(last.view, notes=()) == request.view for request in before}
    assert {True} == {last.cache == request.cache for request in before}


def test_what_is_pointed_to_exists() -> None:
    source = FilePath(__file__).read_text(encoding="utf-8")
    pointed = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", source)

    missing = [
        (path, name)
        for path, name in pointed
        if not (ROOT / path).exists() or (name and f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert [] == missing
    assert {f"f{number:02}" for number in range(1, 18)} == set(re.findall(r"^def test_(f\d\d)_", source, re.MULTILINE))
