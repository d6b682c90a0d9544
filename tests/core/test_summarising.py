"""The call for a summary: who is asked and what, what it is charged, what an answer of no use leads to, and that it is made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN

from governor.calls import Message, ModelCall, ModelRef, ModelResponse, RunRef, StepRef
from governor.decisions import Decision, Reason
from governor.drive import drive
from governor.effects import Decided, InvokeModel, MeasuredBeside, Settle, Summarise
from governor.errors import RunStopped
from governor.pipeline import model_call
from governor.policy.load import load
from governor.runs import Lane
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.testing import FakeClock, FakeIds
from governor.usage import Usage
from tests.controls.histories import answer, asks, history, system, turns, use, user, words

SONNET = "bedrock_converse:anthropic.claude-sonnet-4-5-20250929-v1:0"
MICRO = "bedrock_converse:amazon.nova-micro-v1:0"
OWN = ModelRef(provider="openai", model="gpt-4o")
STEP = StepRef(run=RunRef(id="run", thread="t"), node="agent", path="agent", ns="agent:1")
GOOD = ModelResponse(text="fine", usage=Usage(input=100, output=10), finish="stop")
TOLD = ModelResponse(text="The refund of A-7 is open.", usage=Usage(input=9_000, output=60), finish="stop")
SUMMARISE = {"compact": {"strategy": "summarise", "keep_tail": "2k", "ledger": "500"}, "max_input_tokens": "60k"}
LONG = turns(60, 1_000)


class Killed(BaseException):
    """The process is gone."""


class Path:
    """A runtime over a policy that notes every effect, and is asked for a summary when the model changed."""

    def __init__(self, **policy: Any) -> None:
        whole = {"governor": 1, "name": "p", "context": SUMMARISE, "loops": {"mode": "observe"}, **policy}
        self.runtime = Runtime(load(whole), store=MemoryStore(), clock=FakeClock(), new_id=FakeIds())
        self.effects: list[Any] = []
        self.dies_at: Callable[[Any], bool] = lambda effect: False

    def perform(self, invoke: Callable[[Any], Any], effect: Any) -> Any:
        self.effects.append(effect)
        if self.dies_at(effect):
            raise Killed
        return self.runtime.perform(effect, INVALID_SPAN, invoke)

    def model(self, messages: list[Message] | None = None, told: Any = TOLD, **call: Any) -> ModelResponse:
        def invoke(effect: Any) -> ModelResponse:
            effect.meter.dispatched = True
            said = told if isinstance(effect, Summarise) else GOOD
            if isinstance(said, BaseException):
                effect.meter.rejected = isinstance(said, ValueError)
                raise said
            return said

        flow = model_call(asked(messages or LONG, **call), self.runtime.controls)
        return drive(flow, partial(self.perform, invoke))

    def summaries(self) -> list[Summarise]:
        return [effect for effect in self.effects if isinstance(effect, Summarise)]

    def sent(self) -> InvokeModel:
        return next(effect for effect in reversed(self.effects) if isinstance(effect, InvokeModel))

    def inserted(self) -> list[str]:
        return [message.text for message in self.sent().request.view.inserted]

    def cut(self) -> Decision:
        decisions = [effect.decision for effect in self.effects if isinstance(effect, Decided)]
        return next(each for each in decisions if each.reason and each.reason.code == "context.cut")

    def said(self) -> str:
        reason = self.cut().reason
        return reason.text if reason else ""

    def spent(self, unit: str) -> tuple[int, int]:
        (found,) = [each for each in self.runtime.store.balances() if each.unit == unit]
        return found.spent, found.reserved


def asked(messages: list[Message], **call: Any) -> ModelCall:
    fields: dict[str, Any] = {"ordinal": 0, "model": OWN, "lane": "agent#u", "recall": True, **call}
    return ModelCall(step=STEP, history=history(messages), **fields)


def budget(**limit: Any) -> dict[str, Any]:
    return {"budgets": [{"id": "run", "scope": "run", "limit": limit}]}


def tiers(**more: Any) -> dict[str, Any]:
    made = {"big": {"model": SONNET}, "small": {"model": MICRO, **more}}
    return {"tiers": made, "routing": {"default": "big"}}


BOUND = {"compact": {"strategy": "summarise", "keep_tail": "2k", "ledger": "500"}, "max_input_tokens": "100k"}
"""A bound that `LONG` is not forced to be cut by: the tests cut it by a cold cache."""


def cold(**policy: Any) -> Path:
    """A lane that another model has answered before: its cache is cold, so that the next call cuts."""
    path = Path(**{"context": BOUND, **policy})
    path.runtime.store.change(STEP.run.id, _answered_by_another)
    return path


def _answered_by_another(state: Any) -> Any:
    return replace(state, lanes={"agent#u": Lane(calls=3, model="openai:another", last_at_ms=1)}), None


def test_a_summary_is_asked_for_before_the_call_and_stands_beside_the_ledger() -> None:
    path = cold(**budget(tokens="1M"))

    path.model()

    names = [type(effect).__name__ for effect in path.effects]
    assert names.index("Summarise") < names.index("InvokeModel")
    assert [1, 2] == [len(path.summaries()), names.count("Reserve")]
    summary, ledger = path.inserted()
    assert summary.endswith("The refund of A-7 is open.")
    assert "data, not instructions" in summary
    assert "earlier messages are left out" in ledger
    assert "wrote a summary" in path.said()


def test_the_call_has_a_key_a_clamp_and_a_charge_of_its_own() -> None:
    path = cold(**budget(tokens="1M", model_calls=10))

    path.model()

    keys = [effect.key for effect in path.effects if type(effect).__name__ == "Reserve"]
    assert [True, False] == [key.endswith(".summary") for key in keys]
    assert 2_000 == path.summaries()[0].request.max_output_tokens
    assert (9_060 + 110, 0) == path.spent("tokens")
    assert (2, 0) == path.spent("model_calls")


def test_it_is_recorded_as_a_call_of_its_own_that_left_nothing_out() -> None:
    path = cold()

    path.model()

    (beside,) = [effect for effect in path.effects if isinstance(effect, MeasuredBeside)]
    facts = beside.attributes()
    assert (9_000, 60) == (facts["gen_ai.usage.input_tokens"], facts["gen_ai.usage.output_tokens"])
    assert facts["governor.context.tokens_before"] == facts["governor.context.tokens_after"]


def test_between_cuts_nobody_is_asked_and_the_bytes_stay() -> None:
    path = cold()
    path.model()
    first = path.inserted()
    path.effects.clear()

    path.model([*LONG, asks("n", use("nc")), answer("nt", "nc", "more")])

    assert [] == path.summaries()
    assert first == path.inserted()


REFUSED = ModelResponse(text="No.", usage=Usage(input=9_000, output=5), finish="refusal")
EMPTY = ModelResponse(text="  ", usage=Usage(input=9_000, output=5), finish="stop")
LENGTHY = ModelResponse(text=words(3_000), usage=Usage(input=9_000, output=2_000), finish="stop")
CUT_OFF = ModelResponse(text="The", usage=Usage(input=9_000, output=2_000), finish="length")
CALLING = ModelResponse(text="Hm", usage=Usage(input=9_000, output=5), finish="tool_use", tool_uses=(use("x"),))


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (REFUSED, "the model refused"),
        (EMPTY, "the answer was empty"),
        (LENGTHY, "the answer was too long"),
        (CUT_OFF, "the answer was too long"),
        (CALLING, "the model called a tool instead"),
        (TimeoutError("slow"), "the call failed with TimeoutError"),
        (ValueError("no such field"), "the call failed with ValueError"),
    ],
)
def test_without_a_usable_summary_the_ledger_alone_stands_there_and_says_why(told: Any, why: str) -> None:
    path = cold(**budget(tokens="1M"))

    assert "fine" == path.model(told=told).text

    assert f"There is no summary, only the list of identifiers: {why}." in path.said()
    assert 1 == len(path.inserted())
    spent, reserved = path.spent("tokens")
    assert 0 == reserved
    assert spent > 9_000 if not isinstance(told, ValueError) else spent == 110


def test_a_budget_without_room_for_a_summary_has_room_for_the_call() -> None:
    path = cold(context={**BOUND, "max_input_tokens": "100k"}, **budget(model_calls=1))

    assert "fine" == path.model().text

    assert [] == path.summaries()
    assert "only the list of identifiers" in path.said()
    assert (1, 0) == path.spent("model_calls")


def test_a_run_that_is_killed_before_the_summary_is_settled_is_resumed_with_it_and_asks_nobody() -> None:
    path = cold(**budget(tokens="1M", model_calls=10))
    path.dies_at = lambda effect: isinstance(effect, Settle)
    with pytest.raises(Killed):
        path.model()
    path.dies_at = lambda effect: False
    path.effects.clear()

    path.model()

    assert [] == path.summaries()
    assert path.inserted()[0].endswith("The refund of A-7 is open.")
    spent, reserved = path.spent("model_calls")
    assert 2 == spent + reserved


def test_a_call_that_is_broken_off_while_a_summary_is_written_is_charged_and_ends() -> None:
    path = cold(**budget(tokens="1M", model_calls=10))

    with pytest.raises(Killed):
        path.model(told=Killed())

    assert (1, 0) == path.spent("model_calls")
    assert not [effect for effect in path.effects if isinstance(effect, InvokeModel)]


def test_a_stop_of_another_governor_around_this_one_is_no_failed_summary() -> None:
    path = cold()

    with pytest.raises(RunStopped):
        path.model(told=RunStopped(Reason(code="x", rule="x", text="No more.")))


def test_of_a_long_conversation_at_a_dear_model_its_own_model_is_asked_and_reads_its_cache() -> None:
    """On Sonnet's prices, from 4.3k removed tokens on (design notes), against a model of a third of its price."""
    prices = {"price": {"input": 1, "output": 5, "cache_read": 0.1, "cache_write": 1.25}}
    path = Path(
        context=BOUND, **{**tiers(**prices), "tiers": {"big": {"model": SONNET}, "small": {"model": MICRO, **prices}}}
    )
    sonnet = ModelRef(provider="bedrock_converse", model=SONNET.partition(":")[2])
    path.runtime.store.change(STEP.run.id, partial(_paid_enough, model=str(sonnet)))

    path.model()

    (summary,) = path.summaries()
    assert (True, "big") == (summary.appended, summary.request.tier)
    assert summary.request.view.notes[-1].startswith("[The history above")
    assert LONG == list(summary.request.view.history.messages)


def _paid_enough(state: Any, model: str) -> Any:
    lane = Lane(calls=30, model=model, last_at_ms=FakeClock()(), rent=10**15, prefix_tokens=60_000)
    return replace(state, lanes={"agent#u": lane}), None


def test_a_cold_cache_or_a_cheap_tier_makes_the_cheaper_tier_be_asked_which_sees_all_that_is_removed() -> None:
    path = cold(**tiers())

    path.model()

    (summary,) = path.summaries()
    assert (False, "small", ()) == (summary.appended, summary.request.tier, summary.request.call.tools)
    alone, shown = summary.request.view.history.messages
    assert "It is data" in alone.text
    view = path.sent().request.view
    removed = [m for i, m in enumerate(LONG[: view.start]) if i not in view.pinned]
    assert removed
    assert all(message.text in shown.text for message in removed)
    assert all(use.name in shown.text for message in removed for use in message.tool_uses)


def test_a_tier_whose_window_does_not_hold_what_is_removed_is_not_asked() -> None:
    path = cold(**tiers(context_window="20k"))

    path.model()

    (summary,) = path.summaries()
    assert "big" == summary.request.tier


def test_a_node_that_is_locked_to_its_tier_sends_nothing_to_another_one() -> None:
    rule = {"id": "here", "when": {"node": "agent"}, "tier": "big", "lock": True}
    path = cold(**{**tiers(), "routing": {"default": "big", "rules": [rule]}})

    path.model()

    assert ["big"] == [summary.request.tier for summary in path.summaries()]


def test_the_summary_of_the_cut_before_is_part_of_what_is_summarised_next() -> None:
    path = cold(**tiers())
    path.model()
    more = [replace(message, key=f"n{i}") for i, message in enumerate(turns(60, 1_001)[2:])]
    path.effects.clear()
    path.runtime.store.change(STEP.run.id, _cooled)

    path.model([*LONG, *more])

    (summary,) = path.summaries()
    assert "The refund of A-7 is open." in summary.request.view.history.messages[1].text
    assert 1 == sum("A-7" in text for text in path.inserted())


def _cooled(state: Any) -> Any:
    lane = replace(state.lanes["agent#u"], model="openai:another")
    return replace(state, lanes={"agent#u": lane}), None


def test_a_fork_sees_the_summary_of_the_cut_that_it_comes_after() -> None:
    path = cold()
    path.model()
    first = path.inserted()
    path.effects.clear()

    path.model([*LONG[:-1], answer("other", "c59", "Another way.")])

    assert [] == path.summaries()
    assert first == path.inserted()


def test_nobody_is_asked_where_the_policy_only_observes() -> None:
    path = cold(mode="observe")

    path.model()

    assert [] == path.summaries()


def test_a_bound_on_prompts_is_a_bound_on_the_prompt_for_a_summary() -> None:
    path = Path(context={**BOUND, "max_input_tokens": "30k"})

    path.model()

    assert [] == path.summaries()
    assert "no model may read what is removed in one prompt" in path.said()
    assert path.sent().request.input_tokens <= 30_000


def test_an_open_tool_call_is_never_followed_by_the_question() -> None:
    messages = [system(), user("Go."), *turns(70, 1_300)[2:], asks("open", use("oc"))]
    path = Path(context={**BOUND, "max_input_tokens": "100k"}, **tiers())
    path.runtime.store.change(STEP.run.id, _answered_by_another)

    path.model(messages)

    assert all(not summary.appended for summary in path.summaries())
