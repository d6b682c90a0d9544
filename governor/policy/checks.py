"""What the schema cannot see: references between parts, ids used twice, numbers that contradict each other."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

from governor.policy.estimators import estimator_complaints
from governor.policy.matchers import FACT_ROOTS
from governor.policy.problems import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.policy.document import Path
    from governor.policy.scalars import Tokens
    from governor.policy.schema import Policy

__all__ = ["Complaint", "complaints", "rule_ids", "unknown_tiers"]

Complaint = tuple["Path", str, str]
"""Path, message, remedy."""


def complaints(policy: Policy) -> list[Complaint]:
    """Contradictions inside one policy."""
    return [
        *_ids_used_twice(policy),
        *_rungs_that_do_not_rise(policy),
        *_thresholds_that_do_not_rise(policy),
        *_unknown_facts(policy),
        *_misplaced_keys(policy),
        *_sizes_that_do_not_fit(policy),
        *estimator_complaints(policy),
    ]


def rule_ids(policy: Policy) -> Iterator[tuple[Path, str]]:
    """Every id in the policy with its path."""
    lists = (
        (("routing", "rules"), policy.routing.rules),
        (("budgets",), policy.budgets),
        (("rates",), policy.rates),
        (("tools", "rules"), policy.tools.rules),
        (("nodes", "rules"), policy.nodes.rules),
        (("exceptions",), policy.exceptions),
    )
    for path, rules in lists:
        for index, rule in enumerate(rules):
            if rule.id is not None:
                yield (*path, index, "id"), rule.id


def _ids_used_twice(policy: Policy) -> Iterator[Complaint]:
    first: dict[str, Path] = {}
    for path, rule_id in rule_ids(policy):
        if rule_id in first:
            where = ".".join(map(str, first[rule_id][:-1]))
            yield path, f"the id `{rule_id}` is already used by `{where}`", "Give each rule an id of its own."
        first.setdefault(rule_id, path)


def _rungs_that_do_not_rise(policy: Policy) -> Iterator[Complaint]:
    for index, (lower, upper) in enumerate(pairwise(policy.ladder)):
        if upper.at <= lower.at:
            message = f"the ladder does not rise: {upper.at.written} follows {lower.at.written}"
            yield ("ladder", index + 1, "at"), message, "Order the rungs by `at`, each above the one before."


def _thresholds_that_do_not_rise(policy: Policy) -> Iterator[Complaint]:
    names = ("nudge_at", "block_at", "stop_at")
    given = [(name, at) for name in names if (at := getattr(policy.loops, name)) is not None]
    for (lower, first), (upper, second) in pairwise(given):
        if second <= first:
            message = f"`{upper}` is {second.written}, not above `{lower}` ({first.written})"
            yield ("loops", upper), message, "Let them rise, like 3, 5 and 8."


def _unknown_facts(policy: Policy) -> Iterator[Complaint]:
    for index, rule in enumerate(policy.tools.rules):
        for path in rule.when.facts if rule.when else ():
            root = path.partition(".")[0]
            if root not in FACT_ROOTS or path.endswith("."):
                message = f"no call has a fact `{path}`, so this rule could never match"
                yield ("tools", "rules", index, "when", path), message, nearest(root, FACT_ROOTS)


def _misplaced_keys(policy: Policy) -> Iterator[Complaint]:
    for index, rule in enumerate(policy.tools.rules):
        if rule.expires is not None and rule.decide != "ask":
            yield ("tools", "rules", index, "expires"), "`expires` goes with `decide: ask`", "Remove it, or ask."
        if rule.tell is not None and rule.decide == "allow":
            yield ("tools", "rules", index, "tell"), "an allowed call has nobody to tell", "Remove `tell`."
    for index, budget in enumerate(policy.budgets):
        if budget.fee is not None and budget.tool is None:
            yield ("budgets", index, "fee"), "`fee` is what a tool costs, but no `tool` is named", "Add `tool: ...`."
        if budget.per is not None and budget.scope in ("run", "thread"):
            yield ("budgets", index, "per"), f"a {budget.scope} has no window", "Remove `per`, or choose another scope."
    yield from _misplaced_elsewhere(policy)


def _misplaced_elsewhere(policy: Policy) -> Iterator[Complaint]:
    for index, tool in enumerate(policy.loops.tools):
        if tool.every is not None and tool.for_at_most is not None and tool.every > tool.for_at_most:
            yield ("loops", "tools", index, "every"), "`every` is longer than `for_at_most`", "Make it shorter."
    for name, value in policy.identity:
        if value is not None and value.startswith("config.") and not value.removeprefix("config."):
            yield ("identity", name), "`config.` names no key", "Write it like `config.user`."


def _sizes_that_do_not_fit(policy: Policy) -> Iterator[Complaint]:
    for name, tier in policy.tiers.items():
        window, output = tier.context_window, tier.max_output_tokens
        if window is not None and output is not None and output >= window:
            message = f"{output.written} tokens of output leave nothing of a window of {window.written}"
            yield ("tiers", name, "max_output_tokens"), message, "Make it smaller than `context_window`."
    context = policy.context
    largest = context.max_input_tokens
    if largest is None:
        return
    if context.compact.strategy != "off" and context.compact.keep_tail + context.compact.ledger >= largest:
        message = f"`keep_tail` and `ledger` together reach `max_input_tokens` ({largest.written})"
        yield ("context", "compact", "keep_tail"), message, "Make them smaller."
    if context.tool_results.cap is not None and context.tool_results.cap >= largest:
        message = f"a result of {context.tool_results.cap.written} fills `max_input_tokens` ({largest.written})"
        yield ("context", "tool_results", "cap"), message, "Make it smaller."


def unknown_tiers(policy: Policy) -> Iterator[Complaint]:
    """Tiers that are named but not declared, checked after `extends` has brought in the parents' tiers."""
    named: list[tuple[Path, str]] = []
    if policy.routing.default is not None:
        named.append((("routing", "default"), policy.routing.default))
    named += [(("routing", "rules", index, "tier"), rule.tier) for index, rule in enumerate(policy.routing.rules)]
    judge = policy.routing.estimator
    if judge.kind == "judge" and isinstance(judge.settings.get("tier"), str):
        named.append((("routing", "estimator", "settings", "tier"), judge.settings["tier"]))
    named += [(("rates", index, "tier"), tier) for index, rate in enumerate(policy.rates) for tier in rate.tier]
    for path, tier in named:
        if tier not in policy.tiers:
            yield path, f"there is no tier `{tier}`", nearest(tier, policy.tiers)
    yield from _answers_beyond_a_rate(policy)


def _answers_beyond_a_rate(policy: Policy) -> Iterator[Complaint]:
    """Longest answers that do not fit a whole minute of their tier's rate: no call could ever be admitted."""
    for index, rate in enumerate(policy.rates):
        share = Fraction(rate.fair.share) if rate.fair else Fraction(1)
        for field in ("tokens_per_minute", "output_tokens_per_minute"):
            limit: Tokens | None = getattr(rate, field)
            if limit is None:
                continue
            admits = f"{rate.fair.share.written} of {limit.written}" if rate.fair else limit.written
            for tier in rate.tier:
                output = policy.tiers[tier].max_output_tokens if tier in policy.tiers else None
                if output is not None and output > limit * share:
                    message = f"an answer of tier `{tier}` holds up to {output.written} tokens, and there are {admits} a minute"
                    yield ("rates", index, field), message, f"Raise it, or lower `tiers.{tier}.max_output_tokens`."
