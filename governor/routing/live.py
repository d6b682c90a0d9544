"""What is known of a live model call, as estimators read it: the same features that are recorded and learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.routing.estimate import DELTA_CHARS, StepFeatures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.calls import Message, ModelCall
    from governor.runs import RunState

__all__ = ["added_tokens", "live_step", "pending_results"]

_LOOKED_BACK = 64
"""Messages that are looked at, from the newest: six calls and their results, and as many parallel ones."""
_RECENT = 6


def live_step(state: RunState, call: ModelCall) -> StepFeatures:
    """The features of a call. `state` counts it already. Its cost does not grow with the history."""
    messages = call.history.messages
    recent = _tail(messages)
    newest = next((each for each in reversed(recent) if each.role in ("user", "tool")), None)
    errors = _errors(recent)
    delta = 0 if newest is None else newest.tokens
    signals = state.route.signals
    return StepFeatures(
        node=call.step.node,
        path=call.step.path,
        delta="" if newest is None else newest.text[:DELTA_CHARS],
        outcome=signals[0] if signals else "tool_error" if errors else "",
        errors=errors,
        repeats=_repeats(recent),
        step=max(0, state.model_calls - 1),
        pending_tool=(messages[-1].name or "") if messages and messages[-1].role == "tool" else "",
        structured=call.structured,
        prefix_tokens=max(0, call.history.tokens - delta) + sum([tool.tokens for tool in call.tools]),
        delta_tokens=delta,
    )


def pending_results(call: ModelCall) -> bool:
    """Whether the newest messages are results of tool calls that the last answer asked for: its model is in the middle of a turn."""
    recent = _tail(call.history.messages)
    if not recent or recent[-1].role != "tool":
        return False
    asked = next((each for each in reversed(recent) if each.role not in ("tool", "system")), None)
    if asked is None or asked.role != "assistant":
        return False
    return recent[-1].answers is None or any(use.id == recent[-1].answers for use in asked.tool_uses)


def added_tokens(call: ModelCall, after: str | None) -> int | None:
    """Tokens of the messages behind the one with this key; None where it is not in the history any more."""
    history = call.history
    position = history.index.get(after) if after is not None else None
    if position is None or position >= len(history.messages):
        return None
    return history.between(position + 1, len(history.messages))


def _tail(messages: Sequence[Message]) -> Sequence[Message]:
    count = len(messages)
    return messages[max(0, count - _LOOKED_BACK) : count]


def _errors(recent: Sequence[Message]) -> int:
    """Failed tool results in a row, the newest first; what the model said between them does not end the row."""
    count = 0
    for message in reversed(recent):
        if message.role == "tool":
            if not message.failed:
                return count
            count += 1
        elif message.role != "assistant":
            return count
    return count


def _repeats(recent: Sequence[Message]) -> int:
    """How many of the last six calls had been made among them before."""
    uses = [(use.name, repr(use.args)) for message in recent for use in message.tool_uses][-_RECENT:]
    return len(uses) - len(set(uses))
