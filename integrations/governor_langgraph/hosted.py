"""Tools that a provider runs itself: what the vendor packages have in common, and Gemini's, whose client is served by the generic vendor.

Fees as third parties quoted Google's for the Gemini API in 2026: grounding with Google search is $35 per 1,000 grounded prompts up to
Gemini 2.5 and $14 per 1,000 search queries from Gemini 3 on; grounding with Google Maps is $25 per 1,000 prompts up to Gemini 2.5. Code
execution, URL context and file search are taken to be billed by tokens alone.

The vendor's own page was not read for these numbers: compare them with it before a bill depends on them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from governor.fees import HostedTool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

__all__ = ["blocks_of", "grounding", "grounding_uses", "with_limit"]

BY_PROMPT = {"google_search": 35_000_000, "google_search_retrieval": 35_000_000, "google_maps": 25_000_000}
"""Nano-USD of a prompt that was grounded, up to Gemini 2.5."""
BY_QUERY = {"google_search": 14_000_000}
"""Nano-USD of a search query, from Gemini 3 on; nothing on the wire limits their number."""
BY_TOKENS = ("code_execution", "url_context", "file_search", "function_declarations")
OLDER = re.compile(r"(?:models/)?gemini-[12](?!\d)")


def blocks_of(message: BaseMessage) -> Iterator[Mapping[str, Any]]:
    """The content blocks of an answer that are no plain text."""
    for block in cast("Sequence[Any]", message.content if isinstance(message.content, list) else ()):
        if isinstance(block, dict):
            yield cast("Mapping[str, Any]", block)


def with_limit(tool: Mapping[str, Any], n: int, field: str) -> dict[str, Any]:
    """The tool, limited to `n` uses where it has no limit of its own."""
    return {**tool, field: n} if tool.get(field) is None else dict(tool)


def grounding(model: str, tools: Sequence[Any]) -> tuple[HostedTool, ...]:
    """Gemini's own tools in a request to `model`: each is a key of an entry, or a field of a `Tool`."""
    found: list[HostedTool] = []
    for tool in tools:
        fields = cast("Mapping[str, Any]", tool if isinstance(tool, dict) else _dumped(tool))
        for name, value in fields.items():
            if value is None or name in BY_TOKENS:
                continue
            if OLDER.match(model):
                found.append(HostedTool(name=name, fee=BY_PROMPT.get(name), uses=1))
            else:
                found.append(HostedTool(name=name, fee=BY_QUERY.get(name)))
    return tuple(found)


def _dumped(tool: Any) -> Mapping[str, Any]:
    dump = getattr(tool, "model_dump", None)
    return dump(exclude_none=True) if dump is not None else {}


def grounding_uses(message: BaseMessage, model: str, names: Sequence[str] = tuple(BY_PROMPT)) -> dict[str, int]:
    """Grounded prompts or queries of an answer. What grounded it is not said, so that it counts for each tool that can."""
    metadata = cast("Mapping[str, Any]", message.response_metadata).get("grounding_metadata")
    if not isinstance(metadata, dict) or not metadata:
        return {}
    said = cast("Mapping[str, Any]", metadata)
    queries = said.get("web_search_queries") or said.get("webSearchQueries") or ()
    count = 1 if OLDER.match(model) else len(cast("Sequence[Any]", queries))
    return dict.fromkeys(names, count)
