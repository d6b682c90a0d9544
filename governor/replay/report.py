"""What a replay found: acts of each control, what came after the first hard one, and what the record does not let anybody tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from governor.decisions import Verdict
from governor.replay.unjudged import unjudged

if TYPE_CHECKING:
    from governor.calls import ModelRef
    from governor.decisions import Decision, Reason
    from governor.effects import Value
    from governor.replay.observed import Observed
    from governor.replay.recorded import Recorded, Turn
    from governor.runtime import Runtime

__all__ = ["HARD", "Act", "Judged", "Tally", "summary"]

HARD = ("deny", "stop")
"""Verdicts that would have kept a call from being made, or ended the run."""
_OF_CONTENT = ("loop", "compact")
"""Controls that read what was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing that one control would have done, however often it would have done it again."""

    step: int
    """Number of the recorded message (of the span, in a recording) at which it would have acted first, from 1."""
    control: str
    verdict: str
    code: str
    rule: str
    text: str
    enforced: bool
    """False where the policy only records it (`mode: observe`, a soft budget)."""
    tool: str = ""
    limit: str | None = None
    seen: str | None = None
    remedy: str | None = None
    evidence: Mapping[str, Value] = field(default_factory=dict[str, "Value"])
    times: int = 1
    last_step: int = 0

    @property
    def hard(self) -> bool:
        """Whether a live run would not have gone on as recorded."""
        return self.enforced and self.verdict in HARD


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One run with all that would have been done to it."""

    run: Recorded
    acts: tuple[Act, ...]
    unjudged: tuple[str, ...]
    """What the record does not tell, as sentences."""
    steps: int
    model_calls: int
    tool_calls: int
    tokens: int
    nano_usd: int | None
    """None where some call's price is not known."""
    estimated: int
    """Model calls whose tokens are governor's own estimate."""
    after_tokens: int
    """Tokens of the model calls after the first hard act."""
    after_nano_usd: int | None

    @property
    def first_hard(self) -> Act | None:
        """The first act after which a live run would have gone another way."""
        return next((act for act in self.acts if act.hard), None)

    def document(self) -> dict[str, Any]:
        """It as JSON can hold it."""
        run, first = self.run, self.first_hard
        return {
            "run": run.name,
            "file": run.file,
            "line": run.line,
            "steps": self.steps,
            "model_calls": self.model_calls,
            "tool_calls": self.tool_calls,
            "tokens": self.tokens,
            "nano_usd": self.nano_usd,
            "estimated_model_calls": self.estimated,
            "first_hard_step": first and first.step,
            "after_first_hard": {"tokens": self.after_tokens, "nano_usd": self.after_nano_usd},
            "acts": [asdict(act) for act in self.acts],
            "not_judged": list(self.unjudged),
        }


class Tally:
    """Collects what is decided about one run while it is replayed."""

    def __init__(self, run: Recorded, policy: Observed, runtime: Runtime, scopes: Mapping[str, str]) -> None:
        """`policy` says which rules were meant to refuse, `scopes` whom the run is for."""
        self._run, self._policy, self._runtime, self._scopes = run, policy, runtime, scopes
        self._acts: dict[tuple[str, ...], Act] = {}
        self._step = 0
        self._hard = False
        self._unpriced: set[str] = set()
        self.tool = ""
        self.unanswered = 0
        self.steps = 0
        self._counts: Counter[str] = Counter()

    def at(self, step: int) -> None:
        """What is decided from here on is about this message."""
        self._step = step

    def turn(self, model: ModelRef, turn: Turn) -> None:
        """A model call of this model follows."""
        self._counts["model_calls"] += 1
        self._counts["tool_calls"] += len(turn.calls)
        if self._runtime.prices.rates(model) is None:
            self._unpriced.add(str(model))

    def measured(self, facts: Mapping[str, Value]) -> None:
        """Facts of a finished call, as the path measures them."""
        if "gen_ai.usage.input_tokens" not in facts:
            self._add(0, facts)
            return
        self._counts["estimated"] += bool(facts.get("governor.usage.estimated"))
        self._add(_whole(facts, "gen_ai.usage.input_tokens") + _whole(facts, "gen_ai.usage.output_tokens"), facts)

    def _add(self, tokens: int, facts: Mapping[str, Value]) -> None:
        cost = _whole(facts, "governor.cost_nano_usd")
        self._counts["tokens"] += tokens
        self._counts["cost"] += cost
        if self._hard:
            self._counts["after_tokens"] += tokens
            self._counts["after_cost"] += cost

    def decided(self, decision: Decision, *, enforced: bool | None = None) -> None:
        """Something was decided; what only allows, or cannot be told from this record, is left out."""
        reason = decision.reason
        if decision.verdict is Verdict.ALLOW or reason is None or not self._told(decision.control):
            return
        enforced = self._policy.enforces(decision.control, reason.rule) if enforced is None else enforced
        key = (
            decision.control,
            str(decision.verdict),
            reason.code,
            reason.rule,
            *_subject(decision.control, reason, self.tool),
        )
        known = self._acts.get(key)
        if known is not None:
            self._acts[key] = _again(known, self._step)
            return
        act = Act(
            step=self._step,
            control=decision.control,
            verdict=str(decision.verdict),
            code="budget.exhausted" if reason.code == "budget.passed" else reason.code,
            rule=reason.rule,
            text=reason.text.replace(" It is not enforced: the call goes on.", ""),
            enforced=enforced,
            tool=self.tool,
            limit=reason.limit,
            seen=reason.seen,
            remedy=reason.remedy,
            evidence=dict(reason.evidence),
            last_step=self._step,
        )
        self._acts[key] = act
        self._hard = self._hard or act.hard

    def _told(self, control: str) -> bool:
        return self._run.content or control not in _OF_CONTENT

    def judged(self) -> Judged:
        """All of it."""
        counts, priced = self._counts, not self._unpriced
        ran = sum(1 for event in self._run.events if type(event).__name__ == "Ran")
        return Judged(
            run=self._run,
            acts=tuple(self._acts.values()),
            unjudged=tuple(
                unjudged(
                    self._run,
                    self._policy.written,
                    self._scopes,
                    estimated=counts["estimated"],
                    unpriced=sorted(self._unpriced),
                    unanswered=self.unanswered,
                )
            ),
            steps=self.steps,
            model_calls=counts["model_calls"],
            tool_calls=counts["tool_calls"] + ran,
            tokens=counts["tokens"],
            nano_usd=counts["cost"] if priced else None,
            estimated=counts["estimated"],
            after_tokens=counts["after_tokens"],
            after_nano_usd=counts["after_cost"] if priced else None,
        )


def _again(act: Act, step: int) -> Act:
    return replace(act, times=act.times + 1, last_step=step)


def _subject(control: str, reason: Reason, tool: str) -> tuple[str, ...]:
    """What tells two acts of one rule apart: the cycle, the ledger or the tool."""
    if control == "loop":
        return (str(reason.evidence.get("cycle", "")).rpartition(", x")[0],)
    if control == "compact":
        return (reason.seen or "",)
    if control == "budget":
        return (str(reason.evidence.get("ledger", "")),)
    return (tool,)


def _whole(facts: Mapping[str, Value], name: str) -> int:
    value = facts.get(name, 0)
    return value if isinstance(value, int) else 0


def summary(judged: Sequence[Judged]) -> dict[str, Any]:
    """Over all runs: acts per control and verdict, and what came after each run's first hard act."""
    acts = Counter((act.control, act.verdict) for each in judged for act in each.acts if act.enforced)
    runs = Counter(
        pair for each in judged for pair in {(act.control, act.verdict) for act in each.acts if act.enforced}
    )
    hard = [each for each in judged if each.first_hard is not None]
    cuts = [act.evidence for each in judged for act in each.acts if act.code == "context.cut"]
    left_out = [_whole(cut, "tokens_before") - _whole(cut, "tokens_after") for cut in cuts]
    return {
        "runs": len(judged),
        "runs_with_a_hard_act": len(hard),
        "acts": [
            {"control": control, "verdict": verdict, "acts": count, "runs": runs[control, verdict]}
            for (control, verdict), count in sorted(acts.items())
        ],
        "only_recorded": sum(not act.enforced for each in judged for act in each.acts),
        "tokens": sum(each.tokens for each in judged),
        "nano_usd": _sum([each.nano_usd for each in judged]),
        "after_first_hard": {
            "tokens": sum(each.after_tokens for each in hard),
            "nano_usd": _sum([each.after_nano_usd for each in hard]),
        },
        "tokens_left_out_by_cuts": sum(left_out),
    }


def _sum(amounts: Sequence[int | None]) -> int | None:
    """The sum; None when one of them is not known, since the rest is no sum."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None
