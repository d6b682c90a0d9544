"""Cache markers land where the plan says, hit on the next call, and leave the user's own objects alone."""

import copy
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from governor.calls import Breakpoint, CachePlan, Ttl
from governor_langgraph.marks import TOOLS, Mark, place
from governor_langgraph.vendors import vendor_of
from governor_sandbox import Sandbox, Scenario
from tests.vendors.clients import ANTHROPIC, BEDROCK, CLIENTS, LONG, OPENAI, bedrock, points

MARKING = (BEDROCK, ANTHROPIC)
TOOL = {
    "name": "look_up",
    "description": LONG,
    "parameters": {"type": "object", "properties": {"order": {"type": "string"}}},
}


def turns(count: int) -> list[BaseMessage]:
    """System text, a task, and `count` tool calls with their answers."""
    messages: list[BaseMessage] = [SystemMessage(LONG), HumanMessage("Look up every order.")]
    for i in range(count):
        call = {"name": "look_up", "args": {"order_id": f"A-{i}"}, "id": f"call_{i}", "type": "tool_call"}
        messages += [AIMessage("", tool_calls=[call]), ToolMessage(f"Order A-{i}. {LONG}", tool_call_id=f"call_{i}")]
    return messages


def tools_of(model: BaseChatModel) -> dict[str, Any]:
    return dict(model.bind_tools([TOOL]).kwargs)  # pyright: ignore[reportAttributeAccessIssue] - bind_tools binds


def frozen(messages: list[BaseMessage], kwargs: dict[str, Any]) -> str:
    return repr(([message.model_dump() for message in messages], kwargs))


@pytest.mark.parametrize("family", MARKING)
@pytest.mark.parametrize("last", [1, 2, 3], ids=["person", "tool call", "tool result"])
def test_a_marker_after_any_kind_of_message_is_read_by_the_next_call(box: Sandbox, family: str, last: int) -> None:
    model = CLIENTS[family](box)
    vendor, history, kwargs = vendor_of(model), turns(2), tools_of(model)
    plan = CachePlan(tools="5m", system="5m", messages=points(last))

    for shown in (history[:4], history):
        messages, arguments = vendor.mark(model, shown, kwargs, plan)
        model.invoke(messages, **arguments)

    first, second = (record.usage for record in box.meter.records)
    assert first.cache_write_5m > 0
    assert first.cache_write_5m == second.cache_read


@pytest.mark.parametrize(("family", "call_covered"), [(BEDROCK, True), (ANTHROPIC, False)])
def test_a_point_after_a_tool_call_covers_the_call_where_the_client_lets_it(
    box: Sandbox, family: str, call_covered: bool
) -> None:
    model = CLIENTS[family](box)
    for at in (1, 2, 3):
        messages, arguments = vendor_of(model).mark(model, turns(1), tools_of(model), CachePlan(messages=points(at)))
        model.invoke(messages, **arguments)
        box.advance(400)

    person, call, result = (record.usage.cache_write for record in box.meter.records)
    assert call_covered == (person < call)
    assert call < result


def test_arguments_of_a_marked_tool_call_reach_the_provider_as_they_were() -> None:
    heard: list[Any] = []
    with Sandbox(Scenario.from_callable(lambda talk: heard.extend(talk.messages) or "ok")) as box:
        model = bedrock(box)
        messages, arguments = vendor_of(model).mark(model, turns(1), tools_of(model), CachePlan(messages=points(2)))
        model.invoke(messages, **arguments)

    assert [{"order_id": "A-0"}] == [call.args for message in heard for call in message.tool_calls]


@pytest.mark.parametrize("family", MARKING)
def test_a_moving_marker_reads_all_that_the_call_before_wrote(box: Sandbox, family: str) -> None:
    model = CLIENTS[family](box)
    vendor, kwargs, history = vendor_of(model), tools_of(model), turns(4)

    for stop in (2, 4, 6, 8, 10):
        plan = CachePlan(tools="5m", system="5m", messages=points(stop - 1))
        messages, arguments = vendor.mark(model, history[:stop], kwargs, plan)
        model.invoke([*messages, HumanMessage("(Budget: enough.)")], **arguments)

    usages = [record.usage for record in box.meter.records]
    for before, after in pairwise(usages):
        assert before.cache_read + before.cache_write == after.cache_read


def test_texts_of_one_speaker_in_a_row_keep_their_bytes_when_the_marker_moves_on(box: Sandbox) -> None:
    model = bedrock(box)
    vendor = vendor_of(model)
    said: list[BaseMessage] = [SystemMessage("Be brief."), HumanMessage(LONG), HumanMessage("One."), AIMessage("ok")]

    for messages, at in ((said[:2], 1), (said[:3], 2), ([*said, HumanMessage("Two.")], 4)):
        marked, _ = vendor.mark(model, messages, {}, CachePlan(messages=points(at)))
        model.invoke(marked)

    usages = [record.usage for record in box.meter.records]
    assert usages[0].cache_write == usages[1].cache_read
    assert usages[1].cache_read + usages[1].cache_write == usages[2].cache_read


@pytest.mark.parametrize("family", MARKING)
def test_an_hour_for_the_stable_part_and_five_minutes_for_the_rest(box: Sandbox, family: str) -> None:
    model = CLIENTS[family](box, model="us.anthropic.claude-sonnet-4-6" if family == BEDROCK else "claude-sonnet-4-6")
    plan = CachePlan(tools="1h", system="1h", messages=points(3))

    messages, arguments = vendor_of(model).mark(model, turns(1), tools_of(model), plan)
    model.invoke(messages, **arguments)

    usage = box.meter.records[0].usage
    assert min(usage.cache_write_1h, usage.cache_write_5m) > 1000


@pytest.mark.parametrize(
    ("model_id", "tools", "ttl"),
    [
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", True, None),
        ("us.anthropic.claude-sonnet-4-6", True, "1h"),
        ("us.amazon.nova-pro-v1:0", False, None),
    ],
)
def test_bedrock_models_are_not_asked_for_what_they_lack(
    box: Sandbox, model_id: str, tools: bool, ttl: str | None
) -> None:
    model = bedrock(box, model=model_id)
    plan = CachePlan(tools="1h", system="1h", messages=points(3, ttl="1h"))

    messages, arguments = vendor_of(model).mark(model, turns(1), tools_of(model), plan)
    model.invoke(messages, **arguments)

    marked = [block for message in messages if isinstance(message.content, list) for block in message.content]
    found = [block["cachePoint"] for block in marked if isinstance(block, dict) and "cachePoint" in block]
    assert tools == ("cachePoint" in arguments["tools"][-1])
    assert {ttl} == {point.get("ttl") for point in found}
    assert 200 == box.meter.records[0].status


def test_nova_takes_no_point_in_turns_with_tools_so_the_one_before_is_marked(box: Sandbox) -> None:
    model = bedrock(box, model="us.amazon.nova-pro-v1:0")

    messages, _ = vendor_of(model).mark(model, turns(2), {}, CachePlan(messages=points(5)))

    assert [1] == [i for i, message in enumerate(messages) if "cachePoint" in str(message.content)]


def test_a_bedrock_model_without_prompt_caching_gets_no_points(box: Sandbox) -> None:
    model = bedrock(box, model="meta.llama3-3-70b-instruct-v1:0")
    history = turns(0)

    messages, _ = vendor_of(model).mark(model, history, {}, CachePlan(system="5m", messages=points(1)))

    assert history == messages


def test_claude_refuses_a_point_right_after_reasoning_so_the_message_before_is_marked(box: Sandbox) -> None:
    model = bedrock(box)
    thought = {"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "s"}}
    history = [HumanMessage("Hi."), AIMessage([thought])]

    messages, _ = vendor_of(model).mark(model, history, {}, CachePlan(messages=points(1)))

    assert [0] == [i for i, message in enumerate(messages) if "cachePoint" in str(message.content)]


def test_openai_gets_a_key_unless_user_code_gave_one(box: Sandbox) -> None:
    model = CLIENTS[OPENAI](box)
    vendor, history = vendor_of(model), turns(1)

    messages, arguments = vendor.mark(
        model, history, tools_of(model), CachePlan(system="5m", messages=points(3), key="lane-1")
    )
    for _ in range(2):
        model.invoke(messages, **arguments)

    assert history == messages
    assert "lane-1" == arguments["prompt_cache_key"]
    assert {"prompt_cache_key": "mine"} == vendor.mark(
        model, [], {"prompt_cache_key": "mine"}, CachePlan(key="lane-1")
    )[1]
    assert box.meter.records[1].usage.cache_read > 1000


@pytest.mark.parametrize("family", [BEDROCK, ANTHROPIC, OPENAI])
def test_an_empty_plan_changes_nothing(box: Sandbox, family: str) -> None:
    model = CLIENTS[family](box)
    history, kwargs = turns(1), {**tools_of(model), "cache_control": {"type": "ephemeral"}}

    messages, arguments = vendor_of(model).mark(model, history, kwargs, CachePlan())

    assert kwargs == arguments
    assert all(mine is theirs for mine, theirs in zip(history, messages, strict=True))


@pytest.mark.parametrize("family", MARKING)
def test_automatic_marking_by_the_client_gives_way_to_the_plan(box: Sandbox, family: str) -> None:
    model = CLIENTS[family](box)
    kwargs = {"cache_control": {"type": "ephemeral"}}

    _, arguments = vendor_of(model).mark(model, turns(0), kwargs, CachePlan(messages=points(1)))

    assert {} == arguments
    assert {"cache_control": {"type": "ephemeral"}} == kwargs


@pytest.mark.parametrize("family", MARKING)
def test_markers_that_user_code_placed_stay_and_the_request_is_still_valid(box: Sandbox, family: str) -> None:
    model = CLIENTS[family](box)
    mine: Any = {"type": "text", "text": LONG}
    own: Any = (
        [mine, {"cachePoint": {"type": "default"}}]
        if family == BEDROCK
        else [{**mine, "cache_control": {"type": "ephemeral"}}]
    )
    history = [
        SystemMessage(own),
        HumanMessage("Hi."),
        AIMessage("Hello."),
        HumanMessage(own),
        AIMessage("And?"),
        HumanMessage(LONG),
    ]
    plan = CachePlan(system="1h", messages=(*points(1, 3, ttl="1h"), *points(5)))

    messages, arguments = vendor_of(model).mark(model, history, {}, plan)
    model.invoke(messages, **arguments)

    assert own == messages[0].content
    assert own == messages[3].content
    assert 200 == box.meter.records[0].status


def _message(kind: str, text: str, at: int) -> BaseMessage:
    call: Any = {"name": "look_up", "args": {"order": text}, "id": f"c{at}", "type": "tool_call"}
    blocks: list[str | dict[Any, Any]] = [{"type": "text", "text": text}]
    return {
        "human": lambda: HumanMessage(text),
        "blocks": lambda: HumanMessage(blocks),
        "ai": lambda: AIMessage(text),
        "call": lambda: AIMessage("", tool_calls=[call]),
        "said": lambda: AIMessage(blocks, tool_calls=[call]),
        "tool": lambda: ToolMessage(text, tool_call_id=f"c{at - 1}"),
        "empty": lambda: HumanMessage(" "),
    }[kind]()


kinds = st.lists(st.sampled_from(["human", "blocks", "ai", "call", "said", "tool", "empty"]), min_size=1, max_size=8)
ttls = st.sampled_from(get_args(Ttl))
plans = st.builds(
    lambda tools, system, at, ttl: CachePlan(
        tools=tools, system=system, messages=tuple(Breakpoint(position=position, ttl=ttl) for position in sorted(at))
    ),
    st.none() | ttls,
    st.none() | ttls,
    st.sets(st.integers(0, 9), max_size=4),
    ttls,
)


@pytest.mark.parametrize("family", MARKING)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=kinds, plan=plans)
def test_no_object_of_the_user_is_changed_and_at_most_four_markers_are_set(
    running: Sandbox, family: str, kinds: list[str], plan: CachePlan
) -> None:
    model = _shared(running, family)
    history: list[BaseMessage] = [
        SystemMessage("Be brief."),
        *(_message(kind, f"text {i}", i) for i, kind in enumerate(kinds)),
    ]
    kwargs = tools_of(model)
    before = frozen(history, copy.deepcopy(kwargs))

    messages, arguments = vendor_of(model).mark(model, history, kwargs, plan)

    assert before == frozen(history, kwargs)
    assert len(history) == len(messages)
    assert [m.text for m in history if m.text.strip()] == [m.text for m in messages if m.text.strip()]
    written = frozen(messages, arguments)
    assert written.count("'cachePoint'") + written.count("'cache_control'") <= 4


_models: dict[str, BaseChatModel] = {}


def _shared(box: Sandbox, family: str) -> BaseChatModel:
    """One client for all examples: building one takes longer than using it."""
    if family not in _models:
        _models[family] = CLIENTS[family](box)
    return _models[family]


@given(
    plan=plans,
    existing=st.lists(st.builds(lambda at, ttl: Mark(at=at, ttl=ttl), st.integers(-1, 9), ttls), max_size=5),
    able=st.sets(st.integers(0, 9)),
)
def test_placed_markers_never_break_a_rule_that_user_code_kept(
    plan: CachePlan, existing: list[Mark], able: set[int]
) -> None:
    placed = place(plan, existing, system=0, eligible=lambda at: at in able)

    together = sorted([*existing, *placed], key=lambda mark: mark.at)
    assert len(placed) <= max(0, 4 - len(existing))
    assert all(mark.at == TOOLS or mark.at in able for mark in placed)
    assert len({mark.at for mark in placed} | {mark.at for mark in existing}) == len(placed) + len(
        {m.at for m in existing}
    )
    if _falling(sorted(existing, key=lambda mark: mark.at)):
        assert _falling(together)


def _falling(marks: list[Mark]) -> bool:
    """No one-hour marker after a five-minute one at an earlier place."""
    return not any(
        early.ttl == "5m" and late.ttl == "1h"
        for i, early in enumerate(marks)
        for late in marks[i:]
        if early.at < late.at
    )


def test_when_slots_are_short_the_deepest_markers_win() -> None:
    existing = [Mark(at=0, ttl="5m"), Mark(at=1, ttl="5m")]

    placed = place(CachePlan(tools="5m", messages=points(3, 5, 7)), existing, system=0, eligible=lambda _: True)

    assert [5, 7] == [mark.at for mark in placed]
