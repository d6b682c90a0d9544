"""Nodes: a copy of the compiled graph whose nodes run inside a governed step.

`PregelNode.bound` stays the user's own object: drawings, cache keys, subgraph detection and timeout checks read it. The only thing that
Pregel executes is the cached property `node`, so that alone is replaced.
"""

from __future__ import annotations

import copy
from contextlib import aclosing, closing
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from langchain_core.runnables import Runnable, RunnableConfig, RunnableSequence
from langgraph.errors import GraphBubbleUp, ParentCommand
from langgraph.prebuilt import ToolNode
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from governor.errors import RunStopped
from governor.pipeline import step_entry, step_exit
from governor.values import replace
from governor_langgraph.context import Active, GovernedStep, current_step, run_var, step_ref, superstep_of, within
from governor_langgraph.langgraph_internals import (
    DEFAULT_BOUND,
    PregelNode,
    RunnableSeq,
    executed,
    runtime_of,
    sent_beside,
)
from governor_langgraph.stops import GovernorStop, drain, stop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from types import TracebackType

    from governor.decisions import Reason
    from governor.progress import Value
    from governor_langgraph.governing import Governor

__all__ = ["Entered", "GovernedNode", "GovernedPregelNode", "begin"]


class GovernedNode(Runnable[Any, Any]):
    """A node's runnable inside a governed step. Sync stays sync, async stays async, and chunks pass one by one."""

    def __init__(self, inner: Runnable[Any, Any], governor: Governor, *, recall: bool) -> None:
        """`recall`: the node's graph holds a ToolNode that answers the recall tool."""
        self.inner = inner
        self.name = inner.name if hasattr(inner, "name") else None
        self.governor = governor
        self.recall = recall
        self.answers = isinstance(inner, ToolNode)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - Runnable's name
        """Run the node once, as one attempt of its step."""
        with self._entered(config, input) as active, active:
            return self.inner.invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - same
        """The async twin of `invoke`."""
        async with self._entered(config, input) as active:
            with active:
                return await self.inner.ainvoke(input, config, **kwargs)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:  # noqa: A002 - same
        """Run the node, passing its chunks. The step is the current one only while the node itself runs."""
        with (
            self._entered(config, input) as active,
            closing(_closable(self.inner.stream(input, config, **kwargs))) as chunks,
        ):
            while True:
                with active:
                    try:
                        chunk = next(chunks)
                    except StopIteration:
                        return
                yield chunk

    async def astream(
        self,
        input: Any,  # noqa: A002 - Runnable's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """The async twin of `stream`."""
        async with (
            self._entered(config, input) as active,
            aclosing(cast("Any", self.inner.astream(input, config, **kwargs))) as chunks,
        ):
            while True:
                with active:
                    try:
                        chunk = await anext(chunks)
                    except StopAsyncIteration:
                        return
                yield chunk

    def _entered(self, config: RunnableConfig | None, state: Any) -> Entered:
        step = begin(self.governor, config, recall=self.recall, answers=self.answers)
        told = self.governor.controls.loop.progress
        return Entered(step, told.of(state) if told is not None else None)


def begin(
    governor: Governor, config: RunnableConfig | None, *, recall: bool = False, answers: bool = False
) -> GovernedStep:
    """A step of the run that this code belongs to, or of a run of its own when nothing here is governed by `governor` yet."""
    given = cast("Mapping[str, Any]", config or {})
    current = run_var.get()
    if current is not None and current.covers(governor):
        run, outer = current, current.outer
    else:
        run, outer = governor.ambient(given), current_step()
    conf = within(given)
    runtime = runtime_of(conf)
    info = getattr(runtime, "execution_info", None)
    ref = step_ref(run.ref, conf.get("checkpoint_ns") or "", attempt=getattr(info, "node_attempt", 1))
    if run.governor.controls.limits.counts_fans:
        ref = replace(ref, superstep=superstep_of(given), sent=sent_beside(conf))
    span, otel = INVALID_SPAN, None
    if run.otel is not None:
        span = run.governor.runtime.telemetry.step(ref, run.otel)
        otel = set_span_in_context(span, run.otel)
    return GovernedStep(
        ref=ref,
        run=run,
        control=getattr(runtime, "control", None),
        otel=otel,
        span=span,
        outer=outer,
        recall=recall and run.governor.caps_results,
        answers=answers,
    )


class Entered:
    """A step that is entered by the path's rules, and left when the node has ended for good. Entering raises GovernorStop."""

    __slots__ = ("progress", "step")

    def __init__(self, step: GovernedStep, progress: Value | None = None) -> None:
        """Nothing happens until the block is entered. `progress`: what the graph's state says of it."""
        self.step = step
        self.progress = progress

    def __enter__(self) -> Active:
        """Count the step; what it answers makes the step the current one."""
        step, governor = self.step, self.step.run.governor
        try:
            try:
                governor.drive(step_entry(step.ref, governor.controls, self.progress), step.span)
            except RunStopped as refused:
                _refuse(step, refused.reason)
        except BaseException as raised:
            self._end(raised)
            raise
        return Active(step.run, step)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the step's span, and the step itself unless it may come back."""
        step, governor = self.step, self.step.run.governor
        try:
            if _for_good(error):
                governor.drive(step_exit(step.ref, governor.controls), step.span)
        finally:
            self._end(error)

    async def __aenter__(self) -> Active:
        """The async twin of `__enter__`."""
        step, governor = self.step, self.step.run.governor
        try:
            try:
                await governor.drive_async(step_entry(step.ref, governor.controls, self.progress), step.span)
            except RunStopped as refused:
                _refuse(step, refused.reason)
        except BaseException as raised:
            self._end(raised)
            raise
        return Active(step.run, step)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The async twin of `__exit__`."""
        step, governor = self.step, self.step.run.governor
        try:
            if _for_good(error):
                await governor.drive_async(step_exit(step.ref, governor.controls), step.span)
        finally:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self.step.run.governor.runtime.telemetry.end(self.step.span, error, expected=_expected(error))


def _refuse(step: GovernedStep, reason: Reason) -> None:
    """End the run at this step. One that answers tool calls still runs: each call is refused, and so answered."""
    if not step.answers or not drain(step, reason):
        stop(step, reason)


def _closable(chunks: Iterator[Any]) -> Any:
    """`stream` promises an iterator only; generators are closed at once, others have nothing to close."""
    return chunks if hasattr(chunks, "close") else (chunk for chunk in chunks)


def _for_good(error: BaseException | None) -> bool:
    """Whether the step is over: it returned, or handed over to another node. Errors may be retried, interrupts resumed."""
    return error is None or isinstance(error, ParentCommand)


def _expected(error: BaseException | None) -> bool:
    """Whether an error is LangGraph's control flow (interrupts, handovers, stops) rather than a failure."""
    return isinstance(error, (GraphBubbleUp, GovernorStop, GeneratorExit))


class GovernedPregelNode(PregelNode):
    """A node that runs inside a governed step and is its user's own node in every other respect."""

    governor: Governor
    recall: bool

    @classmethod
    def of(cls, node: PregelNode, governor: Governor, *, recall: bool, **changed: Any) -> GovernedPregelNode:
        """A governed copy of `node`; `changed` replaces attributes (a nested graph by its governed copy)."""
        cached = ("node", "flat_writers", "input_cache_key", "governor", "recall")
        attributes = {name: value for name, value in node.__dict__.items() if name not in cached}
        new = cls(**{**attributes, **changed})
        new.governor, new.recall = governor, recall
        return new

    @cached_property
    def node(self) -> Runnable[Any, Any] | None:
        """What Pregel executes: the user's runnable inside a governed step, then the writers."""
        plain = executed(self)
        if plain is None or self.bound is DEFAULT_BOUND:
            return plain
        if isinstance(self.bound, (RunnableSequence, RunnableSeq)):
            return GovernedNode(plain, self.governor, recall=self.recall)  # its steps are spliced in: keep that
        stand_in = copy.copy(self)
        stand_in.__dict__.pop("node", None)
        stand_in.bound = GovernedNode(self.bound, self.governor, recall=self.recall)
        return executed(stand_in)

    def copy(self, update: dict[str, Any]) -> PregelNode:
        """A governed copy, as LangGraph makes when it changes an attribute."""
        return GovernedPregelNode.of(PregelNode.copy(_plain(self), update), self.governor, recall=self.recall)


def _plain(node: GovernedPregelNode) -> PregelNode:
    attributes = {name: value for name, value in node.__dict__.items() if name not in ("governor", "recall")}
    plain = object.__new__(PregelNode)
    plain.__dict__.update(attributes)
    return plain
