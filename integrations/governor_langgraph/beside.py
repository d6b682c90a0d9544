"""Calls that governor makes beside user code's own: the summary of what a cut removes, a rating of a step, another answer to the same call.

They go to the real client of whoever is asked, once, in one piece, and without the callbacks of the call under way: no token of them
appears in a stream of the graph, in its events or in user code's handlers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from governor.effects import Sample, Summarise
from governor_langgraph.attempts import Attempts
from governor_langgraph.forms import formed
from governor_langgraph.model_path import AtProvider, Outgoing
from governor_langgraph.responding import result_response
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

__all__ = ["abeside", "beside"]

_ABOUT: Mapping[str, Any] = {"run_name": "governor summary", "tags": ["nostream", "governor:summary"]}
"""What tracing that hooks in from elsewhere calls it. LangGraph streams no tokens of a call tagged `nostream`."""
_RATED: Mapping[str, Any] = {"run_name": "governor rating", "tags": ["nostream", "governor:rating"]}
_SHADOW: Mapping[str, Any] = {"run_name": "governor shadow", "tags": ["nostream", "governor:shadow"]}
_SAMPLED: Mapping[str, Any] = {"run_name": "governor sample", "tags": ["nostream", "governor:sample"]}


def beside(prepared: Prepared, effect: Summarise | Sample, span: Span, through: Through | None) -> ModelResponse:
    """Ask. `through` takes the request on its way through the policy of another governor around this one."""
    out = _outgoing(prepared, effect)
    with AtProvider(effect.meter, out, span, None):
        call = partial(_generate, about=_about(effect))
        result = call(out) if through is None else through(out, call)
    return result_response(result, out, effect.request.model.provider)


async def abeside(
    prepared: Prepared, effect: Summarise | Sample, span: Span, through: AThrough | None
) -> ModelResponse:
    """The async twin of `beside`."""
    out = _outgoing(prepared, effect)
    with AtProvider(effect.meter, out, span, None):
        call = partial(_agenerate, about=_about(effect))
        result = await (call(out) if through is None else through(out, call))
    return result_response(result, out, effect.request.model.provider)


def _about(effect: Summarise | Sample) -> Mapping[str, Any]:
    if isinstance(effect, Sample):
        return _SAMPLED
    if effect.whole:
        return _SHADOW
    return _ABOUT if effect.form is None else _RATED


def _generate(out: Outgoing, about: Mapping[str, Any]) -> LLMResult:
    return out.model.generate([out.messages], callbacks=None, **about, **out.kwargs)


async def _agenerate(out: Outgoing, about: Mapping[str, Any]) -> LLMResult:
    return await out.model.agenerate([out.messages], callbacks=None, **about, **out.kwargs)


def _outgoing(prepared: Prepared, effect: Summarise | Sample) -> Outgoing:
    """What is sent. A form that user code wants its own answer in is no form for this one."""
    if isinstance(effect, Sample) or effect.whole:
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
    form = effect.form if isinstance(effect, Summarise) else None
    if form is not None:
        plain = replace(plain, attempts=Attempts())  # it may run beside the call, whose attempts are its own
    out = plain.outgoing(effect.request)
    model, kwargs = _silent(out.model), out.kwargs
    if form is not None:
        model, kwargs = formed(model, kwargs, form)
    return replace(out, model=model, kwargs=kwargs)


def _message(role: str, text: str) -> BaseMessage:
    return SystemMessage(text) if role == "system" else HumanMessage(text)


def _silent(model: BaseChatModel) -> BaseChatModel:
    """The client without handlers of its own and without streaming."""
    changes: dict[str, Any] = {"callbacks": None, "disable_streaming": True}
    if "streaming" in type(model).model_fields:
        changes["streaming"] = False
    return model.model_copy(update=changes)
