"""Rules about tools and nodes: who may call what, with which arguments, after what; and which nodes may run at all."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from governor.policy.base import Globs, Mode, Name, Section, Text, one_or_many
from governor.policy.matchers import When
from governor.policy.scalars import Milliseconds

__all__ = ["STRENGTH", "Decide", "NodeRule", "Nodes", "ToolRule", "Tools"]

Decide = Literal["allow", "nudge", "ask", "deny"]

STRENGTH: dict[str, int] = {"allow": 0, "nudge": 1, "ask": 2, "deny": 3}
"""Of all rules that match a call the strongest decides, whatever their order: deny, ask, nudge, allow."""


class ToolRule(Section):
    """One rule about tool calls. All matching rules are looked at and recorded; the strongest decision wins."""

    id: Name
    """A stable name, used in decisions, reports and tests."""
    tool: Globs
    """Names of tools; `*` matches any text."""
    node: Globs | None = None
    """Only calls from these nodes. Absent: from every node."""
    when: When | None = None
    """Conditions on the call; all must hold. Absent: every call."""
    decide: Decide
    """`allow`, `ask` (a person decides), `nudge` (not done; the model is told what to do instead) or `deny`."""
    tell: Text | None = None
    """What the model is told when the call is not made."""
    expires: Milliseconds | None = None
    """With `ask`: an approval not given by then is a denial."""
    tags: Annotated[tuple[Name, ...], BeforeValidator(one_or_many)] = ()
    """Labels for reports, e.g. the OWASP risk it answers (`ASI02`)."""
    mode: Mode | None = None
    """Absent: the policy's mode."""


class Tools(Section):
    """Which tools may be called. What no rule allows is decided by `default`."""

    default: Literal["deny", "allow"] = "deny"
    """For calls that no rule matches."""
    rules: tuple[ToolRule, ...] = Field(default=())
    """In any order: order does not matter."""


class NodeRule(Section):
    """One rule about nodes. A `deny` that matches wins over any `allow`."""

    id: Name
    """A stable name, used in decisions, reports and tests."""
    node: Globs
    """Names of nodes, or their paths through nested graphs (`orders/worker`); `*` matches any text."""
    decide: Literal["allow", "deny"]
    """Whether it may run. A node that may not ends the run: nobody could answer in its place."""
    tags: Annotated[tuple[Name, ...], BeforeValidator(one_or_many)] = ()
    """Labels for reports, e.g. the OWASP risk it answers (`ASI10`)."""
    mode: Mode | None = None
    """Absent: the policy's mode."""


class Nodes(Section):
    """Which nodes may run, nested graphs and tasks included. With `default: deny` the declared ones alone."""

    default: Literal["deny", "allow"] = "allow"
    """For nodes that no rule matches."""
    rules: tuple[NodeRule, ...] = Field(default=())
    """In any order: order does not matter."""
