"""What an application says of its runs: a user's thumb, the task's reward, an evaluator. Routing learns from it, after `governor route`."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from governor.errors import ConfigurationError, GovernorError
from governor.routing.outcomes import ENVIRONMENT, Outcome, Outcomes, outcomes_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from governor.calls import RunRef
    from governor.report import GovernorReport

    Evaluator = Callable[[GovernorReport], float | Mapping[str, float] | None]

__all__ = ["afeedback", "evaluated", "feedback"]

_log = logging.getLogger("governor")


def feedback(
    run: str | RunRef,
    score: float,
    *,
    node: str | None = None,
    step: int | None = None,
    source: str = "user",
    id: str | None = None,  # noqa: A002 - what it is
    outcomes: str | PathLike[str] | None = None,
) -> bool:
    """Say how good a run was, a node in it, or one model call (`step`, from 1): 0 is useless, 1 is right.

    With an `id`, saying it again changes nothing, and False says so; of several words about one thing the last counts. `outcomes`: the
    file, where the policy's `routing.outcomes` or `$GOVERNOR_OUTCOMES` is not it.

    Raises ConfigurationError for what is no outcome or when no file is named, StoreError when it cannot be written.
    """
    path = Path(outcomes).expanduser() if outcomes is not None else outcomes_path()
    if path is None:
        raise ConfigurationError(
            f"no file for outcomes is named: set ${ENVIRONMENT}, or give `outcomes` what the policy's `routing.outcomes` says."
        )
    said = Outcome(
        id=id if id is not None else uuid4().hex,
        run=run if isinstance(run, str) else run.id,
        score=score,
        source=source,
        node=node,
        step=step,
        at_ms=time.time_ns() // 1_000_000,
    )
    file = Outcomes(path)
    try:
        return file.add(said)
    finally:
        file.close()


async def afeedback(
    run: str | RunRef,
    score: float,
    *,
    node: str | None = None,
    step: int | None = None,
    source: str = "user",
    id: str | None = None,  # noqa: A002 - as above
    outcomes: str | PathLike[str] | None = None,
) -> bool:
    """The async twin of `feedback`: the file is written in another thread."""
    say = partial(feedback, run, score, node=node, step=step, source=source, id=id, outcomes=outcomes)
    return await asyncio.to_thread(say)


def evaluated(evaluator: Evaluator, *, outcomes: str | PathLike[str] | None = None) -> Callable[[GovernorReport], None]:
    """A callback for `govern(..., on_report=...)` that asks an evaluator of the application how good each run was, and keeps its word.

    The evaluator gives a score, scores by node, or None to say nothing. Whatever it raises is logged: a run is not lost by its evaluation.
    """

    def report(told: GovernorReport) -> None:
        try:
            found = evaluator(told)
            if found is None:
                return
            scores: list[tuple[str | None, float]] = (
                [(None, found)] if isinstance(found, (int, float)) else [*found.items()]
            )
            for node, score in scores:
                feedback(told.run, score, node=node, source="evaluator", outcomes=outcomes)
        except GovernorError as error:
            _log.warning("the evaluation of run %s is not kept: %s", told.run.id, error)
        except Exception:  # noqa: BLE001 - whatever an application's own evaluator raises
            _log.exception("the evaluator failed on run %s", told.run.id)

    return report
