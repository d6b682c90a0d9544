"""Shadow calls: another tier answers a share of the calls too, and nothing of the run shows it but its bill and the record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN

from governor.asides import Aside
from governor.calls import ModelCall, ModelRef, ModelResponse, RunRef, StepRef
from governor.drive import drive, drive_async
from governor.effects import InvokeModel, InvokeTool, Learn, MeasuredBeside, Reserve, Summarise
from governor.errors import RunStopped, StoreError
from governor.ledger import Adjustment, AdjustmentKind
from governor.noting import Noted
from governor.pipeline import model_call
from governor.policy.load import load
from governor.routing.outcomes import Outcomes
from governor.routing.records import PairedOutcome
from governor.runs import RunState
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.testing import FakeClock, FakeIds
from governor.usage import Usage
from tests.controls.histories import history, user

BIG, SMALL = "openai:gpt-4o", "openai:gpt-4o-mini"
GOOD = ModelResponse(text="fine", usage=Usage(input=100, output=10), finish="stop")
EMPTY = ModelResponse(text="", usage=Usage(input=100, output=1), finish="stop")
STEP = StepRef(run=RunRef(id="run", thread="t"), node="agent", path="agent", ns="agent:1")


def policy(folder: Path | None, share: str = "100%", *, default: str = "big", quality: Any = None, **more: Any) -> Any:
    routing: dict[str, Any] = {"default": default, "quality": {"max_loss": "2%", **(quality or {})}}
    if share != "0%":
        routing["quality"]["shadow"] = share
    if folder is not None:
        routing["outcomes"] = str(folder / "o.db")
    routing.update(more.pop("routing", {}))
    tiers = more.pop("tiers", {"big": {"model": BIG}, "small": {"model": SMALL}})
    return load({"governor": 1, "name": "p", "tiers": tiers, "routing": routing, "tools": {"default": "allow"}, **more})


class Watched:
    """A runtime that notes every effect; `other` is what the shadow is answered."""

    def __init__(self, loaded: Any, *, other: Any = GOOD, own: Any = GOOD) -> None:
        self.runtime = Runtime(loaded, store=MemoryStore(), clock=FakeClock(), new_id=FakeIds())
        self.effects: list[Any] = []
        self.other, self.own = other, own
        self.before: Callable[[Any], None] = lambda effect: None

    def invoke(self, effect: Any) -> ModelResponse:
        effect.meter.dispatched = True
        said = self.other if isinstance(effect, Summarise) else self.own
        if isinstance(said, list):
            said = said.pop(0)
        if isinstance(said, BaseException):
            raise said
        return said

    def perform(self, effect: Any) -> Any:
        self.effects.append(effect)
        self.before(effect)
        if isinstance(effect, Aside):
            assert effect.after
            drive(effect.flow(), self.perform)
            return True
        return self.runtime.perform(effect, INVALID_SPAN, self.invoke)

    def call(self, **more: Any) -> ModelResponse:
        given: dict[str, Any] = {"ordinal": 0, "model": _own(), "lane": "agent#u", **more}
        made = ModelCall(step=STEP, history=history([user("Where is order 7 of ann@mail.example?")]), **given)
        return drive(model_call(made, self.runtime.controls), self.perform)

    def shadows(self) -> list[Summarise]:
        return [each for each in self.effects if isinstance(each, Summarise)]

    def state(self) -> RunState:
        return self.runtime.store.change(STEP.run.id, lambda state: (state, state))

    def pairs(self) -> list[PairedOutcome]:
        assert self.runtime.outcomes is not None
        return list(self.runtime.outcomes.pairs())

    def spent(self, ledger: str) -> int:
        return sum(each.spent for each in self.runtime.store.balances() if each.ledger.startswith(ledger))

    def reserved(self) -> int:
        return sum(each.reserved for each in self.runtime.store.balances())


async def others() -> None:
    """Let what goes on beside the calls end."""
    beside = [each for each in asyncio.all_tasks() if getattr(each.get_coro(), "__name__", "") == "_alogged"]
    if beside:
        await asyncio.wait(beside)


def _own() -> ModelRef:
    return ModelRef(provider="openai", model="gpt-4o")


@pytest.mark.parametrize(("default", "other"), [("big", "small"), ("small", "big")])
def test_both_directions_are_paired_with_what_the_gates_say_of_each(tmp_path: Path, default: str, other: str) -> None:
    path = Watched(policy(tmp_path, default=default, trace={"content": "redacted"}), other=EMPTY)

    assert GOOD == path.call()

    (asked,) = path.shadows()
    assert other == asked.request.tier
    (pair,) = path.pairs()
    scores = {side.tier: side.score for side in (pair.strong, pair.weak)}
    assert {default: 1.0, other: 0.0} == scores
    assert ("big", "small") == (pair.strong.tier, pair.weak.tier)
    assert (default, 1.0, "run/1", "run") == (pair.sent, pair.propensity, pair.id, pair.run)
    assert "Where is order 7 of <email_1>?" == pair.step.delta
    assert all(side.cost for side in (pair.strong, pair.weak))


def test_text_is_not_kept_unless_the_trace_may_show_it(tmp_path: Path) -> None:
    path = Watched(policy(tmp_path))

    path.call()

    (pair,) = path.pairs()
    assert ("", "", "") == (pair.step.delta, pair.strong.answer, pair.weak.answer)
    assert b"ann@" not in (tmp_path / "o.db").read_bytes() + (tmp_path / "o.db-wal").read_bytes()


def test_the_run_is_as_it_would_have_been_without(tmp_path: Path) -> None:
    with_shadow, without = Watched(policy(tmp_path), other=EMPTY), Watched(policy(tmp_path, share="0%"))

    answers = [(with_shadow.call(), without.call()) for _ in range(3)]

    assert all(one == other for one, other in answers)
    assert with_shadow.state() == without.state()
    assert (3, 0) == (len(with_shadow.shadows()), len(without.shadows()))
    assert not any(isinstance(each, InvokeTool) for each in with_shadow.effects)


def test_it_comes_after_the_answer_is_settled_and_is_charged_and_traced_as_its_own(tmp_path: Path) -> None:
    path = Watched(policy(tmp_path, budgets=[{"id": "b", "scope": "run", "limit": {"usd": 5}}]))

    path.call()

    kinds = [type(each) for each in path.effects]
    assert kinds.index(InvokeModel) < kinds.index(Summarise)
    own, shadow = 100 * 2_500 + 10 * 10_000, 100 * 150 + 10 * 600
    assert own + shadow == path.spent("b/")
    assert shadow == path.spent("shadow/p/day=")
    assert 0 == path.reserved()
    (told,) = [each for each in path.effects if isinstance(each, MeasuredBeside)]
    assert ("shadow", "small") == (told.purpose, told.attributes()["governor.tier"])


@pytest.mark.parametrize("error", [RuntimeError("down"), RunStopped.__new__(RunStopped), StoreError("gone")])
def test_a_shadow_that_fails_is_settled_and_harms_nobody(tmp_path: Path, error: Exception) -> None:
    path = Watched(policy(tmp_path, budgets=[{"id": "b", "scope": "run", "limit": {"usd": 5}}]), other=error)

    assert GOOD == path.call()
    assert 1 == len(path.shadows())
    assert 0 == path.reserved()
    assert not (tmp_path / "o.db").exists() or [] == path.pairs()


def test_a_store_that_is_lost_meanwhile_costs_no_answer(tmp_path: Path) -> None:
    path = Watched(policy(tmp_path))

    def lost(effect: Any) -> None:
        if isinstance(effect, Reserve) and effect.key.endswith(".shadow"):
            raise StoreError("gone")

    path.before = lost
    assert GOOD == path.call()
    assert [] == path.shadows()


def test_an_operators_halt_lets_no_shadow_begin(tmp_path: Path) -> None:
    path = Watched(policy(tmp_path))

    def halted(effect: Any) -> None:
        if isinstance(effect, InvokeModel):
            halt = Adjustment(id="h", kind=AdjustmentKind.HALT, subject="run=run", who="ann", why="x", at_ms=1)
            path.runtime.store.adjust(halt)

    path.before = halted
    assert GOOD == path.call()
    assert [] == path.shadows()


@pytest.mark.parametrize(
    "more",
    [
        {"budgets": [{"id": "b", "scope": "run", "hard": False, "limit": {"usd": "0.0001"}}]},
        {"budgets": [{"id": "b", "scope": "run", "limit": {"model_calls": 1}}]},
        {"quality": {"shadow_per_day": "0.000001"}},
        {"mode": "observe"},
    ],
    ids=["soft limit passed", "hard limit nearly used", "its own budget", "observed"],
)
def test_a_shadow_takes_nothing_that_is_tight(tmp_path: Path, more: dict[str, Any]) -> None:
    path = Watched(policy(tmp_path, **more))

    assert GOOD == path.call(max_output_tokens=50)

    assert [] == path.shadows()
    assert 0 == path.reserved()


def test_on_a_rung_of_the_ladder_there_are_no_shadows(tmp_path: Path) -> None:
    budgets = [{"id": "b", "scope": "run", "limit": {"tokens": "100k"}}]
    path = Watched(policy(tmp_path, budgets=budgets, ladder=[{"at": "1%", "do": "compact"}]))
    path.own = ModelResponse(text="fine", usage=Usage(input=2_000, output=10), finish="stop")

    for _ in range(4):
        path.call(max_output_tokens=50)
    known = len(path.shadows())

    assert path.state().ladder.rung > 0
    assert 1 <= known <= 2
    path.call(max_output_tokens=50)
    assert known == len(path.shadows())


def test_a_call_that_must_stay_with_its_model_has_no_shadow(tmp_path: Path) -> None:
    path = Watched(policy(tmp_path))

    path.call(locked=True)

    assert [] == path.shadows()


def test_nothing_is_asked_where_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOVERNOR_OUTCOMES", raising=False)
    path = Watched(policy(None))

    path.call()

    assert [] == path.shadows()
    assert path.runtime.outcomes is None


def test_an_answer_that_was_escalated_is_the_pair_and_nobody_is_asked_again(tmp_path: Path) -> None:
    routing = {"escalate": {"after": "empty"}}
    path = Watched(policy(tmp_path, default="small", routing=routing), own=[EMPTY, GOOD])

    assert GOOD == path.call()

    (pair,) = path.pairs()
    assert [] == path.shadows()
    assert ("small", 0.0, 1.0) == (pair.sent, pair.weak.score, pair.strong.score)


def test_every_routed_step_is_noted_with_its_decision(tmp_path: Path) -> None:
    path = Watched(policy(tmp_path, share="0%"), own=[GOOD, EMPTY])

    path.call()
    path.call()

    first, second = Outcomes(tmp_path / "o.db").steps("run")
    assert (1, "big", BIG, "route.default", 1.0, "") == (
        *(first.step, first.tier, first.model, first.code, first.propensity, first.signal),
    )
    assert (2, "empty") == (second.step, second.signal)
    assert first.features is not None
    assert "delta" not in first.features


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(0, 10_000))
def test_the_share_is_drawn_alike_whenever_the_call_is_made_again(share: float, seed: int) -> None:
    shadow = Runtime(policy(None, f"{share:.0%}"), store=MemoryStore()).controls.shadow

    def drawn(number: int) -> bool:
        step = StepRef(run=RunRef(id=f"run{seed}"), node="n", path="n", ns="n")
        call = ModelCall(step=step, ordinal=0, model=_own(), lane="l", history=history([user("x")]))
        return shadow._drawn(RunState(model_calls=number), call)

    found = [drawn(number) for number in range(400)]
    assert found == [drawn(number) for number in range(400)]
    assert abs(sum(found) / 400 - share) < 0.13


@pytest.mark.anyio
async def test_the_async_path_does_the_same(tmp_path: Path) -> None:
    path = Watched(policy(tmp_path))

    async def invoke(effect: Any) -> ModelResponse:
        return path.invoke(effect)

    async def perform(effect: Any) -> Any:
        path.effects.append(effect)
        if isinstance(effect, Aside):
            return await path.runtime.asides.run_async(lambda: drive_async(effect.flow(), perform), effect.wait_ms)
        return await path.runtime.perform_async(effect, INVALID_SPAN, invoke)

    call = ModelCall(step=STEP, ordinal=0, model=_own(), lane="agent#u", history=history([user("x")]))
    assert GOOD == await drive_async(model_call(call, path.runtime.controls), perform)
    assert [] == path.shadows()  # the answer does not wait for it
    await others()
    assert 1 == len(path.shadows())
    assert 1 == len(path.pairs())


def aliased(tmp_path: Path) -> Watched:
    """Two models serve under the name of the other tier, and the cheaper one answers."""
    alias = {"model": "openai:ours", "serves": [BIG, SMALL], "max_output_tokens": 50}
    budgets = [{"id": "b", "scope": "run", "limit": {"usd": 5}}]
    loaded = policy(tmp_path, tiers={"big": {"model": BIG}, "small": alias}, budgets=budgets)
    return Watched(loaded, other=replace(GOOD, model="gpt-4o-mini"))


def test_a_shadow_under_a_name_of_several_models_is_charged_as_the_one_that_answered_and_teaches_nothing(
    tmp_path: Path,
) -> None:
    path = aliased(tmp_path)

    path.call()

    (asked,) = path.shadows()
    assert "ours" == asked.request.model.model
    book = path.runtime.prices
    own, other = (book.rates(ModelRef(provider="openai", model=name)) for name in ("gpt-4o", "gpt-4o-mini"))
    assert own is not None
    assert other is not None
    assert GOOD.usage is not None
    assert own.cost(GOOD.usage) + other.cost(GOOD.usage) == path.spent("b")
    assert ["gpt-4o"] == [each.model.model for each in path.effects if isinstance(each, Learn)]


def test_where_a_day_of_shadows_is_bounded_a_tier_that_nobody_can_price_casts_none(tmp_path: Path) -> None:
    tiers = {"big": {"model": BIG}, "small": {"model": "openai:nobody-knows-it"}}
    bounded, free = (
        Watched(policy(tmp_path / name, tiers=tiers, quality=quality))
        for name, quality in (("a", {"shadow_per_day": 1}), ("b", {}))
    )

    bounded.call()
    free.call()

    assert (0, 1) == (len(bounded.shadows()), len(free.shadows()))


@pytest.mark.parametrize("wrong", [ValueError("no such score"), StoreError("locked")])
async def test_a_record_that_cannot_be_kept_harms_no_call_and_none_is_tried_for_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, wrong: Exception
) -> None:
    runtime = Watched(policy(tmp_path)).runtime

    def record() -> Any:
        raise wrong

    async def nothing(effect: Any) -> None:
        del effect

    for _ in range(3):
        await runtime.perform_async(Noted(record), INVALID_SPAN, nothing)

    assert 1 == len([each for each in caplog.records if "are not recorded for a minute" in each.message])
