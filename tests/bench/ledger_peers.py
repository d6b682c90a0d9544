"""pydantic-ai's UsageLimits in the same race. Runs in an environment of its own (`.venv-peers`): `python ledger_peers.py BASE_URL KEY`."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

CALLS, FITS = 50, 10


async def race(base_url: str, key: str) -> None:
    """Fifty runs at once that share one usage, whose limit is ten requests."""
    ai: Any = importlib.import_module("pydantic_ai")
    usage: Any = importlib.import_module("pydantic_ai.usage")
    model: Any = importlib.import_module("pydantic_ai.models.openai").OpenAIChatModel
    openai: Any = importlib.import_module("pydantic_ai.providers.openai").OpenAIProvider
    agent = ai.Agent(model("gpt-4.1", provider=openai(base_url=base_url, api_key=key)))
    shared, limits = usage.RunUsage(), usage.UsageLimits(request_limit=FITS)
    runs = (agent.run("Say something.", usage=shared, usage_limits=limits) for _ in range(CALLS))
    await asyncio.gather(*runs, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(race(sys.argv[1], sys.argv[2]))
