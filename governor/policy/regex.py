r"""Regular expressions that cannot be made to run for ever.

Python's engine backtracks: `(a+)+$` takes years on forty characters. So a pattern is parsed when the policy is loaded.
One quantifier around another, or around alternatives that begin alike, is refused; the more open-ended quantifiers a
pattern has, the shorter the text it is searched in, because each can multiply the time by the text's length.
"""

from __future__ import annotations

import importlib
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
_MAX_CHARS = {0: 10_000, 1: 10_000, 2: 1_000, 3: 200}
"""Characters searched, by number of open-ended quantifiers: about one second at worst."""
_OPEN = 20
"""A quantifier that may repeat more often than this counts as open-ended."""

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
        _refuse_nesting(tree, inside=False)
        open_ended = sum(1 for name, _ in _walk(tree) if name in ("MAX_REPEAT", "MIN_REPEAT"))
        if open_ended not in _MAX_CHARS:
            raise ScalarError(
                f"this pattern has {open_ended} open-ended quantifiers and could run very long",
                "Use at most three of `*`, `+` and `{n,}`, or split it into several rules.",
            )
        self.text = text
        self.max_chars = _MAX_CHARS[open_ended]

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


def _walk(tree: Any) -> Iterator[tuple[str, Any]]:
    """All nodes that repeat open-endedly, and all others, as (name, argument)."""
    for operation, argument in tree:
        name = str(operation)
        if not name.endswith("_REPEAT") or argument[1] > _OPEN:
            yield name, argument
        for child in _children(argument):
            yield from _walk(child)


def _refuse_nesting(tree: Any, *, inside: bool) -> None:
    for operation, argument in tree:
        name = str(operation)
        repeats = name in ("MAX_REPEAT", "MIN_REPEAT") and argument[1] > 1
        varies = repeats and argument[0] != argument[1]
        if inside and varies:
            raise ScalarError(
                "this pattern has a quantifier inside a quantified group and could run for ever",
                "Remove one of them: `(a+)+` matches what `a+` matches.",
            )
        if inside and name == "BRANCH" and not _begin_apart(argument[1]):
            raise ScalarError(
                "this pattern repeats alternatives that may begin alike and could run for ever",
                "Write single characters as a class, like `[ab]*`, or remove the quantifier.",
            )
        if name in ("GROUPREF", "GROUPREF_EXISTS") and inside:
            raise ScalarError(
                "this pattern repeats a back-reference and could run for ever", "Remove the back-reference."
            )
        for child in _children(argument):
            _refuse_nesting(child, inside=inside or (repeats and argument[1] > _OPEN) or (repeats and inside))


def _begin_apart(alternatives: Any) -> bool:
    """Whether each alternative begins with its own literal character, so that no text matches in two ways."""
    firsts = [str(each[0][1]) if len(each) and str(each[0][0]) == "LITERAL" else None for each in alternatives]
    return None not in firsts and len(set(firsts)) == len(firsts)
