"""Replies with blanks: sandboxed jinja2, where an unknown name is an error and a lone expression keeps its type."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, Undefined
from jinja2.sandbox import SandboxedEnvironment

from governor_sandbox.prompt import Conversation

_ENVIRONMENT = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
_LONE_EXPRESSION = re.compile(r"^\s*\{\{((?:(?!\{\{|\}\}).)*)\}\}\s*$", re.DOTALL)


def check(value: Any) -> Any:
    """Return the value unchanged, or raise ValueError when a template in it cannot be parsed."""
    if isinstance(value, str):
        try:
            _ENVIRONMENT.parse(value)
        except TemplateError as error:
            raise ValueError(f"not a template: {error}") from error
    elif isinstance(value, Mapping):
        for item in value.values():  # pyright: ignore[reportUnknownVariableType] - any JSON value
            check(item)
    elif isinstance(value, list | tuple):
        for item in value:  # pyright: ignore[reportUnknownVariableType] - any JSON value
            check(item)
    return value  # pyright: ignore[reportUnknownVariableType] - any JSON value


def names(talk: Conversation, match: Mapping[str, str]) -> dict[str, Any]:
    """What a template sees."""
    return {
        "messages": talk.messages,
        "last": talk.last,
        "task": talk.task,
        "step": talk.step,
        "model": talk.model,
        "system": talk.system,
        "called": talk.called,
        "tool_result": talk.tool_result,
        "match": dict(match),
    }


def render(value: Any, scope: Mapping[str, Any]) -> Any:
    """Fill in every string inside a JSON value.

    ``"{{ match.order }}"`` alone yields the value itself (a number stays a number, a list a list); text around it makes text.

    Raises:
        ValueError: A name is unknown, or the template fails.
    """
    if isinstance(value, str):
        return _render_text(value, scope)
    if isinstance(value, Mapping):
        return {key: render(item, scope) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType] - any JSON value
    if isinstance(value, list | tuple):
        return [render(item, scope) for item in value]  # pyright: ignore[reportUnknownVariableType] - any JSON value
    return value


def render_json(value: Any, scope: Mapping[str, Any]) -> Any:
    """As `render`, for what is sent as JSON: a message, say, is no value of an argument.

    Raises:
        ValueError: As `render`, or when what came out is no JSON value.
    """
    filled = render(value, scope)
    try:
        json.dumps(filled)
    except TypeError as error:
        raise ValueError(f"template {value!r}: {error}") from error
    return filled


def _render_text(text: str, scope: Mapping[str, Any]) -> Any:
    if "{" not in text:
        return text
    try:
        if lone := _LONE_EXPRESSION.match(text):
            value = _ENVIRONMENT.compile_expression(lone.group(1), undefined_to_none=False)(**scope)
            if isinstance(value, Undefined):
                str(value)  # raises, naming what is missing
            return value
        return _ENVIRONMENT.from_string(text).render(**scope)
    except Exception as error:  # a template runs the author's expressions, which can fail in any way
        raise ValueError(f"template {text!r}: {error}") from error
