"""What user code bound to one vendor's client reaches another's with the same meaning, or is refused by name."""

from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel, FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from governor_langgraph.toolspec import CannotCarry, carry_over, choice_of, neutral
from governor_langgraph.vendors import vendor_of
from governor_sandbox import Reply, Sandbox, Scenario, ScriptedCall
from tests.vendors.clients import ANTHROPIC, BEDROCK, CLIENTS, FAMILIES, MODELS, OPENAI
from tests.vendors.test_neutral_tools import functions

PATHS = list(permutations(FAMILIES, 2))


@tool
def refund(order: str, cents: int = 0) -> str:
    """Pay money back."""
    return f"{order} {cents}"


@tool
def look_up(order: str) -> str:
    """Read an order."""
    return order


class Verdict(BaseModel):
    """Whether to pay."""

    pay: bool
    why: str


@pytest.fixture(scope="module")
def models(running: Sandbox) -> dict[str, BaseChatModel]:
    return {family: client(running) for family, client in CLIENTS.items()}


def bound(model: BaseChatModel, **settings: Any) -> dict[str, Any]:
    return dict(model.bind_tools([refund, look_up], **settings).kwargs)  # pyright: ignore[reportAttributeAccessIssue] - bind_tools binds


def described(kwargs: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(t.name, t.description, t.schema, t.strict) for t in map(neutral, kwargs["tools"])]


@pytest.mark.parametrize("family", FAMILIES)
def test_within_a_family_arguments_are_taken_as_they_are(models: dict[str, BaseChatModel], family: str) -> None:
    kwargs = {**bound(models[family], tool_choice="refund"), "anything": object()}

    assert kwargs == carry_over(kwargs, models[family], models[family])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tools=st.lists(functions, min_size=1, max_size=4, unique_by=lambda f: f["function"]["name"]),
    path=st.lists(st.sampled_from(FAMILIES), min_size=2, max_size=5),
)
def test_names_descriptions_and_schemas_survive_any_path_among_the_vendors(
    models: dict[str, BaseChatModel], tools: list[dict[str, Any]], path: list[str]
) -> None:
    start = models[path[0]]
    kwargs = dict(start.bind_tools(tools).kwargs)  # pyright: ignore[reportAttributeAccessIssue] - bind_tools binds
    # ChatAnthropic itself loses `strict` of single tools when it binds them; what it holds afterwards must survive.
    expected = described(kwargs)

    for source, target in pairwise(path):
        kwargs = carry_over(kwargs, models[source], models[target])

    assert expected == described(kwargs)


@pytest.mark.parametrize(("source", "target"), PATHS)
@pytest.mark.parametrize("choice", ["auto", "any", "refund", None])
def test_the_choice_among_tools_survives(
    models: dict[str, BaseChatModel], source: str, target: str, choice: str | None
) -> None:
    kwargs = bound(models[source], tool_choice=choice)

    carried = carry_over(kwargs, models[source], models[target])

    assert choice_of(kwargs.get("tool_choice")) == choice_of(carried.get("tool_choice"))


@pytest.mark.parametrize(("source", "target"), [(OPENAI, ANTHROPIC), (ANTHROPIC, OPENAI)])
def test_forbidding_parallel_calls_survives_where_the_provider_can(
    models: dict[str, BaseChatModel], source: str, target: str
) -> None:
    kwargs = bound(models[source], tool_choice="any", parallel_tool_calls=False)

    carried = carry_over(kwargs, models[source], models[target])

    choice = choice_of(carried.get("tool_choice"), parallel=carried.get("parallel_tool_calls"))
    assert choice is not None
    assert ("any", False) == (choice.kind, choice.parallel)


@pytest.mark.parametrize(("source", "target"), PATHS)
def test_a_tool_call_comes_back_valid_from_the_other_vendor_and_its_answer_goes_on_at_the_first(
    source: str, target: str
) -> None:
    call = ScriptedCall(name="refund", args={"order": "A-7", "cents": 500})
    script = Scenario.from_callable(
        lambda talk: "Paid." if talk.step else Reply(text="One moment.", tool_calls=(call,))
    )
    with Sandbox(script) as box:
        here, there = CLIENTS[source](box), CLIENTS[target](box)
        history: list[BaseMessage] = [HumanMessage("Refund order A-7.")]
        kwargs = bound(here)

        first = there.invoke(history, **carry_over(kwargs, here, there))
        history += [first, ToolMessage("A-7 500", tool_call_id=first.tool_calls[0]["id"])]
        second = here.invoke(vendor_of(here).strip_foreign(history), **kwargs)
        third = there.invoke(
            vendor_of(there).strip_foreign([*history, second, HumanMessage("Sure?")]), **carry_over(kwargs, here, there)
        )

        assert [("refund", {"order": "A-7", "cents": 500})] == [(c["name"], c["args"]) for c in first.tool_calls]
        assert [("refund", "A-7 500")] == [("refund", refund.invoke(c["args"])) for c in first.tool_calls]
        assert ["Paid.", "Paid."] == [second.text, third.text]
        assert [200, 200, 200] == [record.status for record in box.meter.records]


@pytest.mark.parametrize(("source", "target"), PATHS)
def test_stop_words_limit_and_temperature_survive_in_the_targets_spelling(
    models: dict[str, BaseChatModel], source: str, target: str
) -> None:
    kwargs = {"stop": ["END"], "max_tokens": 77, "temperature": 0.5}

    carried = carry_over(kwargs, models[source], models[target])

    assert (["END"], 0.5) == (carried["stop"], carried["temperature"])
    assert 77 == carried["max_completion_tokens" if target == OPENAI else "max_tokens"]


def test_a_temperature_above_what_the_other_vendor_knows_is_its_highest(models: dict[str, BaseChatModel]) -> None:
    assert {"temperature": 1} == carry_over({"temperature": 1.7}, models[OPENAI], models[BEDROCK])


@pytest.mark.parametrize("hint", ["prompt_cache_key", "cache_control", "service_tier", "reasoning_effort", "thinking"])
def test_hints_to_one_provider_are_left_behind(models: dict[str, BaseChatModel], hint: str) -> None:
    assert {} == carry_over({hint: "x"}, models[OPENAI], models[ANTHROPIC])


@pytest.mark.parametrize("argument", ["guardrail_config", "mcp_servers", "logit_bias", "previous_response_id", "n"])
def test_an_argument_that_may_matter_is_refused_by_name_and_not_dropped(
    models: dict[str, BaseChatModel], argument: str
) -> None:
    with pytest.raises(CannotCarry, match=argument):
        carry_over({argument: "x"}, models[BEDROCK], models[OPENAI])


def test_a_providers_own_tool_is_refused_by_name(models: dict[str, BaseChatModel]) -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    kwargs = dict(models[ANTHROPIC].bind_tools([refund, search]).kwargs)  # pyright: ignore[reportAttributeAccessIssue] - bind_tools binds

    with pytest.raises(CannotCarry, match="web_search"):
        carry_over(kwargs, models[ANTHROPIC], models[OPENAI])


@pytest.mark.filterwarnings("ignore:Dropping tool:UserWarning")
def test_a_tool_that_the_targets_client_drops_is_refused_and_not_lost(models: dict[str, BaseChatModel]) -> None:
    either = {
        "name": "either",
        "description": "One of two.",
        "parameters": {"type": "object", "anyOf": [{"required": ["a"]}]},
    }
    kwargs = dict(models[OPENAI].bind_tools([refund, either]).kwargs)  # pyright: ignore[reportAttributeAccessIssue] - bind_tools binds

    with pytest.raises(CannotCarry, match="either"):
        carry_over(kwargs, models[OPENAI], models[ANTHROPIC])


def test_a_choice_that_converse_cannot_express_is_refused(models: dict[str, BaseChatModel]) -> None:
    with pytest.raises(CannotCarry, match="none"):
        carry_over(bound(models[OPENAI], tool_choice="none"), models[OPENAI], models[BEDROCK])
    assert {"type": "none"} == carry_over(bound(models[OPENAI], tool_choice="none"), models[OPENAI], models[ANTHROPIC])[
        "tool_choice"
    ]


@pytest.mark.parametrize(("source", "target"), PATHS)
def test_structured_output_by_a_forced_tool_is_read_by_the_first_vendors_parser(source: str, target: str) -> None:
    reply = Reply(tool_calls=(ScriptedCall(name="Verdict", args={"pay": True, "why": "late"}),))
    with Sandbox(Scenario.from_callable(lambda _: reply)) as box:
        here, there = CLIENTS[source](box), CLIENTS[target](box)
        chain: Any = here.with_structured_output(Verdict, method="function_calling")
        kwargs = chain.steps[0].bound.kwargs if hasattr(chain.steps[0].bound, "kwargs") else chain.steps[0].kwargs

        answer = there.invoke("Pay?", **carry_over(kwargs, here, there))
        verdict: Any = answer
        for step in chain.steps[1:]:
            verdict = step.invoke(verdict)

        assert Verdict(pay=True, why="late") == verdict


@pytest.mark.parametrize(("source", "target"), [path for path in PATHS if path[0] != OPENAI])
def test_structured_output_by_schema_is_asked_of_the_other_vendor_and_read_from_its_text(
    source: str, target: str
) -> None:
    with Sandbox(Scenario.always('{"pay": true, "why": "late"}')) as box:
        here, there = CLIENTS[source](box), CLIENTS[target](box)
        chain: Any = here.with_structured_output(Verdict, method="json_schema")
        kwargs = chain.steps[0].kwargs

        carried = carry_over(kwargs, here, there)
        verdict = chain.steps[-1].invoke(there.invoke("Pay?", **carried))

        assert {"pay", "why"} == set(carried["response_format"]["json_schema"]["schema"]["properties"])
        assert Verdict(pay=True, why="late") == verdict


def test_structured_output_that_only_openais_client_can_read_is_refused(models: dict[str, BaseChatModel]) -> None:
    chain: Any = models[OPENAI].with_structured_output(Verdict, method="json_schema")

    with pytest.raises(CannotCarry, match="structured output by class"):
        carry_over(chain.steps[0].kwargs, models[OPENAI], models[BEDROCK])
    with pytest.raises(CannotCarry, match="format"):
        carry_over({"response_format": {"type": "json_object"}}, models[OPENAI], models[BEDROCK])


def test_a_model_that_takes_no_tools_refuses_them(models: dict[str, BaseChatModel]) -> None:
    plain = GenericFakeChatModel(messages=iter([AIMessage("ok")]))

    with pytest.raises(CannotCarry, match="GenericFakeChatModel cannot take the tools"):
        carry_over(bound(models[BEDROCK]), models[BEDROCK], plain)
    assert {} == carry_over({}, models[BEDROCK], plain)


def test_two_unknown_classes_are_two_families() -> None:
    one, other = FakeListChatModel(responses=["ok"]), GenericFakeChatModel(messages=iter([AIMessage("ok")]))

    assert {"odd": 1} == carry_over({"odd": 1}, one, FakeListChatModel(responses=["ok"]))
    with pytest.raises(CannotCarry, match="odd"):
        carry_over({"odd": 1}, one, other)


def test_the_models_of_these_tests_are_three_families() -> None:
    assert len(MODELS) == len(set(FAMILIES)) == 3
