"""The learned look at an answer: what a better tier would gain over it, now that it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.routing.live import live_step

if TYPE_CHECKING:
    from governor.calls import ModelRequest, ModelResponse
    from governor.policy.schema import Policy
    from governor.routing.knowledge import Knowledge
    from governor.runs import RunState

__all__ = ["Scoring"]


class Scoring:
    """Scores the cheaper tier's answers by a promoted snapshot, if it holds a section for that. Pure."""

    def __init__(self, policy: Policy, knowledge: Knowledge | None) -> None:
        """The threshold is the snapshot's own for answers; else the gain at which `frontier_share` draws the line before the call."""
        self._known = knowledge
        share = policy.routing.frontier_share
        self._above: float | None = None
        if knowledge is not None and knowledge.answers is not None:
            self._above = knowledge.answers_above
            if self._above is None and share is not None:
                self._above = knowledge.threshold(float(share))
        escalate = policy.routing.escalate
        self._heard = escalate is not None and "low_score" in escalate.after

    def low(self, state: RunState, request: ModelRequest, response: ModelResponse) -> tuple[float, float] | None:
        """The gain that a better tier is expected to have over an answer, and the threshold below it; None where it is not above.

        Answers in words of the cheaper tier of the pair only: that is what was learned from. What tool calls are worth, their results show.
        """
        known = self._known
        if known is None or known.answers is None or self._above is None or not self._heard:
            return None
        if request.tier != known.weak or response.tool_uses or not response.text.strip():
            return None
        step = live_step(state, request.call)
        if known.nodes is not None and step.node not in known.nodes and step.path not in known.nodes:
            return None
        gain = known.answers.gain(step, response.text)
        return (gain, self._above) if gain > self._above else None
