"""What made-up graphs work on: a state, and a world of models and counters that remembers every body that ran."""

from __future__ import annotations

import operator
import threading
from collections import Counter
from typing import Annotated

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.message import add_messages
from langgraph.managed import RemainingSteps
from langgraph.store.memory import InMemoryStore
from typing_extensions import TypedDict

from tests.langgraph.fakes import Streaming, calling


class State(TypedDict, total=False):
    """What every made-up graph works on."""

    log: Annotated[list[str], operator.add]
    count: Annotated[int, operator.add]
    messages: Annotated[list[AnyMessage], add_messages]
    left: RemainingSteps


class World:
    """One way of running a specification: its models, its counters, its infrastructure."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.bodies: list[str] = []
        self.attempts: Counter[str] = Counter()
        self.model = Streaming(rule=_rule)
        self.saver, self.store, self.cache = InMemorySaver(), InMemoryStore(), InMemoryCache()

        @tool
        def search(q: str) -> str:
            """Search."""
            self.ran("search")
            return f"found {q}"

        self.search = search

    def ran(self, name: str) -> None:
        with self.lock:
            self.bodies.append(name)

    def attempt(self, name: str) -> int:
        with self.lock:
            self.attempts[name] += 1
            return self.attempts[name]


def _rule(messages: list[BaseMessage]) -> AIMessage | str:
    if isinstance(messages[-1], ToolMessage):
        return f"so {messages[-1].text}"
    return calling("search", {"q": "x"}) if "search" in str(messages[-1].text) else f"about {messages[-1].text}"
