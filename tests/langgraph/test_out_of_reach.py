"""Calls that pass by every method of LangChain's: refused under strict mediation, reported under lenient."""

from __future__ import annotations

import asyncio
import contextvars
import http.client
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from langchain_core.callbacks import CallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake import FakeListLLM
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph

from governor import CallDenied
from governor.stores.memory import MemoryStore
from governor_langgraph import govern, hooks, watch
from governor_langgraph.transport import asks_a_model
from tests.langgraph.fakes import Streaming, policy
from tests.langgraph.matrix.ground import Completing, OwnGenerate, Seen
from tests.langgraph.test_enforcement import GIVEN, calls


def one_node(node: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile()


# --- who reports to LangChain alone -------------------------------------------------------------------------------------


def hidden(state: MessagesState) -> dict[str, Any]:
    CallbackManager.configure().on_chat_model_start({"id": ["x", "Hidden"]}, [[]])
    return {"messages": []}


def test_a_call_that_only_the_callbacks_tell_of_is_refused_and_named() -> None:
    with pytest.raises(CallDenied, match="Hidden") as denied:
        govern(one_node(hidden), policy()).invoke(GIVEN)

    assert "mediation.ungoverned" == denied.value.reason.code
    assert "strict" == denied.value.reason.limit


@pytest.mark.parametrize("lenient", [{"mode": "observe"}, {"mediation": "lenient"}])
def test_it_passes_where_the_policy_says_so(lenient: dict[str, Any]) -> None:
    assert 1 == len(govern(one_node(hidden), policy(**lenient)).invoke(GIVEN)["messages"])


# --- raw clients --------------------------------------------------------------------------------------------------------


def respond(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"sent": True})


def by_httpx(url: str) -> Callable[[MessagesState], dict[str, Any]]:
    def node(state: MessagesState) -> dict[str, Any]:
        httpx.Client(transport=httpx.MockTransport(respond)).post(url, json={})
        return {"messages": []}

    return node


def by_async_httpx(url: str) -> Callable[[MessagesState], Any]:
    async def node(state: MessagesState) -> dict[str, Any]:
        await httpx.AsyncClient(transport=httpx.MockTransport(respond)).post(url, json={})
        return {"messages": []}

    return node


COMPLETIONS = "https://api.openai.com/v1/chat/completions"


def test_a_raw_client_in_a_node_is_refused() -> None:
    with pytest.raises(CallDenied, match=r"api\.openai\.com/v1/chat/completions"):
        govern(one_node(by_httpx(COMPLETIONS)), policy()).invoke(GIVEN)


async def test_a_raw_async_client_in_a_node_is_refused() -> None:
    with pytest.raises(CallDenied, match=r"api\.openai\.com"):
        await govern(one_node(by_async_httpx(COMPLETIONS)), policy()).ainvoke(GIVEN)


def test_a_raw_client_over_the_standard_librarys_connection_is_refused() -> None:
    def node(state: MessagesState) -> dict[str, Any]:
        http.client.HTTPSConnection("bedrock-runtime.us-east-1.amazonaws.com").putrequest(
            "POST", "/model/nova/converse"
        )
        return {"messages": []}

    with pytest.raises(CallDenied, match="/model/nova/converse"):
        govern(one_node(node), policy()).invoke(GIVEN)


def test_a_raw_client_behind_a_proxy_is_known_by_whom_it_asks() -> None:
    def through_a_tunnel(state: MessagesState) -> dict[str, Any]:
        connection = http.client.HTTPSConnection("proxy.example")
        connection.set_tunnel("api.anthropic.com")
        connection.putrequest("POST", "/v1/messages")
        return {"messages": []}

    def by_its_whole_address(state: MessagesState) -> dict[str, Any]:
        http.client.HTTPConnection("proxy.example").putrequest("POST", "http://api.anthropic.com/v1/messages")
        return {"messages": []}

    for node in (through_a_tunnel, by_its_whole_address):
        with pytest.raises(CallDenied, match=r"api\.anthropic\.com/v1/messages"):
            govern(one_node(node), policy()).invoke(GIVEN)


def test_a_lenient_policy_lets_raw_clients_pass_and_an_embedding_always_passes() -> None:
    embeddings = "https://api.openai.com/v1/embeddings"

    govern(one_node(by_httpx(COMPLETIONS)), policy(mediation="lenient")).invoke(GIVEN)
    govern(one_node(by_httpx(embeddings)), policy()).invoke(GIVEN)


@pytest.mark.parametrize(
    ("method", "host", "path", "expected"),
    [
        ("POST", "gateway.example", "/openai/v1/chat/completions?api-version=1", True),
        ("POST", "api.anthropic.com", "/v1/messages", True),
        ("POST", "chat.example", "/v1/messages", False),
        ("POST", "bedrock-runtime.eu-west-1.amazonaws.com", "/model/amazon.nova-pro-v1%3A0/converse-stream", True),
        ("POST", "bedrock-runtime.eu-west-1.amazonaws.com", "/model/amazon.titan-embed-text-v2%3A0/invoke", False),
        ("POST", "generativelanguage.googleapis.com", "/v1beta/models/gemini-3-pro:generateContent", True),
        ("GET", "api.openai.com", "/v1/responses", False),
        ("POST", "api.openai.com", "/v1/responses", True),
        ("POST", "notapi.openai.com.example", "/v1/responses", False),
    ],
)
def test_requests_that_make_a_model_answer_are_told_from_others(
    method: str, host: str, path: str, expected: bool
) -> None:
    assert expected is asks_a_model(method, host, path)


# --- what is beside a governed run --------------------------------------------------------------------------------------


def test_outside_of_governed_runs_every_way_is_free() -> None:
    govern(one_node(lambda state: {"messages": []}), policy(nodes={"default": "deny"})).invoke(GIVEN)
    seen = Seen()

    assert "an answer" == FakeListLLM(responses=["an answer"]).invoke("x")
    assert "an answer" == OwnGenerate(rule=lambda messages: "an answer", calls=seen).invoke("x").text
    assert "an answer" == Completing(seen=seen).invoke("x")
    assert 200 == httpx.Client(transport=httpx.MockTransport(respond)).post(COMPLETIONS).status_code


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_threads_and_graphs_beside_a_governed_run_are_not_touched_and_two_runs_never_mix() -> None:
    """Two governed runs and one ungoverned graph at the same time, each in threads that know nothing of the others."""
    together = threading.Barrier(3)

    def node_of(model: BaseChatModel, count: int) -> Callable[[MessagesState], dict[str, Any]]:
        def node(state: MessagesState) -> dict[str, Any]:
            for _ in range(count):
                together.wait(timeout=30)
                worker = threading.Thread(target=model.invoke, args=("x",))
                worker.start()
                worker.join()
            return {"messages": []}

        return node

    models = [Streaming(rule=lambda messages: "an answer") for _ in range(3)]
    apps: list[Any] = [one_node(node_of(model, 5)) for model in models]
    apps[0] = govern(apps[0], policy(budgets=calls(3)))
    apps[1] = govern(apps[1], policy(budgets=calls(100)))
    reports: list[Any] = [None, None, None]

    def run(position: int) -> None:
        with watch() as runs:
            apps[position].invoke(GIVEN)
        reports[position] = runs

    threads = [threading.Thread(target=run, args=(position,)) for position in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [3, 5, 5] == [len(model.calls) for model in models]
    assert reports[0][0].stopped is not None
    assert 5 == reports[1][0].state.model_calls
    assert [] == reports[2]


def test_a_pools_worker_that_a_governed_run_started_serves_others_without_its_run() -> None:
    model = Streaming(rule=lambda messages: "an answer")
    workers = ThreadPoolExecutor(1)

    def node(state: MessagesState) -> dict[str, Any]:
        workers.submit(model.invoke, "x").result()
        return {"messages": []}

    with watch() as runs:
        govern(one_node(node), policy()).invoke(GIVEN)
    workers.submit(model.invoke, "x").result()
    workers.shutdown()

    assert 2 == len(model.calls)
    assert 1 == runs[0].state.model_calls


def test_user_code_in_a_thread_sees_the_context_that_it_would_see_without_governor() -> None:
    mine: contextvars.ContextVar[str] = contextvars.ContextVar("mine", default="nothing")
    seen: list[str] = []

    def node(state: MessagesState) -> dict[str, Any]:
        mine.set("something")
        worker = threading.Thread(target=lambda: seen.append(mine.get()))
        worker.start()
        worker.join()
        return {"messages": []}

    govern(one_node(node), policy()).invoke(GIVEN)

    assert ["nothing"] == seen


async def test_a_task_may_be_given_the_context_that_its_maker_runs_in_and_one_of_another_run_keeps_that() -> None:
    model = Streaming(rule=lambda messages: "an answer")
    kept: list[contextvars.Context] = []

    async def ask() -> Any:
        return await model.ainvoke("x")

    async def first(state: MessagesState) -> dict[str, Any]:
        kept.append(contextvars.copy_context())
        return {"messages": []}

    async def second(state: MessagesState) -> dict[str, Any]:
        empty = contextvars.Context()
        await empty.run(lambda: asyncio.get_running_loop().create_task(ask(), context=empty))  # entered right now
        await asyncio.create_task(ask(), context=kept[0])  # of the first run
        return {"messages": []}

    one, two = MemoryStore(), MemoryStore()
    await govern(one_node(first), policy(budgets=calls(9)), store=one).ainvoke(GIVEN)
    await govern(one_node(second), policy(budgets=calls(9)), store=two).ainvoke(GIVEN)

    assert 2 == len(model.calls)
    assert [1] == [balance.spent for balance in one.balances()]
    assert [1] == [balance.spent for balance in two.balances()]


def test_the_body_of_a_task_is_a_node_of_its_own_that_a_policy_may_deny() -> None:
    ran: list[str] = []

    @task
    def shell(command: str) -> str:
        ran.append(command)
        return "done"

    @entrypoint()
    def flow(given: dict[str, Any]) -> str:
        ran.append("flow")
        return shell("rm").result()

    denied = policy(nodes={"default": "deny", "rules": [{"id": "own", "node": "flow", "decide": "allow"}]})
    with watch() as runs:
        govern(flow, denied).invoke(GIVEN)

    assert ["flow"] == ran
    assert runs[0].stopped is not None
    assert "flow/shell" == runs[0].stopped.seen


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_prompts_given_to_a_completion_models_provider_method_are_calls_of_their_own(asynchronous: bool) -> None:
    """One reservation for a list of prompts would let their answers pass a limit as often as there are prompts."""
    seen = Seen()
    model = Completing(seen=seen)

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", each[0].text) for each in model._generate(["a"] * 5).generations]}

    async def anode(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", each[0].text) for each in (await model._agenerate(["a"] * 5)).generations]}

    with watch() as runs:
        if asynchronous:
            await govern(one_node(anode), policy(budgets=calls(3))).ainvoke(GIVEN)
        else:
            govern(one_node(node), policy(budgets=calls(3))).invoke(GIVEN)

    assert 3 == seen.provider
    assert runs[0].stopped is not None


async def test_a_task_beside_a_governed_run_is_not_touched() -> None:
    inside, outside = (Streaming(rule=lambda messages: "an answer") for _ in range(2))
    entered, leave = asyncio.Event(), asyncio.Event()

    async def node(state: MessagesState) -> dict[str, Any]:
        entered.set()
        await leave.wait()
        return {"messages": [await inside.ainvoke("x")]}

    with watch() as runs:
        running = asyncio.create_task(govern(one_node(node), policy()).ainvoke(GIVEN))
        await entered.wait()
        await outside.ainvoke("x")
        leave.set()
        await running

    assert (1, 1) == (len(inside.calls), len(outside.calls))
    assert 1 == runs[0].state.model_calls


def test_hooks_are_taken_out_again_and_put_back() -> None:
    class Late(Streaming):
        """Made while the hooks are in place, so that it is covered too."""

        def generate(self, *args: Any, **kwargs: Any) -> Any:
            return super().generate(*args, **kwargs)

    hooks.install()

    class Later(Late):
        def generate(self, *args: Any, **kwargs: Any) -> Any:
            return super().generate(*args, **kwargs)

    covered = [cls.__dict__["generate"] for cls in (Late, Later)]
    hooks.uninstall()
    plain = [cls.__dict__["generate"] for cls in (Late, Later)]
    hooks.install()

    assert all(hasattr(each, "__wrapped__") for each in covered)
    assert [each.__wrapped__ for each in covered] == plain
    assert not any(hasattr(each, "__wrapped__") for each in plain)
