"""Who answers for a model: the rules of a scenario, or a function."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from governor_sandbox import templates
from governor_sandbox.errors import ScenarioError
from governor_sandbox.output import Reply, ScriptedCall
from governor_sandbox.prompt import Conversation
from governor_sandbox.schema import CallRow, ReplyRow, ScenarioFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply and the rule that gave it."""

    reply: Reply
    rule: str


class Behaviour(Protocol):
    """Anything that can answer for a model. ``reset`` forgets how often it has."""

    def answer(self, talk: Conversation) -> Answer:
        """The reply to a conversation."""
        ...

    def reset(self) -> None:
        """Start over."""
        ...


class RuleBook:
    """Answers from a scenario file."""

    def __init__(self, file: ScenarioFile) -> None:
        """Nothing has been answered yet."""
        self._file = file
        self._fired: dict[int, int] = {}
        self._lock = threading.Lock()

    def answer(self, talk: Conversation) -> Answer:
        """First match wins.

        Raises:
            ScenarioError: No rule applies, or its template fails.
        """
        for i, rule in enumerate(self._file.rules):
            groups = rule.when.groups(talk)
            if groups is not None and self._may_fire(i, rule.times):
                return self._fill(rule.reply, talk, groups, rule.name or f"rules[{i}]")
        if self._file.default is not None:
            return self._fill(self._file.default, talk, {}, "default")
        said = talk.last.text[:80] or f"{len(talk.last.tool_results)} tool result(s)"
        raise ScenarioError(
            f"no rule answers {talk.model} at step {talk.step} after {talk.last.role} {said!r}: add a rule or a `default`",
            source=self._file.name or "<scenario>",
        )

    def reset(self) -> None:
        """Forget how often rules have fired."""
        with self._lock:
            self._fired.clear()

    def _may_fire(self, i: int, times: int | None) -> bool:
        with self._lock:
            fired = self._fired.get(i, 0)
            if times is not None and fired >= times:
                return False
            self._fired[i] = fired + 1
            return True

    def _fill(self, row: ReplyRow, talk: Conversation, groups: Mapping[str, str], rule: str) -> Answer:
        scope = templates.names(talk, groups)
        given = {k: v for k, v in row.model_dump(exclude={"text", "tool_calls"}).items() if v is not None}
        try:
            calls = [call for template in row.tool_calls for call in _calls(template, scope)]
            text = str(templates.render(row.text, scope))
        except ValueError as error:
            raise ScenarioError(f"rule {rule!r}: {error}", source=self._file.name or "<scenario>") from error
        settings = {**self._file.defaults.model_dump(), **given}
        return Answer(reply=Reply(text=text, tool_calls=tuple(calls), **settings), rule=rule)


class Scripted:
    """Answers from a function, for tests."""

    def __init__(self, function: Callable[[Conversation], Reply | str]) -> None:
        self._function = function

    def answer(self, talk: Conversation) -> Answer:
        """Whatever the function says; a string is a reply's text."""
        name = getattr(self._function, "__name__", "callable")
        try:
            said = self._function(talk)
        except Exception as error:  # whatever a test's function does wrong, the client must hear of it
            raise ScenarioError(f"{error!r}", source=name) from error
        return Answer(reply=Reply(text=said) if isinstance(said, str) else said, rule=name)

    def reset(self) -> None:
        """Nothing to forget: a function keeps its own state."""


def _calls(row: CallRow, scope: Mapping[str, Any]) -> list[ScriptedCall]:
    scopes: list[Mapping[str, Any]] = [scope]
    if row.for_each is not None:
        items = templates.render(row.for_each, scope)
        if not isinstance(items, list | tuple):
            raise ValueError(f"for_each: {row.for_each!r} is not a list")
        scopes = [{**scope, "item": item} for item in items]  # pyright: ignore[reportUnknownVariableType] - any JSON value
    return [
        ScriptedCall(name=str(templates.render(row.name, s)), args=templates.render_json(row.args, s)) for s in scopes
    ]
