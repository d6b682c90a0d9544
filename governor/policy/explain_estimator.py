"""`routing.estimator` read aloud: who estimates, from what, and what hangs on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.policy.estimators import EncoderSettings, JudgeSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.policy.schema import Estimator, Routing

__all__ = ["estimator_sentences"]

_RATED = {
    "first": "the first model call of a run",
    "boundary": "model calls that follow no tool's result",
    "always": "every model call",
}


def estimator_sentences(routing: Routing) -> Iterator[str]:
    """What the policy's estimator does."""
    estimator, who = routing.estimator, f"A `{_name(routing.estimator)}` estimator"
    if estimator.kind == "judge":
        judge = JudgeSettings.model_validate(estimator.settings)
        yield _judge(judge)
        if judge.mode == "shadow":
            if routing.snapshot is None:
                return
            who = "The snapshot's own estimator"
    elif estimator.kind == "encoder":
        model = EncoderSettings.model_validate(estimator.settings).model
        yield f"A local sentence encoder ({model}) tells steps that gain from a better model from those that do not."
    yield _decides(routing, who)


def _judge(judge: JudgeSettings) -> str:
    cost = f", for at most {judge.max_cost.written} a run" if judge.max_cost is not None else ""
    told = f"`{judge.tier}` rates {_RATED[judge.when]} by a rubric{cost}"
    if judge.mode == "shadow":
        return f"{told}; this is recorded and decides nothing."
    return f"{told}; after {judge.budget_ms} ms nobody waits for it, and the other estimators decide."


def _decides(routing: Routing, who: str) -> str:
    if routing.snapshot is None:
        return f"{who} is asked for, but without a snapshot there is nothing that it could go by."
    told = f"{who} sends easy steps to the cheaper model, by what `{routing.snapshot}` has learned"
    if routing.frontier_share is not None:
        told += f"; about {routing.frontier_share.written} of the steps go to the better one"
    if routing.quality is not None:
        told += f"; only where it is {routing.quality.confidence.written} sure to lose at most {routing.quality.max_loss.written}"
    return told + "."


def _name(estimator: Estimator) -> str:
    return f"{estimator.settings['name']} (custom)" if estimator.kind == "custom" else estimator.kind
