"""The public API as a type checker sees it in somebody's code. Checked by pyright, never run.

What must keep its type: a governed graph is still the graph it was, a governed function still has its signature, a
wrapped model is still a chat model, and a refusal's reason can be read without a cast.
"""

from typing import TypedDict, assert_type

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from governor import CallDenied, PolicyError, Reason, Refused, RunStopped, Usage, Verdict
from governor.stores.memory import MemoryStore
from governor_langgraph import GovernorMiddleware, GovernorReport, govern, governed, wrap_model


class State(TypedDict):
    """The state of somebody's graph."""

    question: str


def answer(state: State) -> State:
    return state


def build() -> CompiledStateGraph[State, None, State, State]:
    builder = StateGraph(State)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile()


def a_governed_graph_keeps_its_type() -> None:
    graph = build()
    app = govern(graph, policy="policies/support.yaml")

    assert_type(app, CompiledStateGraph[State, None, State, State])


def a_graph_that_is_not_compiled_is_compiled_first() -> None:
    builder = StateGraph(State)
    app = govern(builder, policy="policies/support.yaml")

    assert_type(app, CompiledStateGraph[State, None, State, State])


@governed("policies/support.yaml")
def build_for(tenant: str, *, verbose: bool = False) -> CompiledStateGraph[State, None, State, State]:
    return build()


def a_governed_function_keeps_its_signature() -> None:
    assert_type(build_for("acme", verbose=True), CompiledStateGraph[State, None, State, State])
    build_for(1)  # pyright: ignore[reportArgumentType]


@governed({"governor": 1, "name": "inline"})
async def build_later(tenant: str) -> CompiledStateGraph[State, None, State, State]:
    return build()


async def a_governed_coroutine_function_is_awaited_as_before() -> None:
    assert_type(await build_later("acme"), CompiledStateGraph[State, None, State, State])


@tool
def search(query: str) -> str:
    """Search."""
    return query


def middleware_fits_create_agent(model: BaseChatModel) -> None:
    create_agent(model, tools=[search], middleware=[GovernorMiddleware("policies/support.yaml")])


def a_wrapped_model_is_a_chat_model(model: BaseChatModel) -> BaseChatModel:
    return wrap_model(model, policy="policies/support.yaml")


def a_report_is_handed_to_a_function(seen: list[GovernorReport]) -> None:
    govern(build(), policy="policies/support.yaml", on_report=seen.append)


def two_graphs_share_one_store() -> None:
    store = MemoryStore()
    govern(build(), policy="policies/support.yaml", store=store)
    govern(build(), policy="policies/support.yaml", store=store)


def a_refusal_says_why() -> None:
    app = govern(build(), policy="policies/support.yaml")
    try:
        app.invoke({"question": "?"})
    except RunStopped as stopped:
        assert_type(stopped.reason, Reason)
        assert_type(stopped.partial, object)
    except CallDenied as denied:
        assert_type(denied.reason.limit, str | None)
    except Refused as refused:
        assert_type(refused.reason.code, str)


def a_policy_error_says_where(error: PolicyError) -> None:
    assert_type(error.line, int | None)
    assert_type(error.column, int | None)


def usage_is_counted_in_integers(usage: Usage) -> None:
    assert_type(usage.output, int)


def verdicts_are_words() -> None:
    assert_type(Verdict("deny"), Verdict)
