"""A chat model's reported usage in governor's one shape.

Everything downstream prices this, so the rules are few and err on the dear side. They hold for the `usage_metadata` of any LangChain chat
model; what each provider's client writes into it is in `tests/vendors/test_usage.py`, shape by shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from governor.usage import Usage
from governor.values import maker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import BaseMessage

__all__ = ["served_in", "usage_of"]

_usage = maker(Usage)

CACHE_INSIDE_INPUT = frozenset(
    {"anthropic", "bedrock_converse", "openai", "azure_openai", "google_genai", "google_vertexai"}
)
"""Providers whose LangChain client counts cached tokens as part of `input_tokens` (read in the clients' sources)."""


TIERS = ("flex", "priority")
"""Classes of service by which OpenAI's client counts the tokens that were not cached; it names no other."""


def usage_of(message: BaseMessage | None, provider: str = "") -> Usage | None:
    """The usage a message reports, or None when it reports none (a broken-off stream, some proxies): never zero.

    - `input` is what is left of the input tokens after cache reads and writes.
    - A read is every `*cache_read` (OpenAI's flex and priority tiers prefix the key), a write likewise.
    - Anthropic and Bedrock set `cache_creation` to 0 once they report writes by lifetime, others repeat the sum in it; both are read.
    - Reasoning is part of the output. Tokens that only the total knows of are counted as output, which is never the cheaper side.
    """
    raw = getattr(message, "usage_metadata", None)
    if not raw:
        return None
    reported = cast("Mapping[str, Any]", raw)
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
        tier=next((tier for tier in TIERS if tier in inside or tier in outside), ""),
    )


def served_in(metadata: Mapping[str, Any]) -> str:
    """The class of service that an answer's metadata names: OpenAI's `service_tier`, Bedrock's `serviceTier`; empty when it names none."""
    named = metadata.get("service_tier") or metadata.get("serviceTier") or ""
    return str(cast("Mapping[str, Any]", named).get("type") or "") if isinstance(named, dict) else str(named)


def _uncached(given: int, cached: int, provider: str) -> int:
    """Input that was neither read from nor written to a cache. An unknown client may report cached tokens beside the input."""
    beside = cached > given and provider not in CACHE_INSIDE_INPUT
    return given if beside else max(0, given - cached)


def _details(reported: Mapping[str, Any], key: str) -> dict[str, int]:
    details = cast("Mapping[str, Any] | None", reported.get(key))
    return {name: _count(value) for name, value in details.items()} if details else {}


def _ending(details: Mapping[str, int], name: str) -> int:
    return sum([count for key, count in details.items() if key.endswith(name)]) if details else 0


def _count(value: object) -> int:
    """A token count; absent, malformed and negative ones are 0 (some clients subtract without looking)."""
    return max(0, value) if isinstance(value, int) else 0
