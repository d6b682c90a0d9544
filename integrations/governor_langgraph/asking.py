"""Asking a person about a run as a whole: more budget, or a policy that has changed.

Asked at the root, once the graph is drained and saved: one question however many branches were refused, no finished call is repeated,
and user code cannot swallow it. What is pending is in the store and in the checkpoint, so that any process can show it and answer it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Interrupt

from governor.resuming import asked
from governor.runs import Question
from governor.values import replace
from governor_langgraph.context import within
from governor_langgraph.langgraph_internals import checkpointer_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langgraph.pregel import Pregel
    from langgraph.types import StateSnapshot

    from governor.decisions import Reason
    from governor_langgraph.context import GovernedRun

__all__ = [
    "ASKABLE",
    "asks",
    "chunks",
    "interrupt_of",
    "latest",
    "nobody_to_ask",
    "pending",
    "question_about",
    "taken_off",
]

INTERRUPT = "__interrupt__"
"""Key of LangGraph's stream chunks and results, and channel of its checkpoints' pending writes, for interrupts."""
ASKABLE = {"budget.exhausted": "budget", "policy.changed": "policy", "route.hopeless": "hopeless"}
"""Reason code to the kind of question. What is stopped for another reason has no amount that a person could add to."""


def asks(run: GovernedRun, reason: Reason) -> bool:
    """Whether the policy puts a stop for this reason before a person."""
    policy = run.governor.policy.policy
    if reason.code == "policy.changed":
        return run.ends is None
    if reason.code == "route.hopeless":
        hopeless = policy.routing.hopeless
        return run.ends is None and hopeless is not None and hopeless.then == "ask"
    return policy.on_exhausted == "ask" and reason.code in ASKABLE and run.ends is None


def nobody_to_ask(reason: Reason) -> Reason:
    """The reason of a run that should have asked and could not: nothing of it is kept that could be resumed."""
    text = f"{reason.text} The policy says to ask a person for more, which needs a checkpointer and a thread_id: the run was stopped."
    remedy = (
        'Compile the graph with a checkpointer and pass `{"configurable": {"thread_id": ...}}`, or resume it with more.'
    )
    return replace(reason, text=text, remedy=remedy)


def question_about(run: GovernedRun, reason: Reason) -> Question:
    """The question that a stop becomes. Its id has the form of LangGraph's own: 32 hexadecimal digits."""
    runtime, kind = run.governor.runtime, ASKABLE[reason.code]
    question = Question(
        id=runtime.new_id(),
        kind=kind,
        rule=run.ref.policy_hash if kind == "policy" else reason.rule,
        ledger=str(reason.evidence.get("ledger", "")),
        asked_ms=runtime.clock(),
    )
    runtime.store.change(run.ref.id, lambda state: asked(state, question))
    return question


def interrupt_of(run: GovernedRun, reason: Reason, question: Question) -> Interrupt:
    """What a person needs to decide: what is used up, the limit as written, the number seen, and what can be answered."""
    shown: dict[str, Any] = {
        "type": f"governor.{question.kind}",
        "rule": reason.rule,
        "text": reason.text,
        "limit": reason.limit,
        "seen": reason.seen,
        "run": run.ref.id,
    }
    if question.kind == "policy":
        answers: Mapping[str, Any] = {"adopt": "go on under the new policy", "stop": "end the run"}
    elif question.kind == "hopeless":
        answers = {
            "go_on": "let the best tier try again",
            "finish": "end the run with what it has",
            "stop": "end the run",
        }
    else:
        units = run.governor.controls.budget.answers(reason.rule)
        answers = {"more": units, "finish": "end the run with what it has", "stop": "end the run with an error"}
    return Interrupt(value={**shown, "answers": answers}, id=question.id)


# --- in the checkpoint ------------------------------------------------------------------------------------------------


def latest(config: Any) -> Any:
    """The config of the thread's newest checkpoint, whichever the run was started from."""
    conf = {key: value for key, value in within(config).items() if key not in ("checkpoint_id", "checkpoint_map")}
    return {**cast("Mapping[str, Any]", config or {}), "configurable": conf}


def pending(
    graph: Pregel[Any, Any, Any, Any], config: Any, snapshot: StateSnapshot, found: tuple[Interrupt, ...]
) -> tuple[BaseCheckpointSaver[Any], Any, list[tuple[str, Any]], str] | None:
    """Where and what to write so that `get_state` shows `found` as an interrupt of the next task. None when nothing is next."""
    saver: Any = checkpointer_of(within(config)) or cast("Any", graph).checkpointer
    if not isinstance(saver, BaseCheckpointSaver) or not snapshot.tasks:
        return None
    return cast("BaseCheckpointSaver[Any]", saver), snapshot.config, [(INTERRUPT, found)], snapshot.tasks[0].id


def taken_off(
    graph: Pregel[Any, Any, Any, Any], config: Any, snapshot: StateSnapshot, identifier: str
) -> tuple[BaseCheckpointSaver[Any], Any, list[tuple[str, Any]], str] | None:
    """Where and what to write so that the checkpoint shows that question no more. LangGraph would ask which of two is answered."""
    shown = [task for task in snapshot.tasks if any(each.id == identifier for each in task.interrupts)]
    write = pending(graph, config, snapshot, ())
    return (*write[:3], shown[0].id) if write is not None and shown else None


# --- in the stream ----------------------------------------------------------------------------------------------------


def chunks(
    graph: Pregel[Any, Any, Any, Any], kwargs: Mapping[str, Any], found: Interrupt, values: object
) -> Iterator[Any]:
    """The chunks that LangGraph itself would emit for an interrupt, in the shape that the caller's stream arguments ask for."""
    asked_for = kwargs.get("stream_mode") or graph.stream_mode
    modes = [asked_for] if isinstance(asked_for, str) else list(asked_for)
    if "updates" in modes:
        yield _shaped(kwargs, asked_for, "updates", {INTERRUPT: (found,)})
    if "values" not in modes:
        return
    if kwargs.get("version") == "v2":
        yield {"type": "values", "ns": (), "data": values, "interrupts": (found,)}
        return
    together = (
        {**cast("dict[str, Any]", values), INTERRUPT: (found,)} if isinstance(values, dict) else {INTERRUPT: (found,)}
    )
    yield _shaped(kwargs, asked_for, "values", together)


def _shaped(kwargs: Mapping[str, Any], asked_for: object, mode: str, payload: Any) -> Any:
    if kwargs.get("version") == "v2":
        return {"type": mode, "ns": (), "data": payload}
    several, nested = not isinstance(asked_for, str), bool(kwargs.get("subgraphs"))
    if several:
        return ((), mode, payload) if nested else (mode, payload)
    return ((), payload) if nested else payload
