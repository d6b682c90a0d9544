"""Every mistake a user can make ends in a sentence that says what is wrong and what to do, and in the right exit code.

2 is the user's to mend before anything runs; 1 is the policy's word about a run.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from governor_sandbox import Sandbox
from tests.cli.conftest import Governor, Process
from tests.cli.desk import TIERED, policy

HI = '{"messages": [["user", "hi"]]}'
RUN = ("run", "app:build", "-p", "open.yaml", "-i", HI)


@dataclass(frozen=True, kw_only=True)
class Mistake:
    name: str
    argv: tuple[str, ...]
    says: str
    """What the one line on stderr (stdout for `policy check`, which reports many files) must hold."""
    exit: int = 2
    files: dict[str, str] = field(default_factory=dict[str, str])


def wrong_policy(name: str, body: str, says: str) -> Mistake:
    return Mistake(name=name, argv=("policy", "check", "p.yaml"), files={"p.yaml": policy(body)}, says=says)


def run_with(
    name: str, says: str, *, target: str = "app:build", given: str = HI, more: tuple[str, ...] = ()
) -> Mistake:
    return Mistake(name=name, argv=("run", target, "-p", "open.yaml", "-i", given, *more), says=says)


JUNK = "x" * 5_000
POLICIES = [
    wrong_policy("unknown key", "limts: {steps: 5}", "p.yaml:3:1: unknown key `limts`. Did you mean `limits`?"),
    wrong_policy(
        "wrong unit", "limits: {time: 10x}", "p.yaml:3:16: `limits.time`: '10x' is not understood: expected a duration"
    ),
    wrong_policy(
        "no unit", "limits: {time: 15}", "15 has no unit: expected a duration above 0. Write it like 250ms, 30s"
    ),
    wrong_policy(
        "zero limit",
        "limits: {steps: 0}",
        "`limits.steps`: 0 is not above 0: expected a whole number above 0. Write it",
    ),
    wrong_policy("negative limit", "limits: {depth: -1}", "-1 is not above 0"),
    wrong_policy("boolean limit", "limits: {steps: true}", "true is a truth value: expected a whole number above 0"),
    wrong_policy(
        "nan limit", "budgets: [{id: b, scope: run, limit: {usd: .nan}}]", "expected an amount in dollars above 0"
    ),
    wrong_policy(
        "infinite limit", "budgets: [{id: b, scope: run, limit: {usd: .inf}}]", "expected an amount in dollars above 0"
    ),
    wrong_policy(
        "empty limit",
        "budgets: [{id: b, scope: run, limit: {usd: }}]",
        "p.yaml:3:43: `usd` has no value. Give it one, or remove the key.",
    ),
    wrong_policy(
        "minutes as tokens", "budgets: [{id: b, scope: run, limit: {tokens: 5m}}]", "Write it like 2k, 150000 or 1.5M."
    ),
    wrong_policy(
        "unknown tier",
        "tiers: {best: {model: 'openai:gpt-4o'}}\nrouting: {default: bets}",
        "p.yaml:4:20: there is no tier `bets`. Did you mean `best`?",
    ),
    wrong_policy("key twice", "limits: {steps: 5, steps: 6}", "p.yaml:3:20: "),
    wrong_policy("not yaml", "limits: {steps: 5", "p.yaml:"),
    Mistake(
        name="no such policy",
        argv=("policy", "check", "none.yaml"),
        says="none.yaml: there is no such policy file. Check the path.",
    ),
    Mistake(
        name="folder as policy",
        argv=("policy", "check", "."),
        says="this is a folder, not a policy file. Name a file in it.",
    ),
]
RUNS = [
    Mistake(
        name="run without its policy",
        argv=("run", "app:build", "-p", "none.yaml", "-i", HI),
        says="none.yaml: there is no such policy file",
    ),
    run_with("not a graph", "app:number is no graph but of type int. Name a StateGraph", target="app:number"),
    run_with("factory of nothing", "app:build_nothing is no graph but of type NoneType", target="app:build_nothing"),
    run_with(
        "factory with arguments",
        "app:build_for needs arguments (missing a required argument: 'tenant')",
        target="app:build_for",
    ),
    run_with(
        "factory that fails",
        "app:build_badly could not build its graph: RuntimeError: no database",
        target="app:build_badly",
    ),
    run_with(
        "no such name",
        "app:grpah: the module has no `grpah`. Graphs in it: graph, endless, waiting, later, broken.",
        target="app:grpah",
    ),
    run_with("no such module", "there is no module nowhere in ", target="nowhere:graph"),
    run_with("no name", "'app' names no graph. Write MODULE:NAME, as in `app:graph`.", target="app"),
    run_with("a path", "'./app.py:graph' is a path. Write the module's name: `app:graph`.", target="./app.py:graph"),
    run_with("a path below", "Write the module's name: `desks.app:graph`.", target="desks/app.py:graph"),
    run_with(
        "a path elsewhere",
        "'/opt/desks/app.py:g' is a path. Change to its folder, `cd /opt/desks`, and write the module's name: `app:g`.",
        target="/opt/desks/app.py:g",
    ),
    run_with("a path above", "and write the module's name: `app:graph`.", target="../app.py:graph"),
    run_with(
        "module that fails", "faulty cannot be imported: ZeroDivisionError: division by zero", target="faulty:graph"
    ),
    run_with(
        "module that lacks something",
        "needy cannot be imported: No module named 'notthere'. Install what it needs.",
        target="needy:graph",
    ),
    run_with("bad json", "--input is not JSON: Expecting property name", given="{nope"),
    run_with("no input file", "--input: none.json cannot be read: No such file or directory.", given="@none.json"),
    run_with(
        "config that is no object",
        '--config is not an object. Write it like \'{"tenant": "acme"}\'.',
        more=("--config", "[1]"),
    ),
    run_with(
        "store that is no database",
        "junk.db: file is not a database. It is not a SQLite database",
        more=("--store", "junk.db"),
    ),
    run_with(
        "store in no folder",
        "no/s.db: unable to open database file. Its folder must exist",
        more=("--store", "no/s.db"),
    ),
    run_with(
        "recording that is none",
        "junk.db: the recording cannot be read or written: file is not a database. Move",
        more=("--recording", "junk.db"),
    ),
    run_with(
        "recording that is a folder",
        "the recording cannot be opened: unable to open database file.",
        more=("--recording", "."),
    ),
    Mistake(
        name="tier without a price under a money limit",
        argv=("run", "app:build", "-p", "p.yaml", "-i", HI),
        files={
            "p.yaml": policy(
                "tiers: {best: {model: 'openai:nobody-knows'}}\nbudgets: [{id: b, scope: run, limit: {usd: 1}}]"
            )
        },
        says="tier best (openai:nobody-knows) has no known price, and budget b limits money (rule b). Add `price: {input: ...",
    ),
    Mistake(
        name="model without a price under a money limit",
        argv=("run", "app:build", "-p", "p.yaml", "-i", HI),
        files={"p.yaml": policy("budgets: [{id: b, scope: run, limit: {usd: 1}}]")},
        says="Budget b allows $1, and the price of streaming:fake-1 is not known",
        exit=1,
    ),
    Mistake(
        name="tier without credentials",
        argv=("run", "app:build", "-p", "p.yaml", "-i", HI),
        files={"p.yaml": TIERED},
        says="tier openai:gpt-4o has no credentials: set OPENAI_API_KEY, or a header",
    ),
    Mistake(
        name="init over a file",
        argv=("init", "app:graph", "-o", "open.yaml"),
        says="open.yaml is there already. Name another file, or --force",
    ),
    Mistake(
        name="init in no folder",
        argv=("init", "app:graph", "-o", "no/p.yaml"),
        says="no/p.yaml cannot be written: No such file or directory.",
    ),
    Mistake(name="init of no graph", argv=("init", "app:number"), says="app:number is no graph but of type int"),
    Mistake(
        name="recording that is not there",
        argv=("runs",),
        says="runs.db: no recording there. Run a governed graph with `governor run`",
    ),
    Mistake(
        name="runs of an unreadable recording",
        argv=("runs", "--recording", "junk.db"),
        says="file is not a database. Move the file away",
    ),
    Mistake(
        name="show of an unreadable recording",
        argv=("show", "x", "--recording", "junk.db"),
        says="file is not a database. Move the file away",
    ),
    Mistake(
        name="explain what cannot be loaded",
        argv=("policy", "explain", "none.yaml"),
        says="none.yaml: there is no such policy file",
    ),
    Mistake(
        name="schema into no folder",
        argv=("policy", "schema", "-o", "no/s.json"),
        says="No such file or directory: 'no/s.json'",
    ),
    Mistake(name="demo away from the repository", argv=("demo",), says="the demo is part of governor's repository"),
    Mistake(name="scenario that is not there", argv=("sandbox", "check", "none.yaml"), says="none.yaml"),
    Mistake(
        name="scenario with an unknown key",
        argv=("sandbox", "check", "s.yaml"),
        files={"s.yaml": "rules:\n  - replly: hi\n"},
        says="s.yaml:2: ",
    ),
    Mistake(name="unknown command", argv=("polcy",), says="No such command 'polcy'."),
    Mistake(name="run without a policy", argv=("run", "app:graph", "-i", HI), says="Missing option '--policy'"),
]


@pytest.mark.parametrize("mistake", [pytest.param(each, id=each.name) for each in (*POLICIES, *RUNS)])
def test_a_mistake_is_answered_with_what_is_wrong_and_what_to_do(
    folder: Path, governor: Governor, mistake: Mistake
) -> None:
    files = {"junk.db": JUNK, "faulty.py": "1 / 0\n", "needy.py": "import notthere\n", **mistake.files}
    for name, text in files.items():
        (folder / name).write_text(text)

    done = governor(*mistake.argv)

    said = done.stdout if mistake.argv[:2] == ("policy", "check") else done.stderr
    assert mistake.says in said
    assert mistake.exit == done.exit_code
    assert "Traceback" not in done.output


def test_an_absolute_path_to_a_file_of_the_current_folder_is_answered_with_the_name_that_works(
    folder: Path, governor: Governor
) -> None:
    done = governor("init", f"{folder / 'app.py'}:graph")

    assert "Write the module's name: `app:graph`.\n" in done.stderr
    assert 0 == governor("init", "app:graph").exit_code


def test_a_missing_extra_is_named_with_how_to_install_it(
    folder: Path, governor: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "langchain_openai", None)  # what Python takes for a package that is not there
    (folder / "p.yaml").write_text(TIERED)

    done = governor("run", "app:build", "-p", "p.yaml", "-i", HI)

    assert "provider openai needs langchain-openai: pip install 'langgraph-governor[openai]'\n" == done.stderr
    assert 2 == done.exit_code


def test_a_taken_port_of_the_sandbox_is_named_with_the_option_that_changes_it(folder: Path, process: Process) -> None:
    (folder / "s.yaml").write_text("rules: [{reply: hello}]\n")

    with Sandbox() as box:
        port = box.port
        done = process("sandbox", "serve", "s.yaml", "--port", str(port))

    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    assert 2 == done.returncode


def test_several_mistakes_of_one_policy_are_shown_together_in_the_order_of_the_file(
    folder: Path, governor: Governor
) -> None:
    (folder / "p.yaml").write_text(
        policy("limits: {steps: 0}\nlops: {}\nbudgets: [{id: b, scope: run, limit: {usd: 0}}]\n")
    )

    done = governor("policy", "check", "p.yaml")

    assert ["p.yaml:3:17", "p.yaml:4:1", "p.yaml:5:44"] == [
        line.split(": ")[0] for line in done.stdout.splitlines()[:3]
    ]
    assert "p.yaml: cannot be used: 3 error(s)" == done.stdout.splitlines()[3]


@pytest.mark.parametrize(
    "argv",
    [
        ("run", "app:number", "-p", "open.yaml", "-i", HI, "--json"),
        ("run", "app:build", "-p", "none.yaml", "-i", HI, "--json"),
        ("init", "app:number", "--json"),
        ("runs", "--json"),
        ("show", "x", "--json"),
        ("policy", "explain", "none.yaml", "--json"),
        ("policy", "schema", "-o", "no/s.json", "--json"),
        ("sandbox", "check", "none.yaml", "--json"),
        ("sandbox", "serve", "none.yaml", "--json"),
        ("demo", "--json"),
    ],
    ids=lambda argv: f"{argv[0]} {argv[1]}",
)
def test_with_json_an_error_is_one_document_on_stderr_and_nothing_on_stdout(
    folder: Path, governor: Governor, argv: tuple[str, ...]
) -> None:
    done = governor(*argv)

    error = json.loads(done.stderr)["error"]
    assert {"type", "message"} <= set(error)
    assert "" == done.stdout
    assert 2 == done.exit_code


def test_an_error_of_the_graphs_own_is_shown_with_its_traceback(folder: Path, governor: Governor) -> None:
    done = governor("run", "app:broken", "-p", "open.yaml", "-i", "{}")

    assert "app.py" in done.stderr
    assert 'raise KeyError("order")' in done.stderr
    assert done.stdout.splitlines()[-1].endswith(": failed, $0.000000")
    assert 2 == done.exit_code
