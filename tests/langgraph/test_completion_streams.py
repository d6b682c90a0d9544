"""A completion model's own `_stream` and `_astream`, called past the public methods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.language_models.llms import LLM
from langchain_core.outputs import GenerationChunk
from langgraph.graph import START, MessagesState, StateGraph

from governor import Refused
from governor_langgraph import govern, watch
from tests.langgraph.fakes import policy

GIVEN: Any = {"messages": []}
TWO = policy(
    budgets=[{"id": "two", "scope": "run", "limit": {"model_calls": 2}}],
    on_exhausted="stop",
)


class Words(LLM):
    """Streams its words, with a note on each chunk that only the provider gives."""

    asked: list[str]

    @property
    def _llm_type(self) -> str:
        return "words"

    def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
        raise AssertionError("it streams")

    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
        self.asked.append(prompt)
        for word in ("one ", "two"):
            yield GenerationChunk(text=word, generation_info={"word": word})

    async def _astream(self, prompt: str, *args: Any, **kwargs: Any) -> AsyncIterator[GenerationChunk]:
        for chunk in self._stream(prompt):
            yield chunk


def node_of(node: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile()


def test_a_stream_past_the_public_method_is_one_call_and_keeps_the_providers_chunks() -> None:
    model, seen = Words(asked=[]), list[GenerationChunk]()

    def node(state: MessagesState) -> dict[str, Any]:
        seen.extend(model._stream("count"))
        assert "one two" == "".join(model.stream("count"))  # the public method is one call too
        return {}

    with watch() as runs:
        govern(node_of(node), TWO).invoke(GIVEN)

    assert [("one ", {"word": "one "}), ("two", {"word": "two"})] == [
        (each.text, each.generation_info) for each in seen
    ]
    assert 2 == runs[-1].state.model_calls == len(model.asked)


async def test_an_async_stream_past_the_public_method_is_one_call() -> None:
    model, seen = Words(asked=[]), list[str]()

    async def node(state: MessagesState) -> dict[str, Any]:
        seen.extend([chunk.text async for chunk in model._astream("count")])
        seen.extend([text async for text in model.astream("count")])
        return {}

    with watch() as runs:
        await govern(node_of(node), TWO).ainvoke(GIVEN)

    assert ["one ", "two", "one ", "two"] == seen
    assert 2 == runs[-1].state.model_calls == len(model.asked)


def test_it_is_refused_when_nothing_is_left() -> None:
    model = Words(asked=[])

    def node(state: MessagesState) -> dict[str, Any]:
        for _ in range(3):
            list(model._stream("count"))
        return {}

    with pytest.raises(Refused):
        govern(node_of(node), TWO).invoke(GIVEN)

    assert 2 == len(model.asked)
