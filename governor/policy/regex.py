r"""Regular expressions that cannot be made to run for ever.

Python's engine backtracks: `(a+)+$` takes years on forty characters. So a pattern is parsed when the policy is loaded.
One quantifier around another, or around alternatives that begin alike, is refused; the more open-ended quantifiers a
pattern has, the shorter the text it is searched in, because each can multiply the time by the text's length.
"""

from __future__ import annotations

import importlib
import math
import re
from typing import TYPE_CHECKING, Any

from pydantic_core import core_schema

from governor.policy.scalars import ScalarError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = ["Pattern"]

_MAX_PATTERN = 1_000
_MAX_CHARS = 10_000
_MIN_CHARS = 100
"""A pattern that could not even be searched in a text of this length is refused."""
_MAX_STEPS = 20_000_000
"""About one second of Python's engine, at worst."""
_OPEN = 20
"""A quantifier that may repeat more often than this counts as open-ended."""
_FEW = 4
"""A group repeated at most this often may hold a small quantifier, as in `([0-9]{1,3}[.]){3}`."""

_parser: Any = importlib.import_module("re._parser")


class Pattern:
    """A compiled, bounded regular expression. Equal patterns have equal text."""

    __slots__ = ("_compiled", "max_chars", "text")

    def __init__(self, text: str) -> None:
        """Compile, or raise `ScalarError` when the text is no pattern or could run too long."""
        if len(text) > _MAX_PATTERN:
            raise ScalarError(f"this pattern has more than {_MAX_PATTERN} characters", "Split it into several rules.")
        try:
            self._compiled = re.compile(text)
            tree = _parser.parse(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise ScalarError(
                f"this is not a regular expression: {error}", "Quote it with single quotes in YAML."
            ) from None
        self.text = text
        self.max_chars = _searchable(*_cost(tree, repeated=1), anchored=_anchored(tree))
        if self.max_chars < _MIN_CHARS:
            raise ScalarError(
                "this pattern has so many quantifiers that it could run very long",
                "Begin it with `^`, use fewer of `*`, `+` and `{n,}`, or split it into several rules.",
            )

    def found_in(self, text: str) -> bool:
        """Whether the pattern occurs anywhere in the text. The caller checks `max_chars` first."""
        return self._compiled.search(text) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    @classmethod
    def _read(cls, value: object) -> Pattern:
        if isinstance(value, Pattern):
            return value
        if not isinstance(value, str) or not value:
            raise ScalarError("expected a regular expression", r"Write it like '(?i)\b(drop|delete)\b'.")
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate by compiling; serialise to the text."""
        return core_schema.no_info_plain_validator_function(
            cls._read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda pattern: pattern.text, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """What an editor should accept."""
        return {"type": "string", "format": "regex"}


def _children(argument: Any) -> Iterator[Any]:
    """The sub-patterns inside a parsed node's argument."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, (list, tuple)):
        for item in argument:  # pyright: ignore[reportUnknownVariableType] - the parser's own tree
            yield from _children(item)


def _anchored(tree: Any) -> bool:
    """Whether a match can begin at the start of the text only, which spares a search from every position."""
    starts = len(tree) > 0 and str(tree[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING")
    return starts and not tree.state.flags & re.MULTILINE


def _searchable(degree: int, factor: int, *, anchored: bool) -> int:
    """How long a text may be: open-ended quantifiers try every way to divide it, n**degree / degree! of them."""
    degree += 0 if anchored else 1
    if degree == 0:
        return _MAX_CHARS if factor <= _MAX_STEPS else 0
    return min(_MAX_CHARS, int((_MAX_STEPS * math.factorial(degree) / factor) ** (1 / degree)))


def _cost(tree: Any, *, repeated: int) -> tuple[int, int]:
    """How many quantifiers are open-ended, and in how many ways the bounded ones can match. Refuses explosive nesting."""
    degree, factor = 0, 1
    for operation, argument in tree:
        name, inside = str(operation), repeated
        if name.endswith("_REPEAT"):
            low, high = argument[0], argument[1]
            if low != high and name != "POSSESSIVE_REPEAT":
                degree += high > _OPEN and repeated == 1
                factor *= 1 if high > _OPEN and repeated == 1 else _ways(low, high, repeated)
            inside = repeated * min(high, _OPEN + 1)
        elif name == "BRANCH" and not _begin_apart(argument[1]):
            if repeated > 1:
                raise ScalarError(
                    "this pattern repeats alternatives that may begin alike and could run for ever",
                    "Write single characters as a class, like `[ab]*`, or remove the quantifier.",
                )
            factor *= len(argument[1])
        elif name.startswith("GROUPREF") and repeated > 1:
            raise ScalarError(
                "this pattern repeats a back-reference and could run for ever", "Remove the back-reference."
            )
        for child in _children(argument):
            deeper, more = _cost(child, repeated=inside)
            degree, factor = degree + deeper, min(factor * more, _MAX_STEPS**2)
    return degree, factor


def _ways(low: int, high: int, repeated: int) -> int:
    """Ways in which a bounded quantifier can match, inside a group that is itself `repeated`."""
    if repeated > 1 and (high > _OPEN or repeated > _FEW):
        raise ScalarError(
            "this pattern has a quantifier inside a quantified group and could run for ever",
            "Remove one of them: `(a+)+` matches what `a+` matches.",
        )
    return (high - low + 1) ** repeated


def _begin_apart(alternatives: Any) -> bool:
    """Whether each alternative begins with its own literal character, so that no text matches in two ways."""
    firsts = [str(each[0][1]) if len(each) and str(each[0][0]) == "LITERAL" else None for each in alternatives]
    return None not in firsts and len(set(firsts)) == len(firsts)
