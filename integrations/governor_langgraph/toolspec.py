"""Tools, and the call arguments of one vendor's client rebuilt for another's.

By the time governor sees a call, `bind_tools` has put the tools into the wire format of the model that user code holds. A tier of the same
family takes the arguments as they are. For a tier of another family they are read back and bound again by the tier's own client; what has
no counterpart there raises `CannotCarry`, so that routing keeps the original model and says why.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from governor_langgraph.neutral import CannotCarry, NeutralTool, ToolChoice, choice_of, is_marker, neutral, openai_tool
from governor_langgraph.vendors import vendor_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.language_models import BaseChatModel

__all__ = [
    "CannotCarry",
    "NeutralTool",
    "ToolChoice",
    "carry_over",
    "choice_of",
    "form_of",
    "neutral",
    "openai_tool",
    "without_tool_use",
]

TOOLS = frozenset({"tools", "tool_choice", "parallel_tool_calls", "strict"})
CONFIGS = frozenset({"toolConfig", "tool_config"})
LIMITS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample", "maxTokens"})
STOPS = frozenset({"stop", "stop_sequences", "stopSequences"})
FORMATS = frozenset({"response_format", "output_config", "outputConfig", "output_format"})
SAME = frozenset({"temperature", "top_p", "ls_structured_output_format", "run_manager", "stream"})
"""Every family has these, by these names."""
HINTS = frozenset({
    "additional_model_request_fields", "betas", "cache_control", "disable_streaming", "effort", "extra_headers", "inference_geo",
    "logprobs", "metadata", "performance_config", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning",
    "reasoning_effort", "request_metadata", "safety_identifier", "seed", "service_tier", "store", "stream_options", "stream_usage",
    "thinking", "timeout", "top_logprobs", "user", "verbosity",
})  # fmt: skip
"""Costs, caching, effort and tracing at one provider: a tier brings its own, so they are left behind. Anything in no list here, a
guardrail above all, may matter to the result: it is not left behind silently but refused."""


def carry_over(kwargs: Mapping[str, Any], source: BaseChatModel, target: BaseChatModel) -> dict[str, Any]:
    """The arguments for `target` that mean what `kwargs` mean to `source`. Within one family they are the same.

    Raises CannotCarry, naming the argument, when the target cannot be asked for the same.
    """
    vendor = vendor_of(target)
    if _family(source) == _family(target):
        return dict(kwargs)
    known = TOOLS | CONFIGS | LIMITS | STOPS | FORMATS | SAME | HINTS
    if unknown := sorted(kwargs.keys() - known):
        message = f"no counterpart of the argument {', '.join(unknown)} is known for {type(target).__name__}"
        raise CannotCarry(message)
    carried = {key: value for key, value in kwargs.items() if key in SAME}
    if isinstance(carried.get("temperature"), (int, float)) and vendor.FAMILY in ("anthropic", "bedrock"):
        carried["temperature"] = min(carried["temperature"], 1)  # OpenAI's scale ends at 2, theirs at 1
    if stop := next((kwargs[name] for name in STOPS if kwargs.get(name)), None):
        carried["stop"] = stop
    if shape := _format(kwargs):
        carried["response_format"] = shape
    carried |= _bound(kwargs, target, vendor.FAMILY)
    limit = next((kwargs[name] for name in LIMITS if kwargs.get(name)), None)
    return vendor.with_max_output(target, carried, int(limit)) if limit else carried


def _family(model: BaseChatModel) -> str:
    family = vendor_of(model).FAMILY
    return family if family != "generic" else f"{type(model).__module__}.{type(model).__qualname__}"


def _bound(kwargs: Mapping[str, Any], target: BaseChatModel, family: str) -> dict[str, Any]:
    """The tools and the choice among them, bound by the target's own class."""
    config = cast("Mapping[str, Any]", next((kwargs[name] for name in CONFIGS if kwargs.get(name)), None) or {})
    given = cast("list[object]", kwargs.get("tools") or config.get("tools") or [])
    tools = [neutral(tool) for tool in given if not is_marker(tool)]
    choice = choice_of(
        kwargs.get("tool_choice") or config.get("toolChoice"), parallel=kwargs.get("parallel_tool_calls")
    )
    if not tools:
        return {}
    options = _options(choice, family)
    try:
        bound = cast("Any", target.bind_tools([openai_tool(tool) for tool in tools], **options))
    except (NotImplementedError, TypeError, ValueError) as error:
        message = f"{type(target).__name__} cannot take the tools: {error or type(error).__name__}"
        raise CannotCarry(message) from error
    made = dict(cast("Mapping[str, Any]", getattr(bound, "kwargs", {})))
    made = {key: value for key, value in made.items() if value is not None}
    _complete(tools, made)
    return made


def _options(choice: ToolChoice | None, family: str) -> dict[str, Any]:
    """Arguments of the family's `bind_tools` that say what `choice` says. Raises CannotCarry for `none` where it cannot be said."""
    if choice is None:
        return {}
    options: dict[str, Any] = {}
    if choice.kind == "none":
        if family == "bedrock":
            message = "Converse has no tool choice `none`"
            raise CannotCarry(message)
        options["tool_choice"] = {"type": "none"} if family == "anthropic" else "none"
    elif choice.kind == "tool":
        options["tool_choice"] = choice.name
    else:
        options["tool_choice"] = choice.kind
    if choice.parallel is not None and choice.kind != "none" and family in ("anthropic", "openai"):
        options["parallel_tool_calls"] = (
            choice.parallel
        )  # Converse has no such switch, and forcing one tool forces one call
    return options


def _complete(tools: list[NeutralTool], made: dict[str, Any]) -> None:
    """Hold the target's class to all the tools it was given, and give back strictness where it drops it.

    Raises CannotCarry for a tool that it left out (Anthropic's client drops schemas with a combinator at their root).
    """
    entries = cast("list[dict[str, Any]]", made.get("tools") or [])
    names = {neutral(entry).name for entry in entries}
    if missing := [tool.name for tool in tools if tool.name not in names]:
        message = f"the tool {', '.join(missing)} cannot be offered in the other provider's format"
        raise CannotCarry(message)
    strict = {tool.name: tool.strict for tool in tools if tool.strict is not None}
    for entry in entries:
        if "input_schema" in entry and entry["name"] in strict:
            entry["strict"] = strict[entry["name"]]


def _format(kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The answer's schema as OpenAI's `response_format`, which the call of every family's class understands.

    Raises CannotCarry for JSON without a schema, and for a pydantic class given to OpenAI's client: user code then reads the answer from a
    field that only that client fills.
    """
    given = next((kwargs[name] for name in FORMATS if kwargs.get(name)), None)
    if given is None:
        return None
    if not isinstance(given, dict):
        message = "structured output by class can only be read from the answer of the client that it was given to"
        raise CannotCarry(message)
    schema = _schema_in(cast("dict[str, Any]", given))
    if schema is None:
        if "effort" in given and len(cast("dict[str, Any]", given)) == 1:
            return None  # Anthropic keeps effort beside the format
        message = f"the answer's format has no counterpart at another provider: {sorted(cast('dict[str, Any]', given))}"
        raise CannotCarry(message)
    return {"type": "json_schema", "json_schema": {"name": "answer", **schema}}


def _schema_in(given: dict[str, Any]) -> dict[str, Any] | None:
    """Name, description, schema and strictness, from OpenAI's, Anthropic's or Converse's form."""
    if isinstance(given.get("json_schema"), dict):
        return dict(given["json_schema"])
    inner = given.get("format") or given
    if isinstance(inner, dict) and isinstance(cast("dict[str, Any]", inner).get("schema"), dict):
        return {"schema": cast("dict[str, Any]", inner)["schema"]}
    text = cast("dict[str, Any]", given.get("textFormat") or {}).get("structure")
    spec = cast("dict[str, Any]", text or {}).get("jsonSchema")
    if not isinstance(spec, dict):
        return None
    fields = cast("dict[str, Any]", spec)
    return {**fields, "schema": json.loads(fields["schema"]) if isinstance(fields["schema"], str) else fields["schema"]}


def form_of(kwargs: Mapping[str, Any]) -> Mapping[str, object] | None:
    """JSON Schema of the answer that user code asks the provider for, in any of the vendors' arguments; None where it asks for none."""
    given = next((kwargs[name] for name in FORMATS if kwargs.get(name)), None)
    if isinstance(given, type) and issubclass(given, BaseModel):
        return given.model_json_schema()
    if not isinstance(given, dict):
        return None
    if cast("dict[str, Any]", given).get("type") == "json_object":
        return {"type": "object"}
    try:
        found = (_schema_in(cast("dict[str, Any]", given)) or {}).get("schema")
    except (KeyError, TypeError, ValueError, AttributeError):  # whatever it is, it is for the client to complain about
        return None
    return cast("Mapping[str, object]", found) if isinstance(found, dict) else None


def without_tool_use(kwargs: Mapping[str, Any], family: str) -> dict[str, Any]:
    """Call arguments under which the model answers in words. The tools stay: the cached prefix has them, and so has the history.

    A tool that user code forces is the form of the answer it wants, and stays forced. Amazon Bedrock has no such choice.
    """
    changed = dict(kwargs)
    if not changed.get("tools") or changed.get("tool_choice") not in (None, "auto", {"type": "auto"}):
        return changed
    none = {"anthropic": {"type": "none"}, "openai": "none"}.get(family)
    if none is not None:
        changed["tool_choice"] = none
    return changed
