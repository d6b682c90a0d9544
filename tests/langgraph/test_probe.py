"""A probe certifies any graph without running any of it, and fails when something escapes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.llms import LLM
from langchain_core.outputs import GenerationChunk
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import CachePolicy, RetryPolicy

from examples.support_desk.app import build_desk
from examples.support_desk.database import Database
from governor_langgraph import govern, graph, hooks
from governor_langgraph.certificate import Certificate
from governor_langgraph.probe import probe
from tests.langgraph import graphs
from tests.langgraph.fakes import OPEN, Streaming, once
from tests.langgraph.matrix.ground import Ground
from tests.langgraph.matrix.hosts import HOSTS
from tests.langgraph.matrix.units import UNITS

ROOT = Path(__file__).parents[2]
PLAIN = [name for name in UNITS if not name.startswith("call ")]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def node(body: Any, **options: Any) -> Any:
    made = StateGraph(MessagesState)
    made.add_node("node", body)
    made.add_edge(START, "node")
    return made.compile(**options)


def holding(*things: Any) -> Any:
    """A node that can reach these."""

    def holds(state: MessagesState, held: Any = things) -> dict[str, Any]:
        raise AssertionError("it ran")

    return node(holds)


def verdicts(certificate: Certificate, *wanted: str) -> dict[tuple[str, str], list[str]]:
    """Ways of running, by kind and name of the row, of the cells with one of these verdicts."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in certificate.rows:
        modes = [mode for mode, cell in row.cells.items() if cell.verdict in wanted]
        if modes:
            found[row.kind, row.name] = [*found.get((row.kind, row.name), []), *modes]
    return found


def test_a_whole_application_is_mediated_and_nothing_of_it_runs() -> None:
    def refuses(messages: Any) -> str:
        raise AssertionError("a model was asked")

    certificate = probe(build_desk(Streaming(rule=refuses), Database()))

    assert {} == verdicts(certificate, "escaped", "not proven")
    assert certificate.complete
    names = {(row.kind, row.within, row.name) for row in certificate.rows}
    assert ("node", "", "orders_desk/model") in names
    assert ("tool", "orders_desk/tools", "cancel_order") in names
    assert ("tool", "", "issue_refund") in names
    assert ("model", "", "streaming:fake-1") in names
    assert 9 == len(next(row for row in certificate.rows if row.name == "planner").cells)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("unit", ["call completion", "subgraph_in_tool", "subgraph_in_async_function", "async_tasks"])
def test_graphs_of_every_host_are_mediated_and_nothing_of_them_runs(host: str, unit: str) -> None:
    ground = Ground()

    certificate = probe(HOSTS[host].build(ground, UNITS[unit].build(ground), UNITS[unit].asynchronous))

    assert certificate.complete, verdicts(certificate, "escaped", "not proven")
    assert (0, [], []) == (ground.seen.provider, ground.seen.nodes, ground.seen.tools)


@pytest.mark.parametrize("unit", PLAIN)
def test_graphs_of_every_kind_are_mediated_and_nothing_of_them_runs(unit: str) -> None:
    ground = Ground()

    certificate = probe(UNITS[unit].build(ground))

    assert certificate.complete, verdicts(certificate, "escaped", "not proven")
    assert (0, [], []) == (ground.seen.provider, ground.seen.nodes, ground.seen.tools)


# --- nothing of the user's is touched -----------------------------------------------------------------------------------


class Untouchable:
    """Infrastructure that must not be used."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"{name} was used")


class Saver(BaseCheckpointSaver[Any]):
    """A checkpointer whose database must not be asked."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("get_next_version", "get_tuple", "aget_tuple", "put", "aput", "put_writes", "aput_writes", "list"):
            raise AssertionError(f"{name} was used")
        return super().__getattribute__(name)


def raises(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("code of the user's ran")


def test_infrastructure_and_code_around_the_nodes_is_never_touched() -> None:
    made: Any = StateGraph(MessagesState)
    made.add_node(
        "node",
        raises,
        retry_policy=RetryPolicy(retry_on=raises),
        cache_policy=CachePolicy(key_func=raises),
        error_handler=raises,
    )
    made.add_conditional_edges(START, raises, ["node"])
    made.add_conditional_edges("node", raises, ["node"])
    untouchable: Any = Untouchable()
    app = made.compile(checkpointer=Saver(), interrupt_before=["node"])
    app.store = app.cache = untouchable

    assert probe(app).complete


def test_the_graph_itself_stays_as_it_was() -> None:
    app = graphs.agent(Streaming(rule=once("search", {"q": "x"})))
    nodes, channels = dict(app.nodes), dict(app.channels)

    probe(app)

    assert (nodes, channels) == (app.nodes, app.channels)
    assert "the end" == app.invoke({"messages": [("user", "x")]})["messages"][-1].text


def test_a_graph_that_is_governed_already_is_certified_like_the_graph_it_was_made_from() -> None:
    plain = graphs.agent(Streaming(rule=raises))

    assert probe(plain) == probe(govern(plain, OPEN))


# --- what cannot be run, and what cannot be proven ----------------------------------------------------------------------


def test_a_node_with_an_async_function_alone_has_no_sync_cells() -> None:
    @entrypoint()
    async def flow(given: str) -> str:
        raise AssertionError("it ran")

    certificate = probe(flow)

    assert certificate.complete
    assert {("node", "flow"): ["invoke", "stream", "batch", "stream_events v3"]} == verdicts(certificate, "-")


class OwnRun(BaseTool):
    """Runs by a method of its own, which asks nobody."""

    name: str = "own"
    description: str = "Does it its own way."

    def run(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("it ran")

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("it ran")


class OwnNode(ToolNode):
    """Runs its tools by a method of its own."""

    def _func(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("it ran")


class Completing(LLM):
    """A completion model that streams by itself, and says nothing about itself."""

    @property
    def _llm_type(self) -> str:
        raise AssertionError("it was asked")

    def _call(self, *args: Any, **kwargs: Any) -> str:
        raise AssertionError("it ran")

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
        raise AssertionError("it ran")


class OwnInvoke(Streaming):
    """Answers before LangChain is asked."""

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("it ran")


def test_a_tool_that_runs_by_a_method_of_its_own_is_mediated_there() -> None:
    assert probe(holding(OwnRun())).complete


def test_what_a_class_does_before_it_asks_langchain_is_not_proven() -> None:
    certificate = probe(holding(OwnInvoke(rule=raises)))

    assert not certificate.complete
    assert [["invoke", "stream", "batch"]] == list(verdicts(certificate, "not proven").values())
    assert {} == verdicts(certificate, "escaped")


def test_a_tool_node_with_a_method_of_its_own_is_not_proven() -> None:
    @tool
    def work(q: str) -> str:
        """Do some work."""
        raise AssertionError("it ran")

    found = verdicts(probe(node(OwnNode([work]))), "not proven")

    assert {("node", "node"), ("tool", "work")} == set(found)


def test_a_completion_model_that_streams_by_itself_is_mediated() -> None:
    assert probe(holding(Completing())).complete


# --- a probe that cannot fail proves nothing ------------------------------------------------------------------------------


def test_a_node_that_is_put_back_ungoverned_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    governed_nodes = graph.governed_nodes

    def leaky(given: Any, governor: Any, seen: Any = None) -> Any:
        return {
            **governed_nodes(given, governor, seen),
            **{name: each for name, each in given.nodes.items() if name == "leak"},
        }

    made = StateGraph(MessagesState)
    made.add_sequence([("sound", raises), ("leak", raises)])
    made.add_edge(START, "sound")
    app = made.compile()
    monkeypatch.setattr(graph, "governed_nodes", leaky)

    certificate = probe(app)

    assert not certificate.complete
    assert {("node", "leak")} == set(verdicts(certificate, "escaped", "not proven"))
    assert 9 == certificate.count("escaped")


@pytest.fixture
def unhooked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    hooks.uninstall()
    monkeypatch.setattr(hooks, "install", lambda: None)
    yield
    monkeypatch.undo()
    hooks.install()


@pytest.mark.usefixtures("unhooked")
def test_without_hooks_what_code_calls_escapes() -> None:
    ground = Ground()
    inner = ground.graph(inner=ground.node(raises))

    certificate = probe(holding(inner, ground.tool("work"), ground.model))
    found = verdicts(certificate, "escaped")

    assert 9 == len(found["node", "node/inner"])
    assert 4 == len(found["tool", "work"])
    assert {"_generate", "_stream", "_astream"} <= set(found["model", "streaming:fake-1"])
    assert 11 == len(
        verdicts(certificate, "escaped", "not proven")["model", "streaming:fake-1"]
    )  # or the second line refuses
    assert ("node", "node") not in found


# --- the certificate ------------------------------------------------------------------------------------------------------


def test_the_certificate_names_graph_policy_and_versions_and_what_the_policy_leaves_out() -> None:
    lenient = {**OPEN, "mediation": "lenient", "mode": "observe"}

    written = probe(graphs.function_node(Streaming(rule=raises)), lenient).document()

    assert ("open", "observe", "lenient") == tuple(written["policy"][key] for key in ("name", "mode", "mediation"))
    assert written["policy"]["hash"].startswith("sha256:")
    assert {"langgraph-governor", "langgraph", "langchain-core", "python"} == set(written["versions"])
    assert written["cells"]["run"] == written["cells"]["mediated"] > 0
    assert any("observes" in remark for remark in written["remarks"])
    assert any("lenient" in remark for remark in written["remarks"])


def build(names: tuple[str, ...] = ("first", "second")) -> Any:
    made = StateGraph(MessagesState)
    made.add_sequence([(name, raises) for name in names])
    made.add_edge(START, names[0])
    return made.compile(name="hashed")


HASH: Callable[[Any], str] = lambda app: probe(app).graph_hash  # noqa: E731 - one expression, used in one place


def test_the_same_graph_has_the_same_hash_in_another_process() -> None:
    script = "from tests.langgraph.test_probe import build, desk, HASH\nprint(HASH(build()))\nprint(HASH(desk()))"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "integrations")]),
            "PYTHONHASHSEED": "7",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert [HASH(build()), HASH(desk())] == ran.stdout.split()


def desk() -> Any:
    return build_desk(Streaming(rule=raises), Database())


def test_another_graph_has_another_hash() -> None:
    assert HASH(build()) != HASH(build(("second", "first")))
    assert replace(probe(build()), graph_hash="") != probe(build())
