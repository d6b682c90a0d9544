"""What is observed of a call while it runs: the one value that changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from governor.usage import Usage

__all__ = ["Listener", "Meter"]


class Listener(Protocol):
    """Hears an answer while it streams."""

    cuts: bool
    """Whether the answer is to be cut once it is heard to go on and on."""
    heard: bool
    """Whether it does."""
    length: int
    """Characters heard so far."""

    def add(self, text: str) -> bool:
        """Hear more; whether it goes on and on by now."""
        ...

    def add_whole(self, text: str) -> bool:
        """Hear an answer that came in one piece."""
        ...


@dataclass(slots=True)
class Meter:
    """What was observed of one provider call while it ran. The only mutable value: drivers and integrations feed it.

    Whether a call that failed is charged depends on what is noted here.
    """

    dispatched: bool = False
    """The request left for the provider: from here on a failure may have been billed."""
    rejected: bool = False
    """The provider refused it before any token (4xx validation, throttling): nothing was billed."""
    broke: bool = False
    """A tool raised an error of its own: not an interrupt, a handoff or a refusal."""
    again: bool = False
    """The request failed in a way that its client would have retried by itself: ask once more, with a reservation of its own."""
    outage: bool = False
    """The failure was the provider's: an outage, overload, throttling, a connection lost. Another one may answer."""
    answered: bool = False
    """The failure was an answer all the same: the provider is there, and refused this request."""
    unread: bool = False
    """Nobody can have read a part of an answer: the call may be made at another tier."""
    asked_ms: int | None = None
    """How long the provider asked not to be called, where it did."""
    output_tokens: int = 0
    """Estimated output tokens seen so far (streams)."""
    largest: int = 0
    """Estimated tokens of the largest piece that a stream came in: as much may have been under way when its reader left."""
    observed: bool = False
    """Everything that the provider sent until the stream ended early is in `output_tokens`, nothing of it is generated unseen, and the
    provider is known to stop when its reader leaves. Only then is what was seen evidence of what is billed."""
    cache_ttl: Literal["none", "5m", "1h"] = "1h"
    """The longest life of a prompt cache that the request asked for, as far as that was looked at."""
    final: bool = False
    """`usage` is the provider's last word, output included, not only what it said of the prompt at the beginning."""
    usage: Usage | None = None
    """Reported usage, once it arrives."""
    chant: Listener | None = None
    """Listens to the answer for one that says the same over and over; None where the policy does not want to know."""
