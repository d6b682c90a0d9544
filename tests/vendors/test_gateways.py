"""What gateways say of their answers and refusals, and what that means for the ledger: by real clients, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from governor_langgraph import attempts
from governor_langgraph.answers import failure_at_gateway
from governor_langgraph.gateways import Heard, told_in
from governor_langgraph.vendors import Failure
from governor_sandbox import Fault, Reply, Sandbox, Scenario
from governor_sandbox.gateways import Front
from tests.sampled import sampled
from tests.vendors.targets import (
    ALIASES,
    SCENARIO,
    SECRETS,
    TARGETS,
    WAYS,
    Target,
    Way,
    governed,
    streamed,
    whole,
)

ANSWER = "word " * 40


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.0)
    with Sandbox(SCENARIO) as serving:
        serving.litellm.aliases.update(ALIASES)
        environment = {name: value for name, value in serving.env().items() if "URL" not in name}
        for name, value in {**environment, **SECRETS}.items():
            monkeypatch.setenv(name, value)
        yield serving


def front_of(box: Sandbox, name: str) -> Front:
    return {"cloudflare": box.cloudflare, "litellm": box.litellm, "portkey": box.portkey}[TARGETS[name].gateway or ""]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["cloudflare openai", "cloudflare anthropic", "cloudflare bedrock", "portkey slug"])
def test_an_answer_from_the_gateways_cache_costs_nothing_and_says_so(box: Sandbox, name: str, way: Way) -> None:
    front_of(box, name).caching = True
    desk = governed(TARGETS[name].tier(box), way, times=2)

    assert f"{ANSWER}|{ANSWER}" == desk.ask()

    first, second = desk.calls()
    assert box.meter.bill().nano_usd == desk.store.spent() == first["governor.cost_nano_usd"]
    assert (1, 0) == (desk.store.spent("model_calls"), desk.store.reserved)
    assert (False, "MISS") == (first["governor.cached_response"], first["governor.gateway.cache"])
    assert (True, "HIT", 0) == (
        second["governor.cached_response"],
        second["governor.gateway.cache"],
        second["governor.cost_nano_usd"],
    )


@pytest.mark.parametrize("way", WAYS)
def test_headers_of_a_server_that_the_policy_calls_no_gateway_make_nothing_free(box: Sandbox, way: Way) -> None:
    box.cloudflare.caching = True
    target = TARGETS["cloudflare openai"]
    plain = {"model": target.model, "base_url": box.url + target.path, "headers": dict(target.headers or {})}
    desk = governed(plain, way, times=2)

    desk.ask()

    first, second = desk.calls()
    assert first["governor.cost_nano_usd"] == second["governor.cost_nano_usd"] > 0
    assert (False, "HIT") == (second["governor.cached_response"], second["governor.gateway.cache"])


def left(model: BaseChatModel, messages: list[Any], times: int) -> list[str]:
    """The last of its streams is left after its second piece."""
    said = streamed(model, messages, times - 1)
    for number, _ in enumerate(model.stream(messages)):
        if number == 1:
            break
    return said


@pytest.mark.parametrize("name", ["cloudflare openai", "cloudflare anthropic", "litellm", "portkey slug"])
def test_a_stream_that_its_reader_leaves_is_charged_in_full_since_the_gateway_may_read_on(
    box: Sandbox, name: str
) -> None:
    slow = Reply(text=ANSWER, chunk_tokens=1, chunk_delay_ms=20, finishes_unread=True)
    with Sandbox(Scenario.from_callable(lambda _: slow)) as lasting:
        desk = governed(TARGETS[name].tier(lasting), left)

        desk.ask()

        assert lasting.meter.wait_idle()
        assert 0 < lasting.meter.bill().nano_usd <= desk.store.spent() == desk.store.held[-1]


@pytest.mark.parametrize("name", ["cloudflare openai", "portkey slug"])
def test_a_stream_from_the_gateways_cache_costs_nothing_when_its_reader_leaves(box: Sandbox, name: str) -> None:
    front_of(box, name).caching = True
    desk = governed(TARGETS[name].tier(box), left, times=2)

    desk.ask()

    assert box.meter.wait_idle()
    assert 2 == len(box.meter.records)
    assert box.meter.bill().nano_usd == desk.store.spent() > 0


@pytest.mark.parametrize("way", [whole, streamed])
@pytest.mark.parametrize("name", ["cloudflare openai", "litellm alias", "portkey slug"])
@pytest.mark.parametrize("fallback", ["openai/gpt-4.1-mini", "anthropic/claude-opus-4-6"])
def test_what_a_gateway_fell_back_to_is_what_is_charged(box: Sandbox, fallback: str, name: str, way: Way) -> None:
    front_of(box, name).fallback = fallback
    target = TARGETS[name]
    several = Target(
        target.model,
        target.path,
        target.headers,
        serves=("openai:gpt-4.1", "openai:gpt-4.1-mini", "anthropic:claude-sonnet-4-6", "anthropic:claude-opus-4-6"),
    )
    desk = governed(several.tier(box), way)

    desk.ask()

    (call,) = desk.calls()
    assert box.meter.bill().nano_usd == desk.store.spent() <= desk.store.held[-1]
    assert fallback.partition("/")[2] in str(call["gen_ai.response.model"])


def test_a_fallback_that_nobody_announced_is_charged_at_its_own_price(box: Sandbox) -> None:
    box.cloudflare.fallback = "anthropic/claude-opus-4-6"
    target = TARGETS["cloudflare openai"]
    desk = governed(Target(target.model, target.path, target.headers).tier(box))

    desk.ask()

    assert box.meter.bill().nano_usd == desk.store.spent()
    assert 1 == desk.calls()[0]["governor.gateway.step"]


def test_what_litellm_says_an_answer_cost_is_in_the_trace(box: Sandbox) -> None:
    desk = governed(TARGETS["litellm"].tier(box))

    desk.ask()

    (call,) = desk.calls()
    assert box.meter.bill().nano_usd == call["governor.gateway.cost_nano_usd"]
    assert "gpt-4.1" == call["governor.gateway.model_group"]


REFUSALS = [
    # name, form, whether anything is charged, whether it is asked again
    ("cloudflare openai", "rate_limited", False, True),
    ("cloudflare anthropic", "rate_limited", False, True),
    ("cloudflare bedrock", "rate_limited", False, True),
    ("cloudflare openai", "wholesale", False, True),
    ("cloudflare openai", "unauthorized", False, False),
    ("cloudflare openai", "no_credit", False, False),
    ("cloudflare openai", "prompt_blocked", False, False),
    ("cloudflare anthropic", "prompt_blocked", False, False),
    ("cloudflare openai", "answer_blocked", True, False),
    ("litellm", "budget", False, False),
    ("litellm", "budget_400", False, False),
    ("litellm", "end_user_budget", False, False),
    ("litellm", "parallel", False, True),
    ("litellm", "no_deployments", False, True),
    ("portkey slug", "rate_limited", False, True),
    ("portkey slug", "budget", False, False),
    ("portkey slug", "guardrail", True, False),
]


@pytest.mark.parametrize(
    ("name", "form", "charged", "again", "way"),
    [(*refusal, way) for refusal, way in sampled(REFUSALS, WAYS, keep=1, of=4)],
)
def test_a_refusal_is_charged_only_where_a_model_may_have_answered_and_repeated_only_where_it_may_pass(
    box: Sandbox, name: str, form: str, charged: bool, again: bool, way: Way
) -> None:
    front_of(box, name).refuse(form, retry_after_s=0)
    own = ChatOpenAI(model="gpt-4.1", base_url=box.url, max_retries=1)
    desk = governed(TARGETS[name].tier(box), way, own)

    if again:
        assert ANSWER == desk.ask()
        assert box.meter.bill().nano_usd == desk.store.spent()
    else:
        with pytest.raises(Exception):  # noqa: B017, PT011 - each client has an error of its own
            desk.ask()
        assert (desk.store.held[0] if charged else 0) == desk.store.spent()
    assert 2 - (not again) == len(front_of(box, name).seen)
    assert 0 == desk.store.reserved


@pytest.mark.parametrize("name", ["cloudflare openai", "litellm", "portkey slug"])
def test_a_refusal_after_attempts_inside_of_the_gateway_is_charged_since_nobody_knows_what_those_cost(
    box: Sandbox, name: str
) -> None:
    box.fault(Fault(kind="throttle"))
    desk = governed(TARGETS[name].tier(box))
    with pytest.raises(Exception, match=r"(?i)too many requests"):
        desk.ask()
    untried = desk.store.spent()
    box.litellm.retries = box.portkey.retries = 2
    box.cloudflare.fallback = "openai/gpt-4.1-mini"

    with pytest.raises(Exception, match=r"(?i)too many requests"):
        desk.ask()

    assert 0 == untried
    assert desk.store.held[-1] == desk.store.spent()


@pytest.mark.parametrize("name", ["cloudflare openai", "cloudflare bedrock", "litellm", "portkey slug"])
def test_the_pause_that_a_gateway_asks_for_is_kept(box: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    slept: list[float] = []
    monkeypatch.setattr(attempts.time, "sleep", slept.append)
    form = {"litellm": "parallel"}.get(name, "rate_limited")
    front_of(box, name).refuse(form, retry_after_s=7)
    own = ChatOpenAI(model="gpt-4.1", base_url=box.url, max_retries=1)

    assert ANSWER == governed(TARGETS[name].tier(box), whole, own).ask()

    assert [7.0] == slept


# --- what is read, without a server -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "cached", "fell_back", "tried"),
    [
        ({"cf-aig-cache-status": "HIT", "cf-aig-step": "0"}, True, False, False),
        ({"cf-aig-cache-status": "MISS", "cf-aig-step": "2"}, False, True, True),
        ({"cf-aig-step": "none of yours"}, False, False, False),
        ({"x-litellm-cache-hit": "True"}, True, False, False),
        ({"x-litellm-attempted-fallbacks": "1", "x-litellm-model-group": "b"}, False, True, True),
        ({"x-litellm-attempted-retries": "1"}, False, False, True),
        ({"x-portkey-cache-status": "SEMANTIC HIT"}, True, False, False),
        ({"x-portkey-cache-status": "DISABLED", "x-portkey-retry-attempt-count": "-1"}, False, False, False),
        ({"x-portkey-last-used-option-index": "config.targets[1]"}, False, True, True),
        ({"x-portkey-last-used-option-index": "config.targets[1].targets[0]"}, False, True, True),
        ({"x-portkey-last-used-option-index": "config.targets[0].targets[0]"}, False, False, False),
        ({"x-portkey-last-used-option-index": "config"}, False, False, False),
    ],
    ids=str,
)
def test_each_gateways_headers_are_read(headers: Mapping[str, str], cached: bool, fell_back: bool, tried: bool) -> None:
    told = told_in(headers)

    assert told is not None
    assert (cached, fell_back, tried) == (told.cached, told.fell_back, told.tried_before)


def test_other_headers_are_not_read_and_none_is_kept() -> None:
    heard = Heard(trusted=True)
    heard.take(
        "x", {"Set-Cookie": "session=s3cret", "Authorization": "Bearer s3cret", "cf-ray": "1", "cf-cache-status": "HIT"}
    )

    assert heard.told() is None
    assert {} == heard._headers


@pytest.mark.parametrize("host", ["gateway.ai.cloudflare.com", "api.portkey.ai"])
def test_a_host_that_is_a_gateways_own_is_believed_without_a_policys_word(host: str) -> None:
    heard = Heard()
    heard.take(host, {"Cf-Aig-Cache-Status": "HIT"})
    other = Heard()
    other.take("localhost", {"Cf-Aig-Cache-Status": "HIT"})

    assert (True, False) == tuple(told.cached for each in (heard, other) if (told := each.told()))


@pytest.mark.parametrize("cost", ["", "free", "nan", "-1", "1e99", "0", "0.0"])
def test_a_cost_that_is_none_is_none(cost: str) -> None:
    told = told_in({"x-litellm-response-cost": cost})

    assert told is not None
    assert told.cost_nano_usd is None


@pytest.mark.parametrize(
    "body", [None, [], {}, {"error": "x"}, {"error": []}, {"error": [{}]}, [{"code": "2003"}], "x"]
)
def test_a_body_that_is_not_cloudflares_says_nothing(body: object) -> None:
    assert failure_at_gateway(429, body) is None


def test_cloudflares_code_is_named() -> None:
    failure = failure_at_gateway(429, {"success": False, "error": [{"code": 2003, "message": "Rate limited"}]})

    assert Failure(rejected=True, transient=True, code="AiGatewayError 2003", resent=True, unanswered=True) == failure
