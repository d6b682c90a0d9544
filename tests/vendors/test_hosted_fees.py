"""Fees of the providers' own tools, through the real client classes, on answers of the wire's shape."""

import json
from importlib import import_module
from typing import Any, cast

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph

import governor_anthropic
import governor_bedrock
from governor import RunStopped
from governor.fees import HostedTool
from governor.stores.memory import MemoryStore
from governor_langgraph import generic, govern
from tests.langgraph import graphs
from tests.langgraph.fakes import policy

GIVEN: Any = {"messages": [("user", "what is new?")]}
SEARCH: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search"}
FEES = policy(budgets=[{"id": "b", "scope": "run", "limit": {"fees": 1}}])
USE = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
RESULT = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}


class Provider:
    """Answers every request alike, and keeps what was asked."""

    def __init__(self, answer: bytes, kind: str = "application/json") -> None:
        self.answer, self.kind = answer, kind
        self.asked: list[dict[str, Any]] = []


def answered_by(provider: Provider, client: Any) -> None:
    """No request of the SDK's client leaves the process, whatever proxy the environment names."""
    library: Any = import_module(type(client._transport).__module__.partition(".")[0])  # httpx, or its successor

    def answer(request: Any) -> Any:
        provider.asked.append(json.loads(request.content))
        return library.Response(200, content=provider.answer, headers={"content-type": provider.kind})

    client._transport = library.MockTransport(answer)
    client._mounts = {}


def anthropic(provider: Provider, **more: Any) -> ChatAnthropic:
    model = ChatAnthropic(model="claude-sonnet-4-6", max_tokens=100, max_retries=0, api_key="k", **more)  # pyright: ignore[reportCallIssue] - aliases
    answered_by(provider, model._client._client)
    return model


def openai(provider: Provider, **more: Any) -> ChatOpenAI:
    model = ChatOpenAI(model="gpt-5", max_retries=0, api_key="k", **more)  # pyright: ignore[reportArgumentType] - a plain key
    answered_by(provider, model.root_client._client)
    return model


def anthropic_answer(searches: int) -> bytes:
    usage = {"input_tokens": 10, "output_tokens": 5, "server_tool_use": {"web_search_requests": searches}}
    said = [USE, RESULT, {"type": "text", "text": "news"}]
    return json.dumps(
        {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-6",
            "content": said,
            "usage": usage,
        }
        | {"stop_reason": "end_turn", "stop_sequence": None}
    ).encode()


def anthropic_stream() -> bytes:
    """One search, then text; its usage has the search, which LangChain's client drops."""
    message = {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6", "content": []}
    ended = {"output_tokens": 5, "server_tool_use": {"web_search_requests": 1}}
    query = {"type": "input_json_delta", "partial_json": '{"query": "news"}'}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "usage": {"input_tokens": 10, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": USE},
        {"type": "content_block_delta", "index": 0, "delta": query},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": RESULT},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "news"}},
        {"type": "content_block_stop", "index": 2},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": ended},
        {"type": "message_stop"},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def openai_answer(*items: dict[str, Any]) -> bytes:
    text = {"type": "output_text", "text": "news", "annotations": []}
    said = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [text]}
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    body = {"id": "r", "object": "response", "created_at": 1, "model": "gpt-5", "status": "completed", "tools": []}
    body |= {"output": [*items, said], "usage": usage | details, "tool_choice": "auto", "parallel_tool_calls": True}
    return json.dumps(body).encode()


def searched(name: str, action: str = "search") -> dict[str, Any]:
    about = {"search": {"query": "news"}, "open_page": {"url": "https://example.com"}}[action]
    return {"type": "web_search_call", "id": name, "status": "completed", "action": {"type": action, **about}}


def interpreted(name: str, container: str) -> dict[str, Any]:
    ran = {"code": "1", "container_id": container, "outputs": [], "status": "completed"}
    return {"type": "code_interpreter_call", "id": name, **ran}


FOUND = {"type": "file_search_call", "id": "f1", "status": "completed", "queries": ["news"], "results": None}


def spent(model: Any, rules: Any = FEES, *, stream: bool = False) -> int:
    store = MemoryStore()
    app = govern(graphs.function_node(model), rules, store=store)
    if stream:
        list(app.stream(GIVEN, stream_mode="messages"))
    else:
        app.invoke(GIVEN)
    (balance,) = store.balances("b/")
    assert 0 == balance.reserved
    return balance.spent


def test_the_searches_that_anthropic_reports_are_charged() -> None:
    provider = Provider(anthropic_answer(3))

    assert 30_000_000 == spent(anthropic(provider).bind_tools([SEARCH]))
    assert [{**SEARCH, "max_uses": 5}] == provider.asked[0]["tools"]


def test_the_searches_that_a_stream_of_anthropics_shows_are_charged() -> None:
    provider = Provider(anthropic_stream(), "text/event-stream")

    assert 10_000_000 == spent(anthropic(provider).bind_tools([SEARCH]), stream=True)
    assert provider.asked[0]["stream"] is True


def test_a_limit_of_the_users_own_is_sent_as_it_is() -> None:
    provider = Provider(anthropic_answer(1))

    spent(anthropic(provider).bind_tools([{**SEARCH, "max_uses": 9}]))

    assert 9 == provider.asked[0]["tools"][0]["max_uses"]


def test_without_a_limit_in_money_the_request_is_what_user_code_made_it() -> None:
    plain, governed = Provider(anthropic_answer(1)), Provider(anthropic_answer(1))
    graphs.function_node(cast("Any", anthropic(plain).bind_tools([SEARCH]))).invoke(GIVEN)

    govern(graphs.function_node(cast("Any", anthropic(governed).bind_tools([SEARCH]))), policy()).invoke(GIVEN)

    assert plain.asked == governed.asked


@pytest.mark.parametrize("version", ["v0", "responses/v1", "v1"])
def test_the_calls_in_an_answer_of_openais_are_charged(version: str) -> None:
    ran = (interpreted("c1", "k"), interpreted("c2", "k"))
    provider = Provider(openai_answer(searched("w1"), searched("w2"), searched("w3", "open_page"), FOUND, *ran))
    offered: list[dict[str, Any]] = [
        {"type": "web_search"},
        {"type": "file_search", "vector_store_ids": ["v"]},
        {"type": "code_interpreter", "container": {"type": "auto"}},
    ]

    fees = spent(openai(provider, output_version=version).bind_tools(offered))

    assert 2 * 10_000_000 + 2_500_000 + 30_000_000 == fees
    assert 5 == provider.asked[0]["max_tool_calls"]


def test_the_tool_whose_bill_nobody_knows_is_refused_before_anything_is_sent() -> None:
    provider = Provider(anthropic_answer(0))
    model: Any = anthropic(provider).bind_tools([{"type": "code_execution_20250825", "name": "code_execution"}])

    with pytest.raises(RunStopped, match="code_execution"):
        govern(graphs.function_node(model), policy(on_exhausted="stop", budgets=FEES["budgets"])).invoke(GIVEN)
    assert [] == provider.asked


def test_tools_that_the_caller_runs_are_none_of_the_providers() -> None:
    own = [
        {"name": "f", "input_schema": {}},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "custom", "name": "g"},
    ]

    assert () == governor_anthropic.hosted(anthropic(Provider(b"")), {"tools": own})


def test_a_system_tool_of_bedrocks_has_an_unknown_fee() -> None:
    tools = [{"toolSpec": {"name": "f"}}, {"systemTool": {"name": "nova_grounding"}}]

    assert (HostedTool(name="nova_grounding", fee=None),) == governor_bedrock.hosted(
        cast("Any", None), {"tools": tools}
    )


@pytest.mark.parametrize(
    ("model", "expected", "uses"),
    [
        ("gemini-2.5-flash", HostedTool(name="google_search", fee=35_000_000, uses=1), 1),
        ("gemini-3-pro", HostedTool(name="google_search", fee=14_000_000), 2),
    ],
)
def test_grounding_is_billed_by_prompt_up_to_gemini_2_and_by_query_from_then_on(
    model: str, expected: HostedTool, uses: int
) -> None:
    google = pytest.importorskip("langchain_google_genai")
    client = google.ChatGoogleGenerativeAI(model=model, api_key="k")
    bound = client.bind_tools([{"google_search": {}}])
    queries = {"web_search_queries": ["a", "b"]}
    answer = AIMessage("news", response_metadata={"grounding_metadata": queries, "model_name": model})

    assert (expected,) == generic.hosted(client, bound.kwargs)
    assert uses == generic.hosted_uses(answer)["google_search"]


def test_a_stream_that_its_reader_left_is_charged_every_search_that_it_was_allowed() -> None:
    model: Any = anthropic(Provider(anthropic_stream(), "text/event-stream")).bind_tools([SEARCH])

    def leaves(state: MessagesState) -> dict[str, Any]:
        stream = model.stream(state["messages"])
        next(stream)
        stream.close()
        return {}

    graph = StateGraph(MessagesState)
    graph.add_node("agent", leaves)
    graph.add_edge(START, "agent")
    store = MemoryStore()
    govern(cast("Any", graph.compile()), FEES, store=store).invoke(GIVEN)

    (balance,) = store.balances("b/")
    assert (50_000_000, 0) == (balance.spent, balance.reserved)
