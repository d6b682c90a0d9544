"""Usage is what the provider billed: shape by shape, and against the sandbox's own meter over HTTP."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage

from governor.usage import Usage
from governor_langgraph.usage import usage_of
from governor_langgraph.vendors import vendor_of
from governor_sandbox import Reply, Sandbox, Scenario
from tests.vendors.clients import CLIENTS, FAMILIES, LONG, WHOLE, metered


def reported(**metadata: Any) -> AIMessage:
    given, answered = metadata["input_tokens"], metadata["output_tokens"]
    return AIMessage(content="ok", usage_metadata={"total_tokens": given + answered, **metadata})


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        pytest.param(
            {"input_tokens": 10, "output_tokens": 5},
            Usage(input=10, output=5),
            id="no details",
        ),
        pytest.param(
            {
                "input_tokens": 2060,
                "output_tokens": 5,
                "input_token_details": {"cache_read": 2000, "cache_creation": 10},
            },
            Usage(input=50, cache_read=2000, cache_write_5m=10, output=5),
            id="bedrock without lifetimes",
        ),
        pytest.param(
            {
                "input_tokens": 350,
                "output_tokens": 5,
                "input_token_details": {
                    "cache_read": 0,
                    "cache_creation": 0,
                    "ephemeral_5m_input_tokens": 100,
                    "ephemeral_1h_input_tokens": 200,
                },
            },
            Usage(input=50, cache_write_5m=100, cache_write_1h=200, output=5),
            id="anthropic and bedrock by lifetime",
        ),
        pytest.param(
            {
                "input_tokens": 350,
                "output_tokens": 5,
                "input_token_details": {
                    "cache_creation": 300,
                    "ephemeral_5m_input_tokens": 0,
                    "ephemeral_1h_input_tokens": 0,
                },
            },
            Usage(input=50, cache_write_5m=300, output=5),
            id="lifetimes reported as zero",
        ),
        pytest.param(
            {
                "input_tokens": 350,
                "output_tokens": 5,
                "input_token_details": {"cache_creation": 300, "ephemeral_1h_input_tokens": 200},
            },
            Usage(input=50, cache_write_5m=100, cache_write_1h=200, output=5),
            id="a sum that repeats its parts",
        ),
        pytest.param(
            {
                "input_tokens": 2000,
                "output_tokens": 80,
                "input_token_details": {"flex": 976, "flex_cache_read": 1024, "flex_cache_creation": 128},
                "output_token_details": {"flex": 20, "flex_reasoning": 60},
            },
            Usage(input=848, cache_read=1024, cache_write_5m=128, output=80, reasoning=60, tier="flex"),
            id="openai flex tier",
        ),
        pytest.param(
            {
                "input_tokens": 2000,
                "output_tokens": 80,
                "input_token_details": {"priority": 976, "priority_cache_read": 1024},
            },
            Usage(input=976, cache_read=1024, output=80, tier="priority"),
            id="openai priority tier",
        ),
        pytest.param(
            {"input_tokens": 100, "output_tokens": 20, "total_tokens": 420, "output_token_details": {"reasoning": 300}},
            Usage(input=100, output=320, reasoning=300),
            id="reasoning beside the output",
        ),
        pytest.param(
            {"input_tokens": -5, "output_tokens": 20, "total_tokens": 15, "input_token_details": {"cache_read": -3}},
            Usage(output=20),
            id="negative counts",
        ),
    ],
)
def test_every_shape_of_reported_usage_has_one_meaning(metadata: dict[str, Any], expected: Usage) -> None:
    assert expected == usage_of(reported(**metadata), "bedrock_converse")


@pytest.mark.parametrize("message", [None, AIMessage("ok"), AIMessageChunk(content="ok"), HumanMessage("hi")])
def test_unreported_usage_is_unknown_and_not_zero(message: Any) -> None:
    assert usage_of(message, "openai") is None


def test_an_unknown_provider_may_report_cached_tokens_beside_the_input() -> None:
    message = reported(input_tokens=50, output_tokens=5, input_token_details={"cache_read": 1000})

    assert Usage(input=50, cache_read=1000, output=5) == usage_of(message, "somebody")
    assert Usage(input=0, cache_read=1000, output=5) == usage_of(message, "anthropic")


counts = st.integers(0, 10**6)


@given(
    uncached=counts,
    read=counts,
    short=counts,
    long=counts,
    output=counts,
    tier=st.sampled_from(["", "flex_", "priority_"]),
)
def test_the_parts_of_the_input_come_back_whole(
    uncached: int, read: int, short: int, long: int, output: int, tier: str
) -> None:
    message = reported(
        input_tokens=uncached + read + short + long,
        output_tokens=output,
        input_token_details={
            f"{tier}cache_read": read,
            "ephemeral_5m_input_tokens": short,
            "ephemeral_1h_input_tokens": long,
            "cache_creation": 0,
        },
    )

    expected = Usage(input=uncached, cache_read=read, cache_write_5m=short, cache_write_1h=long, output=output)
    if uncached + read + short + long + output:
        assert expected == usage_of(message, "bedrock_converse")


@given(
    st.fixed_dictionaries(
        {
            "input_tokens": st.integers(-100, 10**6),
            "output_tokens": st.integers(-100, 10**6),
            "total_tokens": st.integers(-100, 3 * 10**6),
            "input_token_details": st.dictionaries(
                st.sampled_from(
                    ["cache_read", "flex_cache_read", "cache_creation", "ephemeral_5m_input_tokens", "audio"]
                ),
                st.integers(-100, 10**6) | st.none(),
            ),
            "output_token_details": st.dictionaries(
                st.sampled_from(["reasoning", "flex_reasoning"]), st.integers(-100, 10**6)
            ),
        }
    ),
    st.sampled_from(["openai", "anthropic", "somebody"]),
)
def test_whatever_is_reported_no_count_is_negative_and_no_token_is_lost(
    metadata: dict[str, Any], provider: str
) -> None:
    message = AIMessage.model_construct(content="", usage_metadata=metadata)

    usage = usage_of(message, provider)

    assert usage is not None
    assert min(usage.input, usage.cache_read, usage.cache_write_5m, usage.output, usage.reasoning) >= 0
    assert usage.prompt >= metadata["input_tokens"]
    assert usage.total >= metadata["total_tokens"]
    assert usage.reasoning <= usage.output


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
def test_usage_over_http_is_what_the_provider_billed(family: str, streaming: bool) -> None:
    with Sandbox(Scenario.always("Twelve words are enough to be counted as an answer by anyone.")) as box:
        model = CLIENTS[family](box)
        vendor = vendor_of(model)
        messages, kwargs = vendor.mark(model, [SystemMessage(LONG), HumanMessage("And now?")], {}, WHOLE)
        seen: list[Usage | None] = []
        for _ in range(2):
            if streaming:
                answer: Any = None
                for chunk in model.stream(messages, **kwargs):
                    answer = chunk if answer is None else answer + chunk
            else:
                answer = model.invoke(messages, **kwargs)
            seen.append(usage_of(answer, vendor.model_ref(model).provider))

        assert [metered(record) for record in box.meter.records] == seen
        assert seen[1] is not None
        assert seen[1].cache_read > 1000


@pytest.mark.parametrize("family", FAMILIES)
def test_reasoning_over_http_is_part_of_the_output(family: str) -> None:
    with Sandbox(Scenario.from_callable(lambda _: Reply(text="Done.", reasoning_tokens=40))) as box:
        model = CLIENTS[family](box)

        usage = usage_of(model.invoke("Think."), vendor_of(model).model_ref(model).provider)

        assert usage is not None
        billed = metered(box.meter.records[0])
        assert billed.output == usage.output
        assert usage.reasoning in (0, billed.reasoning)  # Converse reports none of its own accord
