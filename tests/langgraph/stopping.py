"""Graphs that would go on for ever and swallow what they can, to be put inside of other graphs: the rows of the stop matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware, ToolRetryMiddleware
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import RetryPolicy, Send

from tests.langgraph.fakes import Whole, calling

TURNS = 12
"""After so many turns a graph ends by itself, so that a stop that was lost fails the test instead of hanging it."""
RETRY: Any = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False, retry_on=Exception)


def chatter(*, same: bool) -> Callable[[list[BaseMessage]], str]:
    """Says something new at each turn, or the same for ever."""
    return lambda messages: "still the same" if same else f"thought {len(messages)}"


def worker(*, same: bool) -> Callable[[list[BaseMessage]], AIMessage | str]:
    """Asks for a tool at each turn."""

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        done = sum(isinstance(message, ToolMessage) for message in messages)
        return "the end" if done >= TURNS else calling("work", {"q": "x" if same else str(done)}, call_id=f"w{done}")

    return rule


def loop(node: Any, **options: Any) -> Any:
    """A node that is run again and again."""
    graph = StateGraph(MessagesState)
    graph.add_node("work", node, **options)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", lambda state: END if len(state["messages"]) > TURNS else "work", [END, "work"])
    return graph.compile()


def calls(model: Any) -> Any:
    async def awork(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def work(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    from langgraph._internal._runnable import RunnableCallable

    return RunnableCallable(work, awork, name="work")


def plain(model: Whole) -> Any:
    return loop(calls(model))


def swallows(model: Whole) -> Any:
    def work(state: MessagesState) -> dict[str, Any]:
        try:
            return {"messages": [model.invoke(state["messages"])]}
        except Exception as error:
            return {"messages": [HumanMessage(type(error).__name__)]}

    return loop(work)


def retried(model: Whole) -> Any:
    return loop(calls(model), retry_policy=RETRY)


def handled(model: Whole) -> Any:
    return loop(calls(model), error_handler=lambda state: {"messages": [HumanMessage("handled")]})


def fallbacks(model: Whole) -> Any:
    return loop(calls(model.with_fallbacks([model.model_copy(), model.model_copy()])))


def retries(model: Whole) -> Any:
    return loop(calls(model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)))


def siblings(model: Whole) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("work", calls(model))
    graph.add_node("again", lambda state: {"messages": []})

    def spread(state: Any) -> Any:  # three messages a turn, which count as one repetition: they are asked for at once
        return END if len(state["messages"]) > 3 * TURNS else [Send("work", state) for _ in range(3)]

    graph.add_edge(START, "again")
    graph.add_conditional_edges("again", spread, ["work", END])
    graph.add_edge("work", "again")
    return graph.compile()


@tool
def quiet(q: str) -> str:
    """Work."""
    return f"done {q}"


quiet.name = "work"


def tool_errors(model: Whole, *, same: bool) -> Any:
    """The model is asked inside of a tool whose errors become messages."""

    @tool
    def work(q: str) -> str:
        """Work."""
        return str(model.invoke([HumanMessage(q)]).text)

    asks = Whole(rule=worker(same=same), calls=model.calls)
    graph = StateGraph(MessagesState)
    graph.add_node("agent", calls(asks.bind_tools([work])))
    graph.add_node("work", ToolNode([work], handle_tool_errors=True))
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", tools_condition, {"tools": "work", END: END})
    graph.add_edge("work", "agent")
    return graph.compile()


def agent_with(*middleware: Any) -> Callable[[Whole], Any]:
    return lambda model: create_agent(model, [quiet], middleware=list(middleware))


def model_retry(model: Whole) -> Any:
    return agent_with(ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False))(model)


def model_fallback(model: Whole) -> Any:
    return agent_with(ModelFallbackMiddleware(model.model_copy(), model.model_copy()))(model)


def tool_retry(model: Whole) -> Any:
    return agent_with(ToolRetryMiddleware(max_retries=2, initial_delay=0, jitter=False))(model)


CHATTERS: dict[str, Callable[[Whole], Any]] = {
    each.__name__: each for each in (plain, swallows, retried, handled, fallbacks, retries, siblings)
}
AGENTS: dict[str, Callable[[Whole], Any]] = {each.__name__: each for each in (model_retry, model_fallback, tool_retry)}
BODIES = (*CHATTERS, *AGENTS, "tool_errors")


def build(body: str, model: Whole, *, same: bool) -> Any:
    """The graph of that name; `same`: its model repeats itself."""
    return tool_errors(model, same=same) if body == "tool_errors" else {**CHATTERS, **AGENTS}[body](model)


# --- around them ------------------------------------------------------------------------------------------------------


def as_node(inner: Any, **options: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("child", inner)
    graph.add_edge(START, "child")
    return graph.compile(**options)


def in_function(inner: Any, **options: Any) -> Any:
    def call(state: MessagesState) -> dict[str, Any]:
        return {"messages": inner.invoke({"messages": state["messages"]})["messages"]}

    graph = StateGraph(MessagesState)
    graph.add_node("call", call)
    graph.add_edge(START, "call")
    return graph.compile(**options)


def in_tool(inner: Any, **options: Any) -> Any:
    @tool
    def deeper(q: str) -> str:
        """Go deeper."""
        return str(inner.invoke({"messages": [HumanMessage(q)]})["messages"][-1].text)

    graph = StateGraph(MessagesState)
    graph.add_node("plan", lambda state: {"messages": [calling("deeper", {"q": "go"}, call_id="d1")]})
    graph.add_node("tools", ToolNode([deeper]))
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "tools")
    return graph.compile(**options)


AROUND: dict[str, Callable[..., Any]] = {"node": as_node, "function": in_function, "tool": in_tool}


def nested(body: Any, around: tuple[str, ...], **options: Any) -> Any:
    """`body` inside of graphs, the innermost named last."""
    for name in reversed(around[1:]):
        body = AROUND[name](body)
    return AROUND[around[0]](body, **options) if around else body.copy(update=options)
