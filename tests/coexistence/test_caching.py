"""With a vendor's caching middleware in the same agent: one request never carries the cache points of two planners."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_anthropic.middleware import AnthropicPromptCachingMiddleware
from langchain_aws.middleware import BedrockPromptCachingMiddleware
from langchain_core.tools import tool

from governor_langgraph import GovernorMiddleware, govern
from governor_sandbox import Conversation, Reply, Sandbox, Scenario
from governor_sandbox.output import ScriptedCall
from tests.langgraph.fakes import OPEN, policy
from tests.vendors.clients import ANTHROPIC, BEDROCK, CLIENTS, LONG

THEIRS: dict[str, Callable[[], Any]] = {
    ANTHROPIC: AnthropicPromptCachingMiddleware,
    BEDROCK: BedrockPromptCachingMiddleware,
}
PLANNING = policy(context={"cache": {"ttl": "5m"}, "order": "auto"})
GIVEN: Any = {"messages": [("user", LONG)]}
TURNS = 5
Point = tuple[str | int, ...]


@tool(description=LONG)
def search(q: str) -> str:
    return f"found {q}. {LONG}"


def looking(said: Conversation) -> Reply | str:
    if said.step < TURNS - 1:
        return Reply(text="Let me see.", tool_calls=(ScriptedCall(name="search", args={"q": str(said.step)}),))
    return "the end"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(Scenario.from_callable(looking)) as box:
        yield box


def watched(family: str, box: Sandbox) -> tuple[Any, list[dict[str, Any]]]:
    """A client, and the requests that leave it."""
    model: Any = CLIENTS[family](box)
    sent: list[dict[str, Any]] = []
    if family == BEDROCK:
        model.client.meta.events.register("before-send.*", lambda request, **_: sent.append(json.loads(request.body)))
    else:
        hooks = {"request": [lambda request: sent.append(json.loads(request.content))], "response": []}
        model._client._client.event_hooks = hooks
    return model, sent


def points(value: Any, at: Point = ()) -> set[Point]:
    """Where in a request cache points are."""
    found: set[Point] = set()
    if isinstance(value, dict):
        found |= {at for key in ("cache_control", "cachePoint") if key in value}
        for key, each in value.items():
            found |= points(each, (*at, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            found |= points(each, (*at, index))
    return found


def asked(family: str, box: Sandbox, how: Callable[[Any], Any], **agent: Any) -> list[set[Point]]:
    """The cache points of each request of one conversation."""
    model, sent = watched(family, box)
    box.reset()
    result = how(create_agent(model, [search], system_prompt=LONG, **agent)).invoke(GIVEN)
    assert "the end" == result["messages"][-1].text
    assert [200] * TURNS == [record.status for record in box.meter.records]
    return [points(request) for request in sent]


def bare(agent: Any) -> Any:
    return agent


@pytest.mark.parametrize("how", ["govern", "before", "after"])
@pytest.mark.parametrize("family", THEIRS)
def test_a_policy_that_plans_cache_points_plans_all_of_them(box: Sandbox, family: str, how: str) -> None:
    theirs, ours = THEIRS[family](), GovernorMiddleware(PLANNING)

    alone = asked(family, box, lambda agent: govern(agent, PLANNING))
    if how == "govern":
        together = asked(family, box, lambda agent: govern(agent, PLANNING), middleware=[theirs])
    else:
        together = asked(family, box, bare, middleware=[ours, theirs] if how == "before" else [theirs, ours])

    assert all(alone)
    assert alone == together
    assert all(len(each) <= 4 for each in together)
    assert all(
        () not in each for each in together
    )  # no marker of the whole request, which the vendor would place itself


@pytest.mark.parametrize("family", THEIRS)
def test_a_policy_that_plans_none_leaves_the_middlewares_as_they_are(box: Sandbox, family: str) -> None:
    theirs = THEIRS[family]()

    expected = asked(family, box, bare, middleware=[theirs])
    governed = asked(family, box, lambda agent: govern(agent, OPEN), middleware=[theirs])

    assert all(expected)
    assert expected == governed


@pytest.mark.parametrize("family", THEIRS)
def test_what_is_read_from_the_cache_is_no_less_than_the_middleware_alone_would_read(box: Sandbox, family: str) -> None:
    theirs = THEIRS[family]()

    asked(family, box, bare, middleware=[theirs])
    alone = sum(record.usage.cache_read for record in box.meter.records)
    asked(family, box, lambda agent: govern(agent, PLANNING), middleware=[theirs])
    together = sum(record.usage.cache_read for record in box.meter.records)

    assert 0 < alone <= together
