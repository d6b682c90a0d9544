"""Calls: what is about to happen, in values that no vendor's types reach.

A vendor's message is carried in `source`, opaquely; a control reads the neutral fields and never looks inside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from governor.cache_plan import Breakpoint, CachePlan, Ttl
from governor.usage import Usage
from governor.values import cheap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.fees import HostedTool
    from governor.media import Media
    from governor.runs import Steady

__all__ = [
    "Breakpoint",
    "CachePlan",
    "History",
    "Message",
    "ModelCall",
    "ModelRef",
    "ModelRequest",
    "ModelResponse",
    "RunRef",
    "StepRef",
    "ToolCall",
    "ToolResult",
    "ToolSpec",
    "ToolUse",
    "Ttl",
    "View",
]

Role = Literal["system", "user", "assistant", "tool"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class RunRef:
    """One invocation of the root graph, with everything nested in it, and whom it runs for."""

    id: str
    thread: str | None = None
    """The conversation; runs share it. None without a checkpointer."""
    scopes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Scope name to value from the run's config, never from the model: `{"org": "acme", "tenant": "t1", "user": "u7"}`."""
    policy_hash: str = ""
    started_ms: int = 0
    """Store or driver clock at the start of the run, milliseconds since the epoch."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which an operator may halt it, widest first: `all`, `org=acme`, ..., `thread=...`, `run=...`."""
        scopes = [f"{scope}={name}" for scope, name in self.scopes.items()]
        thread = (f"thread={self.thread}",) if self.thread else ()
        return ("all", *scopes, *thread, f"run={self.id}")


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class StepRef:
    """One node execution. A retried or resumed step keeps its `ns` and so is the same step."""

    run: RunRef
    node: str
    """The node's name, without its parents."""
    path: str
    """Node names from the root, joined by `/`: `orders/worker`. The lane of compaction, and what rules may match as well."""
    ns: str
    """LangGraph's checkpoint namespace of the step (unique per task), or any unique id elsewhere."""
    depth: int = 0
    """0 in the root graph, 1 in a graph nested in it, and so on."""
    attempt: int = 1
    superstep: tuple[str, int] | None = None
    """The checkpoint that the step runs from, and the superstep's number: steps that share them are branches side by side.

    None when that is not known."""
    sent: int = 0
    """How many branches (`Send`) its superstep was given, as far as that is known before they have begun."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """A model as `init_chat_model` names it: `provider:model`."""

    provider: str
    """`bedrock_converse`, `anthropic`, `openai`, ..., or `unknown` when the class of the client says nothing."""
    model: str

    def __str__(self) -> str:
        """`provider:model`."""
        return f"{self.provider}:{self.model}"


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """A tool call as the model asked for it. `args` None means that they did not parse."""

    id: str
    name: str
    args: Mapping[str, object] | None


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool offered to the model."""

    name: str
    tokens: int
    """Estimated tokens of its serialised description."""
    digest: str = ""
    """Of the same; empty where nobody worked it out."""
    schema: Mapping[str, object] | None = None
    """JSON Schema of its arguments; None where nothing is known of it (the provider's own tools)."""
    source: object = None


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """The form of an answer that governor itself asks for: the arguments of one tool that has to be called."""

    name: str
    description: str
    schema: Mapping[str, object]
    """JSON schema of the arguments."""
    temperature: int | None = None
    """None leaves the client's own."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of the history, as the model is shown it."""

    key: str
    """Stable identity: the message's id, or a digest of its content when it has none."""
    role: Role
    text: str
    """All text of it, flattened. Other content (images, reasoning) is only in `source`."""
    tokens: int
    """Estimated tokens, framing and tool calls included."""
    blocks: int = 1
    """Content blocks on the wire; prompt caches look back a limited number of them."""
    tool_uses: tuple[ToolUse, ...] = ()
    answers: str | None = None
    """Id of the tool call that this message answers (role `tool`)."""
    name: str | None = None
    """Tool name for role `tool`."""
    failed: bool = False
    opaque: bool = False
    """Holds content that is not text (images, reasoning, provider blocks): it may be kept or dropped whole, never edited."""
    edited: bool = False
    """`text` differs from `source` and has to be written into a copy of it."""
    media: tuple[Media, ...] = ()
    """Pictures, documents and recordings of it, whose tokens depend on the model."""
    handle: str | None = None
    """What the recall tool reads the whole of it by, where `text` is a shorter form."""
    pinned: bool = False
    """User code wants it to stay (`governor_pin`): no cut leaves it out and nothing of it is replaced."""
    moved: str = ""
    """Lines of a system text that are sent at the tail instead, because they change from call to call."""
    source: object = None


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The messages of one model call, system text first, each in the form in which it was first shown.

    A window of length `len(messages)` over lists that only grow, so that a call adds work for its new messages alone.
    """

    messages: Sequence[Message]
    cumulative: Sequence[int]
    """`cumulative[i]` = tokens of messages 0..i, in step with `messages`."""
    index: Mapping[str, int]
    """Message key to position. May hold keys beyond this window."""
    spoken: Sequence[int] | None = None
    """Positions of system text, of the user's messages and of pinned ones, rising; may go on beyond this window. None where nobody noted
    them."""
    media: Sequence[int] | None = None
    """Positions of messages that hold media, likewise."""
    rolled: Sequence[int] | None = None
    """`rolled[i]` = digest of messages 0..i (`prefix`); may go on beyond this window. None where nobody noted them."""
    replaced: tuple[int, Message] | None = None
    """Where the list last differed from what it was, and the message that had been there."""
    moved: bool = False
    """Whether any message has lines that are sent at the tail (`Message.moved`)."""
    excess: Sequence[int] | None = None
    """`excess[i]` = tokens that shortening took off messages 0..i; may go on beyond this window. None where nobody noted them."""

    @property
    def tokens(self) -> int:
        """Tokens of the whole history."""
        return self.cumulative[len(self.messages) - 1] if self.messages else 0

    @property
    def uncapped(self) -> int:
        """Tokens that the whole history would have had if no result had been shortened."""
        return self.tokens + (self.excess[len(self.messages) - 1] if self.excess and self.messages else 0)

    def between(self, start: int, stop: int) -> int:
        """Tokens of messages start..stop-1."""
        if stop <= start:
            return 0
        return self.cumulative[stop - 1] - (self.cumulative[start - 1] if start else 0)


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the model sees: kept messages, inserted text, the tail, volatile notes. Never a change of the history.

    Without a cut `pinned` and `inserted` are empty and `start` is 0: the view is the history.
    """

    history: History
    """Those messages with their places; `altered` ones as they are shown here."""
    pinned: tuple[int, ...] = ()
    """Positions kept from before the tail: system text, the task, pinned messages."""
    inserted: tuple[Message, ...] = ()
    """The ledger or summary that stands for what was cut, byte-stable between cuts."""
    start: int = 0
    """Position of the first message of the tail."""
    altered: tuple[int, ...] = ()
    """Positions of tool results that are shown as placeholders, rising."""
    edges: tuple[int, ...] = ()
    """Positions behind which the cached prefix is likely to outlive the next cut: worth a cache marker."""
    notes: tuple[str, ...] = ()
    """Governor's own notes to the model (nudges, budget). Always last, so that the cached prefix does not move."""

    @property
    def tokens(self) -> int:
        """Tokens shown, without `notes`."""
        history = self.history
        if not self.cut:
            return history.tokens
        kept = sum(history.messages[i].tokens for i in self.pinned)
        return kept + sum(m.tokens for m in self.inserted) + history.between(self.start, len(history.messages))

    @property
    def media(self) -> list[Media]:
        """The media of what is shown. Most histories have none, and then no message is looked at."""
        history, count = self.history, len(self.history.messages)
        held = history.media
        if held is None:
            held = [position for position, message in enumerate(history.messages) if message.media]
        if not held:
            return []
        shown = [i for i in held if i < count and (i >= self.start or i in self.pinned)]
        return [each for i in shown for each in history.messages[i].media]

    @property
    def cut(self) -> bool:
        """Whether anything of the history is left out."""
        return self.start > 0


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """A model call about to happen, as user code asked for it."""

    step: StepRef
    ordinal: int
    """0-based number of this model call within its step."""
    history: History
    model: ModelRef
    """The model that user code holds; the tier may replace it."""
    tools: tuple[ToolSpec, ...] = ()
    """In the order in which they are sent."""
    choice: str = ""
    """What the model must do about them, and how it may think, as user code wrote it; empty when it wrote nothing."""
    form: Mapping[str, object] | None = None
    """JSON Schema of the answer in words that user code asked the provider for; None where it asked for none."""
    hosted: tuple[HostedTool, ...] = ()
    """Tools that the provider runs itself, with their fees."""
    max_output_tokens: int | None = None
    """As requested by user code; None when it set none."""
    streaming: bool = False
    lane: str = ""
    """Key of the compaction lane: node path and the first message, so that forks and fan-out branches do not share one."""
    steady: tuple[Steady, ...] = ()
    """What the lane has seen of its leading system texts, these included; empty where nothing of them is sent elsewhere."""
    recall: bool = False
    """Whether the graph can answer the recall tool, so that long results may be cut."""
    elided: tuple[tuple[str, str], ...] = ()
    """(handle, full text) of results shortened for the first time in this call; kept in the store before anything is sent."""
    price_percents: Mapping[str | None, int] = field(default_factory=dict[str | None, int])
    """Percent of the listed price by tier (None: the model of user code), where it is not 100: a faster class of service costs more."""
    structured: bool = False
    """Whether the answer must be of a schema."""
    locked: bool = False
    """The tier may not be changed: provider state (signed reasoning blocks, server-side ids) pins the model."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """The call as it will be sent: after routing, compaction, ordering and the clamp."""

    call: ModelCall
    tier: str | None
    """Name of the tier that answers; None keeps the model of user code."""
    model: ModelRef
    view: View
    cache: CachePlan = field(default_factory=CachePlan)
    max_output_tokens: int | None = None
    """Set on the request: it is what was reserved. None only for a model with no limit known and no budget."""
    input_tokens: int = 0
    """Upper bound of the input that was reserved."""
    hosted_uses: int | None = None
    """Most uses of each of the provider's tools without a limit of its own: set on the request, because that is what was reserved."""
    base: str | None = None
    """The tier that would answer when nothing went wrong, where that was estimated (`Routed.base`)."""
    final: bool = False
    """The last answer of a run whose budget is used up: tools are not to be called, where the provider can be told so."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResponse:
    """What came back. `source` is the vendor's object, untouched."""

    text: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    usage: Usage | None = None
    """None when the provider reported nothing; the estimator then speaks."""
    hosted_uses: Mapping[str, int] = field(default_factory=dict[str, int])
    """How often the provider's own tools were used, by name."""
    finish: Literal["stop", "length", "tool_use", "refusal", "other"] = "other"
    model: str | None = None
    """The model that answered, if the provider says (prompt routers, gateways)."""
    served: str = ""
    """Class of service that answered, where the answer names one."""
    cached: bool = False
    """Answered by LangChain's own LLM cache, or by a gateway's: no provider call, no cost."""
    fell_back: bool = False
    """A gateway says that another model than the asked one answered."""
    told_cost: int | None = None
    """What a gateway says that the answer cost, nano-USD; None where it does not, or is not to be believed."""
    gateway: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    """What a gateway says of the answer, for the trace: names and numbers, never content."""
    invalid: bool = False
    """The answer failed the schema it was asked for, or holds tool calls whose arguments do not parse."""
    source: object = None


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call about to happen."""

    step: StepRef
    name: str
    args: Mapping[str, object]
    id: str
    known: bool = True
    """False for a name that the graph has not registered: the model made it up."""
    read_only: bool = False
    """The tool's own annotations say that it changes nothing (MCP's `readOnlyHint`): its acknowledgements are no work done."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool gave back, or what governor answers in its place (`synthetic`)."""

    text: str
    failed: bool = False
    synthetic: bool = False
    source: object = None
