"""A recorded run as what a model is trained on: redacted, calls numbered alike in every run, each model call good or with its reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from governor.calls import Message
from governor.policy.matchers import matches_glob
from governor.replay.recorded import Turn

if TYPE_CHECKING:
    from governor.calls import ModelRef
    from governor.redaction import Redactor
    from governor.replay import Recorded

__all__ = ["UNNAMED", "Asked", "Dialogue", "Rejected", "Said", "Tool", "dialogue"]

UNNAMED = "agent"
"""The node of a model call whose record names none."""
_CUT_OFF = frozenset({"length", "max_tokens", "model_length"})
_REFUSED = frozenset({"refusal", "content_filter", "guardrail_intervened", "content_filtered"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A tool call that a model asked for. The id is a number of its run: two runs that did the same are then the same text."""

    id: str
    name: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that was offered, or that was called in a run whose record names none (`inferred`)."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    inferred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    asked: tuple[Asked, ...] = ()
    answers: str = ""
    """Id of the call whose result it is."""
    name: str = ""
    """The tool's, of a result."""
    step: int = 0
    """Number of the model call that said it, from 1."""
    node: str = ""
    readable: bool = True
    """False when there was also a picture or another thing that is no text."""
    unanswered: bool = False
    """Of a model call: some tool call has no result in the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A model call, or a file's line about to be, that is not given to a student, and why."""

    run: str
    file: str
    line: int
    node: str
    steps: tuple[int, ...]
    reason: str
    form: str = ""
    """The format that it is left out of; empty for all of them."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        found: dict[str, Any] = {"run": self.run, "file": self.file, "line": self.line, "node": self.node}
        return {**found, "steps": list(self.steps), "format": self.form or "all", "reason": self.reason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """One run with its good model calls."""

    run: str
    file: str
    line: int
    group: str
    """What it is split by: the conversation where the record names one, else the run."""
    said: tuple[Said, ...]
    tools: tuple[Tool, ...]
    good: frozenset[int]
    """Numbers of its good model calls."""
    rejected: tuple[Rejected, ...]

    def until(self, step: int) -> tuple[Said, ...]:
        """Everything up to the answer of a model call, the answer included."""
        end = next(position for position, each in enumerate(self.said) if each.step == step)
        return self.said[: end + 1]

    def reject(self, node: str, steps: tuple[int, ...], reason: str, form: str = "") -> Rejected:
        """A rejection of this run's."""
        return Rejected(run=self.run, file=self.file, line=self.line, node=node, steps=steps, reason=reason, form=form)


def dialogue(
    run: Recorded,
    score: Callable[[str, int], float | None],
    redactor: Redactor,
    *,
    least: float,
    teacher: str | None,
    model: ModelRef | None = None,
) -> Dialogue:
    """A run's messages and which of its model calls are worth learning from: answered by the teacher, labelled `least` or better, sound."""
    said, good, rejected = list[Said](), set[int](), list[Rejected]()
    calls = 0
    for event in run.events:
        if isinstance(event, Message):
            said.append(_spoken(event, redactor))
        elif isinstance(event, Turn):
            calls += 1
            answer, results = _answered(event, calls, len(said), redactor)
            by = event.model or model
            reason = _why_not(run, event, score(answer.node, calls), least) or _not_taught(by, teacher)
            if reason is None:
                good.add(calls)
            else:
                rejected.append(
                    Rejected(
                        run=run.name, file=run.file, line=run.line, node=answer.node, steps=(calls,), reason=reason
                    )
                )
            said += [answer, *results]
    return Dialogue(
        run=run.name,
        file=run.file,
        line=run.line,
        group=run.thread or run.name,
        said=tuple(said),
        tools=_tools(run, said, redactor),
        good=frozenset(good),
        rejected=tuple(rejected),
    )


def _spoken(message: Message, redactor: Redactor) -> Said:
    return Said(role=message.role, text=redactor.text(message.text), readable=not message.opaque)


def _answered(turn: Turn, step: int, number: int, redactor: Redactor) -> tuple[Said, list[Said]]:
    asked: list[Asked] = []
    results: list[Said] = []
    for position, called in enumerate(turn.calls, 1):
        args = redactor.value(json.loads(json.dumps(called.use.args or {}, default=str)))
        one = Asked(id=f"call_{number}_{position}", name=called.use.name, args=args)
        asked.append(one)
        if called.result is not None:
            results.append(Said(role="tool", text=redactor.text(called.result), answers=one.id, name=one.name))
    answer = Said(
        role="assistant",
        text=redactor.text(turn.message.text),
        asked=tuple(asked),
        step=step,
        node=turn.node or UNNAMED,
        readable=not turn.message.opaque and not any(each.opaque for each in turn.answers),
        unanswered=len(results) < len(asked),
    )
    return answer, results


def _why_not(run: Recorded, turn: Turn, score: float | None, least: float) -> str | None:
    """Why a model call is no example, the plainest reason first; None when it is one."""
    if not run.content:
        return "the record holds no text: record messages, not spans alone"
    if score is None:
        return "nothing says how good it was: no label, no reward"
    if score < least:
        return f"its score is {score:g}, below {least:g}"
    return _unsound(turn)


def _not_taught(model: ModelRef | None, teacher: str | None) -> str | None:
    if teacher is None or (model is not None and matches_glob((teacher,), str(model))):
        return None
    return f"answered by {model or 'a model that the record does not name'}, not by the teacher {teacher}"


def _unsound(turn: Turn) -> str | None:
    failed = next((each.use.name for each in turn.calls if each.failed), None)
    if turn.invalid:
        return "arguments of its tool call do not parse"
    if failed is not None:
        return f"its call of {failed} failed"
    if turn.finish in _CUT_OFF:
        return "the answer was cut off"
    if turn.finish in _REFUSED:
        return "the answer was refused"
    if not turn.message.text.strip() and not turn.calls:
        return "the answer is empty"
    return None


def _tools(run: Recorded, said: list[Said], redactor: Redactor) -> tuple[Tool, ...]:
    """The tools that the record says were offered, and those that were called without being among them."""
    offered = [_offered(name, text, redactor) for name, text in run.tools or ()]
    known = {tool.name for tool in offered}
    seen: dict[str, dict[str, Any]] = {}
    for each in said:
        for asked in each.asked:
            if asked.name not in known:
                seen.setdefault(asked.name, {}).update({key: _type(value) for key, value in asked.args.items()})
    return (
        *offered,
        *(
            Tool(
                name=name, parameters={"type": "object", "properties": dict(sorted(seen[name].items()))}, inferred=True
            )
            for name in sorted(seen)
        ),
    )


def _offered(name: str, text: str, redactor: Redactor) -> Tool:
    """A tool from its description as JSON: OpenAI's function, Anthropic's and MCP's `input_schema`, or LangChain's `args_schema`."""
    try:
        row: Any = json.loads(text) if text else {}
    except ValueError:
        row = {}
    given: Mapping[str, Any] = cast("Mapping[str, Any]", row) if isinstance(row, Mapping) else {}
    schema = next(
        (given[key] for key in ("parameters", "input_schema", "inputSchema", "args_schema") if key in given), None
    )
    described = given.get("description")
    return Tool(
        name=name,
        description=redactor.text(described) if isinstance(described, str) else "",
        parameters=redactor.value(schema) if isinstance(schema, dict) else {"type": "object", "properties": {}},
    )


def _type(value: object) -> dict[str, str]:
    """The JSON schema type of a value that was seen."""
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return {"type": name}
    return {"type": "object"} if isinstance(value, Mapping) else {}
