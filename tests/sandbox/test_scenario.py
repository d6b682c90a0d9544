"""Scenario files: which rule answers, what its reply says, and where a mistake is."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from governor_sandbox import (
    Conversation,
    Message,
    MessageMatch,
    Reply,
    Scenario,
    ScenarioError,
    ToolCall,
    ToolResult,
    When,
)
from tests.sandbox.clients import NOVA_MICRO, SONNET, bedrock, openai
from tests.sandbox.conftest import Serve

CALL = ToolCall(id="c1", name="lookup_order", args={"order_id": "A-7"})
FOUND = ToolResult(id="c1", name="lookup_order", text='{"status": "late", "days": 3, "items": ["lamp", "rug"]}')


def talk(*messages: Message, model: str = "us.amazon.nova-micro-v1:0", **fields: Any) -> Conversation:
    return Conversation(provider="bedrock", model=model, messages=messages, **fields)


TASK = Message(role="user", text="Ticket 42: where is order A-7?")
AFTER_LOOKUP = (
    TASK,
    Message(role="assistant", text="Looking.", tool_calls=(CALL,)),
    Message(role="tool", tool_results=(FOUND,)),
)


def reply(yaml: str, conversation: Conversation) -> Reply:
    return Scenario.from_text(yaml).behaviour.answer(conversation).reply


HOLDS: dict[str, dict[str, Any]] = {
    "nothing asked": {},
    "a model glob": {"model": "*nova-micro*"},
    "one of several models": {"model": ["gpt-*", "*nova-*"]},
    "a provider": {"provider": "bedrock"},
    "the system prompt": {"system": "SUPPORT"},
    "the task": {"task": {"matches": r"order \w-\d"}},
    "the task by glob": {"task": {"glob": "ticket *7?"}},
    "the newest message's tool": {"last": {"tool": "lookup_order"}},
    "the newest message's role": {"last": {"role": "tool"}},
    "the text of a tool result": {"last": '"late"'},
    "some earlier message": {"history": {"role": "assistant", "contains": "looking"}},
    "several earlier messages": {"history": ["ticket", "looking"]},
    "a step": {"step": 1},
    "a range of steps": {"step": {"min": 1}},
    "a tool that was called": {"called": "lookup_order"},
    "a tool that was not called": {"not_called": ["refund"]},
    "how often a tool was called": {"calls": {"lookup_order": 1, "refund": 0}},
    "a tool on offer": {"offers": ["lookup_order"]},
    "what must be absent": {"last": {"lacks": ["error", "timeout"]}},
}
FAILS: dict[str, dict[str, Any]] = {
    "another model": {"model": "*nova-pro*"},
    "another provider": {"provider": ["openai", "anthropic"]},
    "another system prompt": {"system": {"contains": "planner"}},
    "another task": {"task": {"equals": "Ticket 42"}},
    "the case of a pattern": {"task": {"matches": "TICKET"}},
    "another tool": {"last": {"tool": "refund"}},
    "another role": {"last": {"role": ["user", "assistant"]}},
    "one part missing": {"last": {"contains": ["late", "early"]}},
    "an earlier message nobody wrote": {"history": ["ticket", "refunded"]},
    "an earlier step": {"step": 0},
    "steps beyond": {"step": {"min": 2, "max": 5}},
    "a tool that was not called": {"called": ["lookup_order", "refund"]},
    "a tool that was": {"not_called": "lookup_order"},
    "more calls": {"calls": {"lookup_order": {"min": 2}}},
    "a tool not on offer": {"offers": ["refund"]},
    "what must be absent": {"last": {"lacks": "late"}},
    "one of two conditions": {"step": 1, "model": "gpt-*"},
}


@pytest.mark.parametrize("case", sorted(HOLDS))
def test_a_condition_holds_on(case: str) -> None:
    asked = talk(*AFTER_LOOKUP, system="You are the support desk.", tools=("lookup_order",))

    assert When.model_validate(HOLDS[case]).groups(asked) is not None


@pytest.mark.parametrize("case", sorted(FAILS))
def test_a_condition_fails_on(case: str) -> None:
    asked = talk(*AFTER_LOOKUP, system="You are the support desk.", tools=("lookup_order",))

    assert When.model_validate(FAILS[case]).groups(asked) is None


def test_named_groups_of_all_patterns_are_collected() -> None:
    when = When(
        task=MessageMatch(matches=r"order (?P<order>\S+)\?"), last=MessageMatch(matches=r'"status": "(?P<status>\w+)"')
    )

    assert {"order": "A-7", "status": "late"} == when.groups(talk(*AFTER_LOOKUP))


def test_the_first_rule_that_applies_answers() -> None:
    yaml = """
    rules:
      - {when: {model: "gpt-*"}, reply: gpt}
      - {name: cheap, when: {model: "*micro*"}, reply: cheap}
      - {reply: anyone}
    """

    answer = Scenario.from_text(yaml).behaviour.answer(talk(TASK))

    assert ("cheap", "cheap") == (answer.reply.text, answer.rule)


def test_the_default_answers_when_no_rule_does() -> None:
    assert "sorry" == reply("rules: [{when: {step: 9}, reply: x}]\ndefault: sorry", talk(TASK)).text


def test_without_a_default_the_error_says_what_was_asked() -> None:
    with pytest.raises(
        ScenarioError, match=r"no rule answers us\.amazon.nova-micro-v1:0 at step 0 after user 'Ticket 42"
    ):
        reply("rules: [{when: {step: 9}, reply: x}]", talk(TASK))


def test_a_rule_answers_at_most_so_many_times() -> None:
    behaviour = Scenario.from_text("rules: [{times: 2, reply: first}, {reply: then}]").behaviour

    assert ["first", "first", "then", "then"] == [behaviour.answer(talk(TASK)).reply.text for _ in range(4)]


def test_templates_see_the_match_the_tool_result_and_the_conversation() -> None:
    yaml = """
    rules:
      - when: {task: {matches: 'order (?P<order>\\S+)\\?'}}
        reply: "{{ match.order }} is {{ tool_result.status }}; {{ step }} {{ model }} {{ last.role }} {{ messages | length }}"
    """

    text = reply(yaml, talk(*AFTER_LOOKUP)).text

    assert "A-7 is late; 1 us.amazon.nova-micro-v1:0 tool 3" == text


def test_arguments_keep_their_type_when_they_are_one_expression() -> None:
    yaml = """
    rules:
      - reply:
          tool_calls:
            - name: refund
              args:
                days: "{{ tool_result.days }}"
                items: "{{ tool_result['items'] }}"
                note: "{{ tool_result.days }} days"
                nested: {deep: ["{{ tool_result.days + 1 }}", 5, true]}
    """

    call = reply(yaml, talk(*AFTER_LOOKUP)).tool_calls[0]

    assert {"days": 3, "items": ["lamp", "rug"], "note": "3 days", "nested": {"deep": [4, 5, True]}} == call.args


def test_for_each_makes_a_call_per_item() -> None:
    yaml = """
    rules:
      - reply:
          tool_calls: [{name: price, for_each: "{{ tool_result['items'] }}", args: {item: "{{ item }}"}}]
    """

    assert [{"item": "lamp"}, {"item": "rug"}] == [call.args for call in reply(yaml, talk(*AFTER_LOOKUP)).tool_calls]


def test_an_unknown_name_in_a_template_is_an_error_with_the_rules_name() -> None:
    with pytest.raises(ScenarioError, match=r"rule 'greet'.*'dict object' has no attribute 'order'"):
        reply("rules: [{name: greet, reply: 'hi {{ match.order }}'}]", talk(TASK))
    with pytest.raises(ScenarioError, match="no attribute 'order'"):
        reply("rules: [{name: greet, reply: '{{ match.order }}'}]", talk(TASK))


def test_templates_cannot_reach_into_the_interpreter() -> None:
    with pytest.raises(ScenarioError, match="unsafe"):
        reply("rules: [{reply: \"x {{ ''.__class__.__mro__ }}\"}]", talk(TASK))


def test_an_argument_that_is_no_json_value_is_named_and_does_not_break_the_reply() -> None:
    with pytest.raises(ScenarioError, match="not JSON serializable"):
        reply("rules: [{reply: {tool_calls: [{name: f, args: {x: '{{ task }}'}}]}}]", talk(TASK))


def test_defaults_apply_unless_a_reply_says_otherwise() -> None:
    yaml = """
    defaults: {pad_to_tokens: 40, chunk_tokens: 2}
    rules:
      - {when: {step: 0}, reply: {text: hi, pad_to_tokens: 0}}
      - {reply: hi}
    """

    assert (0, 2) == (reply(yaml, talk(TASK)).pad_to_tokens, reply(yaml, talk(TASK)).chunk_tokens)
    assert 40 == reply(yaml, talk(*AFTER_LOOKUP)).pad_to_tokens


def test_a_scenario_may_bring_its_own_models(serve: Serve) -> None:
    box = serve(
        """
        models:
          student: {like: "amazon.nova-micro-v1:0", output: 0.28}
          house-model: {provider: openai, input: 1, output: 2, window: 500, max_output: 50}
        default: ok
        """
    )
    bedrock(box, "student", provider="amazon").invoke("hi")
    openai(box, "house-model").invoke("hi")

    student, house = box.meter.records
    assert 5 * 35 + 280 == student.nano_usd
    assert 5 * 1000 + 2000 == house.nano_usd


def test_a_support_desk_of_planner_worker_and_cheap_tier_runs_from_one_file(serve: Serve) -> None:
    box = serve(
        r"""
        name: support desk
        rules:
          - name: plan
            when: {system: planner, step: 0}
            reply: '["find the order", "answer the customer"]'
          - name: cheap tier gets ticket 13 wrong
            when: {model: "*nova-micro*", task: {matches: "Ticket 13"}, called: lookup_order}
            reply: "Your order was delivered."
          - name: look up
            when: {task: {matches: 'order (?P<order>[\w-]+)'}, offers: lookup_order, not_called: lookup_order}
            reply: {text: Let me look., tool_calls: [{name: lookup_order, args: {order_id: "{{ match.order }}"}}]}
          - name: answer
            when: {last: {tool: lookup_order}}
            reply: "Your order is {{ tool_result.status }}."
        """
    )

    @tool
    def lookup_order(order_id: str) -> str:
        """Find an order."""
        return json.dumps({"status": f"late ({order_id})"})

    def work(model: str, ticket: str) -> str:
        worker = bedrock(box, model).bind_tools([lookup_order])
        history: list[BaseMessage] = [SystemMessage("You are a worker."), HumanMessage(ticket)]
        while True:
            answer: AIMessage = worker.invoke(history)
            history.append(answer)
            if not answer.tool_calls:
                return answer.text
            history.extend(ToolMessage(lookup_order.invoke(c["args"]), tool_call_id=c["id"]) for c in answer.tool_calls)

    plan = bedrock(box).invoke([SystemMessage("You are the planner."), HumanMessage("Ticket 13: order A-7")])

    assert 2 == len(json.loads(plan.text))
    assert "Your order is late (A-7)." == work(SONNET, "Ticket 13: order A-7?")
    assert "Your order is late (B-8)." == work(NOVA_MICRO, "Ticket 14: order B-8?")
    assert "Your order was delivered." == work(NOVA_MICRO, "Ticket 13: order A-7?")
    assert ["plan", "look up", "answer"] == [record.rule for record in box.meter.records[:3]]


MISTAKES: dict[str, tuple[str, int | None, str]] = {
    "an unknown key": (
        "rules:\n  - when: {step: 0}\n    replly: hi\n    reply: hi\n",
        3,
        r"rules\[0\].replly: no such key",
    ),
    "an unknown condition": (
        "rules:\n  - when:\n      stepp: 0\n    reply: hi\n",
        3,
        r"rules\[0\].when.stepp: no such key",
    ),
    "a missing reply": ("rules:\n  - when: {step: 0}\n", 2, r"rules\[0\].reply: Field required"),
    "a wrong type": ("seed: many\n", 1, "seed: "),
    "a bad pattern": (
        "rules:\n  - reply: hi\n  - when:\n      last: {matches: '('}\n    reply: hi\n",
        4,
        "not a regular expression",
    ),
    "a bad template": ("rules:\n  - reply:\n      text: '{{ open'\n", 3, "not a template"),
    "a bad template in arguments": (
        "rules:\n  - reply:\n      tool_calls:\n        - name: f\n          args: {a: '{% if %}'}\n",
        5,
        "not a template",
    ),
    "a key given twice": ("rules: []\nseed: 1\nrules: []\n", 3, "'rules' is given twice"),
    "an unknown fault": ("faults:\n  - kind: earthquake\n", 2, r"faults\[0\].kind"),
    "a model like none": (
        "models:\n  mine:\n    like: amazon.nova-mikro-v1:0\n",
        3,
        "did you mean 'amazon.nova-micro-v1:0'",
    ),
    "a model without a price": ("models:\n  mine: {input: 3}\n", 2, "both `input` and `output`"),
    "not a mapping": ("- a\n- b\n", 1, "a mapping with `rules`"),
    "not YAML": ("rules: [\n", 2, "not YAML"),
    "an empty file": ("", 1, "a mapping with `rules`"),
}


@pytest.mark.parametrize("case", sorted(MISTAKES))
def test_a_mistake_is_reported_with_its_line(case: str) -> None:
    yaml, line, says = MISTAKES[case]

    with pytest.raises(ScenarioError, match=says) as error:
        Scenario.from_text(yaml, source="desk.yaml")

    assert ("desk.yaml", line) == (error.value.source, error.value.line)
    assert str(error.value).startswith(f"desk.yaml:{line}: ")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        Scenario.load(tmp_path / "none.yaml")


def test_a_file_is_loaded_with_its_faults_and_seed(tmp_path: Path) -> None:
    path = tmp_path / "desk.yaml"
    path.write_text("seed: 7\nfaults: [{kind: throttle, nth: 1}]\ndefault: ok\n")

    scenario = Scenario.load(path)

    assert (7, "throttle", (1,)) == (scenario.seed, scenario.faults[0].kind, scenario.faults[0].nth)
