"""One invocation of a governed graph: the run that it opens, and what its caller gets for how that ended."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langgraph.errors import GraphBubbleUp, GraphDrained
from langgraph.pregel import Pregel
from langgraph.runtime import RunControl
from langgraph.types import Command

from governor.errors import RunStopped
from governor.pipeline import run_exit
from governor.values import replace
from governor_langgraph.approval import rejections
from governor_langgraph.asking import (
    INTERRUPT,
    asks,
    chunks,
    interrupt_of,
    latest,
    nobody_to_ask,
    pending,
    question_about,
    taken_off,
)
from governor_langgraph.context import current_step, run_var, within
from governor_langgraph.langgraph_internals import ensure_config, is_resuming, is_task
from governor_langgraph.nodes import GovernedPregelNode
from governor_langgraph.stops import DrainText, GovernorStop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.types import Interrupt, StateSnapshot

    from governor.decisions import Reason
    from governor.report import GovernorReport
    from governor_langgraph.context import GovernedRun
    from governor_langgraph.governing import Governor

    Graph = Pregel[Any, Any, Any, Any]

__all__ = ["Opened", "aclear", "aend", "aopen_run", "clear", "end", "governor_of", "held", "open_run", "report_of"]

T = TypeVar("T")


def governor_of(graph: Graph) -> Governor | None:
    """The governor of a graph. Kept on its nodes, which `copy`, `with_config` and LangGraph's servers carry along."""
    return next((node.governor for node in graph.nodes.values() if isinstance(node, GovernedPregelNode)), None)


def report_of(app: Graph, config: Any) -> GovernorReport | None:
    """What became of the latest run of a thread, read from the store: after the run, during it, or in another process.

    None when the graph is not governed, or the config names no thread that the store knows. `watch` and `on_report` hand out the same
    for runs without a thread.
    """
    governor = governor_of(app)
    return (
        None
        if governor is None
        else governor.latest_report(cast("Mapping[str, Any]", ensure_config(app.config, config)))
    )


@dataclass(slots=True, kw_only=True)
class Opened:
    """A run that this invocation began, and what is needed to end it."""

    run: GovernedRun
    graph: Graph
    given: Any
    """The input, without what was governor's in it."""
    config: Any
    merged: Mapping[str, Any]
    """The config together with the graph's own."""
    nested: bool
    stateless: bool
    """Whether nothing of the run is kept that could be read back or resumed."""
    watches: bool
    """Whether a stop needs the values that passed: what is raised or asked carries them."""
    values: object = None
    """The state's latest values as streamed, for a partial result without a checkpointer."""

    def saw(self, chunk: object, kwargs: Mapping[str, Any]) -> None:
        """Remember the values that pass, whatever shape the caller's stream arguments give the chunks."""
        if not self.watches:
            return
        modes = kwargs.get("stream_mode") or self.graph.stream_mode
        if isinstance(chunk, dict) and kwargs.get("version") == "v2":
            part = cast("dict[str, Any]", chunk)
            if part.get("type") == "values" and not part.get("ns"):
                self.values = part.get("data")
            return
        ns: object = ()
        if kwargs.get("subgraphs") and isinstance(chunk, tuple):
            ns, *rest = cast("tuple[Any, ...]", chunk)
            chunk = tuple(rest) if len(rest) > 1 else rest[0]
        if not isinstance(modes, str) and isinstance(chunk, tuple):
            modes, chunk = cast("tuple[str, Any]", chunk)
        if modes == "values" and not ns:
            self.values = chunk

    @property
    def may_reject(self) -> bool:
        """Whether the caller answers several questions at once: what is asked side by side runs side by side."""
        answers: object = getattr(self.given, "resume", None)  # of a Command; other inputs answer nothing
        resume = answers if isinstance(self.given, Command) else None
        return isinstance(resume, dict) and not self.nested and not self.run.held

    def reject(self, snapshot: StateSnapshot) -> None:
        """Note which calls these answers reject: an identical call beside one of them must not run before its rejection is read."""
        rejected = rejections(snapshot.interrupts, self.given.resume)
        if rejected:
            store = self.run.governor.runtime.store
            store.change(self.run.ref.id, lambda state: (replace(state, rejected={**rejected, **state.rejected}), None))

    def verdict(self, error: BaseException | None) -> Reason | None:
        """Why the caller gets an exception or a question for how the stream ended; None when a stop just ends it.

        Raises `error` again when it is not this run's to decide.
        """
        reason = self._mine(error)
        if reason is None and self.run.passing is not None and (error is None or isinstance(error, GraphDrained)):
            raise self.run.passing
        if reason is None or self.nested:
            if isinstance(error, GraphDrained) and reason is not None:
                raise GovernorStop(reason, self.run) from error  # whoever is around it cannot tell whose drain it was
            if error is not None:
                raise error
            return None
        if asks(self.run, reason):
            return nobody_to_ask(reason) if self.stateless else reason
        return reason if (self.run.ends or self.run.governor.policy.policy.on_exhausted) == "stop" else None

    def question(self, reason: Reason, snapshot: StateSnapshot | None) -> _Asked | None:
        """What to ask a person, noted in the store; None when the run just ends."""
        if snapshot is None or not asks(self.run, reason):
            return None
        where = pending(self.graph, self.merged, snapshot, ())
        if where is None:
            return None  # nothing is left to do that more could buy
        saver, at, _, task = where
        found = interrupt_of(self.run, reason, question_about(self.run, reason))
        return _Asked(found=found, saver=saver, write=(at, [(INTERRUPT, (found,))], task))

    def refusal(self, reason: Reason, snapshot: StateSnapshot | None, report: GovernorReport) -> RunStopped | None:
        """The exception that a stop becomes; None when what could have been asked about is finished."""
        if snapshot is not None and asks(self.run, reason):
            return None
        partial = self.values if snapshot is None else snapshot.values
        return RunStopped(reason, partial, policy_hash=self.run.ref.policy_hash, report=report)

    def shown(self, snapshot: StateSnapshot | None) -> object:
        """The latest values, as they passed or as they are saved."""
        return self.values if self.values is not None or snapshot is None else snapshot.values

    def _mine(self, error: BaseException | None) -> Reason | None:
        if isinstance(error, GovernorStop):
            return error.reason if error.run is self.run else None
        if error is None or isinstance(error, GraphDrained):
            return self.run.stopped  # a drain that governor did not ask for passes unchanged
        return None

    async def aside(self, call: Callable[[], T]) -> T:
        """Make a call that uses the store, where the store lets the event loop go on."""
        return await self.run.governor.runtime.store.aside(call)

    def leave(self) -> None:
        """Give back what the run's branches have reserved and not used."""
        governor = self.run.governor
        governor.drive(run_exit(self.run.ref, governor.controls), self.run.span)

    async def aleave(self) -> None:
        """The async twin of `leave`."""
        governor = self.run.governor
        await governor.drive_async(run_exit(self.run.ref, governor.controls), self.run.span)

    def close(self, error: BaseException | None) -> None:
        """End the run's span."""
        self.run.governor.runtime.telemetry.end(
            self.run.span, error, expected=isinstance(error, (GraphBubbleUp, GeneratorExit))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question, and how it is written into the checkpoint so that `get_state` shows it as an interrupt."""

    found: Interrupt
    saver: BaseCheckpointSaver[Any]
    write: tuple[Any, list[tuple[str, Any]], str]


def open_run(graph: Graph, given: Any, config: Any) -> Opened | None:
    """Begin a run, unless this graph runs inside one that its governor covers already."""
    governor = governor_of(graph)
    current = run_var.get()
    if governor is None or (current is not None and current.covers(governor)):
        return None
    merged = cast("Mapping[str, Any]", ensure_config(graph.config, config))
    conf = within(merged)
    nested = is_task(conf)
    resume = given is None or (isinstance(given, Command) and cast("Any", given).resume is not None)
    resume = resume or is_resuming(conf)
    run, given = governor.open(merged, resume=resume, nested=nested, outer=current_step(), given=given)
    stateless = not cast("Any", graph).checkpointer or conf.get("thread_id") is None
    word = run.governor.policy.policy.on_exhausted
    hopeless = run.governor.policy.policy.routing.hopeless
    watches = "ask" in (word, hopeless.then if hopeless else "") or (stateless and word == "stop")
    return Opened(
        run=run,
        graph=graph,
        given=given,
        config=config,
        merged=merged,
        nested=nested,
        stateless=stateless,
        watches=watches,
    )


async def aopen_run(graph: Graph, given: Any, config: Any) -> Opened | None:
    """The async twin of `open_run`."""
    governor = governor_of(graph)
    return None if governor is None else await governor.runtime.store.aside(partial(open_run, graph, given, config))


def held(opened: Opened, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a stream that shows where the run stands and runs nothing of it. Raises GovernorStop in a nested run."""
    reason = opened.run.stopped
    if reason is None or not opened.run.held:
        return kwargs
    if opened.nested:
        raise GovernorStop(reason, opened.run)
    control = RunControl()
    control.request_drain(DrainText(reason.text))
    return {**kwargs, "control": control}


# --- around the stream ------------------------------------------------------------------------------------------------


def clear(graph: Graph, opened: Opened) -> None:
    """Take a question that is answered out of the checkpoint, and note rejections before anything runs."""
    if opened.may_reject:
        opened.reject(graph.get_state(latest(opened.config)))
    void = opened.run.void
    off = None if void is None else taken_off(graph, opened.merged, graph.get_state(latest(opened.config)), void)
    if off is not None:
        off[0].put_writes(*off[1:])


async def aclear(graph: Graph, opened: Opened) -> None:
    """The async twin of `clear`."""
    if opened.may_reject:
        snapshot = await graph.aget_state(latest(opened.config))
        await opened.aside(partial(opened.reject, snapshot))
    void = opened.run.void
    off = None if void is None else taken_off(graph, opened.merged, await graph.aget_state(latest(opened.config)), void)
    if off is not None:
        await off[0].aput_writes(*off[1:])


def end(graph: Graph, opened: Opened, error: BaseException | None, kwargs: Mapping[str, Any]) -> Iterator[Any]:
    """What the caller gets after the last chunk: nothing, the chunks of a question, or an exception."""
    reason = opened.verdict(error)
    if reason is None:
        return
    snapshot = None if opened.stateless else graph.get_state(latest(opened.config))
    asked = opened.question(reason, snapshot)
    if asked is not None:
        asked.saver.put_writes(*asked.write)
        yield from chunks(graph, kwargs, asked.found, opened.shown(snapshot))
        return
    refused = opened.refusal(reason, snapshot, opened.run.governor.report_on(opened.run))
    if refused is not None:
        raise refused


async def aend(
    graph: Graph, opened: Opened, error: BaseException | None, kwargs: Mapping[str, Any]
) -> AsyncIterator[Any]:
    """The async twin of `end`."""
    reason = opened.verdict(error)
    if reason is None:
        return
    snapshot = None if opened.stateless else await graph.aget_state(latest(opened.config))
    asked = await opened.aside(partial(opened.question, reason, snapshot))
    if asked is not None:
        await asked.saver.aput_writes(*asked.write)
        for chunk in chunks(graph, kwargs, asked.found, opened.shown(snapshot)):
            yield chunk
        return
    refused = opened.refusal(reason, snapshot, await opened.run.governor.areport_on(opened.run))
    if refused is not None:
        raise refused
