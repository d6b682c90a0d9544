"""What is known about models: cache rules, windows, tokenizer density. Data with its sources, never a network call.

Sources: prompt-cache minimums from litellm 1.109.1 (`prompt_cache_min_tokens`), AWS's samples and Anthropic's
documentation; where they disagree the larger stands, because a marker below the real minimum is silently ignored.
Windows and output limits from the model profiles of langchain-anthropic 1.7, langchain-aws 1.9 and langchain-openai 1.7.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from governor.calls import ModelRef

__all__ = ["ModelFacts", "cache_lifetime_ms", "claude_version", "facts"]

Family = Literal["claude", "nova", "gpt", "gemini", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Facts about one model as one provider serves it. The defaults are what is safe to assume of a model nobody knows."""

    family: Family = "unknown"
    cache: Literal["explicit", "automatic", "none"] = "none"
    """Prompt cache: by markers in the request, by the provider on its own, or not at all."""
    min_cache_tokens: int = 1024
    """Shorter prefixes are not cached: no error, no hit."""
    cache_1h: bool = False
    """Whether markers may ask for one hour."""
    cache_in_tools: bool = False
    """Whether a marker may stand after the tool descriptions."""
    lookback_blocks: int | None = None
    """How many content blocks before a marker the provider looks for an older entry. None: no such limit."""
    cache_cap_tokens: int | None = None
    """Most tokens that are cached. None: no such limit."""
    context_window: int = 128_000
    """Tokens of prompt and answer together."""
    max_output_tokens: int = 4_096
    """Longest answer that the provider accepts a request for. For an unknown model a value that every current one accepts."""
    characters_per_1000_tokens: int = 2_400
    """Low end (JSON and code) of how many characters 1,000 tokens hold: for quick upper bounds."""
    calibration_start: int = 1_700
    """Real tokens per 1,000 of governor's estimated ones, assumed until usage was reported: high enough for prose, JSON and code."""
    settling_start: int = 1_700
    """The same for settling what nobody reported: what dense text of the kind really has, not what the densest may have. Without a
    measurement as high as `calibration_start`."""
    burndown_output: int = 1
    """What a token of an answer takes of the provider's quota of tokens a minute."""
    burndown_cached: int = 1
    """What a token read from the prompt cache takes of it: 1 or nothing."""


_BEDROCK = {"anthropic_bedrock", "bedrock", "bedrock_converse"}
"""Where quotas are Bedrock's: what was read from the cache is given back at the end, and an answer of Claude 4 and later takes five
times its tokens (AWS, "How tokens are counted in Amazon Bedrock")."""

_MARKER_PROVIDERS = {
    "anthropic",
    "anthropic_bedrock",
    "bedrock",
    "bedrock_converse",
    "google_anthropic_vertex",
    "unknown",
}
"""Providers whose wire format has cache markers. Behind any other (gateways that speak OpenAI's format) Claude has none."""

_CLAUDE = re.compile(
    r"claude-(?:(?P<old>[23])(?:[-.](?P<old_minor>\d))?(?!\d)(?:-(?P<old_name>[a-z]+))?"
    r"|(?P<name>opus|sonnet|haiku|fable|mythos)-(?P<major>\d{1,2})(?:[-.](?P<minor>\d{1,2}))?(?!\d))"
)
_CLAUDE_MINIMUM: dict[tuple[str, int, int], int] = {
    ("haiku", 3, 0): 2048,
    ("haiku", 3, 5): 2048,
    ("haiku", 4, 5): 4096,
    ("haiku", 5, 5): 512,
    ("sonnet", 3, 5): 1024,
    ("sonnet", 3, 7): 1024,
    ("sonnet", 4, 0): 1024,
    ("sonnet", 4, 5): 1024,
    ("sonnet", 4, 6): 2048,
    ("sonnet", 5, 0): 1024,
    ("sonnet", 5, 5): 512,
    ("opus", 3, 0): 1024,
    ("opus", 4, 0): 1024,
    ("opus", 4, 1): 1024,
    ("opus", 4, 5): 4096,
    ("opus", 4, 6): 4096,
    ("opus", 4, 7): 4096,
    ("opus", 4, 8): 4096,
    ("opus", 5, 0): 512,
    ("opus", 5, 5): 512,
    ("fable", 5, 0): 2048,
    ("mythos", 5, 0): 512,
}
"""Minimum cacheable tokens by model and version. One that is missing gets the largest known, 4096."""

_NOVA = {
    "nova-2-lite": ModelFacts(min_cache_tokens=1536, context_window=1_000_000, max_output_tokens=65_535),
    "nova-premier": ModelFacts(min_cache_tokens=1024, context_window=1_000_000, max_output_tokens=10_000),
    "nova-pro": ModelFacts(min_cache_tokens=1024, context_window=300_000, max_output_tokens=10_000),
    "nova-lite": ModelFacts(min_cache_tokens=1536, context_window=300_000, max_output_tokens=10_000),
    "nova-micro": ModelFacts(min_cache_tokens=1536, context_window=128_000, max_output_tokens=10_000),
}

_GPT: tuple[tuple[str, int, int], ...] = (
    (r"gpt-3\.5", 16_385, 4_096),
    (r"gpt-4\.1", 1_047_576, 32_768),
    (r"gpt-4o-2024-05-13", 128_000, 4_096),
    (r"gpt-4o", 128_000, 16_384),
    (r"gpt-4-turbo", 128_000, 4_096),
    (r"gpt-4", 8_192, 8_192),
    (r"gpt-5.*chat|gpt-5\.3-codex-spark", 128_000, 16_384),
    (r"gpt-5(?:\.[123])?(?:-(?:mini|nano|pro|codex.*))?(?:-\d{4}.*)?$", 272_000, 128_000),
    (r"gpt-5\.[4-9]-(?:mini|nano)", 400_000, 128_000),
    (r"gpt-5\.[4-9]|gpt-[6-9]", 1_050_000, 128_000),
    (r"o[134](?:-|$)", 200_000, 100_000),
)
"""Pattern, context window, longest answer; the first that matches decides."""


@lru_cache(maxsize=1024)
def _facts(provider: str, model: str) -> ModelFacts:
    name = model.rsplit("/", 1)[-1].lower()
    if "claude" in name:
        return _claude(provider, name)
    if "nova-" in name:
        return _nova(name)
    if "gemini" in name:
        return _gemini(name)
    if re.match(r"(?:chatgpt|gpt|o[134](?:-|$))", name) and "oss" not in name:
        return _gpt(name)
    return ModelFacts()


def facts(model: ModelRef) -> ModelFacts:
    """Facts about `model`, read off its name: region prefixes, ARNs and version suffixes are understood."""
    return _facts(model.provider, model.model)


def claude_version(name: str) -> tuple[int, int]:
    """Major and minor version in a Claude model's name; (99, 0) for one that is not known yet."""
    return _claude_model(name)[1]


def _claude_model(name: str) -> tuple[str, tuple[int, int]]:
    match = _CLAUDE.search(name)
    if match and match["old"]:
        return match["old_name"] or "claude", (int(match["old"]), int(match["old_minor"] or 0))
    if match:
        return match["name"], (int(match["major"]), int(match["minor"] or 0))
    return "claude", (99, 0)  # one not known yet: assume the densest tokenizer and the largest minimum


def _claude(provider: str, name: str) -> ModelFacts:
    kind, version = _claude_model(name)
    marks = provider in _MARKER_PROVIDERS and version >= ((3, 0) if provider == "anthropic" else (3, 5))
    dense = version >= (4, 7)  # a new tokenizer: 1.5-1.7 times the tokens of o200k, against 1.2-1.3 before
    minimum = max((_CLAUDE_MINIMUM[key] for key in _nearest(kind, version)), default=4096)
    return ModelFacts(
        family="claude",
        cache="explicit" if marks else "none",
        min_cache_tokens=minimum,
        cache_1h=marks and version >= ((3, 5) if provider == "anthropic" else (4, 5)),
        cache_in_tools=marks,
        lookback_blocks=20 if marks else None,
        context_window=1_000_000 if version >= (4, 6) else 200_000,
        max_output_tokens=_claude_output(kind, version),
        characters_per_1000_tokens=2_400 if dense else 2_700,
        calibration_start=1_700 if dense else 1_300,
        settling_start=_CLAUDE_SETTLES[dense],
        burndown_output=5 if provider in _BEDROCK and version >= (4, 0) else 1,
        burndown_cached=0 if provider in _BEDROCK or (provider == "anthropic" and version >= (4, 0)) else 1,
    )


_CLAUDE_SETTLES = {False: 980, True: 1_330}
"""By whether the tokenizer is the new one. Claude counts 1.19 (prose) to 1.26 (code, JSON) times the tokens of o200k, since 4.7 up to
1.67 times (a public reconstruction of its tokenizer), and the estimator 1.23 to 1.26 times: with the margin of a broken stream
(`budget.evidence`) its count is then within a few percent of the bill."""
_GPT_SETTLES = 980
"""The estimator's count is no less than o200k's but for a few tables of numbers, by less than the margin of a broken stream."""


def _nearest(kind: str, version: tuple[int, int]) -> list[tuple[str, int, int]]:
    """The row of this very version, or of the latest earlier one of the same major (`fable-5-1` reads as `fable-5`)."""
    rows = [key for key in _CLAUDE_MINIMUM if key[0] == kind and key[1] == version[0] and key[1:] <= version]
    return [max(rows)] if rows else []


def _claude_output(kind: str, version: tuple[int, int]) -> int:
    if version < (3, 5):
        return 4_096
    if version < (3, 7):
        return 8_192
    if version >= (4, 6):
        return 128_000
    return 32_000 if kind == "opus" and version < (4, 5) else 64_000


def _nova(name: str) -> ModelFacts:
    known = next((row for start, row in _NOVA.items() if start in name), ModelFacts(min_cache_tokens=1536))
    return replace(
        known,
        family="nova",
        cache="explicit",
        cache_cap_tokens=20_000,
        burndown_cached=0,
        characters_per_1000_tokens=2_700,
        calibration_start=1_300,
        settling_start=1_300,
    )


def _gpt(name: str) -> ModelFacts:
    window, output = next(
        ((window, output) for pattern, window, output in _GPT if re.match(pattern, name)), (128_000, 16_384)
    )
    return ModelFacts(
        family="gpt",
        cache="automatic",
        min_cache_tokens=1024,
        context_window=window,
        max_output_tokens=output,
        characters_per_1000_tokens=3_100,
        calibration_start=1_200,
        settling_start=_GPT_SETTLES,
    )


def _gemini(name: str) -> ModelFacts:
    modern = not re.search(r"gemini-(?:1|2\.0)", name)
    return ModelFacts(
        family="gemini",
        cache="automatic" if modern else "none",
        min_cache_tokens=2048 if "gemini-2.5" in name else 4096,
        context_window=1_048_576,
        max_output_tokens=65_536 if modern else 8_192,
        characters_per_1000_tokens=2_700,
        calibration_start=1_300,
        settling_start=1_300,
    )


def cache_lifetime_ms(known: ModelFacts, ttl: Literal["5m", "1h", "off"]) -> int:
    """After this long without a call a cached prefix is certainly gone, milliseconds.

    5 minutes or 1 hour by marker; providers that cache by themselves keep a prefix for up to an hour (OpenAI's documentation).
    """
    if known.cache == "automatic" or (ttl == "1h" and known.cache_1h):
        return 3_600_000
    return 300_000
