"""The support desk's own parts: the database, the tools, and models that follow the conversation they are shown."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool

from examples.support_desk.database import Database
from examples.support_desk.scenario import Desk, load_tickets
from examples.support_desk.tools import order_tools, refund_tools
from governor_sandbox import Conversation, Message, ToolCall, ToolResult

TICKETS = load_tickets()


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database()
    yield made
    made.close()


def call(tools: dict[str, BaseTool], name: str, **args: object) -> ToolMessage:
    return tools[name].invoke({"type": "tool_call", "id": "1", "name": name, "args": args})


def tools(database: Database) -> dict[str, BaseTool]:
    return {tool.name: tool for tool in (*order_tools(database), *refund_tools(database))}


def test_two_databases_begin_alike_and_a_change_shows(database: Database) -> None:
    other = Database()
    assert other.digest() == database.digest()

    call(tools(database), "add_note", order_id="O-5001", text="hello")

    assert other.digest() != database.digest()
    other.close()


@pytest.mark.parametrize(
    ("name", "args", "what"),
    [
        ("get_order", {"order_id": "5001"}, "no order number"),
        ("get_order", {"order_id": "O-9999"}, "there is no order"),
        ("list_orders", {"customer_id": "1001"}, "no customer number"),
        ("get_shipment_log", {"order_id": "O-5001", "page": 9}, "does not exist"),
        ("read_policy", {"topic": "love"}, "there is no policy"),
        ("cancel_order", {"order_id": "O-5001", "reason": "x"}, "can no longer be cancelled"),
        ("issue_refund", {"order_id": "O-5001", "amount_usd": 99999.0, "reason": "x"}, "is not between"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tool_says_what_is_wrong_and_changes_nothing(
    database: Database, name: str, args: dict[str, object], what: str
) -> None:
    before = database.digest()

    answer = call(tools(database), name, **args)

    assert "error" == answer.status
    assert what in str(answer.content)
    assert before == database.digest()


def test_an_order_is_refunded_once(database: Database) -> None:
    refund = {"order_id": "O-5001", "amount_usd": 5.5, "reason": "damage"}

    assert "success" == call(tools(database), "issue_refund", **refund).status
    assert "refunded already" in str(call(tools(database), "issue_refund", **refund).content)


def conversation(
    ticket_text: str, *turns: Message, model: str = "sonnet", system: str = "You are the orders desk."
) -> Conversation:
    return Conversation(
        provider="bedrock", model=model, system=system, messages=(Message(role="user", text=ticket_text), *turns)
    )


def turn(name: str, result: str, *, error: bool = False, **args: object) -> tuple[Message, Message]:
    asked = ToolCall(id="t", name=name, args=args)
    return (
        Message(role="assistant", tool_calls=(asked,)),
        Message(role="tool", tool_results=(ToolResult(id="t", name=name, text=result, is_error=error),)),
    )


def test_the_next_step_follows_from_the_last_call_in_sight_alone() -> None:
    ticket, desk = TICKETS[0], Desk(TICKETS)
    step = ticket.steps("orders")[4]
    last = turn(step.name, "...", **step.args)
    before = turn("list_orders", "...", customer_id=ticket.customer)

    short, long = desk(conversation(ticket.message, *last)), desk(conversation(ticket.message, *before, *last))

    assert short.tool_calls == long.tool_calls


def test_a_model_that_is_not_up_to_a_step_slips_until_a_better_one_takes_over() -> None:
    ticket, desk = TICKETS[2], Desk(TICKETS)
    (slip,) = ticket.slips
    done = ticket.steps("orders")[slip.at - 1]
    wanted = ticket.steps("orders")[slip.at]
    history = turn(done.name, "...", **done.args)

    cheap = desk(conversation(ticket.message, *history, model="amazon.nova-micro-v1:0")).tool_calls[0]
    failed = turn(cheap.name, "no order number", error=True, **cheap.args)
    better = desk(conversation(ticket.message, *history, *failed, model="amazon.nova-pro-v1:0")).tool_calls[0]

    assert wanted.args != cheap.args
    assert wanted.args == better.args


def test_a_claim_number_that_was_left_out_is_recalled_and_then_noted() -> None:
    ticket, desk = TICKETS[0], Desk(TICKETS)
    index = next(i for i, step in enumerate(ticket.steps("orders")) if step.name == "add_note")
    log = ticket.steps("orders")[index - 1]
    shown = turn(log.name, 'scan [... left out; recall(handle="r-1a2b3c4d") reads them] scan', **log.args)

    recall = desk(conversation(ticket.message, *shown)).tool_calls[0]
    read = turn("recall", "Damage, claim CLAIM-5041-123 opened", **recall.args)
    note = desk(conversation(ticket.message, *shown, *read)).tool_calls[0]

    assert ("recall", "r-1a2b3c4d") == (recall.name, recall.args["handle"])
    assert "CLAIM-5041-123" in str(note.args["text"])
