"""Makes the golden usage records: what a provider reports of a call on its wire, and what it bills for it.

    python -m tests.vendors.golden.build

Nothing here comes from governor, LangChain or a price list's code: the prices are written out below as the vendors publish them (dollars
per million tokens, November 2026), and each record's bill is worked out with Decimal from the tokens that were *made up first*; the wire
is then written from the same tokens. The seed is fixed, so that the files are the same wherever they are made.

A record is `[model, wire, nano_usd]`; `wire` is a list, one entry for each usage that a stream reports.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
EACH = 240

Price = tuple[str, str, str, str, str]
"""Input, output, cache read, cache write for 5 minutes, cache write for an hour."""

BEDROCK: dict[str, Price] = {
    "global.anthropic.claude-sonnet-4-5-20250929-v1:0": ("3", "15", "0.30", "3.75", "6"),
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0": ("3.30", "16.50", "0.33", "4.125", "6.60"),
    "eu.anthropic.claude-haiku-4-5-20251001-v1:0": ("1.10", "5.50", "0.11", "1.375", "2.20"),
    "global.anthropic.claude-opus-4-6-v1": ("5", "25", "0.50", "6.25", "10"),
    "us.amazon.nova-pro-v1:0": ("0.80", "3.20", "0.20", "0.80", "0.80"),
    "amazon.nova-micro-v1:0": ("0.035", "0.14", "0.00875", "0.035", "0.035"),
    "openai.gpt-oss-120b-1:0": ("0.15", "0.60", "0.15", "0.15", "0.15"),
}
ANTHROPIC: dict[str, Price] = {
    "claude-sonnet-4-5-20250929": ("3", "15", "0.30", "3.75", "6"),
    "claude-sonnet-4-6": ("3", "15", "0.30", "3.75", "6"),
    "claude-haiku-4-5": ("1", "5", "0.10", "1.25", "2"),
    "claude-opus-4-6": ("5", "25", "0.50", "6.25", "10"),
    "claude-3-5-haiku-latest": ("0.80", "4", "0.08", "1", "1.60"),
}
OPENAI: dict[tuple[str, str], Price] = {
    ("gpt-4o", "default"): ("2.50", "10", "1.25", "2.50", "2.50"),
    ("gpt-4o", "priority"): ("4.25", "17", "2.125", "4.25", "4.25"),
    ("gpt-4.1", "default"): ("2", "8", "0.50", "2", "2"),
    ("gpt-4.1", "priority"): ("3.50", "14", "0.875", "3.50", "3.50"),
    ("gpt-4.1-mini", "priority"): ("0.70", "2.80", "0.175", "0.70", "0.70"),
    ("gpt-5", "default"): ("1.25", "10", "0.125", "1.25", "1.25"),
    ("gpt-5", "flex"): ("0.625", "5", "0.0625", "0.625", "0.625"),
    ("gpt-5", "priority"): ("2.50", "20", "0.25", "2.50", "2.50"),
    ("gpt-5-mini", "flex"): ("0.125", "1", "0.0125", "0.125", "0.125"),
    ("gpt-5-mini", "priority"): ("0.45", "3.60", "0.045", "0.45", "0.45"),
    ("o4-mini", "flex"): ("0.55", "2.20", "0.138", "0.55", "0.55"),
    ("o3", "priority"): ("3.50", "14", "0.875", "3.50", "3.50"),
    ("gpt-5.4", "default"): ("2.50", "15", "0.25", "2.50", "2.50"),
}
GEMINI: dict[str, Price] = {
    "gemini-2.5-pro": ("1.25", "10", "0.125", "1.25", "1.25"),
    "gemini-2.5-flash": ("0.30", "2.50", "0.03", "0.30", "0.30"),
    "gemini-2.5-flash-lite": ("0.10", "0.40", "0.01", "0.10", "0.10"),
    "gemini-3-pro-preview": ("2", "12", "0.20", "2", "2"),
    "gemini-3-flash-preview": ("0.50", "3", "0.05", "0.50", "0.50"),
}
LONG: dict[str, tuple[int, Price]] = {
    "claude-sonnet-4-5-20250929": (200_000, ("6", "22.50", "0.60", "7.50", "12")),
    "gpt-5.4": (272_000, ("5", "22.50", "0.50", "5", "5")),
    "gemini-2.5-pro": (200_000, ("2.50", "15", "0.25", "2.50", "2.50")),
    "gemini-3-pro-preview": (200_000, ("4", "18", "0.40", "4", "4")),
}
"""More prompt tokens than this, cached ones included, and the whole call costs the second price."""


def billed(model: str, price: Price, fresh: int, output: int, read: int, write: int, hour: int) -> int:
    """Nano-USD, rounded up once."""
    above, dearer = LONG.get(model, (10**9, price))
    rates = dearer if fresh + read + write + hour > above else price
    dollars = sum(
        (
            Decimal(tokens) * Decimal(rate)
            for tokens, rate in zip((fresh, output, read, write, hour), rates, strict=True)
        ),
        Decimal(0),
    ) / Decimal(1_000_000)
    return int((dollars * Decimal(1_000_000_000)).to_integral_value(rounding=ROUND_CEILING))


class Made:
    """One made-up call."""

    def __init__(self, seed: str, models: list[Any], long: bool = True) -> None:
        self.random = random.Random(seed)
        self.model = self.random.choice(models)
        size = self.random.choice([1, 100, 20_000, 190_000] + ([400_000] if long else []))
        self.fresh = self.random.randint(1, size)
        self.read, self.write, self.hour = (
            self.random.choice([0, 0, 1, self.random.randint(2, size + 2)]) for _ in range(3)
        )
        self.output = self.random.choice([0, 1, self.random.randint(1, 500), self.random.randint(1, 60_000)])
        self.reasoning = self.random.choice([0, 0, self.output // 3, self.output])
        self.odd = self.random.random() < 0.3

    def some(self, **fields: Any) -> dict[str, Any]:
        """The fields; of those that are 0 or None, some are left out, as providers do."""
        return {name: value for name, value in fields.items() if value or self.random.random() < 0.5}


def bedrock(seed: str, *, details: bool) -> Any:
    """Converse. Writes are counted by lifetime where `details`, else for five minutes in one number."""
    it = Made(seed, list(BEDROCK), long=False)
    claude = "claude" in it.model
    if not details or not claude:
        it.hour = 0
    if "gpt-oss" in it.model:
        it.read = it.write = it.hour = 0
    usage: dict[str, Any] = {"inputTokens": it.fresh, "outputTokens": it.output}
    usage |= {"totalTokens": it.fresh + it.output + it.read + it.write + it.hour}
    usage |= it.some(cacheReadInputTokens=it.read, cacheWriteInputTokens=it.write + it.hour)
    if details:
        by_ttl = [{"ttl": "1h", "inputTokens": it.hour}, {"ttl": "5m", "inputTokens": it.write}]
        usage["cacheDetails"] = [one for one in by_ttl if one["inputTokens"] or it.odd]
    return [it.model, [usage], billed(it.model, BEDROCK[it.model], it.fresh, it.output, it.read, it.write, it.hour)]


def anthropic(seed: str, *, stream: bool) -> Any:
    """Messages. A stream's start says what its end says again, with the output so far: only the end is the bill."""
    it = Made(seed, list(ANTHROPIC))
    split = it.random.random() < 0.7 or it.hour
    usage: dict[str, Any] = {"input_tokens": it.fresh, "output_tokens": it.output}
    usage |= it.some(cache_read_input_tokens=it.read, cache_creation_input_tokens=it.write + it.hour)
    if split:
        usage["cache_creation"] = {"ephemeral_5m_input_tokens": it.write, "ephemeral_1h_input_tokens": it.hour}
    if it.odd:
        usage["output_tokens_details"] = {"thinking_tokens": it.reasoning}
    wire = [{**usage, "output_tokens": 1}, usage] if stream else [usage]
    return [it.model, wire, billed(it.model, ANTHROPIC[it.model], it.fresh, it.output, it.read, it.write, it.hour)]


def openai(seed: str, *, responses: bool) -> Any:
    """Chat Completions and Responses: cached tokens are part of the input, reasoning of the output; the answer names its tier."""
    it = Made(seed, list(OPENAI))
    name, tier = it.model
    given, total = it.fresh + it.read, it.fresh + it.read + it.output
    words = ("input_tokens", "output_tokens") if responses else ("prompt_tokens", "completion_tokens")
    usage: dict[str, Any] = {words[0]: given, words[1]: it.output} | it.some(total_tokens=total)
    if it.read or not it.odd:
        usage[f"{words[0]}_details"] = {"cached_tokens": it.read}
    usage[f"{words[1]}_details"] = {"reasoning_tokens": it.reasoning} if not it.odd else None
    named = tier if tier != "default" or it.random.random() < 0.5 else None
    return [
        name,
        [{"usage": usage, "service_tier": named}],
        billed(name, OPENAI[it.model], it.fresh, it.output, it.read, 0, 0),
    ]


def gemini(seed: str, *, stream: bool) -> Any:
    """generateContent: thoughts beside the candidates, cached inside the prompt; a stream repeats its counts, each time higher."""
    it = Made(seed, list(GEMINI))
    said = it.output - it.reasoning
    tools = it.random.choice([0, 0, it.fresh // 2])
    usage = {"promptTokenCount": it.fresh + it.read - tools, "totalTokenCount": it.fresh + it.read + it.output}
    usage |= it.some(cachedContentTokenCount=it.read, thoughtsTokenCount=it.reasoning, candidatesTokenCount=said)
    usage |= it.some(toolUsePromptTokenCount=tools)
    wire = [usage]
    if stream:
        early = {"promptTokenCount": it.fresh + it.read - tools} | (
            {"cachedContentTokenCount": it.read} if it.read else {}
        )
        early |= {"toolUsePromptTokenCount": tools} if tools else {}
        parts = [
            {**early, "candidatesTokenCount": said * n // 3, "totalTokenCount": it.fresh + it.read + said * n // 3}
            for n in (1, 2)
        ]
        wire = [*parts, usage] if not it.odd else [parts[0], usage, usage]
    return [it.model, wire, billed(it.model, GEMINI[it.model], it.fresh, it.output, it.read, 0, 0)]


SHAPES: dict[str, Callable[[str], Any]] = {
    "bedrock": lambda seed: bedrock(seed, details=False),
    "bedrock_details": lambda seed: bedrock(seed, details=True),
    "anthropic": lambda seed: anthropic(seed, stream=False),
    "anthropic_stream": lambda seed: anthropic(seed, stream=True),
    "openai_chat": lambda seed: openai(seed, responses=False),
    "openai_responses": lambda seed: openai(seed, responses=True),
    "gemini": lambda seed: gemini(seed, stream=False),
    "gemini_stream": lambda seed: gemini(seed, stream=True),
}


def records(shape: str) -> list[Any]:
    """The records of one shape, the same every time."""
    return [SHAPES[shape](f"{shape} {number}") for number in range(EACH)]


def written(shape: str) -> str:
    """A shape's file: one record a line."""
    lines = (json.dumps(record, separators=(",", ":")) for record in records(shape))
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    for each in SHAPES:
        (FOLDER / f"{each}.json").write_text(written(each), encoding="utf-8")
