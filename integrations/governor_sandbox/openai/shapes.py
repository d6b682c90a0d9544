"""The request shapes of ``/v1/chat/completions``; unknown keys are refused.

Images, audio and files are accepted as they are, and looked into for their bill alone (`attached.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """Base of all shapes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(Shape):
    """One piece of a message's content."""

    type: Literal["text", "image_url", "input_audio", "file", "refusal"]
    text: str | None = None
    refusal: str | None = None
    image_url: dict[str, Any] | None = None
    input_audio: dict[str, Any] | None = None
    file: dict[str, Any] | None = None


class CalledFunction(Shape):
    """What was called; ``arguments`` is JSON in a string, as the model wrote it."""

    name: str
    arguments: str


class Call(Shape):
    """A call the assistant made."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Shape):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[Part, ...] | None = None
    name: str | None = None
    tool_calls: Annotated[tuple[Call, ...], Field(min_length=1)] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    annotations: Any = None
    audio: Any = None


class Function(Shape):
    """A function on offer."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Shape):
    """A tool on offer."""

    type: Literal["function"]
    function: Function


class StreamOptions(Shape):
    """Whether usage ends the stream."""

    include_usage: bool = False
    include_obfuscation: bool = True


class ChatCompletion(Shape):
    """The body."""

    model: str
    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    tools: Annotated[tuple[Tool, ...], Field(min_length=1)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | tuple[str, ...] | None = None
    n: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    seed: int | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: Literal["auto", "default", "flex", "priority"] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    modalities: Any = None
    prediction: Any = None
