"""Which nodes are worth a student: how often they are called x how much better the teacher is x what a student saves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from governor.calls import Message
from governor.distill.dialogue import UNNAMED
from governor.replay.recorded import Turn
from governor.tokens import TOOL_FRAMING, estimate
from governor.usage import Usage

if TYPE_CHECKING:
    from governor.calls import ModelRef
    from governor.prices import PriceBook
    from governor.replay import Recorded

__all__ = ["Worth", "worth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """One node in the recorded runs. Money is nano-USD of those runs together; None is a price that nobody knows, and never 0."""

    node: str
    calls: int
    runs: int
    prompt_tokens: int
    output_tokens: int
    estimated: int
    """Calls whose record reports no usage, so that tokens are governor's estimate."""
    cost: int | None
    """What the calls have cost."""
    student_cost: int | None
    """What the same tokens would have cost by the student, cached as they were."""
    gap: float | None
    """How much better the teacher scores at this node than the student does today. None: nothing was recorded of the student."""
    worth: int | None
    """What a student as good as the teacher would save: (cost - student's) x gap. A gap that is not known counts as 1: an upper bound."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in type(self).__slots__}


@dataclass(slots=True)
class _Sums:
    calls: int = 0
    estimated: int = 0
    prompt: int = 0
    output: int = 0
    cost: int | None = 0
    student: int | None = 0
    runs: set[tuple[str, str, int]] = field(default_factory=set[tuple[str, str, int]])
    scores: dict[bool, list[float]] = field(default_factory=lambda: {True: [], False: []})
    """Is it the student's? -> what was said of the answers."""


def worth(
    runs: Iterable[tuple[Recorded, Callable[[str, int], float | None]]],
    prices: PriceBook,
    *,
    student: ModelRef | None,
    model: ModelRef | None,
    gaps: Mapping[str, float],
) -> tuple[Worth, ...]:
    """Every node, the one that is worth most first. `model` answered where the record names none; `gaps` are measured ones, by node."""
    sums: dict[str, _Sums] = {}
    for run, score in runs:
        before = sum(estimate(text) + TOOL_FRAMING for _, text in run.tools or ())
        step = 0
        for event in run.events:
            if isinstance(event, Turn):
                step += 1
                node = event.node or UNNAMED
                one = sums.setdefault(node, _Sums())
                if _count(one, event, before, score(node, step), prices, student, model):
                    one.runs.add((run.file, run.name, run.line))
                before += sum(each.tokens for each in event.answers)
            before += event.message.tokens if isinstance(event, Turn) else 0
            before += event.tokens if isinstance(event, Message) else 0
    found = [_worth(node, each, gaps.get(node)) for node, each in sums.items()]
    return tuple(sorted(found, key=lambda each: (each.worth is None, -(each.worth or 0), -each.calls, each.node)))


def _count(
    sums: _Sums,
    turn: Turn,
    before: int,
    score: float | None,
    prices: PriceBook,
    student: ModelRef | None,
    model: ModelRef | None,
) -> bool:
    """Count a model call, of the student its score alone. Whether it was another's."""
    answered = turn.model or model
    by_student = student is not None and answered == student
    if score is not None:
        sums.scores[by_student].append(score)
    if by_student:
        return False
    usage = turn.usage or Usage(input=before, output=turn.message.tokens, estimated=True)
    sums.calls += 1
    sums.estimated += usage.estimated
    sums.prompt += usage.prompt
    sums.output += usage.output
    sums.cost = _more(sums.cost, answered, usage, prices)
    sums.student = _more(sums.student, student, usage, prices)
    return True


def _more(so_far: int | None, model: ModelRef | None, usage: Usage, prices: PriceBook) -> int | None:
    rates = prices.rates(model) if model is not None else None
    return None if so_far is None or rates is None else so_far + rates.cost(usage)


def _worth(node: str, sums: _Sums, measured: float | None) -> Worth:
    gap = measured if measured is not None else _gap(sums)
    saved = None if sums.cost is None or sums.student is None else max(0, sums.cost - sums.student)
    return Worth(
        node=node,
        calls=sums.calls,
        runs=len(sums.runs),
        prompt_tokens=sums.prompt,
        output_tokens=sums.output,
        estimated=sums.estimated,
        cost=sums.cost,
        student_cost=sums.student,
        gap=gap,
        worth=None if saved is None else saved if gap is None else int(saved * min(1.0, max(0.0, gap))),
    )


def _gap(sums: _Sums) -> float | None:
    teacher, student = sums.scores[False], sums.scores[True]
    if not teacher or not student:
        return None
    return sum(teacher) / len(teacher) - sum(student) / len(student)
