"""What a model call offers, worked out once for as long as the same is offered.

`create_agent` binds its tools anew at every call. Naming, estimating, ordering and describing them each time would cost more than all
decisions about the call; whether they are the same as last time is one comparison.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from governor.calls import ToolSpec
from governor.errors import ConfigurationError
from governor.tokens import estimate_tool
from governor_langgraph.neutral import CannotCarry, neutral
from governor_langgraph.recall import addition, can_answer, tool_name
from governor_langgraph.toolspec import form_of
from governor_langgraph.vendors import vendor_named, vendor_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel

    from governor.fees import HostedTool
    from governor_langgraph.context import GovernedStep

__all__ = ["Known", "Offer", "offer_of"]

OFFERS = 256
"""Nodes of one governor's graphs for which the latest offer is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The tools of a model call and what follows from its bound arguments."""

    added: dict[str, Any] | None
    """The recall tool in the model's own form, offered beside the bound ones."""
    recall: bool
    """Whether a recall call would be answered by governor, so that results may be cut."""
    tools: tuple[ToolSpec, ...]
    hosted: tuple[HostedTool, ...]
    """Those of them that the provider runs itself."""
    choice: str
    """What the model must do about them and how it may think, as bound; empty for nothing."""
    order: tuple[int, ...] | None
    """Positions of the tools as they are sent; None as they are."""
    form: Mapping[str, object] | None
    """JSON Schema of the answer in words, where user code asked the provider for one."""
    carried: bool
    """Whether every tier could take over the call."""
    price_percents: dict[str | None, int]
    """Percent of the listed price by tier (None: user code's own model), where it is not 100."""

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The call's arguments with the recall tool among them, in a new dict."""
        if self.added is None:
            return dict(given)
        return {**given, "tools": [*given["tools"], self.added]}

    def arranged(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The same arguments with the tools in the order in which they are sent."""
        if self.order is None:
            return arguments
        tools = arguments["tools"]
        return {**arguments, "tools": [tools[position] for position in self.order]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The latest offer of one node, with everything it follows from."""

    model: BaseChatModel
    recalls: bool
    given: dict[str, Any]
    """A copy: user code may change its own from inside."""
    offer: Offer


def offer_of(step: GovernedStep, model: BaseChatModel, given: Mapping[str, Any]) -> Offer:
    """The offer of a call of `model` with the bound arguments `given`."""
    offers = step.run.governor.offers
    known = offers.get(step.ref.path)
    if known is not None and known.model is model and known.recalls is step.recall and known.given == given:
        return known.offer
    offer = _worked_out(step, model, given)
    try:
        copied = _copy(given)
    except _NotPlain:
        return offer
    if step.ref.path in offers or len(offers) < OFFERS:
        offers[step.ref.path] = Known(model=model, recalls=step.recall, given=copied, offer=offer)
    return offer


def _worked_out(step: GovernedStep, model: BaseChatModel, given: Mapping[str, Any]) -> Offer:
    governor = step.run.governor
    tools = cast("Sequence[Any]", given.get("tools") or ())
    added = addition(step, model, tools)
    if added is not None:
        tools = [*tools, added]
    specs = tuple(map(_spec, tools))
    order = governor.controls.order.sort_tools(specs)
    return Offer(
        added=added,
        recall=can_answer(step, tools),
        tools=tuple(specs[position] for position in order),
        hosted=vendor_of(model).hosted(model, given),
        choice=_choice(given),
        order=None if order == tuple(range(len(tools))) else order,
        form=form_of(given),
        carried=governor.can_carry(model, {**given, "tools": tools} if tools else given),
        price_percents=_percents(step, model, given),
    )


def _percents(step: GovernedStep, model: BaseChatModel, given: Mapping[str, Any]) -> dict[str | None, int]:
    """What the classes of service that are asked for cost. Arguments of the call stay with it at a tier of the same family."""
    vendor = vendor_of(model)
    percents: dict[str | None, int] = {None: vendor.price_percent({**vars(model), **given})}
    for name, tier in step.run.governor.policy.policy.tiers.items():
        try:
            theirs = vendor_named(tier.provider)
        except ConfigurationError:
            continue  # it says so itself, with its remedy, when the tier is chosen
        percents[name] = theirs.price_percent({**tier.args, **(given if theirs is vendor else {})})
    return {tier: percent for tier, percent in percents.items() if percent != 100}


def _choice(given: Mapping[str, Any]) -> str:
    config = cast("Mapping[str, Any]", given.get("toolConfig") or {})
    said = {name: given[name] for name in ("tool_choice", "thinking") if given.get(name)}
    if config.get("toolChoice"):
        said["tool_choice"] = config["toolChoice"]
    return repr(said) if said else ""


def _spec(item: Any) -> ToolSpec:
    text = json.dumps(item, default=str, ensure_ascii=False) if isinstance(item, dict) else str(item)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return ToolSpec(
        name=tool_name(item),
        tokens=estimate_tool(text),
        digest=digest,
        schema=_schema(item),
        source=cast("object", item),
    )


def _schema(item: Any) -> Mapping[str, object] | None:
    """The schema of a tool's arguments; None for what the provider runs itself or nobody can read."""
    try:
        read = neutral(item)
    except CannotCarry:
        return None
    return None if read.vendor_only else read.schema


class _NotPlain(Exception):
    """A value that is not JSON's: neither its copy nor its comparison is known to be harmless."""


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_copy(item) for item in cast("list[Any]", value)]
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise _NotPlain
