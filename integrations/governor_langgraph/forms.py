"""Answers in a form: the one tool that a model has to call, in its client's own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.language_models import BaseChatModel

    from governor.calls import AnswerForm

__all__ = ["formed"]


def formed(model: BaseChatModel, kwargs: Mapping[str, Any], form: AnswerForm) -> tuple[BaseChatModel, dict[str, Any]]:
    """The client and the arguments that ask for the form. A client that takes no tools is asked in words alone: the answer is read as JSON.

    A client that cannot be made to call the tool is still offered it.
    """
    if form.temperature is not None and "temperature" in type(model).model_fields:
        model = model.model_copy(update={"temperature": form.temperature})
    function = {"name": form.name, "description": form.description, "parameters": dict(form.schema)}
    tool = {"type": "function", "function": function}
    for options in ({"tool_choice": form.name}, {}):
        try:
            bound = cast("Any", model).bind_tools([tool], **options)
        except (NotImplementedError, TypeError, ValueError):
            continue
        made = cast("Mapping[str, Any]", getattr(bound, "kwargs", {}))
        return model, {**kwargs, **{name: value for name, value in made.items() if value is not None}}
    return model, dict(kwargs)
