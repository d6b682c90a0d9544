"""An operator and a live store: what is spent, more of it, and the kill switch, which every process sees before its next call."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

from governor.cli import operating
from governor.cli.operating import amount_of, duration
from governor.errors import ConfigurationError, RunStopped, StoreError
from governor.ledger import Charge, Lease, ReserveRequest, Unit
from governor.stores.sqlite import SqliteStore
from governor.testing import START_MS, hold
from governor_langgraph import govern
from governor_redis import RedisStore
from tests.cli.conftest import Governor, Process
from tests.langgraph import graphs
from tests.langgraph.fakes import Streaming, policy
from tests.redis_server import private

ACME: dict[str, Any] = {"configurable": {"thread_id": "t1", "tenant": "acme"}}
SLICE_MS = 2 * 3_600_000
IDENTIFIED = policy(
    identity={"tenant": "config.tenant"},
    budgets=[{"id": "calls", "scope": "tenant", "limit": {"model_calls": 3}}],
    on_exhausted="stop",
)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one ledger in use, named by the environment."""
    path = tmp_path / "live.db"
    monkeypatch.setenv("GOVERNOR_STORE", f"sqlite:///{path}")
    store = SqliteStore(path)
    holds = (hold("run/tenant=acme/life/usd", 30_000_000_000, 100_000_000_000),)
    for lease in ("settled", "open"):
        store.reserve(ReserveRequest(id=lease, holds=holds, ttl_ms=60_000, now_ms=START_MS, run="r1"))
    store.settle(Charge(lease="settled", amounts=(12_500_000_000,), now_ms=START_MS))
    store.close()
    return path


def told(result: Any) -> Any:
    assert 0 == result.exit_code, result.output
    return json.loads(result.stdout)


# --- budgets


def test_a_ledger_is_listed_with_what_it_spent_and_may_spend(path: Path, governor: Governor) -> None:
    text = governor("budget", "list").stdout
    (row,) = told(governor("budget", "list", "--json"))

    assert all(word in text for word in ("run=a", "life", "$12.50", "$30.00", "$100.00", "42%"))
    assert (12_500_000_000, 30_000_000_000, "life") == (row["spent"], row["reserved"], row["window"])


@pytest.mark.parametrize("subject", ["run", "run=a", "run/tenant=acme", "run/tenant=acme/life/usd"])
def test_a_grant_raises_the_limit_and_is_kept_with_who_and_why(path: Path, governor: Governor, subject: str) -> None:
    result = governor("budget", "grant", subject, "$5", "--why", "big order", "--who", "ann")
    (change,) = told(governor("audit", "--json"))

    assert "limit $100.00 + $5.00" in result.stdout
    assert ("grant", 5_000_000_000, "ann", "big order") == tuple(
        change[key] for key in ("kind", "amount", "who", "why")
    )
    assert "ann  grant $5.00 run/tenant=acme/life/usd: big order" in governor("audit").stdout


def test_a_grant_is_taken_back_by_a_negative_one_and_done_once_under_one_id(path: Path, governor: Governor) -> None:
    for amount, key in (("5", "one"), ("5", "one"), ("-2", "two")):
        governor("budget", "grant", "run", amount, "--why", "w", "--id", key)

    assert [3_000_000_000] == [row["granted"] for row in told(governor("budget", "list", "--json"))]


def test_a_reset_is_asked_about_and_forgives_what_was_spent(path: Path, governor: Governor) -> None:
    refused = governor("budget", "reset", "run", "--why", "wrong price", input="n\n")
    done = governor("budget", "reset", "run", "--why", "wrong price", "--yes")

    assert 1 == refused.exit_code
    assert "forgiven: run (run=a), window life: $12.50 spent" in done.stdout
    assert [(0, 30_000_000_000)] == [
        (row["spent"], row["reserved"]) for row in told(governor("budget", "list", "--json"))
    ]


def test_a_rolling_window_is_listed_raised_and_reset_as_a_whole(
    path: Path, governor: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = SqliteStore(path), [20 * SLICE_MS]
    monkeypatch.setattr(operating, "now_ms", lambda: now[0])
    for number, amount in ((5, 7), (7, 2), (8, 3), (20, 1)):
        key = f"day/tenant=t/24h~12@{number}/usd"
        earlier = tuple(f"day/tenant=t/24h~12@{number - back}/usd" for back in range(1, 13))
        wanted = replace(hold(key, amount * 1_000_000_000, 100_000_000_000), earlier=earlier)
        request = ReserveRequest(id=key, holds=(wanted,), ttl_ms=60_000, now_ms=START_MS + number)
        store.reserve(request)
        store.settle(Charge(lease=key, amounts=(amount * 1_000_000_000,), now_ms=START_MS + number))

    listed = [row["spent"] for row in told(governor("budget", "list", "--json")) if row["budget"] == "day"]
    now[0] = 32 * SLICE_MS
    later = [row["spent"] for row in told(governor("budget", "list", "--json")) if row["budget"] == "day"]
    now[0] = 33 * SLICE_MS
    over = [row["spent"] for row in told(governor("budget", "list", "--json")) if row["budget"] == "day"]
    refused = governor("budget", "grant", "day", "5", "--why", "w")
    now[0] = 20 * SLICE_MS
    raised = governor("budget", "grant", "day", "5", "--why", "w").stdout
    governor("budget", "reset", "day", "--why", "w", "--yes")

    assert [4_000_000_000] == listed  # the window reaches back to slice 8
    assert [1_000_000_000] == later  # only slice 20 is still in it
    assert [0] == over
    assert (2, True) == (refused.exit_code, "its window is over" in refused.output)
    assert "window 24h~12@20, has $5.00 more: limit $100.00 + $5.00" in raised
    left = {each.ledger: each.spent for each in store.balances("day/") if each.spent}
    store.close()
    assert {f"day/tenant=t/24h~12@{slice_}/usd": n * 1_000_000_000 for slice_, n in ((5, 7), (7, 2))} == left


def test_one_scope_is_shown_with_its_calls_and_changes(path: Path, governor: Governor) -> None:
    governor("budget", "grant", "run", "5", "--why", "big order", "--who", "ann")
    result = governor("budget", "show", "run=a")

    assert "calls under way or in doubt: 1" in result.stdout
    assert "grant $5.00  by ann: big order" in result.stdout


def test_calls_under_way_are_listed_with_what_they_hold(path: Path, governor: Governor) -> None:
    assert "open  dispatched" in governor("leases").stdout
    assert [("open", "r1")] == [(row["id"], row["run"]) for row in told(governor("leases", "--json", "--run", "r1"))]
    assert [] == told(governor("leases", "--json", "--in-doubt"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("budget", "show", "nobody"), "no ledger nobody"),
        (("budget", "grant", "run", "lots", "--why", "w"), "lots: "),
        (("budget", "grant", "run", "5", "--why", " "), "--why is empty"),
        (("halt", "--why", "w"), "nothing named"),
        (("halt", "planet=earth", "--why", "w"), "planet=earth is no scope"),
        (("resume", "all", "--why", "w"), "all is not halted"),
        (("halts", "--store", "memory:"), "lives in the process that made it"),
        (("halts", "--store", "mongodb://u:secret@h/1"), "mongodb://***@h/1: nothing serves mongodb: here"),
        (("halts", "--store", "notes.txt"), "a SQLite file ends in .db"),
        (("halts", "--store", "sqlite:///x.db?slices=50%"), "no share from 0.1% to 10%"),
    ],
)
def test_what_cannot_be_done_is_said_and_exits_with_2(
    path: Path, governor: Governor, arguments: tuple[str, ...], sentence: str
) -> None:
    result = governor(*arguments)

    assert 2 == result.exit_code
    assert sentence in result.stderr
    assert "secret" not in result.output


def test_a_mistyped_file_is_not_made_and_no_halt_is_claimed(tmp_path: Path, governor: Governor) -> None:
    mistyped = tmp_path / "liv.db"
    result = governor("halt", "--all", "--yes", "--why", "w", "--store", str(mistyped))

    assert 2 == result.exit_code
    assert "there is no such store" in result.stderr
    assert not mistyped.exists()


def test_without_a_store_the_command_says_how_to_name_one(governor: Governor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOVERNOR_STORE", raising=False)
    result = governor("budget", "list")

    assert 2 == result.exit_code
    assert "give --store ADDRESS or set GOVERNOR_STORE" in result.stderr


# --- halts


def agent(model: Streaming, store: str) -> Any:
    return govern(graphs.agent(model, checkpointer=InMemorySaver()), IDENTIFIED, store=store)


def answering(say: Callable[[int], None]) -> Streaming:
    """Asks for the tool once, then answers; `say(n)` is told before the n-th answer."""
    count = iter(range(100))

    def rule(messages: list[BaseMessage]) -> AIMessage | str:
        say(next(count))
        if isinstance(messages[-1], AIMessage) or messages[-1].type == "tool":
            return "done"
        return AIMessage("", tool_calls=[{"name": "search", "args": {"q": "x"}, "id": "c1"}])

    return Streaming(rule=rule)


ASKED: dict[str, Any] = {"messages": [("user", "what is x?")]}


async def _astreamed(app: Any, given: Any, config: Any) -> None:
    async for _ in app.astream(given, config):
        pass


RUNS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "invoke": lambda app, given, config: app.invoke(given, config),
    "stream": lambda app, given, config: list(app.stream(given, config)),
    "ainvoke": lambda app, given, config: asyncio.run(app.ainvoke(given, config)),
    "astream": lambda app, given, config: asyncio.run(_astreamed(app, given, config)),
}


@pytest.mark.parametrize("way", RUNS)
@pytest.mark.parametrize("scope", ["tenant=acme", "thread=t1", "all"])
def test_a_halt_refuses_the_next_call_and_after_it_is_lifted_the_thread_goes_on(
    path: Path, governor: Governor, way: str, scope: str
) -> None:
    def say(number: int) -> None:
        if number == 0:  # while a call is under way: it is paid for, so its answer counts
            assert 0 == governor("halt", scope, "--why", "it runs wild", "--who", "ann", "--yes").exit_code

    model = answering(say)
    app = agent(model, f"sqlite:///{path}")

    with pytest.raises(RunStopped, match=f"ann halted {scope}.*it runs wild") as stopped:
        RUNS[way](app, ASKED, ACME)
    assert ("halted", 1) == (stopped.value.reason.code, len(model.calls))
    with pytest.raises(RunStopped, match="it runs wild"):
        RUNS[way](app, None, ACME)

    assert 0 == governor("resume", scope, "--why", "mended").exit_code
    RUNS[way](app, None, ACME)
    assert 2 == len(model.calls)
    assert "done" == app.get_state(ACME).values["messages"][-1].text


@pytest.mark.redis
def test_what_a_fleets_store_lost_is_accepted_by_a_person(tmp_path: Path, governor: Governor) -> None:
    asked = ReserveRequest(id="l", holds=(hold(amount=30),), ttl_ms=60_000, now_ms=0)
    with private(tmp_path) as server:
        store = RedisStore(server.url)
        store.reserve(asked)
        server.client.flushall()
        with pytest.raises(StoreError, match=r"go on at once: .*`governor resume store`"):
            store.reserve(asked)

        result = governor("resume", "store", "--why", "a new server", "--store", server.url)

        assert "store may go on: budgets count on from what it has.\n" == result.stdout
        assert isinstance(store.reserve(asked), Lease)
        store.close()


def test_a_user_without_a_name_can_halt_all_the_same(
    path: Path, governor: Governor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        message = "getpwuid(): uid not found: 12345"
        raise KeyError(message)

    monkeypatch.setattr(getpass, "getuser", nameless)

    governor("halt", "--all", "--why", "it runs wild", "--yes")

    assert [f"uid {os.getuid()}"] == [each["who"] for each in told(governor("halts", "--json"))]


def test_another_tenant_goes_on(path: Path, governor: Governor) -> None:
    governor("halt", "--tenant", "acme", "--why", "it runs wild")
    model = answering(lambda number: None)

    agent(model, f"sqlite:///{path}").invoke(ASKED, {"configurable": {"thread_id": "t2", "tenant": "other"}})

    assert 2 == len(model.calls)


def test_a_halt_of_another_process_is_seen_without_any_budget(path: Path, process: Process) -> None:
    results: list[subprocess.CompletedProcess[str]] = []

    def say(number: int) -> None:
        if number == 0:
            results.append(process("halt", "--all", "--yes", "--why", "stop", GOVERNOR_STORE=f"sqlite:///{path}"))

    model = answering(say)
    app = govern(graphs.agent(model), policy(on_exhausted="stop"), store=f"sqlite:///{path}")

    with pytest.raises(RunStopped, match="halted all"):
        app.invoke(ASKED)
    assert [0] == [result.returncode for result in results], results
    assert 1 == len(model.calls)


def test_a_run_that_used_its_budget_up_goes_on_once_an_operator_gave_more(path: Path, governor: Governor) -> None:
    model = Streaming(
        rule=lambda messages: (
            AIMessage("", tool_calls=[{"name": "search", "args": {"q": len(messages)}, "id": "c"}])
            if len(messages) < 8
            else "done"
        )
    )
    app = agent(model, f"sqlite:///{path}")
    with pytest.raises(RunStopped, match="Budget calls"):
        app.invoke(ASKED, ACME)
    assert 3 == len(model.calls)

    assert 0 == governor("budget", "grant", "calls", "2", "--why", "it is nearly done").exit_code
    app.invoke(None, ACME)

    assert 5 == len(model.calls)
    assert "done" == app.get_state(ACME).values["messages"][-1].text


# --- amounts


@pytest.mark.parametrize(
    ("text", "unit", "amount"),
    [
        ("5", Unit.NANO_USD, 5_000_000_000),
        ("$0.25", Unit.FEES, 250_000_000),
        ("-$1", Unit.NANO_USD, -1_000_000_000),
        ("400k", Unit.TOKENS, 400_000),
        ("-3", Unit.MODEL_CALLS, -3),
        ("10m", Unit.MILLISECONDS, 600_000),
    ],
)
def test_amounts_are_written_as_in_policies(text: str, unit: Unit, amount: int) -> None:
    assert amount == amount_of(text, unit)


def test_what_is_no_amount_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="five"):
        amount_of("five", Unit.NANO_USD)


@pytest.mark.parametrize(
    ("ms", "text"), [(45_000, "45 s"), (720_000, "12 min"), (12_600_000, "3.5 h"), (9 * 86_400_000, "9 d")]
)
def test_durations_are_short(ms: int, text: str) -> None:
    assert text == duration(ms)
