"""What a step costs on each tier, by what is cached where and until when, and so what it costs to change the model.

Estimates, for comparing tiers: what a call is reserved and billed at is worked out elsewhere, from the final request. A model that can
cache by markers counts as cached even when the policy places none: the graph may place its own, and staying is the safer mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.models import cache_lifetime_ms, facts
from governor.prices import PER
from governor.routing.live import added_tokens
from governor.values import cheap

if TYPE_CHECKING:
    from typing import Literal

    from governor.calls import ModelCall, ModelRef
    from governor.prices import Rates
    from governor.runs import Lane, Warm

__all__ = ["ANSWER", "NEW", "Size", "StepPrice", "priced", "repair", "size_of"]

NEW, ANSWER = 600, 275
"""Tokens that a step adds to the prompt, and of its answer, where a lane has no call yet: medians of recorded agent runs."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a step is expected to be, tokens."""

    prompt: int
    new: int
    """Of the prompt, what the lane's latest call has not sent."""
    answer: int


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class StepPrice:
    """One step on one tier. Nano-USD and tokens."""

    cost: int
    """As its cache stands now."""
    steady: int
    """As if it had cached what the warmest tier has: what the tokens cost, whoever has read them before."""
    warm: int
    """Tokens that it would read from its cache."""

    @property
    def fill(self) -> int:
        """What it costs that its cache does not hold what the warmest one holds."""
        return max(0, self.cost - self.steady)


def size_of(call: ModelCall, lane: Lane | None, answer: int | None) -> Size:
    """How large the call is, by what the provider counted last where that can be built on. `answer`: most output tokens, if limited."""
    tools = sum([tool.tokens for tool in call.tools])
    new = added_tokens(call, lane.previous_last) if lane is not None else None
    if lane is None or new is None or not lane.prefix_tokens:
        prompt = call.history.tokens + tools
        return Size(prompt=prompt, new=prompt, answer=min(ANSWER, answer or ANSWER))
    spoken = lane.output_tokens or ANSWER
    return Size(prompt=lane.prefix_tokens + new, new=new, answer=min(spoken, answer or spoken))


def priced(
    size: Size,
    models: tuple[tuple[ModelRef, Rates | None], ...],
    lane: Lane | None,
    now: int,
    ttl: Literal["5m", "1h", "off"],
) -> tuple[StepPrice, ...]:
    """The step on each of the models; a model without a known price costs nothing, since nothing is known. `now`: 0 if nobody knows."""
    warm = [
        _readable(size, model, lane.warm(str(model)) if lane is not None else None, now, ttl) for model, _ in models
    ]
    most = max(warm, default=0)
    return tuple(
        [
            StepPrice(
                cost=_cost(size, model, rates, read, ttl),
                steady=_cost(size, model, rates, max(most, read), ttl),
                warm=read,
            )
            for (model, rates), read in zip(models, warm, strict=True)
        ]
    )


def repair(size: Size, model: ModelRef, rates: Rates | None, steps: int, ttl: Literal["5m", "1h", "off"]) -> int:
    """What it costs to have a step put right: a block on the better tier, that begins with writing the whole prompt to its cache.

    By design the same whatever is warm: what an answer is worth does not depend on where the last one came from.
    """
    later = Size(prompt=size.prompt + NEW + size.answer, new=NEW + size.answer, answer=size.answer)
    return _cost(size, model, rates, 0, ttl) + (steps - 1) * _cost(later, model, rates, size.prompt, ttl)


def _readable(size: Size, model: ModelRef, warm: Warm | None, now: int, ttl: Literal["5m", "1h", "off"]) -> int:
    known = facts(model)
    if warm is None or known.cache == "none" or warm.prefix_tokens < known.min_cache_tokens:
        return 0
    if now and now - warm.last_at_ms > cache_lifetime_ms(known, ttl):
        return 0
    return min(warm.prefix_tokens, size.prompt, known.cache_cap_tokens or size.prompt)


def _cost(size: Size, model: ModelRef, rates: Rates | None, read: int, ttl: Literal["5m", "1h", "off"]) -> int:
    if rates is None:
        return 0
    known, rates = facts(model), rates.at(size.prompt)
    if known.cache == "none" or size.prompt < known.min_cache_tokens:
        fresh = rates.input
    else:
        fresh = rates.cache_write_1h if ttl == "1h" and known.cache_1h else rates.cache_write_5m
    parts = read * rates.cache_read + (size.prompt - read) * fresh + size.answer * rates.output
    return -(-parts // PER) + rates.request
