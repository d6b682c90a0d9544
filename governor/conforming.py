"""Whether a value has the form that a JSON Schema asks for, as far as that is certain.

Tools read their arguments leniently (pydantic takes "5" for a number, 1 for true), and a false alarm costs a call of a better model. So
only what no lenient reader accepts is told: a missing argument, an object where a text is wanted, a word that is none of the choices.
Keywords that are not known here are passed over. A strict validator would refuse calls that work.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

__all__ = ["misfit", "misfit_text"]

DEPTH = 12
"""Levels of nesting that are looked at; deeper ones pass."""
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")
_BOOLEANS = frozenset({"true", "false", "yes", "no", "on", "off", "t", "f", "y", "n", "1", "0"})
_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)

Schema = Mapping[str, Any]


def misfit_text(text: str, schema: Schema) -> str | None:
    """What is wrong with a text that should be JSON of that form; None when nothing is."""
    fenced = _FENCE.fullmatch(text)
    try:
        value: object = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return "it is not JSON"
    return misfit(value, schema)


def misfit(value: object, schema: Schema) -> str | None:
    """What is wrong with a value, in words that name its place and never quote it; None when nothing is, for certain."""
    try:
        return _misfit(value, schema, schema, "", DEPTH)
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ):  # no schema after all: not the model's mistake
        return None


def _misfit(value: object, schema: Any, root: Schema, place: str, depth: int) -> str | None:
    if not isinstance(schema, Mapping) or depth <= 0:
        return None
    schema = _resolved(cast("Schema", schema), root)
    for several in ("anyOf", "oneOf"):
        branches = schema.get(several)
        if isinstance(branches, list) and branches:
            wrong = [_misfit(value, each, root, place, depth - 1) for each in cast("list[Any]", branches)]
            if all(wrong):
                return wrong[0] if len(wrong) == 1 else f"{_named(place)} has none of the forms it may have"
    for each in cast("list[Any]", schema.get("allOf") or []):
        if wrong_part := _misfit(value, each, root, place, depth - 1):
            return wrong_part
    if value is None and schema.get("nullable"):
        return None
    return (
        _mistyped(value, schema.get("type"), place)
        or _not_chosen(value, schema, place)
        or _inside(value, schema, root, place, depth)
    )


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema that a local reference points at. Any other reference means anything."""
    for _ in range(DEPTH):
        ref = schema.get("$ref")
        if not isinstance(ref, str):
            return schema
        if not ref.startswith("#/"):
            return {}
        found: Any = root
        for part in ref[2:].split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        schema = cast("Schema", found)
    return {}


def _mistyped(value: object, wanted: Any, place: str) -> str | None:
    kinds = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(kinds, list) or not kinds:
        return None
    if any(_is(value, str(kind)) for kind in cast("list[object]", kinds)):
        return None
    return f"{_named(place)} is not of type {' or '.join(map(str, cast('list[object]', kinds)))}"


def _is(value: object, kind: str) -> bool:
    """Whether a lenient reader takes the value for one of this type."""
    match kind:
        case "object":
            return isinstance(value, Mapping)
        case "array":
            return isinstance(value, Sequence) and not isinstance(value, str)
        case "string":
            return isinstance(value, (str, int, float)) and not isinstance(value, bool)
        case "number":
            return _number(value)
        case "integer":
            return _number(value) and not (isinstance(value, float) and not value.is_integer())
        case "boolean":
            return isinstance(value, bool) or value in (0, 1) or (isinstance(value, str) and value.lower() in _BOOLEANS)
        case "null":
            return value is None
        case _:
            return True


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and _NUMBER.fullmatch(value) is not None)


def _not_chosen(value: object, schema: Schema, place: str) -> str | None:
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(choices, list) or not choices:
        return None
    listed = cast("list[object]", choices)
    if value in listed or str(value) in [str(choice) for choice in listed]:
        return None
    return f"{_named(place)} is none of its choices"


def _inside(value: object, schema: Schema, root: Schema, place: str, depth: int) -> str | None:
    if isinstance(value, Mapping):
        return _of_object(cast("Mapping[str, Any]", value), schema, root, place, depth)
    items = schema.get("items")
    if isinstance(items, Mapping) and isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(cast("Sequence[object]", value)):
            if wrong := _misfit(item, items, root, f"{place}[{index}]", depth - 1):
                return wrong
    return None


def _of_object(value: Mapping[str, Any], schema: Schema, root: Schema, place: str, depth: int) -> str | None:
    given = schema.get("properties")
    properties = cast("Mapping[str, Any]", given if isinstance(given, Mapping) else {})
    for name in cast("list[str]", schema.get("required") or []):
        if name not in value and "default" not in (properties.get(name) or {}):
            return f"{_named(f'{place}.{name}' if place else name)} is missing"
    for name, inner in properties.items():
        if name in value:
            wrong = _misfit(value[name], inner, root, f"{place}.{name}" if place else name, depth - 1)
            if wrong is not None:
                return wrong
    return None


def _named(place: str) -> str:
    return f"`{place}`" if place else "the whole"
