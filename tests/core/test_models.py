"""What is known about models is read off their names, in every spelling that providers use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.calls import ModelRef
from governor.models import ModelFacts, facts


def of(name: str) -> ModelFacts:
    provider, _, model = name.partition(":")
    return facts(ModelRef(provider=provider, model=model))


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("anthropic:claude-sonnet-4-5", "claude"),
        ("bedrock_converse:us.anthropic.claude-3-7-sonnet-20250219-v1:0", "claude"),
        ("bedrock_converse:arn:aws:bedrock:us-east-1:1:inference-profile/eu.anthropic.claude-opus-4-6-v1:0", "claude"),
        ("openai:anthropic/claude-sonnet-4-5", "claude"),
        ("bedrock_converse:amazon.nova-micro-v1:0", "nova"),
        ("openai:gpt-4o-mini", "gpt"),
        ("azure_openai:o3-mini", "gpt"),
        ("google_genai:gemini-2.5-flash", "gemini"),
        ("bedrock_converse:openai.gpt-oss-120b-1:0", "unknown"),
        ("ollama:llama3.3", "unknown"),
        ("unknown:fake", "unknown"),
    ],
)
def test_the_family_is_known_in_every_spelling(name: str, family: str) -> None:
    assert family == of(name).family


@pytest.mark.parametrize(
    ("model", "minimum"),
    [
        ("claude-sonnet-4-5-20250929", 1024),
        ("claude-sonnet-4-20250514", 1024),
        ("claude-3-7-sonnet-latest", 1024),
        ("claude-3-5-haiku-20241022", 2048),
        ("claude-sonnet-4-6", 2048),
        ("claude-haiku-4-5", 4096),
        ("claude-opus-4-1-20250805", 1024),
        ("claude-opus-4-5", 4096),
        ("claude-opus-4-7", 4096),
        ("claude-opus-4-8", 4096),
        ("claude-fable-5", 2048),
        ("claude-fable-5-1", 2048),
        ("claude-opus-5-5", 512),
        ("claude-nobody-knows-9", 4096),
        ("claude-opus-9", 4096),
    ],
)
def test_where_sources_disagree_the_larger_minimum_stands(model: str, minimum: int) -> None:
    assert minimum == of(f"anthropic:{model}").min_cache_tokens


@pytest.mark.parametrize(
    ("name", "cache", "one_hour", "in_tools"),
    [
        ("anthropic:claude-sonnet-4-5", "explicit", True, True),
        ("bedrock_converse:us.anthropic.claude-haiku-4-5-20251001-v1:0", "explicit", True, True),
        ("bedrock_converse:anthropic.claude-sonnet-4-20250514-v1:0", "explicit", False, True),
        ("bedrock_converse:anthropic.claude-3-haiku-20240307-v1:0", "none", False, False),
        ("openai:anthropic/claude-sonnet-4-5", "none", False, False),
        ("bedrock_converse:us.amazon.nova-pro-v1:0", "explicit", False, False),
        ("openai:gpt-4o", "automatic", False, False),
        ("google_genai:gemini-2.5-pro", "automatic", False, False),
        ("ollama:llama3.3", "none", False, False),
    ],
)
def test_cache_markers_are_only_for_who_understands_them(name: str, cache: str, one_hour: bool, in_tools: bool) -> None:
    known = of(name)

    assert (cache, one_hour, in_tools) == (known.cache, known.cache_1h, known.cache_in_tools)


def test_claude_looks_back_twenty_blocks_and_nova_caches_twenty_thousand_tokens() -> None:
    assert (20, None) == (of("anthropic:claude-sonnet-4-5").lookback_blocks, of("openai:gpt-4o").lookback_blocks)
    assert 20_000 == of("bedrock_converse:us.amazon.nova-lite-v1:0").cache_cap_tokens


@pytest.mark.parametrize(
    ("name", "window", "output"),
    [
        ("anthropic:claude-3-haiku-20240307", 200_000, 4_096),
        ("anthropic:claude-3-5-sonnet-20241022", 200_000, 8_192),
        ("anthropic:claude-opus-4-1", 200_000, 32_000),
        ("anthropic:claude-opus-4-20250514", 200_000, 32_000),
        ("anthropic:claude-sonnet-4-5", 200_000, 64_000),
        ("anthropic:claude-opus-4-5", 200_000, 64_000),
        ("anthropic:claude-opus-4-6", 1_000_000, 128_000),
        ("bedrock_converse:amazon.nova-pro-v1:0", 300_000, 10_000),
        ("openai:gpt-4o-mini", 128_000, 16_384),
        ("openai:gpt-4-turbo", 128_000, 4_096),
        ("openai:gpt-5-mini", 272_000, 128_000),
        ("openai:gpt-5.4", 1_050_000, 128_000),
        ("openai:o3", 200_000, 100_000),
        ("ollama:llama3.3", 128_000, 4_096),
    ],
)
def test_windows_and_longest_answers(name: str, window: int, output: int) -> None:
    assert (window, output) == (of(name).context_window, of(name).max_output_tokens)


def test_facts_agree_with_the_profiles_that_langchain_ships() -> None:
    """The vendors' packages carry windows and output limits; where they speak, governor must not assume more."""
    from langchain_anthropic.data._profiles import _PROFILES as anthropic
    from langchain_aws.data._profiles import _PROFILES as bedrock
    from langchain_openai.data._profiles import _PROFILES as openai

    too_much: dict[str, tuple[object, object]] = {}
    compared = 0
    for provider, profiles in (("anthropic", anthropic), ("bedrock_converse", bedrock), ("openai", openai)):
        for model, profile in profiles.items():
            limit, known = profile.get("max_output_tokens"), of(f"{provider}:{model}")
            if known.family == "unknown" or not limit or "image" in model:
                continue
            compared += 1
            if known.max_output_tokens > limit:
                too_much[model] = (known.max_output_tokens, limit)

    assert {} == too_much
    assert compared > 100


@given(st.text(), st.text())
def test_any_name_has_facts_that_make_sense(provider: str, model: str) -> None:
    known = facts(ModelRef(provider=provider, model=model))

    assert 0 < known.max_output_tokens <= known.context_window
    assert 500 <= known.calibration_start <= 4_000
