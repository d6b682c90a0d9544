"""What a cell of the matrix stands on: models that count what reaches the provider, and counters for bodies that ran."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import CallbackManager
from langchain_core.language_models.llms import LLM
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatResult, LLMResult
from langchain_core.tools import BaseTool, tool
from langgraph.graph import MessagesState, StateGraph
from pydantic import BaseModel, Field

from tests.langgraph.fakes import Streaming, Whole, calling


class Seen:
    """What happened in one run of one cell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.provider = 0
        self.nodes: list[str] = []
        self.tools: list[str] = []

    def asked(self) -> None:
        with self._lock:
            self.provider += 1

    def ran(self, node: str) -> None:
        with self._lock:
            self.nodes.append(node)

    def used(self, name: str) -> None:
        with self._lock:
            self.tools.append(name)

    def clear(self) -> None:
        with self._lock:
            self.provider, self.nodes, self.tools = 0, [], []

    # the fakes of this package count through these two
    def add(self, *_: Any) -> None:
        self.asked()


class Answer(BaseModel):
    """A structured answer."""

    text: str


class Completing(LLM):
    """A completion model."""

    seen: Any = None

    @property
    def _llm_type(self) -> str:
        return "completing"

    def _call(self, prompt: str, stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any) -> str:
        self.seen.asked()
        return "an answer"


class OwnGenerate(Whole):
    """Overrides the entry point that every call goes through, and asks nobody."""

    def generate(self, messages: Any, stop: Any = None, callbacks: Any = None, **kwargs: Any) -> LLMResult:
        CallbackManager.configure(callbacks).on_chat_model_start({"id": ["x", type(self).__name__]}, messages)
        answered = [ChatResult(generations=[self._made(each)]) for each in messages]
        return LLMResult(generations=[result.generations for result in answered])  # pyright: ignore[reportArgumentType] - a wider list

    def _made(self, messages: list[BaseMessage]) -> Any:
        from langchain_core.outputs import ChatGeneration

        return ChatGeneration(message=self._answer(messages, {}))


class Broken(Whole):
    """Fails before it answers, as often as it is told; each failure reaches the provider."""

    failures: int = 1_000_000
    state: dict[str, int] = Field(default_factory=dict)

    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        if self.state.get("failed", 0) < self.failures:
            self.state["failed"] = self.state.get("failed", 0) + 1
            self.calls.add(self.model_name, messages, kwargs)
            raise ConnectionError("the provider is away")
        return super()._answer(messages, kwargs)


@dataclass
class Ground:
    """The models and counters of one cell."""

    seen: Seen = field(default_factory=Seen)

    def __post_init__(self) -> None:
        self.model = Streaming(rule=lambda messages: "an answer", calls=self.seen)
        self.own = OwnGenerate(rule=lambda messages: "an answer", calls=self.seen)
        self.completing = Completing(seen=self.seen)

    def fresh(self) -> Streaming:
        """A model made on the spot."""
        return Streaming(rule=lambda messages: "an answer", calls=self.seen)

    def broken(self, failures: int = 1_000_000) -> Broken:
        """A model that fails so many times."""
        return Broken(rule=lambda messages: "an answer", calls=self.seen, failures=failures)

    def structured(self) -> Whole:
        """A model that answers a structured question."""
        return Whole(rule=lambda messages: calling("Answer", {"text": "an answer"}), calls=self.seen)

    def asking(self, name: str, args: dict[str, Any] | None = None) -> Streaming:
        """A model that asks for a tool until its latest message is an answer of one."""

        def rule(messages: list[BaseMessage]) -> AIMessage | str:
            return "done" if isinstance(messages[-1], ToolMessage) else calling(name, args)

        return Streaming(rule=rule, calls=self.seen)

    def tool(self, name: str, body: Callable[[Any], str] | None = None) -> BaseTool:
        """A tool that counts its runs; `body` is what it does."""
        seen = self.seen

        @tool(name)
        def work(q: str = "x") -> str:
            """Do some work."""
            seen.used(name)
            return body(q) if body else f"worked on {q}"

        return work

    def node(self, body: Callable[[], str], name: str = "node") -> Any:
        """A node that counts its runs and says what `body` gives."""

        def node(state: MessagesState) -> dict[str, Any]:
            self.seen.ran(name)
            return {"messages": [AIMessage(body())]}

        return node

    def anode(self, body: Callable[[], Any], name: str = "node") -> Any:
        """The async twin of `node`."""

        async def node(state: MessagesState) -> dict[str, Any]:
            self.seen.ran(name)
            return {"messages": [AIMessage(await body())]}

        return node

    def graph(self, **nodes: Any) -> Any:
        """A compiled graph with these nodes in a row."""
        graph = StateGraph(MessagesState)
        graph.add_sequence(list(nodes.items()))
        graph.set_entry_point(next(iter(nodes)))
        return graph.compile(name="unit")


def text_of(chunks: Iterator[Any]) -> str:
    return "".join(str(chunk.text) for chunk in chunks)


async def atext_of(chunks: AsyncIterator[Any]) -> str:
    return "".join([str(chunk.text) async for chunk in chunks])


def joined(messages: Sequence[Any]) -> str:
    return " ".join(str(message.text) for message in messages)
