"""The models the sandbox knows: prices, windows and cache rules, read from ``models.yaml``.

Amounts are integers: pico-USD per token inside (a dollar per million tokens is 1,000,000 of them), nano-USD on the bill.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Literal, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from governor_sandbox.pictures import RULES

CacheRule = Literal["claude", "nova", "automatic", "none"]
Ttl = Literal["5m", "1h"]

_PRICES = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
_REGION = re.compile(r"^(global|us|eu|apac|jp|au|ca|us-gov)\.")
_ARN = re.compile(r"^arn:aws[^:]*:bedrock:[^:]*:[^:]*:(?:foundation-model|inference-profile)/(.+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Pico-USD per token of each kind."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int

    def scaled(self, percent: int) -> Price:
        """The same price for a dearer region or a cheaper service tier, rounded up."""
        return Price(
            input=_percent(self.input, percent),
            output=_percent(self.output, percent),
            cache_read=_percent(self.cache_read, percent),
            cache_write_5m=_percent(self.cache_write_5m, percent),
            cache_write_1h=_percent(self.cache_write_1h, percent),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What the sandbox must know to serve and bill one model; token counts unless named otherwise."""

    id: str
    provider: Literal["bedrock", "openai", "anthropic"]
    price: Price
    cache: CacheRule
    min_cache_tokens: int
    max_cache_tokens: int | None
    ttls: tuple[Ttl, ...]
    window: int
    max_output: int
    regional_percent: int = 100
    tier_percent: Mapping[str, int] = field(default_factory=dict[str, int])
    images: str = "claude"
    """Name of the rule by which pictures are counted (`pictures.RULES`)."""
    routes: tuple[str, ...] = ()
    """Of a prompt router: the models that it chooses among, the one for easy prompts first."""


class ModelRow(BaseModel):
    """One model as written in ``models.yaml`` or in a scenario's ``models``; prices in dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Literal["bedrock", "openai", "anthropic"] = "bedrock"
    like: str | None = None
    aliases: tuple[str, ...] = ()
    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None
    cache: CacheRule = "none"
    min_cache_tokens: int = 0
    max_cache_tokens: int | None = None
    ttls: tuple[Ttl, ...] = ("5m",)
    window: int = 200_000
    max_output: int = 8_192
    regional_percent: int = 100
    tier_percent: dict[str, int] = Field(default={})
    images: str | None = None
    routes: tuple[str, ...] = ()

    @field_validator("images")
    @classmethod
    def _is_a_rule(cls, value: str | None) -> str | None:
        if value is not None and value not in RULES:
            raise ValueError(f"no rule for images is called {value!r}; one of {', '.join(RULES)}")
        return value

    @model_validator(mode="after")
    def _has_a_price(self) -> ModelRow:
        if self.like is None and (self.input is None or self.output is None):
            raise ValueError("give `like: <known model>`, or both `input` and `output` in dollars per million tokens")
        return self

    def to_model(self, model_id: str) -> Model:
        """A cache price left out is the input price: unknown is never free."""
        pay_in, pay_out = _pico(self.input), _pico(self.output)
        read, write, write_1h = self.cache_read, self.cache_write_5m, self.cache_write_1h
        price = Price(
            input=pay_in,
            output=pay_out,
            cache_read=pay_in if read is None else _pico(read),
            cache_write_5m=pay_in if write is None else _pico(write),
            cache_write_1h=2 * pay_in if write_1h is None else _pico(write_1h),
        )
        return Model(
            id=model_id,
            provider=self.provider,
            price=price,
            cache=self.cache,
            min_cache_tokens=self.min_cache_tokens,
            max_cache_tokens=self.max_cache_tokens,
            ttls=self.ttls,
            window=self.window,
            max_output=self.max_output,
            regional_percent=self.regional_percent,
            tier_percent=self.tier_percent,
            images=self.images or ("gpt-4o" if self.provider == "openai" else "claude"),
            routes=self.routes,
        )

    def over(self, base: Model, model_id: str) -> Model:
        """The model this row is ``like``, with whatever else the row says."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"like", "aliases"}}
        prices = {name: _pico(given.pop(name)) for name in _PRICES if name in given}
        return replace(base, id=model_id, price=replace(base.price, **prices), **given)


class Finds(Protocol):
    """Looks models up by the name a request has for them."""

    def find(self, model_id: str, provider: str) -> Model | None:
        """The model, as this provider's API serves it; None when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Looks models up by the id a client sends: plain, regional, or inside an ARN."""

    models: Mapping[str, Model]

    @classmethod
    def standard(cls) -> Catalogue:
        """The models that ship with the sandbox."""
        return cls(_standard_models())

    def extended(self, rows: Mapping[str, ModelRow]) -> Catalogue:
        """The same catalogue with a scenario's own models.

        Raises:
            KeyError: A row is ``like`` a model that is not known.
        """
        models = dict(self.models)
        for model_id, row in rows.items():
            model = row.to_model(model_id) if row.like is None else row.over(models[row.like], model_id)
            models[model_id] = model
            models.update(dict.fromkeys(row.aliases, model))
        return Catalogue(models)

    def find(self, model_id: str, provider: str) -> Model | None:
        """The model behind an id, with its regional price, or None when this provider does not serve it."""
        name, region = model_id, None
        if provider == "bedrock" and name not in self.models:
            if arn := _ARN.match(name):
                name = arn.group(1)
            if prefix := _REGION.match(name):
                name, region = name[prefix.end() :], prefix.group(1)
        model = self.models.get(name)
        if model is None or model.provider != provider:
            return None
        if region is None:
            return model
        percent = 100 if region == "global" else model.regional_percent
        return replace(model, id=f"{region}.{name}", price=model.price.scaled(percent))


def is_foundation_model_id(model_id: str) -> bool:
    """Whether an id names a model itself, not an inference profile or another ARN."""
    return not model_id.startswith("arn:") and not _REGION.match(model_id)


@cache
def _standard_models() -> Mapping[str, Model]:
    text = resources.files("governor_sandbox").joinpath("models.yaml").read_text(encoding="utf-8")
    raw: dict[str, dict[str, Any]] = yaml.safe_load(text)["models"]
    return Catalogue({}).extended({name: ModelRow.model_validate(row) for name, row in raw.items()}).models


def _pico(dollars_per_million: Decimal | None) -> int:
    if dollars_per_million is None:
        return 0
    return int((dollars_per_million * 1_000_000).to_integral_value())


def _percent(amount: int, percent: int) -> int:
    return -(-amount * percent // 100)
