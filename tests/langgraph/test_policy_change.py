"""A run that waits while its policy changes: it goes on under the new one, under its own, or when a person says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from governor import PolicyError, RunStopped
from governor.policy.kept import HANDLE, read_policy, written_policy
from governor.policy.load import bundled_policies, load
from governor.policy.schema import Policy
from governor.stores.memory import MemoryStore
from governor.stores.sqlite import SqliteStore
from governor_langgraph import govern, report_of, watch
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Streaming, policy, times
from tests.policy.strategies import policies

GIVEN: Any = {"messages": [("user", "x")]}
THREAD: Any = {"configurable": {"thread_id": "t"}}
RUN = {"sync": "invoke", "async": "ainvoke"}
ASK = {"id": "rule", "tool": "pay", "decide": "ask"}
DENY = {"id": "rule", "tool": "pay", "decide": "deny"}


class Desk:
    """An agent that pays twice, and its store; any number of policies in turn."""

    def __init__(self, store: Any = None) -> None:
        self.paid: list[int] = []
        self.store = store or MemoryStore()

        @tool
        def pay(usd: int) -> str:
            """Pay."""
            self.paid.append(usd)
            return "paid"

        self.model = Streaming(rule=times("pay", 2, lambda n: {"usd": n}))
        self.bare = graphs.agent(self.model, [pay], checkpointer=InMemorySaver())

    def under(self, rule: dict[str, Any], word: str | None = None, **more: Any) -> Any:
        change = {} if word is None else {"on_policy_change": word}
        rules = policy(tools={"default": "allow", "rules": [rule]}, **change, **more)
        return govern(self.bare, rules, store=self.store)


def told(result: Any) -> str:
    return next(message.text for message in reversed(result["messages"]) if message.type == "tool")


@pytest.mark.parametrize("how", RUN)
async def test_by_default_the_new_policy_judges_pending_calls_again(how: str) -> None:
    desk, run = Desk(), modes.ALL_MODES[RUN[how]]
    await run(desk.under(ASK), GIVEN, THREAD)

    await run(desk.under(DENY), Command(resume=True), THREAD)

    left = desk.under(DENY).get_state(THREAD).values
    assert [] == desk.paid
    assert "it is not allowed here (rule rule)" in told(left)


@pytest.mark.parametrize("how", RUN)
@pytest.mark.parametrize("kept", ["memory", "sqlite"])
async def test_a_pinned_run_goes_on_under_the_policy_that_it_began_under(how: str, kept: str, tmp_path: Path) -> None:
    desk, run = Desk(SqliteStore(tmp_path / "g.db") if kept == "sqlite" else None), modes.ALL_MODES[RUN[how]]
    first = desk.under(ASK, "pin")
    await run(first, GIVEN, THREAD)
    desk.store = SqliteStore(tmp_path / "g.db") if kept == "sqlite" else desk.store

    second = desk.under(DENY, "pin")
    (asked,) = await run(second, Command(resume=True), THREAD)

    assert [0] == desk.paid
    assert "__interrupt__" in asked  # its second payment is asked about as well, as its own policy says
    await run(second, Command(resume=True), THREAD)
    assert [0, 1] == desk.paid
    report = report_of(second, THREAD)
    assert report is not None
    assert report_of(first, THREAD).state.policy == report.state.policy  # pyright: ignore[reportOptionalMemberAccess] - there is a run


@pytest.mark.parametrize("how", RUN)
async def test_a_run_whose_own_policy_was_not_kept_is_refused(how: str) -> None:
    desk, run = Desk(), modes.ALL_MODES[RUN[how]]
    await run(desk.under(ASK), GIVEN, THREAD)

    with pytest.raises(RunStopped) as stopped:
        await run(desk.under(ASK, "pin"), Command(resume=True), THREAD)

    reason = stopped.value.reason
    assert ("policy.unavailable", "on_policy_change", "pin") == (reason.code, reason.rule, reason.limit)
    assert "was not kept" in reason.text
    assert [] == desk.paid
    assert 1 == len(desk.model.calls)


def test_a_kept_policy_that_was_tampered_with_is_refused() -> None:
    desk = Desk()
    app = desk.under(ASK, "pin")
    app.invoke(GIVEN, THREAD)
    run = report_of(app, THREAD)
    assert run is not None
    text: Any = desk.store.recall(run.run.id, HANDLE)
    desk.store.keep(run.run.id, HANDLE, text.replace('"ask"', '"allow"'))

    with pytest.raises(RunStopped, match="is not the one it began under"):
        desk.under(DENY, "pin").invoke(Command(resume=True), THREAD)
    assert [] == desk.paid


@pytest.mark.parametrize("how", RUN)
async def test_a_person_is_asked_before_anything_runs_under_a_new_policy(how: str) -> None:
    desk, run = Desk(), modes.ALL_MODES[RUN[how]]
    await run(desk.under(ASK), GIVEN, THREAD)
    app = desk.under(ASK, "ask", owner="other")

    (asked,) = await run(app, Command(resume=True), THREAD)

    (question,) = asked["__interrupt__"]
    assert ("governor.policy", {"adopt", "stop"}) == (question.value["type"], set(question.value["answers"]))
    assert [] == desk.paid
    (pending,) = await run(app, Command(resume="adopt"), THREAD)
    assert ["governor.approval"] == [each.value["type"] for each in pending["__interrupt__"]]
    await run(app, Command(resume=True), THREAD)
    assert [0] == desk.paid


@pytest.mark.parametrize("answer", ["stop", "no", False, {"decision": "reject"}], ids=repr)
def test_whoever_does_not_agree_to_the_new_policy_ends_the_run(answer: Any) -> None:
    desk = Desk()
    desk.under(ASK).invoke(GIVEN, THREAD)
    app = desk.under(ASK, "ask")
    app.invoke(None, THREAD)

    with watch() as runs:
        result = app.invoke(Command(resume=answer), THREAD)

    assert "__interrupt__" not in result
    assert runs[0].stopped is not None
    assert "policy.changed" == runs[0].stopped.code
    assert 1 == len(desk.model.calls)
    assert "__interrupt__" in app.invoke(None, THREAD)  # the run is not lost: it can be asked about again


def test_a_new_run_is_under_the_new_policy_without_a_question() -> None:
    desk = Desk()
    desk.under(ASK).invoke(GIVEN, THREAD)

    result = desk.under(DENY, "ask").invoke(GIVEN, THREAD)

    assert "__interrupt__" not in result


def test_an_unchanged_policy_asks_nothing() -> None:
    desk = Desk()
    desk.under(ASK, "ask").invoke(GIVEN, THREAD)

    desk.under(ASK, "ask").invoke(Command(resume=True), THREAD)

    assert [0] == desk.paid


def test_budgets_go_on_under_the_new_policy() -> None:
    desk = Desk()
    budget = {"id": "b", "scope": "run", "limit": {"model_calls": 1}}
    desk.under(ASK, budgets=[budget]).invoke(GIVEN, THREAD)
    allow = {"id": "rule", "tool": "pay", "decide": "allow"}

    app = desk.under(allow, budgets=[budget])
    app.invoke(Command(resume=True), THREAD)

    report = report_of(app, THREAD)
    assert report is not None
    assert report.stopped is not None
    assert ("b", [1]) == (report.stopped.rule, [each.spent for each in report.budgets])
    assert 1 == len(desk.model.calls)


@pytest.mark.parametrize("name", [*bundled_policies(), "tests/policy/example.yaml"])
def test_shipped_policies_are_kept_as_they_are(name: str) -> None:
    loaded = load(name)

    assert loaded.policy == read_policy(written_policy(loaded), loaded.hash).policy


@settings(max_examples=60)
@given(policies)
def test_any_policy_is_kept_as_it_is(written: Policy) -> None:
    loaded = load(written)

    assert loaded.hash == read_policy(written_policy(loaded), loaded.hash).hash


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"governor": 1, "name": "other"}'])
def test_what_is_not_the_kept_policy_is_a_policy_error(text: str) -> None:
    with pytest.raises(PolicyError):
        read_policy(text, "sha256:0")
