"""What each command prints, as people and as programs read it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot

from governor.policy.load import bundled_policies, load
from tests.cli.conftest import Governor, Process
from tests.cli.desk import policy

HI = '{"messages": [["user", "hi"]]}'
THREE_CALLS = policy("tools: {default: allow}\nbudgets: [{id: calls, scope: run, limit: {model_calls: 3}}]\n")


def steady(text: str) -> str:
    """Output without what differs from run to run."""
    return re.sub(r"\b[0-9a-f]{12,32}\b", "<run>", re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<moment>", text))


# --- init ---------------------------------------------------------------------------------------------------------------


def test_init_prints_a_policy_with_the_graphs_own_tools_models_and_size(folder: Path, governor: Governor) -> None:
    done = governor("init", "app:graph")

    assert (
        snapshot("""\
# A first policy, written by `governor init` from the graph itself. Read it, change it, then: governor policy check <this file>
governor: 1
name: LangGraph
# owner: security@example.com              # whom to ask about this policy

tiers:                                     # models that may answer, best first
  frontier: {model: "streaming:fake-1"}   # price: {input: ..., output: ...} per million tokens: not known

# routing:                                 # without it every node keeps the model that its code uses
#   default: frontier
#   rules:
#     - {id: planning, when: {node: [model]}, tier: frontier}
# nodes: model tools

context:
  cache: {ttl: 5m}                         # prompt caching at the provider, where it has any
  order: auto                              # what never changes first, so that the cache is hit

loops: {respond: [nudge, block, stop]}     # fruitless repetition is answered, mildest first

limits: {steps: 70, depth: 1, time: 15m}   # of one run; 2 nodes, 2 of them in cycles: 25 rounds each

budgets:
  - {id: run, scope: run, limit: {tokens: 560k, model_calls: 70, tool_calls: 140}}
  # No limit in money, because a model has no known price: add `price:` to its tier, then `usd: 0.50` to the limit.
on_exhausted: finish                       # answer with what there is; `stop` ends the run with an error

tools:
  default: deny                            # no tool may be called until a rule allows it
  # Take the `# ` off the next line and off each tool that the agent may use; `decide: ask` lets a person decide.
  # rules:
  #   - {id: search, tool: search, decide: allow}  # Search.
""")
        == done.stdout
    )
    assert 0 == done.exit_code


def test_init_writes_a_file_that_check_accepts(folder: Path, governor: Governor) -> None:
    done = governor("init", "app:graph", "-o", "p.yaml")

    assert (
        "p.yaml: a first policy for LangGraph (nodes: 2, tools: 1, models: 1). Next: governor policy check p.yaml\n"
        == done.stdout
    )
    assert 0 == governor("policy", "check", "p.yaml").exit_code


def test_init_replaces_a_file_only_by_force(folder: Path, governor: Governor) -> None:
    before = (folder / "open.yaml").read_text()

    assert 2 == governor("init", "app:graph", "-o", "open.yaml").exit_code
    assert before == (folder / "open.yaml").read_text()
    assert 0 == governor("init", "app:graph", "-o", "open.yaml", "--force").exit_code
    assert "deny" == load(folder / "open.yaml").policy.tools.default


def test_init_as_json_holds_the_description_and_the_policy(folder: Path, governor: Governor) -> None:
    found = json.loads(governor("init", "app:graph", "--json").stdout)

    text = found.pop("policy")
    assert {
        "name": "LangGraph",
        "nodes": ["model", "tools"],
        "tools": [{"name": "search", "description": "Search."}],
        "models": ["streaming:fake-1"],
        "cycles": [["model", "tools"]],
        "size": 2,
        "file": None,
    } == found
    assert "LangGraph" == load(text).policy.name


def test_the_policy_that_init_writes_denies_the_graphs_tools_and_governs_it_otherwise(
    folder: Path, governor: Governor
) -> None:
    governor("init", "app:graph", "-o", "p.yaml")

    done = governor("run", "app:graph", "-p", "p.yaml", "-i", HI, "--json")

    ran = json.loads(done.stdout)
    assert {"deny": 1} == {step["step"]: step["decisions"] for step in ran["steps"]}["tools"]
    assert (2, 0) == (ran["totals"]["model_calls"], ran["totals"]["tool_calls"])
    assert 0 == done.exit_code


# --- run ----------------------------------------------------------------------------------------------------------------


def test_run_prints_the_result_a_table_of_steps_and_the_run(folder: Path, governor: Governor) -> None:
    done = governor("run", "app:graph", "-p", "open.yaml", "-i", HI)

    assert "the end" == json.loads(done.stdout[: done.stdout.index("\n}\n") + 2])["messages"][-1]["text"]
    assert snapshot("""\
step   times  tiers   calls  tools  tokens in  cached  out       cost  decisions
model      2  fake-1      2      0          4       0    2  $0.000000           \n\
tools      1              0      1          0       0    0  $0.000000           \n\
run <run>: finished, $0.000000
""") == steady(done.stdout[done.stdout.index("\n}\n") + 3 :])
    assert "" == done.stderr
    assert 0 == done.exit_code


def test_run_as_json_is_one_document(folder: Path, governor: Governor) -> None:
    done = governor("run", "app:graph", "-p", "open.yaml", "-i", HI, "--json")

    ran = json.loads(done.stdout)
    assert ["run", "outcome", "reason", "result", "steps", "totals"] == list(ran)
    assert ("finished", None) == (ran["outcome"], ran["reason"])
    assert ["human", "ai", "tool", "ai"] == [message["type"] for message in ran["result"]["messages"]]
    assert [("model", 2), ("tools", 1)] == [(step["step"], step["times"]) for step in ran["steps"]]
    assert (2, 1) == (ran["totals"]["model_calls"], ran["totals"]["tool_calls"])


@pytest.mark.parametrize("target", ["app:build", "app:abuild", "app:later", "app:desk.graph"])
def test_run_takes_factories_async_graphs_and_attributes(folder: Path, governor: Governor, target: str) -> None:
    with (folder / "app.py").open("a") as file:
        file.write("\n\nclass desk:\n    graph = graph\n")

    done = governor("run", target, "-p", "open.yaml", "-i", HI, "--json")

    assert "finished" == json.loads(done.stdout)["outcome"]
    assert 0 == done.exit_code


@pytest.mark.parametrize("on_exhausted", ["finish", "stop"])
def test_a_run_that_the_policy_ended_exits_with_1_and_says_why(
    folder: Path, governor: Governor, on_exhausted: str
) -> None:
    (folder / "p.yaml").write_text(f"{THREE_CALLS}on_exhausted: {on_exhausted}\n")

    done = governor("run", "app:endless", "-p", "p.yaml", "-i", HI)

    assert snapshot("""\
Budget calls (run=<run>) allows 3 model calls: spent 3 model calls + reserved 0 model calls, and this call needs up to 1 model calls.
Raise the limit of budget calls, wait for its next window, or make the run cheaper.
""") == steady(done.stderr)
    assert "refused" in done.stdout.splitlines()[-1]
    assert 1 == done.exit_code


def test_a_refused_run_as_json_has_the_reason_in_parts_and_what_there_was_of_the_result(
    folder: Path, governor: Governor
) -> None:
    (folder / "p.yaml").write_text(f"{THREE_CALLS}on_exhausted: stop\n")

    done = governor("run", "app:endless", "-p", "p.yaml", "-i", HI, "--json")

    ran = json.loads(done.stdout)
    assert ("refused", "budget.exhausted", "calls", "3") == (
        ran["outcome"],
        *(ran["reason"][part] for part in ("code", "rule", "limit")),
    )
    assert 7 == len(ran["result"]["messages"])
    assert 3 == ran["totals"]["model_calls"]
    assert 1 == done.exit_code


def test_a_run_that_waits_for_a_person_says_so(folder: Path, governor: Governor) -> None:
    (folder / "p.yaml").write_text(policy("tools: {rules: [{id: careful, tool: search, decide: ask}]}\n"))
    with (folder / "app.py").open("a") as file:
        file.write(
            "\n\ndef kept():\n    from langgraph.checkpoint.memory import InMemorySaver\n\n"
            "    return graphs.agent(model, checkpointer=InMemorySaver())\n"
        )

    done = governor("run", "app:kept", "-p", "p.yaml", "-i", HI, "--config", '{"thread_id": "t1"}', "--json")

    assert "waiting" == json.loads(done.stdout)["outcome"]
    assert 0 == done.exit_code


def test_input_and_config_may_be_files(folder: Path, governor: Governor) -> None:
    (folder / "in.json").write_text(HI)
    (folder / "config.json").write_text('{"configurable": {"user": "u7"}, "tags": ["cli"]}')
    (folder / "p.yaml").write_text(
        policy("identity: {user: config.user}\nbudgets: [{id: u, scope: user, limit: {model_calls: 9}}]\n")
    )

    done = governor("run", "app:build", "-p", "p.yaml", "-i", "@in.json", "--config", "@config.json", "--json")

    assert "finished" == json.loads(done.stdout)["outcome"]


def test_a_store_keeps_what_was_spent_from_one_process_to_the_next(folder: Path, process: Process) -> None:
    (folder / "p.yaml").write_text(
        policy(
            "identity: {tenant: config.tenant}\nbudgets: [{id: day, scope: tenant, per: 1d, limit: {model_calls: 1}}]\n"
        )
    )
    command = ("run", "app:build", "-p", "p.yaml", "-i", HI, "--config", '{"tenant": "acme"}', "--store", "s.db")

    first, second = process(*command), process(*command)

    assert [0, 1] == [first.returncode, second.returncode]
    assert "Budget day" in second.stderr


# --- runs, show ---------------------------------------------------------------------------------------------------------


def test_runs_lists_what_run_recorded(folder: Path, governor: Governor) -> None:
    ran = json.loads(governor("run", "app:graph", "-p", "open.yaml", "-i", HI, "--json").stdout)

    listed = json.loads(governor("runs", "--json").stdout)
    table = governor("runs").stdout

    assert [(ran["run"], "LangGraph", "open", 0)] == [
        (run["id"], run["name"], run["policy"], run["refusals"]) for run in listed
    ]
    assert ran["totals"] == listed[0]["totals"]
    assert snapshot("""\
run           began (UTC)          graph      policy  calls  tools  tokens in  cached  out       cost  refused
<run>  <moment>  LangGraph  open        2      1          4       0    2  $0.000000        0
""") == steady(table)


def test_show_draws_a_run_by_the_beginning_of_its_id(folder: Path, governor: Governor) -> None:
    (folder / "p.yaml").write_text(policy("limits: {steps: 50}\n"))
    ran = json.loads(governor("run", "app:graph", "-p", "p.yaml", "-i", HI, "--json").stdout)

    done = governor("show", ran["run"][:8])
    nodes = json.loads(governor("show", ran["run"], "--json").stdout)

    assert (
        snapshot("""\
invoke_workflow LangGraph  28 in, 2 out
├── step model  1 in, 0 out
│   └── chat fake-1  1 in, 0 out
├── step tools
│   └── execute_tool search
│       └── deny access: No rule allows search for node tools.
└── step model  27 in, 2 out
    └── chat fake-1  27 in, 2 out
2 model calls, 0 tool calls; tokens in 28 (0 from cache), out 2; $0.000000
""")
        == done.stdout
    )
    assert ["step model", "step tools", "step model"] == [child["name"] for child in nodes[0]["children"]]
    assert ran["totals"] == nodes[0]["totals"]


# --- the others ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", bundled_policies())
def test_every_bundled_policy_is_checked_and_explained_by_name(folder: Path, governor: Governor, name: str) -> None:
    (report,) = json.loads(governor("policy", "check", name, "--json").stdout)
    sentences = json.loads(governor("policy", "explain", name, "--json").stdout)

    assert ["file", "hash", "findings", "errors"] == list(report)
    assert [] == report["errors"]
    assert report["hash"].startswith("sha256:")
    assert {"topic", "text", "file", "line", "enforced"} <= set(sentences[0])


def test_check_exits_by_the_worst_finding_and_strict_counts_warnings(folder: Path, governor: Governor) -> None:
    (folder / "secret.yaml").write_text(policy('tiers: {a: {model: "openai:gpt-4o", headers: {X-Api-Key: abc}}}\n'))

    assert [0, 1] == [governor("policy", "check", "open.yaml", *more).exit_code for more in ((), ("--strict",))]
    assert 1 == governor("policy", "check", "secret.yaml").exit_code
    assert 2 == governor("policy", "check", "open.yaml", "none.yaml").exit_code


def test_the_schema_is_printed_and_written_alike(folder: Path, governor: Governor) -> None:
    printed = governor("policy", "schema").stdout
    done = governor("policy", "schema", "-o", "schema.json")

    assert "Policy" == json.loads(printed)["title"]
    assert printed == (folder / "schema.json").read_text()
    assert (0, "") == (done.exit_code, done.stdout)


def test_version_names_what_is_installed(folder: Path, governor: Governor) -> None:
    found: dict[str, Any] = json.loads(governor("version", "--json").stdout)
    lines = governor("version").stdout.splitlines()

    assert {"langgraph-governor", "langgraph", "langchain-core", "python"} <= set(found)
    assert [f"{name} {number}" for name, number in found.items()] == lines
