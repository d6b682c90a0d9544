"""The one interface of estimators: from the features of a step to what a better tier would gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DELTA_CHARS", "Estimate", "Estimator", "StepFeatures"]

DELTA_CHARS = 4_000
"""Of the newest message, what estimators read: pure Python takes 2.7 ms for 2,000 characters at the 99th percentile, 8 ms for 8,000."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class StepFeatures:
    """What is known of a model call before it is made. Never the prefix: an encoder of 256 tokens would see under 2% of it."""

    node: str
    """Name of the graph's node."""
    path: str
    """Its path through nested graphs."""
    delta: str = ""
    """The newest user or tool message, cut to `DELTA_CHARS`."""
    outcome: str = ""
    """What became of the last step: a signal of `routing.escalate.after`, or empty when nothing was wrong."""
    errors: int = 0
    """Failed tool calls in a row before this call."""
    repeats: int = 0
    """Repeated calls among the last six."""
    step: int = 0
    """Model calls of the run before this one."""
    pending_tool: str = ""
    """The tool whose result is the newest message."""
    structured: bool = False
    """Whether an output schema is asked for."""
    prefix_tokens: int = 0
    delta_tokens: int = 0


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the better tier gains over the cheaper one at a step, by what was recorded of steps like it."""

    gain: float
    """P(strong right, weak wrong) - P(weak right, strong wrong), -1 to 1; for graded outcomes the mean difference."""
    low: float
    high: float
    """Interval of the gain, for the band of indifference and for `explain`."""
    records: int
    """How many paired outcomes it rests on."""
    layer: str
    """Which estimator said so, and from what: `table planner/tool_error`, `hashed`, `encoder cluster 7`, `judge`."""
    facts: Mapping[str, str]
    """Every other number that entered, for the trace."""


class Estimator(Protocol):
    """Estimates gains. Pure and safe for threads. A custom one is an entry point of the group `governor.estimators`."""

    def estimate(self, step: StepFeatures) -> Estimate | None:
        """The gain at a step, or None to abstain: the call then goes to the upper tier."""
        ...
