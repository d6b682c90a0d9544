"""The path of one call, driven without any graph: what happens in which order, and what is settled whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN

from governor.calls import History, Message, ModelCall, ModelRef, ModelResponse, RunRef, StepRef, ToolCall, ToolResult
from governor.drive import drive
from governor.effects import Approve, Decided, InvokeModel, InvokeTool, Measured
from governor.errors import CallDenied, RunStopped
from governor.ledger import Balance
from governor.pipeline import model_call, step_entry, tool_call
from governor.policy.load import load
from governor.record import LANES
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.testing import FakeClock, FakeIds
from governor.usage import Usage

RUN = RunRef(id="run", thread="t", scopes={"tenant": "acme"})
STEP = StepRef(run=RUN, node="agent", path="agent", ns="agent:1")
SONNET = "bedrock_converse:anthropic.claude-sonnet-4-5-20250929-v1:0"
MICRO = "bedrock_converse:amazon.nova-micro-v1:0"
USED = Usage(input=100, output=10)
GOOD = ModelResponse(text="fine", usage=USED, finish="stop")
FOUND = ToolResult(text="ok")
BAD = ModelResponse(text="", usage=USED, finish="stop")


class Path:
    """A runtime over a policy, that notes every effect it performs."""

    def __init__(self, **policy: Any) -> None:
        tiers = {
            "frontier": {"model": SONNET, "max_output_tokens": 500},
            "small": {"model": MICRO, "max_output_tokens": 500},
        }
        whole = {"governor": 1, "name": "p", "tiers": tiers, "routing": {"default": "small"}, **policy}
        self.runtime = Runtime(load(whole), store=MemoryStore(), clock=FakeClock(), new_id=FakeIds())
        self.effects: list[Any] = []

    def perform(self, invoke: Callable[[Any], Any], effect: Any) -> Any:
        self.effects.append(effect)
        return self.runtime.perform(effect, INVALID_SPAN, invoke)

    def model(self, *answers: ModelResponse | BaseException, **call: Any) -> ModelResponse:
        given = iter(answers)

        def invoke(effect: InvokeModel) -> ModelResponse:
            effect.meter.dispatched = True
            answer = next(given)
            if isinstance(answer, BaseException):
                effect.meter.rejected = isinstance(answer, ValueError)
                effect.meter.again = isinstance(answer, ConnectionError)
                raise answer
            return answer

        return drive(model_call(asked(**call), self.runtime.controls), partial(self.perform, invoke))

    def tool(self, answer: ToolResult | BaseException = FOUND, *, approved: bool = True, **call: Any) -> ToolResult:
        def invoke(effect: InvokeTool | Approve) -> Any:
            if isinstance(effect, Approve):
                return approved
            if isinstance(answer, BaseException):
                raise answer
            return answer

        fields: dict[str, Any] = {"name": "search", "args": {}, "id": "c1", **call}
        given = ToolCall(step=STEP, **fields)
        return drive(tool_call(given, self.runtime.controls), partial(self.perform, invoke))

    def names(self) -> list[str]:
        return [type(effect).__name__ for effect in self.effects]

    def requests(self) -> list[InvokeModel]:
        return [effect for effect in self.effects if isinstance(effect, InvokeModel)]

    def balance(self, unit: str) -> Balance:
        (found,) = [each for each in self.runtime.store.balances() if each.unit == unit]
        return found


def asked(**call: Any) -> ModelCall:
    message = Message(key="m1", role="user", text="hello", tokens=50)
    history = History(messages=[message], cumulative=[50], index={"m1": 0})
    model = ModelRef(provider="openai", model="gpt-4o")
    fields: dict[str, Any] = {
        "step": STEP,
        "ordinal": 0,
        "history": history,
        "model": model,
        "lane": "agent#m1",
        **call,
    }
    return ModelCall(**fields)


def budget(**limit: Any) -> dict[str, Any]:
    return {"budgets": [{"id": "run", "scope": "run", "limit": limit}]}


def test_a_model_call_is_reserved_before_it_is_made_and_settled_after() -> None:
    path = Path(**budget(tokens="10k"))

    path.model(GOOD)

    names = path.names()
    assert names.index("Reserve") < names.index("InvokeModel") < names.index("Settle")
    assert (110, 0) == (path.balance("tokens").spent, path.balance("tokens").reserved)


def test_the_bound_on_a_prompt_is_held_against_what_the_model_is_known_to_count() -> None:
    path = Path(context={"max_input_tokens": "650"})
    message = Message(key="m1", role="user", text="words", tokens=450)
    history = History(messages=[message], cumulative=[450], index={"m1": 0})
    path.model(GOOD, history=history)
    path.runtime.calibrations.learn(
        ModelRef(provider="bedrock_converse", model=MICRO.partition(":")[2]), estimated=1_000, reported=2_000
    )

    with pytest.raises(CallDenied, match="932 tokens"):
        path.model(GOOD, history=history)


def test_the_tier_and_the_clamp_are_on_the_request() -> None:
    path = Path(**budget(usd=1))

    path.model(GOOD)

    (sent,) = path.requests()
    assert ("small", MICRO, 500) == (sent.request.tier, str(sent.request.model), sent.request.max_output_tokens)


def test_a_request_that_the_provider_refused_costs_nothing() -> None:
    path = Path(**budget(tokens="10k"))

    with pytest.raises(ValueError, match="no such field"):
        path.model(ValueError("no such field"))

    assert (0, 0) == (path.balance("tokens").spent, path.balance("tokens").reserved)


def test_a_failure_whose_outcome_nobody_knows_is_charged_at_its_worst() -> None:
    path = Path(**budget(tokens="10k"))

    with pytest.raises(TimeoutError):
        path.model(TimeoutError())

    assert path.balance("tokens").spent >= 50 + 500
    assert 0 == path.balance("tokens").reserved


def test_an_unusable_answer_is_asked_for_once_more_one_tier_up_and_both_are_paid() -> None:
    escalate = {"after": ["empty"], "for": 4, "at_most": 2}
    path = Path(routing={"default": "small", "escalate": escalate}, **budget(model_calls=10, tokens="100k"))

    answer = path.model(BAD, GOOD)

    assert GOOD == answer
    assert ["small", "frontier"] == [each.request.tier for each in path.requests()]
    assert 220 == path.balance("tokens").spent


def test_what_the_client_would_have_retried_is_another_attempt_with_a_reservation_of_its_own() -> None:
    path = Path(**budget(tokens="10k", model_calls=3))

    assert GOOD == path.model(ConnectionError(), ConnectionError(), GOOD)

    assert ["Reserve", "InvokeModel", "Settle"] * 3 == [
        name for name in path.names() if name in ("Reserve", "InvokeModel", "Settle")
    ]
    assert 3 == path.balance("model_calls").spent
    assert path.balance("tokens").spent >= 2 * (50 + 500) + 110


def test_a_retry_that_the_budget_has_no_room_for_is_not_sent() -> None:
    path = Path(**budget(model_calls=1))

    with pytest.raises(RunStopped):
        path.model(ConnectionError(), GOOD)

    assert 1 == len(path.requests())


def test_a_stream_is_never_asked_for_again() -> None:
    path = Path(routing={"default": "small", "escalate": {"after": ["empty"], "for": 4, "at_most": 2}})

    assert BAD == path.model(BAD, GOOD, streaming=True)


def test_an_exhausted_budget_stops_the_run_and_every_later_call_of_it() -> None:
    path = Path(**budget(model_calls=1), tools={"default": "allow"})
    path.model(GOOD)

    with pytest.raises(RunStopped) as first:
        path.model(GOOD)
    with pytest.raises(RunStopped) as second:
        path.tool()

    assert ("budget.exhausted", "run", "1") == (
        first.value.reason.code,
        first.value.reason.rule,
        first.value.reason.limit,
    )
    assert first.value.reason.text == second.value.reason.text
    assert 1 == len(path.requests())


def test_an_answer_from_langchains_own_cache_costs_nothing() -> None:
    path = Path(**budget(tokens="10k"))

    path.model(ModelResponse(text="cached", cached=True))

    assert (0, 0) == (path.balance("tokens").spent, path.balance("tokens").reserved)


def test_a_denied_tool_is_answered_and_never_run() -> None:
    path = Path(**budget(tool_calls=5))

    answer = path.tool()

    assert answer.synthetic
    assert answer.failed
    assert "InvokeTool" not in path.names()
    assert "Reserve" not in path.names()


@pytest.mark.parametrize("approved", [True, False])
def test_a_tool_that_needs_approval_runs_only_after_a_yes(approved: bool) -> None:
    path = Path(tools={"rules": [{"id": "ask", "tool": "search", "decide": "ask", "expires": "1h"}]})

    answer = path.tool(approved=approved)

    assert approved == ("InvokeTool" in path.names())
    assert approved == (not answer.synthetic)


def test_a_tool_that_fails_is_counted_and_its_error_goes_on() -> None:
    path = Path(**budget(tool_calls=5), tools={"default": "allow"})

    with pytest.raises(RuntimeError, match="boom"):
        path.tool(RuntimeError("boom"))

    assert (1, 0) == (path.balance("tool_calls").spent, path.balance("tool_calls").reserved)


def test_a_step_is_counted_once_however_often_it_is_entered() -> None:
    path = Path(limits={"steps": 2})
    enter = partial(path.perform, lambda effect: None)

    for ns in ("a:1", "a:1", "b:1"):
        drive(step_entry(StepRef(run=RUN, node="a", path="a", ns=ns), path.runtime.controls), enter)
    with pytest.raises(RunStopped) as stopped:
        drive(step_entry(StepRef(run=RUN, node="a", path="a", ns="c:1"), path.runtime.controls), enter)

    assert ("limits.steps", "2") == (stopped.value.reason.code, stopped.value.reason.limit)


def test_observing_lets_everything_through_and_says_what_it_would_have_done() -> None:
    path = Path(mode="observe", **budget(model_calls=1))

    for _ in range(3):
        path.model(GOOD)
    path.tool()

    assert 3 == len(path.requests())
    assert 3 == path.balance("model_calls").spent
    assert any(effect.decision.observed for effect in path.effects if isinstance(effect, Decided))


def test_a_model_without_a_price_is_refused_under_a_money_limit() -> None:
    path = Path(tiers={}, routing={}, **budget(usd=1))

    with pytest.raises((RunStopped, CallDenied)) as refused:
        path.model(GOOD, model=ModelRef(provider="nobody", model="knows"))

    assert "budget.unknown_price" == refused.value.reason.code
    assert [] == path.requests()


def test_a_call_that_failed_is_in_the_trace_at_what_it_was_charged() -> None:
    path = Path(**budget(usd=1, tokens="10k"))

    with pytest.raises(TimeoutError):
        path.model(TimeoutError())

    (measured,) = [effect.attributes() for effect in path.effects if isinstance(effect, Measured)]
    assert measured["governor.failed"]
    assert 0 < path.balance("nano_usd").spent == measured["governor.cost_nano_usd"]


def test_a_call_that_was_never_billed_is_in_the_trace_at_nothing() -> None:
    path = Path(**budget(usd=1))

    with pytest.raises(ValueError, match="no such field"):
        path.model(ValueError("no such field"))

    (measured,) = [effect.attributes() for effect in path.effects if isinstance(effect, Measured)]
    assert 0 == measured["governor.cost_nano_usd"] == measured["gen_ai.usage.input_tokens"]


def test_a_question_to_a_person_is_in_the_trace_before_it_is_answered() -> None:
    path = Path(tools={"rules": [{"id": "ask", "tool": "search", "decide": "ask", "expires": "1h"}]})

    path.tool()

    names = path.names()
    assert names.index("Decided") < names.index("Approve")


def test_a_refusal_carries_the_hash_of_the_policy_that_refused() -> None:
    path = Path(**budget(model_calls=1))
    run = RunRef(id="run", policy_hash="sha256:abc")
    step = StepRef(run=run, node="agent", path="agent", ns="agent:1")
    path.model(GOOD, step=step)

    with pytest.raises(RunStopped) as refused:
        path.model(GOOD, step=step)

    assert "sha256:abc" == refused.value.policy_hash


@pytest.mark.parametrize("lenient", [{"hard": False}, {"mode": "observe"}], ids=["soft", "observed"])
def test_a_soft_budget_that_is_passed_is_reported_once_and_stops_nobody(lenient: dict[str, Any]) -> None:
    path = Path(budgets=[{"id": "calls", "scope": "run", "limit": {"model_calls": 2}, **lenient}])

    for _ in range(5):
        path.model(GOOD)

    told = [
        effect.decision
        for effect in path.effects
        if isinstance(effect, Decided) and effect.decision.control == "budget"
    ]
    assert 5 == len(path.requests())
    assert [("budget.passed", "2", True)] == [(d.reason.code, d.reason.limit, d.observed) for d in told if d.reason]


def test_a_state_remembers_the_lanes_used_last_and_no_more_however_wide_a_fan_out_is() -> None:
    path = Path()

    for number in (*range(100), 50):
        path.model(GOOD, lane=f"agent#m{number}")

    lanes = list(path.runtime.store.change("run", lambda state: (state, state)).lanes)
    assert LANES == len(lanes)
    assert ["agent#m99", "agent#m50"] == lanes[-2:]
