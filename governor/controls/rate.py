"""Rate: which calls a cheap tier is asked to rate, what it is shown, and how long the call waits for that (`estimator: judge`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.calls import AnswerForm, History, Message, ModelRef, ToolSpec, View
from governor.decisions import ALLOWED
from governor.plans import Routed
from governor.policy.estimators import JudgeSettings
from governor.policy.matchers import matches_glob
from governor.routing.judge import FORM, RUBRIC, Ratings, key_of, question
from governor.routing.live import live_step
from governor.tokens import MESSAGE_FRAMING, estimate, estimate_tool
from governor.values import cheap, replace

if TYPE_CHECKING:
    from governor.calls import ModelCall
    from governor.policy.schema import Policy
    from governor.prices import PriceBook
    from governor.runs import RunState

__all__ = ["Rate", "ToRate"]

_DESCRIPTION = "Report how demanding the step is."


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class ToRate:
    """A question to the judge about one call."""

    key: bytes
    """What its answer is remembered by."""
    routed: Routed
    """The judge's tier."""
    call: ModelCall
    """The call it is asked for, with the question as its history."""
    form: AnswerForm
    output: int
    """Output limit of the judge's call."""
    wait_ms: int
    """How long the call may wait for it; 0 records only."""
    budget_ms: int
    """By when an answer would be in time, be it waited for or not."""
    max_cost: int | None
    """Nano-USD that the run may spend on such questions; None: what its budgets allow."""
    written: str
    """The same as its author wrote it."""


class Rate:
    """Asks about calls whose tier no rule names. Pure but for `ratings`, which remembers answers."""

    def __init__(self, policy: Policy, prices: PriceBook, ratings: Ratings | None = None) -> None:
        """Nobody is asked unless the policy's estimator is a judge, nor where the policy only observes: it would cost money."""
        self.ratings = Ratings() if ratings is None else ratings
        estimator = policy.routing.estimator
        self._rules = policy.routing.rules
        self._settings: JudgeSettings | None = None
        if estimator.kind != "judge" or policy.mode == "observe":
            return
        settings = self._settings = JudgeSettings.model_validate(estimator.settings)
        tier = policy.tiers[settings.tier]
        model = ModelRef(provider=tier.provider, model=tier.model_name)
        limit = (
            settings.max_tokens if tier.max_output_tokens is None else min(settings.max_tokens, tier.max_output_tokens)
        )
        self._output = int(limit)
        self._routed = Routed(
            tier=settings.tier,
            model=model,
            rates=prices.rates(model),
            max_output_tokens=self._output,
            decision=ALLOWED,
        )
        self._form = AnswerForm(
            name="rate", description=_DESCRIPTION, schema=FORM, temperature=0 if settings.send_temperature else None
        )
        tool = {"name": "rate", "description": _DESCRIPTION, "parameters": FORM}
        self._tool = ToolSpec(name="rate", tokens=estimate_tool(json.dumps(tool)))

    def asking(self, state: RunState, call: ModelCall) -> ToRate | None:
        """The question about a call; None where there is nothing to ask: it was answered before, or nothing hangs on the answer.

        `state` counts the call already.
        """
        settings = self._settings
        if settings is None or call.locked or not self._wanted(settings.when, state, call):
            return None
        delta = live_step(state, call).delta
        if not delta.strip():
            return None
        key = key_of(call.step.node, delta)
        if self.ratings.get(key) is not None:
            return None
        return ToRate(
            key=key,
            routed=self._routed,
            call=self._asked(call, delta),
            form=self._form,
            output=self._output,
            wait_ms=settings.budget_ms if settings.mode == "inline" else 0,
            budget_ms=settings.budget_ms,
            max_cost=None if settings.max_cost is None else int(settings.max_cost),
            written="" if settings.max_cost is None else settings.max_cost.written,
        )

    def _wanted(self, when: str, state: RunState, call: ModelCall) -> bool:
        step, messages = call.step, call.history.messages
        if any(
            matches_glob(rule.when.node, step.node) or matches_glob(rule.when.node, step.path) for rule in self._rules
        ):
            return False
        if when == "first":
            return state.model_calls == 1
        return when == "always" or not messages or messages[-1].role != "tool"

    def _asked(self, call: ModelCall, delta: str) -> ModelCall:
        """The judge's own call. Nothing of the conversation is in it but the newest message, in quotes."""
        rubric, step = _message("system", RUBRIC), _message("user", question(call.step.node, delta))
        history = History(
            messages=(rubric, step),
            cumulative=(rubric.tokens, rubric.tokens + step.tokens),
            index={rubric.key: 0, step.key: 1},
        )
        return replace(
            call,
            history=history,
            tools=(self._tool,),
            hosted=(),
            choice="rate",
            max_output_tokens=None,
            lane="",
            elided=(),
            streaming=False,
        )


def view_of(asked: ToRate) -> View:
    """What the judge is shown."""
    return View(history=asked.call.history)


def _message(role: str, text: str) -> Message:
    made = Message(key=f"rating:{role}", role="user", text=text, tokens=MESSAGE_FRAMING + estimate(text))
    return replace(made, role=role)
