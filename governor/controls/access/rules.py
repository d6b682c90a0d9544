"""Which rules speak about a call: indexed by tool name, matched against the facts of the call."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from governor.policy.matchers import PastCall, evaluate
from governor.policy.rules import STRENGTH
from governor.values import cheap, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.calls import StepRef, ToolCall
    from governor.policy.schema import Policy, ToolRule, When
    from governor.runs import RunState

__all__ = ["Match", "RuleIndex"]

_CONDITIONS = 300

_FACTS_OF_EVERY_CALL = ("args", "tool", "node", "path", "run")


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class _Indexed:
    """A rule made ready for matching."""

    rule: ToolRule
    tools: re.Pattern[str]
    nodes: re.Pattern[str] | None
    needs: tuple[str, ...]
    """Identities the rule's conditions cannot do without (`tenant`, `user`, `thread`)."""
    matched: Match
    """What the rule says of every call that it matches."""


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A rule that speaks about this call, and what it says: its own decision, or `deny` because it could not be evaluated."""

    rule: ToolRule
    observed: bool
    conditions: str
    decide: str
    code: str
    problem: str = ""

    @property
    def order(self) -> tuple[int, int, bool, str]:
        """Sort key: strongest first; of equal ones the shortest-lived, then one with advice, then by id, never by place."""
        rule = self.rule
        lifetime = int(rule.expires) if rule.expires is not None else 1 << 62
        return -STRENGTH[self.decide], lifetime, rule.tell is None, rule.id


class RuleIndex:
    """The tool rules of one policy. Rules for exact names are found by name; patterns are tried one after the other."""

    def __init__(self, policy: Policy) -> None:
        """Compile the rules."""
        self._named: dict[str, list[_Indexed]] = {}
        self._patterns: list[_Indexed] = []
        for rule in policy.tools.rules:
            indexed = _indexed(rule, observed=policy.mode_of(rule.mode) == "observe")
            if any(set(glob) & set("*?[") for glob in rule.tool):
                self._patterns.append(indexed)
            else:
                for name in dict.fromkeys(rule.tool):
                    self._named.setdefault(name, []).append(indexed)

    def names(self, tool: str) -> bool:
        """Whether a rule names exactly this tool."""
        return tool in self._named

    def matches(self, state: RunState, call: ToolCall, now: int) -> list[Match]:
        """All rules that speak about the call, the one that decides among equals first."""
        found = list(self._matching(state, call, now))
        return sorted(found, key=lambda match: match.order) if len(found) > 1 else found

    def _matching(self, state: RunState, call: ToolCall, now: int) -> Iterator[Match]:
        facts: dict[str, Any] | None = None
        for indexed in self._candidates(call.name):
            rule = indexed.rule
            if indexed.nodes is not None and not _from_node(indexed.nodes, call.step):
                continue
            if rule.when is None:
                yield indexed.matched
                continue
            facts = facts if facts is not None else _facts(call)
            missing = [name for name in indexed.needs if name not in facts]
            if missing:
                yield _denied(indexed.matched, "identity_missing", f"the run names no {missing[0]}")
                continue
            try:
                holds = evaluate(rule.when, facts, history=_history(state, now) if rule.when.after else None)
            except Exception as error:  # noqa: BLE001 - whatever it is, the rule has not been checked
                yield _denied(indexed.matched, "error", type(error).__name__)
                continue
            if holds:
                yield indexed.matched

    def _candidates(self, tool: str) -> Iterator[_Indexed]:
        yield from self._named.get(tool, ())
        for indexed in self._patterns:
            if indexed.tools.match(tool):
                yield indexed


def _denied(matched: Match, code: str, problem: str) -> Match:
    """The rule's word on a call that it cannot be evaluated for."""
    return replace(matched, decide="deny", code=f"access.{code}", problem=problem)


def _indexed(rule: ToolRule, *, observed: bool) -> _Indexed:
    tests = rule.when.facts if rule.when else {}
    roots = (path.partition(".")[0] for path, test in tests.items() if test.exists is None)
    return _Indexed(
        rule=rule,
        tools=_compiled(rule.tool),
        nodes=_compiled(rule.node) if rule.node else None,
        needs=tuple(dict.fromkeys(root for root in roots if root not in _FACTS_OF_EVERY_CALL)),
        matched=Match(
            rule=rule,
            observed=observed,
            conditions=_written(rule.when) if rule.when else "",
            decide=rule.decide,
            code=f"access.{rule.decide}",
        ),
    )


def _written(when: When) -> str:
    """A rule's conditions in one line, close to how they are written."""
    parts = [f"after {'|'.join(when.after.tool)}"] if when.after else []
    parts += [when.cel] if when.cel else []
    for path, test in when.facts.items():
        for name in sorted(test.model_fields_set):
            value = getattr(test, name)
            listed = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
            parts.append(f"{path} {name} {'|'.join(str(getattr(item, 'text', item)) for item in listed)}")
    return ", ".join(parts)[:_CONDITIONS]


def _compiled(globs: Sequence[str]) -> re.Pattern[str]:
    """One expression for several globs, each for the whole name and with case."""
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs))


def _from_node(nodes: re.Pattern[str], step: StepRef) -> bool:
    return nodes.match(step.node) is not None or nodes.match(step.path) is not None


def _facts(call: ToolCall) -> dict[str, Any]:
    """What conditions may ask about. The run's identity comes from its config; nothing that the model says can overwrite it."""
    step = call.step
    facts: dict[str, Any] = dict(step.run.scopes)
    facts |= {"args": call.args, "tool": call.name, "node": step.node, "path": step.path, "run": step.run.id}
    if step.run.thread is not None:
        facts["thread"] = step.run.thread
    return facts


def _history(state: RunState, now: int) -> list[PastCall]:
    """Tools that have run, with how long ago. One whose time is not known counts as just now: sequence rules mostly restrict."""
    finished = dict(state.loop.used)
    return [PastCall(tool=name, ago=max(0, now - finished.get(name, now))) for name in {*state.tools_used, *finished}]
