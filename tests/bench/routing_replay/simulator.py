"""What a run costs when each step is answered by one of two models, with a prompt cache for each. Shares no code with governor.

A step of P prompt and O output tokens on a model reads what that model has of the run, min(prefix, P), if it was used within its lifetime,
writes the rest of the prompt and pays for the answer. Its prefix is then P. The stream of tokens is the recorded one, whoever answers: what
another model would have written instead is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.routing_replay.corpus import Run

__all__ = ["FRONTIER", "LIFETIME_S", "STUDENTS", "Model", "Outcome", "replay"]

LIFETIME_S = 300
"""How long an unused prefix is kept, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Dollars per million tokens."""

    input: float
    output: float
    read: float
    write: float


FRONTIER = Model(input=5, output=25, read=0.5, write=6.25)
STUDENTS = {
    "1/5": Model(input=1, output=5, read=0.10, write=1.25),
    "~1/28": Model(input=0.252, output=0.378, read=0.0252, write=0.252),
    "1/100": Model(input=0.05, output=0.25, read=0.005, write=0.0625),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run's bill, dollars."""

    cost: float
    switches: int
    frontier: int
    """Steps that the better model answered."""


def replay(run: Run, up: Sequence[bool], student: Model, *, cached: bool = True, handoff: int | None = None) -> Outcome:
    """Price a run whose steps are answered by the frontier where `up` says so.

    `handoff`: a model that takes over reads so many tokens instead of all that was said before, and then what is added. Writing the
    summary and what it loses are not counted.
    """
    kept: dict[bool, tuple[int, int]] = {}
    cost, switches, began = 0.0, 0, (0, 0)
    for position, (step, strong) in enumerate(zip(run.steps, up, strict=True)):
        model = FRONTIER if strong else student
        changed = position > 0 and strong != up[position - 1]
        switches += changed
        prompt = step.prompt
        if handoff is not None and strong:
            if changed:
                before = run.steps[position - 1].prompt
                began = (before, min(handoff, before))
            if began[0]:
                prompt = min(step.prompt, began[1] + max(0, step.prompt - began[0]))
            if changed:
                kept.pop(True, None)  # the summary is another text than what was cached before
        prefix, last = kept.get(strong, (0, 0))
        read = min(prefix, prompt) if cached and step.at_s - last <= LIFETIME_S else 0
        fresh = model.write if cached else model.input
        cost += (read * model.read + (prompt - read) * fresh + step.output * model.output) / 1e6
        kept[strong] = (prompt, step.at_s)
    return Outcome(cost=cost, switches=switches, frontier=sum(up))
