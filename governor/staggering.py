"""Sub-flow of the path: of calls that begin together with one prefix the first writes it to the cache, the others wait and read it.

A call waits before it reserves, holding nothing but its place among the calls of its run, and never for longer than the policy says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.effects import AwaitLead, Decided, Flow, LeadDone, TakeLead, ask
from governor.queueing import looked

if TYPE_CHECKING:
    from governor.calls import ModelRequest
    from governor.controls import Controls
    from governor.plans import Routed, Viewed
    from governor.warming import Ticket

__all__ = ["Ahead", "begun", "behind_the_first"]


class Ahead:
    """Whether a model call goes ahead of others with its prefix, and how long what it writes lives."""

    __slots__ = ("lives_ms", "ticket")

    def __init__(self) -> None:
        """It does not."""
        self.ticket: Ticket | None = None
        self.lives_ms = 0


def behind_the_first(
    request: ModelRequest, routed: Routed, viewed: Viewed, ahead: Ahead, controls: Controls, now: int
) -> Flow[int]:
    """Wait for who writes the request's prefix, where that is cheaper; what time it is then.

    Raises as the path does when the run was stopped or halted meanwhile, or its time is over.
    """
    lead = controls.order.lead(request, routed, viewed.lane, now)
    if lead is None or (ahead.ticket is not None and ahead.ticket.key == lead.key):
        return now
    yield from begun(ahead, now, answered=False)  # on a lower rung it asks for something else
    began, late = now, False
    while True:
        ticket = yield from ask(TakeLead(lead.key, now, lead.patience_ms))
        if ticket.leads:
            ahead.ticket, ahead.lives_ms = ticket, lead.lives_ms
        left = began + lead.patience_ms - now
        if not ticket.waits or left <= 0:
            break
        over = yield from ask(AwaitLead(ticket, left))
        _, now = yield from looked(request.call, controls)
        if not over:
            late = True
            break
    if now > began:
        yield from ask(
            Decided(
                request.call.step, controls.order.staggered(lead, now - began, late=late or ahead.ticket is not None)
            )
        )
    return now


def begun(ahead: Ahead, now: int, *, answered: bool) -> Flow[None]:
    """The call's answer began, or it never will: whoever waits for its prefix goes on."""
    ticket, ahead.ticket = ahead.ticket, None
    if ticket is not None:
        yield from ask(LeadDone(ticket, now, ahead.lives_ms if answered else 0))
