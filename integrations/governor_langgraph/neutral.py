"""Tools and tool choices in one neutral form, read from any vendor's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.utils.function_calling import convert_to_openai_tool

from governor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CannotCarry", "NeutralTool", "ToolChoice", "choice_of", "is_marker", "neutral", "openai_tool"]

EMPTY_SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {}}
"""Schema of a tool without arguments; Anthropic's and Bedrock's clients fail on a tool that has none at all."""


class CannotCarry(ConfigurationError):
    """A tool, tool choice or argument that user code bound has no counterpart in another vendor's format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeutralTool:
    """A tool offered to a model, in nobody's format."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] = field(default_factory=lambda: dict(EMPTY_SCHEMA))
    """JSON Schema of the arguments."""
    strict: bool | None = None
    """Whether the provider must hold the model to the schema; None leaves it to the provider."""
    vendor_only: bool = False
    """Runs at the provider or is known to its models by type alone (web search, computer use): it has no schema to carry over."""
    source: object = None
    """The tool as it was given."""


def neutral(tool: object) -> NeutralTool:
    """Read a tool in any form that a LangChain `bind_tools` takes or produces.

    Those are: BaseTool, function, pydantic or TypedDict class; dicts in the formats of OpenAI (both APIs), Anthropic and Converse; JSON
    Schema with a title. Raises CannotCarry for anything else.
    """
    read = _read_dict(cast("dict[str, Any]", tool)) if isinstance(tool, dict) else None
    if read is not None:
        return read
    if isinstance(tool, str):  # langchain-aws names Nova's system tools by a bare string
        return NeutralTool(name=tool, vendor_only=True, source=tool)
    whole = cast("object", tool)
    try:
        converted = convert_to_openai_tool(cast("Any", tool))
    except (TypeError, ValueError) as error:
        message = f"{tool!r:.200} is no tool in any known format: {error}"
        raise CannotCarry(message) from error
    if "function" not in converted:
        return NeutralTool(name=str(converted.get("name") or converted.get("type")), vendor_only=True, source=whole)
    return _of_function(converted["function"], whole)


def _read_dict(tool: dict[str, Any]) -> NeutralTool | None:
    """A tool that is a dict in a provider's format; None for JSON Schema with a title, which LangChain converts."""
    kind = tool.get("type")
    if is_marker(tool):  # part of the list, but no tool: it locks nothing and is not carried over
        return NeutralTool(name="cachePoint", source=tool)
    if isinstance(tool.get("function"), dict):
        return _of_function(tool["function"], tool)
    if isinstance(tool.get("toolSpec"), dict):
        spec = cast("dict[str, Any]", tool["toolSpec"])
        schema = cast("dict[str, Any]", spec.get("inputSchema") or {}).get("json")
        return _of_function({**spec, "parameters": schema}, tool)
    if "name" in tool and "input_schema" in tool:
        return _of_function({**tool, "parameters": tool["input_schema"]}, tool)
    if "name" in tool and kind in (None, "function") and not {"title", "properties"} & tool.keys():
        return _of_function(tool, tool)
    if kind in (None, "object") and "systemTool" not in tool:
        return None
    inner = cast("dict[str, Any]", tool.get("systemTool") or {})
    return NeutralTool(name=str(tool.get("name") or inner.get("name") or kind), vendor_only=True, source=tool)


def _of_function(function: Mapping[str, Any], source: object) -> NeutralTool:
    strict = function.get("strict")
    return NeutralTool(
        name=str(function["name"]),
        description=str(function.get("description") or ""),
        schema=function.get("parameters") or dict(EMPTY_SCHEMA),
        strict=strict if isinstance(strict, bool) else None,
        source=source,
    )


def openai_tool(tool: NeutralTool) -> dict[str, Any]:
    """The tool as an OpenAI function, the one format that every LangChain `bind_tools` accepts. Raises CannotCarry if `vendor_only`."""
    if tool.vendor_only:
        message = f"tool {tool.name} is its provider's own and cannot be offered to another's model"
        raise CannotCarry(message)
    function: dict[str, Any] = {"name": tool.name, "parameters": dict(tool.schema)}
    if tool.description:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def is_marker(tool: object) -> bool:
    """Whether an entry of a list of tools is a Bedrock cache point."""
    return isinstance(tool, dict) and "cachePoint" in tool


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """What the model must do about its tools."""

    kind: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    """The tool to call, for kind `tool`."""
    parallel: bool | None = None
    """Whether several calls in one answer are allowed; None leaves it to the provider."""


_WORDS: Mapping[str, Literal["auto", "any", "none"]] = {"auto": "auto", "any": "any", "required": "any", "none": "none"}


def choice_of(given: object, *, parallel: bool | None = None) -> ToolChoice | None:
    """Read a tool choice in any provider's form; None when user code set none. `parallel` is OpenAI's `parallel_tool_calls`.

    Raises CannotCarry for forms without a counterpart (OpenAI's `allowed_tools`, a provider's own tool by type).
    """
    if given is None or given is False:
        return None if parallel is None else ToolChoice(kind="auto", parallel=parallel)
    if given is True:
        return ToolChoice(kind="any", parallel=parallel)
    if isinstance(given, str):
        word = _WORDS.get(given)
        return (
            ToolChoice(kind=word, parallel=parallel) if word else ToolChoice(kind="tool", name=given, parallel=parallel)
        )
    if isinstance(given, dict):
        return _read_choice(cast("dict[str, Any]", given), parallel)
    message = f"tool_choice {given!r:.100} is in no known format"
    raise CannotCarry(message)


def _read_choice(given: dict[str, Any], parallel: bool | None) -> ToolChoice:
    """A choice as a dict: `{"type": ...}` of OpenAI and Anthropic, `{"auto": {}}` of Converse."""
    kind = given.get("type") or next(iter(given), None)
    if given.get("disable_parallel_tool_use") is not None:
        parallel = not given["disable_parallel_tool_use"]
    if kind in _WORDS:
        return ToolChoice(kind=_WORDS[str(kind)], parallel=parallel)
    holder = given.get("function") if kind == "function" else given.get("tool")
    name = cast("dict[str, Any]", holder).get("name") if isinstance(holder, dict) else given.get("name")
    if kind in ("function", "tool") and name:
        return ToolChoice(kind="tool", name=str(name), parallel=parallel)
    message = f"tool_choice {given!r:.100} has no counterpart at another provider"
    raise CannotCarry(message)
