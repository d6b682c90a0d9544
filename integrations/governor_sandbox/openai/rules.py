"""What chat completions refuse in a request that is well-formed piece by piece; messages as the API words them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from governor_sandbox.catalogue import Model
from governor_sandbox.dialect import require
from governor_sandbox.openai.shapes import ChatCompletion, Message

_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")


def check_conversation(messages: Sequence[Message]) -> None:
    """Every tool message answers a call of the assistant message before it, and every call is answered."""
    pending: list[str] = []
    for i, message in enumerate(messages):
        if message.role == "tool":
            require(
                message.tool_call_id in pending,
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
                param=f"messages.[{i}].role",
            )
            pending.remove(message.tool_call_id or "")
        else:
            _require_answered(i, pending)
            pending = [call.id for call in message.tool_calls or ()]
        empty = message.content is None and not (
            message.role == "assistant" and (message.tool_calls or message.refusal)
        )
        require(not empty, "Invalid value for 'content': expected a string, got null.", param=f"messages.[{i}].content")
    _require_answered(len(messages), pending)


def check_options(body: ChatCompletion) -> None:
    """Names are well-formed, and options go together."""
    for i, tool in enumerate(body.tools or ()):
        where = f"tools[{i}].function.name"
        require(
            _NAME.match(tool.function.name),
            f"Invalid '{where}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
            param=where,
            code="invalid_value",
        )
    require(
        body.max_tokens is None or body.max_completion_tokens is None,
        "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
        param="max_tokens",
        code="invalid_parameter_combination",
    )
    require(
        body.tools or body.tool_choice in (None, "none", "auto"),
        "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
        param="tool_choice",
    )
    require(
        body.stream or body.stream_options is None,
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        param="stream_options",
    )
    require(body.n in (None, 1), "The sandbox emulates n = 1 only.", param="n")


def check_limits(body: ChatCompletion, spec: Model, tokens: int) -> None:
    """The prompt fits the window, and no more output is asked for than the model can write."""
    require(
        tokens <= spec.window,
        f"This model's maximum context length is {spec.window} tokens. However, your messages resulted in {tokens} tokens. "
        "Please reduce the length of the messages.",
        param="messages",
        code="context_length_exceeded",
    )
    asked = body.max_completion_tokens or body.max_tokens or 0
    require(
        asked <= spec.max_output,
        f"max_tokens is too large: {asked}. This model supports at most {spec.max_output} completion tokens, "
        f"whereas you provided {asked}.",
        param="max_tokens",
        code="invalid_value",
    )


def _require_answered(i: int, pending: Sequence[str]) -> None:
    require(
        not pending,
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(pending)}",
        param=f"messages.[{i}].role",
    )
