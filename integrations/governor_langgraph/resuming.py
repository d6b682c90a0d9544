"""Taking up a run that was interrupted or stopped: the answer to what it asked, and the policy it goes on under."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from langgraph.types import Command

from governor.calls import StepRef
from governor.decisions import Reason
from governor.errors import PolicyError
from governor.policy.kept import HANDLE, read_policy
from governor.policy.scalars import ScalarError
from governor.report import reason_of
from governor.reserving import stopped_by
from governor.resuming import adopted, answered, changed, given_more, moved, tried_again, unavailable
from governor.runs import LadderState
from governor.values import cheap, replace
from governor_langgraph.approval import is_yes

if TYPE_CHECKING:
    from governor.calls import RunRef
    from governor.decisions import Decision
    from governor.runs import Question, RunState
    from governor_langgraph.governing import Governor

__all__ = ["Taken", "at_root", "take_up"]

_ID = re.compile(r"[0-9a-f]{32}")
ADOPT, GO_ON = "adopt", "go_on"


@cheap
@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """How a run goes on."""

    governor: Governor
    """Under whose policy."""
    given: Any
    """The input for the graph, without the answer to a question that was governor's."""
    held: Reason | None = None
    """Why nothing of it may run. The graph is drained before its first step."""
    ends: str | None = None
    """`finish` or `stop`: how it ends when a person said so, or when there is nothing to ask."""
    void: str | None = None
    """Id of a question that is answered, or asked in vain."""
    decisions: tuple[Decision, ...] = ()
    """For the trace."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a person said to the run's question. `Command(resume=...)` says it plainly or by the interrupt's id."""

    question: Question
    value: Any

    @classmethod
    def of(cls, question: Question | None, given: Any) -> _Answer | None:
        value = cast("Any", given).resume if isinstance(given, Command) else None
        if question is None or value is None:
            return None
        if isinstance(value, Mapping):
            named = cast("Mapping[object, Any]", value)
            if named and all(isinstance(key, str) and _ID.fullmatch(key) for key in named):
                return cls(question, named[question.id]) if question.id in named else None
        return cls(question, value)

    def rest(self, given: Any) -> Any:
        """The input without the answer: LangGraph never heard the question."""
        value: Any = given.resume
        others = None
        if isinstance(value, Mapping) and self.question.id in value:
            named = cast("Mapping[str, Any]", value)
            others = {key: each for key, each in named.items() if key != self.question.id} or None
        if others is None and not given.update and not given.goto:
            return None
        return Command(graph=given.graph, update=given.update, resume=others, goto=given.goto)


def _unmarked(state: RunState) -> RunState:
    """The state without why the run was stopped, and with its last call to be made anew."""
    return replace(state, stopped=None, question=None, ladder=LadderState(rung=state.ladder.rung))


def take_up(governor: Governor, run: str, given: Any) -> Taken:
    """Go on with the run `run`, given the graph's input.

    Whoever resumes without an answer has seen why the run stopped: the mark is taken off, and limits that still hold stop it again.
    """
    state = governor.runtime.store.change(run, lambda before: (before, before))
    answer = _Answer.of(state.question, given)
    if state.question is not None and answer is None and isinstance(given, Command) and given.resume is not None:
        return Taken(governor=governor, given=given)  # somebody else's answer: what this run was stopped for holds
    taken = _going_on(governor, run, state, answer, given)
    return replace(taken, void=state.question.id) if state.question is not None else taken


def _going_on(governor: Governor, run: str, state: RunState, answer: _Answer | None, given: Any) -> Taken:
    taken = _under_policy(governor, run, state, answer, given)
    if taken.held is not None:
        return taken
    if answer is not None and answer.question.kind == "budget":
        taken = _with_more(taken, run, state, answer)
        if taken.held is not None:
            return taken
    if state.question is not None and state.question.kind == "hopeless":
        taken = _with_another_try(taken, run, state, answer)
        if taken.held is not None:
            return taken
    governor.runtime.store.change(run, lambda before: (tried_again(_unmarked(before)), None))
    return taken


def _held(governor: Governor, run: str, reason: Reason, ends: str | None = None) -> Taken:
    """Not to go on. Kept in the store too, for whatever of the run is started without its root."""

    def hold(state: RunState) -> tuple[RunState, None]:
        stopped = replace(stopped_by(reason), where=state.stopped.where if state.stopped else "")
        return replace(state, stopped=stopped), None

    governor.runtime.store.change(run, hold)
    return Taken(governor=governor, given=None, held=reason, ends=ends)


def _under_policy(governor: Governor, run: str, state: RunState, answer: _Answer | None, given: Any) -> Taken:
    """Under which policy the run goes on."""
    before, now = state.policy, governor.policy.hash
    if not before or before == now:
        return Taken(governor=governor, given=given)
    word = governor.policy.policy.on_policy_change
    if word == "pin":
        return _pinned(governor, run, before, given)
    if word == "ask":
        mine = (
            answer if answer is not None and answer.question.kind == "policy" and answer.question.rule == now else None
        )
        if mine is None:
            return _held(governor, run, changed(before, now))
        if not _use(governor, run, mine, {}) or not (mine.value == ADOPT or is_yes(mine.value)):
            return _held(governor, run, changed(before, now), ends="finish")
        given = mine.rest(given)
    governor.runtime.store.change(run, lambda state: (moved(state, now), None))
    return Taken(governor=governor, given=given, decisions=(adopted(before, now),))


def _pinned(governor: Governor, run: str, before: str, given: Any) -> Taken:
    """Under the policy that the run began under. Fails closed when that cannot be read any more."""
    text = governor.runtime.store.recall(run, HANDLE)
    why = "that was not kept, because it did not say `on_policy_change: pin` itself"
    try:
        if text is not None:
            return Taken(governor=governor.under(read_policy(text, before)), given=given)
    except PolicyError as error:
        why = error.message
    return _held(governor, run, unavailable(before, governor.policy.hash, why), ends="stop")


def _with_more(taken: Taken, run: str, state: RunState, answer: _Answer) -> Taken:
    """The run with what a person added to its budget, or ended by their answer."""
    governor, question, said = taken.governor, answer.question, answer.value
    stopped = reason_of(state.stopped) if state.stopped else _forgotten(question)
    try:
        grants = governor.controls.budget.more(question.rule, question.ledger, said)
    except ScalarError as error:
        _use(governor, run, answer, {})
        if said not in ("stop", "finish"):
            stopped = replace(stopped, text=f"{stopped.text} The answer gave it nothing: {error}.", remedy=error.remedy)
        return _held(governor, run, stopped, ends="stop" if said == "stop" else "finish")
    if not _use(governor, run, answer, grants):  # another process was given the answer first, and runs the graph
        return replace(taken, held=stopped, ends="finish", given=None)
    granted = given_more(question.rule, grants)
    return replace(taken, given=answer.rest(taken.given), decisions=(*taken.decisions, granted))


def _with_another_try(taken: Taken, run: str, state: RunState, answer: _Answer | None) -> Taken:
    """The hopeless run with its best tier once more, or ended: by a person's answer, or for want of one."""
    governor, stopped = taken.governor, reason_of(state.stopped) if state.stopped else _given_up()
    if answer is None:
        return replace(taken, held=stopped, given=None)
    said = answer.value
    if not _use(governor, run, answer, {}) or not (said == GO_ON or is_yes(said)):
        return _held(governor, run, stopped, ends="stop" if said == "stop" else "finish")
    return replace(taken, given=answer.rest(taken.given))


def _given_up() -> Reason:
    return Reason(code="route.hopeless", rule="routing.hopeless", text="The best tier failed.")


def _forgotten(question: Question) -> Reason:
    return Reason(code="budget.exhausted", rule=question.rule, text=f"Budget {question.rule} is used up.")


def _use(governor: Governor, run: str, answer: _Answer, grants: Mapping[str, int]) -> bool:
    runtime, identifier = governor.runtime, answer.question.id
    now = runtime.clock()
    return runtime.store.change(run, lambda state: answered(state, identifier, grants, now))


def at_root(run: RunRef) -> StepRef:
    """What stands for the step of a decision about the run as a whole."""
    return StepRef(run=run, node="", path="", ns="")
