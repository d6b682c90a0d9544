"""`routing.hopeless`: a run in which the best tier fails as well ends, asks, or goes on without it."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, Interrupt

from governor import RunStopped
from governor_langgraph import govern, report_of
from tests.langgraph import graphs, modes
from tests.langgraph.fakes import Whole, policy, times

GIVEN: Any = {"messages": [("user", "x")]}
THREAD: Any = {"configurable": {"thread_id": "t"}}
RUN = {"sync": "invoke", "async": "ainvoke"}


@tool
def search(q: str) -> str:
    """Search."""
    raise ToolException(f"no index holds {q}")


search.handle_tool_error = True


def model(name: str = "best") -> Whole:
    return Whole(rule=times("search", 9, lambda n: {"q": f"word {n}"}), model_name=name)


def desk(then: str, said: Whole, cheap: Whole | None = None, **parts: Any) -> Any:
    rules = policy(
        tiers={"best": {"model": "fake:best"}, "cheap": {"model": "fake:cheap"}},
        routing={
            "default": "best",
            "escalate": {"after": "tool_error"},
            "hopeless": {"after": 3, "then": then},
        },
        loops={"mode": "observe"},
        **parts,
    )
    app = graphs.agent(said, [search], checkpointer=InMemorySaver())
    return govern(app, rules, clients={"best": said, "cheap": cheap or model("cheap")})


def asked(result: Any) -> list[Interrupt]:
    return list(result.get("__interrupt__", ()))


@pytest.mark.parametrize("how", RUN)
async def test_the_run_ends_with_what_it_has(how: str) -> None:
    said = model()
    app = desk("stop", said)

    (result,) = await modes.ALL_MODES[RUN[how]](app, GIVEN, THREAD)

    report = report_of(app, THREAD)
    assert 3 == len(said.calls)
    assert report is not None
    assert report.stopped is not None
    assert ("route.hopeless", "routing.hopeless") == (report.stopped.code, report.stopped.rule)
    assert "no index holds word 2" in str(result["messages"][-1])


def test_whoever_wants_an_exception_gets_one() -> None:
    with pytest.raises(RunStopped) as stopped:
        desk("stop", model(), on_exhausted="stop").invoke(GIVEN, THREAD)

    assert "route.hopeless" == stopped.value.reason.code


def test_a_run_that_is_resumed_gets_its_best_tier_again_for_as_long() -> None:
    said = model()
    app = desk("stop", said)
    app.invoke(GIVEN, THREAD)
    app.invoke(None, THREAD)

    assert 6 == len(said.calls)


@pytest.mark.parametrize("how", RUN)
async def test_a_person_lets_the_best_tier_try_again(how: str) -> None:
    said, run = model(), modes.ALL_MODES[RUN[how]]
    app = desk("ask", said)

    (paused,) = await run(app, GIVEN, THREAD)
    (again,) = await run(app, Command(resume="go_on"), THREAD)

    (question,) = asked(paused)
    assert "governor.hopeless" == question.value["type"]
    assert {"go_on", "finish", "stop"} == set(question.value["answers"])
    assert 1 == len(asked(again))
    assert 6 == len(said.calls)


@pytest.mark.parametrize("answer", ["finish", "no", {"more": {"model_calls": 9}}, 7])
def test_whatever_is_not_a_clear_yes_ends_the_run(answer: Any) -> None:
    said = model()
    app = desk("ask", said)
    app.invoke(GIVEN, THREAD)
    result = app.invoke(Command(resume=answer), THREAD)

    assert [] == asked(result)
    assert 3 == len(said.calls)


def test_a_person_may_end_it_with_an_error() -> None:
    app = desk("ask", model())
    app.invoke(GIVEN, THREAD)

    with pytest.raises(RunStopped):
        app.invoke(Command(resume="stop"), THREAD)


def test_who_resumes_without_an_answer_is_asked_again() -> None:
    said = model()
    app = desk("ask", said)
    app.invoke(GIVEN, THREAD)
    result = app.invoke(None, THREAD)

    assert 1 == len(asked(result))
    assert 3 == len(said.calls)


def test_the_run_goes_on_without_its_best_tier() -> None:
    said, cheap = model(), model("cheap")
    result = desk("lower", said, cheap).invoke(GIVEN, THREAD)

    assert (3, 7) == (len(said.calls), len(cheap.calls))
    assert isinstance(result["messages"][-1], AIMessage)
    assert "the end" == result["messages"][-1].text
