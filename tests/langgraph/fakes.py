"""Chat models that answer by a rule, stream word by word, and remember what they were asked."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

Rule = Callable[[list[BaseMessage]], AIMessage | str]

OPEN: dict[str, Any] = {"governor": 1, "name": "open", "tools": {"default": "allow"}, "loops": {"mode": "observe"}}
"""A policy that allows everything and changes nothing."""


def policy(**parts: Any) -> dict[str, Any]:
    """OPEN with parts replaced."""
    return {**OPEN, **parts}


def words_of(messages: Sequence[BaseMessage]) -> int:
    return sum(len(str(message.text).split()) for message in messages)


class Calls:
    """What models were asked, in order of arrival."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.seen: list[tuple[str, list[BaseMessage], dict[str, Any]]] = []

    def add(self, model: str, messages: list[BaseMessage], kwargs: dict[str, Any]) -> None:
        with self.lock:
            self.seen.append((model, list(messages), dict(kwargs)))

    def __len__(self) -> int:
        return len(self.seen)

    @property
    def models(self) -> list[str]:
        return [model for model, _, _ in self.seen]


class Whole(BaseChatModel):
    """Answers by a rule, in one piece."""

    rule: Any
    model_name: str = "fake-1"
    max_tokens: int | None = None
    calls: Any = Field(default_factory=Calls)

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        self.calls.add(self.model_name, messages, kwargs)
        answer = self.rule(messages)
        message = AIMessage(answer) if isinstance(answer, str) else answer.model_copy(deep=True)
        given, said = words_of(messages), words_of([message])
        message.usage_metadata = {"input_tokens": given, "output_tokens": said, "total_tokens": given + said}
        message.response_metadata = {"model_name": self.model_name}
        return message

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages, kwargs))])

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)


class Streaming(Whole):
    """The same, word by word, with the usage in the last chunk."""

    def _chunks(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> Iterator[ChatGenerationChunk]:
        answer = self._answer(messages, kwargs)
        words = str(answer.text).split(" ")
        for index, word in enumerate(words):
            text = word if index == 0 else f" {word}"
            yield ChatGenerationChunk(message=AIMessageChunk(content=text))
        calls: list[Any] = [
            {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": index}
            for index, call in enumerate(answer.tool_calls)
        ]
        yield ChatGenerationChunk(
            message=AIMessageChunk(
                content="",
                tool_call_chunks=calls,
                usage_metadata=answer.usage_metadata,
                response_metadata=answer.response_metadata,
            )
        )

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, kwargs):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages, kwargs):
            yield chunk


def calling(tool: str, args: dict[str, Any] | None = None, *, call_id: str = "c1", text: str = "") -> AIMessage:
    """An answer that asks for a tool."""
    return AIMessage(content=text, tool_calls=[{"name": tool, "args": args or {}, "id": call_id, "type": "tool_call"}])


def once(tool: str, args: dict[str, Any] | None = None, answer: str = "the end") -> Rule:
    """Ask for a tool once, then answer."""

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        return answer if any(isinstance(message, ToolMessage) for message in messages) else calling(tool, args)

    return rule


def times(tool: str, count: int, args: Callable[[int], dict[str, Any]], answer: str = "the end") -> Rule:
    """Ask for a tool `count` times, then answer."""

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        done = sum(isinstance(message, ToolMessage) for message in messages)
        return answer if done >= count else calling(tool, args(done), call_id=f"c{done}")

    return rule


class Runs(BaseCallbackHandler):
    """Counts what the trace shows."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.starts: list[str] = []
        self.ends = 0
        self.errors = 0
        self.tokens: list[str] = []
        self.tools: list[str] = []
        self.chains: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        with self.lock:
            self.starts.append(str(kwargs.get("name")))

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        with self.lock:
            self.tokens.append(str(token))

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        with self.lock:
            self.ends += 1

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        with self.lock:
            self.errors += 1

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        with self.lock:
            self.tools.append(serialized["name"])

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        with self.lock:
            self.chains.append(str(kwargs.get("name")))
