"""Calls that governor makes beside user code's own: the summary of what a cut removes, and another tier's answer to the same call.

They go to the real client of whoever is asked, once, in one piece, and without the callbacks of the call under way: no token of them
appears in a stream of the graph, in its events or in user code's handlers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from governor_langgraph.attempts import Attempts
from governor_langgraph.forms import formed
from governor_langgraph.model_path import AtProvider, Outgoing, completion_response, response_of
from governor_langgraph.toolspec import CONFIGS, FORMATS, TOOLS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from langchain_core.language_models import BaseChatModel
    from langchain_core.outputs import LLMResult
    from opentelemetry.trace import Span

    from governor.calls import ModelResponse
    from governor.effects import Summarise
    from governor_langgraph.model_path import Prepared

    Through = Callable[[Outgoing, Callable[[Outgoing], LLMResult]], LLMResult]
    AThrough = Callable[[Outgoing, Callable[[Outgoing], Awaitable[LLMResult]]], Awaitable[LLMResult]]

__all__ = ["abeside", "beside", "result_response"]

_SUMMARY: Mapping[str, Any] = {"run_name": "governor summary", "tags": ["nostream", "governor:summary"]}
_SHADOW: Mapping[str, Any] = {"run_name": "governor shadow", "tags": ["nostream", "governor:shadow"]}
"""What tracing that hooks in from elsewhere calls them. LangGraph streams no tokens of a call tagged `nostream`."""


def beside(prepared: Prepared, effect: Summarise, span: Span, through: Through | None) -> ModelResponse:
    """Ask. `through` takes the request on its way through the policy of another governor around this one."""
    out = _outgoing(prepared, effect)
    send = partial(_generate, _SHADOW if effect.whole else _SUMMARY)
    with AtProvider(effect.meter, out.model, span, None):
        result = send(out) if through is None else through(out, send)
    return result_response(result, out.model, effect.request.model.provider)


async def abeside(prepared: Prepared, effect: Summarise, span: Span, through: AThrough | None) -> ModelResponse:
    """The async twin of `beside`."""
    out = _outgoing(prepared, effect)
    send = partial(_agenerate, _SHADOW if effect.whole else _SUMMARY)
    with AtProvider(effect.meter, out.model, span, None):
        result = await (send(out) if through is None else through(out, send))
    return result_response(result, out.model, effect.request.model.provider)


def result_response(result: LLMResult, model: BaseChatModel, provider: str) -> ModelResponse:
    """What `generate` answered, in the core's words."""
    generations = result.generations[0] if result.generations else []
    message = getattr(generations[0], "message", None) if generations else None
    if message is None:
        return completion_response(result)
    return response_of(message, model, result, provider=provider)


def _generate(about: Mapping[str, Any], out: Outgoing) -> LLMResult:
    return out.model.generate([out.messages], callbacks=None, **about, **out.kwargs)


async def _agenerate(about: Mapping[str, Any], out: Outgoing) -> LLMResult:
    return await out.model.agenerate([out.messages], callbacks=None, **about, **out.kwargs)


def _outgoing(prepared: Prepared, effect: Summarise) -> Outgoing:
    """What is sent. A form that user code wants its own answer in is no form for this one."""
    if effect.whole:
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
    if effect.form is not None:
        plain = replace(plain, attempts=Attempts())  # it may run beside the call, whose attempts are its own
    out = plain.outgoing(effect.request)
    model, kwargs = _silent(out.model), out.kwargs
    if effect.form is not None:
        model, kwargs = formed(model, kwargs, effect.form)
    return Outgoing(model=model, messages=out.messages, kwargs=kwargs)


def _message(role: str, text: str) -> BaseMessage:
    return SystemMessage(text) if role == "system" else HumanMessage(text)


def _silent(model: BaseChatModel) -> BaseChatModel:
    """The client without handlers of its own and without streaming."""
    changes: dict[str, Any] = {"callbacks": None, "disable_streaming": True}
    if "streaming" in type(model).model_fields:
        changes["streaming"] = False
    return model.model_copy(update=changes)
