"""`probe`: proves on a graph of the user's own that every node, tool and model in it is mediated, without running any of it.

A copy of the graph in which every body is a tripwire (`tripwires`) is governed for real, under a policy that denies everything, and run
in every way that LangGraph has. A cell counts as mediated only when the rule that should refuse it did, and no tripwire was reached.
"""

from __future__ import annotations

import asyncio
import warnings
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models.llms import BaseLLM
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda, RunnableSequence
from langchain_core.tools import BaseTool, StructuredTool, Tool
from langgraph._internal._runnable import RunnableCallable, RunnableSeq
from langgraph.constants import START
from langgraph.prebuilt import ToolNode
from langgraph.pregel._read import DEFAULT_BOUND
from langgraph.types import Send
from langsmith.run_helpers import tracing_context

from governor.decisions import Verdict as Ruling
from governor.errors import Refused
from governor.policy.load import LoadedPolicy, load
from governor.runs import Stopped
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.telemetry import Telemetry
from governor.values import replace
from governor_langgraph import hooks
from governor_langgraph.certificate import Cell, Certificate, Row, graph_hash
from governor_langgraph.context import current_step
from governor_langgraph.governing import Governor
from governor_langgraph.graph import govern
from governor_langgraph.inspect import reach
from governor_langgraph.probing import HOST, MODEL_CALLS, RUNS, TOOL_CALLS, Way, host
from governor_langgraph.stops import watch
from governor_langgraph.tripwires import (
    Tripwire,
    is_of_a_library,
    tripwired_graph,
    tripwired_model,
    tripwired_tool,
)
from governor_langgraph.vendors import vendor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from os import PathLike

    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable
    from opentelemetry.trace import Span

    from governor.calls import StepRef
    from governor.decisions import Decision
    from governor_langgraph.inspect import FoundGraph
    from governor_langgraph.stops import RunReport

__all__ = ["probe"]

CANNOT_RUN = "it has an async function only"
BEYOND = (
    "Code on edges, in reducers and in @task functions is no node: it was not run here, and the calls in it are reached by the hooks.",
    "Out of reach of any probe: raw sockets, other processes, and what a RemoteGraph runs, which is governed where it runs.",
    "Models and tools that code makes while it runs are not listed; the hooks are on their classes.",
)


def probe(graph: object, policy: str | PathLike[str] | Mapping[str, Any] | LoadedPolicy | None = None) -> Certificate:
    """Prove that every node, tool and model of a graph is mediated. Nothing of the graph's own runs.

    To be called outside of an event loop. `policy` is named in the certificate and decides about `mediation`; its own rules are not
    what is tried. Raises ConfigurationError when `graph` is none, PolicyError when the policy cannot be used.
    """
    given = policy if isinstance(policy, LoadedPolicy) else load(cast("Any", policy or _policy("strict")))
    found = reach(graph)
    with _Trial(given) as trial:
        rows = (*_nodes(trial, found.graphs), *_tools(trial, found.tools), *_models(trial, found.models))
    return Certificate(
        graph=found.described.name,
        graph_hash=graph_hash(found),
        policy=given.policy.name,
        policy_hash=given.hash,
        mode=given.policy.mode,
        mediation=given.policy.mediation,
        rows=rows,
        remarks=(*_left_out(given), *BEYOND),
    )


def _policy(mediation: str, *, nodes: str = "deny") -> dict[str, Any]:
    """Denies everything; with `nodes: allow`, tools alone. The probe's own node has to run either way."""
    rule = {"id": "the-probe-itself", "node": HOST, "decide": "allow"}
    return {
        "governor": 1,
        "name": "deny-everything",
        "mediation": mediation,
        "tools": {"default": "deny"},
        "nodes": {"default": nodes, "rules": [rule]},
    }


def _left_out(policy: LoadedPolicy) -> Iterator[str]:
    """What the given policy does not hold, although everything is mediated."""
    if policy.policy.mode == "observe":
        yield "The policy observes: what it would refuse is recorded, and runs."
    if policy.policy.mediation == "lenient":
        yield "mediation: lenient. A call through a provider's own client (boto3, openai, anthropic) is reported, and goes on."


# --- one cell ---------------------------------------------------------------------------------------------------------


class _Decisions(Telemetry):
    """Keeps what was decided since it was last cleared, and sends nothing anywhere."""

    def __init__(self, policy: LoadedPolicy) -> None:
        super().__init__(policy)
        self.made: list[tuple[StepRef, Decision]] = []
        self.look()

    def look(self) -> None:
        """Nobody listens: a probe is no run of the user's."""
        self.traces = self._counts = False

    def decided(self, span: Span, step: StepRef, decision: Decision) -> None:
        """Keep it."""
        del span
        self.made.append((step, decision))


class _Trial:
    """What all cells are tried with: a governor that denies nodes, one that denies tools, a tripwire and an event loop."""

    def __init__(self, policy: LoadedPolicy) -> None:
        self.wire = Tripwire()
        self.denies_nodes, _ = _governor(policy.policy.mediation, nodes="deny")
        self.denies_tools, self.decisions = _governor(policy.policy.mediation, nodes="allow")

    def __enter__(self) -> _Trial:
        self._quiet = _quiet()
        self._quiet.__enter__()
        self._loop = asyncio.Runner()
        self._loop.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._loop.__exit__(*raised)
        self._quiet.__exit__(*raised)

    def cell(
        self, way: Way, thing: Any, given: Any, missing: Callable[[list[RunReport], Exception | None], str | None]
    ) -> Cell:
        """Run something once. `missing` says what the proof lacks, from the reports of the runs and what was raised."""
        self.wire.clear()
        self.decisions.made.clear()
        error: Exception | None = None
        with watch() as reports:
            try:
                self._run(way, thing, given)
            except Exception as raised:  # noqa: BLE001 - whatever it is, it is what the cell is about
                error = raised
        if self.wire.reached:
            return Cell(verdict="escaped", why=f"{self.wire.reached[0]} was reached")
        lacks = missing(reports, error)
        return Cell(verdict="mediated") if lacks is None else Cell(verdict="not proven", why=lacks)

    def hosted(self, way: Way, thing: Any, given: Any, governor: Governor, missing: Any, *, stopped: bool = False) -> Cell:
        """Run something in a governed node, of a run that is `stopped` already or not."""
        raised: list[Exception] = []

        def before() -> None:
            if stopped:
                _stop(governor)

        app = govern(host(way, thing, given, before, raised.append), governor)
        outer = RUNS["ainvoke" if way.asynchronous else "invoke"]
        return self.cell(outer, app, {}, lambda reports, error: missing(reports, raised[0] if raised else error))

    def _run(self, way: Way, thing: Any, given: Any) -> None:
        if way.sync is not None:
            way.sync(thing, given)
        elif way.run_async is not None:
            self._loop.run(_awaited(way.run_async, thing, given), context=copy_context())


async def _awaited(run: Any, thing: Any, given: Any) -> None:
    await run(thing, given)


def _governor(mediation: str, *, nodes: str) -> tuple[Governor, _Decisions]:
    policy = load(_policy(mediation, nodes=nodes))
    decisions = _Decisions(policy)
    return Governor(policy, runtime=Runtime(policy, store=MemoryStore(), telemetry=decisions), name=HOST), decisions


@contextmanager
def _quiet() -> Iterator[None]:
    """No traces of cells go to LangSmith, and LangChain's words about betas go nowhere."""
    with tracing_context(enabled=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _stop(governor: Governor) -> None:
    """Have the current run stopped, as any rule would."""
    step = current_step()
    if step is not None:
        stopped = Stopped(code="probe", rule="probe", text="The probe has stopped this run.")
        governor.runtime.store.change(step.run.ref.id, lambda state: (replace(state, stopped=stopped), None))


# --- nodes ------------------------------------------------------------------------------------------------------------


def _nodes(trial: _Trial, graphs: tuple[FoundGraph, ...]) -> Iterator[Row]:
    """Every node of every graph, and every tool of every ToolNode."""
    denied = _copies(trial, graphs, trial.denies_nodes)
    told = _copies(trial, graphs, trial.denies_tools)
    for place in graphs:
        for name, node in place.graph.nodes.items():
            if name == START:
                continue
            path = place.prefix + name
            missing = _stopped_at(name if not _is_called(place) else f"{HOST}/{name}")
            cells = _ways(trial, place, name, denied[place], trial.denies_nodes, missing)
            yield Row(kind="node", name=path, cells=cells)
            if isinstance(node.bound, ToolNode):
                yield from _in_tool_node(trial, place, name, told[place])


def _in_tool_node(trial: _Trial, place: FoundGraph, name: str, app: Any) -> Iterator[Row]:
    for tool in cast("Any", place.graph.nodes[name].bound).tools_by_name:
        cells = _ways(trial, place, name, app, trial.denies_tools, _refused_tool(trial, tool), (tool,))
        yield Row(kind="tool", name=tool, within=place.prefix + name, cells=cells)


def _copies(trial: _Trial, graphs: tuple[FoundGraph, ...], governor: Governor) -> dict[FoundGraph, Any]:
    """Each graph's tripwired copy: governed, or, when code calls it, to be governed as it starts."""
    made: dict[FoundGraph, Any] = {}
    for place in graphs:
        if place.parent is None:
            made[place] = govern(tripwired_graph(place.graph, trial.wire), governor)
        elif place.called:
            made[place] = tripwired_graph(place.graph, trial.wire)
        else:
            made[place] = made[place.parent].nodes[place.node].bound
    return made


def _is_called(place: FoundGraph) -> bool:
    """Whether code calls the graph, or one around it."""
    return place.called or (place.parent is not None and _is_called(place.parent))


def _ways(
    trial: _Trial, place: FoundGraph, name: str, app: Any, governor: Governor, missing: Any, tools: tuple[str, ...] = ()
) -> dict[str, Cell]:
    """A node in every way of running its graph."""
    bound = place.graph.nodes[name].bound
    given = Send(name, _given(bound, tools))
    cells: dict[str, Cell] = {}
    for mode, way in RUNS.items():
        if bound is DEFAULT_BOUND:
            cells[mode] = Cell(verdict="-", why="it has no body")
        elif not way.asynchronous and _is_async_only(bound):
            cells[mode] = Cell(verdict="-", why=CANNOT_RUN)
        elif own := _own_methods(bound):
            cells[mode] = Cell(verdict="not proven", why=f"{own} is the user's own, and runs even where its node is refused")
        elif _is_called(place):
            cells[mode] = trial.hosted(way, app, given, governor, missing)
        else:
            cells[mode] = trial.cell(way, app, given, missing)
    return cells


def _given(bound: object, tools: tuple[str, ...]) -> Any:
    """What a node is sent. A ToolNode reads its calls from it."""
    if not isinstance(bound, ToolNode):
        return {}
    calls: list[Any] = [
        {"name": name, "args": {}, "id": f"call-{number}", "type": "tool_call"}
        for number, name in enumerate(tools or tuple(bound.tools_by_name))
    ]
    return {cast("Any", bound)._messages_key: [AIMessage("", tool_calls=calls)]}  # noqa: SLF001 - a contract test watches


def _own_methods(bound: object) -> str | None:
    """What a subclass of ToolNode does in its own way: governor lets a refused ToolNode answer its calls, so it would run."""
    if not isinstance(bound, ToolNode):
        return None
    names = ("invoke", "ainvoke", "stream", "astream", "_func", "_afunc", "_run_one", "_arun_one", "_parse_input")
    own = next((name for name in names if not is_of_a_library(type(bound), name)), None)
    return own and f"{type(bound).__name__}.{own}"


def _is_async_only(bound: Runnable[Any, Any]) -> bool:
    if isinstance(bound, RunnableCallable):
        return bound.func is None
    if isinstance(bound, RunnableLambda):
        return "func" not in vars(cast("Any", bound))
    if isinstance(bound, (RunnableSequence, RunnableSeq)):
        return any(_is_async_only(each) for each in cast("Any", bound).steps)
    return False


def _stopped_at(path: str) -> Callable[[list[RunReport], Exception | None], str | None]:
    def missing(reports: list[RunReport], error: Exception | None) -> str | None:
        ends = [report.stopped for report in reports]
        if ends and all(end and end.code == "nodes.default_deny" and end.seen == path for end in ends):
            return None
        other = next((end.text for end in ends if end), "it ended, and no rule had refused it")
        return f"{type(error).__name__}: {error}" if error is not None else other

    return missing


def _refused_tool(trial: _Trial, tool: str) -> Callable[[list[RunReport], Exception | None], str | None]:
    def missing(reports: list[RunReport], error: Exception | None) -> str | None:
        del reports
        if any(_denies(decision, tool) for _, decision in trial.decisions.made):
            return None
        return f"{type(error).__name__}: {error}" if error is not None else "it ended, and no rule had refused it"

    return missing


def _denies(decision: Decision, tool: str) -> bool:
    reason = decision.reason
    return decision.verdict is Ruling.DENY and not decision.observed and reason is not None and tool in reason.text


# --- tools and models that node code calls ----------------------------------------------------------------------------


def _refusal(reports: list[RunReport], error: Exception | None) -> str | None:
    del reports
    if isinstance(error, Refused):
        return None
    return f"{type(error).__name__}: {error}" if error is not None else "it ended, and nothing had refused it"


def _tools(trial: _Trial, tools: tuple[BaseTool, ...]) -> Iterator[Row]:
    """Every tool, called by node code itself."""
    for tool in sorted(tools, key=lambda tool: tool.name):
        copy, cells = tripwired_tool(tool, trial.wire), dict[str, Cell]()
        for name, way in TOOL_CALLS.items():
            if own := _own(type(tool), _TOOL_METHODS[name]):
                cells[name] = Cell(verdict="not proven", why=f"{own} is the user's own, and was not run")
            elif not way.asynchronous and isinstance(tool, (StructuredTool, Tool)) and tool.func is None:
                cells[name] = Cell(verdict="-", why=CANNOT_RUN)
            else:
                cells[name] = trial.hosted(way, copy, {"q": "probe"}, trial.denies_tools, _refusal)
        yield Row(kind="tool", name=tool.name, cells=cells)


_TOOL_METHODS: dict[str, tuple[str, ...]] = {
    "tool.invoke": ("invoke", "run"),
    "tool.ainvoke": ("ainvoke", "arun"),
    "tool.run": ("run",),
    "tool.arun": ("arun",),
}
"""What a call goes through before it is a governed call."""


def _models(trial: _Trial, models: tuple[BaseChatModel | BaseLLM, ...]) -> Iterator[Row]:
    """Every model, called by node code in a run that was stopped."""
    for name, model in sorted(((_named(model), model) for model in models), key=lambda pair: pair[0]):
        copy = tripwired_model(model, trial.wire)
        given = "probe" if isinstance(model, BaseLLM) else [HumanMessage("probe")]
        cells: dict[str, Cell] = {}
        for call, way in MODEL_CALLS.items():
            if call.startswith("_") and is_of_a_library(type(model), call) and not _reaches(type(model), call):
                cells[call] = Cell(verdict="-", why="its class has none of its own")
            elif call.startswith("_") and not hooks.covers(type(model), call):
                cells[call] = Cell(verdict="escaped", why=f"{type(model).__name__}.{call} meets no hook")
            elif own := _own(type(model), (call,)) if call in _PUBLIC else None:
                cells[call] = Cell(verdict="not proven", why=f"{own} is the user's own, and was not run")
            else:
                cells[call] = trial.hosted(way, copy, given, trial.denies_tools, _refusal, stopped=True)
        yield Row(kind="model", name=name, cells=cells)


_PUBLIC = ("invoke", "ainvoke", "batch", "abatch")
"""Public methods that are not hooked themselves: LangChain's lead to those that are."""


def _reaches(cls: type[Any], name: str) -> bool:
    """Whether a class has a provider method other than what LangChain's base classes make of its others."""
    owner = next((each for each in cls.__mro__ if name in vars(each)), object)
    return owner.__module__ not in ("langchain_core.language_models.chat_models", "langchain_core.language_models.llms", "builtins")


def _named(model: BaseChatModel | BaseLLM) -> str:
    return type(model).__name__ if isinstance(model, BaseLLM) else str(vendor_of(model).model_ref(model))


def _own(cls: type[Any], names: tuple[str, ...]) -> str | None:
    own = next((name for name in names if not is_of_a_library(cls, name)), None)
    return own and f"{cls.__name__}.{own}"

