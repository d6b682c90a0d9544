"""Which runs and steps were good: what an outcome says of them, a reward in the record, or a filter over the record's facts."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from governor.errors import ConfigurationError
from governor.replay import TraceError

if TYPE_CHECKING:
    from governor.replay import Recorded

__all__ = ["REWARDS", "Label", "LabelRows", "Where", "by_run", "labelled", "read_labels"]

REWARDS = ("reward", "score", "resolved", "success", "metadata.reward", "metadata.score")
"""Facts of a run that are read as its reward when nobody names one, the first that is there."""

_REMEDY = (
    'Write {"run": name of the run, "score": 0 to 1} a line, and "node" or "step" (from 1) where only that is meant.'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What somebody said of a run, of a node in it, or of one model call."""

    run: str
    score: float
    """0 is useless, 1 is right."""
    node: str | None = None
    step: int | None = None
    """Number of the model call in its run, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRows:
    """What was read of a file of labels."""

    labels: tuple[Label, ...]
    errors: tuple[TraceError, ...] = ()


_TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


_CONDITION = re.compile(r"\s*([^<>=!]*[^<>=!\s])\s*(>=|<=|!=|=|>|<)\s*(\S.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on a fact of the run: `resolved=true`, `metadata.cost<0.5`. A run without the fact does not meet it."""

    fact: str
    test: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Where:
        """Read `FACT OP VALUE`. Raises ConfigurationError naming what can be written."""
        match = _CONDITION.fullmatch(text)
        fact, test, value = (match[1], match[2], match[3]) if match else ("", "", "")
        if not (fact and value):
            raise ConfigurationError(f"--where {text}: write a fact and a value, as in --where resolved=true.")
        if test not in ("=", "!=") and _number(value) is None:
            raise ConfigurationError(f"--where {text}: `{test}` compares numbers, and {value} is none.")
        return cls(fact, test, value)

    def holds(self, facts: Mapping[str, object]) -> bool:
        """Whether a run with these facts meets it."""
        if self.fact not in facts:
            return False
        found = facts[self.fact]
        left, right = _number(found), _number(self.value)
        if left is not None and right is not None:
            return _TESTS[self.test](left, right)
        return self.test in ("=", "!=") and _TESTS[self.test](_word(found), self.value)


def labelled(run: Recorded, labels: Iterable[Label], *, reward: str | None) -> Callable[[str, int], float | None]:
    """For one run: node and step (from 1) to the score, or None where nobody said anything.

    The most exact word counts: of the step, of the node, of the run, then the record's own reward. Of several alike the last counts.
    """
    said = {(label.node if label.step is None else None, label.step): label.score for label in labels}
    own = _reward(run, reward)

    def score(node: str, step: int) -> float | None:
        for key in ((None, step), (node, None), (None, None)):
            if key in said:
                return said[key]
        return own

    return score


def _reward(run: Recorded, named: str | None) -> float | None:
    for fact in (named,) if named is not None else REWARDS:
        found = _number(run.facts[fact]) if fact in run.facts else None
        if found is not None:
            return found
    return None


def read_labels(text: str, file: str) -> LabelRows:
    """Labels of a file of JSON lines, as `governor.feedback` writes them or by hand. A bad line is in `errors`; the others count."""
    found: list[Label] = []
    failed: list[TraceError] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        wrong = ""
        try:
            row: object = json.loads(line)
        except (ValueError, RecursionError) as error:
            row, wrong = None, f"is not JSON: {getattr(error, 'msg', error)}"
        label = _label(row)
        if isinstance(label, Label):
            found.append(label)
        else:
            failed.append(TraceError(wrong or label, file=file, line=number, remedy=_REMEDY))
    return LabelRows(labels=tuple(found), errors=tuple(failed))


def _label(row: object) -> Label | str:
    """A label, or what is wrong with it."""
    if not isinstance(row, Mapping):
        return "is JSON, but no object"
    given = cast("Mapping[str, Any]", row)
    run, score, node, step = (given.get(key) for key in ("run", "score", "node", "step"))
    if not isinstance(run, str) or not run:
        return "names no run in `run`"
    if isinstance(score, str) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        return "has no `score` between 0 and 1"
    if node is not None and not isinstance(node, str):
        return "has a `node` that is no text"
    if step is not None and (isinstance(step, bool) or not isinstance(step, int) or step < 1):
        return "has a `step` that is no number from 1"
    return Label(run=run, score=float(score), node=node or None, step=step)


def by_run(labels: Iterable[Label]) -> Mapping[str, list[Label]]:
    """Labels of each run, in order."""
    found: dict[str, list[Label]] = {}
    for label in labels:
        found.setdefault(label.run, []).append(label)
    return found


def _number(value: object) -> float | None:
    """A number; True and `true` are 1. None for anything else."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "false"):
            return float(word == "true")
        try:
            found = float(word)
        except ValueError:
            return None
        return found if found == found else None  # noqa: PLR0124 - not a number is unequal to itself
    return float(value) if isinstance(value, (int, float)) else None


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
