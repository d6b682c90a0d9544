"""Agents that do not get anywhere, and what a run of theirs leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from tests.langgraph.fakes import Rule, calling, policy

__all__ = ["GIVEN", "NOTE", "PAGE", "answered", "ending", "notes", "rules", "stubborn", "unanswered"]

GIVEN: Any = {"messages": [("user", "what is x?")]}
NOTE = "Note from the run's governor"
PAGE = "A page with enough on it to be content rather than an acknowledgement. " * 4


def rules(**loops: Any) -> dict[str, Any]:
    """A policy that enforces this `loops` part and nothing else."""
    return policy(loops={"mode": "enforce", **loops})


def stubborn(tool: str = "search", args: Callable[[int], dict[str, Any]] = lambda n: {"q": "the same"}) -> Rule:
    """Asks for the same, whatever it is told; each call has an id of its own."""
    asked = iter(range(10_000))

    def rule(messages: list[BaseMessage]) -> AIMessage:
        turn = next(asked)
        return calling(tool, args(turn), call_id=f"c{turn}", text=f"Thought {turn}.")

    return rule


def ending(rule: Rule, after: str = NOTE) -> Rule:
    """The same, but it ends when the last thing it reads begins with `after`."""
    return lambda messages: "what I have" if messages[-1].text.startswith(after) else rule(messages)


def notes(messages: Sequence[BaseMessage]) -> list[int]:
    """Where in a request governor's notes stand."""
    return [at for at, message in enumerate(messages) if isinstance(message, HumanMessage) and NOTE in message.text]


def answered(messages: Sequence[BaseMessage]) -> list[ToolMessage]:
    """The answers of tools."""
    return [message for message in messages if isinstance(message, ToolMessage)]


def unanswered(messages: Sequence[BaseMessage]) -> set[str]:
    """Ids of calls without an answer and of answers without a call: what every provider rejects."""
    asked = {str(call["id"]) for message in messages for call in getattr(message, "tool_calls", ())}
    return asked ^ {message.tool_call_id for message in answered(messages)}
