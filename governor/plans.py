"""What controls hand to the path: the chosen tier, the view, the quote. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.decisions import ALLOWED, Decision
from governor.values import cheap

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelRef, ModelRequest, View
    from governor.ledger import Hold
    from governor.prices import Rates
    from governor.runs import Lane
    from governor.weighing import Weighing

__all__ = ["NO_RUNG", "Admission", "Asking", "Judgement", "Lead", "Quote", "Routed", "Rung", "ToolQuote", "Viewed"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The loop control's answer: go on, with a note for the model, or not."""

    decision: Decision = ALLOWED
    note: str | None = None
    """Text for the tail of the next model request (nudge)."""
    held: str | None = None
    """For a blocked tool call: the result already held, shown again with the reason."""
    cut: bool = False
    """Whether the history is to be cut before this call, without waiting until that pays."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """The tier that answers."""

    tier: str | None
    """None keeps the model of user code."""
    model: ModelRef
    rates: Rates | None
    """None when the model has no known price."""
    max_output_tokens: int | None
    """The tier's own limit."""
    decision: Decision
    escalated: bool = False
    base: str | None = None
    """The tier that would answer when nothing went wrong, where that was estimated; None where a rule or the default says it."""
    instead_of: str | None = None
    """The tier that it answers for, whose provider fails."""
    note: str | None = None
    """What the model is told at the tail of the prompt: what was wrong with the answer that it gave before."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the answer was worth: a signal to remember, and perhaps another tier to ask at once."""

    signal: str | None = None
    """A word of `routing.escalate.after` (`invalid_output`, `refusal`, ...); None when the answer passes."""
    decision: Decision = ALLOWED
    again: Routed | None = None
    """Ask this tier now: the same one for a repair, then a better one, each at most once a call. Never for a stream, whose chunks are
    already with the reader."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A question to a model beside the call itself: a summary of what a cut removes."""

    routed: Routed
    """Who is asked."""
    call: ModelCall
    """The call it is asked for; with a history of its own where it is not `appended`."""
    view: View
    appended: bool
    """Whether it is one more message of the call's own conversation, whose cached prefix it reads."""
    note: str | None
    """That message."""
    window: int | None
    """Real tokens that the model reads, answer included; None where nobody knows."""
    room: int
    """Most tokens of an answer that is of use."""
    output: int
    """Most output tokens of the call."""
    cost: int
    """What it is expected to cost, nano-USD."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Viewed:
    """The compacted view, and the lane as it stands after this call."""

    view: View
    lane: Lane
    decision: Decision = ALLOWED
    elided: tuple[tuple[str, str], ...] = ()
    """(handle, full text) of results that become placeholders; kept in the store before anything is sent."""
    asking: Asking | None = None
    """What to ask before the call, for the cut that was just made; the view is as it would be without an answer."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """A prefix that a request writes to the cache, and that others with it would rather read."""

    key: str
    tokens: int
    """Estimated tokens of it."""
    saved: int
    """What reading costs less than writing, nano-USD."""
    patience_ms: int
    """How long a call waits for who writes it."""
    lives_ms: int
    """How long it can be read then."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A priced request: the holds it needs and the clamp that makes the price an upper bound."""

    request: ModelRequest
    holds: tuple[Hold, ...]
    cost: int
    """Worst case of this call, nano-USD, fees included; for its tokens 0 when the model has no price and no money limit asks for one."""
    rates: Rates | None
    estimated: int = 0
    """The estimator's count of the prompt before calibration, tokens; without its media."""
    media: int = 0
    """Most tokens that the prompt's pictures, documents and recordings are billed at; nothing calibrates it."""
    weighings: tuple[Weighing | None, ...] = ()
    """What the tokens of each hold weigh, in step with `holds`; empty when none weighs anything but 1."""
    fees: int = 0
    """Of `cost`, what the provider's own tools cost at most, nano-USD."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolQuote:
    """Holds of a tool call: its count and its fee (nano-USD)."""

    holds: tuple[Hold, ...]
    fee: int


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """How far one call is degraded: all that the rungs of the ladder up to this one ask of it."""

    level: int = 0
    """Rungs that the call goes by; 0 is none."""
    base: int = 0
    """Rungs that its run goes by from here on, whatever the call's share says."""
    compact: bool = False
    lower: int = 0
    """Tiers to go down."""
    max_output_tokens: int | None = None
    last: bool = False
    """The last call of its node: it may use what is kept for it."""
    note: str | None = None
    """What the model is told, at the tail of the prompt."""


NO_RUNG = Rung()
"""The call as it is."""
