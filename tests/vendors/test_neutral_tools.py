"""A tool is the same tool in every vendor's format; so is a choice among tools."""

from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from governor_langgraph.toolspec import CannotCarry, ToolChoice, choice_of, neutral, openai_tool


class Refund(BaseModel):
    """Pay money back."""

    order: str = Field(description="The order's number.")
    cents: int = 0


class RefundDict(TypedDict):
    """Pay money back."""

    order: str


@tool
def refund(order: str, cents: int = 0) -> str:
    """Pay money back."""
    return f"{order} {cents}"


def plain(order: str) -> str:
    """Pay money back."""
    return order


SCHEMA = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}


@pytest.mark.parametrize(
    "given_tool",
    [
        pytest.param(
            {"type": "function", "function": {"name": "refund", "description": "Pay.", "parameters": SCHEMA}}, id="chat"
        ),
        pytest.param(
            {"type": "function", "name": "refund", "description": "Pay.", "parameters": SCHEMA}, id="responses"
        ),
        pytest.param({"name": "refund", "description": "Pay.", "parameters": SCHEMA}, id="function"),
        pytest.param({"name": "refund", "description": "Pay.", "input_schema": SCHEMA}, id="anthropic"),
        pytest.param(
            {"type": "custom", "name": "refund", "description": "Pay.", "input_schema": SCHEMA, "cache_control": {}},
            id="anthropic custom",
        ),
        pytest.param(
            {"toolSpec": {"name": "refund", "description": "Pay.", "inputSchema": {"json": SCHEMA}}}, id="converse"
        ),
        pytest.param({"title": "refund", "description": "Pay.", **SCHEMA}, id="json schema"),
    ],
)
def test_every_dict_that_describes_a_tool_is_read(given_tool: dict[str, Any]) -> None:
    read = neutral(given_tool)

    assert ("refund", "Pay.", SCHEMA["required"]) == (read.name, read.description, read.schema["required"])
    assert SCHEMA["properties"] == read.schema["properties"]
    assert not read.vendor_only


@pytest.mark.parametrize(
    ("given_tool", "name"),
    [(refund, "refund"), (Refund, "Refund"), (RefundDict, "RefundDict"), (plain, "plain")],
    ids=["tool", "pydantic", "dict", "function"],
)
def test_python_tools_are_read_with_name_description_and_arguments(given_tool: object, name: str) -> None:
    read = neutral(given_tool)

    assert (name, "Pay money back.") == (read.name, read.description)
    assert "order" in read.schema["properties"]


@pytest.mark.parametrize(
    "given_tool",
    [
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        {"type": "web_search_preview"},
        {"type": "computer_20250124", "name": "computer", "display_width_px": 1},
        {"type": "mcp", "server_url": "https://example.com"},
        {"type": "custom", "name": "grammar", "format": {"type": "text"}},
        {"systemTool": {"name": "nova_grounding"}},
        "nova_grounding",
    ],
    ids=str,
)
def test_a_providers_own_tool_is_recognised_and_not_offered_to_another(given_tool: object) -> None:
    read = neutral(given_tool)

    assert read.vendor_only
    with pytest.raises(CannotCarry, match=read.name):
        openai_tool(read)


def test_a_tool_without_arguments_gets_an_empty_schema_since_two_clients_fail_on_none() -> None:
    assert {"type": "object", "properties": {}} == neutral({"name": "ping", "description": "Say hello."}).schema


def test_a_cache_point_among_the_tools_is_not_mistaken_for_a_tool() -> None:
    assert not neutral({"cachePoint": {"type": "default"}}).vendor_only


@pytest.mark.parametrize("nonsense", [None, 7, {"properties": {}}, {}], ids=str)
def test_what_is_no_tool_is_refused_by_name(nonsense: object) -> None:
    with pytest.raises(CannotCarry, match="is no tool in any known format"):
        neutral(nonsense)


names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,20}", fullmatch=True)
texts = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(str.strip)
leaves = st.sampled_from(
    [{"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}, {"enum": ["a", "b"]}]
)
schemas = st.recursive(
    leaves,
    lambda inner: (
        st.dictionaries(names, inner, max_size=3).map(lambda p: {"type": "object", "properties": p})
        | inner.map(lambda item: {"type": "array", "items": item})
    ),
    max_leaves=6,
)
objects = st.dictionaries(names, schemas, max_size=4).map(
    lambda props: {"type": "object", "properties": props, "required": sorted(props)[:1]}
)
functions = st.builds(
    lambda name, text, schema, strict: {
        "type": "function",
        "function": {"name": name, "description": text, "parameters": schema}
        | ({} if strict is None else {"strict": strict}),
    },
    names,
    texts,
    objects,
    st.none() | st.booleans(),
)


@given(functions)
def test_reading_a_tool_and_writing_it_changes_nothing(function: dict[str, Any]) -> None:
    assert function == openai_tool(neutral(function))


@pytest.mark.parametrize(
    ("written", "kind", "name"),
    [
        ("auto", "auto", None),
        ("any", "any", None),
        ("required", "any", None),
        (True, "any", None),
        ("none", "none", None),
        ("refund", "tool", "refund"),
        ({"type": "auto"}, "auto", None),
        ({"type": "any"}, "any", None),
        ({"type": "none"}, "none", None),
        ({"type": "tool", "name": "refund"}, "tool", "refund"),
        ({"type": "function", "function": {"name": "refund"}}, "tool", "refund"),
        ({"type": "function", "name": "refund"}, "tool", "refund"),
        ({"auto": {}}, "auto", None),
        ({"any": {}}, "any", None),
        ({"tool": {"name": "refund"}}, "tool", "refund"),
    ],
    ids=str,
)
def test_every_way_to_choose_a_tool_has_one_meaning(written: object, kind: Any, name: str | None) -> None:
    assert ToolChoice(kind=kind, name=name) == choice_of(written)


def test_parallel_calls_are_read_from_either_providers_switch() -> None:
    assert ToolChoice(kind="auto", parallel=False) == choice_of(None, parallel=False)
    assert ToolChoice(kind="any", parallel=False) == choice_of({"type": "any", "disable_parallel_tool_use": True})
    assert choice_of(None) is None


@pytest.mark.parametrize(
    "written", [{"type": "allowed_tools", "tools": []}, {"type": "web_search_preview"}, 7], ids=str
)
def test_a_choice_without_counterpart_is_refused(written: object) -> None:
    with pytest.raises(CannotCarry, match="tool_choice"):
        choice_of(written)
