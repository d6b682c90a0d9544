"""Tools that Anthropic runs itself: what a use of them costs, how many are allowed, how often an answer used them.

Fees as the maintainers gave them, November 2026: web search is $10 per 1,000 searches, web fetch and tool search have no fee beside
tokens, code execution is billed by the hours of its container. A search that fails is not billed.

The vendor's own page was not read for these numbers: compare them with it before a bill depends on them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from governor.fees import HostedTool
from governor_langgraph.hosted import blocks_of, with_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

__all__ = ["hosted", "hosted_uses", "with_hosted_uses"]

FEES: tuple[tuple[str, str, int | None], ...] = (
    ("web_search_", "web_search", 10_000_000),
    ("web_fetch_", "web_fetch", 0),
    ("tool_search_tool_", "tool_search", 0),
    ("mcp_toolset", "mcp", 0),
    ("code_execution_", "code_execution", None),
)
"""Beginning of a tool's type, what its uses are counted as, nano-USD of one use (None: not known beforehand)."""
CLIENTS_OWN = re.compile(r"custom$|function$|(?:bash|text_editor|computer|memory)_\d")
"""Types of tools that the caller runs."""


def hosted(model: BaseChatModel, kwargs: Mapping[str, Any]) -> tuple[HostedTool, ...]:
    """The tools of a request that Anthropic runs. One of a type that is not known here has an unknown fee."""
    own = cast("Any", model).model_kwargs.get("extra_body")
    extra = cast("Mapping[str, Any]", kwargs.get("extra_body") or own or {})
    inside = "tools" in extra  # what the SDK merges last stands
    found: list[HostedTool] = []
    for tool in cast("Sequence[Any]", (extra if inside else kwargs).get("tools") or ()):
        kind = str(cast("Mapping[str, Any]", tool).get("type", "custom")) if isinstance(tool, dict) else "custom"
        if CLIENTS_OWN.match(kind):
            continue
        name, fee = next(((name, fee) for start, name, fee in FEES if kind.startswith(start)), (kind, None))
        uses = cast("Mapping[str, Any]", tool).get("max_uses")
        uses = uses if isinstance(uses, int) else None
        found.append(HostedTool(name=name, fee=fee, uses=uses, settable=bool(fee) and not inside))
    return tuple(found)


def with_hosted_uses(kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
    """`max_uses` on each search that has none."""
    return {**kwargs, "tools": [_limited(tool, n) for tool in kwargs["tools"]]}


def _limited(tool: Any, n: int) -> Any:
    if not isinstance(tool, dict):
        return tool
    fields = cast("Mapping[str, Any]", tool)
    return with_limit(fields, n, "max_uses") if _is_search(fields) else fields


def _is_search(tool: Mapping[str, Any]) -> bool:
    return str(tool.get("type", "")).startswith("web_search_")


def hosted_uses(message: BaseMessage) -> dict[str, int]:
    """Searches as the usage reports them, which LangChain keeps for whole answers; of a stream the searches that it shows."""
    usage = cast("Mapping[str, Any]", message.response_metadata).get("usage")
    reported = cast("Mapping[str, Any]", usage).get("server_tool_use") if isinstance(usage, dict) else None
    if isinstance(reported, dict):
        counts = cast("Mapping[str, Any]", reported)
        return {"web_search": int(counts.get("web_search_requests") or 0)}
    return {"web_search": len(set(_searches(message)))}


def _searches(message: BaseMessage) -> Iterator[str]:
    for position, block in enumerate(blocks_of(message)):
        if block.get("type") in ("server_tool_use", "server_tool_call") and block.get("name") == "web_search":
            yield str(block.get("id") or position)
