"""The request shapes of ``/v1/messages``; unknown keys are refused.

Images and documents are accepted as they are, and looked into for their bill alone (`attached.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
ToolUseId = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$")]


class Shape(BaseModel):
    """Base of all shapes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CacheControl(Shape):
    """A breakpoint at the end of the block that carries it."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class Block(Shape):
    """Base of content blocks."""

    cache_control: CacheControl | None = None


class Text(Block):
    """Text."""

    type: Literal["text"]
    text: str
    citations: Any = None


class ToolUse(Block):
    """A call the assistant made."""

    type: Literal["tool_use"]
    id: ToolUseId
    name: ToolName
    input: dict[str, Any]
    caller: Any = None


class Thinking(Shape):
    """Thinking shown earlier; it cannot carry a breakpoint."""

    type: Literal["thinking"]
    thinking: str
    signature: str = ""


class Redacted(Shape):
    """Thinking kept secret."""

    type: Literal["redacted_thinking"]
    data: str


class Media(Block):
    """An image or a document."""

    type: Literal["image", "document", "search_result"]
    source: Any = None
    title: str | None = None
    context: str | None = None
    citations: Any = None
    content: Any = None


ResultContent = Annotated[Text | Media, Field(discriminator="type")]


class ToolResult(Block):
    """A tool's answer."""

    type: Literal["tool_result"]
    tool_use_id: ToolUseId
    content: str | tuple[ResultContent, ...] = ""
    is_error: bool | None = None


Content = Annotated[Text | ToolUse | ToolResult | Thinking | Redacted | Media, Field(discriminator="type")]


class Turn(Shape):
    """One message."""

    role: Literal["user", "assistant"]
    content: str | tuple[Content, ...]


class Tool(Shape):
    """A client tool. Server tools (other types) are not emulated."""

    name: ToolName
    type: Literal["custom"] | None = None
    description: str | None = None
    input_schema: dict[str, Any]
    cache_control: CacheControl | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    input_examples: Any = None
    allowed_callers: Any = None


class Metadata(Shape):
    """Who is asking."""

    user_id: str | None = None


class Count(Shape):
    """The body of a token count."""

    model: str
    messages: Annotated[tuple[Turn, ...], Field(min_length=1)]
    system: str | tuple[Text, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    cache_control: CacheControl | None = None
    output_config: dict[str, Any] | None = None


class Messages(Count):
    """The body of a completion."""

    max_tokens: Annotated[int, Field(ge=1)]
    stream: bool = False
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    stop_sequences: tuple[str, ...] = ()
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    inference_geo: str | None = None
