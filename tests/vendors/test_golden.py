"""Usage as it stands on each provider's wire, through LangChain's own client code and governor's, costs what the provider bills, exactly.

The records and their bills are made by `golden/build.py`, which knows nothing of either.
"""

import json
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import pytest
from anthropic.types import MessageDeltaUsage
from anthropic.types import Usage as AnthropicUsage
from langchain_anthropic import chat_models as of_anthropic
from langchain_aws.chat_models import bedrock_converse as of_bedrock
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_openai.chat_models import base as of_openai

from governor.calls import ModelRef
from governor.policy.schema import Policy
from governor.prices import PriceBook
from governor_langgraph.usage import usage_of
from tests.vendors.golden import build

ON = datetime(2026, 11, 28, 12, tzinfo=UTC)
BOOK = PriceBook(Policy.model_validate({"governor": 1, "name": "p"}), on=ON)
PROVIDERS = {"bedrock": "bedrock_converse", "anthropic": "anthropic", "openai": "openai", "gemini": "google_genai"}


def added_up(reported: list[Any]) -> AIMessage:
    """One answer, or the chunks of a stream as LangChain adds them up."""
    chunks = [AIMessageChunk(content="", usage_metadata=usage) for usage in reported]
    return reduce(lambda whole, chunk: whole + chunk, chunks)


def bedrock(wire: list[Any]) -> AIMessage:
    return added_up([of_bedrock._extract_usage_metadata({"usage": dict(wire[0])})])


def anthropic(wire: list[Any]) -> AIMessage:
    """Of a stream, the client reads the last event that has usage, never the first."""
    kind = AnthropicUsage if len(wire) == 1 else MessageDeltaUsage
    return added_up([of_anthropic._create_usage_metadata(kind.model_validate(wire[-1]))])


def openai_chat(wire: list[Any]) -> AIMessage:
    return added_up([of_openai._create_usage_metadata(wire[0]["usage"], wire[0]["service_tier"])])


def openai_responses(wire: list[Any]) -> AIMessage:
    return added_up([of_openai._create_usage_metadata_responses(wire[0]["usage"], wire[0]["service_tier"])])


def gemini(wire: list[Any]) -> AIMessage:
    of_gemini = pytest.importorskip("langchain_google_genai.chat_models")
    from google.genai.types import GenerateContentResponse
    from langchain_core.messages.ai import add_usage

    before: Any = None
    reported: list[Any] = []
    for usage in wire:
        said = [{"content": {"role": "model", "parts": [{"text": "ok"}]}}]
        response = GenerateContentResponse.model_validate({"usageMetadata": usage, "candidates": said})
        stream = len(wire) > 1
        result = of_gemini._response_to_result(response, stream=stream, prev_usage=before)
        found = result.generations[0].message.usage_metadata
        reported.append(found)
        before = found if before is None else add_usage(before, found)
    return added_up(reported)


READ = {
    "bedrock": bedrock,
    "bedrock_details": bedrock,
    "anthropic": anthropic,
    "anthropic_stream": anthropic,
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
    "gemini": gemini,
    "gemini_stream": gemini,
}


def golden(shape: str) -> list[Any]:
    return json.loads((build.FOLDER / f"{shape}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("shape", list(READ))
def test_every_golden_record_costs_what_its_provider_bills(shape: str) -> None:
    provider = PROVIDERS[shape.split("_", maxsplit=1)[0]]
    wrong: list[Any] = []
    for model, wire, nano_usd in golden(shape):
        usage = usage_of(READ[shape](wire), provider)
        rates = BOOK.rates(ModelRef(provider=provider, model=model))
        found = rates.cost(usage) if rates and usage else None
        if found != nano_usd:
            wrong.append((model, wire, nano_usd, found, usage))

    assert [] == wrong[:3]
    assert [] == wrong


@pytest.mark.parametrize("shape", list(READ))
def test_golden_records_are_the_ones_that_their_script_makes(shape: str) -> None:
    assert build.records(shape) == golden(shape)
    assert len(golden(shape)) >= 200
