"""LangChain's own compaction, the real classes, on the recorded messages. Counting is the benchmark's; the summariser is a stub.

What is not in the prompt that a class makes is not in the figures: the summary has a fixed length whatever was removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, cast

from langchain.agents.middleware.context_editing import ClearToolUsesEdit
from langchain.agents.middleware.summarization import SummarizationMiddleware
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage

from tests.bench.context.accounting import Price, Request
from tests.bench.context.corpus import Item, Run

__all__ = ["clears", "summarises"]

_SUMMARY, _CLEARED = 316, 7
"""Tokens of a summary and of a cleared result, as messages (design notes, simulator)."""


def _messages(run: Run) -> list[BaseMessage]:
    return [_message(position, message) for position, message in enumerate(run.messages)]


def _message(position: int, message: Any) -> BaseMessage:
    text, key = message.get("content") or "", str(position)
    if message["role"] == "user":
        return HumanMessage(text, id=key)
    if message["role"] == "tool":
        return ToolMessage(text, id=key, tool_call_id=message["tool_call_id"], name=message.get("name"))
    calls = [
        {"id": call["id"], "name": call["function"]["name"], "args": _arguments(call["function"]["arguments"])}
        for call in message.get("tool_calls") or []
    ]
    return AIMessage(text, id=key, tool_calls=cast("Any", calls))


def _arguments(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return {"text": text}
    return parsed if isinstance(parsed, dict) else {"value": parsed}


class _Counter:
    """Counts messages as the benchmark does, by their id."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._cleared: dict[str, Item] = {}
        self._summaries: dict[str, Item] = {}

    def item(self, message: BaseMessage) -> Item:
        key = str(message.id)
        if not key.isdigit():
            return self._summaries.setdefault(key, Item(_SUMMARY, role="user"))
        if message.response_metadata.get("context_editing"):
            return self._cleared.setdefault(key, Item(_CLEARED, role="tool"))
        return self._run.items[int(key)]

    def __call__(self, messages: Sequence[BaseMessage]) -> int:
        return sum(self.item(message).tokens for message in messages)


def clears(trigger: int) -> Callable[[Run, Price], list[Request]]:
    """`ClearToolUsesEdit`: the three latest tool results stay. Applied to each request anew, as its middleware does."""

    def strategy(run: Run, _: Price) -> list[Request]:
        count, edit = _Counter(run), ClearToolUsesEdit(trigger=trigger)
        every, requests = _messages(run), list[Request]()
        for at in run.calls:
            messages = list(every[:at])
            edit.apply(cast("Any", messages), count_tokens=cast("Any", count))
            requests.append(Request([run.static, *map(count.item, messages)], (0, at)))
        return requests

    return strategy


def summarises(trigger: int, keep: int = 20) -> Callable[[Run, Price], list[Request]]:
    """`SummarizationMiddleware`: what precedes the latest messages becomes a summary that stays in the graph's state."""

    def strategy(run: Run, _: Price) -> list[Request]:
        count = _Counter(run)
        middleware = cast("Any", SummarizationMiddleware)(
            FakeListChatModel(responses=["What happened so far."]),
            trigger=("tokens", trigger),
            keep=("messages", keep),
            token_counter=count,
            trim_tokens_to_summarize=None,  # it changes what the summariser reads, not what the agent does
        )
        every, state, requests, done = _messages(run), list[BaseMessage](), list[Request](), 0
        for at in run.calls:
            state, done, summaries = [*state, *every[done:at]], at, []
            before = count(state)
            update = middleware.before_model({"messages": state}, None)
            if update is not None:
                state = [message for message in update["messages"] if not isinstance(message, RemoveMessage)]
                for message in state:
                    message.id = message.id or f"summary {at}"
                summaries = [(before - count(state) + _SUMMARY, False, 0)]
            items = [run.static, *map(count.item, state)]
            requests.append(Request(items, (0, len(items) - 1), summaries, "summary" if summaries else ""))
        return requests

    return strategy
