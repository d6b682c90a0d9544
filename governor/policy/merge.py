"""A child policy on top of the one it extends: everything may get tighter, nothing looser.

Limits merge by minimum. What the parent leaves open the child may set; what the parent sets the child may only tighten, and
an attempt to loosen it is an error rather than silently ignored, so that the file never says more than it does. New rules
are added to the parent's, which stay first. A parent's deny cannot be lifted: of all rules that match, the strongest wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from governor.policy.estimators import JudgeSettings
from governor.policy.merge_rules import (
    globs_within,
    merged_budgets,
    merged_exceptions,
    merged_nodes,
    merged_routes,
    merged_tools,
)
from governor.policy.rates import RATE_FIELDS
from governor.policy.tightening import Loosening, Tightening

if TYPE_CHECKING:
    from governor.policy.document import Path
    from governor.policy.schema import (
        Context,
        Escalate,
        Estimator,
        Hopeless,
        LadderRung,
        Loops,
        LoopTool,
        Policy,
        Rate,
        Routing,
        Section,
        Tier,
        Trace,
    )

__all__ = ["Loosening", "tighten"]

S = TypeVar("S", bound="Section")

_EXHAUSTED = ("ask", "finish", "stop")
_CHANGED = ("pin", "adopt", "ask")
"""Weakest first: a run that is pinned may do what the policy of today forbids."""
_CONTENT = ("full", "redacted", "none")
_PRICE_AND_PLACE = ("price", "serves", "base_url", "headers", "gateway")
"""What a tier costs and where its requests go. Absent is an answer too: the price book's price, the provider's own endpoint."""


def tighten(parent: Policy, child: Policy) -> tuple[Policy, tuple[Loosening, ...]]:
    """Merge a child into its parent. Returns the merged policy and every attempt to loosen; where there is none it holds.

    Merging is idempotent: the merged policy extends the parent to itself.
    """
    merge = Tightening(parent, child)
    updates: dict[str, Any] = {
        "name": child.name,
        "owner": child.owner or parent.owner,
        "extends": None,
        "mode": merge.ranked(("mode",), ("observe", "enforce"), even_unset=True),
        "mediation": merge.ranked(("mediation",), ("lenient", "strict"), even_unset=True),
        "identity": merge.unchanged(("identity",), parent.identity, child.identity),
        "tiers": _tiers(merge, parent.tiers, child.tiers),
        "routing": _routing(merge, parent.routing, child.routing),
        "context": _context(merge, parent.context, child.context),
        "loops": _loops(merge, parent.loops, child.loops),
        "limits": merge.smallest(("limits",), parent.limits, child.limits),
        "budgets": merged_budgets(merge, parent.budgets, child.budgets),
        "ladder": _ladder(merge, parent.ladder, child.ladder),
        "on_exhausted": merge.ranked(("on_exhausted",), _EXHAUSTED),
        "broken_streams": merge.ranked(("broken_streams",), ("observed", "worst_case"), even_unset=True),
        "on_policy_change": merge.ranked(("on_policy_change",), _CHANGED),
        "on_store_loss": merge.ranked(("on_store_loss",), ("open", "refuse"), even_unset=True),
        "rates": _rates(merge, parent.rates, child.rates),
        "tools": merged_tools(merge, parent.tools, child.tools),
        "nodes": merged_nodes(merge, parent.nodes, child.nodes),
        "trace": _trace(merge, parent.trace, child.trace),
        "exceptions": merged_exceptions(merge, parent, child),
    }
    kept = parent.model_fields_set | child.model_fields_set
    return parent.model_copy(update={name: value for name, value in updates.items() if name in kept}), tuple(
        merge.loosened
    )


def _tiers(merge: Tightening, parent: dict[str, Tier], child: dict[str, Tier]) -> dict[str, Tier]:
    """The child's tiers in its order, then the parent's others. A tier both name stays the same model, priced and reached alike."""
    merged: dict[str, Tier] = {}
    for name, tier in child.items():
        base = parent.get(name)
        if base is None:
            merged[name] = _priced_alike(merge, parent, name, tier)
            continue
        path = ("tiers", name)
        smaller = {"max_output_tokens", "context_window"}
        same = merge.unchanged(path, base, tier, but=smaller | {"args"}, closed=_PRICE_AND_PLACE)
        limits = merge.smallest(path, base, tier, only=smaller)
        _same_arguments(merge, path, base, tier)
        merged[name] = same.model_copy(update={each: getattr(limits, each) for each in smaller})
    return merged | {name: tier for name, tier in parent.items() if name not in merged}


def _same_arguments(merge: Tightening, path: Path, parent: Tier, child: Tier) -> None:
    """Arguments reach the client unread: any of them may say where requests go, or on whose account."""
    changed = [key for key, value in child.args.items() if key not in parent.args or parent.args[key] != value]
    if changed:
        message = (
            f"`{'.'.join(map(str, path))}.args` changes {', '.join(changed)} of a tier of the policy this one extends"
        )
        merge.loosen((*path, "args"), message)


def _priced_alike(merge: Tightening, parent: dict[str, Tier], name: str, tier: Tier) -> Tier:
    """Prices hold for a model, whatever tier names it: a child's own tier must not make one of the parent's cheaper to count."""
    sent = next((each for each, base in parent.items() if base.model == tier.model), None)
    if sent is not None and set(tier.serves) != set(parent[sent].serves):
        message = f"`tiers.{name}.serves` is not that of tier `{sent}` of the policy this one extends, the same model"
        merge.loosen(("tiers", name, "serves"), message, ("tiers", sent))
        tier = tier.model_copy(update={"serves": parent[sent].serves})
    priced = (tier.provider, tier.model_name)
    listed = next(
        (each for each, base in parent.items() if (base.provider, base.model_name) == priced and base.price is None),
        None,
    )
    if tier.price is None or listed is None:
        return tier
    message = f"`tiers.{name}.price` would also price tier `{listed}` of the policy this one extends, the same model"
    merge.loosen(("tiers", name, "price"), message, ("tiers", listed))
    return tier.model_copy(update={"price": None})


def _routing(merge: Tightening, parent: Routing, child: Routing) -> Routing:
    path = ("routing",)
    merged = merge.replaced(parent, child)
    shared = merge.smallest(path, parent, child, only={"frontier_share"})
    escalate = child.escalate or parent.escalate
    if parent.escalate and child.escalate:
        escalate = _escalate(merge, parent.escalate, child.escalate)
    quality = child.quality or parent.quality
    if parent.quality and child.quality:
        quality = merge.smallest((*path, "quality"), parent.quality, child.quality, only={"max_loss", "shadow_per_day"})
    rules = merged_routes(merge, parent.rules, child.rules)
    _ratings(merge, parent.estimator, child.estimator)
    hopeless = child.hopeless or parent.hopeless
    if parent.hopeless and child.hopeless:
        hopeless = _hopeless(merge, parent.hopeless, child.hopeless)
    changes = {
        "rules": rules,
        "escalate": escalate,
        "quality": quality,
        "frontier_share": shared.frontier_share,
        "hopeless": hopeless,
    }
    return merged.model_copy(update={name: value for name, value in changes.items() if value})


def _ratings(merge: Tightening, parent: Estimator, child: Estimator) -> None:
    """A judge that is extended may be given less money, not more."""
    if parent.kind != "judge" or child.kind != "judge":
        return
    ours, theirs = (JudgeSettings.model_validate(each.settings).max_cost for each in (parent, child))
    if ours is not None and (theirs is None or theirs > ours):
        told = "left out" if theirs is None else theirs.written
        message = f"`max_cost` of the judge is {told}, above the {ours.written} it may only lower"
        path = ("routing", "estimator", "settings")
        merge.loosen((*path, "max_cost") if theirs is not None else path, message, (*path, "max_cost"))


def _escalate(merge: Tightening, parent: Escalate, child: Escalate) -> Escalate:
    path = ("routing", "escalate")
    added = [trigger for trigger in child.after if trigger not in parent.after]
    if added:
        merge.loosen((*path, "after"), f"`after` adds {', '.join(added)}, which would move more steps to a dearer tier")
    return merge.smallest(path, parent, child, only={"for_", "at_most"}).model_copy(
        update={
            "after": tuple(trigger for trigger in child.after if trigger in parent.after) or parent.after,
            "repair": child.repair if "repair" in child.model_fields_set else parent.repair,
        }
    )


def _hopeless(merge: Tightening, parent: Hopeless, child: Hopeless) -> Hopeless:
    """A child may give up earlier, and end what its parent lets go on; never the other way."""
    path = ("routing", "hopeless")
    then = merge.ranked((*path, "then"), ("lower", "ask", "stop"), even_unset=True)
    return merge.smallest(path, parent, child, only={"after"}).model_copy(update={"then": then})


def _context(merge: Tightening, parent: Context, child: Context) -> Context:
    smaller = {"max_input_tokens"}
    merged = merge.replaced(parent, child).model_copy(
        update={"max_input_tokens": merge.smallest(("context",), parent, child, only=smaller).max_input_tokens}
    )
    path = ("context", "tool_results")
    results = merge.replaced(parent.tool_results, child.tool_results).model_copy(
        update={"cap": merge.smallest(path, parent.tool_results, child.tool_results, only={"cap"}).cap}
    )
    given = "tool_results" in merged.model_fields_set
    return merged.model_copy(update={"tool_results": results}) if given else merged


def _loops(merge: Tightening, parent: Loops, child: Loops) -> Loops:
    thresholds = {"nudge_at", "block_at", "stop_at"}
    merged = merge.replaced(parent, child)
    lowered = merge.smallest(("loops",), parent, child, only=thresholds)
    updates: dict[str, Any] = {name: getattr(lowered, name) for name in thresholds}
    enforced = merge.parent.mode_of(parent.mode) == "enforce"
    where: Path = ("loops", "mode") if parent.mode else ("mode",)
    if enforced and child.mode == "observe":
        merge.loosen(("loops", "mode"), "`observe` would switch off loop protection that is enforced", where)
        updates["mode"] = "enforce"
    if "respond" in child.model_fields_set:
        dropped = [word for word in parent.respond if word not in child.respond and word != "escalate"]
        if dropped:
            merge.loosen(("loops", "respond"), f"`respond` drops {', '.join(dropped)}")
            updates["respond"] = parent.respond
    tools = parent.tools + (_loop_tools(merge, parent, child, where) if enforced else _new(parent, child))
    if tools != merged.tools:  # also when none is left of what the child asked for
        updates["tools"] = tools
    return merged.model_copy(update={name: value for name, value in updates.items() if value is not None})


def _new(parent: Loops, child: Loops) -> tuple[LoopTool, ...]:
    return tuple(tool for tool in child.tools if tool not in parent.tools)


def _loop_tools(merge: Tightening, parent: Loops, child: Loops, where: Path) -> tuple[LoopTool, ...]:
    """The child's tools with patience of their own, after the parent's, which match first.

    What a tool of one's own needs is its author's to say. A pattern that ends all judging would take away protection from tools
    that nobody named, and so would any patience for every tool there is.
    """
    known = tuple(glob for tool in parent.tools if tool.never_judged for glob in tool.tool)
    kept: list[LoopTool] = []
    for tool in _new(parent, child):
        shown = ", ".join(tool.tool)
        if tool.never_judged and tool.is_pattern and not (known and globs_within(tool.tool, known)):
            message = f"`{shown}` as `{tool.as_}` would switch off loop protection that is enforced, for tools it does not name"
        elif tool.names_everything and tool.as_ != "strict":
            message = f"`{shown}` as `{tool.as_}` would slow loop protection that is enforced for every tool"
        else:
            kept.append(tool)
            continue
        merge.loosen(("loops", "tools", child.tools.index(tool)), message, where)
    return tuple(kept)


def _ladder(merge: Tightening, parent: tuple[LadderRung, ...], child: tuple[LadderRung, ...]) -> tuple[LadderRung, ...]:
    """A child's ladder replaces the parent's when each of the parent's rungs comes no later in it."""
    if not child:
        return parent
    for index, rung in enumerate(parent):
        if not any(own.do == rung.do and own.at <= rung.at for own in child):
            what = rung.do if isinstance(rung.do, str) else "smaller limits"
            merge.loosen(
                ("ladder",), f"the ladder leaves out `{what}` at {rung.at.written} or earlier", ("ladder", index)
            )
            return parent
    return child


def _rates(merge: Tightening, parent: tuple[Rate, ...], child: tuple[Rate, ...]) -> tuple[Rate, ...]:
    merged = list(parent)
    for index, rate in enumerate(child):
        same = next((i for i, base in enumerate(merged) if (base.id, base.tier) == (rate.id, rate.tier)), None)
        if same is None:
            merged.append(rate)
            continue
        base = merged[same]
        path, parent_path = ("rates", index), ("rates", same)
        smaller = merge.smallest(path, base, rate, only=RATE_FIELDS, parent_path=parent_path)
        kept = merge.unchanged(
            path, base, rate, but={*RATE_FIELDS, "id", "tier", "when_full"}, closed=("scope", "burndown")
        )
        updates: dict[str, Any] = {name: getattr(kept, name) for name in ("scope", "burndown", "fair")}
        merged[same] = smaller.model_copy(update={**updates, "when_full": rate.when_full})
    return tuple(merged)


def _trace(merge: Tightening, parent: Trace, child: Trace) -> Trace:
    redact = (*parent.redact, *(kind for kind in child.redact if kind not in parent.redact))
    content = merge.ranked(("trace", "content"), _CONTENT, even_unset=True)
    updates = {"content": content, "redact": redact}
    kept = parent.model_fields_set | child.model_fields_set
    return parent.model_copy(update={name: value for name, value in updates.items() if name in kept})
