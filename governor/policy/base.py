"""What all parts of the policy schema share: the strict base model, names, globs and the two modes."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, WithJsonSchema

__all__ = [
    "Globs",
    "Mode",
    "Name",
    "Number",
    "Section",
    "Text",
    "Words",
    "also_written_as",
    "number_text",
    "one_or_many",
]

Mode = Literal["observe", "enforce"]
"""`enforce` acts; `observe` walks the same path and records what would have happened."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=100)]
"""A name that is safe as a metric label and a store key: letters, digits, `_`, `.`, `-`."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]


class Section(BaseModel):
    """A part of a policy: unknown keys are errors and nothing changes after load."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)


def one_or_many(value: Any) -> Any:
    """Let an author write one value where a list is meant."""
    return (value,) if isinstance(value, (str, int, Decimal)) else value


def also_written_as(*shapes: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Tell editors that a section may also be written in these shorter shapes."""

    def extend(schema: dict[str, Any]) -> None:
        whole = dict(schema)
        schema.clear()
        schema.update({"anyOf": [whole, *shapes], "description": whole.pop("description", "")})

    return extend


def _listed(items: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [items, {"type": "array", "items": items, "minItems": 1}]})


_Glob = Annotated[str, StringConstraints(min_length=1, max_length=200)]

Globs = Annotated[
    tuple[_Glob, ...], BeforeValidator(one_or_many), Field(min_length=1), _listed({"type": "string", "minLength": 1})
]
"""One name pattern or several: `*` any text, `?` one character, `[ab]` one of; case matters."""

Words = Annotated[
    tuple[Name, ...], BeforeValidator(one_or_many), Field(min_length=1), _listed({"type": "string", "minLength": 1})
]
"""One word or several."""


def _exact_number(value: Any) -> Decimal:
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise ValueError("expected a number, as in 100 or 99.5")
    number = Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise ValueError("expected a number, as in 100 or 99.5")
    return number


def number_text(number: Decimal) -> str:
    """The one text of a number, whatever zeros it was written with."""
    return "0" if number == 0 else format(number.normalize(), "f")


Number = Annotated[
    Decimal,
    BeforeValidator(_exact_number),
    PlainSerializer(number_text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "number"}),
]
"""An exact decimal number; text that looks like one is refused."""
