"""Each kind of tier target by its real client: held at least at its bill, charged exactly it, its secrets nowhere but in its requests."""

import logging
from collections.abc import Iterator

import pytest

from governor_sandbox import Sandbox
from tests.sampled import sampled
from tests.vendors.targets import (
    ALIASES,
    BEHIND,
    EASY,
    HARD,
    SCENARIO,
    SECRETS,
    TARGETS,
    WAYS,
    Target,
    Way,
    governed,
    whole,
)

ANSWER = "word " * 40


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A port of its own for each test: LangChain keeps an async client for each address, bound to the event loop that used it first."""
    with Sandbox(SCENARIO) as serving:
        serving.litellm.aliases.update(ALIASES)
        environment = {name: value for name, value in serving.env().items() if "URL" not in name}
        for name, value in {**environment, **SECRETS}.items():
            monkeypatch.setenv(name, value)
        yield serving


@pytest.fixture
def keyless(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """Gateways hold the providers' keys."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name)
    return box


@pytest.mark.parametrize(("name", "way"), sampled(list(TARGETS), WAYS, keep=2, of=4))
def test_a_call_is_held_at_no_less_than_its_bill_and_charged_exactly_it(box: Sandbox, name: str, way: Way) -> None:
    target = TARGETS[name]
    desk = governed(target.tier(box), way)

    assert ANSWER == desk.ask()

    billed, (record,), (call,) = box.meter.bill().nano_usd, box.meter.records, desk.calls()
    assert 0 < billed <= desk.store.held[-1]
    assert billed == desk.store.spent() == call["governor.cost_nano_usd"]
    assert (200, target.gateway) == (record.status, record.gateway)
    assert ("t", target.gateway) == (call["governor.tier"], call.get("governor.gateway.name"))
    assert 0 == desk.store.reserved


@pytest.mark.parametrize("name", BEHIND)
def test_a_gateway_that_holds_the_keys_is_sent_none(keyless: Sandbox, name: str) -> None:
    assert ANSWER == governed(TARGETS[name].tier(keyless)).ask()

    fronts = {front.name: front for front in (keyless.cloudflare, keyless.litellm, keyless.portkey)}
    (sent,) = fronts[TARGETS[name].gateway or ""].seen
    assert "held-by-the-gateway" not in str(sent)


@pytest.mark.parametrize(("name", "way"), sampled(BEHIND, WAYS, keep=1, of=4))
def test_what_authenticates_at_a_gateway_is_in_no_trace_log_or_error(
    box: Sandbox, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, name: str, way: Way
) -> None:
    caplog.set_level(logging.INFO)
    secrets = {variable: f"wr0ng-{variable.lower()}" for variable in SECRETS}
    for variable, value in secrets.items():
        monkeypatch.setenv(variable, value)
    desk = governed(TARGETS[name].tier(box), way)

    with pytest.raises(Exception, match=r"(?i)unauthorized|authentication|invalid api key|401") as raised:
        desk.ask()

    said = f"{raised.value!s} {raised.value!r} {desk.traced()} {caplog.text}"
    assert not [value for value in secrets.values() if value in said]
    assert 0 == desk.store.spent()
    assert "rejected" == box.meter.records[-1].outcome


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("asked", "invoked"), [(EASY, "claude-haiku-4-5"), (HARD, "claude-sonnet-4-6")])
def test_a_prompt_routers_call_is_held_at_the_dearest_model_and_charged_as_the_invoked_one(
    box: Sandbox, way: Way, asked: str, invoked: str
) -> None:
    desk = governed(TARGETS["bedrock prompt router"].tier(box), way)
    sonnet = governed(TARGETS["bedrock us profile"].tier(box))

    desk.ask(asked)
    billed = box.meter.bill().nano_usd
    sonnet.ask(asked)

    (call,) = desk.calls()
    assert invoked in call["gen_ai.response.model"]
    assert call["gen_ai.response.model"].startswith("arn:aws:bedrock:us-east-1:")
    assert billed == desk.store.spent()
    assert desk.store.held[-1] >= sonnet.store.held[-1]


def test_a_router_whose_model_has_no_known_price_is_refused_before_it_is_asked(box: Sandbox) -> None:
    target = Target(
        TARGETS["bedrock prompt router"].model,
        "",
        serves=("bedrock_converse:amazon.nova-pro-v1:0", "bedrock_converse:nobody.knows-v1:0"),
    )

    with pytest.raises(Exception, match="has no known price") as raised:
        governed(target.tier(box))

    assert "serves" in str(raised.value)
    assert () == box.meter.records


def test_a_name_that_says_nothing_is_refused_with_the_remedy_and_answers_once_it_is_said_what_serves(
    box: Sandbox,
) -> None:
    silent = Target("openai:dynamic/support", TARGETS["cloudflare openai"].path, TARGETS["cloudflare openai"].headers)
    box.cloudflare.aliases["dynamic/support"] = "openai/gpt-4.1-mini"

    with pytest.raises(Exception, match=r"dynamic/support.* has no known price") as raised:
        governed(silent.tier(box))
    told = Target(silent.model, silent.path, silent.headers, serves=("openai:gpt-4.1", "openai:gpt-4.1-mini"))
    desk = governed(told.tier(box), whole)
    desk.ask()

    assert "`serves: [provider:model]`" in str(raised.value)
    assert box.meter.bill().nano_usd == desk.store.spent() < desk.store.held[-1]
    assert "gpt-4.1-mini" == desk.calls()[0]["gen_ai.response.model"]
