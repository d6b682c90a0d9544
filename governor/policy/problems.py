"""The schema's complaints in an author's words: the place in the file, what is wrong, the nearest right word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast, get_args

from pydantic import BaseModel

from governor.errors import PolicyError
from governor.policy.scalars import ScalarError
from governor.policy.schema import Policy

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from governor.policy.document import Document, Path

__all__ = ["closest", "nearest", "place_error", "schema_errors"]

_PLAIN = {
    "bool_type": ("expected true or false", "Write `true` or `false`; YAML's `yes` and `on` are words here."),
    "string_type": ("expected text", "Put it in quotes."),
    "string_too_short": ("this text is empty", "Give it a value, or remove the key."),
    "string_too_long": ("this text is too long", "Shorten it."),
    "tuple_type": ("expected a list", "Write it as `[...]` or as lines that begin with `-`."),
    "list_type": ("expected a list", "Write it as `[...]` or as lines that begin with `-`."),
    "too_short": ("this list is empty", "Add something, or remove the key."),
    "dict_type": ("expected keys and values", "Write it as `{key: value}` or as indented lines."),
    "model_type": ("expected keys and values", "Write it as `{key: value}` or as indented lines."),
    "date_from_datetime_parsing": ("expected a date", "Write it like 2026-12-31."),
    "date_parsing": ("expected a date", "Write it like 2026-12-31."),
    "date_type": ("expected a date", "Write it like 2026-12-31."),
}


def nearest(word: str, known: Iterable[str]) -> str:
    """The remedy for a word that is not one of `known`: the nearest one, or all of them."""
    words = sorted(set(known))
    close = closest(word, words)
    if close is not None:
        return f"Did you mean `{close}`?"
    return f"Use one of {', '.join(words)}." if words else "There is none to name yet."


def closest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that a misspelt word most likely means, or None."""
    return next(iter(difflib.get_close_matches(word.lower(), sorted(set(known)), n=1, cutoff=0.6)), None)


def place_error(
    document: Document, path: Path, message: str, remedy: str, *, rule: str | None = None, at_value: bool = True
) -> PolicyError:
    """An error at the place of `path`: at its value, or at its key."""
    mark = document.mark(path)
    exact = path in document.marks
    line, column = (None, None) if mark is None else (mark.line, mark.column)
    if mark is not None and at_value and exact:
        line, column = mark.value_line, mark.value_column
    return PolicyError(
        message, file=document.file, line=line, column=column, rule=rule or _rule_at(document, path), remedy=remedy
    )


def schema_errors(document: Document, error: ValidationError) -> list[PolicyError]:
    """Every complaint of the schema about one document, except those about values already reported as missing."""
    placed = ((_path(document, detail["loc"]), detail) for detail in error.errors(include_url=False))
    return [_explained(document, path, detail) for path, detail in placed if path not in document.empty]


def _path(document: Document, loc: tuple[str | int, ...]) -> Path:
    """The part of pydantic's location that an author wrote: without names of union members and inner fields."""
    value: Any = document.data
    path: list[str | int] = []
    for part in loc:
        if isinstance(value, dict) and part in value:
            value = cast("dict[str, Any]", value)[str(part)]
        elif isinstance(value, list) and isinstance(part, int) and part < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[part]
        else:
            continue
        path.append(part)
    return tuple(path)


def _explained(document: Document, path: Path, detail: ErrorDetails) -> PolicyError:
    kind, last = detail["type"], detail["loc"][-1] if detail["loc"] else ""
    name = f"`{_shown(path)}`: " if path else ""
    if kind == "extra_forbidden":
        return place_error(
            document, path, f"unknown key `{last}`", nearest(str(last), _keys_at(detail["loc"])), at_value=False
        )
    if kind == "missing":
        where = f" in `{_shown(path)}`" if path else ""
        return place_error(document, path, f"the key `{last}` is missing{where}", f"Add `{last}: ...`.", at_value=False)
    context = detail.get("ctx", {})
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context.get("expected")))
        return place_error(
            document, path, f"{name}unknown word {_quoted(detail['input'])}", nearest(str(detail["input"]), words)
        )
    if kind == "string_pattern_mismatch":
        return place_error(document, path, f"{name}{_quoted(detail['input'])} has the wrong form", _form(str(last)))
    problem = context.get("error")
    if isinstance(problem, ScalarError):
        return place_error(document, path, f"{name}{problem}", problem.remedy)
    message, remedy = _PLAIN.get(kind, (detail["msg"].removeprefix("Value error, "), "See policies/README.md."))
    return place_error(document, path, f"{name}{message}", remedy)


def _quoted(value: object) -> str:
    return f"`{value}`"[:80] if isinstance(value, (str, int)) else f"of type {type(value).__name__}"


def _form(key: str) -> str:
    if key == "model":
        return "Write it as `provider:model`, like `openai:gpt-5-mini`."
    return "A name begins with a letter or digit and holds only letters, digits, `_`, `.` and `-`."


def _shown(path: Path) -> str:
    return ".".join(map(str, path))


def _rule_at(document: Document, path: Path) -> str | None:
    """The id of the innermost rule that a path lies in."""
    value: Any = document.data
    found: object = None
    for part in path:
        value = value.get(part) if isinstance(value, dict) else cast("list[Any]", value)[int(part)]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - whatever the author wrote
        if isinstance(value, dict):
            found = cast("dict[str, Any]", value).get("id", found)
    return found if isinstance(found, str) else None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """All sections an annotation may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _keys_at(loc: tuple[str | int, ...]) -> set[str]:
    """The keys that the schema knows where an unknown one was found."""
    sections: list[type[BaseModel]] = [Policy]
    for part in loc[:-1]:
        inner = [
            model
            for section in sections
            for name, info in section.model_fields.items()
            if part in (name, info.alias)
            for model in _models(info.annotation)
        ]
        sections = inner or sections
    return {info.alias or name for section in sections for name, info in section.model_fields.items()}
