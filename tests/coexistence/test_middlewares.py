"""Among other middleware, before it or after it: the agent does what it did without governor, and every provider call is counted once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from governor.stores.memory import MemoryStore
from governor_langgraph import GovernorMiddleware, govern
from tests.langgraph.fakes import Calls, Streaming, Whole, calling, policy

GIVEN: Any = {"messages": [("user", "look for me@example.com")]}
CONFIG: Any = {"configurable": {"thread_id": "t"}}
POLICY = policy(
    identity={"org": "acme"},
    budgets=[{"id": "all", "scope": "org", "limit": {"model_calls": 1_000, "tool_calls": 1_000}}],
)


class Ground:
    """One agent's surroundings: what was asked of models and tools."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.bodies: list[str] = []
        self.failures: list[str] = []

    def model(self, name: str = "main", *, fails: int = 0) -> Streaming:
        def rule(messages: list[BaseMessage]) -> AIMessage | str:
            if self.failures.count(name) < fails:
                self.failures.append(name)
                raise ConnectionError(name)
            if any(isinstance(message, ToolMessage) for message in messages):
                return f"the end, said by {name}"
            return calling("search", {"q": messages[-1].text})

        return Streaming(rule=rule, model_name=name, calls=self.calls)

    def tool(self, *, fails: int = 0) -> Any:
        @tool
        def search(q: str) -> str:
            """Search."""
            self.bodies.append(q)
            if len(self.bodies) <= fails:
                raise ConnectionError(q)
            return f"found {q}"

        return search


class Case:
    """An agent with one other middleware."""

    def __init__(self, middleware: Callable[[Ground], Any], *, fails: int = 0, tool_fails: int = 0) -> None:
        self.middleware, self.fails, self.tool_fails = middleware, fails, tool_fails

    def build(self, g: Ground, ours: list[Any], where: str) -> Any:
        other = self.middleware(g)
        among = [*ours, other] if where == "before" else [other, *ours]
        model, search = g.model(fails=self.fails), g.tool(fails=self.tool_fails)
        return create_agent(model, [search], middleware=among, checkpointer=InMemorySaver())


def _summary(g: Ground) -> Any:
    model = Whole(rule=lambda _: "in short", model_name="summariser", calls=g.calls)
    return SummarizationMiddleware(model=model, trigger=("messages", 3), keep=("messages", 2))


class Own(AgentMiddleware[Any, Any, Any]):
    """What users write: both kinds of hooks, and a model call of its own."""

    def __init__(self, g: Ground) -> None:
        super().__init__()
        self.model = Whole(rule=lambda _: "fine", model_name="judge", calls=g.calls)

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        self.model.invoke("may it?")
        return handler(request)

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        await self.model.ainvoke("may it?")
        return await handler(request)

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return await handler(request)


CASES = {
    "model retry": Case(lambda g: ModelRetryMiddleware(max_retries=3, initial_delay=0, jitter=False), fails=2),
    "model fallback": Case(lambda g: ModelFallbackMiddleware(g.model("other")), fails=99),
    "tool retry": Case(lambda g: ToolRetryMiddleware(max_retries=3, initial_delay=0, jitter=False), tool_fails=2),
    "pii": Case(lambda g: PIIMiddleware("email", strategy="redact", apply_to_input=True)),
    "human in the loop": Case(lambda g: HumanInTheLoopMiddleware(interrupt_on={"search": True})),
    "call limit": Case(lambda g: ModelCallLimitMiddleware(run_limit=1)),
    "summarization": Case(_summary),
    "user's own": Case(Own),
}
REACHED_BY_NODES_ONLY = ("summarization",)
"""It calls its model in a node of its own, where a middleware has no say."""


async def run(app: Any, way: str) -> list[Any]:
    """The conversation, with whatever a person is asked on the way approved."""
    result = app.invoke(GIVEN, CONFIG) if way == "invoke" else await app.ainvoke(GIVEN, CONFIG)
    while result.get("__interrupt__"):
        answer: Any = Command(resume={"decisions": [{"type": "approve"}]})
        result = app.invoke(answer, CONFIG) if way == "invoke" else await app.ainvoke(answer, CONFIG)
    return [(message.type, message.text) for message in result["messages"]]


def spent(store: MemoryStore) -> dict[str, int]:
    found = {balance.unit.value: balance.spent for balance in store.balances()}
    assert all(balance.reserved == 0 for balance in store.balances())
    return found


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("name", CASES)
async def test_governors_middleware_among_others(name: str, where: str, way: str) -> None:
    plain, ground, store = Ground(), Ground(), MemoryStore()

    expected = await run(CASES[name].build(plain, [], where), way)
    ours = GovernorMiddleware(POLICY, store=store)
    result = await run(CASES[name].build(ground, [ours], where), way)

    assert expected == result
    assert plain.calls.models == ground.calls.models
    assert plain.bodies == ground.bodies
    asked = list(ground.calls.models)
    if name in REACHED_BY_NODES_ONLY:
        asked = [model for model in asked if model == "main"]
    if name == "user's own" and where == "after":
        asked = [model for model in asked if model != "judge"]  # it is called outside of ours
    assert len(asked) == spent(store)["model_calls"]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@pytest.mark.parametrize("name", CASES)
async def test_a_governed_agent_with_middleware(name: str, way: str) -> None:
    plain, ground, store = Ground(), Ground(), MemoryStore()

    expected = await run(CASES[name].build(plain, [], "before"), way)
    result = await run(govern(CASES[name].build(ground, [], "before"), POLICY, store=store), way)

    assert expected == result
    assert plain.calls.models == ground.calls.models
    assert plain.bodies == ground.bodies
    # Attempts of one tool call, inside of a middleware that retries it, are that one call.
    assert {"model_calls": len(ground.calls), "tool_calls": len(set(ground.bodies))} == spent(store)


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("name", CASES)
async def test_a_governed_agent_with_governors_middleware_too_counts_once(name: str, where: str) -> None:
    ground, store = Ground(), MemoryStore()
    ours = GovernorMiddleware(POLICY, store=store)

    await run(govern(CASES[name].build(ground, [ours], where), ours.governor), "invoke")

    # Attempts of one tool call, inside of a middleware that retries it, are that one call.
    assert {"model_calls": len(ground.calls), "tool_calls": len(set(ground.bodies))} == spent(store)
