"""The loop control: fruitless repetition is named, then refused, then ended. What is found, `detector` says; here is what is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.calls import ToolCall, ToolResult
from governor.controls.loop import memory
from governor.controls.loop.chant import SHORTEST_CHANT, Chant
from governor.controls.loop.detector import Detector
from governor.controls.loop.placing import Around
from governor.controls.loop.progress import progressed
from governor.controls.loop.results import ACK, CONTENT, ERROR, call_signatures
from governor.controls.loop.rules import BLOCK, ESCALATE, NUDGE, STOP, Rules
from governor.controls.loop.signatures import digest
from governor.controls.loop.suspicion import ANSWER
from governor.controls.loop.wording import Finding, blocked_answer, chant_reason, nudge_note, poll_note, reason
from governor.decisions import Decision, Reason, Verdict
from governor.plans import Admission
from governor.progress import Progress
from governor.runs import RunState
from governor.values import copier, replace

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelResponse
    from governor.loop_state import LoopState
    from governor.meter import Listener
    from governor.policy.schema import LoopTool, Policy
    from governor.progress import Value

__all__ = ["Loop"]

_changed = copier(RunState)

_ADMITTED, _CUT = Admission(), Admission(cut=True)
_CUTS = 2
"""How often what was repeated is left out of the prompt before the run has to end."""


class Loop:
    """Decides from what a run remembers of its latest steps. Pure: the clock's reading comes in as `now`."""

    def __init__(self, policy: Policy) -> None:
        """Read the `loops` part of the policy."""
        self._rules = Rules(policy)
        self._detector = Detector(self._rules)
        self.progress = Progress.parse(policy.loops.progress) if policy.loops.progress else None
        """Where the graph's state tells how far it has come; None where the policy does not say."""

    # --- before a call

    def admit_model(self, state: RunState, call: ModelCall, now: int) -> Admission:
        """Stop a run whose repetition went on in spite of everything; else deliver the note that waits, if any."""
        del now
        loop = memory.softened(state.loop, call)
        finding = self._detector.standing(loop)
        if finding is not None and self._rules.ends:
            ignored = loop.blocked >= self._rules.patience
            if ignored or finding.level >= self._ends(loop, finding):
                return self._refusal(Verdict.STOP, finding, "stop", blocked=loop.blocked if ignored else 0)
        if state.loop.note is None:
            return _CUT if state.loop.cut else _ADMITTED
        observed = self._rules.observed
        decision = Decision(
            control="loop", verdict=Verdict.NUDGE, reason=self._nudge_reason(finding), observed=observed
        )
        return Admission(decision=decision, note=None if observed else state.loop.note, cut=state.loop.cut)

    def admit_tool(self, state: RunState, call: ToolCall, now: int) -> Admission:
        """Deny a call that would only repeat what is known; the result already held goes with the denial."""
        rule = self._rules.of(call.name)
        if self._rules.exempt(call.name):
            return _ADMITTED
        signatures = self._detector.signatures(state.loop, call, rule)
        if _waits(rule, state.loop, signatures.exact, now) or not memory.counts(
            state.loop, call, signatures, _around(state)
        ):
            return _ADMITTED
        finding = self._detector.foreseen(state.loop, call, signatures)
        if finding is None:
            return _ADMITTED
        if self._rules.ends and finding.score > finding.ladder.stop:
            return self._refusal(Verdict.STOP, finding, "stop")  # only a graph without model calls gets this far
        if "block" not in self._rules.respond:
            return _ADMITTED
        held = next((text for signature, text in state.loop.held if signature in signatures), None)
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
        if rule is not None and rule.as_ == "poll":
            signatures = self._detector.signatures(loop, call, rule)
            if _waits(rule, loop, signatures.exact, now):
                loop = memory.finished(loop, call, now, signatures)
                return replace(state, loop=self._poll(loop, call.name, signatures.exact, rule, now))
        cuts = sum(len(lane.cuts) for lane in state.lanes.values())
        loop = self._detector.called(loop, call, result, now, _around(state), cuts)
        return self._respond(_changed(state, loop=loop))

    def fails_again(self, state: RunState, call: ModelCall, response: ModelResponse) -> str | None:
        """The tool of a call that an answer asks for and that has failed before with the same arguments; None when there is none.

        Only while nothing has gone well since: after an edit the same test is run again with good reason. A failure that may pass
        (a timeout, throttling) is no reason not to try again.
        """
        asked: dict[str, str] = {}
        for use in response.tool_uses:
            rule = self._rules.of(use.name)
            if use.args is None or self._rules.exempt(use.name) or (rule is not None and rule.as_ != "strict"):
                continue
            tool = ToolCall(step=call.step, name=use.name, args=use.args, id=use.id)
            asked[call_signatures(tool, rule.key if rule else None, "").exact] = use.name
        if not asked:
            return None
        for seen in reversed(state.loop.calls):
            if seen.kind in (CONTENT, ACK):
                return None
            if seen.kind == ERROR and seen.call in asked:
                return asked[seen.call]
        return None

    def observe_block(self, state: RunState, call: ToolCall, admission: Admission) -> RunState:
        """Count a blocked call as the repetition it would have been, so that ignoring blocks leads to the stop."""
        why = admission.decision.reason
        period = why.evidence.get("period") if why and why.evidence.get("what") == "same" else None
        loop = self._detector.blocked(state.loop, call, period if isinstance(period, int) else 0, _around(state))
        return self._signalled(_changed(state, loop=loop))

    def observe_model(
        self,
        state: RunState,
        call: ModelCall,
        response: ModelResponse,
        now: int,
        tokens: int = 0,
        *,
        chanted: bool = False,
    ) -> RunState:
        """Remember what the model asked for, or what it said when it asked for nothing.

        `tokens`: billed for it, prompt included. `chanted`: it said the same over and over.
        """
        del now
        loop = self._detector.answered(memory.softened(state.loop, call), call, response, _around(state), tokens)
        if chanted:
            loop = self._detector.chanted(loop)
        state = _changed(state, loop=loop)
        return state if response.tool_uses and not chanted else self._respond(state, answer=True)

    def progressed(self, state: RunState, value: Value) -> RunState:
        """Take note of what the graph's state calls progress (`loops.progress`), as a node found it."""
        loop = progressed(state.loop, value, self._rules.cap)
        return state if loop is state.loop else self._respond(_changed(state, loop=loop))

    # --- while an answer streams

    def listener(self) -> Chant | None:
        """What is to hear the next answer; None where the policy neither blocks nor ends a loop."""
        if not self._rules.ends and "block" not in self._rules.respond:
            return None
        return Chant(cuts=not self._rules.observed)

    def chanted(self, chant: Listener | None, response: ModelResponse) -> Decision | None:
        """What there is to say of an answer that went on and on; None of any other.

        One that streamed was heard while it did, and cut; another is looked at now that it is there.
        """
        if chant is None or len(response.text) < SHORTEST_CHANT:
            return None
        streamed = chant.length > 0
        if not (chant.heard if streamed else chant.add_whole(response.text)):
            return None
        reason = chant_reason(chant.length, was_cut=streamed and chant.cuts)
        return Decision(control="loop", verdict=Verdict.MODIFY, reason=reason, observed=not chant.cuts)

    # --- responding

    def _ends(self, loop: LoopState, finding: Finding) -> int:
        """The level at which a run is stopped: an answer cannot be blocked, so it ends where a call would be."""
        words = finding.what == "words" and finding.ladder is self._rules.words
        return BLOCK if words or (finding.what == "fruitless" and loop.suspicion.suspects[:1] == (ANSWER,)) else STOP

    def _respond(self, state: RunState, *, answer: bool = False) -> RunState:
        """Leave a note when repetition has reached the nudge, and the signal when it has reached escalation."""
        loop = state.loop
        finding = self._detector.standing(loop)
        if finding is None or finding.level < NUDGE or (finding.what == "words" and not answer):
            return state
        if "nudge" in self._rules.respond:
            held = loop.held[-1][1] if loop.held and not answer and finding.what != "handoffs" else None
            noted = memory.nudge(loop, _identity(loop, finding), nudge_note(finding, held))
            state = state if noted is loop else _changed(state, loop=noted)
        return self._signalled(state, finding)

    def _signalled(self, state: RunState, finding: Finding | None = None) -> RunState:
        finding = finding or self._detector.standing(state.loop)
        raised = finding is not None and finding.level >= ESCALATE
        if not raised or self._rules.observed:
            return state
        if "compact" in self._rules.respond and state.loop.cuts_asked < _CUTS:
            state = _changed(state, loop=self._detector.cut(state.loop))
        if not self._rules.signals or "loop" in state.route.signals:
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
        limit = self._rules.written(step, at) if finding.exact else finding.shown(at)
        return reason(finding, step, limit, blocked=blocked)

    def _refusal(
        self, verdict: Verdict, finding: Finding, step: str, *, blocked: int = 0, held: str | None = None
    ) -> Admission:
        at = finding.ladder.stop if step == "stop" else finding.ladder.block
        kills = step == "stop" and "kill" in self._rules.respond
        found = self._reason(finding, "kill" if kills else step, at, blocked=blocked)
        return Admission(
            decision=Decision(
                control="loop", verdict=verdict, reason=found, observed=self._rules.observed, kills=kills
            ),
            held=held,
        )


def _around(state: RunState) -> Around:
    return Around(open_steps=state.open_steps, fans=state.fans)


def _identity(loop: LoopState, finding: Finding) -> str:
    """What is nudged about, the same wherever in a cycle it is taken."""
    if finding.what in ("fruitless", "handoffs"):
        return digest(finding.what)
    if finding.what == "words":
        return digest("words", *sorted({*loop.texts[-finding.period :]}))
    return digest("same", *sorted({seen.outcome for seen in loop.calls[-finding.period :]}))


def _waits(rule: LoopTool | None, loop: LoopState, signature: str, now: int) -> bool:
    """Whether the call is a poll that the policy still calls legitimate."""
    if rule is None or rule.as_ != "poll":
        return False
    first = next((first for poll, first, _ in loop.polls if poll == signature), now)
    return rule.for_at_most is None or now - first <= rule.for_at_most
