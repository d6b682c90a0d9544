"""The request shapes of Converse, as in botocore's service model; unknown keys are refused.

Multimedia and guardrail blocks are accepted as opaque objects, and looked into for their bill alone (`attached.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$", min_length=1, max_length=64)]
ToolUseId = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.:-]+$", min_length=1, max_length=64)]
Ttl = Literal["5m", "1h"]


class Shape(BaseModel):
    """Base of all shapes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CachePoint(Shape):
    """A breakpoint after the block before it."""

    type: Literal["default"]
    ttl: Ttl = "5m"


class ToolUse(Shape):
    """A call the assistant made."""

    toolUseId: ToolUseId
    name: ToolName
    input: Any
    type: str | None = None


class ToolResultContent(Shape):
    """One piece of a tool's answer; exactly one key is set."""

    text: str | None = None
    json_: Any = Field(default=None, alias="json")
    image: dict[str, Any] | None = None
    document: dict[str, Any] | None = None
    video: dict[str, Any] | None = None
    searchResult: dict[str, Any] | None = None


class ToolResult(Shape):
    """A tool's answer."""

    toolUseId: ToolUseId
    content: tuple[ToolResultContent, ...]
    status: Literal["success", "error"] = "success"
    type: str | None = None


class ReasoningText(Shape):
    """Reasoning the model showed earlier."""

    text: str
    signature: str | None = None


class Reasoning(Shape):
    """Reasoning, readable or redacted."""

    reasoningText: ReasoningText | None = None
    redactedContent: str | None = None


class Content(Shape):
    """One content block; exactly one key is set."""

    text: str | None = None
    toolUse: ToolUse | None = None
    toolResult: ToolResult | None = None
    cachePoint: CachePoint | None = None
    reasoningContent: Reasoning | None = None
    image: dict[str, Any] | None = None
    document: dict[str, Any] | None = None
    video: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None
    guardContent: dict[str, Any] | None = None
    citationsContent: dict[str, Any] | None = None
    searchResult: dict[str, Any] | None = None


class Turn(Shape):
    """One message."""

    role: Literal["user", "assistant"]
    content: tuple[Content, ...]


class System(Shape):
    """One system block; exactly one key is set."""

    text: Annotated[str, Field(min_length=1)] | None = None
    guardContent: dict[str, Any] | None = None
    cachePoint: CachePoint | None = None


class InputSchema(Shape):
    """A tool's parameters as JSON schema."""

    json_: dict[str, Any] = Field(alias="json")


class ToolSpec(Shape):
    """A tool on offer."""

    name: ToolName
    description: Annotated[str, Field(min_length=1)] | None = None
    inputSchema: InputSchema
    strict: bool | None = None


class Tool(Shape):
    """One entry of the tool list; exactly one key is set."""

    toolSpec: ToolSpec | None = None
    systemTool: dict[str, Any] | None = None
    cachePoint: CachePoint | None = None


class ToolConfig(Shape):
    """The tools on offer and how they must be used."""

    tools: Annotated[tuple[Tool, ...], Field(min_length=1)]
    toolChoice: dict[Literal["auto", "any", "tool"], dict[str, Any]] | None = None


class InferenceConfig(Shape):
    """Sampling and limits."""

    maxTokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    topP: Annotated[float, Field(ge=0, le=1)] | None = None
    stopSequences: tuple[str, ...] = ()


class ServiceTier(Shape):
    """How urgent the answer is."""

    type: Literal["priority", "default", "flex", "reserved"]


class Converse(Shape):
    """The body of Converse and ConverseStream."""

    messages: tuple[Turn, ...] = ()
    system: tuple[System, ...] = ()
    inferenceConfig: InferenceConfig = InferenceConfig()
    toolConfig: ToolConfig | None = None
    guardrailConfig: dict[str, Any] | None = None
    additionalModelRequestFields: dict[str, Any] | None = None
    additionalModelResponseFieldPaths: tuple[str, ...] = ()
    promptVariables: dict[str, Any] | None = None
    requestMetadata: Annotated[dict[str, str], Field(min_length=1, max_length=16)] | None = None
    performanceConfig: dict[str, Any] | None = None
    serviceTier: ServiceTier | None = None
    outputConfig: dict[str, Any] | None = None
    projectIdentifier: str | None = None
