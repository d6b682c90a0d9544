"""A store that is lost while a graph runs: the run stops with a reason or goes on with an alarm, and nothing that was paid is repeated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from governor.errors import RunStopped, StoreError
from governor.report import GovernorReport
from governor_langgraph import govern, report_of, watch
from governor_redis import RedisStore
from tests.core.lossy import GONE, Lossy
from tests.langgraph.fakes import Streaming, calling, policy
from tests.langgraph.modes import Mode, ainvoke, astream, invoke, stream
from tests.redis_server import RedisServer, private

CONFIG: Any = {"configurable": {"thread_id": "t"}}
GIVEN: Any = {"messages": [("user", "work")]}
TURNS = 2
WHOLE = ["turn 0", "look 0", "turn 1", "look 1", "turn 2"]
MODES: dict[str, Mode] = {mode.__name__: mode for mode in (invoke, stream, ainvoke, astream)}
BUDGET: dict[str, Any] = {
    "budgets": [{"id": "calls", "scope": "thread", "limit": {"model_calls": 100, "tool_calls": 100}}]
}


class Work:
    """What the provider and the tool were asked, in order, and what happens at one of them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.at: dict[str, Callable[[], object]] = {}

    def agent(self, saver: Any = None) -> Any:
        @tool
        def look(q: str) -> str:
            """Look."""
            self.happens(f"look {q}")
            return f"seen {q}"

        return create_agent(Streaming(rule=self.rule), [look], checkpointer=saver or InMemorySaver())

    def rule(self, messages: list[BaseMessage]) -> AIMessage | str:
        turn = sum(isinstance(message, ToolMessage) for message in messages)
        self.happens(f"turn {turn}")
        return "the end" if turn == TURNS else calling("look", {"q": str(turn)}, call_id=f"c{turn}")

    def happens(self, what: str) -> None:
        self.done.append(what)
        self.at.pop(what, int)()


def last_of(app: Any) -> str:
    return str(app.get_state(CONFIG).values["messages"][-1].text)


def spent(store: Any) -> dict[str, tuple[int, int]]:
    return {each.unit.value: (each.spent, each.reserved) for each in store.balances()}


async def operations(mode: Mode) -> int:
    store = Lossy()
    await mode(govern(Work().agent(), policy(**BUDGET), store=store), GIVEN, CONFIG)
    return store.asked


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_stops_wherever_its_store_is_lost_and_goes_on_when_it_is_back(mode: str) -> None:
    for at in range(await operations(MODES[mode])):
        work, store = Work(), Lossy(lambda number, at=at: number >= at)
        app = govern(work.agent(), policy(**BUDGET), store=store)

        with watch() as reports:
            await MODES[mode](app, GIVEN, CONFIG)
        until = list(work.done)
        store.lost = lambda _: False
        if until != WHOLE:
            assert "store.lost" == getattr(reports[-1].stopped, "code", None), at
            await MODES[mode](app, None, CONFIG)

        assert WHOLE[: len(until)] == until, at
        assert len(set(work.done)) == len(work.done), at
        assert "the end" == last_of(app), at


@pytest.mark.parametrize("mode", MODES)
async def test_every_call_is_charged_once_when_the_store_is_back(mode: str) -> None:
    for at in range(await operations(MODES[mode])):
        work, store = Work(), Lossy(lambda number, at=at: number >= at)
        app = govern(work.agent(), policy(**BUDGET), store=store)
        work_done = work.done

        await MODES[mode](app, GIVEN, CONFIG)
        store.lost = lambda _: False
        await MODES[mode](app, None if len(work_done) < len(WHOLE) else GIVEN, CONFIG)

        kinds = [what.split()[0] for what in work_done]
        assert (kinds.count("turn"), 0) == spent(store)["model_calls"], at
        assert (kinds.count("look"), 0) == spent(store).get("tool_calls", (0, 0)), at


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_goes_on_unmetered_wherever_its_store_is_lost_if_the_policy_says_open(mode: str) -> None:
    for at in range(await operations(MODES[mode])):
        work, store = Work(), Lossy(lambda number, at=at: number >= at)
        app = govern(work.agent(), policy(**BUDGET, on_store_loss="open"), store=store)

        with watch() as reports:
            await MODES[mode](app, GIVEN, CONFIG)

        assert WHOLE == work.done, at
        assert "the end" == last_of(app), at
        assert [None] == [report.stopped for report in reports], at


@pytest.mark.parametrize("mode", MODES)
async def test_it_raises_where_the_policy_says_stop_with_a_report_of_what_is_known(mode: str) -> None:
    work, store = Work(), Lossy()
    app = govern(work.agent(), policy(**BUDGET, on_exhausted="stop"), store=store)
    work.at["turn 1"] = lambda: setattr(store, "lost", lambda _: True)

    with pytest.raises(RunStopped) as caught:
        await MODES[mode](app, GIVEN, CONFIG)

    report: Any = caught.value.report
    assert ("store.lost", GONE) == (caught.value.reason.code, caught.value.reason.seen)
    assert isinstance(report, GovernorReport)
    assert "store.lost" == getattr(report.stopped, "code", None)
    assert WHOLE[:3] == work.done


class Unopened(Lossy):
    """Lost before a run begins."""

    def open_run(self, thread: str | None, fresh: str, *, resume: bool) -> str:
        self._there()
        return super().open_run(thread, fresh, resume=resume)


@pytest.mark.parametrize("pinned", [{}, {"on_policy_change": "pin"}])
def test_a_fresh_run_begins_without_a_store_only_under_open_and_a_resume_never(pinned: dict[str, Any]) -> None:
    closed, open_ = Work(), Work()
    refusing = govern(closed.agent(), policy(**BUDGET, **pinned), store=Unopened(lambda _: True))
    opening = govern(open_.agent(), policy(**BUDGET, **pinned, on_store_loss="open"), store=Unopened(lambda _: True))

    opening.invoke(GIVEN, CONFIG)
    with pytest.raises(StoreError):
        refusing.invoke(GIVEN, CONFIG)
    with pytest.raises(StoreError):
        opening.invoke(None, CONFIG)

    assert [] == closed.done
    assert WHOLE == open_.done


def test_what_the_store_missed_of_a_run_is_told_before_the_run_is_taken_up() -> None:
    work, store = Work(), Lossy()
    app = govern(work.agent(), policy(**BUDGET, on_store_loss="open", limits={"steps": 2}), store=store)
    work.at["turn 0"] = lambda: setattr(store, "lost", lambda _: True)

    app.invoke(GIVEN, CONFIG)
    store.lost = lambda _: False
    unknown: Any = report_of(app, CONFIG)
    app.invoke(None, CONFIG)
    known: Any = report_of(app, CONFIG)

    assert (None, "limits.steps") == (unknown.stopped, known.stopped.rule)
    assert unknown.state.steps < known.state.steps
    assert ["turn 0", "look 0"] == work.done


@pytest.mark.redis
@pytest.mark.parametrize("at", WHOLE[::2])
@pytest.mark.parametrize("mode", MODES)
async def test_a_redis_that_is_killed_in_a_call_and_comes_back_costs_no_answer(
    mode: str, at: str, tmp_path: Path
) -> None:
    with private(tmp_path, aof="always") as server:
        store, work = RedisStore(server.url), Work()
        app = govern(work.agent(), policy(**BUDGET), store=store)
        work.at[at] = server.kill

        with watch() as reports:
            await MODES[mode](app, GIVEN, CONFIG)
        until = list(work.done)
        server.start()
        await MODES[mode](app, None if until != WHOLE else GIVEN, CONFIG)

        assert WHOLE[: WHOLE.index(at) + 1] == until
        assert at == WHOLE[-1] or "store.lost" == getattr(reports[-1].stopped, "code", None)
        finished = work.done[: len(WHOLE)]
        assert len(set(finished)) == len(finished)
        assert "the end" == last_of(app)
        kinds = [what.split()[0] for what in work.done]
        assert (kinds.count("turn"), 0) == spent(store)["model_calls"]
        store.close()


@pytest.mark.redis
@pytest.mark.parametrize("mode", MODES)
async def test_a_redis_that_is_killed_and_stays_away_stops_nobody_under_open(mode: str, tmp_path: Path) -> None:
    with private(tmp_path) as server:
        store, work = RedisStore(server.url), Work()
        app = govern(work.agent(), policy(**BUDGET, on_store_loss="open"), store=store)
        work.at["turn 1"] = server.kill

        await MODES[mode](app, GIVEN, CONFIG)

        assert WHOLE == work.done
        assert "the end" == last_of(app)
        with pytest.raises(StoreError):
            store.close()  # says that what it still had to write is lost


def empties(server: RedisServer) -> None:
    server.client.flushall()


def restarts(server: RedisServer) -> None:
    server.kill()
    server.start()


@pytest.mark.redis
@pytest.mark.parametrize("at", WHOLE)
@pytest.mark.parametrize("lose", [empties, restarts])
@pytest.mark.parametrize("mode", [invoke, ainvoke])
async def test_a_redis_that_is_emptied_in_a_call_says_no_less_than_what_was_billed_and_refuses(
    mode: Mode, lose: Callable[[RedisServer], None], at: str, tmp_path: Path
) -> None:
    with private(tmp_path) as server:
        store, work = RedisStore(server.url), Work()
        app = govern(work.agent(), policy(**BUDGET), store=store)
        work.at[at] = lambda: lose(server)

        with watch() as reports:
            await mode(app, GIVEN, CONFIG)
        until = list(work.done)
        kinds = [what.split()[0] for what in until]
        charged = spent(store)
        frozen = govern(Work().agent(), policy(**BUDGET), store=store)
        with watch() as later:
            await mode(frozen, GIVEN, {"configurable": {"thread_id": "another"}})

        assert WHOLE[: WHOLE.index(at) + 1] == until
        known = "model_calls" if at.startswith("turn") else "tool_calls"
        assert (kinds.count(at.split(maxsplit=1)[0]), 0) == charged[known]
        stopped: Any = [report.stopped for report in (*reports, *later) if report.stopped]
        assert {"store.lost"} == {reason.code for reason in stopped}
        assert "lost what governor had written" in stopped[-1].seen
        assert "governor resume store" in stopped[-1].text
        store.close()
