"""`wrap_model`: the policy around a chat model, for code outside of graphs."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel

from governor import RunStopped
from governor.stores.memory import MemoryStore
from governor_langgraph import govern, wrap_model
from tests.langgraph import graphs
from tests.langgraph.fakes import Runs, Streaming, Whole, once, policy
from tests.langgraph.test_enforcement import GIVEN, calls


@pytest.mark.parametrize("kind", [Whole, Streaming])
async def test_a_wrapped_model_is_called_once_and_streams_every_token_once(kind: type[Whole]) -> None:
    bare, model = kind(rule=lambda messages: "one two three"), kind(rule=lambda messages: "one two three")
    wrapped = wrap_model(model, policy())

    async def everything(chat: BaseChatModel) -> Any:
        seen = Runs()
        options: Any = {"callbacks": [seen]}
        texts = [
            str(chat.invoke("x", options).text),
            str((await chat.ainvoke("x", options)).text),
            [str(chunk.text) for chunk in chat.stream("x", options)],
            [str(chunk.text) async for chunk in chat.astream("x", options)],
            [str(answer.text) for answer in chat.batch(["x", "y"], options)],
        ]
        return texts, len(seen.starts), seen.ends, seen.tokens

    assert await everything(bare) == await everything(wrapped)
    assert len(bare.calls) == len(model.calls)


async def test_a_wrapped_models_budget_holds_in_every_way_of_calling_it() -> None:
    model = Streaming(rule=lambda messages: "an answer")
    wrapped = wrap_model(model, policy(budgets=calls(4)))
    wrapped.invoke("x")
    await wrapped.ainvoke("x")
    list(wrapped.stream("x"))
    [chunk async for chunk in wrapped.astream("x")]

    for call in (lambda: wrapped.invoke("x"), lambda: list(wrapped.stream("x"))):
        with pytest.raises(RunStopped):
            call()

    assert 4 == len(model.calls)


def test_a_wrapped_model_binds_tools_without_leaving_the_policy() -> None:
    model = Streaming(rule=once("search", {"q": "x"}))
    wrapped = wrap_model(model, policy(budgets=calls(1))).bind_tools([graphs.search])

    answer = wrapped.invoke("x")

    assert "search" == answer.tool_calls[0]["name"]
    assert "search" == model.calls.seen[0][2]["tools"][0]["function"]["name"]
    with pytest.raises(RunStopped):
        wrapped.invoke("x")


def test_a_wrapped_model_has_a_run_per_thread() -> None:
    model = Streaming(rule=lambda messages: "an answer")
    wrapped = wrap_model(model, policy(budgets=calls(1)))

    for thread in ("a", "b"):
        wrapped.invoke("x", {"metadata": {"thread_id": thread}})

    assert 2 == len(model.calls)
    with pytest.raises(RunStopped):
        wrapped.invoke("x", {"metadata": {"thread_id": "a"}})


def test_a_wrapped_model_in_a_governed_graph_counts_once_per_policy() -> None:
    model, outer = Streaming(rule=lambda messages: "an answer"), MemoryStore()
    seen = Runs()
    wrapped = wrap_model(model, policy(name="inner", budgets=calls(9)), store=(inner := MemoryStore()))
    app = govern(graphs.function_node(wrapped), policy(name="outer", budgets=calls(9)), store=outer)

    app.invoke(GIVEN, {"callbacks": [seen]})

    assert 1 == len(model.calls) == len(seen.starts)
    assert [1] == [balance.spent for balance in inner.balances()]
    assert [1] == [balance.spent for balance in outer.balances()]
