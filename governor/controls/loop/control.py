"""The loop control: fruitless repetition is named, then refused, then ended.

Three sequences are watched for suffix periods (`periods`): calls with their results; failures, empty and long results whatever the
arguments; answers in words. What is repeated must be the result too, so calls that learn something new are never refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.calls import ToolResult
from governor.controls.loop import memory
from governor.controls.loop.periods import Cycle, strongest, would_repeat
from governor.controls.loop.results import PENDING, CallSignatures, call_signatures, seen_call, short, source_of
from governor.controls.loop.rules import ESCALATE, NUDGE, STOP, Rules
from governor.controls.loop.signatures import digest
from governor.controls.loop.wording import Finding, blocked_answer, cycle_name, nudge_note, poll_note, reason
from governor.decisions import Decision, Reason, Verdict
from governor.plans import Admission
from governor.runs import RunState
from governor.values import copier, replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.calls import ModelCall, ModelResponse, ToolCall
    from governor.policy.schema import LoopTool, Policy
    from governor.runs import LoopState

__all__ = ["Loop"]

_changed = copier(RunState)

_ADMITTED = Admission()


class Loop:
    """Decides from what a run remembers of its latest calls. Pure: the clock's reading comes in as `now`."""

    def __init__(self, policy: Policy) -> None:
        """Read the `loops` part of the policy."""
        self._rules = Rules(policy)

    # --- before a call

    def admit_model(self, state: RunState, call: ModelCall, now: int) -> Admission:
        """Stop a run whose repetition went on in spite of everything; else deliver the note that waits, if any."""
        del now
        loop = memory.softened(state.loop, call)
        finding = self._standing(loop)
        if finding is not None and "stop" in self._rules.respond:
            ignored = loop.blocked >= self._rules.patience
            if ignored or finding.level == STOP:
                return self._refusal(Verdict.STOP, finding, "stop", blocked=loop.blocked if ignored else 0)
        if state.loop.note is None:
            return _ADMITTED
        decision = Decision(
            control="loop", verdict=Verdict.NUDGE, reason=self._nudge_reason(finding), observed=self._rules.observed
        )
        return Admission(decision=decision, note=None if self._rules.observed else state.loop.note)

    def admit_tool(self, state: RunState, call: ToolCall, now: int) -> Admission:
        """Deny a call that would carry a cycle to its threshold; the result already held goes with the denial."""
        rule = self._rules.of(call.name)
        if not memory.repeats(state.loop) or self._rules.exempt(call.name):
            return _ADMITTED
        signatures = self._signatures(state.loop, call, rule)
        if _waits(rule, state.loop, signatures.exact, now):
            return _ADMITTED
        finding = self._continued(state.loop, call, signatures)
        if finding is None:
            return _ADMITTED
        if "stop" in self._rules.respond and finding.cycle.reps > finding.ladder.stop:
            return self._refusal(Verdict.STOP, finding, "stop")  # only a graph without model calls gets this far
        if "block" not in self._rules.respond:
            return _ADMITTED
        repeated = state.loop.calls[-finding.cycle.period].call
        held = next((text for signature, text in state.loop.held if signature == repeated), None)
        return self._refusal(Verdict.DENY, finding, "block", held=held)

    def answer(self, call: ToolCall, admission: Admission) -> ToolResult:
        """What the model is told in place of a blocked call's result.

        Failed, because the call did not run: whoever reads the status must not take an effect for done.
        """
        why = admission.decision.reason.text if admission.decision.reason else ""
        return ToolResult(text=blocked_answer(call.name, why, admission.held), failed=True, synthetic=True)

    # --- after a call

    def observe_tool(self, state: RunState, call: ToolCall, result: ToolResult, now: int) -> RunState:
        """Remember a finished call; leave a note or a routing signal when it closes a cycle."""
        loop, rule = state.loop, self._rules.of(call.name)
        if self._rules.exempt(call.name):
            return replace(state, loop=memory.finished(loop, call, now))
        signatures = self._signatures(loop, call, rule)
        if _waits(rule, loop, signatures.exact, now):
            loop = memory.finished(loop, call, now, signatures)
            return replace(state, loop=self._poll(loop, call.name, signatures.exact, rule, now))
        if not memory.counts(loop, call, signatures, state.open_steps):
            return replace(state, loop=memory.finished(loop, call, now, signatures))
        entry = seen_call(call, result, signatures, verbatim=rule is not None and rule.as_ == "paging")
        loop = memory.finished(loop, call, now, signatures, entry)
        if memory.repeats(loop):
            loop = memory.hold(loop, entry.call, result.text)
        return self._respond(_changed(state, loop=loop))

    def observe_block(self, state: RunState, call: ToolCall, admission: Admission) -> RunState:
        """Count a blocked call as the repetition it would have been, so that ignoring blocks leads to the stop."""
        why = admission.decision.reason
        period = why.evidence.get("period") if why else None
        loop = state.loop
        if not isinstance(period, int) or not 1 <= period <= len(loop.calls):
            return state
        signatures = self._signatures(loop, call, self._rules.of(call.name))
        entry = None
        if memory.counts(loop, call, signatures, state.open_steps):
            entry = replace(loop.calls[-period], source=source_of(call.step.ns))
            if entry.call not in signatures:  # blocked for its result alone: other words, which were not tried
                entry = replace(entry, call=signatures.exact, outcome=digest("blocked", signatures.exact))
        return self._signalled(replace(state, loop=memory.blocked(loop, call, signatures, entry)))

    def observe_model(self, state: RunState, call: ModelCall, response: ModelResponse, now: int) -> RunState:
        """Remember what the model asked for, or what it said when it asked for nothing."""
        del now
        loop = memory.softened(state.loop, call)
        if response.tool_uses:
            return _changed(state, loop=memory.asked(loop, response))
        return self._respond(replace(state, loop=memory.spoken(loop, call, response.text)), words=True)

    # --- judging

    def _signatures(self, loop: LoopState, call: ToolCall, rule: LoopTool | None) -> CallSignatures:
        return call_signatures(call, rule.key if rule else None, memory.mark(loop))

    def _standing(self, loop: LoopState) -> Finding | None:
        """The strongest cycle that stands at the end of any sequence."""
        if not memory.repeats(loop) and not any(loop.text_runs):
            return None
        return max(self._cycles(loop), key=lambda finding: finding.level, default=None)

    def _cycles(self, loop: LoopState) -> Iterator[Finding]:
        for what, runs in (("same", loop.runs), ("fruitless", loop.coarse_runs), ("words", loop.text_runs)):
            cycle = strongest(runs)
            if cycle is not None:
                yield self._finding(loop, cycle, what)

    def _finding(self, loop: LoopState, cycle: Cycle, what: str) -> Finding:
        if what == "words":
            return Finding(what=what, cycle=cycle, ladder=self._rules.base, name=cycle_name(loop, cycle, what))
        kinds = _kinds(loop, cycle.period)
        ladder = self._rules.ladder(loop.calls[-1].name, kinds, coarse=what == "fruitless")
        return Finding(what=what, cycle=cycle, ladder=ladder, name=cycle_name(loop, cycle, what), kinds=kinds)

    def _continued(self, loop: LoopState, call: ToolCall, signatures: CallSignatures) -> Finding | None:
        """The cycle that this call would carry to the threshold of a refusal."""

        def block_at(period: int, *, coarse: bool) -> int:
            return self._rules.ladder(call.name, _kinds(loop, period), coarse=coarse).block

        def same(period: int) -> bool:
            return loop.calls[-period].call in signatures

        def alike(period: int) -> bool:
            seen = loop.calls[-period]
            if seen.kind == PENDING or seen.name != name:
                return False
            return loop.blocked == 0 or loop.calls[-1].call in signatures  # other words after a block get their chance

        known, name = len(loop.calls), short(call.name)
        what, cycle = "same", would_repeat(loop.runs, lambda period: block_at(period, coarse=False), known, same)
        if cycle is None:
            what = "fruitless"
            cycle = would_repeat(loop.coarse_runs, lambda period: block_at(period, coarse=True), known, alike)
        if cycle is None:
            return None
        kinds = _kinds(loop, cycle.period)
        ladder = self._rules.ladder(call.name, kinds, coarse=what == "fruitless")
        return Finding(what=what, cycle=cycle, ladder=ladder, name=cycle_name(loop, cycle, what), kinds=kinds)

    # --- responding

    def _respond(self, state: RunState, *, words: bool = False) -> RunState:
        """Leave a note when a cycle has reached the nudge, and the signal when it has reached escalation."""
        loop = state.loop
        finding = self._standing(loop)
        if finding is None or finding.level < NUDGE or (finding.what == "words") is not words:
            return state
        if "nudge" in self._rules.respond:
            cycle = _identity(loop, finding)
            held = loop.held[-1][1] if loop.held and not words else None
            state = replace(state, loop=memory.nudge(loop, cycle, nudge_note(finding, held)))
        return self._signalled(state)

    def _signalled(self, state: RunState) -> RunState:
        finding = self._standing(state.loop)
        raised = finding is not None and finding.level >= ESCALATE
        if not raised or not self._rules.signals or self._rules.observed or "loop" in state.route.signals:
            return state
        return replace(state, route=replace(state.route, signals=(*state.route.signals, "loop")))

    def _poll(self, loop: LoopState, tool: str, signature: str, rule: LoopTool | None, now: int) -> LoopState:
        latest = next((latest for poll, _, latest in loop.polls if poll == signature), None)
        every = rule.every if rule else None
        if every is not None and latest is not None and now - latest < every and "nudge" in self._rules.respond:
            loop = memory.nudge(loop, digest("poll", signature), poll_note(tool, every.written))
        return memory.polled(loop, signature, now)

    def _nudge_reason(self, finding: Finding | None) -> Reason:
        if finding is None or finding.level < NUDGE:
            return Reason(
                code="loop.nudge", rule="loops.nudge_at", text="Loop: the model was told to stop repeating itself."
            )
        return self._reason(finding, "nudge", finding.ladder.nudge)

    def _reason(self, finding: Finding, step: str, at: int, *, blocked: int = 0) -> Reason:
        return reason(finding, step, self._rules.written(step, at), blocked=blocked)

    def _refusal(
        self, verdict: Verdict, finding: Finding, step: str, *, blocked: int = 0, held: str | None = None
    ) -> Admission:
        at = finding.ladder.stop if step == "stop" else finding.ladder.block
        found = self._reason(finding, step, at, blocked=blocked)
        return Admission(
            decision=Decision(control="loop", verdict=verdict, reason=found, observed=self._rules.observed), held=held
        )


def _kinds(loop: LoopState, period: int) -> tuple[str, ...]:
    return tuple(seen.kind for seen in loop.calls[-period:])


def _identity(loop: LoopState, finding: Finding) -> str:
    """A cycle's signature, the same wherever in the cycle it is taken."""
    period = finding.cycle.period
    if finding.what == "words":
        items = {*loop.texts[-period:]}
    else:
        items = {seen.outcome if finding.what == "same" else seen.coarse for seen in loop.calls[-period:]}
    return digest(finding.what, *sorted(items))


def _waits(rule: LoopTool | None, loop: LoopState, signature: str, now: int) -> bool:
    """Whether the call is a poll that the policy still calls legitimate."""
    if rule is None or rule.as_ != "poll":
        return False
    first = next((first for poll, first, _ in loop.polls if poll == signature), now)
    return rule.for_at_most is None or now - first <= rule.for_at_most
