"""Conditions on a call: typed tests on facts, evaluated without a clock, I/O or surprises.

    when: {args.amount_usd: {at_most: 100}, args.currency: {one_of: [USD, EUR]}, after: {tool: "read_customer_*"}}

A fact that is missing fails its test (except `exists: false`). A fact of the wrong kind, a text too long to search or a
condition this release cannot evaluate raises `MatchError`, which the access control treats as a denial: a rule whose
evaluation breaks must never let a call through.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, model_serializer, model_validator

from governor.policy.base import Globs, Number, Section, also_written_as, number_text
from governor.policy.regex import Pattern
from governor.policy.scalars import Milliseconds, ScalarError

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = [
    "FACT_ROOTS",
    "After",
    "MatchError",
    "PastCall",
    "Scalar",
    "Test",
    "When",
    "evaluate",
    "lookup",
    "matches_glob",
]

FACT_ROOTS = ("args", "tool", "node", "path", "agent", "org", "tenant", "user", "thread", "run")
"""First segments a condition may name. Any other could never match, so it is an error when the policy is loaded."""


class MatchError(ValueError):
    """A condition could not be evaluated; the caller must deny."""


def matches_glob(globs: Sequence[str], name: str) -> bool:
    """Whether any of the patterns matches the whole name. Case matters."""
    return any(fnmatch.fnmatchcase(name, glob) for glob in globs)


def _scalar(value: Any) -> Any:
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, (str, bool)) or (isinstance(value, (int, Decimal)) and Decimal(value).is_finite()):
        return value
    raise ScalarError("expected a text, a number, true or false", 'Write it like USD, 100 or "100".')


Scalar = Annotated[Any, BeforeValidator(_scalar)]
"""A text, an exact number or a truth value."""


def _scalars(value: Any) -> Any:
    return tuple(_scalar(item) for item in value) if isinstance(value, (list, tuple)) else (_scalar(value),)  # pyright: ignore[reportUnknownVariableType] - each is checked


class Test(Section):
    """Tests on one fact; all that are given must hold. A plain value means `equals`."""

    model_config = ConfigDict(json_schema_extra=also_written_as({"type": ["string", "number", "boolean"]}))
    __test__: ClassVar[bool] = False

    equals: Scalar | None = None
    """Exactly this value; the text "100" is not the number 100."""
    one_of: Annotated[tuple[Any, ...], BeforeValidator(_scalars), Field(min_length=1)] | None = None
    """One of these values."""
    glob: Globs | None = None
    """Text that matches a pattern as a whole, e.g. `*@example.com`."""
    matches: Pattern | None = None
    """Text in which this regular expression is found."""
    at_most: Number | None = None
    """A number not above this."""
    at_least: Number | None = None
    """A number not below this."""
    above: Number | None = None
    """A number greater than this."""
    below: Number | None = None
    """A number smaller than this."""
    contains: Scalar | None = None
    """Text that contains this text, or a list that contains this value."""
    exists: StrictBool | None = None
    """Whether the fact is there at all."""

    @model_validator(mode="before")
    @classmethod
    def _plain_value(cls, value: Any) -> Any:
        return {"equals": value} if isinstance(value, (str, bool, int, float, Decimal)) else value

    @model_validator(mode="after")
    def _tests_something(self) -> Self:
        if not self.model_fields_set:
            raise ScalarError("this condition tests nothing", "Add a test, as in `{at_most: 100}`.")
        if self.exists is False and len(self.model_fields_set) > 1:
            raise ScalarError("a fact that must be absent cannot pass another test", "Keep `exists: false` alone.")
        return self

    @model_serializer(mode="plain", when_used="json")
    def _only_what_is_tested(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: _canonical(value) for name, value in values.items() if value is not None}


def _canonical(value: Any) -> Any:
    """Numbers in a shape no text can have, so that 100, 100.0 and "100" hash as they compare."""
    if isinstance(value, Pattern):
        return value.text
    if isinstance(value, tuple):
        return [_canonical(item) for item in cast("tuple[Any, ...]", value)]
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return {"number": number_text(Decimal(value))}
    return value


class After(Section):
    """An earlier call in the same run."""

    tool: Globs
    """Names of tools that were called."""
    within: Milliseconds | None = None
    """Only if it was this recently. Absent: at any time in the run."""


class When(Section):
    """All conditions of a rule: tests on facts, an earlier call, or an expression in CEL."""

    facts: dict[str, Test] = Field(default_factory=dict)
    """Tests by path, e.g. `args.amount_usd`. In the file they stand directly under `when`."""
    after: After | None = None
    """An earlier call that must have happened."""
    cel: str | None = None
    """A CEL expression: `when` written as text. Accepted, not yet evaluated: a call it would decide is denied."""

    @model_validator(mode="before")
    @classmethod
    def _paths_beside_keywords(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"cel": value}
        if not isinstance(value, Mapping) or "facts" in value:
            return cast("Any", value)
        written = cast("Mapping[str, Any]", value)
        shaped: dict[str, Any] = {"facts": {path: test for path, test in written.items() if path != "after"}}
        return shaped | {"after": written["after"]} if "after" in written else shaped

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.facts and self.after is None and not self.cel:
            raise ScalarError("this `when` has no condition", "Add one, or remove `when` to match every call.")
        return self

    @model_serializer(mode="wrap", when_used="json")
    def _as_written(self, handler: Any) -> Any:
        dumped = cast("dict[str, Any]", handler(self))
        if self.cel is not None:
            return self.cel
        return dumped["facts"] | ({"after": dumped["after"]} if self.after else {})

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The shape an author writes, not the one kept inside."""
        inner = handler.resolve_ref_schema(handler(schema))
        properties = inner.pop("properties")
        test = properties["facts"]["additionalProperties"]
        after = next(shape for shape in properties["after"]["anyOf"] if shape.get("type") != "null")
        roots = "|".join(FACT_ROOTS)
        mapping: dict[str, Any] = {
            "type": "object",
            "properties": {"after": after},
            "patternProperties": {rf"^({roots})(\..+)?$": test},
            "additionalProperties": False,
            "minProperties": 1,
        }
        inner.pop("type", None)
        inner.pop("additionalProperties", None)
        inner["anyOf"] = [mapping, {"type": "string", "description": "A CEL expression."}]
        return handler(schema) if "$ref" in handler(schema) else inner


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCall:
    """One earlier tool call of the run, for `after`."""

    tool: str
    ago: int
    """Milliseconds since it was made."""


_MISSING = object()


def lookup(facts: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; list positions are numbers. A sentinel when it is missing."""
    value: Any = facts
    for segment in path.split("."):
        if isinstance(value, Mapping) and segment in value:
            value = cast("Mapping[str, Any]", value)[segment]
        elif isinstance(value, (list, tuple)) and segment.isdecimal() and int(segment) < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[int(segment)]
        else:
            return _MISSING
    return value


def evaluate(when: When | None, facts: Mapping[str, Any], *, history: Sequence[PastCall] | None = None) -> bool:
    """Whether all conditions hold. `history` is needed for `after`; without it, and for CEL, `MatchError` is raised.

    Every test is evaluated, also after one has failed, so that a fact of the wrong kind is never hidden by the order of
    conditions.
    """
    if when is None:
        return True
    if when.cel is not None:
        raise MatchError("CEL conditions are not evaluated by this release")
    held = [_test(test, lookup(facts, path), path) for path, test in when.facts.items()]
    if when.after is not None:
        if history is None:
            raise MatchError("`after` needs the run's history, which is not available here")
        held.append(any(_earlier(when.after, call) for call in history))
    return all(held)


def _earlier(after: After, call: PastCall) -> bool:
    return matches_glob(after.tool, call.tool) and (after.within is None or call.ago <= after.within)


def _test(test: Test, value: Any, path: str) -> bool:
    if value is _MISSING or test.exists is False:
        return test.exists is False and value is _MISSING
    results = [check(test, value, path) for check in _CHECKS]
    return all(results)


def _number(value: Any, path: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise MatchError(f"{path} is a {type(value).__name__}, not a number")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite():
        raise MatchError(f"{path} is not a finite number")
    return number


def _string(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise MatchError(f"{path} is a {type(value).__name__}, not a text")
    return value


def _kind(value: Any) -> type[Any]:
    if isinstance(value, bool):
        return bool
    return Decimal if isinstance(value, (int, float, Decimal)) else cast("type[Any]", type(value))


def _same(left: Any, right: Any) -> bool:
    """Equality that keeps kinds apart: a truth value is no number, a text is no number; 100 and 100.0 are equal."""
    if _kind(left) is not _kind(right):
        return False
    if _kind(left) is Decimal:
        one, other = Decimal(str(left)), Decimal(str(right))
        return not (one.is_nan() or other.is_nan()) and one == other  # a signalling NaN raises when it is compared
    return bool(left == right)


def _check_equality(test: Test, value: Any, path: str) -> bool:
    wanted = () if test.equals is None else (test.equals,)
    return all(_same(value, each) for each in wanted) and (
        test.one_of is None or any(_same(value, each) for each in test.one_of)
    )


def _check_text(test: Test, value: Any, path: str) -> bool:
    if test.glob is None and test.matches is None:
        return True
    text = _string(value, path)
    if test.matches is not None and len(text) > test.matches.max_chars:
        raise MatchError(
            f"{path} has {len(text)} characters; this pattern is searched in at most {test.matches.max_chars}"
        )
    return (test.glob is None or matches_glob(test.glob, text)) and (
        test.matches is None or test.matches.found_in(text)
    )


def _check_bounds(test: Test, value: Any, path: str) -> bool:
    if test.at_most is None and test.at_least is None and test.above is None and test.below is None:
        return True
    number = _number(value, path)
    return (
        (test.at_most is None or number <= test.at_most)
        and (test.at_least is None or number >= test.at_least)
        and (test.above is None or number > test.above)
        and (test.below is None or number < test.below)
    )


def _check_contains(test: Test, value: Any, path: str) -> bool:
    if test.contains is None:
        return True
    if isinstance(value, (list, tuple)):
        return any(_same(item, test.contains) for item in cast("list[Any]", value))
    return str(test.contains) in _string(value, path) if isinstance(test.contains, str) else _wrong_needle(path)


def _wrong_needle(path: str) -> bool:
    raise MatchError(f"{path} is a text or a list is expected there; a text cannot contain a number")


_CHECKS = (_check_equality, _check_text, _check_bounds, _check_contains)
