"""How much a token counts, by kind: exact decimal numbers, never floats."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema, model_validator

from governor.policy.base import Section, number_text
from governor.policy.scalars import ScalarError

__all__ = ["BurnDown", "Weight", "Weights"]

_HEAVIEST = 1_000
_FINEST = 6
"""Digits behind the point: products of a weight and a number of tokens stay far below what a store can count."""


def _weight(value: Any) -> Decimal:
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, str) and value.replace(".", "", 1).isdecimal():
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ScalarError("expected a weight", "Write it like 1, 0.1 or 5.")
    number = Decimal(value)
    if not number.is_finite() or not 0 <= number <= _HEAVIEST:
        raise ScalarError(f"expected a weight of 0 to {_HEAVIEST}", "Write it like 1, 0.1 or 5.")
    if number != round(number, _FINEST):
        raise ScalarError(f"a weight has at most {_FINEST} digits behind the point", "Round it up.")
    return number


Weight = Annotated[
    Decimal,
    BeforeValidator(_weight),
    PlainSerializer(number_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": _HEAVIEST}),
]
"""A number of 0 to 1,000 with at most six digits behind the point."""

_ONE = Decimal(1)


class Weights(Section):
    """What one token of each kind counts as. A kind that is left out counts as 1."""

    input: Weight = _ONE
    """Input that was not in the provider's cache."""
    cached: Weight = _ONE
    """Input read from the provider's cache."""
    written: Weight = _ONE
    """Input written to the provider's cache."""
    output: Weight = _ONE
    """Output, reasoning included."""

    @model_validator(mode="after")
    def _weigh_something(self) -> Self:
        if not any((self.input, self.cached, self.written, self.output)):
            raise ScalarError("with these weights no token counts", "Give at least one kind a weight above 0.")
        return self


class BurnDown(Section):
    """What one token of each kind takes of a rate once it is known. What is left out is as the provider is known to count."""

    input: Weight | None = None
    """Input that was not in the provider's cache."""
    cached: Weight | None = None
    """Input read from the provider's cache."""
    written: Weight | None = None
    """Input written to the provider's cache."""
    output: Weight | None = None
    """Output, reasoning included: 5 for Claude Sonnet 4, Opus 4 and later at Bedrock."""
