"""What Converse refuses in a conversation that is well-formed piece by piece; messages as the service words them."""

from __future__ import annotations

from collections.abc import Sequence

from governor_sandbox.bedrock.shapes import Content, Converse, Turn
from governor_sandbox.catalogue import Model
from governor_sandbox.dialect import require
from governor_sandbox.prompt import PromptBuilder

MAX_CACHE_POINTS = 4


def check_conversation(converse: Converse) -> None:
    """Roles alternate, blocks are not blank, and every tool use is answered in the next message."""
    turns = converse.messages
    require(
        turns and turns[0].role == "user",
        "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
    )
    for i, turn in enumerate(turns):
        _check_blocks(turn, i)
        require(
            i == 0 or turn.role != turns[i - 1].role,
            "A conversation must alternate between user and assistant roles. "
            "Make sure the conversation alternates between user and assistant roles and try again.",
        )
    _check_tool_pairs(turns)
    uses_tools = any(block.toolUse or block.toolResult for turn in turns for block in turn.content)
    require(
        converse.toolConfig or not uses_tools,
        "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
    )
    last = turns[-1]
    ends_blank = last.role == "assistant" and last.content[-1].text is not None and last.content[-1].text[-1:].isspace()
    require(not ends_blank, "messages: final assistant content cannot end with trailing whitespace")


def check_tools(converse: Converse) -> None:
    """Tool names are unique, and a forced tool exists."""
    names = [tool.toolSpec.name for tool in converse.toolConfig.tools if tool.toolSpec] if converse.toolConfig else []
    for i, name in enumerate(names):
        require(name not in names[:i], f"The tool {name} is already defined at toolConfig.tools.{names.index(name)}.")
    choice = converse.toolConfig.toolChoice if converse.toolConfig else None
    if choice and "tool" in choice:
        forced = choice["tool"].get("name")
        require(forced in names, f"The tool {forced} in toolConfig.toolChoice is not defined in toolConfig.tools.")


def check_cache_points(builder: PromptBuilder, spec: Model, in_tools: bool) -> None:
    """At most four, never longer-lived than the one before, and only what the model supports."""
    marks = builder.marks
    require(
        len(marks) <= MAX_CACHE_POINTS,
        f"A maximum of {MAX_CACHE_POINTS} blocks with cache_control may be provided. Found {len(marks)}.",
    )
    require(
        not builder.ttl_increases(),
        "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. "
        "Note that blocks are processed in the following order: `tools`, `system`, `messages`.",
    )
    if not marks:
        return
    require(
        spec.cache in ("claude", "nova"),
        "You invoked an unsupported model or your request did not allow prompt caching. "
        "See the documentation for more information.",
    )
    require(spec.cache != "nova" or not in_tools, "This model does not support cachePoint in toolConfig.tools.")
    unsupported = [ttl for ttl in marks if ttl not in spec.ttls]
    require(not unsupported, f"This model does not support the cache ttl {unsupported[0] if unsupported else ''!r}.")


def check_limits(converse: Converse, spec: Model, tokens: int) -> None:
    """The prompt fits the window, and no more output is asked for than the model can write."""
    require(tokens <= spec.window, "Input is too long for requested model.")
    asked = converse.inferenceConfig.maxTokens
    require(
        asked is None or asked <= spec.max_output,
        f"The maximum tokens you requested exceeds the model limit of {spec.max_output}. "
        f"Try again with a maximum tokens value that is lower than {spec.max_output}.",
    )


def _check_blocks(turn: Turn, i: int) -> None:
    require(
        any(block.cachePoint is None for block in turn.content),
        f"The content field in the Message object at messages.{i} is empty. "
        "Add a ContentBlock object to the content field and try again.",
    )
    for j, block in enumerate(turn.content):
        require(
            block.text is None or block.text.strip(),
            f"The text field in the ContentBlock object at messages.{i}.content.{j} is blank. "
            "Add text to the text field, and try again.",
        )
        require(
            len(block.model_fields_set) == 1,
            f"The ContentBlock object at messages.{i}.content.{j} must set one of the following keys: "
            "text, image, toolUse, toolResult, document, video, cachePoint, reasoningContent.",
        )
        misplaced = (turn.role == "user" and block.toolUse) or (turn.role == "assistant" and block.toolResult)
        require(
            not misplaced,
            f"The ContentBlock object at messages.{i}.content.{j} is not allowed for the role {turn.role}.",
        )


def _check_tool_pairs(turns: Sequence[Turn]) -> None:
    expected: list[str] = []
    for i, turn in enumerate(turns):
        found = [block.toolResult.toolUseId for block in turn.content if block.toolResult]
        require(
            len(found) <= len(expected),
            f"The number of toolResult blocks at messages.{i}.content exceeds the number of toolUse blocks of previous turn.",
        )
        require(
            sorted(found) == sorted(expected),
            f"Expected toolResult blocks at messages.{i}.content for the following Ids: {', '.join(expected)}"
            + (f", but found: {', '.join(found)}" if found else ""),
        )
        expected = tool_use_ids(turn.content)
        require(
            len(set(expected)) == len(expected),
            f"The toolUse blocks at messages.{i}.content contain duplicate Ids: {expected}",
        )
    require(
        not expected,
        f"Expected toolResult blocks at messages.{len(turns)}.content for the following Ids: {', '.join(expected)}",
    )


def tool_use_ids(content: Sequence[Content]) -> list[str]:
    """Ids of the calls in a message."""
    return [block.toolUse.toolUseId for block in content if block.toolUse]
