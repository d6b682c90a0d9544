"""The bill: what each request cost, and how it adds up."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from governor_sandbox import Catalogue, Meter, Record, Sandbox, Usage
from tests.sandbox.clients import HAIKU, NOVA_MICRO, SONNET, anthropic, bedrock, get, openai, post

CATALOGUE = Catalogue.standard()


@pytest.mark.parametrize(
    ("model", "provider", "dollars"),
    [
        (SONNET, "bedrock", (3, 15, 0.3, 3.75, 6)),
        (f"global.{SONNET}", "bedrock", (3, 15, 0.3, 3.75, 6)),
        (f"us.{SONNET}", "bedrock", (3.3, 16.5, 0.33, 4.125, 6.6)),
        (f"eu.{HAIKU}", "bedrock", (1.1, 5.5, 0.11, 1.375, 2.2)),
        (HAIKU, "bedrock", (1, 5, 0.1, 1.25, 2)),
        ("amazon.nova-pro-v1:0", "bedrock", (0.8, 3.2, 0.2, 0.8, 1.6)),
        ("us.amazon.nova-lite-v1:0", "bedrock", (0.06, 0.24, 0.015, 0.06, 0.12)),
        (NOVA_MICRO, "bedrock", (0.035, 0.14, 0.00875, 0.035, 0.07)),
        ("gpt-4o", "openai", (2.5, 10, 1.25, 2.5, 5)),
        ("gpt-4o-mini", "openai", (0.15, 0.6, 0.075, 0.15, 0.3)),
        ("claude-sonnet-4-5", "anthropic", (3, 15, 0.3, 3.75, 6)),
    ],
)
def test_prices_are_the_published_ones(model: str, provider: str, dollars: tuple[float, ...]) -> None:
    found = CATALOGUE.find(model, provider)

    assert found is not None
    price = found.price
    per_million = [price.input, price.output, price.cache_read, price.cache_write_5m, price.cache_write_1h]
    assert [round(d * 1_000_000) for d in dollars] == per_million


def test_every_model_has_a_price_and_a_window() -> None:
    for model in CATALOGUE.models.values():
        assert min(model.price.input, model.price.output, model.price.cache_read) > 0
        assert 0 < model.max_output <= model.window
        assert model.cache == "none" or model.min_cache_tokens > 0


def test_a_cost_is_rounded_up_once_per_request() -> None:
    price = CATALOGUE.models[NOVA_MICRO].price

    assert 9 == Usage(cache_read=1).cost(price)
    assert 18 == Usage(cache_read=2).cost(price)
    assert 8750 == Usage(cache_read=1000).cost(price)


def test_a_bill_has_a_line_per_model_dearest_first(box: Sandbox) -> None:
    openai(box, "gpt-4o-mini").invoke("hi")
    openai(box, "gpt-4o").invoke("hi")
    openai(box, "gpt-4o").invoke("hi")

    bill = box.meter.bill()

    assert [("gpt-4o", 2, 10, 2), ("gpt-4o-mini", 1, 5, 1)] == [
        (line.model, line.requests, line.usage.input, line.usage.output) for line in bill.lines
    ]
    assert 2 * (5 * 2500 + 10_000) + 5 * 150 + 600 == bill.nano_usd


def test_phases_can_be_told_apart(box: Sandbox) -> None:
    model = openai(box)
    box.meter.mark("bare")
    model.invoke("hi")
    position = box.meter.mark("governed")
    model.invoke("hi")
    model.invoke("hi")

    assert 1 == len(box.meter.labelled("bare"))
    assert 2 == len(box.meter.since("governed")) == len(box.meter.since(position))
    assert ["bare", "governed", "governed"] == [record.label for record in box.meter.records]
    assert box.meter.bill().nano_usd == sum(
        box.meter.bill(box.meter.labelled(label)).nano_usd for label in ("bare", "governed")
    )


def test_an_unknown_phase_is_an_error(box: Sandbox) -> None:
    with pytest.raises(KeyError):
        box.meter.since("nothing")


def test_refused_requests_are_on_record_and_free(box: Sandbox) -> None:
    with pytest.raises(ClientError):
        bedrock(box).client.converse(modelId=SONNET, messages=[{"role": "assistant", "content": [{"text": "hi"}]}])

    record = box.meter.records[0]
    assert (SONNET, 400, "rejected", 0, Usage()) == (
        record.model,
        record.status,
        record.outcome,
        record.nano_usd,
        record.usage,
    )
    assert "must start with a user message" in str(record.error)


def test_counting_tokens_is_free_and_equals_the_bill(box: Sandbox) -> None:
    talk: dict[str, Any] = {
        "system": [{"text": "You are terse."}],
        "messages": [{"role": "user", "content": [{"text": "Where is my order?"}]}],
    }
    client = bedrock(box).client
    counted = client.count_tokens(modelId=SONNET, input={"converse": talk})["inputTokens"]
    client.converse(modelId=SONNET, **talk)

    counting, asking = box.meter.records
    assert counted == asking.usage.input
    assert ("count_tokens", 0) == (counting.operation, counting.nano_usd)
    assert 1 == box.meter.bill().requests


def test_anthropics_client_counts_tokens(box: Sandbox) -> None:
    talk: list[BaseMessage] = [SystemMessage("You are terse."), HumanMessage("Where is my order?")]
    model = anthropic(box)

    counted = model.get_num_tokens_from_messages(talk)
    model.invoke(talk)

    assert counted == box.meter.records[-1].usage.input


def test_only_claude_by_its_own_id_can_be_counted(box: Sandbox) -> None:
    body = {"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}}}

    assert 200 == post(box, f"/model/{SONNET}/count-tokens", body)[0]
    assert 400 == post(box, f"/model/us.{SONNET}/count-tokens", body)[0]
    assert 400 == post(box, f"/model/{NOVA_MICRO}/count-tokens", body)[0]


def test_another_process_reads_the_bill_over_http(box: Sandbox) -> None:
    assert 200 == post(box, "/_sandbox/mark", {"label": "governed"})[0]
    openai(box).invoke("hi")

    bill = get(box, "/_sandbox/bill?since=governed")
    records = get(box, "/_sandbox/requests")

    assert box.meter.bill().nano_usd == bill["nano_usd"] == records[0]["nano_usd"]
    assert ("gpt-4o", 5, 1) == (
        bill["models"][0]["model"],
        bill["models"][0]["input_tokens"],
        bill["models"][0]["output_tokens"],
    )
    assert "governed" == records[0]["label"]


def test_another_process_can_move_the_clock_and_reset(box: Sandbox) -> None:
    openai(box).invoke("hi")

    assert 200 == post(box, "/_sandbox/clock", {"advance_s": 301})[0]
    assert 301 == box.now()
    assert 200 == post(box, "/_sandbox/reset", {})[0]
    assert 0 == get(box, "/_sandbox/bill")["nano_usd"]


def test_another_process_can_cause_and_release_faults(box: Sandbox) -> None:
    assert 200 == post(box, "/_sandbox/fault", {"kind": "throttle", "times": 1})[0]
    assert 200 == post(box, "/_sandbox/release", {})[0]

    status = post(box, "/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]})[0]

    assert 429 == status


def test_a_wrong_control_request_says_what_is_right(box: Sandbox) -> None:
    status, _, answer = post(box, "/_sandbox/nonsense", {})

    assert 400 == status
    assert "reset" in answer["message"]
    assert 400 == post(box, "/_sandbox/fault", {"kind": "earthquake"})[0]
    assert 400 == post(box, "/_sandbox/clock", {})[0]


def test_a_request_from_before_a_reset_is_not_on_the_new_bill() -> None:
    meter = Meter()
    seq, label, epoch = meter.arrive()
    meter.reset()
    meter.file(Record(seq=seq, provider="openai", model="m", operation="complete", label=label), epoch)
    meter.depart(epoch)

    assert () == meter.records
    assert meter.wait_idle(0)


USAGE = st.builds(
    Usage,
    uncached=st.integers(0, 10**6),
    cache_read=st.integers(0, 10**6),
    cache_write_5m=st.integers(0, 10**6),
    cache_write_1h=st.integers(0, 10**6),
    output=st.integers(0, 10**6),
)


@given(st.lists(USAGE, max_size=20), st.sampled_from(sorted(CATALOGUE.models)))
def test_rounding_never_adds_more_than_a_nano_dollar_per_request(usages: list[Usage], model: str) -> None:
    price = CATALOGUE.models[model].price
    billed = sum(usage.cost(price) for usage in usages)
    exact = sum(usages, Usage()).cost(price)

    assert exact <= billed <= exact + len(usages)
