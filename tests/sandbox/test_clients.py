"""Unmodified LangChain clients talk to the sandbox over HTTP, in every way they can call."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from governor_sandbox import Conversation, Reply, Sandbox, ScriptedCall
from tests.sandbox.clients import SONNET, Build, aclose, anthropic, bedrock, openai
from tests.sandbox.conftest import Serve

TALK = [SystemMessage("You are terse."), HumanMessage("Where is my order?")]


@tool
def lookup_order(order_id: str) -> str:
    """Find an order by its id."""
    return f"order {order_id}"


def _looks_up_first(talk: Conversation) -> Reply:
    if talk.called:
        return Reply(text=f"{talk.last.tool_results[0].name} says {talk.tool_result['status']}")
    call = ScriptedCall(name="lookup_order", args={"order_id": "A-1", "deep": {"n": [1, 2]}})
    return Reply(text="Let me look.", tool_calls=(call,))


def _joined(chunks: Sequence[AIMessage]) -> AIMessage:
    whole: Any = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def test_invoke_returns_the_scripted_text(serve: Serve, build: Build) -> None:
    box = serve(lambda talk: f"{talk.system} / {talk.last.text} / {talk.step}")

    answer = build(box).invoke(TALK)

    assert "You are terse. / Where is my order? / 0" == answer.text


async def test_ainvoke_returns_the_scripted_text(serve: Serve, build: Build) -> None:
    box = serve(lambda talk: talk.last.text.upper())

    model = build(box)

    answer = await model.ainvoke(TALK)
    await aclose(model)

    assert "WHERE IS MY ORDER?" == answer.text


def test_a_stream_carries_the_same_text_and_usage_as_one_answer(serve: Serve, build: Build) -> None:
    box = serve(lambda _: "It left the warehouse on Monday, and should be with you on Thursday at the latest.")
    model = build(box)

    whole = model.invoke(TALK)
    chunks = list(model.stream(TALK))
    streamed = _joined(chunks)

    assert whole.text == streamed.text
    assert whole.usage_metadata == streamed.usage_metadata
    assert len([chunk for chunk in chunks if chunk.text]) > 1


async def test_astream_carries_the_same_text(serve: Serve, build: Build) -> None:
    box = serve(lambda _: "It left the warehouse on Monday, and should be with you on Thursday.")

    model = build(box)

    streamed = _joined([chunk async for chunk in model.astream(TALK)])
    await aclose(model)

    assert "It left the warehouse on Monday, and should be with you on Thursday." == streamed.text


def test_a_tool_call_makes_the_round_trip(serve: Serve, build: Build) -> None:
    box = serve(_looks_up_first)
    model = build(box).bind_tools([lookup_order])
    talk: list[BaseMessage] = [HumanMessage("Where is A-1?")]

    call = model.invoke(talk)
    talk += [call, ToolMessage('{"status": "shipped"}', tool_call_id=call.tool_calls[0]["id"])]
    answer = model.invoke(talk)

    assert "lookup_order" == call.tool_calls[0]["name"]
    assert {"order_id": "A-1", "deep": {"n": [1, 2]}} == call.tool_calls[0]["args"]
    assert "lookup_order says shipped" == answer.text


def test_a_streamed_tool_call_is_put_together_from_its_pieces(serve: Serve, build: Build) -> None:
    box = serve(_looks_up_first)

    call = _joined(list(build(box).bind_tools([lookup_order]).stream("Where is A-1?")))

    assert "Let me look." == call.text
    assert [{"order_id": "A-1", "deep": {"n": [1, 2]}}] == [c["args"] for c in call.tool_calls]


def test_several_tool_calls_are_answered_in_one_turn(serve: Serve, build: Build) -> None:
    def fan_out(talk: Conversation) -> Reply:
        if talk.called:
            return Reply(text=" ".join(result.text for result in talk.last.tool_results))
        calls = [ScriptedCall(name="lookup_order", args={"order_id": str(i)}) for i in range(3)]
        return Reply(tool_calls=tuple(calls))

    model = build(serve(fan_out)).bind_tools([lookup_order])
    talk: list[BaseMessage] = [HumanMessage("all three")]

    call = _joined(list(model.stream(talk)))
    talk.append(call)
    talk += [ToolMessage(f"found {c['args']['order_id']}", tool_call_id=c["id"]) for c in call.tool_calls]

    assert "found 0 found 1 found 2" == model.invoke(talk).text


def test_the_reported_usage_is_what_the_meter_has(box: Sandbox, build: Build) -> None:
    usage: Any = build(box).invoke(TALK).usage_metadata

    record = box.meter.records[0]
    assert (record.usage.input, record.usage.output) == (usage["input_tokens"], usage["output_tokens"])


def test_the_finish_reason_is_the_providers_word(box: Sandbox) -> None:
    assert "end_turn" == bedrock(box).invoke("hi").response_metadata["stopReason"]
    assert "stop" == openai(box).invoke("hi").response_metadata["finish_reason"]
    assert "end_turn" == anthropic(box).invoke("hi").response_metadata["stop_reason"]


def test_output_is_cut_at_max_tokens_with_the_providers_word(serve: Serve) -> None:
    box = serve(lambda _: "one two three four five six seven eight")

    cut = bedrock(box, max_tokens=3).invoke("count")
    assert ("one two three", "max_tokens") == (cut.text, cut.response_metadata["stopReason"])

    cut = openai(box, max_tokens=3).invoke("count")
    assert ("one two three", "length") == (cut.text, cut.response_metadata["finish_reason"])

    cut = anthropic(box, max_tokens=3).invoke("count")
    assert ("one two three", "max_tokens") == (cut.text, cut.response_metadata["stop_reason"])

    assert [3, 3, 3] == [record.usage.output for record in box.meter.records]


def test_a_streamed_answer_is_cut_at_the_same_token(serve: Serve, build: Build) -> None:
    box = serve(lambda _: "one two three four five six seven eight")

    assert "one two three" == _joined(list(build(box, max_tokens=3).stream("count"))).text


def test_a_tool_call_that_does_not_fit_is_reported_as_cut(serve: Serve, build: Build) -> None:
    box = serve(_looks_up_first)

    cut = build(box, max_tokens=8).bind_tools([lookup_order]).invoke("Where is A-1?")

    assert [] == [call for call in cut.tool_calls if call["args"]]
    assert 8 == box.meter.records[0].usage.output


def test_a_stop_sequence_ends_the_text(serve: Serve, build: Build) -> None:
    box = serve(lambda _: "alpha beta STOP gamma")

    assert "alpha beta " == build(box).invoke("go", stop=["STOP"]).text


def test_reasoning_tokens_are_billed_and_shown_to_nobody(serve: Serve) -> None:
    box = serve(lambda _: Reply(text="yes", reasoning_tokens=50))

    usage: Any = openai(box).invoke("think").usage_metadata

    assert 51 == usage["output_tokens"]
    assert 50 == usage["output_token_details"]["reasoning"]


def test_clients_can_be_configured_by_environment_alone(box: Sandbox, monkeypatch: Any) -> None:
    from langchain_anthropic import ChatAnthropic
    from langchain_aws import ChatBedrockConverse
    from langchain_openai import ChatOpenAI

    for name, value in box.env().items():
        monkeypatch.setenv(name, value)

    assert "ok" == ChatBedrockConverse(model=SONNET).invoke("hi").text
    assert "ok" == ChatOpenAI(model="gpt-4o").invoke("hi").text
    assert "ok" == ChatAnthropic(model_name="claude-sonnet-4-6", timeout=None, stop=None).invoke("hi").text


def test_each_client_needs_no_more_than_the_sandboxs_arguments(box: Sandbox) -> None:
    from langchain_anthropic import ChatAnthropic
    from langchain_aws import ChatBedrockConverse
    from langchain_openai import ChatOpenAI

    models = [
        ChatBedrockConverse(model=SONNET, **box.bedrock_kwargs()),
        ChatOpenAI(model="gpt-4o", **box.openai_kwargs()),
        ChatAnthropic(model_name="claude-sonnet-4-6", **box.anthropic_kwargs()),
    ]

    assert ["ok"] * 3 == [model.invoke("hi").text for model in models]


def test_request_tags_are_on_record(box: Sandbox) -> None:
    bedrock(box).invoke("hi", request_metadata={"tenant": "acme", "node": "plan"})
    openai(box, extra_body={"metadata": {"tenant": "acme"}}).invoke("hi")
    anthropic(box).invoke("hi", extra_body={"metadata": {"user_id": "u1"}})

    assert [{"tenant": "acme", "node": "plan"}, {"tenant": "acme"}, {"user_id": "u1"}] == [
        record.metadata for record in box.meter.records
    ]


def test_a_service_tier_changes_the_price_and_is_echoed(box: Sandbox) -> None:
    model = bedrock(box, "amazon.nova-pro-v1:0")

    plain = model.invoke("hi")
    flex = bedrock(box, "amazon.nova-pro-v1:0", service_tier="flex").invoke("hi")

    standard, cheap = box.meter.records
    assert standard.nano_usd == 2 * cheap.nano_usd
    assert "serviceTier" not in plain.response_metadata
    assert flex.text == "ok"


def test_bedrock_accepts_an_inference_profile_arn(box: Sandbox) -> None:
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.{SONNET}"

    assert "ok" == bedrock(box, arn, provider="anthropic", base_model=SONNET).invoke("hi").text
    assert arn == box.meter.records[0].model
