"""`probe`: proves on a graph of the user's own that every node, tool and model in it is mediated, without running any of it.

A copy of the graph in which every body is a tripwire (`tripwires`) is governed for real, under a policy that denies everything, and run
in every way that LangGraph has. A cell counts as mediated only when the rule that should refuse it did, and no tripwire was reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda, RunnableSequence
from langgraph.constants import START
from langgraph.prebuilt import ToolNode
from langgraph.types import Send

from governor.policy.load import LoadedPolicy, load
from governor_langgraph.certificate import Cell, Certificate, Row, graph_hash
from governor_langgraph.governing import Governor
from governor_langgraph.graph import govern
from governor_langgraph.inspect import reach
from governor_langgraph.langgraph_internals import DEFAULT_BOUND, RunnableCallable, RunnableSeq, messages_key
from governor_langgraph.probe_calls import model_rows, tool_rows
from governor_langgraph.probing import CANNOT_RUN, HOST, RUNS
from governor_langgraph.trial import Trial, deny_everything
from governor_langgraph.tripwires import is_of_a_library, tripwired_graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike

    from langchain_core.runnables import Runnable

    from governor.decisions import Decision
    from governor_langgraph.inspect import FoundGraph
    from governor_langgraph.stops import RunReport
    from governor_langgraph.trial import Missing

__all__ = ["probe"]

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
    given = policy if isinstance(policy, LoadedPolicy) else load(cast("Any", policy or deny_everything("strict")))
    found = reach(graph)
    with Trial(given) as trial:
        rows = (*_nodes(trial, found.graphs), *tool_rows(trial, found.tools), *model_rows(trial, found.models))
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


def _left_out(policy: LoadedPolicy) -> Iterator[str]:
    """What the given policy does not hold, although everything is mediated."""
    if policy.policy.mode == "observe":
        yield "The policy observes: what it would refuse is recorded, and runs."
    if policy.policy.mediation == "lenient":
        yield "mediation: lenient. A call through a provider's own client (boto3, openai, anthropic) is reported, and goes on."


# --- nodes ------------------------------------------------------------------------------------------------------------


def _nodes(trial: Trial, graphs: tuple[FoundGraph, ...]) -> Iterator[Row]:
    """Every node of every graph, and every tool of every ToolNode."""
    denied = _copies(trial, graphs, trial.denies_nodes)
    told = _copies(trial, graphs, trial.denies_tools)
    for place in graphs:
        for name, node in place.graph.nodes.items():
            if name == START:
                continue
            path = place.prefix + name
            cells = _ways(trial, place, name, denied[place], trial.denies_nodes, _stopped_at(_path(place, name)))
            yield Row(kind="node", name=path, cells=cells)
            if isinstance(node.bound, ToolNode):
                yield from _in_tool_node(trial, place, name, told[place])


def _in_tool_node(trial: Trial, place: FoundGraph, name: str, app: Any) -> Iterator[Row]:
    at = _path(place, name)
    for tool in cast("Any", place.graph.nodes[name].bound).tools_by_name:
        cells = _ways(trial, place, name, app, trial.denies_tools, _refused_tool(trial, at), (tool,))
        yield Row(kind="tool", name=tool, within=place.prefix + name, cells=cells)


def _copies(trial: Trial, graphs: tuple[FoundGraph, ...], governor: Governor) -> dict[FoundGraph, Any]:
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


def _path(place: FoundGraph, name: str) -> str:
    """The path of a node in the run of a cell, where its graph is the root or called by the probe's own node."""
    return f"{HOST}/{name}" if _is_called(place) else name


def _is_called(place: FoundGraph) -> bool:
    """Whether code calls the graph, or one around it."""
    return place.called or (place.parent is not None and _is_called(place.parent))


def _ways(
    trial: Trial,
    place: FoundGraph,
    name: str,
    app: Any,
    governor: Governor,
    missing: Missing,
    tools: tuple[str, ...] = (),
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
            cells[mode] = Cell(
                verdict="not proven", why=f"{own} is the user's own, and runs even where its node is refused"
            )
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
    return {messages_key(bound): [AIMessage("", tool_calls=calls)]}


def _own_methods(bound: object) -> str | None:
    """What a subclass of ToolNode does in its own way: governor lets a refused ToolNode answer its calls, so it would run."""
    if not isinstance(bound, ToolNode):
        return None
    names = ("invoke", "ainvoke", "stream", "astream", "_func", "_afunc", "_run_one", "_arun_one", "_parse_input")
    own = next((name for name in names if not is_of_a_library(type(bound), name)), None)
    return own and f"{type(bound).__name__}.{own}"


def _is_async_only(bound: Runnable[Any, Any]) -> bool:
    if isinstance(bound, RunnableCallable):
        return cast("Any", bound).func is None
    if isinstance(bound, RunnableLambda):
        return "func" not in vars(cast("Any", bound))
    if isinstance(bound, (RunnableSequence, RunnableSeq)):
        return any(_is_async_only(each) for each in cast("Any", bound).steps)
    return False


def _stopped_at(path: str) -> Missing:
    def missing(reports: list[RunReport], error: Exception | None) -> str | None:
        ends = [report.stopped for report in reports]
        if ends and all(end and end.code == "nodes.default_deny" and end.seen == path for end in ends):
            return None
        other = next((end.text for end in ends if end), "it ended, and no rule had refused it")
        return f"{type(error).__name__}: {error}" if error is not None else other

    return missing


def _refused_tool(trial: Trial, path: str) -> Missing:
    def missing(reports: list[RunReport], error: Exception | None) -> str | None:
        del reports
        made = [(step.path, decision) for step, decision in trial.decisions.made if decision.control == "access"]
        if made and all(at == path and _denies(decision) for at, decision in made):
            return None
        return f"{type(error).__name__}: {error}" if error is not None else "it ended, and no rule had refused it"

    return missing


def _denies(decision: Decision) -> bool:
    """Whether it is the refusal of a tool that the node does have."""
    return not decision.observed and decision.reason is not None and decision.reason.code == "access.default_deny"
