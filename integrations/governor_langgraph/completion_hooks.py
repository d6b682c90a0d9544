"""Hooks on completion models (`BaseLLM`): a prompt is one message, the text that comes back is the answer.

They are counted, held against budgets and loop limits like chat models. Another tier cannot answer in their place, since a tier is a chat
model. Several prompts in one call are several calls.
"""

from __future__ import annotations

from collections import deque
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models.llms import BaseLLM
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.outputs import LLMResult

from governor_langgraph import calling
from governor_langgraph.chat_hooks import model_step
from governor_langgraph.langgraph_internals import prompt_given

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from langchain_core.outputs import GenerationChunk

    from governor_langgraph.model_path import Outgoing

__all__ = ["ENTRY_POINTS", "PROVIDER_METHODS"]

_PER_PROMPT = ("callbacks", "tags", "metadata", "run_name", "run_id")
"""Arguments of `generate` that may be lists with an entry for every prompt."""


def _generate(original: Callable[..., LLMResult]) -> Callable[..., LLMResult]:
    def generate(
        self: BaseLLM, prompts: list[str], stop: list[str] | None = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        step = model_step(cast("Any", self))
        if step is None or not prompts:
            return original(self, prompts, stop, callbacks, **kwargs)
        about, arguments = _split({**kwargs, "callbacks": callbacks})

        def one(prompt: str, position: int) -> LLMResult:
            def call(out: Outgoing) -> LLMResult:
                return original(out.model, [_prompt(out)], stop, **_at(about, position, len(prompts)), **out.kwargs)

            return calling.generate(step, cast("Any", self), [HumanMessage(prompt)], arguments, call)

        return _merged([one(prompt, position) for position, prompt in enumerate(prompts)])

    return generate


def _agenerate(original: Callable[..., Any]) -> Callable[..., Any]:
    async def agenerate(
        self: BaseLLM, prompts: list[str], stop: list[str] | None = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        step = model_step(cast("Any", self))
        if step is None or not prompts:
            return await original(self, prompts, stop, callbacks, **kwargs)
        about, arguments = _split({**kwargs, "callbacks": callbacks})

        async def one(prompt: str, position: int) -> LLMResult:
            async def call(out: Outgoing) -> LLMResult:
                return await original(
                    out.model, [_prompt(out)], stop, **_at(about, position, len(prompts)), **out.kwargs
                )

            return await calling.agenerate(step, cast("Any", self), [HumanMessage(prompt)], arguments, call)

        return _merged([await one(prompt, position) for position, prompt in enumerate(prompts)])

    return agenerate


def _stream(original: Callable[..., Iterator[str]]) -> Callable[..., Iterator[str]]:
    def stream(self: BaseLLM, input: Any, config: Any = None, *, stop: Any = None, **kwargs: Any) -> Iterator[str]:  # noqa: A002 - LangChain's name
        step = model_step(cast("Any", self))
        if step is None or not _may_stream(self, "_stream"):
            yield from original(self, input, config, stop=stop, **kwargs)  # falls into generate, governed there
            return

        def call(out: Outgoing) -> Iterator[AIMessageChunk]:
            for text in original(out.model, _prompt(out), config, stop=stop, **out.kwargs):
                yield AIMessageChunk(content=text)

        chunks = calling.stream(step, cast("Any", self), _message(self, input), kwargs, call)
        with closing(cast("Any", chunks)):
            for chunk in chunks:
                yield str(chunk.content)

    return stream


def _astream(original: Callable[..., AsyncIterator[str]]) -> Callable[..., AsyncIterator[str]]:
    async def astream(
        self: BaseLLM,
        input: Any,  # noqa: A002 - LangChain's name
        config: Any = None,
        *,
        stop: Any = None,
        **kwargs: Any,
    ) -> AsyncIterator[str]:
        step = model_step(cast("Any", self))
        if step is None or not (_may_stream(self, "_astream") or _may_stream(self, "_stream")):
            async with aclosing(cast("Any", original(self, input, config, stop=stop, **kwargs))) as texts:
                async for text in texts:
                    yield text
            return

        async def call(out: Outgoing) -> AsyncIterator[AIMessageChunk]:
            async for text in original(out.model, _prompt(out), config, stop=stop, **out.kwargs):
                yield AIMessageChunk(content=text)

        async with aclosing(
            cast("Any", calling.astream(step, cast("Any", self), _message(self, input), kwargs, call))
        ) as chunks:
            async for chunk in chunks:
                yield str(chunk.content)

    return astream


def _direct(original: Callable[..., LLMResult]) -> Callable[..., LLMResult]:
    def _generate(
        self: BaseLLM, prompts: list[str], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> LLMResult:
        step = model_step(cast("Any", self))
        if step is None or not prompts:
            return original(self, prompts, stop, run_manager, **kwargs)

        def call(out: Outgoing) -> LLMResult:
            return original(out.model, [_prompt(out)], stop, run_manager, **out.kwargs)

        return _merged(
            [calling.generate(step, cast("Any", self), [HumanMessage(each)], kwargs, call) for each in prompts]
        )

    return _generate


def _adirect(original: Callable[..., Any]) -> Callable[..., Any]:
    async def _agenerate(
        self: BaseLLM, prompts: list[str], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> LLMResult:
        step = model_step(cast("Any", self))
        if step is None or not prompts:
            return await original(self, prompts, stop, run_manager, **kwargs)

        async def call(out: Outgoing) -> LLMResult:
            return await original(out.model, [_prompt(out)], stop, run_manager, **out.kwargs)

        return _merged(
            [await calling.agenerate(step, cast("Any", self), [HumanMessage(each)], kwargs, call) for each in prompts]
        )

    return _agenerate


def _direct_stream(original: Callable[..., Iterator[GenerationChunk]]) -> Callable[..., Iterator[GenerationChunk]]:
    def _stream(self: BaseLLM, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Iterator[Any]:
        step = model_step(cast("Any", self))
        if step is None:
            return original(self, prompt, stop, run_manager, **kwargs)
        given: deque[GenerationChunk] = deque()

        def call(out: Outgoing) -> Iterator[AIMessageChunk]:
            for chunk in original(out.model, _prompt(out), stop, run_manager, **out.kwargs):
                given.append(chunk)
                yield AIMessageChunk(content=chunk.text)

        return _as_given(calling.stream(step, cast("Any", self), [HumanMessage(prompt)], kwargs, call), given)

    return _stream


def _direct_astream(original: Callable[..., AsyncIterator[GenerationChunk]]) -> Callable[..., AsyncIterator[Any]]:
    def _astream(
        self: BaseLLM, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        step = model_step(cast("Any", self))
        if step is None:
            return original(self, prompt, stop, run_manager, **kwargs)
        given: deque[GenerationChunk] = deque()

        async def call(out: Outgoing) -> AsyncIterator[AIMessageChunk]:
            async for chunk in original(out.model, _prompt(out), stop, run_manager, **out.kwargs):
                given.append(chunk)
                yield AIMessageChunk(content=chunk.text)

        return _aas_given(calling.astream(step, cast("Any", self), [HumanMessage(prompt)], kwargs, call), given)

    return _astream


def _as_given(chunks: Iterator[Any], given: deque[GenerationChunk]) -> Iterator[GenerationChunk]:
    """The provider's own chunks, one for each that was metered."""
    with closing(cast("Any", chunks)):
        for _ in chunks:
            yield given.popleft()


async def _aas_given(chunks: AsyncIterator[Any], given: deque[GenerationChunk]) -> AsyncIterator[GenerationChunk]:
    async with aclosing(cast("Any", chunks)):
        async for _ in chunks:
            yield given.popleft()


def _split(kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    about = {name: value for name, value in kwargs.items() if name in _PER_PROMPT}
    return about, {name: value for name, value in kwargs.items() if name not in _PER_PROMPT}


def _at(about: Mapping[str, Any], position: int, prompts: int) -> dict[str, Any]:
    """What concerns one prompt. A list of lists, or of as many names or ids as there are prompts, has an entry for each."""
    return {name: _one(name, value, position, prompts) for name, value in about.items()}


def _one(name: str, value: object, position: int, prompts: int) -> object:
    several = _entries(value)
    if several is None or len(several) != prompts:
        return value if position == 0 or name != "run_id" else None
    each_its_own = name in ("run_name", "run_id", "metadata") or _entries(several[0]) is not None
    return several[position] if each_its_own or _is_manager(several[0], name) else value


def _entries(value: object) -> Sequence[object] | None:
    return cast("Sequence[object]", value) if isinstance(value, list) else None


def _is_manager(first: object, name: str) -> bool:
    return name == "callbacks" and (first is None or hasattr(first, "handlers"))


def _prompt(out: Outgoing) -> str:
    """The prompt, with what governor has to say to the model behind it."""
    return "\n\n".join(str(message.text) for message in out.messages)


def _message(model: BaseLLM, given: Any) -> list[HumanMessage]:
    return [HumanMessage(prompt_given(model, given))]


def _may_stream(model: BaseLLM, name: str) -> bool:
    """Whether the class streams by itself, asked as LangChain asks."""
    return getattr(type(model), name) is not getattr(BaseLLM, name)


def _merged(results: Sequence[LLMResult]) -> LLMResult:
    """Several results as LangChain gives them for several prompts."""
    if len(results) == 1:
        return results[0]
    outputs = [result.llm_output for result in results if result.llm_output is not None]
    return LLMResult(
        generations=[generation for result in results for generation in result.generations],
        llm_output=outputs[-1] if outputs else None,
        run=[run for result in results for run in (result.run or ())] or None,
    )


ENTRY_POINTS: Mapping[str, Callable[[Any], Any]] = {
    "generate": _generate,
    "agenerate": _agenerate,
    "stream": _stream,
    "astream": _astream,
}
"""Public methods by which every call of a completion model goes."""
PROVIDER_METHODS: Mapping[str, Callable[[Any], Any]] = {
    "_generate": _direct,
    "_agenerate": _adirect,
    "_stream": _direct_stream,
    "_astream": _direct_astream,
}
"""Methods that reach the provider, for calls that pass by the public ones."""
