"""What is said about a loop: to the model, which should do something else, and to people, who should see why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.controls.loop.results import ERROR, PENDING, TRANSIENT
from governor.decisions import Reason
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.controls.loop.periods import Cycle
    from governor.controls.loop.rules import Ladder
    from governor.loop_state import SeenCall

__all__ = ["Finding", "blocked_answer", "chant_reason", "cycle_name", "named", "nudge_note", "poll_note", "reason"]

_SHOWN = 8
_EXCERPT = 300

_REMEDY = "Give the agent what it lacks, or exempt the tool under loops.tools (poll, paging, batch, off) if it repeats for a reason."


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Repetition, with the thresholds that hold for it."""

    what: str
    """`same`: calls and results; `words`: answers without tool calls; `fruitless`: steps that told nothing new; `handoffs`: tasks handed
    on again."""
    score: int
    """Whole repetitions for `same` and `words`, hundredths of one for the others."""
    ladder: Ladder
    """In the same unit."""
    name: str
    """The cycle by name: `create -> rm (error), period 2, x5`."""
    period: int = 0
    """Length of the cycle in calls, answers or handoffs; 0 when no cycle stands behind it."""
    reps: int = 0
    """How often it was gone through."""
    kinds: tuple[str, ...] = ()
    tokens: int = 0
    """Tokens billed since the repetition began."""

    @property
    def level(self) -> int:
        """The response that the repetitions have reached."""
        return self.ladder.level(self.score)

    @property
    def exact(self) -> bool:
        """Whether the score counts repetitions, not hundredths of one."""
        return self.what in ("same", "words")

    def shown(self, score: int) -> str:
        """A score or threshold as people read it."""
        return str(score) if self.exact else f"{score / 100:.1f}"


def cycle_name(calls: Sequence[SeenCall], cycle: Cycle) -> str:
    """The cycle's tools in order, its period and its repetitions."""
    names = [
        f"{call.name} (error)" if call.kind in (ERROR, TRANSIENT) else call.name for call in calls[-cycle.period :]
    ]
    return named(names, cycle.period, cycle.reps)


def named(names: Sequence[str], period: int, reps: int) -> str:
    """A cycle of these names."""
    shown = " -> ".join(names[:_SHOWN]) + (" -> ..." if period > _SHOWN else "")
    return f"{shown}, period {period}, x{reps}"


def _fact(finding: Finding) -> str:
    name = finding.name
    if finding.what == "words":
        return f"the same answer was given {finding.reps} times ({name})"
    if finding.what == "fruitless":
        return f"the latest steps told nothing new ({name})"
    if finding.what == "handoffs":
        return f"the same was asked of another agent again and again ({name})"
    return f"the same calls gave the same results {finding.reps} times in a row ({name})"


def reason(finding: Finding, step: str, limit: str, *, blocked: int = 0) -> Reason:
    """Why a call was nudged, blocked or stopped; `step` is `nudge`, `block` or `stop`, `limit` the threshold as written."""
    ignored = f"; {blocked} blocked calls were ignored" if blocked else ""
    cost = f"; {finding.tokens:,} tokens since it began" if finding.tokens else ""
    return Reason(
        code=f"loop.{step}",
        rule=f"loops.{'stop' if step == 'kill' else step}_at",
        text=f"Loop: {_fact(finding)}{ignored}{cost}.",
        limit=limit,
        seen=finding.shown(finding.score),
        remedy=_REMEDY,
        evidence={
            "what": finding.what,
            "cycle": finding.name,
            "period": finding.period,
            "reps": finding.reps,
            **({} if finding.exact else {"suspicion": finding.score / 100}),
            **({"tokens": finding.tokens} if finding.tokens else {}),
            **({"blocked": blocked} if blocked else {}),
        },
    )


def chant_reason(length: int, *, was_cut: bool) -> Reason:
    """Why an answer was cut, or what is to be said of one that came whole."""
    done = "it was cut" if was_cut else "it came in one piece"
    return Reason(
        code="loop.chant",
        rule="loops.respond",
        text=f"Loop: an answer said the same over and over ({length:,} characters); {done}.",
        seen=str(length),
        remedy="Ask for less at once, lower the answer's limit, or choose another model or temperature for this step.",
        evidence={"what": "chant", "characters": length, "cut": was_cut},
    )


def nudge_note(finding: Finding, held: str | None) -> str:
    """The note at the tail of the next request."""
    lines = [f"Note from the run's governor (not from the user): {_fact(finding)}."]
    if PENDING in finding.kinds:
        lines.append("It is still pending. Wait before you ask again, or go on with something else.")
    elif finding.what == "words":
        lines.append("Do not repeat it: take the next step, or finish and say what is missing.")
    elif finding.what == "handoffs":
        lines.append(
            "Asking for it again will not help: work with what came back, ask for something else, or finish and say what is missing."
        )
    else:
        if held:
            lines.append(f"The result you already have: {_excerpt(held)}")
        lines.append(
            "Doing the same again will give nothing new. Try something else, or answer with what you have and say what is missing."
        )
    return "\n".join(lines)


def poll_note(tool: str, every: str) -> str:
    """The note to a model that polls faster than the policy calls sensible."""
    return f"Note from the run's governor (not from the user): wait {every} between two calls of {tool} with the same arguments."


def blocked_answer(tool: str, finding_text: str, held: str | None) -> str:
    """The synthetic result of a blocked call: that it did not run, why, and what is known already."""
    lines = [f"{tool} was not run. {finding_text}"]
    if held:
        lines.append(f"The result you already have:\n{held}")
    lines.append(
        "Do not call it like this again: do something else, or answer with what you have and say what is missing."
    )
    return "\n".join(lines)


def _excerpt(text: str) -> str:
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}..."
