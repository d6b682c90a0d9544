"""What a control can decide, and why.

A decision is data: the same fields become the text of an error, the attributes of a span event and a row of a report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALLOWED", "Decision", "Reason", "Verdict"]


class Verdict(StrEnum):
    """The six words a control may answer with. Strength: stop > deny > ask > nudge > modify > allow."""

    ALLOW = "allow"
    MODIFY = "modify"
    NUDGE = "nudge"
    ASK = "ask"
    DENY = "deny"
    STOP = "stop"


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a decision fell: the rule, its limit as the author wrote it, the number seen, what to do about it."""

    code: str
    """Low-cardinality reason code for metrics and tests, e.g. `budget.exhausted`, `loop.period`, `access.default_deny`."""
    rule: str
    """Id of the policy rule, or the policy path that has no id (`limits.steps`, `tools.default`)."""
    text: str
    """The whole sentence, for people."""
    limit: str | None = None
    """The limit as its author wrote it (`0.50`, `400k`, `10m`)."""
    seen: str | None = None
    """What was measured when the rule fired, in the limit's unit."""
    remedy: str | None = None
    """What a user, developer or policy author can do now."""
    evidence: Mapping[str, str | int | float | bool] = field(default_factory=dict[str, "str | int | float | bool"])
    """Further facts, content-free: numbers, ids, hashes."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One control's answer about one call."""

    control: str
    """`loop`, `access`, `route`, `compact`, `order` or `budget`."""
    verdict: Verdict
    reason: Reason | None = None
    observed: bool = False
    """True when the rule is in observe mode: `verdict` is what *would* have happened, and the call goes on."""

    kills: bool = False
    """With a stop: the run is halted in the store as well, for every process, until somebody resumes it."""

    @property
    def refuses(self) -> bool:
        """Whether the call must not be made."""
        return not self.observed and self.verdict in (Verdict.DENY, Verdict.STOP)


ALLOWED = Decision(control="policy", verdict=Verdict.ALLOW)
