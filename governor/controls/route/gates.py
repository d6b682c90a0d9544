"""The look at an answer, cheapest sign first: what is wrong with it, in the policy's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.conforming import misfit, misfit_text
from governor.values import cheap

if TYPE_CHECKING:
    from governor.calls import ModelCall, ModelResponse

__all__ = ["Fault", "fault_of"]


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with an answer."""

    signal: str
    """A word of `routing.escalate.after`."""
    told: str = ""
    """What is wrong, for the model that is asked to repair it; empty where no words would help. Names places, quotes nothing."""


def fault_of(call: ModelCall, response: ModelResponse, *, failed: str | None = None) -> Fault | None:
    """What is wrong with an answer, the surest and cheapest sign first; None when nothing is.

    `failed`: the tool of a call in it that has failed before with the same arguments, nothing having gone well since.
    """
    return (
        _unreadable(call, response)
        or _misfitting(call, response)
        or _tried_before(failed)
        or _said_nothing(response)
        or None
    )


def _unreadable(call: ModelCall, response: ModelResponse) -> Fault | None:
    broken = next((use.name for use in response.tool_uses if use.args is None), None)
    if broken is not None:
        return Fault(signal="invalid_output", told=f"the arguments of its call of `{broken}` are not JSON")
    if response.invalid:
        return Fault(signal="invalid_output", told="it does not have the form that was asked for")
    words = response.text.strip()
    if call.form is None or response.tool_uses or not words or response.finish in ("refusal", "length"):
        return None
    wrong = misfit_text(words, call.form)
    return None if wrong is None else Fault(signal="invalid_output", told=wrong)


def _misfitting(call: ModelCall, response: ModelResponse) -> Fault | None:
    if not response.tool_uses:
        return None
    schemas = {tool.name: tool.schema for tool in call.tools}
    for use in response.tool_uses:
        schema = schemas.get(use.name)
        wrong = misfit(use.args, schema) if schema is not None else None
        if wrong is not None:
            return Fault(signal="invalid_arguments", told=f"in its call of `{use.name}` {wrong}")
    return None


def _tried_before(failed: str | None) -> Fault | None:
    if failed is None:
        return None
    told = f"its call of `{failed}` has failed before with the same arguments, and nothing has changed since"
    return Fault(signal="duplicate_call", told=told)


def _said_nothing(response: ModelResponse) -> Fault | None:
    if response.finish == "refusal":
        return Fault(signal="refusal")
    if not response.text.strip() and not response.tool_uses:
        return Fault(signal="cut_off" if response.finish == "length" else "empty")
    return Fault(signal="cut_off") if response.finish == "length" else None
