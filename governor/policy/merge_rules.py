"""Merging of lists of rules. A rule both policies name by id must stay at least as strict; others are added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from governor.policy.matchers import matches_glob
from governor.policy.rules import STRENGTH
from governor.policy.splits import at_least_as_tight
from governor.policy.weights import Weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from governor.policy.document import Path
    from governor.policy.schema import (
        Budget,
        NodeRule,
        Nodes,
        Policy,
        PolicyException,
        RouteRule,
        Section,
        ToolRule,
        Tools,
    )
    from governor.policy.splits import Split
    from governor.policy.tightening import Tightening

__all__ = ["globs_within", "merged_budgets", "merged_exceptions", "merged_nodes", "merged_routes", "merged_tools"]

R = TypeVar("R", bound="Section")


def _by_id(parent: Sequence[R], child: Sequence[R], merge_one: Callable[[int, int, R, R], R]) -> tuple[R, ...]:
    """The parent's rules first, each merged with the child's of the same id, then the child's own."""
    merged = list(parent)
    positions: dict[Any, int] = {getattr(rule, "id", None): index for index, rule in enumerate(parent)}
    for index, rule in enumerate(child):
        position = positions.get(getattr(rule, "id", None))
        if position is None:
            merged.append(rule)
        else:
            merged[position] = merge_one(position, index, parent[position], rule)
    return tuple(merged)


def _softer_mode(merge: Tightening, ours: Any, theirs: Any, path: Path, parent_path: Path) -> str | None:
    """The mode of a rule both name; a child may promote it to `enforce`, never the other way."""
    before, after = merge.parent.mode_of(ours.mode), theirs.mode or ours.mode
    if before == "enforce" and after == "observe":
        merge.loosen((*path, "mode"), f"rule `{ours.id}` is enforced and cannot become `observe`", parent_path)
        return ours.mode
    return after


def merged_routes(merge: Tightening, parent: Sequence[RouteRule], child: Sequence[RouteRule]) -> tuple[RouteRule, ...]:
    """Routing rules: a locked one keeps its nodes, its tier and its lock."""

    def one(position: int, index: int, ours: RouteRule, theirs: RouteRule) -> RouteRule:
        path, parent_path = ("routing", "rules", index), ("routing", "rules", position)
        if ours.lock and (not theirs.lock or (theirs.when, theirs.tier) != (ours.when, ours.tier)):
            merge.loosen(path, f"rule `{ours.id}` is locked and cannot be changed or unlocked", parent_path)
            return ours
        return theirs.model_copy(update={"mode": _softer_mode(merge, ours, theirs, path, parent_path)})

    return _by_id(parent, child, one)


def merged_budgets(merge: Tightening, parent: Sequence[Budget], child: Sequence[Budget]) -> tuple[Budget, ...]:
    """Budgets: the same scope, window and tools; limits by minimum; hard stays hard."""

    def one(position: int, index: int, ours: Budget, theirs: Budget) -> Budget:
        path, parent_path = ("budgets", index), ("budgets", position)
        if (ours.scope, ours.per, ours.tool) != (theirs.scope, theirs.per, theirs.tool):
            message = f"budget `{ours.id}` must keep its `scope`, `per` and `tool`"
            merge.loosen(path, message, parent_path)
            return ours
        if ours.hard and not theirs.hard:
            merge.loosen((*path, "hard"), f"budget `{ours.id}` is hard and cannot become soft", parent_path)
        if ours.fee is not None and theirs.fee is not None and theirs.fee < ours.fee:
            merge.loosen(
                (*path, "fee"), f"the fee of `{ours.id}` is {ours.fee.written} and cannot be lowered", parent_path
            )
        weights = _heavier(merge, ours, theirs, path, parent_path)
        limit = merge.smallest((*path, "limit"), ours.limit, theirs.limit, parent_path=(*parent_path, "limit"))
        return ours.model_copy(
            update={
                "limit": limit,
                "weights": weights,
                "split": _tighter_split(merge, ours, theirs, path, parent_path),
                "hard": ours.hard or theirs.hard,
                "fee": max((fee for fee in (ours.fee, theirs.fee) if fee is not None), default=None),
                "mode": _softer_mode(merge, ours, theirs, path, parent_path),
            }
        )

    return _by_id(parent, child, one)


def _tighter_split(merge: Tightening, ours: Budget, theirs: Budget, path: Path, parent_path: Path) -> Split:
    """How branches share a budget both name: a child may hold each to less of it, never to more."""
    if "split" not in theirs.model_fields_set or theirs.split == ours.split:
        return ours.split
    if not at_least_as_tight(theirs.split, ours.split):
        message = f"the `split` of `{ours.id}` may only get tighter: from `shared` to another, or to smaller weights"
        merge.loosen((*path, "split"), message, (*parent_path, "split"))
        return ours.split
    return theirs.split


def _heavier(merge: Tightening, ours: Budget, theirs: Budget, path: Path, parent_path: Path) -> Weights | None:
    """The weights of a budget both name: a child may let a token count for more, never for less."""
    if theirs.weights is None:
        return ours.weights
    before = ours.weights or Weights()
    if ours.limit.tokens is None:  # the parent counts no tokens: how the child does is its own affair
        return theirs.weights
    lighter = [kind for kind in type(before).model_fields if getattr(theirs.weights, kind) < getattr(before, kind)]
    if lighter:
        message = f"the weights of `{ours.id}` let {', '.join(lighter)} tokens count for less"
        merge.loosen((*path, "weights"), message, parent_path)
        return ours.weights
    return theirs.weights


def globs_within(narrow: Sequence[str] | None, wide: Sequence[str] | None) -> bool:
    """Whether every name the first patterns match is surely matched by the second. None matches every name."""
    if wide is None or "*" in wide:
        return True
    if narrow is None:
        return False
    return all(each in wide or (not set(each) & set("*?[") and matches_glob(wide, each)) for each in narrow)


def merged_tools(merge: Tightening, parent: Tools, child: Tools) -> Tools:
    """Tool rules. A rule both name may get stronger; an `allow` may also get narrower."""
    default = child.default if "default" in child.model_fields_set else parent.default
    if STRENGTH[default] < STRENGTH[parent.default]:
        merge.loosen(("tools", "default"), f"`tools.default` is `{default}`, weaker than `{parent.default}`")
        default = parent.default

    def one(position: int, index: int, ours: ToolRule, theirs: ToolRule) -> ToolRule:
        path, parent_path = ("tools", "rules", index), ("tools", "rules", position)
        if STRENGTH[theirs.decide] < STRENGTH[ours.decide]:
            message = f"rule `{ours.id}` is `{theirs.decide}` here, weaker than `{ours.decide}`"
            merge.loosen((*path, "decide"), message, (*parent_path, "decide"))
            return ours
        if not _covers_as_it_must(ours, theirs):
            merge.loosen(path, f"rule `{ours.id}` would no longer hold for the same calls", parent_path)
            return ours
        if ours.expires is not None and theirs.expires is not None and theirs.expires > ours.expires:
            merge.loosen(
                (*path, "expires"), f"approvals of `{ours.id}` expire after {ours.expires.written}", parent_path
            )
            return ours
        return theirs.model_copy(
            update={
                "mode": _softer_mode(merge, ours, theirs, path, parent_path),
                "expires": theirs.expires or (ours.expires if theirs.decide == "ask" else None),
                "tags": tuple(dict.fromkeys((*ours.tags, *theirs.tags))),
            }
        )

    updates = {"default": default, "rules": _by_id(parent.rules, child.rules, one)}
    kept = parent.model_fields_set | child.model_fields_set
    return parent.model_copy(update={name: value for name, value in updates.items() if name in kept})


def merged_nodes(merge: Tightening, parent: Nodes, child: Nodes) -> Nodes:
    """Node rules. A denial both name stays, for at least the same nodes; a permission may only get narrower."""
    default = child.default if "default" in child.model_fields_set else parent.default
    if STRENGTH[default] < STRENGTH[parent.default]:
        merge.loosen(("nodes", "default"), f"`nodes.default` is `{default}`, weaker than `{parent.default}`")
        default = parent.default

    def one(position: int, index: int, ours: NodeRule, theirs: NodeRule) -> NodeRule:
        path, parent_path = ("nodes", "rules", index), ("nodes", "rules", position)
        weaker = STRENGTH[theirs.decide] < STRENGTH[ours.decide]
        narrow, wide = (ours, theirs) if theirs.decide == "deny" else (theirs, ours)
        if weaker or not globs_within(narrow.node, wide.node):
            merge.loosen(path, f"rule `{ours.id}` would no longer hold for the same nodes", parent_path)
            return ours
        return theirs.model_copy(update={"mode": _softer_mode(merge, ours, theirs, path, parent_path)})

    updates = {"default": default, "rules": _by_id(parent.rules, child.rules, one)}
    kept = parent.model_fields_set | child.model_fields_set
    return parent.model_copy(update={name: value for name, value in updates.items() if name in kept})


def _covers_as_it_must(ours: ToolRule, theirs: ToolRule) -> bool:
    """A restriction must hold for the calls it held for; a permission must not reach further than it did."""
    if ours.decide == "allow" == theirs.decide:
        same_condition = ours.when is None or ours.when == theirs.when
        return globs_within(theirs.tool, ours.tool) and globs_within(theirs.node, ours.node) and same_condition
    return (ours.tool, ours.node, ours.when) == (theirs.tool, theirs.node, theirs.when) or (
        ours.decide == "allow" and theirs.when is None and globs_within(ours.tool, theirs.tool)
    )


def merged_exceptions(merge: Tightening, parent: Policy, child: Policy) -> tuple[PolicyException, ...]:
    """A child may write exceptions to its own rules only."""
    theirs = {rule.id for rule in (*parent.tools.rules, *parent.budgets, *parent.routing.rules)}
    for index, exception in enumerate(child.exceptions):
        lifted = sorted(theirs.intersection(exception.rules)) if exception not in parent.exceptions else []
        if lifted:
            message = f"exception `{exception.id}` lifts {', '.join(lifted)}, which the policy it extends lays down"
            merge.loosen(("exceptions", index), message, ())
    known = {exception.id for exception in parent.exceptions}
    return (*parent.exceptions, *(each for each in child.exceptions if each.id not in known))
