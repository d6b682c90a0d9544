"""What becomes of an agent that is told of its loop: one that obeys, and one that ignores whatever it is told.

Both do what the constructed loops recorded. From the step after the first at which it is told, the one that obeys takes two other steps,
which find something, and answers. The one that ignores goes on as recorded, refused calls included. Tokens are counted from the onset, each
step sending what came since again, as in `scoring`. A chant is cut while it streams: nobody is told, and either agent is stopped.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from governor.decisions import Verdict
from tests.bench.loops.anchors import NUDGE
from tests.bench.loops.corpus import Run, Step
from tests.bench.loops.ours import Ours
from tests.bench.loops.scoring import CHARS

__all__ = ["agents"]


@dataclass(frozen=True, slots=True)
class _Ended:
    told: bool
    how: str
    """`itself`, `stopped`, or `record`: at the end of what was recorded, still looping."""
    billed: int


def agents(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """How the runs of each agent end, and what they spend; `unwatched` is the one that nobody tells anything."""
    loops = [run for run in runs if run.group == "constructed"]
    found: dict[str, Callable[[Run], _Ended]] = {
        "obeys": lambda run: _ended(run, obeys=True),
        "ignores": lambda run: _ended(run, obeys=False),
        "unwatched": _unwatched,
    }
    return {name: _figures([end(run) for run in loops]) for name, end in found.items()}


def _figures(ended: Sequence[_Ended]) -> dict[str, Any]:
    return {
        "runs": len(ended),
        "told": sum(each.told for each in ended),
        **{how: sum(each.how == how for each in ended) for how in ("itself", "stopped", "record")},
        "billed tokens from onset": round(statistics.fmean(each.billed for each in ended)) if ended else None,
    }


def _ended(run: Run, *, obeys: bool) -> _Ended:
    detector, told = Ours(), False
    new = billed = 0
    steps: Iterator[Step] = iter(run.steps)
    while (step := next(steps, None)) is not None:
        level = detector.see(step)
        if step.i >= run.onset:
            new += step.chars
            billed += new
        if detector.refused is Verdict.STOP:
            return _Ended(told, "stopped", billed // CHARS)
        if level >= NUDGE and not told:
            told = True
            if obeys:
                steps = _changed(step)
    return _Ended(told, "itself" if told and obeys else "record", billed // CHARS)


def _changed(last: Step) -> Iterator[Step]:
    """What an agent does that takes the hint: asks for something else, twice, and answers."""
    plain = replace(last, kind="tool", par=None, ns=None, user_after=False, err=False)
    asked = ("Ask the owner of the account for the missing number.", "Look the number up in the archive of last year.")
    for place, (question, answer) in enumerate(
        zip(asked, ("Owner Sato says 4711, Kyoto branch.", "Archive: 4711 was closed in May."), strict=True), 1
    ):
        yield replace(plain, i=last.i + place, name="consult", args={"question": question}, text="", result=answer)
    yield replace(
        plain, i=last.i + 3, kind="model", name=None, args=None, text="The account 4711 was closed in May.", result=None
    )


def _unwatched(run: Run) -> _Ended:
    new = billed = 0
    for step in run.steps[run.onset :]:
        new += step.chars
        billed += new
    return _Ended(told=False, how="record", billed=billed // CHARS)
