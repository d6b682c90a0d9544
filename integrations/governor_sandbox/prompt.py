"""What was asked, in one shape for all providers: a conversation for the scenario, blocks for the prompt cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from governor_sandbox.catalogue import Model
from governor_sandbox.tokens import count

Provider = Literal["bedrock", "openai", "anthropic"]
Operation = Literal["complete", "count_tokens"]
Role = Literal["system", "user", "assistant", "tool"]
Section = Literal["tools", "system", "messages"]
Ttl = Literal["5m", "1h"]

MESSAGE_OVERHEAD = 4
"""Tokens a message costs beyond its content: role and separators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool the assistant asked for; ``id`` ties it to its result."""

    id: str
    name: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool answered. ``name`` is looked up from the call, since no provider repeats it in the result."""

    id: str
    name: str
    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn. A turn that carries tool results has the role ``tool`` whatever the provider calls it."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What a scenario's rules look at: the messages of this request and nothing the model would not see."""

    provider: Provider
    model: str
    messages: tuple[Message, ...]
    system: str = ""
    tools: tuple[str, ...] = ()

    @property
    def last(self) -> Message:
        """The newest message, the one the model answers."""
        return self.messages[-1]

    @property
    def step(self) -> int:
        """How many times the model has spoken in what it is shown: 0 for the first call of a conversation."""
        return sum(message.role == "assistant" for message in self.messages)

    @cached_property
    def task(self) -> Message:
        """The first message from a user, normally the assignment."""
        return next((m for m in self.messages if m.role == "user"), self.messages[0])

    @cached_property
    def called(self) -> tuple[str, ...]:
        """Names of all tools called so far, in order, with repetitions."""
        return tuple(call.name for message in self.messages for call in message.tool_calls)

    @cached_property
    def tool_result(self) -> Any:
        """The newest tool result, parsed when it is JSON, else its text; None before the first."""
        results = [r for message in self.messages for r in message.tool_results]
        if not results:
            return None
        try:
            return json.loads(results[-1].text)
        except ValueError:
            return results[-1].text


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One unit of the prompt as the cache sees it.

    ``tag`` distinguishes blocks of equal text (role, kind, call id) and is not billed; ``overhead`` is billed and has no text.
    A ``ttl`` marks the end of this block as a cache breakpoint.
    """

    section: Section
    tag: str
    text: str
    overhead: int = 0
    ttl: Ttl | None = None

    @property
    def tokens(self) -> int:
        """What this block adds to the input."""
        return self.overhead + count(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """All blocks in cache order, tools -> system -> messages.

    ``seam`` is what invalidates the messages but neither tools nor system when it changes (tool choice, thinking).
    """

    blocks: tuple[Block, ...]
    seam: str = ""

    @property
    def tokens(self) -> int:
        """The whole input, cached or not."""
        return sum(block.tokens for block in self.blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One accepted request: valid for its provider, and within the model's window."""

    provider: Provider
    operation: Operation
    model: str
    spec: Model
    conversation: Conversation
    prompt: Prompt
    max_tokens: int
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = True
    service_tier: str | None = None
    invoked: str | None = None
    """The ARN of the model that a prompt router chose."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class PromptBuilder:
    """Collects blocks and breakpoints while a dialect walks a request."""

    blocks: list[Block] = field(default_factory=list[Block])
    marks: list[Ttl] = field(default_factory=list[Ttl])

    def add(self, section: Section, tag: str, text: str, *, overhead: int = 0) -> None:
        """Append one block."""
        self.blocks.append(Block(section=section, tag=tag, text=text, overhead=overhead))

    def mark(self, ttl: Ttl) -> None:
        """Put a breakpoint after the newest block; a marker before any content counts but caches nothing."""
        self.marks.append(ttl)
        if self.blocks:
            self.blocks[-1] = replace(self.blocks[-1], ttl=ttl)

    def charge_message(self, first_block: int) -> None:
        """Bill a message's overhead on its first block, so that a prefix ending inside it includes it."""
        if first_block < len(self.blocks):
            block = self.blocks[first_block]
            self.blocks[first_block] = replace(block, overhead=block.overhead + MESSAGE_OVERHEAD)

    def ttl_increases(self) -> bool:
        """Whether a long-lived breakpoint follows a short-lived one, which every provider refuses."""
        return any(a == "5m" and b == "1h" for a, b in zip(self.marks, self.marks[1:], strict=False))

    def build(self, seam: str = "") -> Prompt:
        """The finished prompt."""
        return Prompt(blocks=tuple(self.blocks), seam=seam)


def compact_json(value: object) -> str:
    """JSON in the order it was sent: a re-ordered tool schema is a different prefix, as it is for a provider."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
