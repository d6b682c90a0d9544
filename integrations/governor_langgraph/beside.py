"""Calls that governor makes beside user code's own: the summary of what a cut removes, a second answer to compare the first with.

They go to the real client of whoever is asked, once, in one piece, and without the callbacks of the call under way: no token of them
appears in a stream of the graph, in its events or in user code's handlers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from governor.effects import Sample, Summarise
from governor_langgraph.model_path import AtProvider, Outgoing, completion_response, response_of
from governor_langgraph.toolspec import CONFIGS, FORMATS, TOOLS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from langchain_core.language_models import BaseChatModel
    from langchain_core.outputs import LLMResult
    from opentelemetry.trace import Span

    from governor.calls import ModelResponse
    from governor_langgraph.model_path import Prepared

    Through = Callable[[Outgoing, Callable[[Outgoing], LLMResult]], LLMResult]
    AThrough = Callable[[Outgoing, Callable[[Outgoing], Awaitable[LLMResult]]], Awaitable[LLMResult]]

__all__ = ["abeside", "beside", "result_response"]

_ABOUT: Mapping[str, Any] = {"run_name": "governor summary", "tags": ["nostream", "governor:summary"]}
"""What tracing that hooks in from elsewhere calls it. LangGraph streams no tokens of a call tagged `nostream`."""
_SAMPLED: Mapping[str, Any] = {"run_name": "governor sample", "tags": ["nostream", "governor:sample"]}


def beside(prepared: Prepared, effect: Summarise | Sample, span: Span, through: Through | None) -> ModelResponse:
    """Ask. `through` takes the request on its way through the policy of another governor around this one."""
    out = _outgoing(prepared, effect)
    with AtProvider(effect.meter, out.model, span, None):
        call = partial(_generate, about=_about(effect))
        result = call(out) if through is None else through(out, call)
    return result_response(result, out.model, effect.request.model.provider)


async def abeside(
    prepared: Prepared, effect: Summarise | Sample, span: Span, through: AThrough | None
) -> ModelResponse:
    """The async twin of `beside`."""
    out = _outgoing(prepared, effect)
    with AtProvider(effect.meter, out.model, span, None):
        call = partial(_agenerate, about=_about(effect))
        result = await (call(out) if through is None else through(out, call))
    return result_response(result, out.model, effect.request.model.provider)


def result_response(result: LLMResult, model: BaseChatModel, provider: str) -> ModelResponse:
    """What `generate` answered, in the core's words."""
    generations = result.generations[0] if result.generations else []
    message = getattr(generations[0], "message", None) if generations else None
    if message is None:
        return completion_response(result)
    return response_of(message, model, result, provider=provider)


def _about(effect: Summarise | Sample) -> Mapping[str, Any]:
    return _ABOUT if isinstance(effect, Summarise) else _SAMPLED


def _generate(out: Outgoing, about: Mapping[str, Any]) -> LLMResult:
    return out.model.generate([out.messages], callbacks=None, **about, **out.kwargs)


async def _agenerate(out: Outgoing, about: Mapping[str, Any]) -> LLMResult:
    return await out.model.agenerate([out.messages], callbacks=None, **about, **out.kwargs)


def _outgoing(prepared: Prepared, effect: Summarise | Sample) -> Outgoing:
    """What is sent. A form that user code wants its own answer in is no form for this one."""
    if isinstance(effect, Sample):
        plain = prepared
    elif effect.appended:
        kwargs = {name: value for name, value in prepared.kwargs.items() if name not in FORMATS | {"tool_choice"}}
        plain = replace(prepared, kwargs=kwargs)
    else:
        unfit = TOOLS | CONFIGS | FORMATS
        kwargs = {name: value for name, value in prepared.kwargs.items() if name not in unfit}
        history = effect.request.view.history
        told = [_message(message.role, message.text) for message in history.messages]
        bare = replace(prepared.offer, added=None, order=None)
        plain = replace(prepared, kwargs=kwargs, offer=bare, rendered=told, placed={})
    out = plain.outgoing(effect.request)
    return Outgoing(model=_silent(out.model), messages=out.messages, kwargs=out.kwargs)


def _message(role: str, text: str) -> BaseMessage:
    return SystemMessage(text) if role == "system" else HumanMessage(text)


def _silent(model: BaseChatModel) -> BaseChatModel:
    """The client without handlers of its own and without streaming."""
    changes: dict[str, Any] = {"callbacks": None, "disable_streaming": True}
    if "streaming" in type(model).model_fields:
        changes["streaming"] = False
    return model.model_copy(update=changes)
