"""The body that an older client puts on the wire holds the limit that was reserved and no other, whatever the family spells it."""

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
from langchain_anthropic.llms import AnthropicLLM
from langchain_aws import BedrockLLM, ChatBedrock
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import OpenAI
from langgraph.graph import START, MessagesState, StateGraph

from governor.errors import ConfigurationError
from governor.stores.memory import MemoryStore
from governor_langgraph import govern
from governor_langgraph.vendors import vendor_of
from tests.vendors.clients import session

ChatGoogleGenerativeAI: Any = pytest.importorskip("langchain_google_genai").ChatGoogleGenerativeAI
chat, completions, openai_completions, claudes_completions, gemini = cast(
    "tuple[Any, ...]", (ChatBedrock, BedrockLLM, OpenAI, AnthropicLLM, ChatGoogleGenerativeAI)
)
"""Their constructors take aliases that type checkers do not see."""
ASKED = [HumanMessage("Go on.")]
ACCOUNT: Any = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "y"}


class Sent(Exception):
    """The body of the request that was about to leave: it stops a client before the network."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.body: dict[str, Any] = json.loads(request.body)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """langchain-aws logs what stops its client."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def client() -> Any:
    made: Any = session().client("bedrock-runtime", **ACCOUNT)

    def stop(request: Any, **_: Any) -> None:
        raise Sent(request)

    made.meta.events.register("before-send.bedrock-runtime.*", stop)
    return made


def limits(body: Mapping[str, Any]) -> dict[str, int]:
    """All output limits in a body, by their place."""
    found: dict[str, int] = {}
    for key, value in body.items():
        if isinstance(value, dict):
            found |= {f"{key}.{inner}": limit for inner, limit in limits(value).items()}
        elif key.lower().replace("_", "").startswith("max"):
            found[key] = value
    return found


def on_the_wire(model: Any) -> dict[str, Any]:
    """The body of the call that a governed graph makes with the model, which asks for more than its budget allows."""

    def node(state: MessagesState) -> dict[str, Any]:
        model.invoke(state["messages"] if isinstance(model, ChatBedrock) else "Go on.", **{"max_tokens": 777})
        raise AssertionError

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    budgets = [{"id": "b", "scope": "run", "limit": {"output_tokens": 300}}]
    policy: Any = {"governor": 1, "name": "p", "tools": {"default": "allow"}, "budgets": budgets}
    with pytest.raises(Sent) as sent:
        cast("Any", govern(graph.compile(), policy, store=MemoryStore())).invoke({"messages": ASKED})
    return sent.value.body


INVOKED: list[tuple[Any, str, dict[str, Any], str]] = [
    (ChatBedrock, "anthropic.claude-3-haiku-20240307-v1:0", {}, "max_tokens"),
    (ChatBedrock, "us.anthropic.claude-sonnet-4-6", {}, "max_tokens"),
    (ChatBedrock, "anthropic.claude-v2", {}, "max_tokens"),
    (ChatBedrock, "meta.llama3-8b-instruct-v1:0", {"max_gen_len": 5_000}, "max_gen_len"),
    (ChatBedrock, "mistral.mistral-7b-instruct-v0:2", {}, "max_tokens"),
    (ChatBedrock, "amazon.titan-text-express-v1", {"maxTokenCount": 5_000}, "textGenerationConfig.maxTokenCount"),
    (ChatBedrock, "openai.gpt-oss-20b-1:0", {"max_completion_tokens": 5_000}, "max_completion_tokens"),
    (BedrockLLM, "anthropic.claude-v2", {"max_tokens_to_sample": 5_000}, "max_tokens_to_sample"),
    (BedrockLLM, "amazon.titan-text-express-v1", {}, "textGenerationConfig.maxTokenCount"),
    (BedrockLLM, "meta.llama3-8b-instruct-v1:0", {}, "max_gen_len"),
    (BedrockLLM, "mistral.mistral-7b-instruct-v0:2", {}, "max_tokens"),
    (BedrockLLM, "cohere.command-text-v14", {}, "max_tokens"),
    (BedrockLLM, "ai21.j2-mid-v1", {"maxTokens": 5_000}, "maxTokens"),
    (BedrockLLM, "ai21.jamba-1-5-mini-v1:0", {}, "max_tokens"),
    (BedrockLLM, "deepseek.r1-v1:0", {}, "max_tokens"),
]


@pytest.mark.parametrize(("kind", "model", "settings", "place"), INVOKED)
@pytest.mark.parametrize("own", [None, 9_000])
def test_invoke_model_carries_the_limit_in_the_familys_own_words(
    kind: Any, model: str, settings: dict[str, Any], place: str, own: int | None
) -> None:
    made = kind(model=model, client=client(), max_tokens=own, model_kwargs=dict(settings) or None)

    assert {place: 300} == limits(on_the_wire(made))
    assert (own, settings) == (made.max_tokens, made.model_kwargs or {})


@pytest.mark.parametrize("own", [None, 9_000])
def test_an_older_client_that_hands_its_calls_to_converse_is_limited_there(own: int | None) -> None:
    made: Any = chat(model="meta.llama3-8b-instruct-v1:0", client=client(), max_tokens=own, beta_use_converse_api=True)

    assert {"inferenceConfig.maxTokens": 300} == limits(on_the_wire(made))


def test_a_thinking_budget_of_an_older_client_fits_under_the_limit() -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 4_096}}
    made: Any = chat(model="us.anthropic.claude-sonnet-4-5", client=client(), max_tokens=9_000, model_kwargs=thinking)

    limited: Any = vendor_of(made).limited(made, 3_000)

    assert {"type": "enabled", "budget_tokens": 1_500} == limited.model_kwargs["thinking"]
    assert 4_096 == made.model_kwargs["thinking"]["budget_tokens"]


@pytest.mark.parametrize(
    ("model", "own", "kwargs", "allowed"),
    [
        ("anthropic.claude-v2", None, {}, 1_024),
        ("anthropic.claude-v2", 300, {}, 300),
        ("anthropic.claude-v2", 300, {"max_tokens_to_sample": 5_000}, 5_000),
        ("amazon.titan-text-express-v1", 300, {"textGenerationConfig": {"maxTokenCount": 700}}, 700),
        ("meta.llama3-8b-instruct-v1:0", None, {}, None),
    ],
)
def test_what_an_older_client_allows_is_read_in_any_spelling(
    model: str, own: int | None, kwargs: dict[str, Any], allowed: int | None
) -> None:
    made: Any = chat(model=model, client=client(), max_tokens=own)

    assert allowed == vendor_of(made).max_output(made, kwargs)


def test_a_family_whose_words_nobody_knows_takes_no_limit() -> None:
    made: Any = completions(model="stability.sd3-large-v1:0", client=client(), max_tokens=9_000)

    assert not vendor_of(made).takes_limit(made)


@pytest.mark.parametrize("given", [{}, {"max_output_tokens": 900}, {"max_tokens": 900}], ids=str)
@pytest.mark.parametrize("config", [{}, {"max_output_tokens": 900, "top_k": 3}, {"maxOutputTokens": 900}], ids=str)
def test_geminis_configuration_holds_the_limit_wherever_a_larger_one_was(
    given: dict[str, Any], config: dict[str, Any]
) -> None:
    model: Any = gemini(model="gemini-2.5-flash", api_key="x", max_output_tokens=9_000)
    kwargs = vendor_of(model).with_max_output(model, {**given, "generation_config": config} if config else given, 40)

    request = model._prepare_request(ASKED, **kwargs)

    assert 40 == request["config"].max_output_tokens


def test_completions_of_which_the_best_is_given_share_the_limit() -> None:
    made: Any = openai_completions(api_key="x", base_url="http://127.0.0.1:9", max_tokens=7_000, best_of=4)
    given = vendor_of(made).with_max_output(made, {"max_completion_tokens": 900}, 40)

    assert {"max_tokens": 10} == given
    assert 28_000 == vendor_of(made).max_output(made, {"max_tokens": 7_000})


@pytest.mark.filterwarnings("ignore:The class `AnthropicLLM` was deprecated")
def test_claudes_completions_are_limited_by_the_name_of_their_field() -> None:
    made: Any = claudes_completions(api_key="x", model="claude-2.1", max_tokens=7_000)

    given = vendor_of(made).with_max_output(made, {"max_tokens_to_sample": 900}, 40)

    assert {"max_tokens": 40} == given


class Unlimited(GenericFakeChatModel):
    """A client whose class has no name for an output limit, of a model that has a price."""

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_name": "gpt-4.1"}


@pytest.mark.parametrize(("limit", "refused"), [({"usd": 1}, True), ({"tokens": 100_000}, False)], ids=str)
def test_a_client_that_takes_no_limit_is_refused_under_a_limit_in_money(limit: dict[str, Any], refused: bool) -> None:
    model = Unlimited(messages=iter([AIMessage("ok")]))

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    store = MemoryStore()
    policy: Any = {"governor": 1, "name": "p", "budgets": [{"id": "b", "scope": "run", "limit": limit}]}
    app: Any = govern(graph.compile(), policy, store=store)
    if not refused:
        assert "ok" == app.invoke({"messages": ASKED})["messages"][-1].text
        return
    with pytest.raises(ConfigurationError, match="takes no output limit"):
        app.invoke({"messages": ASKED})

    assert [0, 0] == [sum(each.spent for each in store.balances()), sum(each.reserved for each in store.balances())]
