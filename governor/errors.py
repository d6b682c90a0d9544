"""Every error governor raises, in one tree.

    GovernorError
    +-- PolicyError                 the author's mistake, found at load: file, line, column, remedy
    |   +-- PolicyErrors            several of them at once
    +-- ConfigurationError          the developer's mistake: not a graph, missing extra, no credentials
    +-- RoutingError                outcomes or a snapshot of routing that cannot be used: file, line, field, remedy
    +-- StoreError                  the store could not be read or written; hard limits refuse (fail closed)
    |   +-- LeaseConflict           one id for two different calls
    +-- Refused                     a decision of the policy at run time; carries a `Reason`
        +-- CallDenied              this one call may not happen
        +-- RunStopped              the run must end: a loop, a limit, an exhausted budget

`Refused` is what a caller of a governed graph sees when the policy says to raise. Inside a graph the same decision travels
as a LangGraph bubble-up (`governor_langgraph`), because an ordinary exception would be retried or turned into a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.decisions import Reason
    from governor.report import GovernorReport

__all__ = [
    "CallDenied",
    "ConfigurationError",
    "GovernorError",
    "LeaseConflict",
    "PolicyError",
    "PolicyErrors",
    "Refused",
    "RoutingError",
    "RunStopped",
    "StoreError",
]


class GovernorError(Exception):
    """Base of everything governor raises on purpose."""


class PolicyError(GovernorError):
    """A policy file (or mapping) that cannot be used, with the place and the remedy.

    Raised while a policy is loaded, never while a graph runs: an invalid policy governs nothing.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        rule: str | None = None,
        remedy: str | None = None,
    ) -> None:
        """Keep the parts as attributes, so that tools need not parse the text. Line and column count from 1."""
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.rule = rule
        self.remedy = remedy
        super().__init__(self._text())

    def _text(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        rule = f" (rule {self.rule})" if self.rule else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{place}: {self.message}{rule}.{remedy}" if place else f"{self.message}{rule}.{remedy}"


class PolicyErrors(PolicyError):
    """Every mistake found in one policy, so that an author mends them in one pass."""

    def __init__(self, errors: Sequence[PolicyError]) -> None:
        """Keep `errors` in file order; the first one lends its place to this error."""
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(
            first.message, file=first.file, line=first.line, column=first.column, rule=first.rule, remedy=first.remedy
        )

    def __str__(self) -> str:
        """All errors, one a line."""
        return "\n".join(str(error) for error in self.errors)


class ConfigurationError(GovernorError):
    """Governor was put together wrongly: something that is no graph, a missing extra, no credentials for a tier."""


class RoutingError(GovernorError):
    """A file of recorded outcomes or a snapshot that cannot be used, with the place and the remedy. Nothing of it is used."""

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        """Keep the parts as attributes. Lines count from 1; a field is written with dots: `strong.score`."""
        self.message = message
        self.file = file
        self.line = line
        self.field = field
        self.remedy = remedy
        place = ":".join(str(part) for part in (file, line) if part is not None)
        where = ": ".join(part for part in (place, field) if part)
        super().__init__(
            f"{where}: {message}. {remedy or ''}".strip() if where else f"{message}. {remedy or ''}".strip()
        )


class StoreError(GovernorError):
    """The store did not answer or its content is unreadable. Under a hard limit nothing is dispatched."""


class LeaseConflict(StoreError):
    """A reservation repeats an id with another payload. Answering it with the first call's lease would let a second call through free."""

    def __init__(self, lease: str) -> None:
        """Name the id."""
        self.lease = lease
        super().__init__(f"the lease {lease} was reserved for another call. Give every call an id of its own.")


class Refused(GovernorError):
    """A call or a run was refused by the policy. `reason` names rule, limit as written, number seen and remedy."""

    def __init__(self, reason: Reason, *, policy_hash: str = "") -> None:
        """Use the reason's sentence as the message; the fields stay on `reason`. `policy_hash` is that of the policy that refused."""
        self.reason = reason
        self.policy_hash = policy_hash
        super().__init__(reason.text)


class CallDenied(Refused):
    """One model or tool call was denied; the run itself may go on."""


class RunStopped(Refused):
    """The run had to end. What it had produced is in `partial`: the last state's values, or None when there was none.

    `report` says why, where and how much; None inside of a graph, where the run has not ended yet.
    """

    def __init__(
        self, reason: Reason, partial: object = None, *, policy_hash: str = "", report: GovernorReport | None = None
    ) -> None:
        """`partial` is what the graph's state held when the run stopped."""
        self.partial = partial
        self.report = report
        super().__init__(reason, policy_hash=policy_hash)
