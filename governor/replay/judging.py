"""A recorded run, put through the path that a live one takes, with every rule in observe mode.

Nothing is decided here. The flows of `pipeline` ask for effects, and they are answered from the record: the clock by its times, a model
call by the recorded answer, a tool call by the recorded result. Ledgers and run state are those of a store in memory, made anew for each
run.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN

from governor.calls import (
    History,
    Message,
    ModelCall,
    ModelRef,
    ModelResponse,
    RunRef,
    StepRef,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from governor.decisions import ALLOWED, Decision, Verdict
from governor.drive import drive
from governor.effects import Decided, InvokeModel, InvokeTool, Measured
from governor.errors import Refused
from governor.pipeline import model_call, step_entry, step_exit, tool_call
from governor.prefix import digest_of, rolled_on
from governor.prices import PriceBook
from governor.replay.observed import Observed
from governor.replay.recorded import UNKNOWN_MODEL, Called, Entered, Ran, Recorded, Turn
from governor.replay.report import Judged, Tally
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.tokens import REQUEST_FRAMING, TOOLS_PREAMBLE, estimate_answer, estimate_tool
from governor.values import replace

if TYPE_CHECKING:
    from governor.effects import Approve, Effect, Flow, Sample, Summarise
    from governor.policy.load import LoadedPolicy

__all__ = ["NODE", "Replay"]

NODE, TOOLS = "agent", "tools"
"""What nodes are called where the record names none: those of an agent with tools."""


class Replay:
    """Judges recorded runs by one policy. Each is judged by itself: what they spent of a shared budget is not added up."""

    def __init__(
        self,
        policy: LoadedPolicy,
        *,
        prices: PriceBook | None = None,
        model: ModelRef | None = None,
        scopes: Mapping[str, str] | None = None,
    ) -> None:
        """`model` answers where the record names none; `scopes` is whom the runs are for. Raises PolicyError as a governed graph would."""
        self._policy = Observed(policy)
        self._model = model
        self._scopes = dict(scopes or {})
        self._prices = prices or PriceBook(self._policy.loaded.policy)
        self._made()  # better to learn now than with the first run that a tier has no price

    def _made(self) -> Runtime:
        ids = count()
        return Runtime(
            self._policy.loaded, store=MemoryStore(), prices=self._prices, new_id=lambda: f"{next(ids):012x}"
        )

    def judge(self, run: Recorded) -> Judged:
        """Where each control would have acted in this run, and what cannot be told from the record."""
        runtime = self._made()
        scopes = {**run.scopes, **self._scopes}
        return _Run(run, runtime, self._policy, self._model, scopes).judged()


class _Run:
    """One run on its way through the path."""

    def __init__(
        self, run: Recorded, runtime: Runtime, policy: Observed, model: ModelRef | None, scopes: Mapping[str, str]
    ) -> None:
        self._run, self._runtime, self._policy, self._model = run, runtime, policy, model
        first = next((at for at in map(_time_of, run.events) if at is not None), None)
        self._now = first or 1
        runtime.clock = lambda: self._now
        self._ref = RunRef(
            id="replay",
            thread=run.thread or run.name,
            scopes=scopes,
            policy_hash=policy.loaded.hash,
            started_ms=self._now,
        )
        self._tally = Tally(run, policy, runtime, scopes)
        self._messages: list[Message] = []
        self._cumulative: list[int] = []
        self._index: dict[str, int] = {}
        self._spoken: list[int] = []
        self._rolled: list[int] = []
        self._tools = tuple(ToolSpec(name=name, tokens=estimate_tool(text)) for name, text in run.tools or ())
        self._steps: list[StepRef] = []
        self._made = 0
        self._answer: ModelResponse | ToolResult | None = None
        self._until = self._now

    def judged(self) -> Judged:
        for event in self._run.events:
            if isinstance(event, Turn):
                self._turn(event)
            elif isinstance(event, Ran):
                self._ran(event)
            elif isinstance(event, Entered):
                self._entered(event)
            else:
                self._add(event)
        return self._tally.judged()

    # --- what happened

    def _turn(self, turn: Turn) -> None:
        """One model call and the tool calls that it asked for."""
        self._tally.at(turn.number)
        whole = self._run.content
        node = turn.node or NODE
        step = self._step(node, node)
        self._now = max(self._now, turn.before_ms or self._now)
        if whole:
            self._entry(step)
        self._until = max(self._now, turn.at_ms or self._now)
        model = turn.model or self._model or UNKNOWN_MODEL
        call = ModelCall(
            step=step,
            ordinal=turn.number,
            history=self._history() if whole else _of_tokens(turn),
            model=model,
            tools=self._tools,
            # What it wrote is what it needed room for: the longest that it might have written says nothing of this run.
            max_output_tokens=self._output(turn),
            lane=step.path,
        )
        self._answer = ModelResponse(
            text=turn.message.text,
            tool_uses=turn.message.tool_uses,
            usage=turn.usage,
            finish=_FINISHES.get(turn.finish, "tool_use" if turn.message.tool_uses else "stop"),
            invalid=turn.invalid,
        )
        self._tally.turn(model, turn)
        self._drive(model_call(call, self._runtime.controls), step)
        self._now = self._until
        if whole:
            self._drive(step_exit(step, self._runtime.controls), step)
            self._add(turn.message)
            self._calls(turn)
            for answer in turn.answers:
                self._add(answer)

    def _calls(self, turn: Turn) -> None:
        """The calls of one turn, side by side as an agent makes them: all have begun before one ends."""
        steps = [self._step(TOOLS, TOOLS) for _ in turn.calls]
        made = [(step, called) for step, called in zip(steps, turn.calls, strict=True) if called.result is not None]
        for step, _ in made:
            self._entry(step)
        for step, called in zip(steps, turn.calls, strict=True):
            self._called(step, called, turn.node or NODE)
        for step, _ in made:
            self._drive(step_exit(step, self._runtime.controls), step)

    def _called(self, step: StepRef, called: Called, node: str) -> None:
        use = called.use
        self._tally.tool = use.name
        known = self._run.tools is None or any(name == use.name for name, _ in self._run.tools)
        # Rules that name a node mean the one that asked, as far as a record can say.
        call = ToolCall(
            step=replace(step, node=node, path=node), name=use.name, args=use.args or {}, id=use.id, known=known
        )
        self._access(call)
        if called.result is None:
            self._tally.unanswered += 1
        else:
            self._tool(call, ToolResult(text=called.result, failed=called.failed), called.at_ms)
        self._tally.tool = ""

    def _access(self, call: ToolCall) -> None:
        """Whether the call may be made, by the policy as it is written."""
        store = self._runtime.store
        state = store.change(self._ref.id, lambda before: (before, before))
        decision = self._policy.access.decide(state, call, self._now)
        self._tally.decided(decision, enforced=not decision.observed)

    def _ran(self, ran: Ran) -> None:
        self._tally.at(ran.number)
        self._tally.tool = ran.name
        self._now = max(self._now, ran.before_ms)
        step = self._step(ran.node.rpartition("/")[2], ran.node)
        call = ToolCall(step=step, name=ran.name, args={}, id=f"c{ran.number}")
        self._access(call)
        self._tool(call, ToolResult(text="", failed=ran.failed), ran.at_ms)
        self._tally.tool = ""

    def _tool(self, call: ToolCall, result: ToolResult, at_ms: int | None) -> None:
        """A tool call that was made; whether it might be was judged apart."""
        self._answer, self._until = result, max(self._now, at_ms or self._now)
        self._drive(tool_call(call, self._runtime.controls, judged=ALLOWED), call.step)
        self._now = self._until

    def _entered(self, entered: Entered) -> None:
        self._tally.at(entered.number)
        self._now = max(self._now, entered.at_ms)
        step = StepRef(run=self._ref, node=entered.node, path=entered.path, ns=entered.ns, depth=entered.depth)
        if entered.left:
            self._drive(step_exit(step, self._runtime.controls), step)
        else:
            self._entry(step)

    def _entry(self, step: StepRef) -> None:
        self._tally.steps += 1
        decision = self._policy.nodes.decide(step)
        if decision.verdict is not Verdict.ALLOW:
            self._tally.decided(decision, enforced=not decision.observed)
        self._drive(step_entry(step, self._runtime.controls), step)

    # --- the world, as the record has it

    def _drive(self, flow: Flow[Any], step: StepRef) -> None:
        """Run one flow to its end. What refuses in spite of observing is noted, and the record goes on."""
        try:
            drive(flow, self._perform)
        except Refused as refused:
            verdict = Verdict.STOP if type(refused).__name__ == "RunStopped" else Verdict.DENY
            self._tally.decided(Decision(control="budget", verdict=verdict, reason=refused.reason))
            self._runtime.store.change(step.run.id, lambda state: (replace(state, stopped=None), None))

    def _perform(self, effect: Effect[Any]) -> Any:
        if isinstance(effect, Decided):
            self._tally.decided(effect.decision)
            return None
        if isinstance(effect, Measured):
            self._tally.measured(effect.attributes())
            return None
        return self._runtime.perform(effect, INVALID_SPAN, self._invoke)

    def _invoke(self, effect: InvokeModel | InvokeTool | Approve | Summarise | Sample) -> Any:
        self._now = self._until
        return self._answer

    # --- the history

    def _step(self, node: str, path: str) -> StepRef:
        self._made += 1
        return StepRef(run=self._ref, node=node, path=path, ns=f"{path}:{self._made}")

    def _add(self, message: Message) -> None:
        position = len(self._messages)
        self._index[message.key] = position
        if message.role in ("system", "user"):
            self._spoken.append(position)
        self._rolled.append(rolled_on(self._rolled[-1] if self._rolled else 0, digest_of(message)))
        self._messages.append(message)
        self._cumulative.append((self._cumulative[-1] if self._cumulative else 0) + message.tokens)

    def _history(self) -> History:
        """The messages so far. The lists go on growing; a flow that has ended keeps none of them."""
        return History(
            messages=self._messages,
            cumulative=self._cumulative,
            index=self._index,
            spoken=self._spoken,
            media=(),
            rolled=self._rolled,
        )

    def _output(self, turn: Turn) -> int:
        if turn.usage is not None:
            return max(1, turn.usage.output)
        return max(
            1, estimate_answer(turn.message.text, turn.message.tool_uses) if self._run.content else turn.message.tokens
        )


_FINISHES: Mapping[str, Any] = {
    **{"stop": "stop", "end_turn": "stop", "length": "length", "max_tokens": "length"},
    **{"content_filter": "refusal", "refusal": "refusal", "tool_calls": "tool_use", "tool_use": "tool_use"},
}


def _of_tokens(turn: Turn) -> History:
    """A prompt of which only the length is known, as one message without words."""
    framing = REQUEST_FRAMING + TOOLS_PREAMBLE
    tokens = max(1, (turn.usage.prompt if turn.usage else 1) - framing)
    message = Message(key=f"p{turn.number}", role="user", text="", tokens=tokens)
    return History(messages=(message,), cumulative=(tokens,), index={message.key: 0}, spoken=(0,))


def _time_of(event: object) -> int | None:
    if isinstance(event, Turn):
        return event.before_ms or event.at_ms
    return event.before_ms if isinstance(event, Ran) else event.at_ms if isinstance(event, Entered) else None
