"""What the Messages API refuses in a request that is well-formed piece by piece; messages as the API words them."""

from __future__ import annotations

from collections.abc import Sequence

from governor_sandbox.anthropic.shapes import Content, Count, Messages, Text, ToolResult, ToolUse, Turn
from governor_sandbox.catalogue import Model
from governor_sandbox.dialect import require
from governor_sandbox.prompt import PromptBuilder

MAX_CACHE_POINTS = 4


def check_conversation(body: Count) -> None:
    """Content is not empty, tool uses are answered at once, and tool blocks have tools."""
    turns = merged(body.messages)
    require(turns[0].role == "user", 'messages: first message must use the "user" role')
    for i, turn in enumerate(body.messages):
        final_assistant = i == len(body.messages) - 1 and turn.role == "assistant"
        require(
            blocks_of(turn) or final_assistant,
            f"messages.{i}: all messages must have non-empty content except for the optional final assistant message",
        )
        for block in blocks_of(turn):
            if isinstance(block, Text):
                require(block.text, "messages: text content blocks must be non-empty")
                require(block.text.strip(), "messages: text content blocks must contain non-whitespace text")
    _check_tool_pairs(turns)
    uses_tools = any(isinstance(block, ToolUse | ToolResult) for turn in turns for block in blocks_of(turn))
    require(body.tools or not uses_tools, "Requests which include `tool_use` or `tool_result` blocks must define tools")
    last = blocks_of(turns[-1])[-1:] if turns[-1].role == "assistant" else ()
    ends_blank = any(isinstance(block, Text) and block.text[-1:].isspace() for block in last)
    require(not ends_blank, "messages: final assistant content cannot end with trailing whitespace")


def check_tools(body: Count) -> None:
    """Tool names are unique, and a forced tool exists."""
    names = [tool.name for tool in body.tools]
    require(len(set(names)) == len(names), "tools: Tool names must be unique.")
    if body.tool_choice and body.tool_choice.get("type") == "tool":
        forced = body.tool_choice.get("name")
        require(forced in names, f"Tool '{forced}' not found in provided tools")


def check_cache_points(builder: PromptBuilder, spec: Model) -> None:
    """At most four breakpoints, none longer-lived than the one before."""
    found = len(builder.marks)
    require(
        found <= MAX_CACHE_POINTS,
        f"A maximum of {MAX_CACHE_POINTS} blocks with cache_control may be provided. Found {found}.",
    )
    require(
        not builder.ttl_increases(),
        "messages: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. "
        "Note that blocks are processed in the following order: `tools`, `system`, `messages`.",
    )
    unsupported = [ttl for ttl in builder.marks if ttl not in spec.ttls]
    require(not unsupported, f"cache_control.ttl: {unsupported} is not supported by {spec.id}")


def check_limits(body: Count, spec: Model, tokens: int) -> None:
    """The prompt fits the window, and no more output is asked for than the model can write."""
    require(tokens <= spec.window, f"prompt is too long: {tokens} tokens > {spec.window} maximum")
    if isinstance(body, Messages):
        require(
            body.max_tokens <= spec.max_output,
            f"max_tokens: {body.max_tokens} > {spec.max_output}, "
            f"which is the maximum allowed number of output tokens for {spec.id}",
        )


def blocks_of(turn: Turn) -> tuple[Content, ...]:
    """The content as blocks; a plain string is one text block."""
    if isinstance(turn.content, str):
        return (Text(type="text", text=turn.content),) if turn.content else ()
    return turn.content


def merged(turns: Sequence[Turn]) -> list[Turn]:
    """Consecutive messages of one role are one turn, as the API documents."""
    result: list[Turn] = []
    for turn in turns:
        if result and result[-1].role == turn.role:
            result[-1] = Turn(role=turn.role, content=(*blocks_of(result[-1]), *blocks_of(turn)))
        else:
            result.append(turn)
    return result


def _check_tool_pairs(turns: Sequence[Turn]) -> None:
    pending: list[str] = []
    for i, turn in enumerate(turns):
        _check_results(turn, i, pending)
        pending = [block.id for block in blocks_of(turn) if isinstance(block, ToolUse)]
        require(len(set(pending)) == len(pending), f"messages.{i}: `tool_use` ids must be unique")
        require(
            not pending or turn.role == "assistant",
            f"messages.{i}: `tool_use` blocks can only be in `assistant` messages",
        )
    _require_answered(len(turns) - 1, pending)


def _check_results(turn: Turn, i: int, pending: Sequence[str]) -> None:
    answered: list[str] = []
    others = False
    for j, block in enumerate(blocks_of(turn)):
        if not isinstance(block, ToolResult):
            others = True
            continue
        require(
            turn.role == "user" and block.tool_use_id in pending,
            f"messages.{i}.content.{j}: unexpected `tool_use_id` found in `tool_result` blocks: {block.tool_use_id}. "
            "Each `tool_result` block must have a corresponding `tool_use` block in the previous message.",
        )
        require(
            block.tool_use_id not in answered,
            f"messages.{i}.content.{j}: each tool_use must have a single result. "
            f"Found multiple `tool_result` blocks with id: {block.tool_use_id}",
        )
        if others:  # results must come first, or the API does not see them as immediately after
            _require_answered(i - 1, pending)
        answered.append(block.tool_use_id)
    _require_answered(i - 1, [use for use in pending if use not in answered])


def _require_answered(i: int, missing: Sequence[str]) -> None:
    require(
        not missing,
        f"messages.{i}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}. "
        "Each `tool_use` block must have a corresponding `tool_result` block in the next message.",
    )
