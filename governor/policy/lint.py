"""Remarks about a policy that loads: what is not enforced yet, rules that cannot act, gaps a reviewer should know of.

`error` findings mean that the policy does not do what it says; `warning` that it probably does not; `info` is for reading.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, cast

from governor.policy.findings import Finding, Severity
from governor.policy.lint_ladder import ladder
from governor.policy.lint_splits import splits
from governor.policy.merge_rules import globs_within
from governor.policy.not_yet import NOT_YET_ENFORCED
from governor.policy.pricing import money_budget, unpriced
from governor.policy.problems import closest
from governor.policy.providers import KNOWN_PROVIDERS
from governor.policy.rules import STRENGTH
from governor.policy.satisfiable import can_hold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.policy.document import Path
    from governor.policy.load import LoadedPolicy
    from governor.policy.schema import Policy, RouteRule, ToolRule

__all__ = ["check"]

_Remark = tuple[Severity, str, "Path", str]


def check(loaded: LoadedPolicy) -> tuple[Finding, ...]:
    """Every remark about a loaded policy, in file order, errors first among those of one place."""
    policy = loaded.policy
    remarks = [
        *_not_yet_enforced(policy),
        *_dead_tool_rules(loaded),
        *_dead_routes(loaded),
        *_contradictions(policy),
        *_overlaps(policy),
        *_models(policy),
        *_gaps(policy),
        *_routing(policy),
        *_loops(policy),
        *ladder(policy),
        *splits(policy),
        *_risky(policy),
    ]
    findings = [_finding(loaded, *remark) for remark in remarks]
    return tuple(sorted(findings, key=lambda f: (f.file, f.line, f.column, f.severity, f.code)))


def _finding(loaded: LoadedPolicy, severity: Severity, code: str, path: Path, message: str) -> Finding:
    file, line, column = loaded.place_of(path)
    dotted = ".".join(map(str, path))
    return Finding(severity=severity, code=code, message=message, file=file, line=line, column=column, path=dotted)


def _not_yet_enforced(policy: Policy) -> Iterator[_Remark]:
    for pattern, (used, what) in NOT_YET_ENFORCED.items():
        for path, value in _at(policy, tuple(pattern.split(".")), ()):
            if used(value):
                shown = ".".join(str(part) for part in path)
                yield "warning", "not-yet-enforced", path, f"`{shown}` is accepted, not yet enforced: {what}"


def _at(value: Any, pattern: tuple[str, ...], path: Path) -> Iterator[tuple[Path, Any]]:
    """Everything the author set at a path pattern; `*` stands for any list position."""
    if not pattern:
        yield path, value
    elif pattern[0] == "*":
        for index, item in enumerate(cast("tuple[Any, ...]", value)):
            yield from _at(item, pattern[1:], (*path, index))
    elif value is not None and pattern[0] in value.model_fields_set:
        yield from _at(getattr(value, pattern[0]), pattern[1:], (*path, pattern[0]))


def _dead_tool_rules(loaded: LoadedPolicy) -> Iterator[_Remark]:
    policy = loaded.policy
    rules = policy.tools.rules
    for index, rule in enumerate(rules):
        path = ("tools", "rules", index)
        stronger = next((each for each in rules if each is not rule and _always_beats(each, rule, policy)), None)
        if stronger is not None:
            message = f"rule `{rule.id}` never decides: `{stronger.id}` ({stronger.decide}) covers all its calls"
            yield _dead(loaded, path, rule, stronger, message)
        elif rule.decide == "allow" and policy.tools.default == "allow":
            yield "info", "rule-without-effect", path, f"rule `{rule.id}` allows what `tools.default` allows anyway"


def _dead_routes(loaded: LoadedPolicy) -> Iterator[_Remark]:
    rules = loaded.policy.routing.rules
    for index, rule in enumerate(rules):
        first = next((each for each in rules[:index] if globs_within(rule.when.node, each.when.node)), None)
        if first is not None:
            message = f"rule `{rule.id}` never decides: `{first.id}` comes first and matches all its nodes"
            yield _dead(loaded, ("routing", "rules", index), rule, first, message)


def _dead(
    loaded: LoadedPolicy, path: Path, rule: ToolRule | RouteRule, by: ToolRule | RouteRule, message: str
) -> _Remark:
    """A rule that never decides: a mistake, unless a policy that extends its own overrules it, which is what extending is for."""
    overruled = _layer_of(loaded, path[:2], by) < _layer_of(loaded, path[:2], rule)
    return "info" if overruled else "error", "shadowed-rule", path, message


def _layer_of(loaded: LoadedPolicy, where: Path, rule: ToolRule | RouteRule) -> int:
    """Which policy of the chain had the last word about a rule; 0 is the one that was loaded."""
    for position, layer in enumerate(loaded.layers):
        rules: Any = reduce(getattr, cast("tuple[str, ...]", where), cast("Any", layer.policy))
        if any(each.id == rule.id for each in rules):
            return position
    return 0


def _always_beats(one: ToolRule, other: ToolRule, policy: Policy) -> bool:
    """Whether the first rule matches all calls of the second and is stronger (in force, without conditions of its own)."""
    enforced = policy.mode_of(one.mode) == policy.mode_of(other.mode)
    covers = globs_within(other.tool, one.tool) and globs_within(other.node, one.node)
    same_condition = one.when is None or one.when == other.when
    return enforced and covers and same_condition and STRENGTH[one.decide] > STRENGTH[other.decide]


def _contradictions(policy: Policy) -> Iterator[_Remark]:
    for index, rule in enumerate(policy.tools.rules):
        for fact, test in rule.when.facts.items() if rule.when else ():
            if not can_hold(test):
                message = f"rule `{rule.id}` can never match: no value passes all tests on `{fact}`"
                yield "error", "never-matches", ("tools", "rules", index, "when", fact), message


def _models(policy: Policy) -> Iterator[_Remark]:
    for name, tier in policy.tiers.items():
        if tier.provider not in KNOWN_PROVIDERS:
            close = closest(tier.provider, KNOWN_PROVIDERS)
            remedy = (
                f"Did you mean `{close}`?" if close else "It works only where a package of that provider is installed."
            )
            message = (
                f"`{tier.provider}` of tier `{name}` is no provider that LangChain's init_chat_model names. {remedy}"
            )
            yield "warning", "unknown-provider", ("tiers", name, "model"), message
    if policy.tiers and money_budget(policy) is not None:
        from governor.prices import PriceBook  # noqa: PLC0415 - a third of a second, only for those who ask for prices

        for name, message, remedy in unpriced(policy, PriceBook(policy)):
            yield "error", "unknown-price", ("tiers", name, "model"), f"{message}: no run would start. {remedy}"


def _overlaps(policy: Policy) -> Iterator[_Remark]:
    """Rules that decide differently about some of the same calls; the stronger wins, which the author may not expect."""
    for index, rule in enumerate(policy.tools.rules):
        for other in policy.tools.rules[:index]:
            if rule.decide == other.decide or _always_beats(rule, other, policy) or _always_beats(other, rule, policy):
                continue
            if rule.when is None and other.when is None and _may_overlap(rule, other):
                winner = max(rule, other, key=lambda each: STRENGTH[each.decide])
                message = f"rules `{other.id}` and `{rule.id}` share calls; `{winner.id}` ({winner.decide}) wins"
                yield "info", "overlap", ("tools", "rules", index), message


def _may_overlap(one: ToolRule, other: ToolRule) -> bool:
    nodes = (
        one.node is None
        or other.node is None
        or globs_within(one.node, other.node)
        or globs_within(other.node, one.node)
    )
    tools = any(globs_within((each,), other.tool) for each in one.tool) or any(
        globs_within((each,), one.tool) for each in other.tool
    )
    return nodes and tools


def _gaps(policy: Policy) -> Iterator[_Remark]:
    hard = [budget for budget in policy.budgets if budget.hard and policy.mode_of(budget.mode) == "enforce"]
    if not any(budget.tool is None for budget in hard):
        yield "warning", "no-hard-budget", ("budgets",), "no hard budget bounds what a run may spend"
    if policy.limits.steps is None:
        yield "warning", "no-step-limit", ("limits",), "`limits.steps` is not set: a run may take any number of steps"
    if policy.limits.time is None:
        yield "info", "no-time-limit", ("limits",), "`limits.time` is not set: a run may take any time"
    if not policy.tools.rules and policy.tools.default == "deny":
        yield "info", "no-tools", ("tools",), "no rule allows a tool: every tool call is denied"
    for index, budget in enumerate(policy.budgets):
        if budget.scope in ("org", "tenant", "user") and getattr(policy.identity, budget.scope) is None:
            message = f"budget `{budget.id}` needs `identity.{budget.scope}`; without it every call is refused"
            yield "warning", "scope-without-name", ("budgets", index, "scope"), message
    escalates = policy.routing.escalate is not None or "escalate" in policy.loops.respond
    if escalates and len(policy.tiers) == 1:
        yield "warning", "nowhere-to-escalate", ("tiers",), "there is only one tier to escalate to"
    yield from _never_heard(policy)


def _never_heard(policy: Policy) -> Iterator[_Remark]:
    """Signals that nothing gives under this policy."""
    routing = policy.routing
    after = routing.escalate.after if routing.escalate is not None else ()
    path = ("routing", "escalate", "after")
    if "low_score" in after and (routing.snapshot is None or routing.estimator.kind == "off"):
        yield "warning", "nothing-scored", path, "no answer is scored without `routing.snapshot` and an `estimator`"
    if "disagreement" in after and routing.check.kind == "off":
        yield "warning", "nothing-compared", path, "no answer is compared without `routing.check: self_consistency`"


def _routing(policy: Policy) -> Iterator[_Remark]:
    routing = policy.routing
    decides = routing.estimator.kind != "off" and routing.snapshot is not None
    records = routing.estimator.kind == "judge" and routing.estimator.settings.get("mode", "shadow") == "shadow"
    if routing.estimator.kind != "off" and routing.snapshot is None and not records:
        message = "without `routing.snapshot` the estimator has nothing to go by: steps that no rule names go to `routing.default`"
        yield "warning", "no-snapshot", ("routing", "estimator"), message
    if routing.snapshot is not None and routing.estimator.kind == "off":
        yield "warning", "snapshot-unused", ("routing", "snapshot"), "`estimator` is off: nothing reads the snapshot"
    for name in ("frontier_share", "quality"):
        if getattr(routing, name) is not None and not decides:
            message = f"`{name}` binds what an estimator decides by a snapshot, and here rules and default decide"
            yield "warning", "no-snapshot", ("routing", name), message
    quality = routing.quality
    if quality is not None and quality.shadow is not None and routing.outcomes is None:
        message = "without `routing.outcomes` (or `$GOVERNOR_OUTCOMES`) there is nowhere to keep pairs, and no call is sent twice"
        yield "warning", "no-outcomes", ("routing", "quality", "shadow"), message
    if quality is not None and quality.shadow_per_day is not None and quality.shadow is None:
        message = "`shadow_per_day` bounds shadow calls, and no share of the calls is asked for"
        yield "warning", "no-shadow", ("routing", "quality", "shadow_per_day"), message


def _loops(policy: Policy) -> Iterator[_Remark]:
    if policy.loops.mode == "observe" and policy.mode == "enforce":
        yield "warning", "observe", ("loops", "mode"), "loops are only observed: a run that repeats itself goes on"
    for index, tool in enumerate(policy.loops.tools):
        if tool.never_judged and tool.is_pattern:
            shown, path = ", ".join(tool.tool), ("loops", "tools", index)
            remedy = "Give it `for_at_most`." if tool.as_ == "poll" else "Name the tools one by one."
            message = f"loop protection is off for every tool that `{shown}` matches, and those still to come. {remedy}"
            yield "warning", "loops-off", path, message


def _risky(policy: Policy) -> Iterator[_Remark]:
    if policy.mode == "observe":
        yield "warning", "observe", ("mode",), "this policy only observes: every call goes through"
    if policy.tools.default == "allow":
        yield "warning", "default-allow", ("tools", "default"), "tools that no rule names are allowed"
    for index, rule in enumerate(policy.tools.rules):
        path = ("tools", "rules", index)
        if rule.mode == "observe" and policy.mode == "enforce":
            yield "info", "observe", (*path, "mode"), f"rule `{rule.id}` only observes"
        if rule.decide == "allow" and "*" in rule.tool and rule.when is None:
            yield "warning", "allow-everything", (*path, "tool"), f"rule `{rule.id}` allows every tool"
        if rule.decide == "nudge" and rule.tell is None:
            yield (
                "warning",
                "nudge-without-words",
                path,
                f"rule `{rule.id}` nudges without `tell`: the model learns nothing",
            )
        if rule.decide == "ask" and rule.expires is None:
            yield "info", "ask-without-end", path, f"rule `{rule.id}` asks without `expires`: a run may wait for ever"
    context = policy.context
    if context.compact.strategy == "mask" and not context.tool_results.recall:
        message = "masked tool results are lost to the model: without `recall` nothing reads them back"
        yield "warning", "mask-without-recall", ("context", "tool_results", "recall"), message
    yield from _secrets(policy)


def _secrets(policy: Policy) -> Iterator[_Remark]:
    for name, tier in policy.tiers.items():
        for header, value in tier.request_headers.items():
            if _looks_secret(header) and "${" not in value:
                part = "gateway" if tier.gateway else "headers"
                message = (
                    f"header `{header}` of tier `{name}` may be a secret; write `${{NAME}}` to read the environment"
                )
                yield "error", "secret-in-policy", ("tiers", name, part), message


def _looks_secret(header: str) -> bool:
    return any(word in header.lower() for word in ("authorization", "api-key", "apikey", "token", "secret"))
