"""A tier whose provider fails is answered for by another: reserved anew at its price, said in the trace, remembered by the breaker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langgraph.graph import START, MessagesState, StateGraph

from governor.decisions import Decision
from governor.policy.load import load
from governor.runtime import Runtime
from governor.stores.memory import MemoryStore
from governor.telemetry import Telemetry
from governor_langgraph import attempts, govern
from governor_sandbox import Fault, Sandbox, When
from tests.vendors.clients import CLIENTS, FAMILIES, MODELS
from tests.vendors.test_attempts import ASKED, WAYS, retrying, spent, streamed, streamed_async

PROVIDERS = {"bedrock": "bedrock_converse", "anthropic": "anthropic", "openai": "openai"}
OTHER = {"bedrock": "openai", "anthropic": "bedrock", "openai": "anthropic"}
"""Who answers for whom: each family stands in for another."""


class Heard(Telemetry):
    """Keeps the decisions, and what is said of attempts."""

    def __init__(self, policy: Any) -> None:
        super().__init__(policy)
        self.decisions: list[Decision] = []

    def decided(self, span: Any, step: Any, decision: Decision) -> None:
        self.decisions.append(decision)
        super().decided(span, step, decision)

    @property
    def codes(self) -> list[str]:
        found = [each.reason.code for each in self.decisions if each.reason is not None and each.control == "route"]
        return [code for code in found if code != "route.default"]


class Desk:
    """A graph of one node under a policy whose first tier has an alternate of another family."""

    def __init__(
        self,
        box: Sandbox,
        family: str,
        way: Callable[[BaseChatModel], str],
        *,
        retries: int = 0,
        routing: dict[str, Any] | None = None,
        **tier: Any,
    ) -> None:
        self.box, self.main, self.alternate = box, MODELS[family], MODELS[OTHER[family]]
        self.now = 0
        tiers = {
            "main": {
                "model": f"{PROVIDERS[family]}:{self.main}",
                "max_output_tokens": 300,
                "fallback": "other",
                **tier,
            },
            "other": {"model": f"{PROVIDERS[OTHER[family]]}:{self.alternate}", "max_output_tokens": 200},
        }
        policy = {
            "governor": 1,
            "name": "p",
            "identity": {"org": "acme"},
            "tiers": tiers,
            "routing": {"default": "main", **(routing or {})},
            "budgets": [{"id": "b", "scope": "org", "limit": {"usd": 10, "model_calls": 50}}],
            "tools": {"default": "allow"},
        }
        loaded, self.store = load(policy), MemoryStore()
        self.heard = Heard(loaded)
        runtime = Runtime(loaded, store=self.store, telemetry=self.heard, clock=lambda: self.now)
        model = retrying(family, box, retries)

        def node(state: MessagesState) -> dict[str, Any]:
            return {"messages": [("ai", way(model))]}

        graph = StateGraph(MessagesState)
        graph.add_node("node", node)
        graph.add_edge(START, "node")
        clients = {"main": retrying(family, box, 0), "other": CLIENTS[OTHER[family]](box)}
        self.app = govern(graph, loaded, runtime=runtime, clients=clients)

    def ask(self) -> str:
        return str(self.app.invoke(ASKED)["messages"][-1].text)

    @property
    def asked(self) -> list[str]:
        """The models that were asked, in order, failed requests included."""
        return [record.model for record in self.box.meter.records]

    def never_under_reserved(self) -> bool:
        return spent(self.store, "nano_usd") >= self.box.meter.bill().nano_usd


def fails(box: Sandbox, family: str, kind: Any = "unavailable", **fields: Any) -> None:
    box.fault(Fault(kind=kind, when=When(model=(MODELS[family],)), **fields))


@pytest.fixture
def own() -> Iterator[Sandbox]:
    """A sandbox of the test's own: faults outlive a reset."""
    with Sandbox() as box:
        yield box


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are a rule of their own; here nobody waits for them."""
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["throttle", "server_error", "unavailable"])
@pytest.mark.parametrize("family", FAMILIES)
def test_another_tier_answers_when_the_provider_fails(
    own: Sandbox, family: str, kind: str, way: Callable[[BaseChatModel], str]
) -> None:
    fails(own, family, kind)
    desk = Desk(own, family, way)

    assert "ok" == desk.ask()
    assert [desk.main, desk.alternate] == desk.asked
    assert "route.failed_over" in desk.heard.codes
    assert desk.never_under_reserved()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_attempt_that_failed_is_given_back_when_it_was_refused_and_charged_when_it_may_have_been_billed(
    own: Sandbox, family: str
) -> None:
    fails(own, family, "throttle", nth=(1,))
    fails(own, family, "server_error", nth=(2,))
    desk = Desk(own, family, WAYS[0])
    desk.ask()
    refused = spent(desk.store, "model_calls")
    desk.ask()

    assert (1, 3) == (refused, spent(desk.store, "model_calls"))
    assert desk.never_under_reserved()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_that_a_client_of_another_class_answers_is_one_call(
    own: Sandbox, family: str, way: Callable[[BaseChatModel], str]
) -> None:
    desk = Desk(own, family, way, routing={"default": "other"})

    assert "ok" == desk.ask()
    assert (1, [desk.alternate]) == (spent(desk.store, "model_calls"), desk.asked)


@pytest.mark.parametrize("way", [streamed, streamed_async])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_stream_that_failed_before_its_first_chunk_is_moved_and_one_that_failed_after_it_is_not(
    own: Sandbox, family: str, way: Callable[[BaseChatModel], str]
) -> None:
    fails(own, family, "disconnect", nth=(1,), after_chunks=1)
    fails(own, family, "unavailable", nth=(2,))
    desk = Desk(own, family, way)

    with pytest.raises(Exception):  # noqa: B017, PT011 - each transport has an error of its own
        desk.ask()
    assert [desk.main] == desk.asked
    assert "ok" == desk.ask()
    assert [desk.main, desk.main, desk.alternate] == desk.asked


@pytest.mark.parametrize("family", FAMILIES)
def test_what_its_client_retries_is_retried_before_another_tier_is_asked(own: Sandbox, family: str) -> None:
    fails(own, family)
    desk = Desk(own, family, WAYS[0], retries=2)

    assert "ok" == desk.ask()
    assert [desk.main] * 3 + [desk.alternate] == desk.asked


def test_a_request_that_is_wrong_is_not_taken_elsewhere(box: Sandbox) -> None:
    desk = Desk(box, "openai", lambda model: str(model.bind(temperature=7).invoke(ASKED["messages"]).text))

    with pytest.raises(Exception, match="temperature"):
        desk.ask()
    assert [desk.main] == desk.asked


@pytest.mark.parametrize("family", FAMILIES)
def test_a_locked_step_raises_the_providers_own_error(own: Sandbox, family: str) -> None:
    fails(own, family)
    rules = [{"id": "pinned", "when": {"node": "node"}, "tier": "main", "lock": True}]
    desk = Desk(own, family, WAYS[0], routing={"rules": rules, "rest": {"after": 1}})

    for _ in range(3):
        with pytest.raises(Exception, match=r"(?i)overload|unavailable|503|529"):
            desk.ask()
    assert {desk.main} == set(desk.asked)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tier_that_keeps_failing_rests_is_passed_over_and_tried_again_once_it_has(own: Sandbox, family: str) -> None:
    fails(own, family, times=2)
    desk = Desk(own, family, WAYS[0], routing={"rest": {"after": 2, "for": "30s"}})
    for _ in range(3):
        desk.ask()
    desk.now = 29_999
    desk.ask()
    desk.now = 30_000
    desk.ask()
    desk.ask()

    assert [desk.main, desk.alternate] * 2 + [desk.alternate] * 2 + [desk.main] * 2 == desk.asked
    assert 1 == desk.heard.codes.count("route.rested")
    assert 2 == desk.heard.codes.count("route.resting")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tier_rests_as_long_as_its_provider_asks(own: Sandbox, family: str) -> None:
    fails(own, family, "throttle", nth=(1,), retry_after_s=90)
    desk = Desk(own, family, WAYS[0], routing={"rest": {"after": 1, "for": "10s"}})
    desk.ask()
    desk.now = 89_999
    desk.ask()
    desk.now = 90_000
    desk.ask()

    assert [desk.main, desk.alternate, desk.alternate, desk.main] == desk.asked


def test_where_all_alternates_rest_the_tier_itself_is_tried(own: Sandbox) -> None:
    own.fault(Fault(kind="unavailable"))
    desk = Desk(own, "openai", WAYS[0], routing={"rest": {"after": 1}})
    for _ in range(2):
        with pytest.raises(Exception, match="overload"):
            desk.ask()

    assert [desk.main, desk.alternate, desk.main] == desk.asked


def test_without_a_list_nothing_moves_unless_the_policy_lets_failing_tiers_rest(own: Sandbox) -> None:
    fails(own, "anthropic")
    silent = Desk(own, "anthropic", WAYS[0], fallback=[])

    with pytest.raises(Exception, match="overload"):
        silent.ask()
    assert [silent.main] == silent.asked


def test_without_a_list_the_next_better_tier_answers_and_never_a_weaker_one(own: Sandbox) -> None:
    fails(own, "anthropic")
    routing = {"default": "other", "rest": {"after": 1}}
    desk = Desk(
        own, "openai", WAYS[0], fallback=[], routing=routing
    )  # `other` is the anthropic model here, below `main`

    assert "ok" == desk.ask()
    assert [desk.alternate, desk.main] == desk.asked
    weaker = Desk(own, "anthropic", WAYS[0], fallback=[], routing={"rest": {"after": 1}})
    with pytest.raises(Exception, match="overload"):
        weaker.ask()
