"""A runtime with a judge, for tests of its calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry.trace import INVALID_SPAN

from governor.calls import Message, ModelCall, ModelRef, ModelResponse, RunRef, StepRef, ToolUse
from governor.drive import drive
from governor.effects import Summarise
from governor.pipeline import model_call
from governor.policy.load import load
from governor.routing.estimate import StepFeatures
from governor.routing.judge import Judge, Rating, key_of
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.testing import FakeClock, FakeIds
from governor.usage import Usage
from tests.controls.histories import history, system, user

BIG, SMALL = "anthropic:claude-sonnet-4-5", "openai:gpt-4o-mini"
STEP = StepRef(run=RunRef(id="run", thread="t"), node="agent", path="agent", ns="agent:1")
GOOD = ModelResponse(text="fine", usage=Usage(input=100, output=10), finish="stop")
SCORES = {"logic_depth": 3, "math": 2, "ambiguity": 0, "precision": 1}
RATED = ModelResponse(
    tool_uses=(ToolUse(id="1", name="rate", args=SCORES),), usage=Usage(input=400, output=30), finish="tool_use"
)
ASKED = [system("Be brief."), user("prove it")]
FEATURES = StepFeatures(node="agent", path="agent", delta="prove it")


class Path:
    """A runtime with a judge that notes every effect."""

    def __init__(self, settings: dict[str, Any] | None = None, judge: Any = RATED, **policy: Any) -> None:
        whole = {
            "governor": 1,
            "name": "p",
            "mode": "enforce",
            "tiers": {"big": {"model": BIG, "max_output_tokens": "1k"}, "small": {"model": SMALL}},
            "routing": {
                "default": "big",
                "estimator": {"kind": "judge", "settings": {"tier": "small", **(settings or {})}},
            },
            **policy,
        }
        self.runtime = Runtime(load(whole), store=MemoryStore(), clock=FakeClock(), new_id=FakeIds())
        self.effects: list[Any] = []
        self.judge = judge

    @property
    def estimator(self) -> Judge:
        return Judge(self.runtime.controls.rate.ratings, mode="inline")

    def invoke(self, effect: Any) -> ModelResponse:
        effect.meter.dispatched = True
        judge: Any = self.judge
        said: Any = (judge() if callable(judge) else judge) if isinstance(effect, Summarise) else GOOD
        if isinstance(said, BaseException):
            effect.meter.rejected = isinstance(said, ValueError)
            raise said
        return said

    def perform(self, effect: Any) -> Any:
        return self.runtime.perform(effect, INVALID_SPAN, self.noted)

    def noted(self, effect: Any) -> ModelResponse:
        self.effects.append(effect)
        return self.invoke(effect)

    def model(self, messages: list[Message] | None = None, **call: Any) -> ModelResponse:
        self.watch()
        made = drive(model_call(asked(messages, **call), self.runtime.controls), self.perform)
        self.settled()
        return made

    def settled(self) -> None:
        """Wait for what is under way beside the calls."""
        for thread in tuple(self.runtime.asides._threads):
            thread.join()

    def watch(self) -> None:
        """Note the effects that the runtime performs itself, too: those of the judge's flow do not pass by a test's driver."""
        if not hasattr(self, "store_seen"):
            self.store_seen: list[Any] = []
            self.decided: list[Any] = []
            self.beside: list[Any] = []
            telemetry = self.runtime.telemetry
            for name, into in (("decided", self.decided), ("beside", self.beside)):
                setattr(telemetry, name, partial(_noted, getattr(telemetry, name), into))

    def judged(self) -> list[Summarise]:
        return [effect for effect in self.effects if isinstance(effect, Summarise)]

    def reasons(self) -> list[str]:
        return [
            decision.reason.text
            for _, _, decision in self.decided
            if decision.reason and decision.reason.code == "route.unrated"
        ]

    def facts(self) -> dict[str, Any]:
        (args,) = self.beside
        return dict(args[3]())

    def rating(self) -> Rating | None:
        return self.runtime.controls.rate.ratings.get(key_of("agent", "prove it"))


def _noted(original: Callable[..., Any], into: list[Any], *args: Any) -> Any:
    into.append(args)
    return original(*args)


def asked(messages: list[Message] | None = None, **call: Any) -> ModelCall:
    fields: dict[str, Any] = {
        "ordinal": 0,
        "model": ModelRef(provider="openai", model="gpt-4o"),
        "lane": "agent#u",
        **call,
    }
    return ModelCall(step=STEP, history=history(messages or ASKED), **fields)


def spent(path: Path, ledger: str) -> list[tuple[int, int]]:
    return [(each.spent, each.reserved) for each in path.runtime.store.balances() if each.ledger.startswith(ledger)]


class Slow:
    """A judge that answers when it is let."""

    def __init__(self, answer: Any = RATED) -> None:
        self.may, self.begun = threading.Event(), threading.Event()
        self.answer = answer

    def __call__(self) -> Any:
        self.begun.set()
        assert self.may.wait(60)
        return self.answer
