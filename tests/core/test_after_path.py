"""The path after an answer or a failure: who is asked next, what that is held at and charged, and where it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import INVALID_SPAN

from governor.agreeing import normalised
from governor.calls import ModelRef, ModelResponse, RunRef, StepRef, ToolUse
from governor.decisions import Reason
from governor.drive import drive
from governor.effects import Decided, InvokeModel, Measured, MeasuredBeside, Reserve, Sample, Settle
from governor.errors import RunStopped
from governor.pipeline import model_call
from governor.policy.load import load
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.testing import FakeClock, FakeIds
from governor.usage import Usage
from tests.controls.histories import model_call as plain_call
from tests.controls.histories import turns

TIERS = {
    "frontier": {"model": "anthropic:claude-sonnet-4-5", "max_output_tokens": 400},
    "student": {
        "model": "bedrock_converse:amazon.nova-lite-v1:0",
        "max_output_tokens": 300,
        "fallback": ["peer", "frontier"],
    },
    "peer": {"model": "openai:gpt-4o-mini", "max_output_tokens": 200},
}
NAMES = {tier["model"]: name for name, tier in TIERS.items()}
WORDS = ["refusal", "empty", "invalid_output", "disagreement"]
OWN = ModelRef(provider="openai", model="gpt-4o")
STEP = StepRef(run=RunRef(id="run", thread="t"), node="agent", path="agent", ns="agent:1")
BUDGET = {"budgets": [{"id": "b", "scope": "run", "limit": {"usd": 50}}]}


class Outage(Exception):
    """The provider is out."""


def good(text: str = "42", n: int = 100) -> ModelResponse:
    return ModelResponse(text=text, usage=Usage(input=n, output=10), finish="stop")


REFUSED = replace(good("no"), finish="refusal")
UNREADABLE = replace(good(""), tool_uses=(ToolUse(id="1", name="a", args=None),))


class Path:
    """A runtime over a policy that notes every effect, and answers as it is told, tier by tier."""

    def __init__(self, says: Callable[[str, int], Any], **routing: Any) -> None:
        escalate = {"after": WORDS, "for": 3, "at_most": 2, **routing.pop("escalate", {})}
        whole = {
            "governor": 1,
            "name": "p",
            "tiers": TIERS,
            "routing": {"default": "student", "escalate": escalate, **routing},
            "loops": {"mode": "observe"},
            **BUDGET,
        }
        self.runtime = Runtime(load(whole), store=MemoryStore(), clock=FakeClock(), new_id=FakeIds())
        self.says, self.effects, self.asked, self.billed = says, list[Any](), list[str](), 0
        self.held: int | None = None

    def invoke(self, effect: Any) -> ModelResponse:
        tier = effect.request.tier
        self.asked.append(tier)
        effect.meter.dispatched = True
        said = self.says(tier, len(self.asked))
        if isinstance(said, BaseException):
            effect.meter.outage = isinstance(said, Outage)
            effect.meter.rejected = effect.meter.unread = True
            raise said
        rates = self.runtime.prices.rates(effect.request.model)
        assert rates is not None
        cost = rates.cost(said.usage)
        assert self.held is not None
        assert cost <= self.held, "held less than was billed"
        self.billed += cost
        return said

    def perform(self, effect: Any) -> Any:
        self.effects.append(effect)
        answered = self.runtime.perform(effect, INVALID_SPAN, self.invoke)
        if isinstance(effect, Reserve):
            (hold,) = answered.holds
            self.held = hold.amount
        return answered

    def call(self, **fields: Any) -> ModelResponse:
        call = replace(plain_call(turns(1, 100), OWN), step=STEP, **fields)
        return drive(model_call(call, self.runtime.controls), self.perform)

    @property
    def codes(self) -> list[str]:
        decisions = [effect.decision for effect in self.effects if isinstance(effect, Decided)]
        return [each.reason.code for each in decisions if each.control == "route" and each.reason]

    @property
    def spent(self) -> tuple[int, int]:
        (found,) = [each for each in self.runtime.store.balances() if each.unit == "nano_usd"]
        return found.spent, found.reserved


def tiers_say(**said: Any) -> Callable[[str, int], Any]:
    return lambda tier, number: said[tier]


def test_an_answer_that_can_be_mended_is_mended_by_the_tier_that_gave_it() -> None:
    path = Path(lambda tier, number: UNREADABLE if number == 1 else good(), escalate={"repair": True})

    assert "42" == path.call().text
    assert ["student", "student"] == path.asked
    notes = [effect.request.view.notes for effect in path.effects if isinstance(effect, InvokeModel)]
    assert [()] == notes[:1]
    assert "the arguments of its call of `a` are not JSON" in notes[1][0]
    assert (path.billed, 0) == path.spent
    assert "route.repair" in path.codes


def test_what_is_not_mended_goes_up_and_no_further() -> None:
    path = Path(tiers_say(student=UNREADABLE, frontier=UNREADABLE), escalate={"repair": True})
    path.call()

    assert ["student", "student", "frontier"] == path.asked
    assert (path.billed, 0) == path.spent


def test_an_answer_is_kept_when_the_better_one_fails() -> None:
    path = Path(tiers_say(student=REFUSED, frontier=Outage("out"), peer=Outage("out")))

    assert REFUSED == path.call()
    assert ["student", "frontier"] == path.asked
    assert (path.billed, 0) == path.spent


def test_an_error_that_is_nobodys_outage_is_raised_though_there_is_an_answer() -> None:
    path = Path(tiers_say(student=REFUSED, frontier=KeyError("x")))

    with pytest.raises(KeyError):
        path.call()


SAID = st.sampled_from(["good", "refused", "out", "unreadable"])


@given(st.lists(SAID, min_size=4, max_size=80), st.integers(1, 3), st.booleans(), st.integers(1, 4))
def test_whatever_happens_asks_are_bounded_held_and_paid_for(
    said: list[str], at_most: int, repair: bool, failures: int
) -> None:
    made = {"good": good(), "refused": REFUSED, "out": Outage("out"), "unreadable": UNREADABLE}
    script = iter(said)
    path = Path(
        lambda tier, number: made[next(script, "good")],
        escalate={"at_most": at_most, "repair": repair},
        hopeless={"after": failures},
    )
    for _ in range(12):
        before, ended = len(path.asked), ""
        try:
            path.call()
        except Outage:
            pass
        except RunStopped as stopped:
            ended = stopped.reason.code
        if ended:
            assert ("route.hopeless", before) == (ended, len(path.asked))
            with pytest.raises(RunStopped):
                path.call()
            break
        asked = path.asked[before:]
        assert len(asked) <= 1 + 2 + repair + 1, "each of: the tier, its two stand-ins, a repair, a better tier"
        assert len([tier for tier in asked if tier == "student"]) <= 1 + repair
        assert (path.billed, 0) == path.spent
    begun = path.codes.count("route.escalated")
    assert begun <= at_most * (3 + 1), "a block has three calls, and one may have been asked for within the call before"


def test_a_run_that_the_best_tier_cannot_help_stops_paying() -> None:
    path = Path(tiers_say(student=REFUSED, frontier=REFUSED), escalate={"at_most": 9, "for": 1}, hopeless={"after": 3})
    for _ in range(3):
        path.call()
    with pytest.raises(RunStopped) as stopped:
        path.call()

    assert "route.hopeless" == stopped.value.reason.code
    assert 3 == path.asked.count("frontier")


# --- asking the same tier again


def checking(says: Callable[[str, int], Any], **check: Any) -> Path:
    return Path(says, check={"kind": "self_consistency", **check})


def test_answers_that_agree_are_paid_for_one_by_one_and_the_first_is_the_answer() -> None:
    texts = ["It is 42.", "So: 42", "42.0"]
    path = checking(lambda tier, number: good(texts[number - 1]))

    assert "It is 42." == path.call().text
    assert ["student"] * 3 == path.asked
    assert (path.billed, 0) == path.spent
    leases = [effect.key for effect in path.effects if isinstance(effect, Reserve)]
    assert 3 == len(set(leases)) == len(leases)
    assert 3 == len([effect for effect in path.effects if isinstance(effect, Settle)])
    assert 2 == len([effect for effect in path.effects if isinstance(effect, MeasuredBeside)])


def test_an_answer_that_does_not_agree_with_the_others_is_asked_of_a_better_tier() -> None:
    path = checking(lambda tier, number: good("7") if tier == "frontier" else good(str(number)))

    assert "7" == path.call().text
    assert ["student"] * 3 + ["frontier"] == path.asked
    assert (path.billed, 0) == path.spent


def test_samples_that_fail_leave_the_answer_as_it_is() -> None:
    path = checking(lambda tier, number: good() if number == 1 else Outage("out"))

    assert "42" == path.call().text
    assert (path.billed, 0) == path.spent


@pytest.mark.parametrize("fields", [{"streaming": True}, {"locked": True}])
def test_a_call_that_nobody_may_raise_is_not_sampled(fields: dict[str, Any]) -> None:
    path = checking(tiers_say(student=good()))
    call = replace(plain_call(turns(1, 100), OWN), step=STEP, **fields)
    flow = model_call(call, path.runtime.controls)
    effects = list[Any]()

    def perform(effect: Any) -> Any:
        effects.append(effect)
        if isinstance(effect, InvokeModel):
            return good()
        return path.runtime.perform(effect, INVALID_SPAN, path.invoke)

    drive(flow, perform)

    assert not [effect for effect in effects if isinstance(effect, Sample)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The total is 1,200.50 dollars.", "We get 1200.5", True),
        ("The total is 7.", "The total is 8.", False),
        ("Yes.", "yes", True),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', True),
        ("Paris", "London", False),
    ],
)
def test_answers_are_compared_by_what_they_come_to(one: str, other: str, same: bool) -> None:
    assert same == (normalised(ModelResponse(text=one)) == normalised(ModelResponse(text=other)))


def test_tool_calls_are_compared_without_their_ids_and_order() -> None:
    def asking(*names: str) -> ModelResponse:
        return ModelResponse(tool_uses=tuple(ToolUse(id=f"{n}{names}", name=n, args={"q": 1}) for n in names))

    assert normalised(asking("a", "b")) == normalised(asking("b", "a"))
    assert normalised(asking("a")) != normalised(asking("b"))


# --- the hand-off


def test_a_better_tier_takes_over_with_a_cut_view_where_its_cold_cache_makes_that_cheaper() -> None:
    path = Path(tiers_say(student=REFUSED, frontier=good()))
    path.runtime = Runtime(
        load(
            {
                "governor": 1,
                "name": "p",
                "tiers": TIERS,
                "routing": {"default": "student", "escalate": {"after": WORDS}},
                "context": {"compact": {"strategy": "ledger", "keep_tail": "1k", "ledger": "500"}},
                **BUDGET,
            }
        ),
        store=MemoryStore(),
        clock=FakeClock(),
        new_id=FakeIds(),
    )
    call = replace(plain_call(turns(14, 600), OWN), step=STEP)
    drive(model_call(call, path.runtime.controls), path.perform)
    views = [effect.request.view for effect in path.effects if isinstance(effect, InvokeModel)]

    assert ["student", "frontier"] == path.asked
    assert [False, True] == [view.cut for view in views]
    assert views[1].tokens < views[0].tokens // 2


def test_a_sample_that_is_broken_off_raises_what_broke_it_once_the_paid_answer_is_recorded() -> None:
    path = checking(lambda tier, number: good() if number == 1 else KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        path.call()

    assert (path.billed, 0) == path.spent
    assert 1 == len([effect for effect in path.effects if isinstance(effect, Measured)])
    assert 1 == path.runtime.store.change("run", lambda state: (state, len(state.lanes)))


def test_a_sample_whose_reservation_finds_the_store_lost_leaves_the_answer_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = checking(tiers_say(student=good()))
    perform = path.perform

    def losing(effect: Any) -> Any:
        if isinstance(effect, Reserve) and ".sample" in effect.key:
            raise RunStopped(Reason(code="store.lost", rule="on_store_loss", text="The store is lost."))
        return perform(effect)

    monkeypatch.setattr(path, "perform", losing)

    assert "42" == path.call().text
    assert (path.billed, 0) == path.spent
