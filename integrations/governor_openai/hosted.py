"""Tools that OpenAI runs itself: what a use of them costs, how many are allowed, how often an answer used them.

Fees as third parties quoted OpenAI's in 2026: web search is $10 per 1,000 calls (its preview $25 with models that do not reason),
file search $2.50 per 1,000 calls, code interpreter $0.03 per container. Of a web search's actions only `search` is billed; opening a page
and finding in it are not taken to be.

The vendor's own page was not read for these numbers: compare them with it before a bill depends on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from governor.fees import HostedTool
from governor_langgraph.hosted import blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

__all__ = ["hosted_in", "hosted_uses", "with_hosted_uses"]

WEB_SEARCH, PREVIEW, CONTAINER = 10_000_000, 25_000_000, 30_000_000
FEES: Mapping[str, int] = {"file_search": 2_500_000, "mcp": 0, "tool_search": 0}
"""Nano-USD of one use. A type that is not here has an unknown fee: images are billed by the tokens of another model."""
CLIENTS_OWN = (
    "function",
    "custom",
    "local_shell",
    "apply_patch",
    "computer_use_preview",
    "computer",
    "computer_use",
    "namespace",
)
"""Types of tools that the caller runs."""
FREE_ACTIONS = ("open_page", "find_in_page", "find")


def hosted_in(given: Mapping[str, Any], *, settable: bool, silent: bool) -> tuple[HostedTool, ...]:
    """The tools of a request that OpenAI runs. `silent`: the model does not reason, which makes the preview of web search dearer.

    `max_tool_calls` limits all of them together, so each may use it up. A code interpreter has one container for a request.
    """
    most = given.get("max_tool_calls")
    uses = most if isinstance(most, int) else None
    found: list[HostedTool] = []
    for tool in cast("Sequence[Any]", given.get("tools") or ()):
        kind = str(cast("Mapping[str, Any]", tool).get("type", "function")) if isinstance(tool, dict) else "function"
        if kind in CLIENTS_OWN:
            continue
        if kind == "code_interpreter":
            found.append(HostedTool(name=kind, fee=CONTAINER, uses=1))
        elif kind.startswith("web_search"):
            fee = PREVIEW if silent and "preview" in kind else WEB_SEARCH
            found.append(HostedTool(name="web_search", fee=fee, uses=uses, settable=settable))
        else:
            fee = FEES.get(kind)
            found.append(HostedTool(name=kind, fee=fee, uses=uses, settable=settable and bool(fee)))
    if given.get("web_search_options") is not None:  # Chat Completions search unasked and do not say how often
        found.append(HostedTool(name="web_search_options", fee=None))
    return tuple(found)


def with_hosted_uses(kwargs: Mapping[str, Any], n: int) -> dict[str, Any]:
    """`max_tool_calls`, which no user set: tools with a limit by it are not asked for another."""
    return {**kwargs, "max_tool_calls": n}


def hosted_uses(message: BaseMessage) -> dict[str, int]:
    """The output items of an answer of the Responses API, in each of the forms in which LangChain keeps them."""
    seen: dict[str, set[str]] = {}
    for position, item in enumerate(_items(message)):
        kind = str(item.get("type", ""))
        name = str(item.get("name", "")) if kind == "server_tool_call" else kind.removesuffix("_call")
        if name not in ("web_search", "file_search", "code_interpreter") or (kind == name):
            continue
        if name == "web_search" and _action(item) in FREE_ACTIONS:
            continue
        found = item.get("id") or position
        if name == "code_interpreter":
            extras = cast("Mapping[str, Any]", item.get("extras") or {})
            found = item.get("container_id") or extras.get("container_id") or "container"
        seen.setdefault(name, set()).add(str(found))
    return {name: len(ids) for name, ids in seen.items()}


def _items(message: BaseMessage) -> Iterator[Mapping[str, Any]]:
    yield from blocks_of(message)
    yield from cast("Sequence[Mapping[str, Any]]", message.additional_kwargs.get("tool_outputs") or ())


def _action(item: Mapping[str, Any]) -> str:
    about = item.get("action") or item.get("args")
    return str(cast("Mapping[str, Any]", about).get("type", "")) if isinstance(about, dict) else ""
