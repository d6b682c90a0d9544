"""The degrade ladder: what changes for a run as its tightest budget is used up, so that it ends with an answer and not with an error.

A rung sets in at its share of a budget and is left when the share has fallen 5 points below that (more was granted, a window began), so
that nothing flaps at the edge. A call that does not fit goes further than its run: rung by rung, each once, so that it ends. The last
rung may be `last_call`: one more model call, without tools, for which a part of every limit is kept from the calls before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.calls import ToolResult
from governor.decisions import Decision, Reason, Verdict
from governor.plans import NO_RUNG, Rung
from governor.policy.sections import Clamp
from governor.runs import LadderState
from governor.values import cheap, replace

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelResponse, ToolCall
    from governor.ledger import Lease, Shortfall
    from governor.plans import Quote
    from governor.policy.schema import Policy
    from governor.runs import RunState

__all__ = ["Ladder"]

SLACK = 50
"""Thousandths of a limit below its `at` at which a rung is left again."""
FINAL_OUTPUT = 1_024
"""Tokens of a last answer, when no rung says less: what is kept for it is its worst case."""
TRIES = 2
"""Last calls of one node: a second one where the first asked for tools in spite of everything."""
_ASKED = 32
_NOTE = (
    "[governor] This run has used {used} of its budget {budget}. This is your last answer: no tool can be called any more. "
    "Answer with what you have, and say what is missing."
)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One rung with all that those below it do."""

    at: int
    """Thousandths of the limit."""
    written: str
    word: str
    compact: bool
    lower: int
    max_output_tokens: int | None
    fan_out: int | None
    narrows_at: str
    """The share, as written, of the rung that says `fan_out`."""
    last: bool


class Ladder:
    """The `ladder` part of one policy. Pure; where a run stands is in its state."""

    def __init__(self, policy: Policy) -> None:
        """Read the rungs. Without any, or in observe mode, nothing is ever degraded."""
        steps: list[_Step] = []
        lower, output, fan_out, narrows_at, compact, last = 0, None, None, "", False, False
        for rung in policy.ladder:
            do = rung.do
            if isinstance(do, Clamp):
                word = "clamp"
                output = int(do.max_output_tokens) if do.max_output_tokens else output
                if do.fan_out:
                    fan_out, narrows_at = int(do.fan_out), rung.at.written
            else:
                word = do
                compact, last, lower = (
                    compact or do == "compact",
                    last or do == "last_call",
                    lower + (do == "lower_tier"),
                )
            steps.append(
                _Step(
                    at=int(rung.at * 1_000),
                    written=rung.at.written,
                    word=word,
                    compact=compact,
                    lower=lower,
                    max_output_tokens=output,
                    fan_out=fan_out,
                    narrows_at=narrows_at,
                    last=last,
                )
            )
        self._steps = tuple(steps) if policy.mode == "enforce" else ()
        self.empty = not self._steps
        """Whether there is nothing to do, ever."""
        self.narrows = any(step.fan_out is not None for step in self._steps)
        """Whether calls may have to wait for one another."""
        self.keeps = bool(self._steps) and self._steps[-1].last
        """Whether a part of every limit is kept for a last answer."""
        self.final_output = min(output or FINAL_OUTPUT, FINAL_OUTPUT)
        """Longest last answer, tokens."""

    # --- before a call

    def rung(self, state: RunState) -> Rung:
        """Where the next model call of a run begins."""
        if self.empty:
            return NO_RUNG
        level = min(state.ladder.rung, len(self._steps))
        if state.ladder.due and self.keeps:
            level = len(self._steps)
        return replace(self._at(level, state.ladder), base=level)

    def further(self, rung: Rung, short: Shortfall) -> Rung | None:
        """The next rung, for a call that does not fit; None when there is none."""
        if rung.level >= len(self._steps):
            return None
        walked = self._at(rung.level + 1, LadderState(used="all but the rest", budget=short.hold.budget))
        return replace(walked, base=rung.base)

    def moved(self, state: RunState, rung: Rung, lease: Lease, quote: Quote) -> Rung | None:
        """The rung that a call should have been prepared for, as its lease shows; None when it was.

        Back up the ladder only from a last call that the run's share asked for, and whose share has fallen since (a grant, a new window):
        else the run would end though there is enough again. Once, since what comes of it is not where the call began.
        """
        level = self._level(rung.level, lease.used_permille)
        again = rung.last and rung.base == rung.level and not state.ladder.due and level < rung.level
        if level <= rung.level and not again:
            return None
        return replace(
            self._at(level, self._standing(state.ladder, level, lease, quote)), base=level if again else rung.base
        )

    def finished(self, state: RunState, call: ModelCall) -> Decision | None:
        """The stop of a node that has made its last call."""
        ladder, path = state.ladder, call.step.path
        if self.empty or (path not in ladder.answered and ladder.tries.get(path, 0) < TRIES):
            return None
        text = f"Budget {ladder.budget} is nearly used up, and {path} has given its last answer."
        reason = Reason(
            code="budget.exhausted",
            rule=ladder.budget,
            text=text,
            limit=ladder.written,
            seen=ladder.used,
            remedy=f"Raise the limit of budget {ladder.budget}, or make the run cheaper.",
            evidence={"budget": ladder.budget, "ledger": ladder.ledger},
        )
        return Decision(control="ladder", verdict=Verdict.STOP, reason=reason)

    def fan_out(self, rung: Rung) -> int | None:
        """How many model calls a run may make at once while this one goes by `rung`; None: as many as it likes."""
        return self._steps[rung.level - 1].fan_out if rung.level else None

    # --- saying so

    def waited(self, rung: Rung, state: RunState, waited_ms: int) -> Decision:
        """For the trace: a call had to wait until fewer others of its run were under way."""
        step = self._steps[rung.level - 1]
        now = f"from the ladder's rung at {step.narrows_at} on a run makes {step.fan_out} model calls at once"
        text = f"Waited {waited_ms} ms for others of this run: {now}."
        reason = Reason(
            code="ladder.waited",
            rule=state.ladder.budget or "ladder",
            text=text,
            limit=str(step.fan_out),
            seen=f"{waited_ms} ms",
            evidence={"rung": rung.level, "at": step.narrows_at, "waited_ms": waited_ms},
        )
        return Decision(control="ladder", verdict=Verdict.MODIFY, reason=reason)

    def entered(self, rung: Rung, before: Rung, why: Shortfall | Lease) -> Decision:
        """For the trace: a call goes by rung `rung`, because its run has used so much or because it did not fit."""
        back = rung.level < before.level
        step = self._steps[(before if back else rung).level - 1]
        hold = getattr(why, "hold", None)
        budget = hold.budget if hold else getattr(why, "tightest", "")
        seen = "no room for this call" if hold else _percent(getattr(why, "used_permille", 0))
        reason = Reason(
            code="ladder.left" if back else f"ladder.{step.word}",
            rule=budget,
            text=f"Budget {budget}: {seen}. The ladder's rung at {step.written} {'is left' if back else f'sets in: {_does(step)}'}.",
            limit=step.written,
            seen=seen,
            evidence={"rung": rung.level, "before": before.level, "budget": budget},
        )
        return Decision(control="ladder", verdict=Verdict.MODIFY, reason=reason)

    # --- tools that a last call asks for all the same

    def refuses(self, state: RunState, call: ToolCall) -> bool:
        """Whether a tool call was asked for by a last call, which may not ask."""
        return bool(state.ladder.asked) and call.id in state.ladder.asked

    def denial(self, call: ToolCall, state: RunState) -> Decision:
        """The refusal of such a call, or of one that does not fit a budget any more; the run goes on to its last answer."""
        budget = state.ladder.budget
        reason = Reason(
            code="ladder.no_tools",
            rule=budget or "ladder",
            text=f"{call.name} was not called: the budget is nearly used up, and what is left is for the last answer.",
            remedy="Answer with what you have.",
        )
        return Decision(control="ladder", verdict=Verdict.DENY, reason=reason)

    def answer(self, decision: Decision) -> ToolResult:
        """What the model is told in place of the result."""
        text = decision.reason.text if decision.reason else ""
        return ToolResult(text=f"{text} Answer with what you have.", failed=True, synthetic=True)

    def end_soon(self, state: RunState, short: Shortfall) -> RunState:
        """A tool call did not fit: the next model call is the last one."""
        hold = short.hold
        ladder = replace(
            state.ladder,
            due=True,
            budget=hold.budget,
            written=hold.written,
            ledger=hold.ledger,
            used="no room for a tool",
        )
        return replace(state, ladder=ladder)

    # --- after a call

    def observe(
        self, state: RunState, call: ModelCall, rung: Rung, lease: Lease, quote: Quote, response: ModelResponse
    ) -> RunState:
        """Where the run stands after a model call, and what became of a last one."""
        if self.empty:
            return state
        ladder = state.ladder
        level = self._level(ladder.rung, lease.used_permille)
        if level != ladder.rung:
            ladder = self._standing(ladder, level, lease, quote)
        if rung.last:
            path = call.step.path
            asked = tuple(use.id for use in response.tool_uses)
            ladder = replace(
                self._standing(ladder, ladder.rung, lease, quote),
                tries={**ladder.tries, path: ladder.tries.get(path, 0) + 1},
                answered=ladder.answered if asked else (*ladder.answered, path),
                asked=(*ladder.asked, *asked)[-_ASKED:],
            )
        return state if ladder is state.ladder else replace(state, ladder=ladder)

    def _level(self, current: int, permille: int) -> int:
        """Rungs in force at this share, coming from `current`: up at `at`, down below `at` less the slack."""
        up = sum(step.at <= permille for step in self._steps)
        if up >= current:
            return up
        return min(current, sum(step.at - SLACK <= permille for step in self._steps))

    def _at(self, level: int, known: LadderState) -> Rung:
        if not level:
            return NO_RUNG
        step = self._steps[level - 1]
        note = None
        if step.last:
            note = _NOTE.format(used=known.used or "nearly all", budget=known.budget or "")
        return Rung(
            level=level,
            base=0,
            compact=step.compact,
            lower=step.lower,
            max_output_tokens=min(self.final_output, step.max_output_tokens or self.final_output)
            if step.last
            else step.max_output_tokens,
            last=step.last,
            note=note,
        )

    @staticmethod
    def _standing(ladder: LadderState, level: int, lease: Lease, quote: Quote) -> LadderState:
        hold = next((hold for hold in quote.holds if hold.budget == lease.tightest and not hold.share), None)
        return replace(
            ladder,
            rung=level,
            used=_percent(lease.used_permille),
            budget=lease.tightest,
            written=hold.written if hold else "",
            ledger=hold.ledger if hold else "",
        )


def _percent(permille: int) -> str:
    return f"{permille // 10}%"


def _does(step: _Step) -> str:
    words = {
        "compact": "history is compacted harder",
        "lower_tier": "the next cheaper tier answers",
        "last_call": "one last answer, without tools",
    }
    if step.word != "clamp":
        return words[step.word]
    parts = [f"answers of at most {step.max_output_tokens} tokens"] if step.max_output_tokens else []
    parts += [f"at most {step.fan_out} model calls at once"] if step.fan_out else []
    return ", ".join(parts)
