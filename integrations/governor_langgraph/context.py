"""What is governed right now: a run, a step in it, and whether the current call was taken already.

Context variables, set where LangGraph copies the context (a node's own) or for the length of one `next` or one call: never across a
`yield`, since a generator's body runs in its reader's context.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from opentelemetry import context as otel_context
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from governor.calls import StepRef
from governor.history import HistoryMemo
from governor.values import maker
from governor_langgraph.langgraph_internals import control_of, var_child_runnable_config
from governor_langgraph.seats import found, seat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Token
    from types import TracebackType

    from langchain_core.callbacks import BaseCallbackHandler
    from langgraph.runtime import RunControl
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from governor.calls import Message, RunRef
    from governor.decisions import Reason
    from governor.runs import Steady
    from governor_langgraph.governing import Governor
    from governor_langgraph.stops import GovernorStop

__all__ = [
    "Active",
    "Execution",
    "GovernedRun",
    "GovernedStep",
    "Held",
    "current_run",
    "current_span",
    "current_step",
    "executing",
    "held",
    "model_taken",
    "model_vouched",
    "run_var",
    "seated",
    "second_line",
    "step_ref",
    "step_var",
    "superstep_of",
    "tool_taken",
    "within",
]

_step = maker(StepRef)

LANES = 64
"""Lanes whose converted history is kept in memory per run; the least recently used is converted anew."""

_STEADY = 256
"""Lanes of which it is remembered what their system texts were; the one used longest ago begins anew. A run may be as long as a process."""


@dataclass(eq=False, slots=True, kw_only=True)
class GovernedRun:
    """One governed invocation, in this process. Everything durable about it is in the store."""

    ref: RunRef
    governor: Governor
    outer: GovernedStep | None
    """The step of another governor in which this run was started."""
    otel: Context | None
    """The OpenTelemetry context that holds `span`; None while nothing is traced, so that nothing needs to be switched."""
    span: Span
    stopped: Reason | None = None
    held: bool = False
    """Whether nothing of it may run: a person has to be asked first, or said no."""
    ends: str | None = None
    """How it ends, `finish` or `stop`, where a person decided that; None: as the policy says."""
    void: str | None = None
    """Id of a question that has been answered, or asked in vain, while the checkpoint still shows it."""
    stands_for: Governor | None = None
    """The governor whose graph this is, where the run is pinned to an older policy than that one's."""
    passing: GovernorStop | None = None
    """The stop of a run that was started inside of a tool, on its way to whoever called this one."""
    lanes: OrderedDict[str, HistoryMemo] = field(default_factory=OrderedDict[str, HistoryMemo])
    steady: dict[str, tuple[Steady, ...]] = field(default_factory=dict[str, tuple["Steady", ...]])
    """What each lane has seen of its leading system texts: as the store had it when the run was opened, then as it went on here."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def covers(self, governor: Governor) -> bool:
        """Whether calls of this run already go through `governor`, or through one with the very same policy and ledgers."""
        run: GovernedRun | None = self
        while run is not None:
            if governor in (run.governor, run.stands_for) or run.governor.equals(governor):
                return True
            run = run.outer.run if run.outer else None
        return False

    def memo(self, lane: str, render: Callable[[Message], object]) -> HistoryMemo:
        """The converted history of a lane. Call with `lock` held."""
        memo = self.lanes.get(lane)
        if memo is None:
            memo = self.lanes[lane] = HistoryMemo(render=render)
            while len(self.lanes) > LANES:
                self.lanes.popitem(last=False)
        else:
            self.lanes.move_to_end(lane)
        return memo

    def saw(self, lane: str, steady: tuple[Steady, ...]) -> None:
        """Remember what a lane has seen of its leading system texts. Call with `lock` held."""
        self.steady.pop(lane, None)
        self.steady[lane] = steady
        if len(self.steady) > _STEADY:
            del self.steady[next(iter(self.steady))]


@dataclass(eq=False, slots=True, kw_only=True)
class GovernedStep:
    """One node execution being governed; or, for code outside of nodes, what stands in for one."""

    ref: StepRef
    run: GovernedRun
    control: RunControl | None
    otel: Context | None
    """As of the run."""
    span: Span
    outer: GovernedStep | None = None
    """The step of another governor around this one, whose policy applies to every call as well."""
    recall: bool = False
    """Whether the step's own graph holds a ToolNode that answers the recall tool."""
    soft: bool = False
    """Whether a stop is turned into an answer right here (`GovernorMiddleware`), so that nothing needs draining."""
    answers: bool = False
    """Whether the step answers a model's tool calls: refused, it still has to, or they stay open in the thread."""
    calls: itertools.count[int] = field(default_factory=itertools.count)


run_var: ContextVar[GovernedRun | None] = ContextVar("governor_run", default=None)
step_var: ContextVar[GovernedStep | None] = ContextVar("governor_step", default=None)
model_taken: ContextVar[bool] = ContextVar("governor_model_taken", default=False)
"""True while the provider is being called for a governed call: whatever the client does inside is that same call."""
model_vouched: ContextVar[bool] = ContextVar("governor_model_vouched", default=False)
"""True while a model that governs itself, or whose call is governed a little later, reports its start."""
second_line: ContextVar[BaseCallbackHandler | None] = ContextVar("governor_second_line", default=None)
"""The handler that LangChain adds to every callback manager while a governed run is the current one."""
tool_taken: ContextVar[str | None] = ContextVar("governor_tool_taken", default=None)
"""Name of the tool that a ToolNode is about to run for a governed call; taken off before the tool's body runs."""


@dataclass(eq=False, slots=True)
class Execution:
    """One governed tool call while it runs, for the hooks that user code has put between governor and the tool."""

    once: bool
    """Whether a person approved it: that is for one attempt."""
    attempts: int = 0


executing: ContextVar[Execution | None] = ContextVar("governor_executing", default=None)


# --- where a context is empty -----------------------------------------------------------------------------------------


def seated() -> GovernedStep | None:
    """The step that code right here belongs to, by its context or by who runs it."""
    return step_var.get() or found()


def current_run() -> GovernedRun | None:
    """The run that code right here belongs to; None outside of governed runs."""
    run = run_var.get()
    if run is not None:
        return run
    step = found()
    return step.run if step is not None else None


class Held:
    """The governed step of one place, to be taken to another thread or task. Made by `held`."""

    __slots__ = ("_before", "_tokens", "_values")

    def __init__(self, run: GovernedRun, step: GovernedStep | None) -> None:
        """Take what is current."""
        line = run.governor.second_line
        self._values = (run, step, line if not model_taken.get() else None, model_taken.get(), tool_taken.get())

    def settle_in(self) -> None:
        """Make it current in this context for good."""
        for variable, value in zip(_CARRIED, self._values, strict=True):
            variable.set(cast("Any", value))

    def __enter__(self) -> None:
        """Make it current for the length of a `with` block."""
        self._tokens = [
            variable.set(cast("Any", value)) for variable, value in zip(_CARRIED, self._values, strict=True)
        ]
        self._before = seat(self._values[1])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put back what was there."""
        seat(self._before)
        for variable, token in zip(_CARRIED, self._tokens, strict=True):
            variable.reset(cast("Any", token))


def held() -> Held | None:
    """What code that starts from here without a context has to take along; None outside of governed runs."""
    run, step = run_var.get(), step_var.get()
    if run is None:
        step = found()
        if step is None:
            return None
        run = step.run
    return Held(run, step)


_CARRIED: tuple[ContextVar[Any], ...] = (run_var, step_var, second_line, model_taken, tool_taken)


class Active:
    """Make a run and its step the current ones, and their span the current span, for the length of a `with` block."""

    __slots__ = ("_before", "_line", "_run", "_span", "_step", "otel", "run", "step")

    def __init__(self, run: GovernedRun, step: GovernedStep | None = None) -> None:
        """Without a step, code in the block counts to the run alone (branches, reducers)."""
        self.run = run
        self.step = step
        self.otel = step.otel if step else run.otel

    def __enter__(self) -> None:
        """Set all three; nested use is fine."""
        self._run: Token[GovernedRun | None] = run_var.set(self.run)
        self._step: Token[GovernedStep | None] | None = None
        if self.step is not None:
            self._step = step_var.set(self.step)
            self._before = seat(self.step)
        self._line = second_line.set(self.run.governor.second_line)
        self._span = otel_context.attach(self.otel) if self.otel is not None else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put back what was there, error or not."""
        if self._span is not None:
            otel_context.detach(self._span)
        second_line.reset(self._line)
        if self._step is not None:
            seat(self._before)
            step_var.reset(self._step)
        run_var.reset(self._run)


def current_span(span: Span) -> Token[Context] | None:
    """Make a span the current one; detach what this answers. None for a span that leads nowhere: that changes nothing."""
    return otel_context.attach(set_span_in_context(span)) if span is not INVALID_SPAN else None


def within(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The `configurable` part of a config, never None."""
    return (config or {}).get("configurable") or {}


def step_ref(run: RunRef, ns: str, *, attempt: int = 1) -> StepRef:
    """The step that LangGraph's checkpoint namespace names: `orders:<task>|worker:<task>` is `orders/worker`."""
    if "|" not in ns and not ns.isdigit():  # a node of the root graph, as most are
        node = ns.partition(":")[0]
        return _step(run=run, node=node, path=node, ns=ns, attempt=attempt)
    names = [part.partition(":")[0] for part in ns.split("|") if part and not part.isdigit()]
    return StepRef(
        run=run,
        node=names[-1] if names else "",
        path="/".join(names),
        ns=ns,
        depth=max(0, len(names) - 1),
        attempt=attempt,
    )


def superstep_of(config: Mapping[str, Any]) -> tuple[str, int] | None:
    """The checkpoint from which LangGraph runs a node, and the superstep's number. Branches side by side have both in common.

    None for the body of an `@task`: those of one superstep may well run one after the other.
    """
    metadata: Mapping[str, Any] = config.get("metadata") or {}
    number, path = metadata.get("langgraph_step"), metadata.get("langgraph_path") or ()
    if not isinstance(number, int) or (len(path) > 1 and isinstance(path[1], (tuple, list))):
        return None
    conf = within(config)
    graph = (conf.get("checkpoint_ns") or "").rpartition("|")[0]
    checkpoints: Mapping[str, str] = conf.get("checkpoint_map") or {}
    checkpoint = checkpoints.get(graph)
    return None if checkpoint is None else (checkpoint, number)


def current_step() -> GovernedStep | None:
    """The step to which a call made right here belongs; None outside of governed runs.

    Code between nodes (branches, reducers) has a run only, and code in a graph that was started inside a node has that node's
    step: both get a step of their own from the config they run under.
    """
    run, step = run_var.get(), step_var.get()
    if run is None:
        return found()
    if step is not None and step.run is not run:
        step = None
    conf = within(var_child_runnable_config.get())
    ns = conf.get("checkpoint_ns") or ""
    if step is not None and (not ns or ns == step.ref.ns):
        return step
    control = step.control if step else control_of(conf)
    return GovernedStep(
        ref=step_ref(run.ref, ns) if ns or step is None else step.ref,
        run=run,
        control=control,
        otel=step.otel if step else run.otel,
        span=step.span if step else run.span,
        outer=step.outer if step else run.outer,
        soft=step is not None and step.soft,
    )
