"""The interface of scores for answers: from a step and what the cheaper tier said to what a better one would gain over that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from governor.routing.estimate import StepFeatures

__all__ = ["AnswerScorer"]


class AnswerScorer(Protocol):
    """Scores answers. Pure and safe for threads."""

    def gain(self, step: StepFeatures, answer: str) -> float:
        """From -1 to 1: the higher, the better it is to ask the better tier."""
        ...
