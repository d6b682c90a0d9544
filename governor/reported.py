"""The `usage_metadata` of a LangChain message in governor's one shape, read from the mapping alone: a live message's or a recorded one's.

Everything downstream prices this, so the rules are few and err on the dear side. They hold for any LangChain chat model; what each
provider's client writes is in `tests/vendors/test_usage.py`, shape by shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from governor.usage import Usage
from governor.values import maker

__all__ = ["usage_in"]

_usage = maker(Usage)

CACHE_INSIDE_INPUT = frozenset(
    {"anthropic", "bedrock_converse", "openai", "azure_openai", "google_genai", "google_vertexai"}
)
"""Providers whose LangChain client counts cached tokens as part of `input_tokens` (read in the clients' sources)."""


TIERS = ("flex", "priority")
"""Classes of service by which OpenAI's client counts the tokens that were not cached; it names no other."""


def usage_in(reported: Mapping[str, Any], provider: str = "") -> Usage:
    """The usage that a `usage_metadata` reports.

    - `input` is what is left of the input tokens after cache reads and writes.
    - A read is every `*cache_read` (OpenAI's flex and priority tiers prefix the key), a write likewise.
    - Anthropic and Bedrock set `cache_creation` to 0 once they report writes by lifetime, others repeat the sum in it; both are read.
    - Reasoning is part of the output. Tokens that only the total knows of are counted as output, which is never the cheaper side.
    """
    inside, outside = _details(reported, "input_token_details"), _details(reported, "output_token_details")
    read, created = _ending(inside, "cache_read"), _ending(inside, "cache_creation")
    write_1h = inside.get("ephemeral_1h_input_tokens", 0)
    write_5m = max(inside.get("ephemeral_5m_input_tokens", 0), created - write_1h)

    given, answered = _count(reported.get("input_tokens")), _count(reported.get("output_tokens"))
    reasoning = _ending(outside, "reasoning")
    unaccounted = max(0, _count(reported.get("total_tokens")) - given - answered)
    return _usage(
        input=_uncached(given, read + write_5m + write_1h, provider),
        cache_read=read,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output=answered + unaccounted,
        reasoning=min(reasoning, answered + unaccounted),
        audio=min(inside.get("audio", 0), given),
        tier=next((tier for tier in TIERS if tier in inside or tier in outside), ""),
    )


def _uncached(given: int, cached: int, provider: str) -> int:
    """Input that was neither read from nor written to a cache. An unknown client may report cached tokens beside the input."""
    beside = cached > given and provider not in CACHE_INSIDE_INPUT
    return given if beside else max(0, given - cached)


def _details(reported: Mapping[str, Any], key: str) -> dict[str, int]:
    details = reported.get(key)
    if not isinstance(details, Mapping):
        return {}
    return {name: _count(value) for name, value in cast("Mapping[str, Any]", details).items()}


def _ending(details: Mapping[str, int], name: str) -> int:
    return sum([count for key, count in details.items() if key.endswith(name)]) if details else 0


def _count(value: object) -> int:
    """A token count; absent, malformed and negative ones are 0 (some clients subtract without looking)."""
    return max(0, value) if isinstance(value, int) else 0
