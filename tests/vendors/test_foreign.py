"""A history that one vendor's model wrote is readable by another's; nothing of the user's is changed."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from governor_langgraph.foreign import without_foreign
from governor_sandbox import Sandbox
from tests.vendors.clients import ANTHROPIC, BEDROCK, CLIENTS, FAMILIES, OPENAI

CALL: Any = {"name": "look_up", "args": {"order": "A"}, "id": "c1", "type": "tool_call"}
ORIGIN = {ANTHROPIC: "anthropic", BEDROCK: "bedrock_converse", OPENAI: "openai"}
REASONING: dict[str, dict[str, Any]] = {
    ANTHROPIC: {"type": "thinking", "thinking": "hm", "signature": "s"},
    BEDROCK: {"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "s"}},
    OPENAI: {"type": "reasoning", "id": "rs_1", "encrypted_content": "e", "summary": []},
}


@tool
def look_up(order: str) -> str:
    """Look up an order."""
    return order


TOOL_USE = {"type": "tool_use", "id": "c1", "name": "look_up", "input": {"order": "A"}}


def said_by(family: str, *blocks: dict[str, Any], calls: bool = True) -> AIMessage:
    return AIMessage(
        list(blocks), tool_calls=[CALL] if calls else [], response_metadata={"model_provider": ORIGIN[family]}
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("maker", FAMILIES)
def test_signed_reasoning_goes_to_the_family_that_signed_it_only(family: str, maker: str) -> None:
    message = said_by(maker, REASONING[maker], {"type": "text", "text": "Done.", "annotations": []}, TOOL_USE)

    cleaned = without_foreign([message], family)[0]

    if family == maker:
        assert cleaned is message
    else:
        assert "Done." == cleaned.content
        assert [CALL] == cleaned.tool_calls  # pyright: ignore[reportAttributeAccessIssue] - an AIMessage
        assert 3 == len(message.content)


@pytest.mark.parametrize("family", FAMILIES)
def test_reasoning_of_unknown_origin_is_kept_by_its_shape(family: str) -> None:
    message = AIMessage(list(REASONING.values()))

    assert [REASONING[family]] == without_foreign([message], family)[0].content


def test_cache_markers_of_another_vendor_go_and_the_text_stays() -> None:
    marked = [
        HumanMessage(
            [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"cachePoint": {"type": "default"}}]
        ),
        SystemMessage([{"type": "text", "text": "b", "prompt_cache_breakpoint": {}}]),
    ]

    assert [[{"type": "text", "text": "a"}], [{"type": "text", "text": "b", "prompt_cache_breakpoint": {}}]] == [
        message.content for message in without_foreign(marked, OPENAI)
    ]
    assert [{"type": "text", "text": "a"}, {"cachePoint": {"type": "default"}}] == without_foreign(marked, BEDROCK)[
        0
    ].content
    assert "cache_control" in str(without_foreign(marked, ANTHROPIC)[0].content)


def test_a_providers_own_tools_leave_no_trace_at_another() -> None:
    blocks: list[Any] = [
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
        {"type": "text", "text": "Found."},
    ]

    assert "Found." == without_foreign([said_by(ANTHROPIC, *blocks, calls=False)], BEDROCK)[0].content


def test_content_in_langchains_own_version_is_plain_afterwards_and_no_longer_labelled() -> None:
    message = said_by(OPENAI, {"type": "reasoning"}, {"type": "text", "text": "Hi."}, CALL)
    message.response_metadata["output_version"] = "v1"

    cleaned = without_foreign([message], BEDROCK)[0]

    assert ("Hi.", {"model_provider": "openai"}) == (cleaned.content, cleaned.response_metadata)
    assert "v1" == message.response_metadata["output_version"]


def test_images_are_kept_for_every_vendor() -> None:
    image = {"type": "image", "base64": "aGk=", "mime_type": "image/png"}
    message = HumanMessage([{"type": "text", "text": "Look."}, image])

    assert all(without_foreign([message], family)[0] is message for family in FAMILIES)


blocks = st.sampled_from(
    [
        *REASONING.values(),
        TOOL_USE,
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}},
        {"cachePoint": {"type": "default"}},
        {"type": "non_standard", "value": {"cachePoint": {"type": "default"}}},
        {"type": "function_call", "call_id": "c1"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "mcp_call", "id": "m"},
    ]
)
contents = st.text(max_size=5) | st.lists(blocks, max_size=5)
messages = st.one_of(
    st.builds(HumanMessage, contents),
    st.builds(lambda content: ToolMessage(content, tool_call_id="c1"), contents),
    st.builds(
        lambda content, maker: AIMessage(
            content, tool_calls=[CALL], response_metadata={"model_provider": maker} if maker else {}
        ),
        contents,
        st.sampled_from([None, *ORIGIN.values(), "google_genai"]),
    ),
)


@given(history=st.lists(messages, max_size=5), family=st.sampled_from([*FAMILIES, "generic"]))
def test_cleaning_is_done_once_changes_no_object_and_loses_no_text_or_call(
    history: list[BaseMessage], family: str
) -> None:
    before = [message.model_dump() for message in history]

    cleaned = without_foreign(history, family)

    assert before == [message.model_dump() for message in history]
    assert cleaned == without_foreign(cleaned, family)
    assert [message.text for message in history] == [message.text for message in cleaned]
    assert [getattr(m, "tool_calls", []) for m in history] == [getattr(m, "tool_calls", []) for m in cleaned]
    assert all(new is old or isinstance(old.content, list) for old, new in zip(history, cleaned, strict=True))


PDF, PNG = b"%PDF-1.7", b"\x89PNG"
NATIVE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"image": {"format": "png", "source": {"bytes": PNG}}},
        {"type": "image", "base64": "iVBORw==", "mime_type": "image/png"},
    ),
    ({"document": {"format": "txt", "name": "a", "source": {"bytes": b"hi"}}}, {"type": "text", "text": "hi"}),
    (
        {"type": "document", "document": {"format": "pdf", "name": "a", "source": {"bytes": PDF}}},
        {"type": "file", "base64": "JVBERi0xLjc=", "mime_type": "application/pdf", "filename": "a"},
    ),
    ({"text": "hi"}, {"type": "text", "text": "hi"}),
    ({"guardContent": {"text": {"text": "hi"}}}, {"type": "text", "text": "hi"}),
]


@pytest.mark.parametrize(("native", "plain"), NATIVE)
def test_what_only_converse_reads_is_rewritten_for_the_others(native: dict[str, Any], plain: dict[str, Any]) -> None:
    message = HumanMessage([native, {"type": "text", "text": "Look."}])

    for family in (ANTHROPIC, OPENAI):
        assert [plain, {"type": "text", "text": "Look."}] == without_foreign([message], family)[0].content
    assert without_foreign([message], BEDROCK)[0] is message


def test_a_document_that_another_model_cannot_read_is_said_to_be_missing() -> None:
    sheet = {"document": {"format": "xlsx", "name": "q3", "source": {"bytes": b"PK"}}}

    (block,) = without_foreign([HumanMessage([sheet])], OPENAI)[0].content

    assert "[A document (xlsx) is not shown: this model cannot read it.]" == block["text"]  # pyright: ignore[reportArgumentType] - a block


def test_a_document_of_anthropics_api_is_read_by_the_others() -> None:
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}}
    file = {
        "type": "document",
        "title": "a",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "J"},
    }
    message = HumanMessage([text, file])

    assert [
        {"type": "text", "text": "hi"},
        {"type": "file", "base64": "J", "mime_type": "application/pdf", "filename": "a"},
    ] == without_foreign([message], BEDROCK)[0].content
    assert without_foreign([message], ANTHROPIC)[0] is message


ODD = "call:1|a/" + "x" * 60


@pytest.mark.parametrize("family", [BEDROCK, ANTHROPIC])
def test_an_id_that_another_vendor_refuses_is_renamed_in_the_call_and_in_its_result(family: str) -> None:
    asking = AIMessage("", tool_calls=[{**CALL, "id": ODD}], response_metadata={"model_provider": "openai"})

    call, result = without_foreign([asking, ToolMessage("r", tool_call_id=ODD)], family)

    (name,) = {each["id"] for each in call.tool_calls} | {result.tool_call_id}  # pyright: ignore[reportAttributeAccessIssue]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name)
    assert ODD == asking.tool_calls[0]["id"]


def test_a_vendors_own_calls_keep_their_ids_and_so_do_their_results() -> None:
    asking = AIMessage("", tool_calls=[{**CALL, "id": ODD}], response_metadata={"model_provider": "openai"})
    history = [asking, ToolMessage("r", tool_call_id=ODD)]

    assert all(new is old for new, old in zip(without_foreign(history, OPENAI), history, strict=True))


def test_a_call_with_unreadable_arguments_stays_if_it_was_answered_and_else_leaves_a_note() -> None:
    invalid = {"id": "c1", "name": "look_up", "args": '{"q":', "error": "x", "type": "invalid_tool_call"}
    asking = AIMessage("", invalid_tool_calls=[invalid], response_metadata={"model_provider": "openai"})

    (alone,) = without_foreign([asking], BEDROCK)
    assert [alone] == without_foreign([asking], OPENAI)  # its own client would send a call that nothing answers
    answered, _ = without_foreign([asking, ToolMessage("no such thing", tool_call_id="c1")], BEDROCK)

    assert ("[A tool call whose arguments could not be read.]", [], []) == (
        alone.content,
        alone.tool_calls,  # pyright: ignore[reportAttributeAccessIssue] - an AIMessage
        alone.invalid_tool_calls,  # pyright: ignore[reportAttributeAccessIssue]
    )
    assert [{**CALL, "args": {"arguments": '{"q":'}}] == answered.tool_calls  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("source", FAMILIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_vendors_client_sends_what_is_left(box: Sandbox, family: str, source: str) -> None:
    made = {"model_provider": ORIGIN[source]}
    invalid = {"id": "c9", "name": "look_up", "args": '{"q":', "error": "x", "type": "invalid_tool_call"}
    history = [
        HumanMessage([native for native, _ in NATIVE]),
        AIMessage("", tool_calls=[{**CALL, "id": ODD}], response_metadata=made),
        ToolMessage("r", tool_call_id=ODD),
        AIMessage("", invalid_tool_calls=[invalid], response_metadata=made),
        HumanMessage("Go on."),
    ]
    if family == source:
        pytest.skip("nothing is foreign")
    model = CLIENTS[family](box)

    assert "ok" == model.bind_tools([look_up]).invoke(without_foreign(history, family)).text
