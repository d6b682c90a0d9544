"""A summariser that always writes the same 300 tokens, for replays in which nobody is asked."""

from __future__ import annotations

from governor.calls import ModelCall, ModelResponse
from governor.controls.compact import Compact
from governor.plans import Viewed

__all__ = ["stubbed"]

SUMMARY = ModelResponse(text=" ".join(["so"] * 296), finish="stop")
"""Some 300 tokens by the estimator, which is what the design notes take a summary to have."""


def stubbed(compact: Compact, call: ModelCall, viewed: Viewed) -> tuple[Viewed, tuple[tuple[int, bool, int], ...]]:
    """The view with the stub's summary where one is asked for, and what that is charged for (`Request.summaries`)."""
    asking = viewed.asking
    if asking is None:
        return viewed, ()
    told = compact.told(call, viewed, asking, SUMMARY)
    if isinstance(told, str):
        return compact.untold(viewed, told), ()
    read = asking.view.tokens
    return told, ((read, asking.appended, read),)
