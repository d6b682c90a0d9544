"""The output limit that was reserved is the one on the wire, whatever instance, user code or spelling say."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel, FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import AzureChatOpenAI
from langchain_openai.chat_models.base import BaseChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph

from governor.errors import ConfigurationError
from governor.stores.memory import MemoryStore
from governor_langgraph import govern
from governor_langgraph.usage import served_in
from governor_langgraph.vendors import vendor_of
from governor_sandbox import Reply, Sandbox, Scenario
from tests.vendors.clients import ANTHROPIC, BEDROCK, CLIENTS, FAMILIES, OPENAI, anthropic, bedrock, openai

SPELLINGS = {
    BEDROCK: ["max_tokens", "maxTokens"],
    ANTHROPIC: ["max_tokens", "max_tokens_to_sample"],
    OPENAI: ["max_tokens", "max_completion_tokens", "max_output_tokens"],
}
ASKED = [HumanMessage("Go on.")]


def sent(model: BaseChatModel, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The request body that the client makes of these arguments, without sending it."""
    client: Any = model
    if hasattr(client, "_get_request_payload"):
        return client._get_request_payload(ASKED, **kwargs)
    fields = kwargs.pop("additional_model_request_fields", None)
    camel = {"max_tokens": "maxTokens", "inference_config": "inferenceConfig"}
    return client._converse_params(
        additionalModelRequestFields=fields, **{camel.get(k, k): v for k, v in kwargs.items()}
    )


def calling(model: Any) -> Any:
    """A graph of one node that calls the model."""

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_the_provider_stops_at_the_limit_however_the_user_spelled_a_larger_one(family: str, streaming: bool) -> None:
    with Sandbox(Scenario.from_callable(lambda _: Reply(text="word", pad_to_tokens=400))) as box:
        model = CLIENTS[family](box, max_tokens=300)
        vendor = vendor_of(model)
        for spelling in (*SPELLINGS[family], "stop"):
            kwargs = vendor.with_max_output(model, {spelling: ["END"] if spelling == "stop" else 350}, 40)
            answer: Any = None
            for chunk in model.stream(ASKED, **kwargs) if streaming else [model.invoke(ASKED, **kwargs)]:
                answer = chunk if answer is None else answer + chunk
            assert "length" == vendor.finish(answer)

        assert {40} == {record.usage.output for record in box.meter.records}


@pytest.fixture(scope="module")
def models(running: Sandbox) -> dict[str, BaseChatModel]:
    return {family: client(running, max_tokens=7_000) for family, client in CLIENTS.items()}


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), n=st.integers(1, 200_000))
def test_one_limit_is_on_the_wire_and_it_is_ours(
    models: dict[str, BaseChatModel], family: str, data: st.DataObject, n: int
) -> None:
    model = models[family]
    kwargs = data.draw(st.dictionaries(st.sampled_from(SPELLINGS[family]), st.integers(1, 10**6)))
    before = dict(kwargs)

    body = sent(model, vendor_of(model).with_max_output(model, kwargs, n))

    flat = {**body, **body.get("inferenceConfig", {})}
    assert [n] == [
        value for key, value in flat.items() if key.lower().replace("_", "").startswith("max") and value is not None
    ]
    assert before == kwargs


def test_a_whole_inference_config_is_limited_too(models: dict[str, BaseChatModel]) -> None:
    model = models[BEDROCK]
    given_config = {"inferenceConfig": {"maxTokens": 9_000, "temperature": 0.1}}

    kwargs = vendor_of(model).with_max_output(model, given_config, 40)

    assert {"maxTokens": 40, "temperature": 0.1} == sent(model, kwargs)["inferenceConfig"]
    assert 9_000 == given_config["inferenceConfig"]["maxTokens"]


def test_openais_other_api_gets_the_limit_although_the_instance_has_one(running: Sandbox) -> None:
    model = openai(running, max_tokens=7_000, use_responses_api=True)

    assert 40 == sent(model, vendor_of(model).with_max_output(model, {}, 40))["max_output_tokens"]


def test_azure_and_compatible_clients_send_the_spelling_that_they_know() -> None:
    azure: Any = {"azure_endpoint": "http://127.0.0.1:9", "api_version": "1", "model": "gpt-4.1"}
    common: Any = {"api_key": "x", "max_tokens": 7_000}

    for model, name in (
        (AzureChatOpenAI(**azure, **common), "max_completion_tokens"),
        (BaseChatOpenAI(model="deepseek-chat", **common), "max_tokens"),
    ):
        body = sent(model, vendor_of(model).with_max_output(model, {"max_output_tokens": 1}, 40))
        assert {name: 40} == {key: value for key, value in body.items() if key.startswith("max")}


def test_several_choices_share_the_limit_since_each_is_billed(running: Sandbox) -> None:
    model = openai(running, n=4)

    assert 10 == sent(model, vendor_of(model).with_max_output(model, {}, 40))["max_completion_tokens"]
    assert 20 == sent(model, vendor_of(model).with_max_output(model, {"n": 2}, 40))["max_completion_tokens"]


@pytest.mark.parametrize("make", [anthropic, openai])
def test_a_limit_smuggled_into_the_raw_body_is_lowered(running: Sandbox, make: Callable[..., BaseChatModel]) -> None:
    model = make(running)

    kwargs = vendor_of(model).with_max_output(model, {"extra_body": {"max_tokens": 9_000, "seed": 1}}, 40)

    assert {"max_tokens": 40, "seed": 1} == kwargs["extra_body"]


@pytest.mark.parametrize(
    ("n", "expected"), [(10_000, None), (4_000, 2_000), (2_048, 1_024), (1_000, "disabled")], ids=str
)
def test_a_thinking_budget_fits_under_the_limit(running: Sandbox, n: int, expected: Any) -> None:
    thinking = {"type": "enabled", "budget_tokens": 4_096}
    claude = anthropic(running, thinking=thinking)
    converse = bedrock(running, additional_model_request_fields={"thinking": thinking})

    body = sent(claude, vendor_of(claude).with_max_output(claude, {}, n))
    params = sent(converse, vendor_of(converse).with_max_output(converse, {}, n))

    wanted: dict[str, Any] = {"type": "enabled", "budget_tokens": expected or 4_096}
    wanted = {"type": "disabled"} if expected == "disabled" else wanted
    assert wanted == {**body, **(body.get("extra_body") or {})}["thinking"]
    assert wanted == params["additionalModelRequestFields"]["thinking"]
    assert 4_096 == thinking["budget_tokens"]


def test_a_model_that_takes_no_limit_is_refused_where_one_is_needed(running: Sandbox) -> None:
    fields = {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}
    nova = bedrock(running, model="us.amazon.nova-2-lite-v1:0", additional_model_request_fields=fields)

    with pytest.raises(ConfigurationError, match="takes no output limit"):
        vendor_of(nova).with_max_output(nova, {}, 40)


def test_any_other_model_gets_the_limit_under_the_name_its_class_has() -> None:
    class Named(FakeListChatModel):
        max_output_tokens: int | None = None

    named, plain = Named(responses=["ok"]), GenericFakeChatModel(messages=iter([AIMessage("ok")]))

    assert {"max_output_tokens": 40} == vendor_of(named).with_max_output(named, {}, 40)
    assert {"stop": []} == vendor_of(plain).with_max_output(plain, {"stop": []}, 40)


BEYOND: list[tuple[str, dict[str, Any], dict[str, Any], int]] = [
    (BEDROCK, {}, {"inferenceConfig": {"maxTokens": 4_000}}, 4_000),
    (BEDROCK, {}, {"inference_config": {"maxTokens": 4_000}}, 4_000),
    (BEDROCK, {}, {"maxTokens": 90}, 90),
    (ANTHROPIC, {}, {"extra_body": {"max_tokens": 4_000}}, 4_000),
    (ANTHROPIC, {"model_kwargs": {"extra_body": {"max_tokens": 4_000}}}, {}, 4_000),
    (OPENAI, {}, {"extra_body": {"max_completion_tokens": 4_000}}, 4_000),
    (OPENAI, {"max_tokens": None, "extra_body": {"max_tokens": 4_000}}, {}, 4_000),
    (OPENAI, {"n": 4}, {}, 400),
    (OPENAI, {}, {"n": 2, "max_tokens": 300}, 600),
    *((family, {}, {}, 100) for family in FAMILIES),
]


@pytest.mark.parametrize(("family", "settings", "kwargs", "allowed"), BEYOND)
def test_what_user_code_allows_is_read_wherever_it_says_so(
    running: Sandbox, family: str, settings: dict[str, Any], kwargs: dict[str, Any], allowed: int
) -> None:
    model = CLIENTS[family](running, **{"max_tokens": 100, **settings})

    assert allowed == vendor_of(model).max_output(model, kwargs)


@pytest.mark.parametrize(
    ("family", "settings", "kwargs", "allowed"), [each for each in BEYOND if "n" not in {**each[1], **each[2]}]
)
def test_a_money_limit_is_not_passed_by_a_limit_in_another_place(
    family: str, settings: dict[str, Any], kwargs: dict[str, Any], allowed: int
) -> None:
    del allowed
    with Sandbox(Scenario.from_callable(lambda _: Reply(text="word", pad_to_tokens=4_000))) as box:
        model = CLIENTS[family](box, **{"max_tokens": 100, **settings}).bind(**kwargs)
        store, limit = MemoryStore(), 0.01
        budgets = [{"id": "b", "scope": "run", "limit": {"usd": limit}}]
        policy = {"governor": 1, "name": "p", "tools": {"default": "allow"}, "budgets": budgets}

        govern(calling(model), policy, store=store).invoke({"messages": ASKED})

        (balance,) = [each for each in store.balances() if each.unit == "nano_usd"]
        assert 0 < box.meter.bill().nano_usd <= balance.spent <= limit * 10**9


@pytest.mark.parametrize(
    ("family", "settings", "kwargs", "percent"),
    [
        (OPENAI, {"service_tier": "priority"}, {}, 250),
        (OPENAI, {}, {"service_tier": "priority"}, 250),
        (OPENAI, {"service_tier": "priority"}, {"service_tier": "default"}, 100),
        (OPENAI, {"extra_body": {"service_tier": "priority"}}, {}, 250),
        (OPENAI, {"service_tier": "flex"}, {}, 100),
        (BEDROCK, {"service_tier": "priority"}, {}, 175),
        (BEDROCK, {}, {"serviceTier": "priority"}, 175),
        (BEDROCK, {"service_tier": "flex"}, {}, 100),
        (ANTHROPIC, {"inference_geo": "us"}, {}, 110),
        *((family, {}, {}, 100) for family in FAMILIES),
    ],
)
def test_a_class_of_service_has_its_price_wherever_it_is_asked_for(
    running: Sandbox, family: str, settings: dict[str, Any], kwargs: dict[str, Any], percent: int
) -> None:
    model = CLIENTS[family](running, **settings)

    assert percent == vendor_of(model).price_percent({**vars(model), **kwargs})


@pytest.mark.parametrize(
    ("family", "model"), [(OPENAI, "gpt-4o"), (OPENAI, "gpt-5"), (BEDROCK, "amazon.nova-pro-v1:0")]
)
@pytest.mark.parametrize("routed", [False, True], ids=["own", "tier"])
def test_a_priority_call_is_charged_at_least_what_it_is_billed(family: str, model: str, routed: bool) -> None:
    with Sandbox(Scenario.from_callable(lambda _: Reply(text="word", pad_to_tokens=400))) as box:
        dear = CLIENTS[family](box, model=model, max_tokens=500, service_tier="priority")
        own = anthropic(box) if routed else dear
        provider = {OPENAI: "openai", BEDROCK: "bedrock_converse"}[family]
        tier = {"model": f"{provider}:{model}", "max_output_tokens": 500, "args": {"service_tier": "priority"}}
        parts: dict[str, Any] = {"tiers": {"t": tier}, "routing": {"default": "t"}} if routed else {}
        store, budgets = MemoryStore(), [{"id": "b", "scope": "run", "limit": {"usd": 1}}]
        policy = {"governor": 1, "name": "p", "tools": {"default": "allow"}, "budgets": budgets, **parts}

        clients = {"t": dear} if routed else None
        govern(calling(own), policy, store=store, clients=clients).invoke({"messages": ASKED})

        (balance,) = [each for each in store.balances() if each.unit == "nano_usd"]
        assert 0 < box.meter.bill().nano_usd <= balance.spent


@pytest.mark.parametrize(
    ("metadata", "served"),
    [
        ({"service_tier": "default"}, "default"),
        ({"service_tier": "priority"}, "priority"),
        ({"serviceTier": {"type": "default"}}, "default"),
        ({"service_tier": None}, ""),
        ({}, ""),
    ],
    ids=str,
)
def test_the_class_that_answered_is_read_from_the_answer(metadata: dict[str, Any], served: str) -> None:
    assert served == served_in(metadata)
