"""Amounts as an author writes them, kept as exact integers together with the text they came from.

`Tokens`, `NanoUsd`, `Milliseconds` and `Count` are integers, `Share` is a decimal: the machine compares the number, a
refusal quotes `.written`. Money never passes through a binary float. Zero, negative numbers, NaN, infinity and booleans
are refused, because each of them has, in some tool, turned a limit off without anybody noticing.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = [
    "MAX_AMOUNT",
    "Count",
    "Milliseconds",
    "NanoUsd",
    "PerRun",
    "Price",
    "ScalarError",
    "Share",
    "Steps",
    "Tokens",
]

MAX_AMOUNT = 9_000_000_000_000_000
"""Largest amount, in the smallest unit: a store may count in 64-bit floats (Lua), exact below 2**53."""

_MAX_TEXT = 64
_FINEST_SHARE = Decimal("1e-9")
_EXACT = Context(prec=80, traps=[InvalidOperation, Inexact])
_DECIMAL_TEXT = r"[0-9](?:[0-9_]*[0-9])?(?:\.[0-9]+)?"


class ScalarError(ValueError):
    """A value that is no amount of its unit; `remedy` shows a right one."""

    def __init__(self, message: str, remedy: str) -> None:
        """Keep the remedy apart from the message, so that a loader can place both."""
        super().__init__(message)
        self.remedy = remedy


def _shown(raw: object) -> str:
    """The value as an error may quote it: short, and safe for integers too long to print."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if raw is None:
        return "nothing"
    if isinstance(raw, int) and abs(raw) > 10**_MAX_TEXT:
        return "a number of more than 64 digits"
    if isinstance(raw, (int, float, Decimal)):
        return str(raw)[:_MAX_TEXT]
    if isinstance(raw, str):
        return repr(raw[:_MAX_TEXT])
    return f"a {type(raw).__name__}"


class _Amount(int):
    """An integer amount of one unit that remembers how it was written."""

    unit: ClassVar[str] = "an amount"
    example: ClassVar[str] = "1"
    pattern: ClassVar[re.Pattern[str]] = re.compile(_DECIMAL_TEXT)
    factors: ClassVar[dict[str, Decimal]] = {}
    minimum: ClassVar[int] = 1
    bare_number: ClassVar[bool] = True
    scale: ClassVar[int] = 0
    """Power of ten between what the author writes without a suffix and the smallest unit."""

    _written: str

    def __new__(cls, value: int, written: str | None = None) -> Self:
        """Make one from the smallest unit (tokens, nano-USD, ms, calls). `parse` reads what an author wrote."""
        if not cls.minimum <= value <= MAX_AMOUNT:
            cls._refuse(value, "is out of range")
        amount = super().__new__(cls, value)
        amount._written = written if written is not None else cls._canonical(int(value))
        return amount

    @property
    def written(self) -> str:
        """The amount as its author wrote it, for messages."""
        return self._written

    def __repr__(self) -> str:
        """Type and text as written."""
        return f"{type(self).__name__}({self._written})"

    def __getnewargs__(self) -> tuple[int, str]:  # pyright: ignore[reportIncompatibleMethodOverride] - int has no text
        """Keep the text when copied or pickled."""
        return int(self), self._written

    @classmethod
    def _canonical(cls, value: int) -> str:
        return str(value)

    @classmethod
    def _refuse(cls, raw: object, why: str) -> NoReturn:
        raise ScalarError(f"{_shown(raw)} {why}: expected {cls.unit}", f"Write it like {cls.example}.")

    @classmethod
    def parse(cls, raw: object) -> Self:
        """Read an amount as written in a policy. Raises `ScalarError` for anything that is not clearly one."""
        if isinstance(raw, cls):
            return raw
        if isinstance(raw, bool):
            cls._refuse(raw, "is a truth value")
        if isinstance(raw, str):
            return cls._from_text(raw)
        if isinstance(raw, float):
            raw = Decimal(repr(raw))
        if not isinstance(raw, (int, Decimal)):
            cls._refuse(raw, "is not understood")
        return cls._from_number(raw, raw)

    @classmethod
    def _from_text(cls, raw: str) -> Self:
        text = raw.strip()
        match = cls.pattern.fullmatch(text) if len(text) <= _MAX_TEXT else None
        if match is None:
            cls._refuse(raw, "is not understood")
        number = Decimal((match["number"] if "number" in match.groupdict() else match[0]).replace("_", ""))
        suffix = match["suffix"] or "" if "suffix" in match.groupdict() else ""
        return cls._from_number(number, raw, factor=cls.factors.get(suffix, Decimal(1)), has_unit=bool(suffix))

    @classmethod
    def _from_number(
        cls, number: int | Decimal, raw: object, *, factor: Decimal = Decimal(1), has_unit: bool = False
    ) -> Self:
        if not cls.bare_number and not has_unit:
            cls._refuse(raw, "has no unit")
        if isinstance(number, Decimal) and not number.is_finite():
            cls._refuse(raw, "is not a number")
        if number < 0 or (number == 0 and cls.minimum > 0):
            cls._refuse(raw, "is not above 0")
        if number > MAX_AMOUNT:
            cls._refuse(raw, "is too large")
        try:
            exact = _EXACT.multiply(Decimal(number), factor.scaleb(cls.scale))
            whole = exact == exact.to_integral_value()
        except DecimalException:
            whole, exact = False, Decimal(0)
        if not whole:
            cls._refuse(raw, "is finer than the smallest unit")
        if exact > MAX_AMOUNT:
            cls._refuse(raw, "is too large")
        return cls(int(exact), raw.strip() if isinstance(raw, str) else str(raw))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate with `parse`; serialise to the integer, which is what hashes and stores see."""
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(
                int, return_schema=core_schema.int_schema(), when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """What an editor should accept."""
        number: dict[str, object] = {"type": "number", "exclusiveMinimum": 0}
        if cls.minimum == 0:
            number = {"type": "number", "minimum": 0}
        text: dict[str, object] = {"type": "string", "pattern": f"^(?:{_plain(cls.pattern)})$"}
        shapes = [number, text] if cls.bare_number else [text]
        return {"anyOf": shapes, "description": f"{cls.unit[0].upper()}{cls.unit[1:]}.", "examples": [cls.example]}


def _plain(pattern: re.Pattern[str]) -> str:
    """A pattern without Python's named groups, which JSON Schema's dialect lacks."""
    return re.sub(r"\?P<\w+>", "", pattern.pattern)


class Tokens(_Amount):
    """A number of tokens: `150000`, `2k`, `400k`, `1.5M`. A lower-case `m` is refused: it means minutes elsewhere."""

    unit = "a number of tokens above 0"
    example = "2k, 150000 or 1.5M"
    pattern = re.compile(rf"(?P<number>{_DECIMAL_TEXT})(?P<suffix>[kKM]?)")
    factors: ClassVar[dict[str, Decimal]] = {"k": Decimal(1000), "K": Decimal(1000), "M": Decimal(1_000_000)}


class NanoUsd(_Amount):
    """Money. The author writes dollars (`0.50`, `25`, `"$5"`); the value is integer nano-USD (1e-9 $)."""

    unit = "an amount in dollars above 0"
    example = "0.50 or 25"
    pattern = re.compile(rf"\$?(?P<number>{_DECIMAL_TEXT})")
    scale = 9

    @classmethod
    def _canonical(cls, value: int) -> str:
        return format(Decimal(value).scaleb(-9).normalize(), "f")


class Price(NanoUsd):
    """Dollars per million tokens, as integer nano-USD per million tokens. 0 is allowed: a model one hosts oneself."""

    unit = "a price in dollars per million tokens, 0 or more"
    example = "3 or 0.035"
    minimum = 0


class Milliseconds(_Amount):
    """A duration: `250ms`, `30s`, `10m`, `1h`, `7d`. A bare number is refused: nobody can tell its unit."""

    unit = "a duration above 0"
    example = "250ms, 30s, 10m, 1h or 7d"
    pattern = re.compile(rf"(?P<number>{_DECIMAL_TEXT})(?P<suffix>ms|s|m|h|d)")
    bare_number = False
    factors: ClassVar[dict[str, Decimal]] = {
        "ms": Decimal(1),
        "s": Decimal(1000),
        "m": Decimal(60_000),
        "h": Decimal(3_600_000),
        "d": Decimal(86_400_000),
    }

    @classmethod
    def _canonical(cls, value: int) -> str:
        return f"{value}ms"


class Count(_Amount):
    """A whole number of things: calls, steps, branches. `1k` is a thousand."""

    unit = "a whole number above 0"
    example = "20"
    pattern = re.compile(rf"(?P<number>{_DECIMAL_TEXT})(?P<suffix>[kKM]?)")
    factors: ClassVar[dict[str, Decimal]] = Tokens.factors


class Steps(Count):
    """A number of steps: `6 steps` or `6`."""

    unit = "a whole number of steps above 0"
    example = "6 steps"
    pattern = re.compile(rf"(?P<number>{_DECIMAL_TEXT})(?: steps?)?")


class PerRun(Count):
    """How often per run: `2 per run` or `2`."""

    unit = "a whole number per run, above 0"
    example = "2 per run"
    pattern = re.compile(rf"(?P<number>{_DECIMAL_TEXT})(?: per run)?")


class Share(Decimal):
    """A fraction above 0 and at most 1: `20%` or `0.2`. A bare number above 1 is refused: `20` may mean either."""

    _written: str

    def __new__(cls, value: Decimal | int | str = 1, written: str | None = None) -> Self:
        """Make one from a fraction. `parse` reads what an author wrote."""
        share = super().__new__(cls, value)
        share._written = written if written is not None else format(Decimal(share), "f")
        return share

    @property
    def written(self) -> str:
        """The share as its author wrote it, for messages."""
        return self._written

    def __repr__(self) -> str:
        """Type and text as written."""
        return f"Share({self._written})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the text when copied or pickled."""
        return (Share, (str(Decimal(self)), self._written))

    def __copy__(self) -> Self:
        """A frozen value is its own copy."""
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        """A frozen value is its own copy."""
        return self

    @classmethod
    def parse(cls, raw: object) -> Self:
        """Read a share as written in a policy. Raises `ScalarError` for anything outside (0, 1]."""
        if isinstance(raw, cls):
            return raw
        text = raw.strip() if isinstance(raw, str) else repr(raw) if isinstance(raw, float) else None
        if isinstance(raw, bool) or not isinstance(raw, (str, int, float, Decimal)):
            cls._refuse(raw)
        if isinstance(raw, str):
            match = re.fullmatch(rf"({_DECIMAL_TEXT})(%?)", text or "") if len(raw) <= _MAX_TEXT else None
            if match is None:
                cls._refuse(raw)
            value = Decimal(match[1].replace("_", "")).scaleb(-2 if match[2] else 0)
        else:
            value = Decimal(text) if text is not None else Decimal(raw)
        if not value.is_finite() or not _FINEST_SHARE <= value <= 1:
            cls._refuse(raw)
        return cls(value, text if text is not None else str(raw))

    @classmethod
    def _refuse(cls, raw: object) -> NoReturn:
        raise ScalarError(
            f"{_shown(raw)} is not a share: expected more than 0% and at most 100%", "Write it like 20% or 0.2."
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate with `parse`; serialise to the shortest decimal text."""
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(
                _decimal_text, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """What an editor should accept."""
        return {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                {"type": "string", "pattern": f"^{_DECIMAL_TEXT}%?$"},
            ],
            "description": "A share above 0% and at most 100%.",
            "examples": ["20%"],
        }


def _decimal_text(value: Decimal) -> str:
    """The one text of a decimal number, whatever zeros it was written with."""
    return format(Decimal(value).normalize(), "f")
