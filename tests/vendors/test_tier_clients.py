"""A tier's client makes one attempt, goes where the tier says, and says plainly what is missing."""

import sys
import traceback
from typing import Any, get_type_hints

import pytest
from botocore.exceptions import ClientError
from langchain_anthropic import ChatAnthropic
from langchain_aws import ChatBedrockConverse
from langchain_aws.chat_models.anthropic import ChatAnthropicBedrock
from langchain_core.language_models import FakeListChatModel
from langchain_openai import AzureChatOpenAI, ChatOpenAI

import governor_anthropic
import governor_bedrock
import governor_openai
from governor.calls import ModelRef
from governor.errors import ConfigurationError
from governor.policy.scalars import Tokens
from governor.policy.schema import Gateway, Tier
from governor_langgraph import generic
from governor_langgraph.vendors import Vendor, vendor_named, vendor_of
from governor_sandbox import Fault, Sandbox
from tests.vendors.clients import MODELS, bedrock

TIERS = {
    "bedrock": ("bedrock_converse", ChatBedrockConverse),
    "anthropic": ("anthropic", ChatAnthropic),
    "openai": ("openai", ChatOpenAI),
}


def tier_at(box: Sandbox, family: str, **settings: Any) -> Tier:
    base = f"{box.url}/v1" if family == "openai" else box.url
    settings.setdefault("base_url", base)
    return Tier(model=f"{TIERS[family][0]}:{MODELS[family]}", **settings)


@pytest.fixture
def credentials(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    for name, value in box.env().items():
        if "URL" not in name:
            monkeypatch.setenv(name, value)
    return box


@pytest.mark.parametrize("family", TIERS)
def test_a_tiers_client_calls_the_provider_once_per_attempt(credentials: Sandbox, family: str) -> None:
    tier = tier_at(credentials, family, max_output_tokens=500)
    model = vendor_named(tier.provider).build(tier)
    with Sandbox() as elsewhere:
        elsewhere.fault(Fault(kind="throttle"))
        tier = tier_at(elsewhere, family, max_output_tokens=500)
        throttled = vendor_named(tier.provider).build(tier)
        with pytest.raises(Exception, match="Too many requests"):
            throttled.invoke("Go.")
        assert 1 == len(elsewhere.meter.records)

    assert isinstance(model, TIERS[family][1])
    assert "ok" == model.invoke("Go.").text
    assert ModelRef(provider=TIERS[family][0], model=MODELS[family]) == vendor_of(model).model_ref(model)


@pytest.mark.parametrize("family", TIERS)
def test_a_tiers_client_reports_usage_in_streams(credentials: Sandbox, family: str) -> None:
    tier = tier_at(credentials, family)
    model = vendor_named(tier.provider).build(tier)
    kwargs = vendor_of(model).with_max_output(model, {}, 100)

    chunks = list(model.stream("Go.", **kwargs))

    assert any(chunk.usage_metadata for chunk in chunks)
    assert 1 < len(chunks)


@pytest.mark.parametrize("family", TIERS)
def test_gateway_headers_are_sent_with_secrets_from_the_environment(
    credentials: Sandbox, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", "s3cret")
    base = f"{credentials.url}/v1" if family == "openai" else credentials.url
    gateway = Gateway(base_url=base, headers={"cf-aig-authorization": "Bearer ${GATEWAY_TOKEN}"})
    tier = Tier(model=f"{TIERS[family][0]}:{MODELS[family]}", gateway=gateway, max_output_tokens=Tokens(100))
    model: Any = vendor_named(tier.provider).build(tier)

    if family == "bedrock":
        seen: list[str] = []
        model.client.meta.events.register_last(
            "before-send.bedrock-runtime.*", lambda request, **_: seen.append(request.headers["cf-aig-authorization"])
        )
        model.invoke("Go.")
        assert ["Bearer s3cret"] == seen
    else:
        client = model._client if family == "anthropic" else model.root_client
        assert "Bearer s3cret" == client.default_headers["cf-aig-authorization"]


@pytest.mark.parametrize("family", TIERS)
def test_a_header_whose_variable_is_not_set_is_named_with_its_tier(credentials: Sandbox, family: str) -> None:
    tier = tier_at(credentials, family, headers={"x-team": "${NOT_SET_ANYWHERE}"})

    with pytest.raises(ConfigurationError, match=f"{MODELS[family]}: header x-team needs .* NOT_SET_ANYWHERE"):
        vendor_named(tier.provider).build(tier)


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("bedrock_converse:us.amazon.nova-pro-v1:0", "AWS_ACCESS_KEY_ID"),
        ("anthropic:claude-sonnet-4-6", "ANTHROPIC_API_KEY"),
        ("openai:gpt-4.1", "OPENAI_API_KEY"),
        ("azure_openai:gpt-4.1", "AZURE_OPENAI_API_KEY"),
    ],
)
def test_missing_credentials_are_named_with_the_tier(model: str, variable: str) -> None:
    tier = Tier(model=model, args={"region_name": "us-east-1"} if model.startswith("bedrock") else {})

    with pytest.raises(ConfigurationError, match=f"tier {model} has no credentials: set {variable}"):
        vendor_named(tier.provider).build(tier)


@pytest.mark.parametrize("model", ["anthropic:claude-sonnet-4-6", "openai:gpt-4.1"])
def test_a_gateway_that_holds_the_keys_needs_none_here(box: Sandbox, model: str) -> None:
    gateway = Gateway(base_url=box.url, headers={"Authorization": "Bearer virtual"})
    tier = Tier(model=model, gateway=gateway)

    built: Any = vendor_named(tier.provider).build(tier)

    client = built._client if model.startswith("anthropic") else built.root_client
    assert "Bearer virtual" == client.default_headers["Authorization"]


def test_a_missing_region_and_refused_arguments_are_named_with_the_tier(
    credentials: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=r"refuses these arguments .*temperature"):
        governor_anthropic.build(Tier(model="anthropic:claude-sonnet-4-6", args={"temperature": "warm"}))
    with pytest.raises(ConfigurationError, match="nobodys-profile"):
        governor_bedrock.build(Tier(model="bedrock_converse:x", args={"credentials_profile_name": "nobodys-profile"}))
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigurationError, match=r"nova-pro.* has no region: set AWS_REGION"):
        governor_bedrock.build(Tier(model="bedrock_converse:us.amazon.nova-pro-v1:0"))


def test_a_key_among_refused_arguments_is_not_quoted() -> None:
    args = {"api_key": "sk-s3cret", "temperature": "warm"}

    for tier in (Tier(model="anthropic:claude-sonnet-4-6", args=args), Tier(model="openai:gpt-4.1", args=args)):
        with pytest.raises(ConfigurationError) as raised:
            vendor_named(tier.provider).build(tier)
        assert "api_key" in str(raised.value)
        assert "s3cret" not in "".join(traceback.format_exception(raised.value))


def test_an_azure_tier_is_an_azure_client() -> None:
    args = {"api_key": "x", "api_version": "2025-01-01"}
    tier = Tier(model="azure_openai:gpt-4.1", base_url="http://127.0.0.1:9", args=args)

    model = vendor_named(tier.provider).build(tier)

    assert isinstance(model, AzureChatOpenAI)
    assert ModelRef(provider="azure_openai", model="gpt-4.1") == vendor_of(model).model_ref(model)


def test_a_provider_without_package_of_ours_is_built_by_langchain_or_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="tier groq:llama"):
        vendor_named("groq").build(Tier(model="groq:llama"))
    with pytest.raises(ConfigurationError, match="tier nobody:x"):
        vendor_named("nobody").build(Tier(model="nobody:x"))


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ({"model": "us.amazon.nova-pro-v1:0"}, "us.amazon.nova-pro-v1:0"),
        (
            {
                "model": "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-6",
                "provider": "anthropic",
            },
            "us.anthropic.claude-sonnet-4-6",
        ),
        (
            {"model": "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", "provider": "amazon"},
            "amazon.nova-pro-v1:0",
        ),
        (
            {
                "model": "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
                "provider": "anthropic",
                "base_model": "anthropic.claude-sonnet-4-6",
            },
            "anthropic.claude-sonnet-4-6",
        ),
        (
            {"model": "arn:aws:bedrock:us-east-1:1:default-prompt-router/claude:1", "provider": "anthropic"},
            "arn:aws:bedrock:us-east-1:1:default-prompt-router/claude:1",
        ),
    ],
    ids=["profile", "profile arn", "model arn", "application profile", "router"],
)
def test_a_bedrock_model_is_called_what_its_price_goes_by(box: Sandbox, settings: dict[str, str], model: str) -> None:
    client = bedrock(box, **settings)

    assert ModelRef(provider="bedrock_converse", model=model) == vendor_of(client).model_ref(client)


def test_claude_on_bedrock_by_anthropics_client_is_anthropics_format_billed_by_aws() -> None:
    tier = Tier(model="anthropic_bedrock:us.anthropic.claude-sonnet-4-6", args={"region_name": "us-east-1"})
    model = vendor_named(tier.provider).build(tier)

    assert isinstance(model, ChatAnthropicBedrock)
    assert governor_anthropic == vendor_of(model)
    assert ModelRef(provider="anthropic_bedrock", model="us.anthropic.claude-sonnet-4-6") == vendor_of(model).model_ref(
        model
    )


def test_any_other_model_is_served_by_langchains_conventions() -> None:
    model = FakeListChatModel(responses=["ok"])

    assert generic == vendor_of(model)
    assert ModelRef(provider="fakelistchatmodel", model="unknown") == vendor_of(model).model_ref(model)


@pytest.mark.parametrize(
    "vendor", [governor_bedrock, governor_anthropic, governor_openai, generic], ids=lambda v: v.__name__
)
def test_every_vendor_has_everything_that_is_asked_of_one(vendor: Vendor) -> None:
    asked = {*get_type_hints(Vendor), *(name for name in vars(Vendor) if not name.startswith("_"))}

    assert [] == [name for name in asked if not hasattr(vendor, name)]
    assert all(vendor_named(provider) is vendor for provider in vendor.PROVIDERS)


@pytest.mark.parametrize("name", ["bedrock", "anthropic", "openai"])
def test_without_its_extra_a_vendor_says_which_one_to_install(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    library = {"bedrock": "langchain_aws"}.get(name, f"langchain_{name}")
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"governor_{name}")
    wanted = f"governor_{name} needs {library.replace('_', '-')}: pip install 'langgraph-governor\\[{name}\\]'"

    with pytest.raises(ImportError, match=wanted):
        __import__(f"governor_{name}")
    with pytest.raises(ConfigurationError, match=f"langgraph-governor\\[{name}\\]"):
        vendor_named(TIERS[name][0])


def test_an_error_of_the_provider_is_not_a_mistake_of_configuration(credentials: Sandbox) -> None:
    tier = Tier(model="bedrock_converse:us.anthropic.claude-none-v1:0", base_url=credentials.url)

    with pytest.raises(ClientError):
        governor_bedrock.build(tier).invoke("Go.")
