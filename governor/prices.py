"""What a model's tokens cost, in exact integers: nano-USD (1e-9 $) per million tokens.

Prices come from the policy's own `price:` first, else from the snapshot that ships with `genai-prices` (MIT): nothing
is ever fetched. A model that neither knows has no price (None), which under a money limit is a refusal and never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice, TieredPrices, TimeOfDateConstraint

from governor.calls import ModelRef
from governor.gateway_names import behind, same_model

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from genai_prices.types import ModelInfo

    from governor.policy.schema import Policy, PriceOverride
    from governor.usage import Usage

__all__ = ["ORDINARY", "PriceBook", "Rates", "only"]

ORDINARY = "default"
"""The class of service that has the listed price, as OpenAI's and Bedrock's answers name it."""
PER = 1_000_000
"""Rates are per this many tokens."""

_NANO_PER_USD = 1_000_000_000

_PROVIDERS = {
    "amazon_nova": "aws",
    "anthropic": "anthropic",
    "anthropic_bedrock": "aws",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "google_anthropic_vertex": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "groq": "groq",
    "mistralai": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "xai": "x-ai",
}
"""LangChain's provider names to those of genai-prices. A provider that is not here has no known price: guessing from a
model's name would price a self-hosted or resold model as if its vendor served it."""

_RESOLD = {"workers_ai": "cloudflare"}
"""The same for providers whose models are only reached through a gateway (`gateway_names`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Prices of one model in nano-USD per million tokens, one for each class that providers bill apart."""

    input: int
    """Uncached input."""
    output: int
    """Output, reasoning included; the dearer of the two where a provider prices reasoning apart."""
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    request: int = 0
    """Nano-USD per call, whatever its size (search models)."""
    above: tuple[tuple[int, Rates], ...] = ()
    """Long-context prices: (threshold, rates), rising. A prompt of more tokens than the threshold pays these rates for *all* its
    tokens, output included: the cliff that every provider with such a tier uses (genai-prices, `TieredPrices`)."""
    audio: int = 0
    """Recordings in the prompt, where they are priced apart and dearer than its text; 0: as text."""
    heard: int = 0
    """Tokens of recordings that the prompt of one call has at most (`hearing`)."""
    served: tuple[tuple[str, Rates], ...] = ()
    """(class of service, its rates), for those that the price list names: what an answer of that class costs, whatever was asked for."""
    answering: tuple[tuple[str, Rates], ...] = ()
    """(model, its rates), where one of several answers under the name that these rates are of: they are then the dearest of all."""

    def of(self, answered: str) -> Rates | None:
        """The rates of the model that answered, as the answer names it; None where it is none of these."""
        found = [rates for name, rates in self.answering if same_model(answered, name)]
        return _dearest(found) if found else None

    def at(self, prompt_tokens: int) -> Rates:
        """The rates that a prompt of this size pays."""
        rates = self
        for threshold, dearer in self.above:
            if prompt_tokens > threshold:
                rates = dearer
        return rates

    def cost(self, usage: Usage) -> int:
        """Nano-USD of one call's tokens, rounded up once, in total: at most 1 nano-USD above the exact price. Without `usage.fees`.

        Where a client does not report how many tokens of the prompt were recordings, it is as many as were held for.
        """
        rates = next((rates for name, rates in self.served if name == usage.tier), self) if usage.tier else self
        rates = rates.at(usage.prompt)
        parts = (
            usage.input * rates.input
            + usage.cache_read * rates.cache_read
            + usage.cache_write_5m * rates.cache_write_5m
            + usage.cache_write_1h * rates.cache_write_1h
            + usage.output * rates.output
            + min(usage.audio or rates.heard, usage.prompt) * rates.dearer_audio
        )
        return _ceil(parts, PER) + rates.request

    @property
    def dearer_audio(self) -> int:
        """What a token of a recording costs more than one of text."""
        return max(0, self.audio - self.input)

    def hearing(self, tokens: int) -> Rates:
        """These rates for a call whose prompt has recordings of at most so many tokens: the same where recordings cost what text does."""
        if not tokens or not (self.audio or any(rates.audio for _, rates in self.answering)):
            return self
        return replace(
            self,
            heard=tokens,
            above=tuple((threshold, rates.hearing(tokens)) for threshold, rates in self.above),
            served=tuple((name, rates.hearing(tokens)) for name, rates in self.served),
            answering=tuple((name, rates.hearing(tokens)) for name, rates in self.answering),
        )

    def scaled(self, percent: int) -> Rates:
        """These rates at `percent` of the price, each rounded up: a class of service that costs more or less than the listed one."""
        if percent == 100:
            return self
        return Rates(
            input=_ceil(self.input * percent, 100),
            output=_ceil(self.output * percent, 100),
            cache_read=_ceil(self.cache_read * percent, 100),
            cache_write_5m=_ceil(self.cache_write_5m * percent, 100),
            cache_write_1h=_ceil(self.cache_write_1h * percent, 100),
            request=_ceil(self.request * percent, 100),
            audio=_ceil(self.audio * percent, 100),
            above=tuple((threshold, rates.scaled(percent)) for threshold, rates in self.above),
            served=(*self.served, (ORDINARY, self)),
            answering=tuple((name, rates.scaled(percent)) for name, rates in self.answering),
        )

    def dearest_input(self, *, ttl: Literal["5m", "1h"] = "1h") -> int:
        """The most that one prompt token can cost: fresh, read, or written to a cache that lives for at most `ttl`."""
        written = self.cache_write_5m if ttl == "5m" else max(self.cache_write_5m, self.cache_write_1h)
        return max(self.input, self.cache_read, written)

    def worst(self, prompt_tokens: int, output_tokens: int, *, ttl: Literal["5m", "1h"] = "1h") -> int:
        """Upper bound in nano-USD of a call with at most these tokens.

        Every prompt token counts at its dearest class, in the dearest tier that a prompt of at most this size may fall into.
        """
        parts = (
            prompt_tokens * self.dearest_input(ttl=ttl) + output_tokens * self.output + self.heard * self.dearer_audio
        )
        worst = _ceil(parts, PER) + self.request
        for threshold, rates in self.above:
            if prompt_tokens > threshold:
                worst = max(worst, rates.worst(prompt_tokens, output_tokens, ttl=ttl))
        return worst

    def affordable_output(self, nano_usd: int, prompt_tokens: int, *, ttl: Literal["5m", "1h"] = "1h") -> int | None:
        """Most output tokens for which `worst` stays within `nano_usd`.

        Below 0 when the prompt alone does not fit; None when it fits and output is free.
        """
        left = (nano_usd - self.request) * PER - prompt_tokens * self.dearest_input(ttl=ttl)
        left -= self.heard * self.dearer_audio
        fits = left // self.output if self.output else (None if left >= 0 else -1)
        for threshold, rates in self.above:
            if prompt_tokens > threshold:
                other = rates.affordable_output(nano_usd, prompt_tokens, ttl=ttl)
                fits = other if fits is None else fits if other is None else min(fits, other)
        return fits


def only(nano_usd: int) -> Rates:
    """Rates of a call whose cost is known as a whole, whatever its tokens are."""
    return Rates(input=0, output=0, cache_read=0, cache_write_5m=0, cache_write_1h=0, request=nano_usd)


class PriceBook:
    """Rates by model: the policy's overrides, then the genai-prices snapshot. Answers from memory; never a network call.

    Prices that change with the hour (off-peak discounts) count at their dearest, so that an answer stays an upper bound all day.
    """

    def __init__(self, policy: Policy, *, on: datetime | None = None) -> None:
        """Read the overrides of `policy`. `on` is the moment whose prices hold (default: now); it must know its time zone."""
        self._on = on or datetime.now(UTC)
        self._known: dict[str, Rates | None] = {}
        self._overrides: dict[str, list[PriceOverride]] = {}
        self._served: dict[str, tuple[ModelRef, ...]] = {}
        for tier in policy.tiers.values():
            key = f"{tier.provider}:{tier.model_name}"
            if tier.price is not None:
                self._overrides.setdefault(key, []).append(tier.price)
            elif len(tier.serves) > 1:  # tiers that differ in what stands behind one name: whatever any of them says
                self._served[key] = self._served.get(key, ()) + tuple(
                    ModelRef(provider=tier.provider, model=name) for name in tier.served_names
                )

    def rates(self, model: ModelRef) -> Rates | None:
        """Rates of `model`, or None when nobody knows them. Two tiers that price one model differently count at the dearer."""
        key = str(model)
        if key not in self._known:
            self._known[key] = self._find(model)
        return self._known[key]

    def _find(self, model: ModelRef) -> Rates | None:
        served = self._served.get(str(model))
        listed = self._dearest_of(served) if served else _listed(behind(model), self._on)
        overrides = self._overrides.get(str(model))
        return _dearest(_overridden(override, listed) for override in overrides) if overrides else listed

    def _dearest_of(self, served: tuple[ModelRef, ...]) -> Rates | None:
        """Rates that hold whichever of these models answers; None when the price of any of them is not known."""
        known = [(model.model, rates) for model in served if (rates := self.rates(model)) is not None]
        if len(known) < len(served):
            return None
        return replace(_dearest(rates for _, rates in known), answering=tuple(known))


def _overridden(price: PriceOverride, listed: Rates | None) -> Rates:
    """The policy's price, with the price book's word for cache classes that it leaves out. It holds for prompts of any size."""
    read = price.cache_read if price.cache_read is not None else (listed.cache_read if listed else price.input)
    write = price.cache_write if price.cache_write is not None else (listed.cache_write_5m if listed else price.input)
    if price.cache_write_1h is not None:
        write_1h: int = price.cache_write_1h
    else:
        write_1h = max(write, listed.cache_write_1h) if listed and price.cache_write is None else write
    return Rates(
        input=int(price.input),
        output=int(price.output),
        cache_read=int(read),
        cache_write_5m=int(write),
        cache_write_1h=int(write_1h),
        audio=listed.audio if listed else 0,
    )


def _listed(model: ModelRef, on: datetime) -> Rates | None:
    """What the snapshot says, or None."""
    provider = _PROVIDERS.get(model.provider) or _RESOLD.get(model.provider)
    if provider is None:
        return None
    try:
        _, info = get_snapshot().find_provider_model(_reference(model.model), None, provider, None)
    except LookupError:
        return None
    found = [_from_listing(price) for price in _possible(info, on)]
    known = [rates for rates in found if rates is not None]
    if not known or len(known) != len(found):
        return None
    names = {str(variant.when.get("service_tier", "")) for variant in info.price_variants or ()} - {"", "default"}
    served = [(name, _from_listing(info.get_prices(on, {"service_tier": name}))) for name in sorted(names)]
    return replace(_dearest(known), served=tuple((name, rates) for name, rates in served if rates is not None))


def _reference(name: str) -> str:
    """A model's name as genai-prices knows it: of an ARN only what follows the last slash.

    Foundation-model and profile ARNs end in a model id; an application profile, a prompt router or provisioned throughput ends in
    an opaque id that matches nothing, which is right: its price depends on what is behind it.
    """
    return name.rsplit("/", 1)[-1] if name.startswith("arn:") else name


def _possible(info: ModelInfo, on: datetime) -> list[ModelPrice]:
    """The prices that may hold during the day of `on`: the listed one, and those of every hour if they differ by the hour."""
    active = info.get_prices(on)
    if isinstance(info.prices, ModelPrice):
        return [active]
    hourly = [price.prices for price in info.prices if isinstance(price.constraint, TimeOfDateConstraint)]
    always = [info.prices[0].prices] if hourly else []
    return [active, *hourly, *always]


def _from_listing(price: ModelPrice) -> Rates | None:
    """One listed price as rates; None when it does not price text in and out (embeddings, audio)."""
    if price.input_mtok is None or price.output_mtok is None:
        return None
    tiered = [value for value in vars(price).values() if isinstance(value, TieredPrices)]
    starts = sorted({tier.start for value in tiered for tier in value.tiers})
    base = _classes(price, None)
    return replace(base, above=tuple((start, _classes(price, start)) for start in starts))


def _classes(price: ModelPrice, start: int | None) -> Rates:
    """Rates just above `start` tokens of prompt. A class that is not listed is billed as the one it is part of."""
    fresh = _nano(price.input_mtok, start) or 0
    output = _nano(price.output_mtok, start) or 0
    read, write = _nano(price.cache_read_mtok, start), _nano(price.cache_write_mtok, start)
    write_1h = _nano(price.cache_write_1h_mtok, start)
    write = fresh if write is None else write
    return Rates(
        input=fresh,
        output=max(output, _nano(price.output_reasoning_mtok, start) or 0),
        cache_read=fresh if read is None else read,
        cache_write_5m=write,
        cache_write_1h=write if write_1h is None else write_1h,
        request=_ceil(_nano(price.requests_kcount, start) or 0, 1_000),
        audio=_nano(price.input_audio_mtok, start) or 0,
    )


def _nano(price: Decimal | TieredPrices | None, start: int | None) -> int | None:
    """A listed dollar price as nano-USD, at the tier that holds just above `start`; None when there is none."""
    if price is None:
        return None
    if isinstance(price, TieredPrices):
        reached = [tier.price for tier in price.tiers if start is not None and tier.start <= start]
        price = reached[-1] if reached else price.base
    numerator, denominator = price.as_integer_ratio()
    return _ceil(numerator * _NANO_PER_USD, denominator)


def _dearest(several: Iterable[Rates]) -> Rates:
    """Rates that no member of `several` exceeds in any class."""
    result: Rates | None = None
    for rates in several:
        result = rates if result is None or result == rates else _dearer(result, rates)
    if result is None:
        message = "no rates to choose from"
        raise ValueError(message)
    return result


def _dearer(left: Rates, right: Rates) -> Rates:
    starts = sorted({start for rates in (left, right) for start, _ in rates.above})
    base = _by_class(left, right)
    return replace(base, above=tuple((start, _by_class(left.at(start + 1), right.at(start + 1))) for start in starts))


def _by_class(left: Rates, right: Rates) -> Rates:
    return Rates(
        input=max(left.input, right.input),
        output=max(left.output, right.output),
        cache_read=max(left.cache_read, right.cache_read),
        cache_write_5m=max(left.cache_write_5m, right.cache_write_5m),
        cache_write_1h=max(left.cache_write_1h, right.cache_write_1h),
        request=max(left.request, right.request),
        audio=max(left.audio, right.audio),
    )


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
